//! The gate alone: a release that the rules would never make is held.

use model::{Format, Provenance, Released, Timestamp, Value};
use serde_bytes::ByteBuf;

use super::*;

const SOURCE: &str = "MSH|^~\\&|LAB|H|||20261124||ADT^A01|7|P|2.5\rPID|1||MRN-44521^^^H^MR~123456789^^^SSA^SS||Featherstone^\
    Ottoline^Q||19310207|F|||12 Larkspur Lane^^Quillby^MA^02139||(617)555-0143^PRN^PH^o.feather@example.org\rNK1|1|Brandywine^\
    Ulric|SPO||^PRN^PH^^1^617^5550199\rPV1|1|I|||||1999887766^Hollowell^Imogen\r";

fn provenance() -> Provenance {
    Provenance {
        feed: "featherstone".parse().unwrap(),
        peer: "10.9.8.7:1".into(),
        channel: String::new(),
        received_at: "2026-11-24T08:30:00Z".parse().unwrap(),
        format: Format::Hl7v2,
        origin: None,
    }
}

fn released(payload: &str) -> Released {
    let provenance = provenance();
    Released {
        seq: 1,
        origin: None,
        feed: provenance.feed,
        format: provenance.format,
        received_at: None,
        peer: None,
        channel: None,
        message_type: Some("ADT^A01".into()),
        control_id: None,
        observations: Vec::new(),
        charset: Some("UNICODE UTF-8".into()),
        payload: ByteBuf::from(payload),
        rules: vec![("featherstone".into(), 1)],
    }
}

fn source() -> Clinical {
    Clinical::Hl7(hl7::Message::parse(SOURCE.as_bytes().to_vec()).unwrap())
}

fn found(released: &Released, label: Label) -> Option<HitKind> {
    read(&source(), &provenance(), released, label).err().map(|hit| hit.kind)
}

fn found_in(value: &str, label: Label) -> Option<HitKind> {
    found(&released(&format!("MSH|^~\\&|||||2026||ADT^A01|1|P|2.5\rOBX|1|NM|718-7^^LN||{value}\r")), label)
}

#[test]
fn known_strings_are_found_in_any_spelling() {
    for (value, kind) in [
        ("Featherstone", HitKind::Name),
        ("FEATHERSTONE", HitKind::Name),
        ("seen featherstone, well", HitKind::Name),
        ("ulric", HitKind::Name),
        ("a~b^BRANDYWINE", HitKind::Name),
        ("x&Ottoline", HitKind::Name),
        ("MRN-44521", HitKind::Identifier),
        ("mrn44521", HitKind::Identifier),
        ("MRN 44521", HitKind::Identifier),
        ("123456789", HitKind::Identifier),
        ("Larkspur", HitKind::Address),
        ("617-555-0143", HitKind::Telephone),
        ("5550143", HitKind::Telephone),
        ("16175550199", HitKind::Telephone),
        ("O.Feather@example.org", HitKind::Identifier),
    ] {
        assert_eq!(found_in(value, Label::SafeHarbor), Some(kind), "{value}");
        assert_eq!(found_in(value, Label::LimitedDataSet), Some(kind), "{value}");
    }
}

#[test]
fn numbers_are_found_however_a_field_cuts_them() {
    for (value, kind) in [
        ("^123^-^456789", Some(HitKind::Identifier)),
        ("123~456~789", Some(HitKind::Identifier)),
        ("^555^-^0143", Some(HitKind::Telephone)),
        ("617^555^0143", Some(HitKind::Telephone)),
        ("1&931^02~07", Some(HitKind::BirthDate)),
        ("95^123456789^97", Some(HitKind::Identifier)),
        ("95^96^97^98", None),
        ("12345678^9^1", None),
        ("120^/^80", None),
        ("^1^:^128", None),
    ] {
        assert_eq!(found_in(value, Label::SafeHarbor), kind, "{value}");
    }
}

