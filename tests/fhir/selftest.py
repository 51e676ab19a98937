"""Whether the coverage counter counts: a message, a Bundle that keeps all of it, and planted losses and moves.

Maps and schema are small ones written here, so this runs without the official files. Exit code 1 where a plant is
missed, or where the sound Bundle is said to have lost something.
"""

import copy
import json
import pathlib
import sys
import tempfile

import conditions
import coverage
import er7
import official

MESSAGE = "\r".join([
    "MSH|^~\\&|LAB|WARD|||20260301073000+0100||ORU^R01|M1|P|2.5",
    "PID|1||4711^^^HOSP^MR||Muster^Mia^\"\"||19800229083000|F|||Weg 1&Weg^^Ort||(555) 555-0100",
    "OBX|1|NM|2345-7^Glucose^LN||5.40|mmol/L|||||F|||2026030107\\T\\",
    "OBX|2|TX|X^Note^99L||first \\T\\ second|||||||||202603010730",
])
HEADER = ",,,,,,Condition (IF True),,,HL7 FHIR,,,,,,,,,\nSort Order,Identifier,Name\n"


def sheet(*lines):
    """A sheet in the layout of the official ones: (identifier, v2 type, condition, attribute, extension, type, map, codes,
    assignment)."""
    text = HEADER
    for identifier, v2_type, condition, attribute, extension, kind, type_map, codes, assignment in lines:
        cells = ["1", identifier, "", v2_type, "", "", condition, "", "", attribute, extension, kind, "", "", type_map,
                 codes, assignment]
        text += ",".join('"' + cell.replace('"', '""') + '"' for cell in cells) + "\n"
    return text


def row(identifier, v2_type, attribute, kind="string", type_map="", condition="", extension="", codes="", assignment=""):
    return identifier, v2_type, condition, attribute, extension, kind, type_map, codes, assignment


