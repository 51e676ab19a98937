//! `wardgate deid explain|preview|diff`: what a policy does to each value, of a file or of what is in the log.

use std::io::Read as _;

use anyhow::Context as _;
use bytes::Bytes;
use deid::{Clinical, Comparison, Context, Explained, Held, Policy, Step};
use hyper::Method;
use model::{Clock as _, RecordId, Slug};
use serde_json::{Value, json};

use super::deid::{destination_keys, load};
use super::{nothing_to_read, print, runtime};
use crate::cli::{Config, Differ, Explain, FilterFormat, Records};
use crate::client::Client;
use crate::clock::SystemClock;
use crate::exit;

/// Widest column of values in a preview, in characters.
const VALUE_WIDTH_MAX: usize = 36;

pub(super) fn explain(asked: Explain) -> anyhow::Result<()> {
    match (asked.record, asked.to, asked.policy) {
        (Some(id), Some(to), _) => {
            runtime()?.block_on(explain_record(&asked.config, &to, id, asked.records.json))
        }
        (_, _, Some(policy)) => of_input(&policy, &asked.records, false),
        _ => anyhow::bail!("--policy, or a record and --to, says what is explained"),
    }
}

pub(super) fn preview(policy: &str, records: &Records) -> anyhow::Result<()> {
    of_input(policy, records, true)
}

pub(super) fn diff(asked: &Differ) -> anyhow::Result<()> {
    runtime()?.block_on(differ(asked))
}

/// Explains every record of standard input; with `values` it shows them.
#[expect(clippy::print_stderr, reason = "what is for the person stays apart from what is piped on")]
fn of_input(policy: &str, records: &Records, values: bool) -> anyhow::Result<()> {
    let policy = load(policy)?;
    if values {
        eprintln!("what follows shows patients' data");
    }
    let mut held = 0;
    each(records, |number, record| {
        let explained = record.map(|(clinical, context)| policy.explain(clinical, context));
        let explained = explained.unwrap_or_else(|why| Explained { steps: Vec::new(), outcome: Err(why) });
        held += u64::from(explained.outcome.is_err());
        print(&if records.json {
            as_json(number, &explained, values)
        } else {
            text(number, &explained, values)
        })
    })?;
    if held == 0 { Ok(()) } else { Err(exit::Printed.into()) }
}

/// Compares two policies on standard input, or a policy with a destination's own on what is in the log.
async fn differ(asked: &Differ) -> anyhow::Result<()> {
    let with = &asked.with;
    let comparison = match (&asked.policy, &asked.to) {
        (Some(policy), _) => serde_json::to_value(compared(&load(policy)?, &load(with)?, &asked.records)?)?,
        (None, Some(to)) => tried(&asked.config, to, with, asked.last).await?,
        (None, None) => anyhow::bail!("--policy or --to says what to compare with"),
    };
    print(&if asked.records.json { format!("{comparison}\n") } else { differences(&comparison) })?;
    let count = |key: &str| number(&comparison, key);
    if count("same") == count("records") { Ok(()) } else { Err(exit::Printed.into()) }
}

fn differences(comparison: &Value) -> String {
    let count = |key: &str| number(comparison, key);
    let records = count("records");
    let mut out = format!(
        "{records} records: {} the same, {} differ; held {} by the first policy, {} by the second\n",
        count("same"),
        records.saturating_sub(count("same")),
        count("held_by_first"),
        count("held_by_second")
    );
    if comparison.get("not_for_it").is_some() {
        out.push_str(&format!(
            "{} more are for others; {} cannot be read and are held whatever the policy\n",
            count("not_for_it"),
            count("unreadable")
        ));
    }
    for change in comparison.get("changes").and_then(Value::as_array).into_iter().flatten() {
        let fate = |key: &str| change.get(key).map(fate).unwrap_or_default();
        let path = change.get("path").and_then(Value::as_str).filter(|path| !path.is_empty());
        let example = match change.get("example") {
            Some(Value::String(id)) => id.clone(),
            Some(index) => format!("record {index}"),
            None => String::new(),
        };
        out.push_str(&format!(
            "  {:<28} {:<34} -> {:<34} {:>7} x, first in {example}\n",
            path.unwrap_or("the whole record"),
            fate("first"),
            fate("second"),
            number(change, "values")
        ));
    }
    if count("left_out") > 0 {
        out.push_str(&format!("and {} more at places that are not listed\n", count("left_out")));
    }
    out
}

fn number(value: &Value, key: &str) -> u64 {
    value.get(key).and_then(Value::as_u64).unwrap_or_default()
}

/// What becomes of a value, in the words of an explanation.
fn fate(value: &Value) -> String {
    let rules = value.get("rules").and_then(Value::as_array).into_iter().flatten();
    let rules: Vec<&str> = rules.filter_map(Value::as_str).collect();
    said(value.get("outcome").and_then(Value::as_str).unwrap_or_default(), &rules.join(", "))
}

