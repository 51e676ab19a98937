"""The official v2-to-FHIR map, read from its CSV files where they are; nothing of it is kept here.

`Maps(folder).named(message, index, field, repetition, component, sub)` tells where the map puts one value of a message:
the FHIR elements by resource and path, whether it names an extension, and the code maps that apply.
"""

import collections
import csv
import functools
import json
import pathlib
import re

import conditions

# The columns, from 0.
IDENTIFIER, V2_TYPE, CONDITION, NARRATIVE, ATTRIBUTE, EXTENSION = 1, 3, 6, 8, 9, 10
TYPE, TYPE_MAP, VOCABULARY, ASSIGNMENT = 11, 14, 15, 16
# Slips of the map's own pen, found by holding every path that it names against the R4 schema: a pattern of what stands
# there, and what is meant. A path that R4 does not have even so names no place: nothing can be kept there.
SLIPS = [(re.compile(pattern), meant) for pattern, meant in [
    (r"\s+|\[([\d\-n]+|each)\]", ""), (r"\[\d[.}]?", "."), (r"\.\.", "."), ("Practioner", "Practitioner"),
    ("practioner", "practitioner"), ("organziation", "organization"), ("occurenceTiming", "occurrenceTiming"),
    (r"^Quantity\.", ""), (r"\.reference\(", "("), (r"\.\(", "("), (r"note\(Annotation\.", "note("),
    (r"PractitionerRole\.Practitioner", "PractitionerRole.practitioner"), ("valueSampedData", "valueSampledData"),
    (r"^content\.data$", "content.attachment.data"),
]]
# Codes of the map that R4 does not have in the element that they are for (ContactPoint.system), and what R4 has.
CODE_SLIPS = {"mobile": "phone"}
# Data types of v2 that have components; the rest is one value.
PRIMITIVE = {"ST", "TX", "FT", "NM", "SI", "ID", "IS", "DT", "TM", "DTM", "TS", "SNM", "GTS", ""}
# Which structure an event's message has, where MSH-9.3 does not say and the map has that structure.
STRUCTURES = {
    **dict.fromkeys(("ADT^A01", "ADT^A04", "ADT^A08", "ADT^A13"), "ADT_A01"),
    **dict.fromkeys(("ADT^A05", "ADT^A14", "ADT^A28", "ADT^A31"), "ADT_A05"),
    **dict.fromkeys(("ADT^A06", "ADT^A07"), "ADT_A06"),
    **dict.fromkeys(("ADT^A09", "ADT^A10", "ADT^A11"), "ADT_A09"),
    "ADT^A02": "ADT_A02", "ADT^A17": "ADT_A17", "ORU^R01": "ORU_R01", "ORM^O01": "ORM_O01", "OML^O21": "OML_O21",
    "VXU^V04": "VXU_V04", "MDM^T02": "MDM_T02",
    **{f"SIU^S{n}": "SIU_S12" for n in (*range(12, 25), 26)},
}

Row = collections.namedtuple("Row", "identifier v2_type condition attribute extension type type_map vocabulary assignment")
# What the map says of one value: `elements` are (resource, path, FHIR type, code map). Where the structure has no map of its
# own, nobody says which resource a segment becomes there (an order of drugs, say), so `fixed` is false and the path counts.
Named = collections.namedtuple("Named", "elements extension fixed")


def rows(path):
    with open(path, encoding="utf-8-sig", newline="") as file:
        for line in list(csv.reader(file))[2:]:
            cell = [value.strip() for value in line] + [""] * 20
            # The one condition that stands among the explanations and can be computed all the same.
            told = re.search(r"while (\S+) = (\w+)", cell[NARRATIVE])
            if told and not cell[CONDITION]:
                cell[CONDITION] = f'IF {told.group(1)} EQUALS "{told.group(2)}"'
            if cell[IDENTIFIER]:
                yield Row(*(cell[n] for n in (IDENTIFIER, V2_TYPE, CONDITION, ATTRIBUTE, EXTENSION, TYPE, TYPE_MAP,
                                              VOCABULARY, ASSIGNMENT)))