SHEETS = {
    "segments/HL7 Segment - FHIR R4_ MSH[MessageHeader] - R4.csv": sheet(
        row("MSH-3", "HD", "source[1]", "", "HD[MessageHeader.source-name]"),
        row("MSH-4", "HD", "sender(Organization)", "", "HD[Organization]"),
        row("MSH-9", "MSG", "eventCoding", "Coding", "MSG[Coding]")),
    "segments/HL7 Segment - FHIR R4_ PID[Patient] - Sheet1.csv": sheet(
        row("PID-3", "CX", "identifier[2]", "Identifier", "CX[Identifier]"),
        row("PID-5", "XPN", "name[1]", "HumanName", "XPN[HumanName]"),
        row("PID-7", "DTM", "birthDate", "date"),
        row("PID-8", "CWE", "gender", "code", "CWE[code]", codes="Sex"),
        row("PID-11", "XAD", "address[1]", "Address", "XAD[Address]"),
        row("PID-13", "XTN", "telecom[1]", "ContactPoint", "XTN[ContactPoint]")),
    "segments/HL7 Segment - FHIR R4_ OBX[Observation] - Sheet1.csv": sheet(
        row("OBX-3", "CWE", "code", "CodeableConcept", "CWE[CodeableConcept]"),
        row("OBX-5", "varies", "valueQuantity.value", "", "NM[Quantity]", 'IF OBX-2 EQUALS "NM"'),
        row("OBX-5", "varies", "valueString", "string", "", 'IF OBX-2 IN ("ST", "TX")'),
        row("OBX-6", "CWE", "valueQuantity[1]", "Quantity", "CWE[Quantity]"),
        row("OBX-11", "ID", "status", "code", codes="Status"),
        row("OBX-14", "DTM", "effectiveDateTime", "dateTime")),
    "datatypes/HL7 Data Type - FHIR R4_ HD[MessageHeader.source-name] - Sheet1.csv": sheet(row("HD.1", "IS", "name")),
    "datatypes/HL7 Data Type - FHIR R4_ HD[Organization] - Sheet1.csv": sheet(row("HD.1", "IS", "identifier[1].value")),
    "datatypes/HL7 Data Type - FHIR R4_ MSG[Coding] - Sheet1.csv": sheet(
        row("MSG", "", "display", assignment='MSG.1+"^"+MSG.2'), row("MSG.2", "ID", "code")),
    "datatypes/HL7 Data Type - FHIR R4_ CX[Identifier] - Sheet1.csv": sheet(
        row("CX.1", "ST", "value"), row("CX.4", "HD", "assigner(Organization)", "", "HD[Organization]"),
        row("CX.5", "ID", "type.coding.code", "code")),
    "datatypes/HL7 Data Type - FHIR R4_ XPN[HumanName] - Sheet1.csv": sheet(
        row("XPN.1", "FN", "[1].family", "string", "FN[HumanName]"), row("XPN.2", "ST", "[1].given[1]")),
    "datatypes/HL7 Data Type - FHIR R4_ FN[HumanName] - Sheet1.csv": sheet(row("FN.1", "ST", "family")),
    "datatypes/HL7 Data Type - FHIR R4_ CWE[code] - Sheet1.csv": sheet(row("CWE.1", "ST", "$value", "code")),
    "datatypes/HL7 Data Type - FHIR R4_ CWE[Quantity] - Sheet1.csv": sheet(row("CWE.1", "ST", "Quantity.unit")),
    "datatypes/HL7 Data Type - FHIR R4_ NM[Quantity] - Sheet1.csv": sheet(row("NM.1", "", "$value", "decimal")),
    "datatypes/HL7 Data Type - FHIR R4_ XAD[Address] - Sheet1.csv": sheet(
        row("XAD.1", "SAD", "line[1]", "string", "SAD[Address]"), row("XAD.3", "ST", "city")),
    "datatypes/HL7 Data Type - FHIR R4_ SAD[Address] - Sheet1.csv": sheet(
        row("SAD.1", "ST", "line[1]"), row("SAD.2", "ST", "", extension="extension??-street")),
    "datatypes/HL7 Data Type - FHIR R4_ XTN[ContactPoint] - Sheet1.csv": sheet(row("XTN.1", "ST", "value")),
    "datatypes/HL7 Data Type - FHIR R4_ CWE[CodeableConcept] - Sheet1.csv": sheet(
        row("CWE.1", "ST", "coding[1].code", "code"), row("CWE.2", "ST", "coding[1].display"),
        row("CWE.3", "ID", "coding[1].system", "uri")),
    "codesystems/HL7 Concept Map_ Sex - Sheet1.csv": "a\nb\nF,Female,HL70001,,,,female\n",
    "codesystems/HL7 Concept Map_ Status - Sheet1.csv": "a\nb\nF,Final,HL70085,,,,final\n",
    "messages/HL7 Message - FHIR R4_ ORU_R01 - Sheet1.csv":
        "a\nb\n1,ORU_R01.PID,PID,,,,,,,Patient[1],PID[Patient]\n1,ORU_R01.OBX,OBX,,,,,,,Observation,OBX[Observation]\n",
}


def schema():
    """As much of R4 as the sheets above name."""
    def definition(**properties):
        return {"properties": {name: {"$ref": f"#/definitions/{kind}"} for name, kind in properties.items()}}
    return {"definitions": {
        "MessageHeader": definition(source="Source", sender="Reference", eventCoding="Coding"),
        "Source": definition(name="string"), "Coding": definition(code="s", display="s", system="s"),
        "Organization": definition(identifier="Identifier"),
        "Patient": definition(identifier="Identifier", name="HumanName", birthDate="s", gender="s", address="Address",
                              telecom="ContactPoint"),
        "Identifier": definition(value="s", type="CodeableConcept"),
        "CodeableConcept": definition(coding="Coding", text="s"), "HumanName": definition(family="s", given="s"),
        "Address": definition(line="s", city="s"), "ContactPoint": definition(value="s"),
        "Observation": definition(code="CodeableConcept", valueQuantity="Quantity", valueString="s", status="s",
                                  effectiveDateTime="s"),
        "Quantity": definition(value="s", unit="s"),
    }}


