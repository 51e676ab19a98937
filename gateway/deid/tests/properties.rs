//! Any input: nothing panics, what comes out is a message again, and nothing of the patient is in it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    reason = "a test fails by panicking and tells what it measured"
)]

mod support;

use deid::hl7_filter;
use proptest::prelude::*;
use support::{keys, message, policy, provenance, release, serialised};

/// A segment of mixed company: known and unknown names, any fields.
fn segment(secret: &'static str) -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "PID", "PD1", "NK1", "PV1", "PV2", "OBR", "OBX", "ORC", "AL1", "DG1", "IN1", "GT1", "NTE", "SPM",
        "RXA", "MRG", "ZAA", "EVN", "TXA", "FT1", "MSA", "QRD", "pid", "P", "",
    ]);
    let piece = prop::sample::select(vec![
        "", "1", "7.4", "F", "NM", "CWE", "ST", "718-7", "LN", "20120501", "MA", "02139", "\"\"", "mg/dL",
        "A", "x y", "\\T\\", "\\X41\\", "94", "a", "30525-0", "H", "45392-8", "USA",
    ]);
    let value = prop_oneof![4 => piece.prop_map(str::to_owned), 1 => Just(secret.to_owned()), 1 => "[ -~&&[^|]]{0,12}"];
    let joined = |value: BoxedStrategy<String>, separator: &'static str| {
        prop::collection::vec(value, 1..4).prop_map(move |v| v.join(separator)).boxed()
    };
    let field = joined(joined(joined(value.boxed(), "&"), "^"), "~");
    (name, prop::collection::vec(field, 0..14))
        .prop_map(|(name, fields)| format!("{name}|{}", fields.join("|")))
}

const SECRET: &str = "Featherstonehaugh";

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), name in prop::sample::select(vec!["safe-harbor", "limited-data-set", "treatment"])) {
        let mut file = b"MSH|^~\\&|".to_vec();
        file.extend(&bytes);
        for input in [&bytes, &file] {
            for (_, result) in hl7_filter(&policy(name), input, provenance().received_at, Some(&keys())) {
                if let Ok(payload) = result && name != "treatment" {
                    prop_assert!(hl7::Message::parse(payload).is_ok());
                }
            }
        }
    }

    #[test]
    fn arbitrary_delimiters_never_panic(header in "[!-/:-@]{1,6}", body in "[A-Z0-9|^~&#*\\\\\r]{0,200}") {
        let text = format!("MSH{header}{body}\rPID{header}{body}");
        for (_, result) in hl7_filter(&policy("safe-harbor"), text.as_bytes(), provenance().received_at, None) {
            if let Ok(payload) = result {
                prop_assert!(hl7::Message::parse(payload).is_ok());
            }
        }
    }

    #[test]
    fn what_comes_out_is_a_message_without_the_patient(segments in prop::collection::vec(segment(SECRET), 0..12)) {
        let text = format!(
            "MSH|^~\\&|A|B|C|D|20261103||ORU^R01|77|P|2.5\rPID|1||MRN-44521||{SECRET}^Ottoline||19620210\r{}\r",
            segments.join("\r")
        );
        for name in ["safe-harbor", "limited-data-set"] {
            // Held is an answer too: then nothing comes out.
            let Ok(release) = release(&policy(name), &message(text.as_bytes())) else { continue };
            let out = hl7::Message::parse(release.payload().to_vec()).unwrap();
            prop_assert!(out.len() <= segments.len() + 2);
            let text = serialised(&release).to_lowercase();
            for secret in [SECRET, "Ottoline", "MRN-44521", "MRN44521", "ZQPEER7", "ZQTOPIC7"] {
                prop_assert!(!text.contains(&secret.to_lowercase()), "{secret}");
            }
            if name == "safe-harbor" {
                prop_assert!(!text.contains("19620210") && !text.contains("20120501") && !text.contains("20261103"));
            }
        }
    }

    /// Releasing what was released changes nothing more: the rules keep only what they would keep again.
    #[test]
    fn a_second_pass_finds_nothing_to_remove(segments in prop::collection::vec(segment(SECRET), 0..12)) {
        let text = format!("MSH|^~\\&|A|B|C|D|20261103||ORU^R01|77|P|2.5\r{}\r", segments.join("\r"));
        let policy = policy("safe-harbor");
        if let Ok(first) = release(&policy, &message(text.as_bytes())) {
            let second = release(&policy, &message(first.payload())).unwrap();
            // `90+` is an age that is no number any more.
            if !first.rules().iter().any(|(rule, _)| rule == "age-over-89") {
                prop_assert_eq!(first.payload(), second.payload());
            }
        }
    }
}

/// Much of one thing, where one thing is held against another: the time stays linear.
#[test]
#[expect(clippy::disallowed_methods, reason = "the time that it takes is what is tested")]
fn bulk_does_not_hang() {
    const BYTES: usize = 256 << 10;
    let many = |piece: &str| piece.repeat(BYTES / piece.len());
    let bodies = [
        format!("PID|1||{}", many("1~")),
        format!("PID|1||||{}", many("Ottoline^")),
        format!("OBX|1|NM|{}||7", many("social ")),
        format!("OBX|1|NM|{}||{}", many("718-7^^LN~"), many("1234567~")),
        format!("OBX|1|NM|X||{}|{}", many("1234567~"), many("mo^")),
        format!("OBX|1|SN|X||{}", many("^1^-^2~")),
        format!("OBX|1|NM|X||{}", many("9")),
        format!("OBX|1|CWE|X||{}", many("20141009^^SCT~")),
        format!("PID|1||||||||||{}", many("a b ^")),
        many("OBX|1|NM|718-7^^LN||7|mg/dL\r"),
        many("PID|1||||||19310207\r"),
        format!("{}|1", many("ZQ")),
    ];
    for name in ["safe-harbor", "limited-data-set"] {
        for body in &bodies {
            let text = format!(
                "MSH|^~\\&|||||20261103||ORU^R01|1|P|2.5\rPID|1||44521||Feather|||||||(617)555-0143\r{body}\r"
            );
            let start = std::time::Instant::now();
            let released = release(&policy(name), &message(text.as_bytes())).is_ok();
            let place: String = body.chars().take(40).collect();
            println!("{name} {place}: released {released}, {:?}", start.elapsed());
            assert!(start.elapsed().as_secs() < 30, "{place}");
        }
    }
}