def title(path):
    """`PID[Patient]` of `HL7 Segment - FHIR R4_ PID[Patient] - PID.csv`."""
    return re.search(r"_ (.+?) - [^-]*$", path.stem + " ").group(1).strip()


def bears_value(row):
    """Whether a row puts the v2 value somewhere, rather than a constant or something computed from it."""
    if not row.attribute and not row.extension:
        return False
    text = row.assignment
    if row.v2_type == "PL" and not row.type_map:
        # A status beside a place; the constant that it should get stands in another row.
        return False
    if text.startswith('"') and row.type_map and row.type not in ("code", "uri"):
        # The same slip seen from the other side: a constant cannot be of a composite type.
        return True
    if text.startswith("/extension"):
        return True
    if not text:
        return not re.search(r"\.(url|uri)$", row.attribute) and "=" not in row.attribute
    if text.startswith('"') and not MENTION.search(text):
        return False
    if text.startswith("/"):
        return not re.search(r"start|minutes|translate|timestamp|time of|reference=", text)
    if re.search(r"\.(start|end)\b", text):
        return False
    return bool(MENTION.search(text))


MENTION = re.compile(r"\b([A-Z][A-Z0-9]{1,2})[.\-](\d+)")


@functools.lru_cache(maxsize=None)
def places(attribute, resource, path):
    """The elements that an attribute of the map names, from an element (resource, path): `[(resource, path)]`."""
    for slip, meant in SLIPS:
        attribute = slip.sub(meant, attribute)
    attribute = attribute.strip(".")
    if attribute in ("$this", "$value", "$value.extension"):
        return [(resource, path)]
    found = [(resource, path)]
    # `a.b(Resource.c)` leads along the reference a.b to an element of another resource.
    for part in re.split(r"[()]", attribute):
        if not part:
            continue
        reached = []
        for choice in part.split("|"):
            head, _, rest = choice.partition(".")
            elements = tuple(name for name in choice.split(".") if name)
            if head[:1].isupper():
                reached.append((head, tuple(name for name in rest.split(".") if name)))
            else:
                reached += [(base, joined(so_far, elements)) for base, so_far in found]
        found = reached
    return found


def joined(path, elements):
    """A path below a path; the map names the last element of the upper one again at the head of the lower one."""
    if path and elements and path[-1] == elements[0]:
        elements = elements[1:]
    return path + elements