#[test]
fn a_name_is_known_in_any_spelling_of_its_letters_whatever_bytes_it_came_in() {
    let text = "MSH|^~\\&|LAB||||2026||ADT^A01|7|P|2.5||||||{}\rPID|1||||Müllerström^Jörgen\r";
    for declared in ["8859/1", "UNICODE UTF-8", "UNICODE UTF-16", "WINDOWS-1252"] {
        let charset = hl7::Charset::read(declared.as_bytes()).unwrap();
        let payload = charset.encode(&text.replace("{}", declared)).unwrap();
        let source = Clinical::Hl7(hl7::Message::decode(payload, None).unwrap());
        let released = released("MSH|^~\\&|||||2026||ADT^A01|1|P|2.5\rOBX|1|NM|718-7^^LN||MÜLLERSTRÖM\r");
        let hit = read(&source, &provenance(), &released, Label::LimitedDataSet).unwrap_err();
        assert_eq!(hit.kind, HitKind::Name, "{declared}");
    }
}

#[test]
fn safe_harbor_also_knows_providers_cities_and_births() {
    for (value, kind) in [
        ("Hollowell", HitKind::Name),
        ("1999887766", HitKind::Identifier),
        ("Quillby", HitKind::Address),
        ("19310207", HitKind::BirthDate),
        ("02071931", HitKind::BirthDate),
        ("1931-02-07", HitKind::BirthDate),
        ("193102071200", HitKind::BirthDate),
        ("1931", HitKind::BirthDate),
    ] {
        assert_eq!(found_in(value, Label::SafeHarbor), Some(kind), "{value}");
        assert_eq!(found_in(value, Label::LimitedDataSet), None, "{value}");
    }
}

#[test]
fn patterns_are_found_whose_ever_they_are() {
    for (value, kind, limited) in [
        ("987-65-4321", HitKind::SsnPattern, true),
        ("212-555-0101", HitKind::TelephonePattern, true),
        ("a@b.example", HitKind::NetworkPattern, true),
        ("192.168.1.20", HitKind::NetworkPattern, true),
        ("20190304", HitKind::DatePattern, false),
        ("201903041530", HitKind::DatePattern, false),
    ] {
        assert_eq!(found_in(value, Label::SafeHarbor), Some(kind), "{value}");
        assert_eq!(found_in(value, Label::LimitedDataSet), limited.then_some(kind), "{value}");
    }
}

#[test]
fn clinical_values_pass() {
    for value in [
        "7.4", "718-7", "H", "90+", "2026", "10*3/uL", "MA", "021", "stone", "44521.5", "feather", "22298006",
    ] {
        assert_eq!(found_in(value, Label::SafeHarbor), None, "{value}");
    }
    // A concept of SNOMED CT that reads like a date is one; beside any other system it is a date.
    assert_eq!(found_in("20141009^^SCT", Label::SafeHarbor), None);
    assert_eq!(found_in("20141009^^L", Label::SafeHarbor), Some(HitKind::DatePattern));
}

#[test]
fn the_envelope_is_read_too() {
    let clean = released("MSH|^~\\&|||||2026||ADT^A01|1|P|2.5\r");
    assert_eq!(found(&clean, Label::SafeHarbor), None);
    let with = |change: fn(&mut Released)| {
        let mut released = clean.clone();
        change(&mut released);
        released
    };
    let instant = TimeValue::Instant(Timestamp::from_micros(0));
    assert!(matches!(instant, TimeValue::Instant(_)));
    for (released, strict, limited) in [
        (with(|r| r.peer = Some("x".into())), HitKind::Envelope, Some(HitKind::Envelope)),
        (with(|r| r.channel = Some("x".into())), HitKind::Envelope, Some(HitKind::Envelope)),
        (with(|r| r.control_id = Some("1ABC".into())), HitKind::Envelope, None),
        (
            with(|r| r.received_at = Some(TimeValue::Instant(Timestamp::from_micros(0)))),
            HitKind::Envelope,
            None,
        ),
        (with(|r| r.message_type = Some("ADT^FEATHERSTONE".into())), HitKind::Name, Some(HitKind::Name)),
    ] {
        assert_eq!(found(&released, Label::SafeHarbor), Some(strict));
        assert_eq!(found(&released, Label::LimitedDataSet), limited);
    }
    let leaking = with(|r| r.peer = Some("x".into()));
    assert_eq!(found(&leaking, Label::Treatment), None);
}

