use std::path::PathBuf;

use serde_json::{Value, json};

use super::*;

fn said(text: &str) -> String {
    let report = validate(text.as_bytes());
    let lines = report.issues.iter().map(|i| {
        let (code, at) = (i.code.as_str(), if i.expression.is_empty() { "-" } else { &i.expression });
        format!("{code} {at}: {}\n", i.diagnostics)
    });
    lines.collect()
}

fn valid(value: &Value) {
    let text = value.to_string();
    assert_eq!(said(&text), "", "{text}");
}

fn patient() -> Value {
    json!({
        "resourceType": "Patient",
        "id": "p1",
        "meta": {"versionId": "1", "lastUpdated": "2024-02-29T10:00:00.000+01:00"},
        "text": {"status": "generated", "div": "<div xmlns=\"http://www.w3.org/1999/xhtml\"><p>a</p></div>"},
        "contained": [{"resourceType": "Organization", "id": "o", "name": "Ward"}],
        "extension": [{"url": "http://example.org/e", "valueString": "x"}],
        "identifier": [{"use": "usual", "system": "urn:oid:1.2.3", "value": "4"}],
        "active": true,
        "name": [{"family": "Testperson", "given": ["A", null, "C"],
            "_given": [null, {"extension": [{"url": "http://example.org/e", "valueBoolean": true}]}, {"id": "g"}]}],
        "gender": "female",
        "birthDate": "1970-03",
        "_birthDate": {"extension": [{"url": "http://example.org/t", "valueDateTime": "1970-03-01T10:00:00Z"}]},
        "deceasedBoolean": false,
        "telecom": [{"system": "phone", "value": "+0"}],
        "managingOrganization": {"reference": "#o"},
        "contact": [{"name": {"text": "b"}}],
        "multipleBirthInteger": 2,
    })
}

#[test]
fn a_patient_with_something_of_everything_is_valid() {
    let report = validate(patient().to_string().as_bytes());
    assert_eq!(report.resource_type, Some("Patient"));
    assert!(report.is_valid());
    valid(&patient());
    assert_eq!(
        report.operation_outcome(),
        r#"{"resourceType":"OperationOutcome","issue":[{"severity":"information","code":"informational","diagnostics":"no issues were found"}]}"#
    );
}

#[test]
fn an_outcome_is_a_valid_resource_itself() {
    for text in ["{}", "", "{\"resourceType\":\"Patient\",\"gender\":\"\\\"x\"}"] {
        let outcome = validate(text.as_bytes()).operation_outcome();
        assert_eq!(said(&outcome), "", "{outcome}");
    }
}

