"""Whether the validators find faults: a valid Bundle, and one copy for each fault sown into it.

    faults.py [--hapi DIR]

Prints which validator finds which fault. Exit code 1 where the sound Bundle is refused, a fault is found by
nobody, or a validator finds fewer than `LEAST` says (so one that has stopped working is noticed).
"""

import argparse
import copy
import json
import sys

import validate

# What each has been seen to find, a little below.
LEAST = {"hapi": 48, "schema": 26, "medplum": 31, "fhir": 22, "links": 3}

PATIENT = "urn:uuid:8d3e2c5e-6c1f-4b53-9b0e-2f6f6f1a0001"
ENCOUNTER = "urn:uuid:8d3e2c5e-6c1f-4b53-9b0e-2f6f6f1a0002"
REPORT = "urn:uuid:8d3e2c5e-6c1f-4b53-9b0e-2f6f6f1a0003"
OBSERVATION = "urn:uuid:8d3e2c5e-6c1f-4b53-9b0e-2f6f6f1a0004"
HEADER = "urn:uuid:8d3e2c5e-6c1f-4b53-9b0e-2f6f6f1a0005"
V2 = "http://terminology.hl7.org/CodeSystem/v2-"


def entry(url, resource):
    return {"fullUrl": url, "resource": resource}


def sound():
    return {
        "resourceType": "Bundle",
        "type": "message",
        "timestamp": "2026-03-01T08:00:00+01:00",
        "entry": [
            entry(HEADER, {
                "resourceType": "MessageHeader",
                "eventCoding": {"system": V2 + "0003", "code": "R01"},
                "source": {"name": "LAB", "endpoint": "urn:oid:1.2.3.4"},
                "focus": [{"reference": REPORT}],
            }),
            entry(PATIENT, {
                "resourceType": "Patient",
                "identifier": [{
                    "type": {"coding": [{"system": V2 + "0203", "code": "MR"}]},
                    "value": "4711",
                }],
                "name": [{"use": "official", "family": "Muster", "given": ["Mia"]}],
                "telecom": [{"system": "phone", "use": "home", "value": "555 0100"}],
                "gender": "female",
                "birthDate": "1980-02-29",
                "address": [{"line": ["Weg 1"], "city": "Ort", "postalCode": "1234"}],
            }),
            entry(ENCOUNTER, {
                "resourceType": "Encounter",
                "status": "in-progress",
                "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "IMP"},
                "subject": {"reference": PATIENT},
                "period": {"start": "2026-02-28T10:00:00Z"},
            }),
            entry(REPORT, {
                "resourceType": "DiagnosticReport",
                "status": "final",
                "code": {"coding": [{"system": "http://loinc.org", "code": "24323-8"}]},
                "subject": {"reference": PATIENT},
                "encounter": {"reference": ENCOUNTER},
                "issued": "2026-03-01T07:59:00Z",
                "result": [{"reference": OBSERVATION}],
            }),
            entry(OBSERVATION, {
                "resourceType": "Observation",
                "status": "final",
                "code": {"coding": [{"system": "http://loinc.org", "code": "2345-7"}]},
                "subject": {"reference": PATIENT},
                "effectiveDateTime": "2026-03-01T07:30:00Z",
                "valueQuantity": {"value": 5.4, "unit": "mmol/L"},
                "interpretation": [{
                    "coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation",
                                "code": "N"}],
                }],
                "referenceRange": [{"text": "3.9-5.8"}],
            }),
        ],
    }


def resource(bundle, kind):
    return next(e["resource"] for e in bundle["entry"] if e["resource"]["resourceType"] == kind)


FAULTS = []


def fault(kind):
    """A function of `FAULTS`: its name says the fault, `kind` the resource that it is given."""
    def take(function):
        FAULTS.append((function.__name__.replace("_", " "), kind, function))
        return function
    return take


@fault("Patient")
def string_where_a_list_belongs(r): r["name"] = "Muster"
@fault("Patient")
def list_where_one_belongs(r): r["birthDate"] = ["1980-02-29"]
@fault("Patient")
def number_where_a_string_belongs(r): r["identifier"][0]["value"] = 4711
@fault("Patient")
def string_where_a_boolean_belongs(r): r["active"] = "true"
@fault("Observation")
def string_where_a_number_belongs(r): r["valueQuantity"]["value"] = "5.4"
@fault("Patient")
def unknown_element(r): r["religion"] = "none"
@fault("Patient")
def unknown_element_of_a_type(r): r["name"][0]["middle"] = "Eva"
@fault("Observation")
def element_of_another_version(r): r["instantiatesCanonical"] = "http://example.org/x"
@fault("Observation")
def required_code_missing(r): del r["code"]
@fault("Observation")
def required_status_missing(r): del r["status"]
@fault("Encounter")
def required_class_missing(r): del r["class"]
@fault("MessageHeader")
def required_source_missing(r): del r["source"]
@fault("MessageHeader")
def required_endpoint_missing(r): del r["source"]["endpoint"]
@fault("MessageHeader")
def required_choice_missing(r): del r["eventCoding"]
@fault("Patient")
def code_outside_a_required_value_set(r): r["gender"] = "F"
@fault("Observation")
def status_outside_its_value_set(r): r["status"] = "F"
@fault("Patient")
def use_outside_its_value_set(r): r["name"][0]["use"] = "L"
@fault("Patient")
def telecom_system_outside_its_value_set(r): r["telecom"][0]["system"] = "PH"
@fault("Observation")
def code_unknown_to_its_own_system(r): r["interpretation"][0]["coding"][0]["code"] = "NORMALISH"
@fault("Patient")
def code_unknown_to_a_v2_table(r): r["identifier"][0]["type"]["coding"][0]["code"] = "QQQ"
@fault("Patient")
def date_as_v2_writes_it(r): r["birthDate"] = "19800229"
@fault("Patient")
def day_that_does_not_exist(r): r["birthDate"] = "1981-02-29"
@fault("Observation")
def time_without_a_zone(r): r["effectiveDateTime"] = "2026-03-01T07:30:00"
@fault("DiagnosticReport")
def instant_without_a_time(r): r["issued"] = "2026-03-01"
@fault("Observation")
def month_thirteen(r): r["effectiveDateTime"] = "2026-13-01"
@fault("Patient")
def empty_list(r): r["name"] = []
@fault("Patient")
def empty_object(r): r["name"][0] = {}
@fault("Patient")
def empty_string(r): r["name"][0]["family"] = ""
@fault("Patient")
def null_value(r): r["gender"] = None
@fault("Patient")
def blank_string(r): r["address"][0]["city"] = "   "
@fault("Observation")
def two_of_one_choice(r): r["valueString"] = "5.4"
@fault("Observation")
def choice_of_a_type_not_allowed(r):
    del r["valueQuantity"]
    r["valueAttachment"] = {"title": "x"}
