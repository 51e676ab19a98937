"""Validates audit messages, one a line, against the schema of DICOM PS3.15 section A.5.1 (`dicom-audit.rng`).

    audit_atna.py FILE
"""

import pathlib
import sys

from lxml import etree


def main(file):
    schema = etree.RelaxNG(etree.parse(pathlib.Path(__file__).with_name("dicom-audit.rng")))
    count = 0
    for number, line in enumerate(open(file, encoding="utf-8"), 1):
        message = etree.fromstring(line.encode())
        assert schema.validate(message), f"line {number}: {schema.error_log}"
        count += 1
        # Each spoilt one must be refused, or the schema checks nothing.
        for path, attribute in [("EventIdentification", "EventDateTime"), ("ActiveParticipant", "UserIsRequestor"),
                                ("ParticipantObjectIdentification", "ParticipantObjectID")]:
            spoilt = etree.fromstring(line.encode())
            del spoilt.find(path).attrib[attribute]
            assert not schema.validate(spoilt), f"line {number} without {attribute}"
    assert count, "nothing to validate"
    print(f"{count} messages are valid")


if __name__ == "__main__":
    main(*sys.argv[1:])
