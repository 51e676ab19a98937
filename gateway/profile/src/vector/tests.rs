use super::*;

const PROFILE: &str = include_str!("../../../../firmware-profiles/devices/bluetooth-plx/profile.toml");

const VECTOR: &str = r#"case = "normal"
derived = "by hand"
payload = "00 6100 4800"

[[expect]]
metric = "MDC_PULS_OXIM_SAT_O2"
loinc = "59408-5"
ucum = "%"
value = 97

[[expect]]
metric = "MDC_PULS_OXIM_PULS_RATE"
loinc = "8889-8"
ucum = "/min"
value = 72
"#;

#[test]
fn a_profile_without_vectors_does_not_load() {
    assert_eq!(Profile::load(PROFILE, []), Err(LoadError::NoVectors { id: "bluetooth.plx".into() }));
    assert!(Profile::load(PROFILE, [("normal.toml", VECTOR)]).is_ok());
}

#[test]
fn a_vector_that_fails_shows_a_diff_and_stops_the_profile() {
    let wrong = VECTOR.replace("value = 72", "absent = \"invalid\"").replace("value = 97", "value = 98");
    let error = Profile::load(PROFILE, [("normal.toml", VECTOR), ("wrong.toml", &wrong)]).unwrap_err();
    insta::assert_snapshot!(error, @r"
    vectors/wrong.toml: normal: - expected, + decoded
    - MDC_PULS_OXIM_SAT_O2 59408-5 98.0 % good
    + MDC_PULS_OXIM_SAT_O2 59408-5 97.0 % good
    - MDC_PULS_OXIM_PULS_RATE 8889-8 absent invalid /min good
    + MDC_PULS_OXIM_PULS_RATE 8889-8 72.0 /min good
    ");
}

#[test]
fn every_part_of_an_observation_counts() {
    let profile = Profile::compile(PROFILE).unwrap();
    for (from, to) in [
        ("SAT_O2", "SAT_O2_X"),
        ("59408-5", "8889-8"),
        ("\"%\"", "\"1\""),
        ("97", "97.00000001"),
        ("value = 97", "value = 97\nquality = \"test\""),
        ("4800", "4900"),
        ("00 6100 4800", "00 6100"),
        ("00 6100 4800", "01 6100 4800 6100 4800"),
    ] {
        let vector = Vector::parse(&VECTOR.replacen(from, to, 1)).unwrap();
        assert!(vector.check(&profile).is_err(), "{to}");
    }
}

#[test]
fn bad_vectors_say_where() {
    for (from, to, expected) in [
        (
            "payload = \"00 6100 4800\"",
            "payload = \"00 61\u{20}4\"",
            "line 3, column 11: not bytes in hexadecimal, two digits each",
        ),
        ("value = 97", "valeu = 97", "did you mean `value`?"),
        ("value = 97", "", "needs exactly one of `value` and `absent`"),
        ("value = 97", "value = 97\nabsent = \"invalid\"", "needs exactly one of `value` and `absent`"),
        ("derived = \"by hand\"", "derived = \" \"", "say how the bytes follow"),
        ("derived = \"by hand\"", "", "missing field `derived`"),
        ("derived = \"by hand\"", "derived = \"by hand\"\nerror = \"truncated\"", "not both"),
    ] {
        let error = Vector::parse(&VECTOR.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let unknown = "case = \"x\"\nderived = \"y\"\npayload = \"\"\nerror = \"bang\"\n";
    assert!(Vector::parse(unknown).unwrap_err().to_string().contains("not an error of the decoder"));
}
