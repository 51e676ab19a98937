//! What of the configuration is in force, so that a change of it is an entry of the audit log.
//!
//! The document of the last start is remembered by its SHA-256 in the journal, and each destination's policy by the
//! hash of its compiled form. A start that finds something else audits it before anything runs.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use anyhow::Context as _;
use aws_lc_rs::digest::{SHA256, digest};
use control::Document;
use deid::Policy;
use model::{AuditAction, AuditEvent, Slug};
use serde::{Deserialize, Serialize};

use crate::product::Gateway;

const KEY: &str = "applied";
/// Of a hash, so much is shown.
const SHOWN_CHARS: usize = 16;

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Applied {
    configuration: String,
    policies: BTreeMap<Slug, String>,
}

impl Applied {
    fn of(document: &Document, policies: &HashMap<String, Arc<Policy>>) -> anyhow::Result<Self> {
        let bytes = serde_json::to_vec(document).context("the configuration cannot be written down")?;
        let policies = document.destinations.iter().filter_map(|d| {
            policies.get(&d.policy).map(|policy| (d.name.clone(), policy.reference().sha256.clone()))
        });
        Ok(Self { configuration: hex::encode(digest(&SHA256, &bytes)), policies: policies.collect() })
    }

    /// What is different from before, as entries: action, subject, detail.
    fn changes(&self, before: &Self, gateway: &Slug) -> Vec<(AuditAction, String, String)> {
        let mut changes = Vec::new();
        if self.configuration != before.configuration {
            let detail = match before.configuration.as_str() {
                "" => format!("configuration {}", short(&self.configuration)),
                old => format!("configuration {} instead of {}", short(&self.configuration), short(old)),
            };
            changes.push((AuditAction::ConfigurationApplied, gateway.to_string(), detail));
        }
        for (destination, policy) in &self.policies {
            let detail = match before.policies.get(destination) {
                Some(old) if old == policy => continue,
                Some(old) => format!("policy {} instead of {}", short(policy), short(old)),
                None => format!("policy {}", short(policy)),
            };
            changes.push((AuditAction::PolicyApplied, destination.to_string(), detail));
        }
        changes
    }
}

fn short(hash: &str) -> &str {
    hash.get(..SHOWN_CHARS).unwrap_or(hash)
}

/// Audits what has changed since the last start, and remembers it.
pub(crate) async fn note(
    gateway: &Gateway,
    document: &Document,
    policies: &HashMap<String, Arc<Policy>>,
) -> anyhow::Result<()> {
    let journal = gateway.pipeline.journal();
    let before: Applied =
        journal.document(KEY).and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
    let now = Applied::of(document, policies)?;
    if now == before {
        return Ok(());
    }
    for (action, subject, detail) in now.changes(&before, &gateway.id) {
        let event =
            AuditEvent { at: gateway.clock.now(), actor: "system".to_owned(), action, subject, detail };
        gateway.audited(event).await?;
    }
    journal.put_document(KEY, serde_json::to_vec(&now)?).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(configuration: &str, policies: &[(&str, &str)]) -> Applied {
        let policies = policies.iter().map(|(d, p)| (d.parse().unwrap(), (*p).to_owned())).collect();
        Applied { configuration: configuration.to_owned(), policies }
    }

    #[test]
    fn only_what_changed_is_an_entry() {
        let gateway: Slug = "ward-3".parse().unwrap();
        let told = |now: &Applied, before: &Applied| {
            now.changes(before, &gateway)
                .into_iter()
                .map(|(action, subject, detail)| format!("{action:?} {subject}: {detail}"))
                .collect::<Vec<_>>()
        };
        let first = applied("0123456789abcdef0123", &[("lake", "p1"), ("ris", "p2")]);
        assert_eq!(
            told(&first, &Applied::default()),
            [
                "ConfigurationApplied ward-3: configuration 0123456789abcdef",
                "PolicyApplied lake: policy p1",
                "PolicyApplied ris: policy p2",
            ]
        );
        let second = applied("fedcba9876543210fedc", &[("lake", "p3"), ("ris", "p2")]);
        assert_eq!(
            told(&second, &first),
            [
                "ConfigurationApplied ward-3: configuration fedcba9876543210 instead of 0123456789abcdef",
                "PolicyApplied lake: policy p3 instead of p1",
            ]
        );
        assert!(told(&second, &second).is_empty());
    }
}
