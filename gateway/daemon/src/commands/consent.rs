//! `wardgate consent`: whose data may be handed on. The running gateway does it, and audits it. Ids travel in bodies, never
//! in an address.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, anyhow, bail};
use bytes::Bytes;
use hyper::Method;
use pipeline::consent::{Named, Word, read_list};
use serde_json::{Value, json};

use super::print;
use crate::cli::{Consent, Patient};
use crate::client::Client;
use crate::exit;

/// Stands for standard input.
const STANDARD_INPUT: &str = "-";
/// Longest id read from standard input, in bytes.
const ID_BYTES_MAX: u64 = 1_024;
/// Largest list that is read, in bytes.
const LIST_BYTES_MAX: u64 = 32 << 20;

pub(crate) async fn consent(command: Consent) -> anyhow::Result<()> {
    match command {
        Consent::Status { config, json } => {
            let standings = Client::of(&config.config)?.ask(Method::GET, "/consent", Bytes::new()).await?;
            print(&if json { format!("{standings}\n") } else { text(&standings) })
        }
        Consent::Check { patient, config } => {
            let body = json!({ "patient": named(patient)? });
            let known = post(&config.config, "/consent/check", &body).await?;
            let word = known.get("standing").and_then(Value::as_str).unwrap_or("unknown").to_owned();
            print(&format!("{word}\n"))?;
            if word == "refused" { Err(exit::Printed.into()) } else { Ok(()) }
        }
        Consent::Deny { patient, config } => say(&config.config, patient, Word::Deny).await,
        Consent::Permit { patient, config } => say(&config.config, patient, Word::Permit).await,
        Consent::Forget { patient, config } => say(&config.config, patient, Word::Nothing).await,
        Consent::Import { file, shrinks, config } => {
            let people = read_list(&list(&file)?)
                .map_err(|(line, why)| anyhow!("{}:{line}: {why}; nothing was imported", file.display()))?;
            let body = json!({ "people": people, "shrinks": shrinks });
            let count = post(&config.config, "/consent/list", &body).await?;
            print(&format!("in force, with {count} patients who refuse\n"))
        }
    }
}

async fn say(config: &Path, patient: Patient, word: Word) -> anyhow::Result<()> {
    post(config, "/consent", &json!({ "patient": named(patient)?, "word": word })).await?;
    print("noted\n")
}

async fn post(config: &Path, path: &str, body: &Value) -> anyhow::Result<Value> {
    let body = serde_json::to_vec(body).context("the question cannot be written")?;
    Client::of(config)?.ask(Method::POST, path, Bytes::from(body)).await
}

fn named(patient: Patient) -> anyhow::Result<Named> {
    let mut id = patient.mrn;
    if id == STANDARD_INPUT {
        id.clear();
        std::io::stdin().take(ID_BYTES_MAX).read_to_string(&mut id).context("standard input")?;
    }
    if id.trim().is_empty() {
        bail!("an id that says nothing names no patient");
    }
    Ok(Named { id: id.trim().to_owned(), authority: patient.authority })
}

fn list(file: &Path) -> anyhow::Result<Bytes> {
    let mut bytes = Vec::new();
    let read = if file.as_os_str() == STANDARD_INPUT {
        std::io::stdin().take(LIST_BYTES_MAX + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(file).and_then(|open| open.take(LIST_BYTES_MAX + 1).read_to_end(&mut bytes))
    };
    read.with_context(|| format!("{} cannot be read", file.display()))?;
    if bytes.len() as u64 > LIST_BYTES_MAX {
        bail!("{} is longer than {LIST_BYTES_MAX} bytes", file.display());
    }
    Ok(bytes.into())
}

fn text(standings: &Value) -> String {
    let number = |key: &str| standings.get(key).and_then(Value::as_u64).unwrap_or_default();
    let since = standings.get("list_at").and_then(Value::as_i64).map_or_else(
        || "no list was imported".to_owned(),
        |at| format!("{} on the list of {}", number("listed"), model::Timestamp::from_micros(at)),
    );
    let mut out = format!("{since}\n");
    for (key, word) in [("refusals", "refuse"), ("permissions", "permit")] {
        let by: BTreeMap<String, u64> =
            standings.get(key).cloned().and_then(|by| serde_json::from_value(by).ok()).unwrap_or_default();
        for (source, count) in by {
            out.push_str(&format!("{count} {word} by {source}\n"));
        }
    }
    out.push_str(&format!("{} of {} statements are kept\n", number("statements"), number("statements_max")));
    out
}
