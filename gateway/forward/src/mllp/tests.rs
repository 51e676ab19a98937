//! Against scripted receivers over loopback: real sockets and real TLS, every misbehaviour on purpose.

mod client;
mod outcomes;
mod over_tls;
mod receiver;

use std::time::Duration;

use model::{Lane, PolicyRef, Provenance, Reason, Skip, StreamEpoch, StreamId, Timestamp};

use super::*;

/// How long a sender waits for an answer here.
const PATIENCE: Duration = Duration::from_millis(400);

fn message(control_id: &str) -> Vec<u8> {
    asking(control_id, "", "")
}

/// With MSH-15 and MSH-16.
fn asking(control_id: &str, accept: &str, application: &str) -> Vec<u8> {
    format!(
        "MSH|^~\\&|A|LARKHAVEN|B|EDGE|20261124083000||ADT^A08^ADT_A01|{control_id}|P|2.5.1|||{accept}|{application}\rPID|1||7100037^^^LARKHAVEN^MR||KESTREL^ISADORA\r"
    )
    .into_bytes()
}

fn release(seq: Seq, payload: &[u8]) -> Release {
    let provenance = Provenance {
        feed: "adt".parse().unwrap(),
        peer: "10.0.0.1:4711".into(),
        channel: String::new(),
        received_at: Timestamp::from_micros(1_790_000_000_000_000),
        format: Format::Hl7v2,
        origin: None,
    };
    let clinical = deid::Clinical::Hl7(hl7::Message::parse(payload.to_vec()).unwrap());
    let context = deid::Context { seq, provenance: &provenance, keys: None };
    deid::Policy::builtin("treatment").unwrap().release(&clinical, &context).unwrap()
}

/// One record, as the pipeline makes batches for a destination that remembers nothing.
fn batch(seq: Seq, payload: &[u8]) -> Batch<Release> {
    of(seq, vec![release(seq, payload)], vec![])
}

fn of(first: Seq, records: Vec<Release>, skipped: Vec<Skip>) -> Batch<Release> {
    let count = records.len() as u64 + skipped.iter().map(|s| s.last - s.first + 1).sum::<u64>();
    Batch {
        stream: StreamId {
            gateway: "ward-3".parse().unwrap(),
            destination: "ris".parse().unwrap(),
            lane: Lane::Clinical,
            epoch: StreamEpoch::FIRST,
        },
        first,
        last: first + count - 1,
        policy: PolicyRef { name: "p".into(), label: "treatment".into(), sha256: "00".into() },
        records,
        skipped,
    }
}

fn sender(to: &str, more: &str) -> Sender {
    let config: Config = toml::from_str(&format!("to = '{to}'\n{more}")).unwrap();
    let mut sender = config.build().unwrap();
    sender.answer_timeout = PATIENCE;
    sender
}

fn skip(first: Seq, last: Seq) -> Skip {
    Skip { first, last, reason: Reason::NotRouted }
}