/// Changes one thing of a valid resource, and shows what is said of it.
#[test]
fn one_fault_at_a_time() {
    let set = |pointer: &str, name: &str, value: Value| {
        let mut patient = patient();
        patient.pointer_mut(pointer).unwrap()[name] = value;
        patient.to_string()
    };
    let cases = [
        ("no json", "{".to_owned()),
        ("no object", "[]".to_owned()),
        ("no type", "{\"id\":\"1\"}".to_owned()),
        ("unknown type", set("", "resourceType", json!("Patiant"))),
        ("abstract type", set("", "resourceType", json!("DomainResource"))),
        ("a name twice", r#"{"resourceType":"Patient","active":true,"active":false}"#.to_owned()),
        ("a type twice", r#"{"resourceType":"Patient","resourceType":"Group"}"#.to_owned()),
        ("unknown name", set("", "surname", json!("Testperson"))),
        ("misspelt name", set("", "birthdate", json!("1970"))),
        ("a comment", set("", "fhir_comments", json!(["x"]))),
        ("one, not a list", set("", "name", json!({"text": "x"}))),
        ("a list, not one", set("", "gender", json!(["female"]))),
        ("an empty list", set("", "name", json!([]))),
        ("an empty object", set("", "maritalStatus", json!({}))),
        ("an empty string", set("/name/0", "family", json!(""))),
        ("null", set("", "gender", json!(null))),
        ("null without a partner", set("/name/0", "given", json!([null, "B", "C"]))),
        ("lists of unequal length", set("/name/0", "given", json!(["A", null]))),
        ("text for a boolean", set("", "active", json!("true"))),
        ("a fraction for an integer", set("", "multipleBirthInteger", json!(1.5))),
        ("text for an object", set("", "maritalStatus", json!("M"))),
        ("two of a choice", set("", "deceasedDateTime", json!("2020"))),
        ("two of a choice, one by extension", set("", "_deceasedDateTime", json!({"id": "x"}))),
        ("a type that the choice lacks", set("", "deceasedString", json!("x"))),
        ("no day of the calendar", set("", "birthDate", json!("1970-02-30"))),
        ("a date as HL7 v2 has it", set("", "birthDate", json!("19700301"))),
        ("no zone", set("/meta", "lastUpdated", json!("2024-02-29T10:00:00"))),
        ("a code of no value set", set("", "gender", json!("F"))),
        ("an id that is none", set("", "id", json!("a b"))),
        ("a missing element", set("", "link", json!([{"type": "refer"}]))),
        (
            "a script",
            set(
                "/text",
                "div",
                json!("<div xmlns=\"http://www.w3.org/1999/xhtml\"><script>x</script></div>"),
            ),
        ),
        ("an extension with both", set("/extension/0", "extension", json!([{"url": "x", "valueCode": "y"}]))),
        ("an extension with neither", set("", "extension", json!([{"url": "x"}]))),
        ("an extension without url", set("", "extension", json!([{"valueCode": "x"}]))),
        ("a reference to another type", set("", "managingOrganization", json!({"reference": "Patient/1"}))),
        ("a reference of no form", set("", "generalPractitioner", json!([{"reference": "Dr X"}]))),
        ("no such contained", set("", "managingOrganization", json!({"reference": "#x"}))),
        ("an unused contained", set("", "managingOrganization", json!({"display": "x"}))),
        (
            "a contained in a contained",
            set("/contained/0", "contained", json!([{"resourceType": "Group", "id": "g"}])),
        ),
        ("a contained with a version", set("/contained/0", "meta", json!({"versionId": "1"}))),
        ("a telecom without system", set("", "telecom", json!([{"value": "1"}]))),
        ("a contact of nobody", set("", "contact", json!([{"gender": "male"}]))),
        ("backwards", set("/name/0", "period", json!({"start": "2024", "end": "2023"}))),
        ("data without type", set("", "photo", json!([{"data": "YQ=="}]))),
        ("bad base64", set("", "photo", json!([{"contentType": "image/png", "data": "YQ"}]))),
        ("xml", "<Patient xmlns=\"http://hl7.org/fhir\"/>".to_owned()),
    ];
    let mut out = String::new();
    for (name, text) in cases {
        let said = said(&text);
        assert!(!said.is_empty(), "{name} is not found");
        assert!(!said.contains("Testperson") && !said.contains("Dr X"), "{said}");
        out.push_str(&format!("## {name}\n{said}"));
    }
    insta::assert_snapshot!(out);
}

fn observation() -> Value {
    json!({
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
        "subject": {"reference": "Patient/p1"},
        "effectiveDateTime": "2024-02-29T10:00:00Z",
        "valueQuantity": {"value": 80, "unit": "/min", "system": "http://unitsofmeasure.org", "code": "/min"},
        "referenceRange": [{"low": {"value": 60.0}}],
        "component": [{"code": {"text": "x"}, "dataAbsentReason": {"text": "y"}}],
    })
}

#[test]
fn invariants_are_held() {
    valid(&observation());
    let with = |base: Value, changes: Value| {
        let mut base = base;
        for (name, value) in changes.as_object().unwrap() {
            base[name] = value.clone();
        }
        base
    };
    let coded = |code: &str, system: &str| json!({"coding": [{"system": system, "code": code}]});
    let clinical = |code| coded(code, "http://terminology.hl7.org/CodeSystem/condition-clinical");
    let verified = |code| coded(code, "http://terminology.hl7.org/CodeSystem/condition-ver-status");
    let condition = json!({"resourceType": "Condition", "subject": {"reference": "Patient/1"}, "clinicalStatus": clinical("active")});
    let appointment = json!({"resourceType": "Appointment", "status": "booked", "start": "2024-02-29T10:00:00Z",
        "end": "2024-02-29T10:30:00Z", "participant": [{"actor": {"reference": "Patient/1"}, "status": "accepted"}]});
    valid(&condition);
    valid(&appointment);
    valid(&json!({"resourceType": "Parameters", "parameter": [{"name": "a", "resource": patient()}]}));
    for (key, value) in [
        ("obs-6", with(observation(), json!({"dataAbsentReason": {"text": "x"}}))),
        (
            "obs-7",
            with(observation(), json!({"component": [{"code": observation()["code"], "valueString": "x"}]})),
        ),
        ("obs-3", with(observation(), json!({"referenceRange": [{"age": {"low": {"value": 1}}}]}))),
        ("qty-3", with(observation(), json!({"valueQuantity": {"value": 1, "code": "mg"}}))),
        (
            "rat-1",
            with(
                json!({"resourceType": "Observation", "status": "final", "code": {"text": "x"}}),
                json!({"valueRatio": {"numerator": {"value": 1}}}),
            ),
        ),
        ("con-4", with(condition.clone(), json!({"abatementDateTime": "2024"}))),
        ("con-5", with(condition.clone(), json!({"verificationStatus": verified("entered-in-error")}))),
        ("condition-clinical", with(condition.clone(), json!({"clinicalStatus": {"text": "active"}}))),
        (
            "condition-clinical",
            with(condition.clone(), json!({"clinicalStatus": coded("active", "http://other")})),
        ),
        ("ait-1", json!({"resourceType": "AllergyIntolerance", "patient": {"reference": "Patient/1"}})),
        ("app-1", with(appointment.clone(), json!({"participant": [{"status": "accepted"}]}))),
        (
            "app-2",
            with(
                appointment.clone(),
                json!({"status": "proposed", "_end": {"id": "x"}, "start": "2024-02-29T10:00:00Z"}),
            )
            .as_object()
            .map(|o| {
                let mut o = o.clone();
                o.remove("end");
                o.remove("_end");
                o.into()
            })
            .unwrap(),
        ),
        (
            "app-3",
            json!({"resourceType": "Appointment", "status": "booked", "participant": appointment["participant"]}),
        ),
        ("org-1", json!({"resourceType": "Organization", "active": true})),
        (
            "cmp-1",
            json!({"resourceType": "Composition", "status": "final", "type": {"text": "x"}, "date": "2024", "author": [{"display": "x"}], "title": "x", "section": [{"title": "x"}]}),
        ),
        (
            "inv-1",
            json!({"resourceType": "Parameters", "parameter": [{"name": "a", "valueCode": "b", "part": [{"name": "c", "valueCode": "d"}]}]}),
        ),
        ("one of them only", with(observation(), json!({"valueString": "x"}))),
    ] {
        let said = said(&value.to_string());
        assert!(said.contains(key), "{key}: {said:?} of {value}");
    }
}

fn transaction() -> Value {
    json!({
        "resourceType": "Bundle", "type": "transaction",
        "entry": [
            {"fullUrl": "urn:uuid:c757873d-ec9a-4326-a141-556f43239520", "resource": patient(),
             "request": {"method": "PUT", "url": "Patient/p1"}},
            {"fullUrl": "urn:uuid:c757873d-ec9a-4326-a141-556f43239521",
             "resource": {"resourceType": "Observation", "status": "final", "code": {"text": "x"},
                "subject": {"reference": "urn:uuid:c757873d-ec9a-4326-a141-556f43239520"}},
             "request": {"method": "POST", "url": "Observation", "ifNoneExist": "identifier=1"}},
            {"request": {"method": "DELETE", "url": "Group/1"}},
        ],
    })
}

#[test]
fn bundles_are_judged_as_a_whole() {
    valid(&transaction());
    let set = |pointer: &str, name: &str, value: Value| {
        let mut bundle = transaction();
        bundle.pointer_mut(pointer).unwrap()[name] = value;
        bundle
    };
    let without = |pointer: &str, name: &str| {
        let mut bundle = transaction();
        bundle.pointer_mut(pointer).unwrap().as_object_mut().unwrap().remove(name);
        bundle
    };
    for (key, value) in [
        ("bdl-1", set("", "total", json!(3))),
        ("bdl-2", set("/entry/0", "search", json!({"mode": "match"}))),
        ("bdl-3", without("/entry/0", "request")),
        ("bdl-3", set("", "type", json!("collection"))),
        ("bdl-4", set("/entry/0", "response", json!({"status": "200"}))),
        ("bdl-7", {
            let mut twice = transaction();
            twice["entry"] = json!([twice["entry"][1], twice["entry"][1], twice["entry"][0]]);
            twice
        }),
        ("bdl-8", set("/entry/0", "fullUrl", json!("http://h/Patient/p1/_history/1"))),
        ("bdl-11", json!({"resourceType": "Bundle", "type": "document", "entry": [{"resource": patient()}]})),
        ("bdl-9", json!({"resourceType": "Bundle", "type": "document", "timestamp": "2024-02-29T10:00:00Z"})),
        ("bdl-12", json!({"resourceType": "Bundle", "type": "message", "entry": [{"resource": patient()}]})),
        ("the id that the url names", set("/entry/0/request", "url", json!("Patient/p2"))),
        ("another type", set("/entry/1/request", "url", json!("Patient"))),
        ("needs a resource", without("/entry/0", "resource")),
        ("has no resource", set("/entry/2", "resource", patient())),
        (
            "known from elsewhere",
            set("/entry/0", "fullUrl", json!("urn:uuid:c757873d-ec9a-4326-a141-556f43239529")),
        ),
        ("another id", set("/entry/0", "fullUrl", json!("http://h/fhir/Patient/p9"))),
        ("this method", set("/entry/0/request", "method", json!("PURGE"))),
    ] {
        let said = said(&value.to_string());
        let known = said.contains(key) || (key == "this method" && said.contains("http-verb"));
        assert!(known, "{key}: {said:?}");
    }
    let said = said(&set("/entry/1/resource", "status", json!("x")).to_string());
    assert!(said.contains("code-invalid Bundle.entry[1].resource.status:"), "{said}");
}

#[test]
fn issues_are_bounded() {
    let names: Vec<String> = (0..10_000).map(|n| format!("\"x{n}\":1")).collect();
    let report = validate(format!("{{\"resourceType\":\"Patient\",{}}}", names.join(",")).as_bytes());
    assert_eq!(report.issues.len(), ISSUES_MAX + 1);
    assert!(report.issues.last().unwrap().diagnostics.contains("there are more"));
}

#[test]
fn what_others_made_is_valid() {
    let named = std::env::var_os("WARDGATE_CORPUS").map(PathBuf::from);
    let corpus =
        named.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus"));
    let Ok(entries) = std::fs::read_dir(corpus.join("fhir-r4")) else {
        println!("skipped: no corpus at WARDGATE_CORPUS or ../shared/corpus");
        return;
    };
    let mut count = 0;
    for entry in entries.map(|e| e.unwrap().path()).filter(|p| p.extension().is_some_and(|e| e == "json")) {
        let text = std::fs::read_to_string(&entry).unwrap();
        assert!(validate(text.as_bytes()).is_valid(), "{}: {}", entry.display(), said(&text));
        count += 1;
    }
    assert!(count >= 5);
}

#[test]
fn timings_have_their_units() {
    let said_of = |repeat: Value| {
        said(
            &json!({
                "resourceType": "ServiceRequest", "status": "active", "intent": "order",
                "subject": {"reference": "Patient/1"}, "occurrenceTiming": {"repeat": repeat},
            })
            .to_string(),
        )
    };
    let fine = json!({
        "count": 1, "countMax": 2, "duration": 1, "durationMax": 2, "durationUnit": "h", "period": 1,
        "periodMax": 2, "periodUnit": "d", "timeOfDay": ["08:00:00"],
    });
    assert_eq!(said_of(fine.clone()), "");
    for (change, rule) in [
        (json!({"durationUnit": null}), "tim-1"),
        (json!({"periodUnit": null}), "tim-2"),
        (json!({"duration": -1}), "tim-4"),
        (json!({"period": -1}), "tim-5"),
        (json!({"period": null}), "tim-6"),
        (json!({"duration": null}), "tim-7"),
        (json!({"count": null}), "tim-8"),
        (json!({"when": ["ACM"]}), "tim-10"),
    ] {
        let mut repeat = fine.clone();
        for (name, value) in change.as_object().unwrap() {
            match value {
                Value::Null => drop(repeat.as_object_mut().unwrap().remove(name)),
                value => repeat[name] = value.clone(),
            }
        }
        assert!(said_of(repeat).contains(&format!("({rule})")), "{rule}");
    }
}