@fault("Observation")
def reference_to_a_kind_not_allowed(r): r["subject"] = {"reference": OBSERVATION}
@fault("Observation")
def reference_to_nothing_in_the_bundle(r): r["subject"] = {"reference": "urn:uuid:8d3e2c5e-6c1f-4b53-9b0e-2f6f6f1affff"}
@fault("Observation")
def reference_to_nothing_contained(r): r["subject"] = {"reference": "#nobody"}
@fault("Observation")
def value_and_reason_for_no_value(r):
    r["dataAbsentReason"] = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/data-absent-reason",
                                         "code": "unknown"}]}
@fault("Observation")
def range_without_bounds_or_text(r): r["referenceRange"] = [{"type": {"text": "normal"}}]
@fault("Patient")
def telecom_without_a_system(r): del r["telecom"][0]["system"]
@fault("Encounter")
def period_that_ends_before_it_starts(r): r["period"] = {"start": "2026-03-01", "end": "2026-02-01"}
@fault("Encounter")
def status_history_without_its_period(r): r["statusHistory"] = [{"status": "planned"}]
@fault("Patient")
def link_without_its_type(r): r["link"] = [{"other": {"reference": PATIENT}}]
@fault("Patient")
def extension_without_a_url(r): r["extension"] = [{"valueString": "x"}]
@fault("Patient")
def extension_with_value_and_extensions(r):
    r["extension"] = [{"url": "http://example.org/x", "valueString": "x",
                       "extension": [{"url": "y", "valueString": "y"}]}]
@fault("Patient")
def coding_system_that_is_no_uri(r): r["identifier"][0]["type"]["coding"][0]["system"] = "not a uri"
@fault("MessageHeader")
def identifier_of_a_resource_with_a_blank(r): r["id"] = "a b"
@fault("Bundle")
def bundle_type_unknown(b): b["type"] = "messages"
@fault("Bundle")
def message_whose_first_entry_is_no_header(b): b["entry"].append(b["entry"].pop(0))
@fault("Bundle")
def the_same_full_url_twice(b): b["entry"][2]["fullUrl"] = PATIENT
@fault("Bundle")
def an_entry_without_a_resource(b): b["entry"].append({"fullUrl": "urn:uuid:8d3e2c5e-6c1f-4b53-9b0e-2f6f6f1a0009"})
@fault("Bundle")
def resource_type_unknown(b): b["entry"][1]["resource"]["resourceType"] = "Person2"
@fault("Bundle")
def request_in_a_message(b): b["entry"][1]["request"] = {"method": "POST", "url": "Patient"}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hapi")
    arguments = parser.parse_args()
    bundles = [sound()]
    for _, kind, sow in FAULTS:
        bundle = copy.deepcopy(sound())
        sow(bundle if kind == "Bundle" else resource(bundle, kind))
        bundles.append(bundle)
    issues, _ = validate.validate([json.dumps(bundle) for bundle in bundles], hapi=arguments.hapi)

    wrong = []
    if any(issues[0].values()):
        wrong.append(f"the sound Bundle is refused: {json.dumps(issues[0])}")
    print(f"{'fault':45}" + "".join(f"{name:>9}" for name in validate.NAMES))
    totals = dict.fromkeys(validate.NAMES, 0)
    for (name, _, _), found in zip(FAULTS, issues[1:]):
        print(f"{name:45}" + "".join(f"{'found' if found[v] else '-':>9}" for v in validate.NAMES))
        for validator in validate.NAMES:
            totals[validator] += bool(found[validator])
        if not any(found.values()):
            wrong.append(f"nobody finds: {name}")
    together = sum(1 for found in issues[1:] if any(found.values()))
    print(f"{f'found of {len(FAULTS)}':45}" + "".join(f"{totals[v]:>9}" for v in validate.NAMES)
          + f"   together {together}")
    wrong += [f"{name} finds {totals[name]}, at least {least} expected"
              for name, least in LEAST.items() if totals[name] < least]
    for line in wrong:
        print(f"wrong: {line}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
