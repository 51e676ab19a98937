//! Character sets from the ward to the tables: what a feed is configured to be in is what a reader of the tables reads.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, with what it saw"
)]

use std::path::Path;

use serde_json::{Value, json};
use system_tests::mllp::{Connection, accepted};
use system_tests::site::{Site, filter, shown};
use system_tests::{peers, readers};

/// A result whose MSH-4, PID-5 and OBX-5 are these bytes.
fn message(control_id: &str, declared: &str, text: &[u8]) -> Vec<u8> {
    let before = [
        "MSH|^~\\&|LAB|".as_bytes(),
        text,
        format!("|LAKE|CLOUD|20261101083000+0100||ORU^R01^ORU_R01|{control_id}|P|2.5.1||||||{declared}\r")
            .as_bytes(),
    ]
    .concat();
    [&before[..], b"PID|1||7^^^H^MR||", text, b"^Anna\rOBX|1|ST|X^Text||", text, b"||||||F\r"].concat()
}

/// The text of `raw`, of `messages` and of `observations`, by readers that share no code with the landing.
fn read(root: &Path) -> Vec<(Value, Value, Value, Value)> {
    let out = readers::reader("text.py", &[root.to_str().unwrap()]);
    assert!(out.status.success(), "text.py: {}", shown(&out));
    let messages = readers::rows(root, "messages");
    let observations = readers::rows(root, "observations");
    let text = String::from_utf8(out.stdout).unwrap();
    let raw: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((raw.len(), raw.len()), (messages.len(), observations.len()));
    raw.iter()
        .zip(messages.iter().zip(&observations))
        .map(|(raw, (message, observation))| {
            for row in [message, observation] {
                assert_eq!(row["record_id"], raw["record_id"]);
            }
            assert_eq!(raw["facility"], message["sending_facility"], "MSH-4 by both");
            assert_eq!(raw["values"], json!([observation["value_text"]]), "OBX-5 by both");
            let text = observation["value_text"].clone();
            (raw["charset"].clone(), raw["name"].clone(), message["sending_facility"].clone(), text)
        })
        .collect()
}

#[test]
fn what_a_feed_is_configured_to_be_in_is_what_the_tables_say() {
    let mut site = Site::new();
    site.mllp = "charset = \"8859/1\"".to_owned();
    let (mut gateway, mut landing) = site.start();
    // What looks like UTF-8 and is Latin-1; what says that it is something else; what says what it is.
    let cases: [(&str, &[u8], &str); 4] = [
        ("", b"Gr\xc3\xbcn", "GrÃ¼n"),
        ("UNICODE UTF-8", b"M\xfcller", "Müller"),
        ("8859/5", b"Bl\xe4ske", "Bläske"),
        ("8859/1", b"\xd6zg\xfcr", "Özgür"),
    ];
    let sent: Vec<Vec<u8>> =
        (0..).zip(cases).map(|(n, (declared, text, _))| message(&format!("c-{n}"), declared, text)).collect();
    for message in &sent {
        accepted(site.ports.mllp, message);
    }
    site.drained();
    let expected: Vec<_> = cases
        .map(|(_, _, text)| (json!("8859/1"), json!(format!("{text}^Anna")), json!(text), json!(text)))
        .into();
    assert_eq!(read(&site.root("lake")), expected);
    assert_eq!(readers::payloads(&site.root("lake")), sent, "the bytes are the sender's");
    // Under safe-harbor the release is UTF-8 and its row says so.
    let research = readers::rows(&site.root("research"), "raw");
    assert!(research.iter().all(|row| row["charset"] == "UNICODE UTF-8"), "{research:?}");

    // Made again from `raw`, the other tables read the same.
    gateway.stop();
    landing.stop();
    for table in ["messages", "observations"] {
        std::fs::remove_dir_all(site.root("lake").join(table)).unwrap();
    }
    let mut landing = site.start_landing();
    landing.stop();
    assert_eq!(read(&site.root("lake")), expected);
    site.nothing_to_find();
}