def sound():
    def resource(kind, **rest):
        return {"resource": {"resourceType": kind, **rest}}

    def concept(code, display, system):
        return {"coding": [{"code": code, "display": display, "system": system}]}
    return {"resourceType": "Bundle", "timestamp": "2026-03-01T07:30:00+01:00", "identifier": {"value": "M1"}, "entry": [
        resource("MessageHeader", source={"name": "LAB"}, sender={"reference": "x"}, reason={"text": "P 2.5"},
                 eventCoding={"code": "R01", "display": "ORU^R01"}),
        resource("Organization", identifier=[{"value": "WARD"}, {"value": "HOSP"}]),
        resource("Patient", identifier=[{"value": "4711", "type": {"coding": [{"code": "MR"}]}}],
                 name=[{"family": "Muster", "given": ["Mia"]}], birthDate="1980-02-29", gender="female",
                 _birthDate={"extension": [{"url": "time", "valueDateTime": "1980-02-29T08:30:00+01:00"}]},
                 address=[{"line": ["Weg 1"], "text": "Weg", "city": "Ort"}],
                 telecom=[{"value": "+1 555 555 0100"}], multipleBirthInteger=1),
        resource("Observation", code=concept("2345-7", "Glucose", "http://loinc.org"), status="final",
                 valueQuantity={"value": 5.4, "unit": "mmol/L"}, effectiveDateTime="2026030107&",
                 category=[{"text": "NM"}, {"text": "TX"}, {"text": "2"}, {"text": "P"}, {"text": "2.5"}]),
        resource("Observation", code=concept("X", "Note", "urn:system:99L"), valueString="first & second",
                 effectiveDateTime="2026-03-01T07:30:00+01:00"),
        resource("Observation", code={"text": "Further details of things"}, component=[]),
    ]}


PATIENT, FIRST = 2, 3
# What is planted: (name, how, the states that must appear besides "kept" with their counts).
PLANTS = [
    ("nothing", lambda r: None, {}),
    ("a name is gone", lambda r: r(PATIENT)["name"][0].pop("family"), {"lost": 1}),
    ("a number is another one", lambda r: r(FIRST)["valueQuantity"].update(value=5.41), {"lost": 1}),
    ("a telephone number lost a digit", lambda r: r(PATIENT)["telecom"][0].update(value="555 555 010"), {"lost": 1}),
    ("a date of birth is another day", lambda r: r(PATIENT).update(birthDate="1980-02-28"), {"extension": 1}),
    ("the time of birth is nowhere", lambda r: r(PATIENT).pop("_birthDate"), {"lost": 1}),
    ("a time is in another minute", lambda r: r(4).update(effectiveDateTime="2026-03-01T07:31:00+01:00"), {"moved": 1}),
    ("a code is mapped otherwise than the official map says", lambda r: r(PATIENT).update(gender="male"), {"lost": 1}),
    ("the family name stands in the name's text", lambda r: r(PATIENT)["name"][0].update(
        text=r(PATIENT)["name"][0].pop("family")), {"moved": 1}),
    ("the unit stands in another resource", lambda r: r(PATIENT).update(
        note=r(FIRST)["valueQuantity"].pop("unit")), {"moved": 1}),
    ("the given name stands in an extension", lambda r: r(PATIENT).update(extension=[
        {"url": "x", "valueString": r(PATIENT)["name"][0].pop("given")[0]}]), {"extension": 1}),
    ("text stands only in the narrative", lambda r: r(4).update(
        text={"status": "generated", "div": "<div>" + r(4).pop("valueString") + "</div>"}), {"lost": 1}),
    ("text stands only in a copy of the message", lambda r: r(4).update(
        note="MSH|^~\\&|LAB\r" + r(4).pop("valueString")), {"lost": 1}),
    ("text stands only among left-overs keyed by place", lambda r: r(4).update(component=[
        {"code": {"coding": [{"code": "OBX-5"}]}, "valueString": r(4).pop("valueString")}]), {"carried": 1}),
    ("a set id stands only among further details", lambda r: r(PATIENT).update(
        _set=r(PATIENT).pop("multipleBirthInteger")) or r(PATIENT).pop("_set") and r(FIRST).update(
            category=[{"text": "NM"}, {"text": "TX"}, {"text": "P"}, {"text": "2.5"}]) or r(5)["component"].append(
                {"code": {"text": "Set ID"}, "valueString": "2"}), {"detail": 1, "lost": 2}),
    ("a named value stands only among further details", lambda r: r(5)["component"].append(
        {"code": {"text": "Given name"}, "valueString": r(PATIENT)["name"][0].pop("given")[0]}), {"moved": 1}),
    ("a system is another one", lambda r: r(FIRST)["code"]["coding"][0].update(system="http://snomed.info/sct"),
     {"lost": 1}),
]

