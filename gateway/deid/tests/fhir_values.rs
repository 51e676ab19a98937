//! Numbers and codes of FHIR at the edges of what passes.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use serde_json::Value;
use support::fhir::{clinical, shaped};
use support::{policy, release};

const LABELS: [&str; 2] = ["safe-harbor", "limited-data-set"];
/// HIV 1 RNA, copies per volume.
const VIRUS_LOAD: &str = r#"{"coding":[{"system":"http://loinc.org","code":"20447-9"}]}"#;

fn load(code: &str, number: &str, unit: &str) -> Value {
    let json = format!(
        r#"{{"resourceType":"Observation","status":"final","code":{code},"valueQuantity":{{"value":{number},{unit}}}}}"#
    );
    let values: Vec<Value> = LABELS.map(|name| shaped(name, &json)["valueQuantity"]["value"].clone()).into();
    assert_eq!(values[0], values[1], "{json}");
    values[0].clone()
}

#[test]
fn virus_loads_pass_to_the_digit_and_numbers_of_people_do_not() {
    let ucum = |code: &str| format!(r#""system":"http://unitsofmeasure.org","code":"{code}""#);
    for unit in [
        ucum("{copies}/mL"),
        ucum("[IU]/mL"),
        ucum("/mL"),
        r#""unit":"copies/mL""#.to_owned(),
        r#""unit":"IU/mL""#.to_owned(),
    ] {
        for number in ["12345678", "98765432.5", "9999999", "170000000", "123456700"] {
            assert_eq!(load(VIRUS_LOAD, number, &unit).to_string(), number, "{unit}");
        }
        // A social security number, a telephone number, days.
        for number in ["123456789", "5553125567", "19540311", "12311954", "31121954"] {
            let json = format!(
                r#"{{"resourceType":"Observation","status":"final","code":{VIRUS_LOAD},"valueQuantity":{{"value":{number},{unit}}}}}"#
            );
            for name in LABELS {
                let Ok(release) = release(&policy(name), &clinical(&json)) else { continue };
                let text = String::from_utf8_lossy(release.payload()).into_owned();
                assert!(!text.contains(number), "{name}: {number} in {text}");
            }
        }
    }
    // Nobody vouches for the code, or the unit is of something of which there are not so many.
    assert!(load(r#"{"text":"Number"}"#, "12345678", &ucum("{copies}/mL")).is_null());
    for unit in [ucum("mg/dL"), ucum("kg"), ucum("1"), ucum("{score}"), r#""unit":"SMITH/mL""#.to_owned()] {
        assert!(load(VIRUS_LOAD, "12345678", &unit).is_null(), "{unit}");
    }
}

/// The number of the record itself is held, whatever it is said to count.
#[test]
fn a_known_number_is_held_where_a_load_would_pass() {
    let bundle = |value: &str| {
        format!(
            r#"{{"resourceType":"Bundle","type":"collection","entry":[
                {{"resource":{{"resourceType":"Patient","id":"p","identifier":[{{"value":"12345678"}}]}}}},
                {{"resource":{{"resourceType":"Observation","status":"final","code":{VIRUS_LOAD},"valueQuantity":{{"value":{value},
                    "system":"http://unitsofmeasure.org","code":"{{copies}}/mL"}}}}}}]}}"#
        )
    };
    for name in LABELS {
        let held = release(&policy(name), &clinical(&bundle("12345678"))).unwrap_err();
        assert_eq!(held.why.as_str(), "gate-identifier", "{name}");
        release(&policy(name), &clinical(&bundle("12345679"))).unwrap();
    }
}

/// JSON can write a letter in two ways; it is the same letter.
#[test]
fn escapes_change_nothing() {
    let plain = r#"{"resourceType":"Observation","status":"final","code":{"coding":[{"system":"http://loinc.org","code":"8867-4"}]},
        "effectiveDateTime":"2024-05-06","valueQuantity":{"value":7,"unit":"/min","system":"http://unitsofmeasure.org","code":"/min"},
        "interpretation":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation","code":"H"}]}],
        "extension":[{"url":"http://hl7.org/fhir/StructureDefinition/data-absent-reason","valueCode":"unknown"}],
        "component":[{"code":{"coding":[{"system":"http://loinc.org","code":"8867-4"}]},
            "valueSampledData":{"origin":{"value":0},"period":10,"dimensions":1,"data":"1 2 E"}}]}"#;
    let escaped = plain
        .replace("final", r"\u0066inal")
        .replace("8867-4", r"8867\u002d4")
        .replace("2024-05-06", r"2024-05-0\u0036")
        .replace("\"H\"", r#""\u0048""#)
        .replace("unknown", r"\u0075nknown")
        .replace("/min", r"\/min")
        .replace("1 2 E", r"1 2 \u0045")
        .replace("\"status\"", r#""st\u0061tus""#);
    assert_eq!(
        serde_json::from_str::<Value>(plain).unwrap(),
        serde_json::from_str::<Value>(&escaped).unwrap()
    );
    for name in LABELS {
        let value = shaped(name, plain);
        assert_eq!(value["component"][0]["valueSampledData"]["data"], "1 2 E");
        assert_eq!(value["extension"][0]["valueCode"], "unknown");
        assert_eq!(shaped(name, &escaped), value, "{name}");
    }
    // And a name in escapes is a name.
    let name = plain.replace("\"final\"", r#""\u0053MITH""#);
    let out = shaped("safe-harbor", &name).to_string();
    assert!(!out.contains("SMITH") && !out.contains("u0053"), "{out}");
}

/// A value that is not there is not there; what must be there says why it is not.
#[test]
fn nothing_is_made_of_nothing() {
    let address = r#"{"resourceType":"Patient","address":[{"state":"WA","country":"US"}]}"#;
    for name in LABELS {
        assert_eq!(shaped(name, address)["address"][0], serde_json::json!({"state": "WA", "country": "US"}));
        let header = r#"{"resourceType":"MessageHeader","eventUri":"http://kestrel.example","source":{"endpoint":"http://kestrel.example"}}"#;
        assert_eq!(shaped(name, header)["eventCoding"]["extension"][0]["valueCode"], "masked");
    }
}