#[test]
fn filters_read_a_file_in_the_character_set_that_they_are_told() {
    let mut site = Site::small();
    site.mllp = "charset = \"8859/1\"".to_owned();
    site.more =
        "[[feed.route]]\ndestinations = [\"lake\"]\nwhen = [{ path = \"PID-5.1\", equals = \"Müller\" }]\n"
            .to_owned();
    site.write();
    let input = message("c-1", "UNICODE UTF-8", b"M\xfcller");
    let config = site.dir.join("gateway.toml");
    let route = |more: &[&str]| {
        let arguments = [&["hl7", "route", "--config", config.to_str().unwrap()], more].concat();
        let out = filter(&peers::wardgate(), &arguments, &input);
        assert!(out.status.success(), "{}", shown(&out));
        serde_json::from_slice::<Value>(&out.stdout).unwrap()["destinations"].clone()
    };
    // As the feed reads it, unless told otherwise.
    assert_eq!(route(&[]), json!(["lake"]));
    assert_eq!(route(&["--charset", "8859/5"]), json!([]));
    let fhir = |more: &[&str]| {
        let out = filter(&peers::wardgate(), &[&["hl7", "fhir"], more].concat(), &input);
        assert!(out.status.success(), "{}", shown(&out));
        String::from_utf8(out.stdout).unwrap()
    };
    assert!(fhir(&["--charset", "8859/1"]).contains("\"family\":\"Müller\""));
    assert!(fhir(&["--charset", "8859/5"]).contains("\"family\":\"Mќller\""));
}

/// UTF-16 between single bytes VT and FS CR, as some senders do against the letter of MLLP.
#[test]
fn utf16_between_the_bytes_of_mllp_is_taken_answered_alike_and_read() {
    let site = Site::small();
    let (mut gateway, mut landing) = site.start();
    let text = |id: &str| {
        format!(
            "MSH|^~\\&|LAB|Süd|LAKE|CLOUD|20261101083000+0100||ORU^R01^ORU_R01|{id}|P|2.5.1||||||UNICODE UTF-16\r\
             PID|1||7^^^H^MR||Żółć😀^Anna\rOBX|1|ST|X^Text||größer als ≥ 5||||||F\r"
        )
    };
    let wide = |text: &str, big_endian: bool, marked: bool| -> Vec<u8> {
        let mark = if marked { "\u{feff}" } else { "" };
        let units = mark.encode_utf16().chain(text.encode_utf16());
        units.flat_map(|unit| if big_endian { unit.to_be_bytes() } else { unit.to_le_bytes() }).collect()
    };
    let cases = [(false, true), (true, true), (false, false), (true, false)];
    let mut sent = Vec::new();
    for (n, (big_endian, marked)) in cases.into_iter().enumerate() {
        let message = wide(&text(&format!("w-{n}")), big_endian, marked);
        let answer = Connection::open(site.ports.mllp).unwrap().exchange(&message).unwrap();
        let said = String::from_utf16(
            &answer
                .0
                .chunks(2)
                .map(|p| {
                    if big_endian {
                        u16::from_be_bytes([p[0], p[1]])
                    } else {
                        u16::from_le_bytes([p[0], p[1]])
                    }
                })
                .collect::<Vec<_>>(),
        )
        .unwrap();
        assert!(said.ends_with(&format!("MSA|AA|w-{n}\r")) && said.contains("|Süd|"), "{said:?}");
        assert_eq!(said.starts_with('\u{feff}'), marked);
        sent.push(message);
    }
    site.drained();
    assert_eq!(readers::payloads(&site.root("lake")), sent, "the bytes are the sender's");
    let expected: Vec<_> = cases
        .map(|(big_endian, _)| {
            let charset = if big_endian { "UNICODE UTF-16BE" } else { "UNICODE UTF-16LE" };
            (json!(charset), json!("Żółć😀^Anna"), json!("Süd"), json!("größer als ≥ 5"))
        })
        .into();
    assert_eq!(read(&site.root("lake")), expected);
    gateway.stop();
    landing.stop();
    site.nothing_to_find();
    // The filters cut a file of them too.
    let file = wide(&[text("f-1"), text("f-2")].concat(), false, true);
    let run = |arguments: &[&str]| {
        let out = filter(&peers::wardgate(), arguments, &file);
        assert!(out.status.success(), "{}", shown(&out));
        out.stdout
    };
    let released =
        String::from_utf8(run(&["deid", "run", "--policy", "safe-harbor", "--format", "hl7"])).unwrap();
    assert_eq!(released.matches("MSH|").count(), 2, "{released}");
    assert!(!released.contains("Anna") && !released.contains('Ż'), "{released}");
    let bundles = String::from_utf8(run(&["hl7", "fhir"])).unwrap();
    assert_eq!((bundles.lines().count(), bundles.matches("Żółć😀").count()), (2, 2));
    assert_eq!(run(&["hl7", "ack"]).windows(8).filter(|w| *w == b"A\0A\0|\0f\0").count(), 2);
}
