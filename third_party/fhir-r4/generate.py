#!/usr/bin/env python3
"""Makes definitions.txt from the official definitions of FHIR R4 (4.0.1).

    python3 generate.py hapi-fhir-validation-resources-r4-8.6.0.jar > definitions.txt

The archive is the Maven artefact ca.uhn.hapi.fhir:hapi-fhir-validation-resources-r4; README.md beside this file
has its hash. Nothing but Python's own library is used, and the same archive gives the same bytes.
"""

import hashlib
import sys
import xml.etree.ElementTree as ET
import zipfile

ARCHIVE_SHA256 = "0eb6f7822a6d89dbd342cda324f6b11be16eeb3a8202c4848bf7a527ad776b5c"
HERE = "org/hl7/fhir/r4/model/"
NS = "{http://hl7.org/fhir}"
TYPE_EXTENSION = "http://hl7.org/fhir/StructureDefinition/structuredefinition-fhir-type"
CARDINALITY = {("0", "1"): "?", ("0", "*"): "*", ("1", "1"): "1", ("1", "*"): "+", ("0", "0"): "-"}
# Profiles that the base definitions themselves use as types.
AS_TYPE = {"SimpleQuantity": "Quantity"}


def value(element, tag):
    found = element.find(NS + tag)
    return None if found is None else found.get("value")


def parse(archive, name):
    return ET.fromstring(archive.read(HERE + name))


def last(url):
    return url.split("|")[0].rsplit("/", 1)[-1]


def type_name(t):
    code = value(t, "code")
    if code.startswith("http://hl7.org/fhirpath/"):
        for extension in t.findall(NS + "extension"):
            if extension.get("url") == TYPE_EXTENSION:
                return value(extension, "valueUrl") or value(extension, "valueUri")
        raise SystemExit(f"a type without a name: {code}")
    for profile in t.findall(NS + "profile"):
        if last(profile.get("value")) in AS_TYPE:
            return last(profile.get("value"))
    if code == "Reference":
        targets = sorted({last(p.get("value")) for p in t.findall(NS + "targetProfile")})
        if targets and targets != ["Resource"]:
            return "Reference(" + ",".join(targets) + ")"
    return code


class Codes:
    """Code systems and value sets, as far as a list of codes can be made of them."""

    def __init__(self, archive):
        self.systems, self.sets = {}, {}
        for name in ("valueset/valuesets.xml", "valueset/v3-codesystems.xml", "valueset/v2-tables.xml"):
            root = parse(archive, name)
            for system in root.iter(NS + "CodeSystem"):
                complete = value(system, "content") == "complete"
                concepts = [value(c, "code") for c in system.iter(NS + "concept")]
                self.systems.setdefault(value(system, "url"), concepts if complete else None)
            for one in root.iter(NS + "ValueSet"):
                self.sets.setdefault(value(one, "url"), one)

    def expand(self, url):
        """[(system, [code])] or None where no list can be made: filters, codes kept elsewhere."""
        found = self.sets.get(url.split("|")[0])
        if found is None:
            return None
        compose = found.find(NS + "compose")
        if compose is None or compose.find(NS + "exclude") is not None:
            return None
        out = {}
        for include in compose.findall(NS + "include"):
            if include.find(NS + "filter") is not None:
                return None
            system = value(include, "system")
            nested = [v.get("value") for v in include.findall(NS + "valueSet")]
            if nested and system:
                return None
            for inner in nested:
                part = self.expand(inner)
                if part is None:
                    return None
                for inner_system, codes in part:
                    out.setdefault(inner_system, []).extend(codes)
            if system:
                codes = [value(c, "code") for c in include.findall(NS + "concept")]
                codes = codes or self.systems.get(system)
                if not codes:
                    return None
                out.setdefault(system, []).extend(codes)
        return [(system, sorted(set(codes))) for system, codes in sorted(out.items())]