#[test]
fn devices_are_known() {
    let observation = |device: Option<&str>, metric: &str| Observation {
        device: device.map(str::to_owned),
        metric: metric.into(),
        loinc: None,
        ucum: "%".into(),
        value: Value::Number(97.0),
        quality: model::Quality::Good,
        device_time: None,
        time: None,
    };
    let source = Clinical::Observations {
        values: vec![observation(Some("OXI-7741-B"), "MDC_PULS_OXIM_SAT_O2")],
        raw: bytes::Bytes::from_static(b"raw"),
    };
    let kind =
        |released: &Released, label| read(&source, &provenance(), released, label).err().map(|h| h.kind);
    let mut release = released("");
    release.observations = vec![observation(None, "MDC_PULS_OXIM_SAT_O2")];
    assert_eq!(kind(&release, Label::SafeHarbor), None);
    release.observations = vec![observation(None, "oxi-7741-b")];
    assert_eq!(kind(&release, Label::LimitedDataSet), Some(HitKind::Identifier));
    release.observations = vec![observation(Some("token"), "MDC_PULS_OXIM_SAT_O2")];
    assert_eq!(kind(&release, Label::SafeHarbor), Some(HitKind::Envelope));
    assert_eq!(kind(&release, Label::LimitedDataSet), None);
    assert_eq!(kind(&released("raw"), Label::LimitedDataSet), Some(HitKind::Envelope));
}

#[test]
fn a_hit_says_where_and_never_what() {
    let released = released("MSH|^~\\&|||||2026||ADT^A01|1|P|2.5\rOBX|1|NM|718-7^^LN||7.4^Featherstone\r");
    let hit = read(&source(), &provenance(), &released, Label::SafeHarbor).unwrap_err();
    insta::assert_snapshot!(hit, @"a word of a name of the record in segment 2 of the release (byte 59)");
    assert!(!format!("{hit:?}").to_lowercase().contains("featherstone"));
}

#[test]
fn custom_delimiters_do_not_blind_it() {
    let source = Clinical::Hl7(
        hl7::Message::parse(b"MSH#*~\\&#LAB\rPID#1##44521*!~99887##Featherstone*Ottoline\r".to_vec())
            .unwrap(),
    );
    for value in ["Ottoline", "44521", "99887"] {
        let released = released(&format!("MSH#*~\\&#\rOBX#1#NM###x*{value}\r"));
        assert!(read(&source, &provenance(), &released, Label::SafeHarbor).is_err(), "{value}");
    }
}

/// Whether a message of the person is held for the value, in the field of `OBX` that it stands in.
fn held_for(pid: &str, obx: &str, label: Label) -> Option<HitKind> {
    let source = format!("MSH|^~\\&|LAB\rPID|{pid}\rPV1|1|I|||||4321^Hollowell\r");
    let source = Clinical::Hl7(hl7::Message::parse(source.into_bytes()).unwrap());
    let released = released(&format!("MSH|^~\\&|||||2026||ORU^R01|1|P|2.5\rOBX|{obx}\r"));
    read(&source, &provenance(), &released, label).err().map(|hit| hit.kind)
}

#[test]
fn names_that_are_also_units_and_codes_stop_nothing() {
    for (pid, obx) in [
        ("1||||Lee^Min", "1|NM|8867-4^^LN||72|/min"),
        ("1||||Day^Per", "1|NM|X||2|mg/day"),
        ("1||||Per^Day", "1|NM|X||2|{dose}/day"),
        ("1||||Alt^Beth", "1|NM|ALT^^L||40|U/L"),
        ("1||||Oru^Eng", "1|CWE|X||eng^^ISO639"),
        ("1||||Press^Art", "1|NM|MDC_PRESS_BLD_ART_MEAN^^MDC||90"),
        ("1||||UNK^UNK", "1|CWE|X||UNK"),
        ("1||2026", "1|NM|X||1|||||||2026"),
        ("1||0000||||||||||(000)000-0000", "1|NM|X||900000000000207008^^SCT"),
        ("1||||||||||9 Point Road^^Normal", "1|NM|X||1|{normal}"),
        ("1||12345", "1|NM|X||123.45"),
        ("1||", "1|NM|X||4321"),
    ] {
        for label in [Label::SafeHarbor, Label::LimitedDataSet] {
            assert_eq!(held_for(pid, obx, label), None, "{pid} {obx} {label}");
        }
    }
}

#[test]
fn they_stop_a_sentence_and_one_another() {
    for (pid, obx) in [
        ("1||||Lee^Min", "1|ST|X||seen by Min today"),
        ("1||||Day^Per", "1|ST|X||Per Day"),
        ("1||||Alt^Beth", "1|ST|X||ALT Featherstone"),
        ("1||||Min^Featherstone", "1|ST|X||min/featherstone"),
    ] {
        assert_eq!(held_for(pid, obx, Label::SafeHarbor), Some(HitKind::Name), "{pid} {obx}");
    }
}

