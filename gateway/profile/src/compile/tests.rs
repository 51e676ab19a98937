use super::*;
use proptest::prelude::*;

/// A small good profile to spoil.
const GOOD: &str = r#"language = 1

[profile]
id = "acme.thing"
version = 1
family = "thermometer"
title = "A thing"
source = "Acme, The Thing, edition 2"

[frame]
kind = "message"
bytes_max = 8

[[field]]
name = "flags"
type = "u8"

[[field]]
name = "degrees"
type = "i16le"
when = { field = "flags", bit = 0 }

[[numeric]]
field = "degrees"
metric = "MDC_TEMP_BODY"
loinc = "8310-5"
ucum = "Cel"
scale = [1, 100]
range = [20, 45]

[[status]]
meaning = "Probe off"
when = { field = "flags", mask = 0x06, value = 0x04 }
absent = "sensor-off"
"#;

fn spoiled(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    match Profile::compile(&GOOD.replacen(from, to, 1)) {
        Ok(_) => format!("{to}: compiles"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn the_good_profile_is_good() {
    let profile = Profile::compile(GOOD).unwrap();
    assert_eq!((profile.id(), profile.version(), profile.family()), ("acme.thing", 1, "thermometer"));
    assert_eq!((profile.title(), profile.source()), ("A thing", "Acme, The Thing, edition 2"));
}

#[test]
fn errors_name_the_place_and_the_way_out() {
    let cases = [
        ("language = 1", "language = 2"),
        ("language = 1", ""),
        ("id = \"acme.thing\"", "id = \"Acme Thing\""),
        ("version = 1", "version = 0"),
        ("version = 1", "versoin = 1"),
        ("family = \"thermometer\"", "family = \"Thermo Meter\""),
        ("title = \"A thing\"", "title = \" \""),
        ("kind = \"message\"", "kind = \"massage\""),
        ("bytes_max = 8", "bytes_max = 0"),
        ("bytes_max = 8", "bytes_max = 2"),
        ("bytes_max = 8", "bytes_max = 8\ntrailing_if = { field = \"flag\", bit = 7 }"),
        ("type = \"i16le\"", "type = \"i16\""),
        ("name = \"degrees\"", "name = \"flags\""),
        ("name = \"flags\"", "name = \"Flags\""),
        ("name = \"flags\"", "name = \"flags\"\nrepeat_max = 2"),
        ("bit = 0 }", "bit = 8 }"),
        ("bit = 0 }", "bite = 0 }"),
        ("bit = 0 }", "bit = 0, mask = 1 }"),
        ("bit = 0 }", "mask = 0 }"),
        ("bit = 0 }", "mask = 0x100 }"),
        ("value = 0x04", "value = 0x08"),
        ("field = \"degrees\"", "field = \"degree\""),
        ("field = \"flags\", bit", "field = \"degrees\", bit"),
        ("field = \"flags\", mask", "field = \"degrees\", mask"),
        ("MDC_TEMP_BODY", "TEMP_BODY"),
        ("8310-5", "8310-6"),
        ("\"Cel\"", "\"deg C\""),
        ("[1, 100]", "[1, 0]"),
        ("[20, 45]", "[45, 20]"),
        ("absent = \"sensor-off\"", "absent = \"gone\""),
        ("absent = \"sensor-off\"", "absent = \"sensor-off\"\nquality = \"test\""),
        ("absent = \"sensor-off\"", ""),
        ("[[status]]", "[[statuses]]"),
        ("[[numeric]]", "[[numeric"),
        ("type = \"u8\"", "type = \"u8\"\n[[field]]\nname = \"flags2\"\ntype = \"f64\""),
    ];
    let errors: Vec<String> =
        cases.iter().map(|(from, to)| format!("{to:?}\n    {}", spoiled(from, to))).collect();
    insta::assert_snapshot!(errors.join("\n"));
}

#[test]
fn sizes_have_limits() {
    let fields: String =
        (0..FIELDS_MAX).map(|n| format!("[[field]]\nname = \"f{n}\"\ntype = \"u8\"\n")).collect();
    let many = GOOD.replacen("[[field]]", &format!("{fields}[[field]]"), 1).replace("= 8\n", "= 4096\n");
    assert!(Profile::compile(&many).unwrap_err().message.contains("66 of [[field]]"));

    let padded = format!("{GOOD}# {}\n", "x".repeat(DOCUMENT_BYTES_MAX));
    assert!(Profile::compile(&padded).unwrap_err().message.contains("more than"));

    let rule = GOOD.split_once("[[status]]").unwrap().1;
    let rules = format!("[[status]]{rule}").repeat(STATUSES_MAX);
    assert!(Profile::compile(&format!("{GOOD}{rules}")).is_err());
}

#[test]
fn columns_count_code_points() {
    let document = GOOD.replacen("title = \"A thing\"", "title = \"Ä\" ; ", 1);
    let error = Profile::compile(&document).unwrap_err();
    assert_eq!((error.line, error.column), (7, 13), "{error}");
}

#[test]
fn loinc_codes_have_a_check_digit() {
    for good in ["59408-5", "8889-8", "61006-3", "8867-4", "8310-5", "8480-6", "8462-4", "2708-6"] {
        assert!(is_loinc(good), "{good}");
    }
    for bad in ["59408-6", "59048-5", "59408", "-5", "59408-55", "5940a-5", "", "LP12-3"] {
        assert!(!is_loinc(bad), "{bad}");
    }
}

#[test]
fn the_schema_knows_the_tables_and_the_shipped_profile() {
    let schema = serde_json::to_value(Profile::json_schema()).unwrap();
    for table in ["language", "profile", "frame", "field", "numeric", "status"] {
        assert!(schema["properties"].get(table).is_some(), "{table}");
    }
    assert_eq!(schema["additionalProperties"], false);
}

proptest! {
    #[test]
    fn any_document_is_a_profile_or_an_error(document in ".*") {
        drop(Profile::compile(&document));
    }

    /// One byte changed anywhere: never a panic, and an error's place is in the document.
    #[test]
    fn a_spoiled_document_is_a_profile_or_an_error_in_it(at in 0..GOOD.len(), byte in 0x20_u8..0x7f) {
        let mut bytes = GOOD.as_bytes().to_vec();
        bytes[at] = byte;
        let document = String::from_utf8(bytes).unwrap();
        if let Err(error) = Profile::compile(&document) {
            prop_assert!(error.line >= 1 && error.line <= document.lines().count() + 1, "{}", error);
            prop_assert!(error.column >= 1);
        }
    }
}

#[test]
fn reference_ids_are_short() {
    let long = GOOD.replace("MDC_TEMP_BODY", &format!("MDC_{}", "X".repeat(61)));
    assert!(Profile::compile(&long).unwrap_err().message.contains("11073-10101"));
    let short = GOOD.replace("MDC_TEMP_BODY", &format!("MDC_{}", "X".repeat(60)));
    assert!(Profile::compile(&short).is_ok());
}
