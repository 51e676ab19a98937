//! JSON of our own: an entry a line, with what proves it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::{Exported, name};
use crate::Hash;

#[derive(Serialize)]
struct Line<'a> {
    index: u64,
    at: String,
    actor: &'a str,
    action: String,
    subject: &'a str,
    detail: &'a str,
    /// The leaf's bytes: whoever hashes them gets `leaf_sha256`.
    leaf: String,
    leaf_sha256: String,
    /// Base64 of the hashes that lead from the leaf to the root.
    #[serde(skip_serializing_if = "Option::is_none")]
    inclusion: Option<Vec<String>>,
}

/// One line, without its end. `inclusion` is the proof that the entry is in the tree whose checkpoint goes along.
pub fn json_line(exported: &Exported<'_>, inclusion: Option<&[Hash]>) -> String {
    let Exported { index, leaf, entry, .. } = exported;
    let event = &entry.event;
    let line = Line {
        index: *index,
        at: event.at.to_string(),
        actor: &event.actor,
        action: name(event.action),
        subject: &event.subject,
        detail: &event.detail,
        leaf: STANDARD.encode(entry.encode().unwrap_or_default()),
        leaf_sha256: leaf.to_string(),
        inclusion: inclusion.map(|proof| proof.iter().map(Hash::to_base64).collect()),
    };
    // Plain structs always serialise.
    serde_json::to_string(&line).unwrap_or_default()
}