CONDITIONS = [
    ('IF ABC-1 VALUED', {"ABC-1": ["x"]}, True), ('IF ABC-1 NOT VALUED', {"ABC-1": ["x"]}, False),
    ('IF OBX-2 EQUALS "NM"', {"OBX-2": ["NM"]}, True), ('IF OBX-2 IN ("NA", "NM")', {"OBX-2": ["ST"]}, False),
    ('IF OBX-2 EQUALS "SN" AND OBX-5.1  NOT EQUALS "<>"', {"OBX-2": ["SN"], "OBX-5.1": ["<>"]}, False),
    ('IF XTN.3 NOT IN ("Internet", "X.400") AND XTN.7 NOT VALUED', {"XTN.3": ["PH"], "XTN.7": [""]}, True),
    ('IF PV1-3.2 OR PV1-3.3 VALUED', {"PV1-3.2": [""], "PV1-3.3": ["x"]}, True),
    ('IF TQ1-7 AND TQ1-8 NOT VALUED', {"TQ1-7": [""], "TQ1-8": ["x"]}, False),
    ('IF XCN.19 NOT VALUED XCN.20 NOT VALUED', {"XCN.19": [""], "XCN.20": ["x"]}, False),
    ('IF PID-7 LENGTH GREATER THAN 8', {"PID-7": ["1980"]}, False), ("IF OBX-33 COUNT>1", {"OBX-33": ["a", "b"]}, True),
    ('IF RXO-2 IS VALUED AND (IF RXO-4.1 IS VALUED OR RXO-4.3 IS VALUED)',
     {"RXO-2": ["1"], "RXO-4.1": [""], "RXO-4.3": [""]}, False),
    ("IF IN1-17 IS NOT 'patient'", {"IN1-17": ["patient"]}, False), ("c", {}, True),
]


def main():
    wrong = []
    for condition, values, expected in CONDITIONS:
        if conditions.holds(condition, lambda reference: values.get(reference, [""])) != expected:
            wrong.append(f"condition {condition} with {values} is not {expected}")
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for name, text in SHEETS.items():
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        (folder / "schema.json").write_text(json.dumps(schema()))
        maps = official.Maps(folder, folder / "schema.json")
        leaves = len(list(er7.Message(MESSAGE.encode()).leaves()))
        for name, plant, expected in PLANTS:
            made = copy.deepcopy(sound())
            plant(lambda index: made["entry"][index]["resource"])
            tally = coverage.Tally()
            coverage.measure(maps, [("message", MESSAGE.encode())], [json.dumps(made)], tally)
            total = dict(tally.total())
            if total != {"kept": leaves - sum(expected.values()), **expected}:
                places = {place: dict(counts) for place, counts in tally.places.items()
                          if set(counts) != {"kept"}}
                wrong.append(f"{name}: {total}, expected {expected} of {leaves}; {places}")
        tally = coverage.Tally()
        coverage.measure(maps, [("message", MESSAGE.encode())], [None], tally)
        if dict(tally.total()) != {"lost": leaves} or tally.without != ["message"]:
            wrong.append(f"a message without a Bundle: {dict(tally.total())}")
    for line in wrong:
        print(f"wrong: {line}")
    print(f"{len(PLANTS) + len(CONDITIONS) + 1 - len(wrong)} passed, {len(wrong)} failed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
