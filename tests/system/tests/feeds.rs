//! What comes in over MLLP: several feeds, senders that do not wait, messages of every size.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, with what it saw"
)]

use serde_json::{Value, json};
use system_tests::mllp::{Connection, accepted};
use system_tests::site::{Site, free_port, shown};
use system_tests::{fixtures, hl7, readers};

#[test]
fn each_feed_has_its_own_destinations_and_its_own_messages() {
    let mut site = Site::new();
    let second = free_port();
    site.more = format!(
        "[[feed]]\nname = \"lab\"\nlane = \"bulk\"\ndestinations = [\"lake\"]\n\
         [feed.mllp]\nlisten = \"127.0.0.1:{second}\"\n"
    );
    let (mut gateway, mut landing) = site.start();
    // The same bytes on two feeds are two messages.
    let message = hl7::observation("feed-1", 1);
    accepted(site.ports.mllp, &message);
    accepted(second, &message);
    accepted(second, &hl7::observation("feed-2", 2));
    site.drained();
    let rows = |destination: &str| -> Vec<(Value, Value)> {
        let rows = readers::rows(&site.root(destination), "raw");
        rows.iter().map(|row| (row["record_id"].clone(), row["feed"].clone())).collect()
    };
    let row = |id: &str, feed: &str| (json!(id), json!(feed));
    assert_eq!(rows("lake"), [row("bulk-1-1", "lab"), row("bulk-1-2", "lab"), row("clinical-1-1", "adt")]);
    assert_eq!(rows("research"), [row("clinical-1-1", "adt")]);
    let ledger = readers::rows(&site.root("research"), "ledger");
    let bulk = ledger.iter().filter(|batch| batch["lane"] == "bulk").collect::<Vec<_>>();
    assert!(!bulk.is_empty() && bulk.iter().all(|b| b["rows"] == 0), "{bulk:?}");
    assert!(bulk.iter().all(|b| b["skipped_reasons"].as_str().unwrap().contains("not-routed")), "{bulk:?}");
    gateway.stop();
    landing.stop();
    for destination in ["lake", "research"] {
        readers::sums(&site.root(destination));
    }
}

#[test]
fn a_sender_that_does_not_wait_gets_every_answer_in_order() {
    let site = Site::small();
    let (mut gateway, mut landing) = site.start();
    let messages: Vec<Vec<u8>> = (0..200).map(|n| hl7::observation(&format!("pipe-{n}"), n)).collect();
    let mut connection = Connection::open(site.ports.mllp).unwrap();
    for message in &messages {
        connection.send(message).unwrap();
    }
    for n in 0..200 {
        let answer = connection.answer().unwrap();
        assert_eq!((answer.code(), answer.field("MSA", 2)), ("AA".to_owned(), Some(format!("pipe-{n}"))));
    }
    site.drained();
    assert_eq!(readers::payloads(&site.root("lake")), messages);
    gateway.stop();
    landing.stop();
}

#[test]
fn a_message_of_twenty_megabytes_lands_and_one_that_is_too_long_is_refused() {
    let mut site = Site::small();
    site.mllp = "frame_bytes_max = 33554432".to_owned();
    let (mut gateway, mut landing) = site.start();
    let with_document = |control_id: &str, bytes: usize| {
        let mut message = hl7::observation(control_id, 1);
        message.extend_from_slice(b"OBX|2|ED|18842-5^Report^LN||^application^pdf^Base64^");
        message.extend((0..bytes).map(|n| b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef"[n * 7 % 31]));
        message.extend_from_slice(b"||||||F\r");
        message
    };
    let large = with_document("large", 20 << 20);
    let mut connection = Connection::open(site.ports.mllp).unwrap();
    assert_eq!(connection.exchange(&large).unwrap().code(), "AA");
    let answer = connection.exchange(&with_document("too-long", 40 << 20)).unwrap();
    assert_eq!(answer.code(), "AR", "{answer:?}");
    assert!(answer.to_string().contains("33554432"), "{answer:?}");
    let small = hl7::observation("after", 2);
    assert_eq!(connection.exchange(&small).unwrap().code(), "AA", "the connection goes on");
    site.drained();
    assert!(readers::payloads(&site.root("lake")) == [large, small], "byte by byte");
    gateway.stop();
    landing.stop();
    site.nothing_to_find();
}

#[test]
fn files_are_sent_and_counted_by_the_products_own_sender() {
    let site = Site::small();
    let (mut gateway, mut landing) = site.start();
    let to = format!("127.0.0.1:{}", site.ports.mllp);
    let folder = fixtures::hl7();
    let send = ["send", "--to", &to, folder.to_str().unwrap(), "--json"];
    let counted = || {
        let mut summary = site.json(&send);
        summary.as_object_mut().unwrap().remove("seconds");
        summary
    };
    let summary = counted();
    let sent = summary["sent"].as_u64().unwrap();
    assert!(sent > 20 && summary["acknowledged"] == sent && summary["refused"] == 0, "{summary}");
    // Once more: the same answers, no new rows.
    assert_eq!(counted(), summary);
    site.drained();
    assert_eq!(readers::payloads(&site.root("lake")).len() as u64, sent);
    gateway.stop();
    landing.stop();
    let out = site.wardgate(&send);
    assert_eq!(out.status.code(), Some(3), "nobody listens: {}", shown(&out));
}