#[test]
fn numbers_are_found_however_they_are_cut() {
    for (pid, value) in [
        ("1||||||||||||||||||123-45-6789", "123.45.6789"),
        ("1||||||||||||||||||123-45-6789", "123.456789"),
        ("1||MRN-44521", "44521"),
        ("1||00044521", "44521"),
        ("1||44521", "00044521"),
        ("1||4452", "4452"),
        ("1||MR12", "mr12"),
    ] {
        let kind = held_for(pid, &format!("1|NM|X||{value}"), Label::LimitedDataSet);
        // A social security number cut by points is also one for who does not know it.
        assert!(matches!(kind, Some(HitKind::Identifier)), "{pid} {value} {kind:?}");
    }
}

#[test]
fn towns_named_like_people_stay_in_a_limited_data_set_alone() {
    let limited = |pid: &str| {
        let source = format!("MSH|^~\\&|LAB\rPID|{pid}\r");
        let source = Clinical::Hl7(hl7::Message::parse(source.into_bytes()).unwrap());
        let read = |out: &str| {
            let released = released(&format!("MSH|^~\\&|||||2026||ADT^A01|1|P|2.5\rPID|{out}\r"));
            read(&source, &provenance(), &released, Label::LimitedDataSet).err().map(|hit| hit.kind)
        };
        (
            read("1||||||||||^^San Antonio^TX"),
            read("1||||||||||^^Lincoln^NE"),
            read("1||||||||||^^Quillby^NE"),
        )
    };
    assert_eq!(limited("1||||Garcia^Antonio||||||^^San Antonio^TX"), (None, None, None));
    assert_eq!(limited("1||||Lincoln^Antonio||||||^^Lincoln^NE"), (None, None, None));
    // A name in the place of a town is a name, unless it is a town's.
    assert_eq!(limited("1||||Quillby^Antonio||||||^^Quillby^NE"), (None, None, Some(HitKind::Name)));
    assert_eq!(held_for("1||||Lincoln^A", "1|ST|X||Lincoln", Label::LimitedDataSet), Some(HitKind::Name));
    assert_eq!(held_for("1||||Lincoln^A", "1|ST|^^Lincoln||1", Label::SafeHarbor), Some(HitKind::Name));
}

#[test]
fn a_place_in_a_bedside_device_is_no_host() {
    for (obx, kind) in [
        ("1|NM|X|1.1.2.9|1", None),
        ("1|NM|X|10.1.2.9|1", Some(HitKind::NetworkPattern)),
        ("1|NM|X|1|1.1.2.9", Some(HitKind::NetworkPattern)),
    ] {
        assert_eq!(held_for("1", obx, Label::SafeHarbor), kind, "{obx}");
    }
}

/// A box whose clock was lost believes that it is 1970.
#[test]
fn ages_are_not_reckoned_from_a_lost_clock() {
    let provenance = Provenance { received_at: Timestamp::from_micros(0), ..provenance() };
    let released = released("MSH|^~\\&|||||||ADT^A01|1|P|2.5\rPID|1||||||1931\r");
    let hit = read(&source(), &provenance, &released, Label::SafeHarbor).unwrap_err();
    assert_eq!(hit.kind, HitKind::BirthDate);
}

#[test]
fn a_text_is_read_with_what_its_message_knows() {
    let message =
        b"MSH|^~\\&|L|W|E|M|2026||ORU^R01|1|P|2.5\rPID|1||77812^^^W^MR||Quorvane^Wilbur||19310303".to_vec();
    let message = hl7::Message::parse(message).unwrap();
    let read =
        |text: &str, label| super::read_text(Some(&message), 2026, text, label).map_err(|hit| hit.kind);
    assert_eq!(read("Fine.\nMr [name] is well.", Label::SafeHarbor), Ok(()));
    assert_eq!(read("Fine.\nMr Quorvane is well.", Label::SafeHarbor), Err(HitKind::Name));
    assert_eq!(read("Mr Quorvane is well.", Label::LimitedDataSet), Err(HitKind::Name));
    assert_eq!(read("Mr Quorvane is well.", Label::Treatment), Ok(()));
    assert!(super::read_text(None, 2026, "SSN 123-45-6789", Label::SafeHarbor).is_err());
}

