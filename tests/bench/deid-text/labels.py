"""Labelled documents: their categories, their form in JSON lines, and the markup that templates and fixtures are
written in.

Markup: `[[CATEGORY:text]]` is an identifier. `<<text>>`, inside or outside of one, may go or stay: the year of a date,
the first three digits of a ZIP code, a state, "Dr." before a name. It counts neither as a leak nor as over-redaction.

A document is `{"id", "text", "gold": [{"start", "end", "category"}], "either": [[start, end], …]}`; offsets count
characters (code points), as Python does.
"""

import dataclasses
import re

# What 45 CFR 164.514(b)(2) lists, (A) to (R), each under the name that the table of misses prints.
CATEGORIES = {
    "NAME": "A: names, also of relatives, staff and household",
    "ORG": "A: employers, hospitals, schools (names of places of care and work)",
    "ADDRESS": "B: street, building, box",
    "CITY": "B: city, county, precinct",
    "ZIP": "B: ZIP code beyond its first three digits",
    "DATE": "C: any part of a date but the year",
    "AGE": "C: ages over 89 and years that reveal one",
    "PHONE": "D: telephone",
    "FAX": "E: fax",
    "EMAIL": "F: electronic mail",
    "SSN": "G: social security",
    "MRN": "H: medical record",
    "PLAN": "I: health plan beneficiary",
    "ACCOUNT": "J: account, card",
    "LICENSE": "K: certificate, licence",
    "VEHICLE": "L: vehicle, plate",
    "DEVICE": "M: device, serial",
    "URL": "N: web address",
    "IP": "O: internet protocol address",
    "BIOMETRIC": "P: biometric identifier",
    "PHOTO": "Q: photograph, image file",
    "OTHER": "R: any other unique number or code",
}

MARK = re.compile(r"\[\[([A-Z]+):|\]\]|<<|>>")


@dataclasses.dataclass
class Document:
    """A text and what is to be found in it."""

    id: str
    text: str
    gold: list  # (start, end, category), in order, without overlap
    either: list  # (start, end)

    def json(self):
        """As a line of JSON holds it."""
        gold = [{"start": start, "end": end, "category": category} for start, end, category in self.gold]
        return {"id": self.id, "text": self.text, "gold": gold, "either": [list(part) for part in self.either]}


def parse(name, marked):
    """A document from markup. Raises ValueError where marks do not pair or a category is unknown."""
    text, gold, either = [], [], []
    length, last, span, part = 0, 0, None, None
    for mark in MARK.finditer(marked):
        plain = marked[last:mark.start()]
        text.append(plain)
        length += len(plain)
        last = mark.end()
        if mark.group(1):
            if span or mark.group(1) not in CATEGORIES:
                raise ValueError(f"{name}: {mark.group()} at {mark.start()}")
            span = (length, mark.group(1))
        elif mark.group() == "]]":
            if not span or part is not None:
                raise ValueError(f"{name}: ]] at {mark.start()}")
            gold.append((span[0], length, span[1]))
            span = None
        elif mark.group() == "<<":
            if part is not None:
                raise ValueError(f"{name}: << at {mark.start()}")
            part = length
        else:
            if part is None:
                raise ValueError(f"{name}: >> at {mark.start()}")
            either.append((part, length))
            part = None
    if span or part is not None:
        raise ValueError(f"{name}: a mark is not closed")
    text.append(marked[last:])
    return Document(name, "".join(text), gold, either)
