//! `wardgate faults`: what went wrong between senders and feeds.

use bytes::Bytes;
use hyper::Method;
use model::Timestamp;
use serde_json::Value;

use super::print;
use crate::cli::Faults;
use crate::client::Client;

pub(crate) async fn faults(asked: Faults) -> anyhow::Result<()> {
    let path = path(&asked)?;
    let found = Client::of(&asked.config.config)?.ask(Method::GET, &path, Bytes::new()).await?;
    if asked.json {
        return print(&format!("{found}\n"));
    }
    let mut out: String = found.as_array().into_iter().flatten().map(line).collect();
    if out.is_empty() {
        out.push_str("no faults\n");
    }
    print(&out)
}

/// The request. Slugs and kinds need no escaping; a peer may.
fn path(asked: &Faults) -> anyhow::Result<String> {
    let mut query = vec![format!("limit={}", asked.limit)];
    query.extend(asked.feed.as_ref().map(|feed| format!("feed={feed}")));
    query.extend(asked.kind.map(|kind| format!("kind={kind}")));
    query.extend(asked.peer.as_ref().map(|peer| format!("peer={}", escaped(peer))));
    if let Some(since) = &asked.since {
        let at: Timestamp = since.parse().map_err(|e| anyhow::anyhow!("--since {since}: {e}"))?;
        query.push(format!("since={}", at.micros()));
    }
    Ok(format!("/faults?{}", query.join("&")))
}

fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'.' | b'-' | b'_' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

fn line(fault: &Value) -> String {
    let text = |key: &str| match fault.get(key) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    };
    let count = fault.get("count").and_then(Value::as_u64).unwrap_or(1);
    let mut about = vec![text("text")];
    if count > 1 {
        about.push(format!("{count} times until {}", text("last_at")));
    }
    if fault.get("bytes").and_then(Value::as_u64).is_some_and(|bytes| bytes > 0) {
        about.push(format!("{} bytes", text("bytes")));
    }
    if let Some(mismatch) = fault.get("mismatch") {
        let number = |key| mismatch.get(key).map(Value::to_string).unwrap_or_default();
        about.push(format!("expected {}, found {}", number("expected"), number("found")));
    }
    if !text("record").is_empty() {
        about.push(format!("kept as {}", text("record")));
    }
    format!(
        "{} {:<12} {:<22} {:<17} {}\n",
        text("at"),
        text("feed"),
        text("peer"),
        text("kind"),
        about.join("; ")
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_says_what_happened() {
        let fault = json!({
            "at": "2026-11-24T08:30:00.000000Z", "last_at": "2026-11-24T08:31:00.000000Z", "count": 3,
            "feed": "adt", "peer": "10.0.0.1", "kind": "broken-off", "text": "a frame lost its end", "bytes": 12,
            "record": "clinical-1-7", "mismatch": { "expected": 5, "found": 7 },
        });
        assert_eq!(
            line(&fault),
            "2026-11-24T08:30:00.000000Z adt          10.0.0.1               broken-off        a frame lost its end; \
             3 times until 2026-11-24T08:31:00.000000Z; 12 bytes; expected 5, found 7; kept as clinical-1-7\n"
        );
        assert_eq!(escaped("[::1]:25 &"), "%5B%3A%3A1%5D%3A25%20%26");
    }
}