#[test]
fn a_resource_is_read_with_what_it_knows_of_its_people() {
    let source = r#"{"resourceType":"Patient","id":"p1","name":[{"family":"Kestrelson","given":["Isadora"]}],
        "identifier":[{"value":"MRN-7700123"}],"telecom":[{"value":"(555) 312-5567"},{"value":"isa@kestrel.example"}],
        "birthDate":"1954-03-11","address":[{"line":["7 Larchwood Lane"],"city":"Redmond"}],
        "contact":[{"name":{"family":"Falconer"}}]}"#;
    for label in [Label::SafeHarbor, Label::LimitedDataSet] {
        let (scope, strict) = (Scope::from(label), label == Label::SafeHarbor);
        let gate = Gate { known: fhir::known(source.as_bytes(), 2026, scope), scope, seq: "7".to_owned() };
        let found = |json: &str| gate.resource(json.as_bytes());
        assert_eq!(
            found(r#"{"resourceType":"Patient","id":"7-1","gender":"female","birthDate":"1954"}"#),
            None
        );
        let coded = r#"{"code":{"coding":[{"system":"http://loinc.org","code":"8867-4"},{"system":"http://snomed.info/sct","code":"20190304"}]}}"#;
        assert_eq!(found(coded), None);
        for (json, kind) in [
            (r#"{"text":"seen by KESTRELSON"}"#, HitKind::Name),
            (r#"{"a":[{"b":"falconer"}]}"#, HitKind::Name),
            (r#"{"value":7700123}"#, HitKind::Identifier),
            (r#"{"id":"x-7700123"}"#, HitKind::Identifier),
            (r#"{"x":"555.312.5567"}"#, HitKind::Telephone),
            (r#"{"x":"999-52-1234"}"#, HitKind::SsnPattern),
            (r#"{"x":"Larchwood"}"#, HitKind::Address),
            (r#"{"x":"https://kestrel.invalid/7"}"#, HitKind::NetworkPattern),
            ("no JSON", HitKind::Envelope),
        ] {
            assert_eq!(found(json), Some(kind), "{json}");
        }
        let short = fhir::known(br#"{"resourceType":"Patient","name":[{"family":"Imp"}]}"#, 2026, scope);
        let short = Gate { known: short, scope, seq: "7".to_owned() };
        let class = r#"{"class":{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"IMP"}}"#;
        assert_eq!(short.resource(class.as_bytes()), None, "a code of a public system");
        assert_eq!(short.resource(br#"{"class":{"system":"urn:x","code":"IMP"}}"#), Some(HitKind::Name));
        assert_eq!(found(r#"{"x":"1954-03-11"}"#).is_some(), strict);
        assert_eq!(found(r#"{"city":"Redmond"}"#).is_some(), strict);
    }
}

/// Where dates are moved, one may be the birth date by chance; in the place of a birth date it is no chance.
#[test]
fn of_moved_dates_the_birth_date_counts_in_its_own_place() {
    let scope = Scope { dates: Dates::Shifted, ..Scope::from(Label::ExpertDetermination) };
    let text =
        |pid: &str, obx: &str| format!("MSH|^~\\&|||||2026||ORU^R01\rPID|1||||||{pid}\rOBX|1|DT|X||{obx}\r");
    let source = Clinical::Hl7(hl7::Message::parse(text("19620210", "19620212").into_bytes()).unwrap());
    let kind = |pid: &str, obx: &str| {
        let released = Released { payload: text(pid, obx).into_bytes().into(), ..released("") };
        read(&source, &provenance(), &released, scope).err().map(|hit| hit.kind)
    };
    assert_eq!(kind("19620208", "19620210"), None);
    assert_eq!(kind("19621002", "19620212"), None, "month and day exchanged");
    assert_eq!(kind("19620210", "19620208"), Some(HitKind::BirthDate));
    let json = r#"{"resourceType":"Patient","birthDate":"1962-02-10"}"#;
    let gate = Gate { known: fhir::known(json.as_bytes(), 2026, scope), scope, seq: "7".to_owned() };
    assert_eq!(gate.resource(json.as_bytes()), Some(HitKind::BirthDate));
    assert_eq!(gate.resource(br#"{"onsetDateTime":"1962-02-10"}"#), None);
}