def elements(definition):
    """{type: {element: line}} of one definition: the type itself and the elements nested in it."""
    types = {}
    snapshot = definition.find(NS + "snapshot").findall(NS + "element")
    own = {}
    parents = {value(e, "path").rsplit(".", 1)[0] for e in snapshot if "." in value(e, "path")}
    for element in snapshot[1:]:
        path = value(element, "path")
        parent, name = path.rsplit(".", 1)
        kinds = [type_name(t) for t in element.findall(NS + "type")]
        if name == "id" and kinds == ["string"] and value(definition, "kind") == "resource" and "." not in parent:
            # R4's definitions say string, its text says id ("2.26.3.1 Logical Id").
            kinds = ["id"]
        reference = value(element, "contentReference")
        if reference:
            kinds = ["@" + reference.lstrip("#")]
        elif path in parents:
            own[path] = kinds[0]
            kinds = ["@" + path]
        binding = element.find(NS + "binding")
        bound = None
        if binding is not None and value(binding, "strength") == "required":
            bound = value(binding, "valueSet")
        card = CARDINALITY[(value(element, "min"), value(element, "max"))]
        types.setdefault(parent, {})[name] = (card, kinds, bound)
    return types, own


def main():
    data = open(sys.argv[1], "rb").read()
    if hashlib.sha256(data).hexdigest() != ARCHIVE_SHA256:
        raise SystemExit("this is not the archive that README.md names")
    archive = zipfile.ZipFile(sys.argv[1])
    codes = Codes(archive)
    flat, base, kind = {}, {}, {}
    for name in ("profile/profiles-types.xml", "profile/profiles-resources.xml"):
        for definition in parse(archive, name).iter(NS + "StructureDefinition"):
            title = value(definition, "name")
            what = value(definition, "kind")
            constraint = value(definition, "derivation") == "constraint"
            if what not in ("complex-type", "resource") or (constraint and title not in AS_TYPE):
                continue
            types, own = elements(definition)
            root = title if not constraint else value(definition, "type")
            for path, lines in types.items():
                name = title if path == root else path
                flat[name] = lines
                if path == root:
                    parent = value(definition, "baseDefinition")
                    base[name] = last(parent) if parent else None
                    abstract = value(definition, "abstract") == "true"
                    kind[name] = "resource" if what == "resource" and not abstract else "type"
                else:
                    base[name] = own[path]
                    kind[name] = "type"
    used = {}
    out = [
        "# FHIR R4 4.0.1: the base definitions, as generate.py makes them of HL7's. See README.md.",
        "# type|resource NAME BASE; then its own elements: NAME CARDINALITY TYPE[|TYPE] [#VALUE-SET, if required]",
        "# cardinality: ? 0..1, 1 1..1, * 0..*, + 1..*, - 0..0; @PATH is the content defined there",
    ]
    for name in sorted(flat, key=lambda n: (kind[n], n)):
        inherited = {}
        parent = base[name]
        while parent:
            for element, line in flat.get(parent, {}).items():
                inherited.setdefault(element, line)
            parent = base.get(parent)
        out.append(f"{kind[name]} {name} {base[name] or '-'}")
        for element, line in flat[name].items():
            if inherited.get(element) == line:
                continue
            card, kinds, bound = line
            text = f" {element} {card} {'|'.join(kinds)}"
            if bound:
                short = last(bound)
                if used.setdefault(short, bound) != bound:
                    raise SystemExit(f"two value sets are called {short}")
                text += f" #{short}"
            out.append(text)
    out.append("# set NAME; then SYSTEM CODE…, or `open` where no list of codes can be made")
    for short, url in sorted(used.items()):
        out.append(f"set {short}")
        expansion = codes.expand(url)
        if expansion is None:
            out.append(" open")
            continue
        for system, listed in expansion:
            if any(" " in code for code in listed):
                raise SystemExit(f"a code with a blank in {short}")
            out.append(f" {system} {' '.join(listed)}")
    print("\n".join(out))


if __name__ == "__main__":
    main()