/// What a destination's policy makes of a record in the log.
async fn explain_record(config: &Config, to: &Slug, id: RecordId, as_json: bool) -> anyhow::Result<()> {
    let path = format!("/explain/{to}/{id}");
    let explained = Client::of(&config.config)?.ask(Method::GET, &path, Bytes::new()).await?;
    if as_json {
        return print(&format!("{explained}\n"));
    }
    let word =
        |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let why = ["why", "reason"].map(|key| word(&explained, key)).concat();
    let policy = explained.get("policy").map(|policy| word(policy, "name")).unwrap_or_default();
    let mut out = format!("{id} at {to}, policy {policy}: {}", word(&explained, "outcome"));
    out.push_str(&if why.is_empty() { "\n".to_owned() } else { format!(": {why}\n") });
    for step in explained.get("steps").and_then(Value::as_array).into_iter().flatten() {
        out.push_str(&row(&word(step, "path"), &fate(step)));
    }
    print(&out)
}

fn compared(first: &Policy, second: &Policy, records: &Records) -> anyhow::Result<Comparison<usize>> {
    let mut comparison = Comparison::default();
    each(records, |number, record| {
        if let Ok((clinical, context)) = record {
            let [one, other] = [first, second].map(|policy| policy.explain(clinical, context));
            comparison.add(&number, &one, &other);
        }
        Ok(())
    })?;
    Ok(comparison.sorted())
}

async fn tried(config: &Config, to: &Slug, with: &str, last: u64) -> anyhow::Result<Value> {
    // What is wrong with it is said here, with its file, and not by the box.
    let policy = load(with)?;
    let toml = match Policy::builtin(with) {
        Some(_) => None,
        None => Some(std::fs::read_to_string(with).with_context(|| with.to_owned())?),
    };
    let name = policy.reference().name.as_str();
    let body = Bytes::from(serde_json::to_vec(&json!({ "name": name, "toml": toml, "last": last }))?);
    Client::of(&config.config)?.ask(Method::POST, &format!("/policy-trials/{to}"), body).await
}

/// Reads standard input and hands over each record with what stands around it.
fn each(
    records: &Records,
    mut action: impl FnMut(usize, Result<(&Clinical, &Context<'_>), Held>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let keys = destination_keys(records.key_file.as_deref())?;
    let mut input = Vec::new();
    std::io::stdin().lock().read_to_end(&mut input).context("standard input")?;
    let now = SystemClock.now();
    let found: Box<dyn Iterator<Item = Result<Clinical, Held>>> = match records.format {
        FilterFormat::Hl7 => Box::new(deid::hl7_records(&input)),
        FilterFormat::Fhir => Box::new(deid::fhir_records(&input)),
        FilterFormat::Text => {
            anyhow::bail!("of free text `wardgate deid run --format text` names every span itself")
        }
    };
    let mut count = 0;
    for (number, clinical) in found.enumerate() {
        count += 1;
        match clinical {
            Err(held) => action(number, Err(held))?,
            Ok(clinical) => deid::filtered(&clinical, number, now, Some(&keys), |context| {
                action(number, Ok((&clinical, context)))
            })??,
        }
    }
    if matches!(records.format, FilterFormat::Hl7) {
        nothing_to_read(&input, count)?;
    }
    Ok(())
}

fn text(number: usize, explained: &Explained, values: bool) -> String {
    let mut out = match &explained.outcome {
        Ok(_) => format!("{number}: released\n"),
        Err(held) => format!("{number}: held: {}\n", held.why),
    };
    for step in &explained.steps {
        let rules = step.rules.join(", ");
        out.push_str(&if values {
            let [before, after] = [&step.before, &step.after].map(|value| shown(value.expose()));
            format!(
                "  {:<28} {before:<VALUE_WIDTH_MAX$}  {after:<VALUE_WIDTH_MAX$}  {}\n",
                step.path,
                said(step.outcome().as_str(), &rules)
            )
        } else {
            row(&step.path, &said(step.outcome().as_str(), &rules))
        });
    }
    out
}

fn row(path: &str, fate: &str) -> String {
    format!("  {path:<40} {fate}\n")
}

fn said(outcome: &str, rules: &str) -> String {
    if rules.is_empty() || rules == outcome { outcome.to_owned() } else { format!("{outcome} ({rules})") }
}

/// A value on one line, cut where it is long.
fn shown(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(value);
    let mut out: String =
        text.chars().map(|c| if c.is_control() { '\u{b7}' } else { c }).take(VALUE_WIDTH_MAX).collect();
    if text.chars().nth(VALUE_WIDTH_MAX).is_some() {
        out.pop();
        out.push('\u{2026}');
    }
    out
}

fn as_json(number: usize, explained: &Explained, values: bool) -> String {
    let step = |step: &Step| {
        let mut told = json!({
            "path": step.path, "outcome": step.outcome().as_str(), "rules": step.rules,
        });
        if let (true, Some(told)) = (values, told.as_object_mut()) {
            for (name, value) in [("before", &step.before), ("after", &step.after)] {
                told.insert(name.to_owned(), String::from_utf8_lossy(value.expose()).into());
            }
        }
        told
    };
    let steps: Vec<Value> = explained.steps.iter().map(step).collect();
    let told = match &explained.outcome {
        Ok(_) => json!({ "index": number, "outcome": "released", "steps": steps }),
        Err(held) => json!({
            "index": number, "outcome": "held", "reason": held.why.to_string(), "steps": steps,
        }),
    };
    format!("{told}\n")
}
