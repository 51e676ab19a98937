//! What comes out, to be read by people: synthetic messages under each policy.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    reason = "a test fails by panicking and tells what it measured"
)]

mod support;

use bytes::Bytes;
use deid::{Clinical, Context, HeldWhy, Policy, hl7_filter};
use model::{Absent, Observation, Quality, TimeValue, Value};
use support::{lines, message, policy, provenance, release, serialised};

const ADT: &str = concat!(
    "MSH|^~\\&|REGADT|MERCY|LAKE|CLOUD|20261103081500||ADT^A01^ADT_A01|MSG00017|P|2.5.1|44||AL|NE|USA|UNICODE UTF-8\r",
    "SFT|Vendor Inc|7.1|Router|B12\r",
    "EVN|A01|20261103081400|||OPER7^Clerk^Carla\r",
    "PID|1|OLD-77|44521^^^MERCY&1.2.3&ISO^MR~123-45-6789^^^SSA^SS||Featherstone^Ottoline^Q^^Mrs^^L||19620210|F|Otty|2106-3^White^",
    "CDCREC|12 Larkspur Lane^Apt 4^Quillby^MA^02139-4307^USA^H^^MIDDLESEX~PO Box 9^^Smallplace^VT^05901^USA||(617)555-0143^PRN^PH",
    "^o.feather@example.org|(617)555-0144^WPN|en^English^ISO639|M^Married^HL70002|CAT|ACC-9981^^^MERCY^AN|123-45-6789|S1234567^MA||",
    "N^Not Hispanic^HL70189|Quillby|N||||||N\r",
    "PD1|||Mercy Clinic^^1234|1999887766^Hollowell^Imogen^^^Dr\r",
    "NK1|1|Brandywine^Ulric|SPO^Spouse^HL70063|12 Larkspur Lane^^Quillby^MA^02139|(617)555-0199\r",
    "PV1|1|I|2NORTH^214^B^MERCY^^N|R|||1999887766^Hollowell^Imogen^^^Dr|||MED||||7|||1999887766^Hollowell^Imogen|IP|V-55120^^^MERCY^VN||",
    "|||||||||||||||01||||||||20261103080000|\"\"\r",
    "AL1|1|DA^Drug^HL70127|7980^Penicillin G, says Ottoline^RXNORM|SV|Hives when Ottoline was ten|19720101\r",
    "DG1|1||E11.9^Type 2 diabetes^I10C|Diabetes of Mrs Featherstone|20261103|A\r",
    "ZPI|1|Featherstone|favourite colour: green\r",
);

const ORU: &str = concat!(
    "MSH|^~\\&|LAB|MERCY|||20261103091500-0500||ORU^R01^ORU_R01|L-0042|P|2.5.1\r",
    "PID|1||44521^^^MERCY^MR||Featherstone^Ottoline||19311230|F\r",
    "ORC|RE|PLC-1^EHR|FIL-2^LAB||CM\r",
    "OBR|1|PLC-1^EHR|FIL-2^LAB|24323-8^Comprehensive panel^LN|||20261103080000|||77^Phlebo^Tom|||||||||||F|||20261103091000||F\r",
    "OBX|1|NM|2345-7^Glucose^LN^GLU^Glucose^L|1.1|98.50|mg/dL^^UCUM|70-99|N|||F|||20261103080000\r",
    "OBX|2|SN|718-7^Hemoglobin^LN||>^12.5|g/dL|>=12||||F\r",
    "OBX|3|CWE|8251-1^Comment^LN||260373001^Detected^SCT^DET^Detected by Dr Hollowell^L|||A\r",
    "OBX|4|NM|30525-0^Age^LN||94|a\r",
    "OBX|5|DT|21112-8^Birth date^LN||19311230\r",
    "OBX|6|ST|45392-8^First name^LN||Ottoline\r",
    "OBX|7|FT|48767-8^Note^LN||Patient Ottoline Featherstone, MRN 44521, was seen.\\.br\\Call 617-555-0143.\r",
    "OBX|8|NM|ZZ^Local^99LAB||123456789|{cells}/uL\r",
    "OBX|9|ED|11502-2^Report^LN||^application^pdf^Base64^JVBERi0xLjQ=\r",
    "OBX|10|TM|x^^L||0815\r",
    "OBX|11|NM|8302-2^Height^LN||60.5~61|[in_i]\r",
    "OBX|12|SN|63900-5^Age^LN||>^1128|mo\r",
    "NTE|1|L|Dr Hollowell called Ottoline\r",
    "SPM|1|SP-1&EHR^SP-2&LAB||119297000^Blood^SCT\r",
);

