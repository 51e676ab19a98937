"""Looks for patients in what policy was to keep them out of. Parses the sent messages by itself.

    leaks.py --sent PATH... [--tables ROOT]... [--text FILE_OR_DIR]... [--but WORD]...

Gathers what identifies people in the messages of PATH (files or folders of HL7 v2): names, numbers, addresses,
telephone numbers and dates in PID, NK1, GT1, IN1, IN2, MRG, PV1 and the clinicians of ORC and OBR. Then searches,
in any case and as whole words,

- every value of every table under each ROOT, its file names, and the values in Delta's own log: statistics, paths;
- each FILE, for the logs of programs.

Under a ROOT nothing may look like a date with a day either, whoever's it is; the digests of batches and policies
are left out of that. Prints one JSON object: `identifiers`, `values` looked at, `leaks` (one sentence each, without
the value); exits 1 if there are leaks.

`--but` names words that are no identifiers where they were found: each needs a reason where the caller lists it.
"""

import argparse
import collections
import datetime
import json
import pathlib
import re
import sys

import polars as pl
from deltalake import DeltaTable

from send_hl7 import files, messages

# Segment → fields, by what is in them. Components are looked at one by one.
NAMES = {
    "PID": [5, 6, 9], "NK1": [2, 30], "GT1": [3, 4, 16, 42, 51], "IN1": [16], "IN2": [], "MRG": [7],
    "PV1": [7, 8, 9, 17, 52], "ORC": [10, 11, 12], "OBR": [16, 32, 33, 34, 35],
}
NUMBERS = {
    "PID": [2, 3, 4, 13, 14, 18, 19, 20, 21], "NK1": [5, 6, 7, 12, 31, 33, 37], "GT1": [2, 6, 7, 12, 19, 45],
    "IN1": [36, 49], "IN2": [1, 2, 6, 7, 8, 61, 63], "MRG": [1, 2, 3, 4, 5, 6], "PV1": [5, 19, 50],
}
ADDRESSES = {"PID": [11], "NK1": [4, 32], "GT1": [5, 17], "IN1": [19], "IN2": []}
DATES = {
    "PID": [7, 29], "NK1": [16], "GT1": [8], "IN1": [18], "PV1": [44, 45], "EVN": [2], "OBR": [7, 8],
}
# Components of XPN, XCN, XAD that are codes or states, from 1.
NAME_PARTS = (1, 2, 3)
ADDRESS_PARTS = (1, 2, 3, 5)
NAME_CHARS_MIN = 4
NUMBER_CHARS_MIN = 5

DAY = re.compile(r"(?<![0-9])(?:18|19|20)[0-9]{2}-?(?:0[1-9]|1[0-2])-?(?:0[1-9]|[12][0-9]|3[01])")
# Digests say nothing.
NO_DATES_IN = {"manifest_sha256", "policy_sha256"}
LEAKS_MAX = 30


class Wanted:
    """What must not be found, and what it is."""

    def __init__(self):
        self.what: dict[str, str] = {}

    def name(self, text: str, what: str):
        for word in re.findall(r"[^\W\d_]+", text):
            if len(word) >= NAME_CHARS_MIN:
                self.what.setdefault(word.lower(), what)

    def number(self, text: str, what: str):
        text = text.strip()
        # The name of a code table is nobody's number.
        if re.fullmatch(r"HL7\d{4}", text):
            return
        if len(text) >= NUMBER_CHARS_MIN and any(c.isdigit() for c in text):
            self.what.setdefault(text.lower(), what)

    def address(self, text: str, what: str):
        text = text.strip()
        if len(text) >= NUMBER_CHARS_MIN and text.strip("0123456789"):
            self.what.setdefault(text.lower(), what)

    def date(self, text: str, what: str):
        if re.match(r"(18|19|20)\d{6}", text):
            self.what.setdefault(text[:8], what)


def decoded(message: bytes) -> str:
    try:
        return message.decode("utf-8")
    except UnicodeDecodeError:
        return message.decode("latin-1")


