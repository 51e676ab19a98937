//! `wardgate deid run`: a filter, so that anyone can compare engines on the same input.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, anyhow};
use aws_lc_rs::hmac;
use deid::{DestinationKeys, Held, Identifier, Policy, VAULT_TOKEN_BYTES, Vault, VaultToken};
use model::Clock as _;
use rand::Rng;
use serde_json::json;
use zeroize::Zeroizing;

use super::{nothing_to_read, print};
use crate::cli::{Deid, Filter, FilterFormat};
use crate::clock::SystemClock;
use crate::exit;

/// The vault of one run: what it gives is the same until the run ends, and nothing is kept.
#[derive(Debug, Default)]
struct RunVault(Mutex<HashMap<Vec<u8>, VaultToken>>);

impl Vault for RunVault {
    fn token(&self, identifier: &Identifier<'_>) -> Option<VaultToken> {
        let mut given = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let token = given.entry(identifier.canonical().to_vec()).or_insert_with(|| {
            let mut random = [0; VAULT_TOKEN_BYTES];
            rand::rng().fill(&mut random[..]);
            VaultToken::new(random)
        });
        Some(*token)
    }
}

/// A message's or resource's place in the input, and what became of it.
type Outcome = (usize, Result<Vec<u8>, Held>);

pub(crate) fn deid(command: Deid) -> anyhow::Result<()> {
    match command {
        Deid::Run(asked) => run(*asked),
        Deid::Explain(asked) => super::deid_explain::explain(*asked),
        Deid::Preview { policy, records } => super::deid_explain::preview(&policy, &records),
        Deid::Diff(asked) => super::deid_explain::diff(&asked),
    }
}

fn run(asked: Filter) -> anyhow::Result<()> {
    let Filter { policy, input, format, text, report, key_file } = asked;
    let policy = load(&policy)?;
    let is_by_flag = input.is_none();
    let format = input.or(format).unwrap_or(FilterFormat::Hl7);
    if let FilterFormat::Text = format {
        let mut text = text;
        text.json_lines |= is_by_flag && !text.spans;
        return super::deid_text::run(&policy, &text);
    }
    let keys = destination_keys(key_file.as_deref())?;
    let mut input = Vec::new();
    std::io::stdin().lock().read_to_end(&mut input).context("standard input")?;
    let mut listed = String::new();
    let (mut messages, mut held) = (0, 0);
    let mut out = std::io::stdout().lock();
    let now = SystemClock.now();
    let is_fhir = matches!(format, FilterFormat::Fhir);
    let outcomes: Box<dyn Iterator<Item = Outcome>> = if is_fhir {
        Box::new(deid::fhir_filter(&policy, &input, now, Some(&keys)))
    } else {
        Box::new(deid::hl7_filter(&policy, &input, now, Some(&keys)))
    };
    for (index, outcome) in outcomes {
        messages += 1;
        match outcome {
            Ok(mut payload) => {
                if is_fhir {
                    payload.push(b'\n');
                } else {
                    payload = with_cr(payload);
                }
                out.write_all(&payload)?;
                listed.push_str(&format!("{}\n", json!({ "index": index, "outcome": "released" })));
            }
            Err(why) => {
                held += 1;
                let reason = why.why.to_string();
                listed.push_str(&format!(
                    "{}\n",
                    json!({ "index": index, "outcome": "held", "reason": reason })
                ));
            }
        }
    }
    out.flush()?;
    drop(out);
    if let Some(file) = report {
        std::fs::write(&file, listed).with_context(|| file.display().to_string())?;
    }
    if !is_fhir {
        nothing_to_read(&input, messages)?;
    }
    if held == 0 { Ok(()) } else { Err(exit::Printed.into()) }
}

/// The filter's output ends every segment with CR, also where the policy passes the sender's own line ends.
fn with_cr(payload: Vec<u8>) -> Vec<u8> {
    let Ok(message) = hl7::Message::parse(payload.clone()) else { return payload };
    let mut out = Vec::with_capacity(payload.len().saturating_add(1));
    for segment in message.segments() {
        out.extend_from_slice(segment.raw());
        out.push(b'\r');
    }
    out
}

pub(super) fn load(name: &str) -> anyhow::Result<Policy> {
    if let Some(policy) = Policy::builtin(name) {
        return Ok(policy);
    }
    let path = Path::new(name);
    let text = std::fs::read_to_string(path)
        .map_err(|e| anyhow!("{name} is neither a built-in policy (treatment, safe-harbor, safe-harbor-linked, limited-data-set) nor a readable file: {e}"))?;
    let stem = path.file_stem().and_then(|s| s.to_str()).unwrap_or("policy");
    Policy::compile(stem, &text, SystemClock.now())
        .map_err(|error| anyhow!("{name} does not compile:\n{error}"))
}

/// The keys of a destination that the file's key stands for; without a file, of one that there is once.
pub(super) fn destination_keys(file: Option<&Path>) -> anyhow::Result<DestinationKeys> {
    let mut key = Zeroizing::new([0_u8; 32]);
    match file {
        Some(file) => {
            let bytes = Zeroizing::new(std::fs::read(file).with_context(|| file.display().to_string())?);
            if bytes.len() != key.len() {
                print("")?;
                return Err(anyhow!("{}: a key has 32 bytes, this file has {}", file.display(), bytes.len()));
            }
            key.copy_from_slice(&bytes);
        }
        None => rand::rng().fill(&mut key[..]),
    }
    let root = hmac::Key::new(hmac::HMAC_SHA256, &key[..]);
    let keys = DestinationKeys::derive(|purpose| {
        let mut derived = Zeroizing::new([0; 32]);
        derived.copy_from_slice(hmac::sign(&root, purpose.as_bytes()).as_ref());
        derived
    });
    Ok(keys.with_vault(Arc::new(RunVault::default())))
}
