//! `wardgate trace`: from a record's arrival to its row.

use std::path::Path;

use bytes::Bytes;
use hyper::Method;
use model::RecordId;
use serde_json::Value;

use super::print;
use crate::client::Client;

pub(crate) async fn trace(config: &Path, id: RecordId, as_json: bool) -> anyhow::Result<()> {
    let trace = Client::of(config)?.ask(Method::GET, &format!("/trace/{id}"), Bytes::new()).await?;
    if as_json {
        return print(&format!("{trace}\n"));
    }
    let text = |value: &Value, key: &str| match value.get(key) {
        Some(Value::String(s)) => s.clone(),
        Some(Value::Null) | None => "-".to_owned(),
        Some(other) => other.to_string(),
    };
    let mut out = format!("{id}\n");
    match trace.get("arrival") {
        Some(arrival) if !arrival.is_null() => {
            let line = |key| text(arrival, key);
            out.push_str(&format!(
                "  arrived   {} by feed {} from {}: {} bytes of {}\n",
                line("received_at"),
                line("feed"),
                line("peer"),
                line("bytes"),
                line("format")
            ));
            for flag in arrival.get("flags").and_then(Value::as_array).into_iter().flatten() {
                let what = match flag.as_str() {
                    Some("reused-id") => {
                        "an earlier record of its sender has the same control id and other content"
                    }
                    Some("out-of-sequence") => "its sequence number was not the expected one",
                    other => other.unwrap_or_default(),
                };
                out.push_str(&format!("  note      {what}\n"));
            }
            if !arrival.get("origin").is_none_or(Value::is_null) {
                out.push_str(&format!("  copy of   {}\n", line("origin")));
            }
        }
        _ => out.push_str("  arrived   no longer kept on this box\n"),
    }
    for fate in trace.get("destinations").and_then(Value::as_array).into_iter().flatten() {
        let at = |key| text(fate, key);
        let what = match at("outcome").as_str() {
            "landed" => format!(
                "row {} in raw since {} (table version {}), batch {}..={}, manifest {}, policy {}",
                at("record"),
                at("committed_at"),
                at("table_version"),
                at("first"),
                at("last"),
                at("manifest_sha256"),
                fate.get("policy").map_or_else(|| "-".to_owned(), |p| text(p, "name")),
            ),
            "skipped" if fate.get("held").and_then(Value::as_bool) == Some(true) => {
                format!("no row: {}; it waits in the held log for a person", at("reason"))
            }
            "skipped" => {
                let decision = fate.get("decision").filter(|d| !d.is_null());
                let decided = decision.map_or_else(String::new, |d| match d.get("released_as") {
                    Some(Value::String(copy)) => {
                        format!("; released as {copy} by {} at {}", text(d, "actor"), text(d, "at"))
                    }
                    _ => format!("; dismissed by {} at {}", text(d, "actor"), text(d, "at")),
                });
                format!("no row: {}{decided}", at("reason"))
            }
            "pending" => format!("not sent yet, {} before it", at("ahead")),
            "given-up" => "given up: nobody took it within the age limit of its lane".to_owned(),
            "before-beginning" => "arrived before the destination began".to_owned(),
            other => other.to_owned(),
        };
        out.push_str(&format!("  {:<9} {what}\n", at("destination")));
    }
    let routes = trace.get("routes").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if !routes.is_empty() {
        out.push_str("  by the routes of today:\n");
    }
    for route in routes {
        let names: Vec<&str> = route
            .get("destinations")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let fits = if route.get("fits") == Some(&Value::Bool(true)) { "fits" } else { "does not fit" };
        out.push_str(&format!(
            "    {} -> {}: {fits}: {}\n",
            text(route, "route"),
            names.join(", "),
            text(route, "because")
        ));
    }
    print(&out)
}
