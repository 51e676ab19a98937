//! `wardgate search`: which records belong to a patient, a visit, an order, a message or a time.

use std::io::Read as _;

use anyhow::{Context as _, anyhow};
use bytes::Bytes;
use hyper::Method;
use model::Timestamp;
use pipeline::search::{Query, VALUE_BYTES_MAX};
use serde_json::Value;

use super::print;
use crate::cli::Search;
use crate::client::Client;

/// Stands for a value that comes from standard input, where no list of processes shows it.
const STANDARD_INPUT: &str = "-";

pub(crate) async fn search(asked: Search) -> anyhow::Result<()> {
    let (config, as_json) = (asked.config.config.clone(), asked.json);
    let query = query(asked)?;
    let body = Bytes::from(serde_json::to_vec(&query).context("the question cannot be written")?);
    let found = Client::of(&config)?.ask(Method::POST, "/search", body).await?;
    print(&if as_json { format!("{found}\n") } else { text(&found) })
}

fn query(asked: Search) -> anyhow::Result<Query> {
    let mut is_read = false;
    let mut value = |given: Option<String>| match given {
        Some(dash) if dash == STANDARD_INPUT && is_read => {
            Err(anyhow!("only one value can be read from standard input"))
        }
        Some(dash) if dash == STANDARD_INPUT => {
            is_read = true;
            let mut text = String::new();
            let most = VALUE_BYTES_MAX as u64 + 2;
            std::io::stdin().take(most).read_to_string(&mut text).context("standard input")?;
            Ok(Some(text.trim().to_owned()))
        }
        given => Ok(given),
    };
    let time = |name: &str, given: Option<String>| {
        given.map(|at| at.parse::<Timestamp>().map_err(|e| anyhow!("--{name} {at}: {e}"))).transpose()
    };
    Ok(Query {
        mrn: value(asked.mrn)?,
        visit: value(asked.visit)?,
        order: value(asked.order)?,
        control_id: value(asked.control_id)?,
        device: value(asked.device)?,
        kind: asked.kind,
        feed: asked.feed,
        from: time("from", asked.from)?,
        to: time("to", asked.to)?,
        limit: Some(asked.limit),
    })
}

fn text(found: &Value) -> String {
    let all = |key: &str| found.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut out: String = all("records").iter().map(line).collect();
    if out.is_empty() {
        out.push_str("nothing found\n");
    }
    if found.get("is_limited") == Some(&Value::Bool(true)) {
        out.push_str("the limit was reached; there may be older ones\n");
    }
    for range in all("left_out") {
        let at = |key| word(range, key);
        out.push_str(&format!(
            "not looked at: {} {} to {}, not indexed yet or damaged\n",
            at("lane"),
            at("first"),
            at("last")
        ));
    }
    out
}

fn word(value: &Value, key: &str) -> String {
    match value.get(key) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => "-".to_owned(),
        Some(other) => other.to_string(),
    }
}

fn line(record: &Value) -> String {
    let at = |key| word(record, key);
    let fates: Vec<String> = record
        .get("destinations")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|fate| {
            let state = match word(fate, "outcome").as_str() {
                "skipped" if fate.get("held") == Some(&Value::Bool(true)) => "held".to_owned(),
                "skipped" => format!("skipped ({})", word(fate, "reason")),
                other => other.to_owned(),
            };
            format!("{}: {state}", word(fate, "destination"))
        })
        .collect();
    format!("{:<24} {} {:<12} {:<12} {}\n", at("id"), at("at"), at("feed"), at("type"), fates.join(", "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_says_what_it_left_out() {
        let found = json!({
            "records": [{
                "id": "clinical-1-7", "at": "2026-11-24T08:30:00.000000Z", "feed": "adt", "type": "ADT^A08",
                "destinations": [
                    { "destination": "lake", "outcome": "landed" },
                    { "destination": "ris", "outcome": "skipped", "reason": "not-routed", "held": false },
                    { "destination": "lab", "outcome": "skipped", "reason": "held", "held": true },
                ],
            }],
            "is_limited": true,
            "left_out": [{ "lane": "clinical", "first": 1, "last": 6 }],
        });
        assert_eq!(
            text(&found),
            "clinical-1-7             2026-11-24T08:30:00.000000Z adt          ADT^A08      lake: landed, ris: skipped \
             (not-routed), lab: held\nthe limit was reached; there may be older ones\n\
             not looked at: clinical 1 to 6, not indexed yet or damaged\n"
        );
        assert_eq!(text(&json!({ "records": [], "is_limited": false, "left_out": [] })), "nothing found\n");
    }
}