def gather(message: bytes, wanted: Wanted):
    text = decoded(message)
    if len(text) < 9:
        return
    field_mark, component_mark, repetition_mark = text[3], text[4], text[5]
    subcomponent_mark = text[7] if text[7] != field_mark else "&"
    for segment in text.split("\r"):
        fields = segment.split(field_mark)
        name = fields[0]

        def parts(numbers, chosen=None):
            for number in numbers:
                for repetition in (fields[number] if number < len(fields) else "").split(repetition_mark):
                    # HL7's null is a value of its own, and says nothing.
                    components = [c.strip('"') for c in repetition.split(component_mark)]
                    first = 1 if name in ("PV1", "ORC", "OBR") and chosen == NAME_PARTS else 0
                    for place, component in enumerate(components, 1):
                        if chosen is None or place - first in chosen:
                            for part in component.split(subcomponent_mark):
                                yield part, f"{name}-{number}.{place}"

        for part, where in parts(NAMES.get(name, []), NAME_PARTS):
            wanted.name(part, where)
        for part, where in parts(NUMBERS.get(name, [])):
            wanted.number(part, where)
        for part, where in parts(ADDRESSES.get(name, []), ADDRESS_PARTS):
            wanted.address(part, where)
        for part, where in parts(DATES.get(name, [])):
            wanted.date(part, where)


class Search:
    """All identifiers at once: by their first word, then whole."""

    def __init__(self, wanted: Wanted):
        self.wanted = wanted.what
        self.by_word = collections.defaultdict(list)
        for value in self.wanted:
            self.by_word[re.findall(r"\w+", value)[0]].append(value)

    def found(self, text: str):
        text = text.lower()
        for word in set(re.findall(r"\w+", text)):
            for value in self.by_word.get(word, ()):
                if re.search(rf"(?<!\w){re.escape(value)}(?!\w)", text):
                    yield value


def texts(value):
    """A value of a table, and what else can be read in it."""
    if value is None or isinstance(value, (bool, int, float)):
        yield "" if value is None else repr(value)
    elif isinstance(value, bytes):
        yield decoded(value)
        yield value.replace(b"\0", b"").decode("latin-1")
    elif isinstance(value, (datetime.datetime, datetime.date)):
        yield value.isoformat()
    else:
        yield str(value)


def walk(value):
    """The values of a JSON document, those in embedded documents too; names of fields are ours."""
    if isinstance(value, dict):
        for part in value.values():
            yield from walk(part)
    elif isinstance(value, list):
        for part in value:
            yield from walk(part)
    elif isinstance(value, str) and value[:1] in "[{":
        try:
            yield from walk(json.loads(value))
        except ValueError:
            yield value
    else:
        yield str(value)


def lines(path: pathlib.Path):
    """What can be read in a log: the values of lines that are JSON, all of any other line."""
    for line in path.read_text(errors="replace").splitlines():
        try:
            yield from walk(json.loads(line))
        except ValueError:
            yield line


def main() -> int:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--sent", nargs="+", required=True)
    arguments.add_argument("--tables", nargs="*", default=[])
    arguments.add_argument("--text", nargs="*", default=[])
    arguments.add_argument("--but", nargs="*", default=[])
    options = arguments.parse_args()

    wanted = Wanted()
    for file in files(options.sent):
        for message in messages(file.read_bytes()):
            gather(message, wanted)
    for word in options.but:
        wanted.what.pop(word.lower(), None)
    search = Search(wanted)
    leaks = collections.Counter()
    values = 0

    def look(text: str, where: str):
        for value in search.found(text):
            leaks[f"{where} shows {wanted.what[value]} ({len(value)} characters)"] += 1

    for root in map(pathlib.Path, options.tables):
        for path in root.rglob("*"):
            look(str(path.relative_to(root)).replace("%", " "), f"a file name in {root.name}")
            # Version 0 makes the table, with its description, before there is any message.
            if path.parent.name == "_delta_log" and path.suffix == ".json" and int(path.stem):
                for value in lines(path):
                    look(value, f"{path.relative_to(root)}")
        for table in sorted(p for p in root.iterdir() if DeltaTable.is_deltatable(str(p))):
            for column in pl.read_delta(str(table)).iter_columns():
                for value in column:
                    values += 1
                    for text in texts(value):
                        look(text, f"{table.name}.{column.name}")
                        if column.name not in NO_DATES_IN and DAY.search(text):
                            leaks[f"{table.name}.{column.name} has a date with a day"] += 1
    for file in files(options.text):
        for value in lines(file):
            look(value, file.name)
    print(json.dumps({
        "identifiers": len(wanted.what),
        "values": values,
        "leaks": [f"{leak}, {count} times" for leak, count in leaks.most_common(LEAKS_MAX)],
    }))
    return 1 if leaks else 0


if __name__ == "__main__":
    sys.exit(main())