class Maps:
    """The maps of a folder; `schema` is the JSON Schema of R4, which knows what paths there are."""

    def __init__(self, folder, schema):
        folder = pathlib.Path(folder)
        with open(schema, encoding="utf-8") as file:
            self.definitions = json.load(file)["definitions"]
        self.known = {}
        self.segments = collections.defaultdict(dict)
        for path in sorted(folder.glob("segments/*.csv")):
            name = title(path)
            self.segments[name.split("[")[0]][name] = index(rows(path))
        self.types = {title(path).lower(): index(rows(path)) for path in sorted(folder.glob("datatypes/*.csv"))}
        self.codes = {}
        for path in sorted(folder.glob("codesystems/*.csv")):
            self.codes[squeezed(title(path))] = code_map(path)
        # (structure, segment) → the segment's maps that apply there.
        self.structures = collections.defaultdict(set)
        for path in sorted(folder.glob("messages/*.csv")):
            structure = title(path)
            with open(path, encoding="utf-8-sig", newline="") as file:
                for line in list(csv.reader(file))[2:]:
                    if len(line) > 10 and line[10].strip():
                        name = line[10].strip()
                        # What the segment becomes: the last resource that the target names, `Device` of
                        # `Provenance[1].entity.what(Device)`. It need not be the one that the segment's map is for.
                        targets = re.findall(r"(?:^|\()([A-Z]\w+)", line[9].strip())
                        self.structures[structure, name.split("[")[0]].add((name, targets[-1] if targets else ""))
        self.mapped = {structure for structure, _ in self.structures}
        if not (self.segments and self.types and self.codes and self.structures):
            raise SystemExit(f"no maps in {folder}")

    def structure_of(self, message):
        """The structure of a message as the maps know it; empty where they have none."""
        return message.structure if message.structure in self.mapped else STRUCTURES.get(message.type, "")

    def maps_for(self, structure, segment):
        """The maps of a segment with the resources that they fill: those that the structure's map names, or all where it
        says nothing."""
        every = self.segments.get(segment, {})
        here = {(name, target) for name, target in self.structures.get((structure, segment), ()) if name in every}
        for name in {name for name, _ in here} or every:
            own = re.match(r"\w+", name.split("[", 1)[1]).group()
            yield every[name], {own} | {target for other, target in here if other == name and target in self.definitions}

    def named(self, message, at, field, repetition, component, sub):
        name, fields = message.segments[at]
        structure = self.structure_of(message)
        elements, extension = [], False
        lookup = functools.partial(lookup_in_message, message, at, name, field, repetition)
        for by_number, resources in self.maps_for(structure, name):
            for resource in resources:
                found = self.follow(by_number.get(field, ()), lookup, [component, sub], fields[field][repetition],
                                    resource, ())
                elements += found.elements
                extension = extension or found.extension
        there = [one for one in elements if self.exists(one[0], one[1])]
        return Named(there, extension, bool(structure))

    def exists(self, resource, path):
        """Whether R4 has the element; the narrative (`text`), which the map names twice, is none that holds values."""
        key = (resource, path)
        if key not in self.known:
            self.known[key] = bool(path) and path[0] != "text" and self.walk(self.definitions.get(resource), path)
        return self.known[key]

    def walk(self, definition, path):
        for name in path:
            if name == "*":
                return True
            value = (definition or {}).get("properties", {}).get(name)
            if value is None:
                return False
            reference = value.get("$ref") or value.get("items", {}).get("$ref", "")
            definition = self.definitions.get(reference.rsplit("/", 1)[-1])
        return True

    def follow(self, candidates, lookup, numbers, node, resource, path):
        """Where rows of a map put the value at `numbers` (components still to go) below `node`."""
        elements, extension = [], False
        for row, mentioned in candidates:
            if not bears_value(row) or (row.condition and not conditions.holds(row.condition, lookup)):
                continue
            if not row.attribute or "local implementation" in row.attribute or row.assignment.startswith("/extension"):
                extension = True
                continue
            for base, to in places(row.attribute, resource, path):
                inner = self.types.get(row.type_map.lower())
                if mentioned:
                    # The row of another component takes this one along: "XTN.6 + XTN.7".
                    elements.append((base, to, row.type, row.vocabulary))
                elif inner is not None:
                    base, to = self.start(row.type_map, base, to)
                    below = functools.partial(lookup_in_type, row.type_map.split("[")[0], lookup, node)
                    deeper = self.follow(inner.get(numbers[0] if numbers else 1, ()), below, numbers[1:] or [1],
                                         child(node, numbers), base, to)
                    elements += [(r, p, t or row.type, v or row.vocabulary) for r, p, t, v in deeper.elements]
                    extension = extension or deeper.extension
                elif row.v2_type in PRIMITIVE or row.v2_type == "varies":
                    if all(number == 1 for number in numbers):
                        elements.append((base, to, row.type, row.vocabulary))
                elif to:
                    # A composite without a map of its own: anywhere below.
                    elements.append((base, (*to, "*"), row.type, row.vocabulary))
        if any("extension" in name.lower() for _, to, _, _ in elements for name in to):
            extension = True
            elements = [one for one in elements if not any("extension" in name.lower() for name in one[1])]
        return Named(elements, extension, True)

    def start(self, type_map, resource, path):
        """Where the rows of a type's map begin: at the element, or at the resource that the element refers to."""
        target = re.match(r"[\w.]+", type_map.split("[", 1)[1] if "[" in type_map else type_map).group()
        if target == "location":
            target = "Location"
        if target in RESOURCES and target != resource:
            return target, ()
        # The rows of `HD[MessageHeader.source-endpoint]` begin at `source`, not at its endpoint.
        if target == "MessageHeader" and path[-1:] in (("endpoint",), ("name",)):
            return resource, path[:-1]
        return resource, path


