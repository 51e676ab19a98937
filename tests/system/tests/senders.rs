//! What senders ask for and what goes wrong with them, from outside: batches, enhanced mode, ids that come again, and
//! faults that are found by command.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, with what it saw"
)]

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};

use system_tests::mllp::{Connection, accepted};
use system_tests::site::{Site, shown};
use system_tests::{hl7, readers, wait};

#[test]
fn a_batch_lands_a_row_a_message_and_reused_ids_and_broken_frames_are_found() {
    let mut site = Site::small();
    let (mut gateway, mut landing) = site.start();
    // A batch: a row a message, together the frame, and one answer.
    let (first, second) = (hl7::observation("b-1", 1), hl7::observation("b-2", 2));
    let batch = [b"BHS|^~\\&|LAB|W|EHR|M|2026||||B-1\r", &first[..], &second, b"BTS|2\r"].concat();
    let mut connection = Connection::open(site.ports.mllp).unwrap();
    let answer = connection.exchange(&batch).unwrap().to_string();
    assert!(answer.starts_with("BHS|") && answer.ends_with("BTS|2\r"), "{answer}");
    assert_eq!(answer.matches("MSA|AA|b-").count(), 2, "{answer}");
    // Enhanced mode: two frames, the accept acknowledgement first.
    let mut asking = String::from_utf8(hl7::observation("e-1", 3)).unwrap();
    let end = asking.find('\r').unwrap();
    // MSH-1 is the first separator itself.
    let missing = 14 - asking.split('\r').next().unwrap().matches('|').count();
    asking.insert_str(end, &format!("{}AL|AL", "|".repeat(missing)));
    assert_eq!(hl7::field(asking.as_bytes(), "MSH", 15), Some(&b"AL"[..]));
    connection.send(asking.as_bytes()).unwrap();
    assert_eq!([connection.answer().unwrap().code(), connection.answer().unwrap().code()], ["CA", "AA"]);
    // The same id with other content.
    accepted(site.ports.mllp, &hl7::observation("same", 4));
    accepted(site.ports.mllp, &hl7::observation("same", 5));
    // A frame that lost its end, in front of one that has it.
    let whole = hl7::observation("whole", 6);
    let lost = hl7::observation("lost", 7);
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, site.ports.mllp)).unwrap();
    let address = stream.local_addr().unwrap().to_string();
    stream.write_all(&[b"\x0b", &lost[..], b"\x0b", &whole, b"\x1c\r"].concat()).unwrap();
    let mut byte = [0];
    stream.read_exact(&mut byte).unwrap();
    drop(stream);
    site.drained();

    let found = |arguments: &[&str]| {
        let arguments = [&["faults", "--config", "gateway.toml", "--json"], arguments].concat();
        site.json(&arguments).as_array().unwrap().clone()
    };
    let broken = wait::until("the fault to be known", || found(&["--kind", "broken-off"]).first().cloned());
    assert_eq!((broken["peer"].as_str(), broken["feed"].as_str()), (Some(address.as_str()), Some("adt")));
    assert_eq!(broken["bytes"], lost.len());
    assert_eq!(found(&["--peer", &address]).len(), 1);
    assert!(found(&["--peer", "10.99.0.1"]).is_empty());
    let reused = &found(&["--kind", "reused-id", "--peer", "127.0.0.1"])[0];
    let trace =
        site.json(&["trace", reused["record"].as_str().unwrap(), "--config", "gateway.toml", "--json"]);
    assert_eq!(trace["arrival"]["flags"], serde_json::json!(["reused-id"]));
    let said = site.wardgate(&["faults", "--config", "gateway.toml"]);
    assert!(String::from_utf8_lossy(&said.stdout).contains("lost its end"), "{}", shown(&said));

    let payloads = readers::payloads(&site.root("lake"));
    assert_eq!(payloads[..2].concat(), batch, "the rows joined are the frame");
    assert_eq!(payloads.len(), 6, "and the broken one is held");
    // Faults survive a kill, but for those of the last half second.
    std::thread::sleep(std::time::Duration::from_secs(1));
    gateway.kill();
    site.more = "# started again\n".to_owned();
    site.write();
    let mut gateway = site.start_gateway();
    let again = site.json(&["faults", "--config", "gateway.toml", "--json", "--kind", "broken-off"]);
    assert_eq!(again.as_array().unwrap().len(), 1);
    gateway.stop();
    landing.stop();
}

/// The product's own sender waits for what it asks for: an accept acknowledgement and then one of the application, one
/// of them, or none, and no answer is left over for the message behind it.
#[test]
fn send_reads_every_answer_that_its_messages_ask_for() {
    let site = Site::small();
    let (mut gateway, mut landing) = site.start();
    let file = site.dir.join("asking.hl7");
    let asks = ["AL|AL", "AL|NE", "NE|AL", "SU|SU", "AL|ER", "NE|NE", "AL|AL", "|"];
    let messages: Vec<Vec<u8>> = (0..40)
        .map(|n| {
            let text = String::from_utf8(hl7::observation(&format!("ask-{n}"), n)).unwrap();
            let (header, rest) = text.split_once('\r').unwrap();
            let missing = 14 - header.matches('|').count();
            format!("{header}{}{}\r{rest}", "|".repeat(missing), asks[n as usize % asks.len()]).into_bytes()
        })
        .collect();
    std::fs::write(&file, messages.concat()).unwrap();
    let to = format!("127.0.0.1:{}", site.ports.mllp);
    let summary = site.json(&["send", "--to", &to, file.to_str().unwrap(), "--json"]);
    let counts = ["sent", "acknowledged", "unanswered", "refused", "repeated"].map(|n| summary[n].clone());
    assert_eq!(counts, [40, 35, 5, 0, 0].map(serde_json::Value::from), "{summary}");
    site.drained();
    assert_eq!(readers::payloads(&site.root("lake")), messages);
    gateway.stop();
    landing.stop();
}