/// All but the payload, which is a snapshot of its own.
fn envelope(release: &deid::Release) -> model::Released {
    let mut released = release.as_released().clone();
    released.payload.clear();
    released
}

#[test]
fn an_admission_under_safe_harbor() {
    let release = release(&policy("safe-harbor"), &message(ADT.as_bytes())).unwrap();
    insta::assert_snapshot!(lines(&release));
    insta::assert_json_snapshot!("an_admission_under_safe_harbor_envelope", envelope(&release));
}

#[test]
fn an_admission_as_a_limited_data_set() {
    let release = release(&policy("limited-data-set"), &message(ADT.as_bytes())).unwrap();
    insta::assert_snapshot!(lines(&release));
    insta::assert_json_snapshot!("an_admission_as_a_limited_data_set_envelope", envelope(&release));
}

#[test]
fn results_of_a_patient_of_94_under_safe_harbor() {
    insta::assert_snapshot!(lines(&release(&policy("safe-harbor"), &message(ORU.as_bytes())).unwrap()));
}

#[test]
fn results_as_a_limited_data_set() {
    insta::assert_snapshot!(lines(&release(&policy("limited-data-set"), &message(ORU.as_bytes())).unwrap()));
}

#[test]
fn the_senders_delimiters_stay() {
    let adt: String = ADT
        .chars()
        .map(|c| match c {
            '|' => '#',
            '^' => '*',
            '~' => '%',
            '&' => '$',
            c => c,
        })
        .collect();
    let release = release(&policy("safe-harbor"), &message(adt.as_bytes())).unwrap();
    insta::assert_snapshot!(lines(&release));
    assert_eq!(release.as_released().message_type.as_deref(), Some("ADT^A01^ADT_A01"));
}

#[test]
fn treatment_passes_every_byte_and_says_so() {
    let odd = [ADT.as_bytes(), b"ZZZ|\xff\xfe|\x00 no end"].concat();
    let release = release(&policy("treatment"), &message(&odd)).unwrap();
    assert_eq!(release.payload(), odd);
    let released = release.as_released();
    assert_eq!(released.control_id.as_deref(), Some("MSG00017"));
    assert_eq!(released.message_type.as_deref(), Some("ADT^A01^ADT_A01"));
    assert_eq!(released.peer.as_deref(), Some(provenance().peer.as_str()));
    assert_eq!(released.received_at, Some(TimeValue::Instant(provenance().received_at)));
    assert_eq!(release.rules(), [("verbatim".to_owned(), 1)]);
}

#[test]
fn a_policy_may_name_what_stays() {
    let text = include_str!("../policies/safe-harbor.toml")
        .replace("[codes]", "[listed]\n\"MSH-3\" = [\"LAB\"]\n[codes.local]\n99LAB = [\"ZZ\"]\n[codes]");
    let policy = Policy::compile("site", &text, support::now()).unwrap();
    let out = lines(&release(&policy, &message(ORU.as_bytes())).unwrap());
    assert!(out.starts_with("MSH|^~\\&|LAB||||2026|"), "{out}");
    assert!(out.contains("OBX|8|NM|ZZ^^99LAB||"), "{out}");
    let other = ORU.replace("|LAB|MERCY|", "|LAB OF DR HOLLOWELL|MERCY|");
    assert!(lines(&release(&policy, &message(other.as_bytes())).unwrap()).starts_with("MSH|^~\\&|||||2026|"));
}