# Resources that a data type's map may begin at.
RESOURCES = {"Organization", "Practitioner", "PractitionerRole", "Location", "Device", "RelatedPerson", "Patient",
             "Condition", "Procedure", "Specimen"}


def index(all_rows):
    """Rows by the number of the field or component that they are about: `{3: [(row, mentioned)]}`."""
    by_number = collections.defaultdict(list)
    for row in all_rows:
        own = re.match(r"[A-Z][A-Z0-9]{1,2}[.\-](\d+)$", row.identifier)
        if own:
            by_number[int(own.group(1))].append((row, False))
        prefix = row.identifier.split(".")[0].split("-")[0]
        for name, number in MENTION.findall(row.assignment):
            if name == prefix and not (own and own.group(1) == number):
                by_number[int(number)].append((row, True))
    return by_number


def squeezed(name):
    return re.sub(r"[^a-z0-9]", "", name.lower())


def code_map(path):
    codes = collections.defaultdict(set)
    with open(path, encoding="utf-8-sig", newline="") as file:
        for line in list(csv.reader(file))[2:]:
            cell = [value.strip() for value in line] + [""] * 12
            if cell[0] and cell[6]:
                codes[cell[0].casefold()].add(CODE_SLIPS.get(cell[6], cell[6]))
    return codes


def child(node, numbers):
    """The part of a node that the first number names."""
    try:
        return node[(numbers[0] if numbers else 1) - 1]
    except (IndexError, TypeError):
        return node


def flat(node):
    while isinstance(node, list):
        node = node[0] if node else ""
    return node or ""


def lookup_in_type(name, outer, node, reference):
    """The value of `CWE.1` or `HD-3` in the node at hand; what names something else is asked further out."""
    match = re.match(r"([A-Z][A-Z0-9]{1,2})[.\-](\d+)(?:\.(\d+))?$", reference or "")
    if not match:
        return [flat(node)]
    if match.group(1) == name or match.group(1) in ("CWE", "XCN", "XAD", "XTN", "XPN", "XON", "HD", "PL", "SN", "ED", "CX"):
        part = child(node, [int(match.group(2))]) if isinstance(node, list) else node
        if isinstance(node, list) and int(match.group(2)) > len(node):
            return [""]
        if match.group(3) and isinstance(part, list):
            part = child(part, [int(match.group(3))]) if int(match.group(3)) <= len(part) else ""
        return [flat(part)]
    return outer(reference)


def lookup_in_message(message, at, name, field, repetition, reference):
    """The values of `OBX-5.1` and the like, of the segment at hand or of the nearest one of that name."""
    own = message.segments[at][1]
    if reference is None:
        return [flat(own[field][repetition])]
    match = re.match(r"([A-Z][A-Z0-9]{2})[.\-](\d+)(?:\.(\d+))?$", reference)
    if not match:
        # A type's own reference in a segment's map, such as `CX.5`: of the repetition at hand.
        return lookup_in_type(reference.split(".")[0].split("-")[0], lambda _: [""], own[field][repetition], reference)
    wanted, number, component = match.group(1), int(match.group(2)), int(match.group(3) or 1)
    if wanted == name:
        fields = own
    else:
        there = [index for index, (other, _) in enumerate(message.segments) if other == wanted]
        if not there:
            return [""]
        later = [index for index in there if index > at]
        fields = message.segments[later[0] if later else there[-1]][1]
    if number >= len(fields):
        return [""]
    return [flat(one[component - 1]) if component <= len(one) else "" for one in fields[number]]
