//! Messages that are not UTF-8: judged by their text, released as UTF-8, verbatim under `treatment`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

mod support;

use hl7::{Charset, Message};
use support::{message, policy, release, serialised};

/// Identifiers in letters beyond ASCII, and clinical content that stays.
fn text(charset: &str, family: &str, given: &str, street: &str) -> String {
    format!(
        "MSH|^~\\&|LAB|HAUS|||20261103081500||ORU^R01^ORU_R01|7|P|2.5.1||||||{charset}\r\
         PID|1||4471123^^^HAUS^MR||{family}^{given}||19620210|F|||{street}^^^^\r\
         OBX|1|NM|718-7^Hemoglobin^LN||7.4|g/dL^^UCUM|||||F\r\
         NTE|1||{given} {family}, {street}\r\
         ZPI|{family}\r"
    )
}

/// MSH-18, with letters that it has; the second byte of some is a delimiter.
const SENDERS: &[(&str, &str, &str, &str)] = &[
    ("8859/1", "Müllerström", "Jörgen", "Straße der Bäume"),
    ("8859/2", "Wałęsowa", "Łucja", "Żółta"),
    ("WINDOWS-1251", "Иванова", "Наталья", "Невский"),
    ("UNICODE UTF-8", "Müllerström", "Jörgen", "Straße"),
    ("UNICODE UTF-16", "Müllerström", "Jörgen", "Straße"),
    ("GB 18030-2000", "亅乛乗", "乊亅", "亅亅乛"),
    ("BIG-5", "四功崗", "功四", "四四四"),
    ("SHIFT_JIS", "ソポ山田", "ポソ", "山田ソ"),
    ("~ISO IR87", "日山田", "日日", "山日"),
    ("KS X 1001", "김철수", "영희", "서울"),
];

fn encoded(declared: &str, text: &str) -> Vec<u8> {
    Charset::read(declared.trim_start_matches('~').as_bytes()).unwrap().encode(text).unwrap()
}

#[test]
fn no_letter_of_a_person_leaves_in_any_character_set_and_codes_stay() {
    for (declared, family, given, street) in SENDERS {
        let payload = encoded(declared, &text(declared, family, given, street));
        for name in ["safe-harbor", "limited-data-set"] {
            let release = release(&policy(name), &message(&payload))
                .unwrap_or_else(|held| panic!("{declared}: {held:?}"));
            let whole = serialised(&release);
            let out = std::str::from_utf8(release.payload()).unwrap();
            for word in [family, given, street].iter().flat_map(|value| value.split(' ')).chain(["4471123"]) {
                assert!(!whole.contains(word), "{declared} under {name}: {word}");
                // Nor as the bytes that came.
                let bytes = encoded(declared, word);
                let inside = release.payload().windows(bytes.len()).any(|w| w == bytes);
                assert!(!inside, "{declared} under {name}: the bytes of {word}");
            }
            assert!(out.contains("OBX|1|NM|718-7^^LN||7.4|g/dL^^UCUM"), "{declared} under {name}: {out}");
        }
    }
}

#[test]
fn a_release_is_utf8_and_says_so_where_the_sender_said_something_else() {
    for (declared, name) in [
        ("8859/1", "Müller"),
        ("UNICODE UTF-16", "Müller"),
        ("GB 18030-2000", "亅乛"),
        ("UNICODE UTF-8", "Müller"),
    ] {
        let payload = encoded(declared, &text(declared, name, "x", "y"));
        let release = release(&policy("safe-harbor"), &message(&payload)).unwrap();
        let out = Message::decode(release.payload().to_vec(), None).unwrap();
        assert_eq!(out.msh().unwrap().field(18).unwrap().text(), "UNICODE UTF-8", "{declared}");
    }
    // Who says nothing is not made to.
    let payload = encoded("8859/1", &text("", "Müller", "x", "y"));
    let release = release(&policy("safe-harbor"), &message(&payload)).unwrap();
    assert!(Message::decode(release.payload().to_vec(), None).unwrap().msh().unwrap().field(18).is_none());
}

#[test]
fn treatment_passes_every_byte_in_any_character_set() {
    for (declared, family, given, street) in SENDERS {
        let payload = encoded(declared, &text(declared, family, given, street));
        let release = release(&policy("treatment"), &message(&payload)).unwrap();
        assert_eq!(release.payload(), payload, "{declared}");
    }
}