#[test]
fn without_its_key_a_policy_with_tokens_holds() {
    let provenance = provenance();
    let context = Context { seq: 1, provenance: &provenance, keys: None };
    let held = policy("limited-data-set").release(&message(ADT.as_bytes()), &context).unwrap_err();
    assert_eq!((held.reason, held.why), (model::Reason::Held, HeldWhy::KeysMissing));
    policy("safe-harbor").release(&message(ADT.as_bytes()), &context).unwrap();
}

/// The rules let a number pass; the gate knows that it is the patient's.
#[test]
fn a_value_that_is_the_patients_number_holds_the_record() {
    let text = |value: &str| {
        format!("MSH|^~\\&|||||2026||ORU^R01|1|P|2.5\rPID|1||44521^^^H^MR\rOBX|1|NM|718-7^^LN||{value}\r")
    };
    for name in ["safe-harbor", "limited-data-set"] {
        release(&policy(name), &message(text("44522").as_bytes())).unwrap();
        let held = release(&policy(name), &message(text("44521").as_bytes())).unwrap_err();
        assert_eq!(held.why.as_str(), "gate-identifier");
        assert!(
            held.to_string()
                .starts_with("held: the output gate found an identifier of the record in segment 3")
        );
    }
    // The place in the stream is ours, also where it happens to be the patient's number.
    let provenance = provenance();
    let context = Context { seq: 44521, provenance: &provenance, keys: None };
    policy("safe-harbor").release(&message(text("1").as_bytes()), &context).unwrap();
}

#[test]
fn the_filter_goes_through_a_file() {
    let file = format!("noise\n{ADT}\n{}", ORU.replace('\r', "\n"));
    let policy = policy("safe-harbor");
    let at = provenance().received_at;
    let out: Vec<_> = hl7_filter(&policy, file.as_bytes(), at, None).collect();
    assert_eq!(out.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0, 1]);
    let payloads: Vec<String> =
        out.into_iter().map(|(_, r)| String::from_utf8(r.unwrap()).unwrap()).collect();
    assert!(payloads[0].contains("|ADT^A01^ADT_A01|1|") && payloads[1].contains("|ORU^R01^ORU_R01|2|"));
    assert!(!payloads[1].contains('\n') && payloads[1].ends_with('\r'));
}

fn observations() -> Clinical {
    let at = TimeValue::Instant("2026-11-03T08:15:30Z".parse().unwrap());
    let base = Observation {
        device: Some("OXI-7741-B".into()),
        metric: "MDC_PULS_OXIM_SAT_O2".into(),
        loinc: Some("59408-5".into()),
        ucum: "%".into(),
        value: Value::Number(97.0),
        quality: Quality::Good,
        device_time: Some(at),
        time: Some(at),
    };
    let odd = Observation { metric: "Ottoline".into(), ..base.clone() };
    let absent = Observation { value: Value::Absent(Absent::SensorOff), ..base.clone() };
    Clinical::Observations { values: vec![base, odd, absent], raw: Bytes::from_static(b"\x01OXI-7741-B raw") }
}

#[test]
fn what_devices_measure() {
    for name in ["treatment", "safe-harbor", "limited-data-set"] {
        let release = release(&policy(name), &observations()).unwrap();
        insta::assert_json_snapshot!(format!("what_devices_measure_{name}"), release.as_released());
        let told = serialised(&release).contains("OXI-7741-B");
        assert_eq!(told, name == "treatment");
    }
}

#[test]
fn debug_shows_no_content() {
    for clinical in [message(ADT.as_bytes()), observations()] {
        let release = release(&policy("treatment"), &clinical).unwrap();
        let shown = format!("{clinical:?} {release:?}");
        assert!(!shown.contains("Ottoline") && !shown.contains("OXI") && !shown.contains("79, "), "{shown}");
    }
}

#[test]
fn a_receipt_holds_names_of_rules_and_counts_alone() {
    for name in ["safe-harbor", "limited-data-set"] {
        for text in [ADT, ORU] {
            let release = release(&policy(name), &message(text.as_bytes())).unwrap();
            assert!(release.rules().is_sorted());
            for (rule, count) in release.rules() {
                assert!(
                    rule.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'),
                    "{rule}"
                );
                assert!(*count > 0);
            }
        }
    }
}
