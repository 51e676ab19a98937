//! What holds for a Bundle as a whole (R4 "2.36 Resource Bundle", bdl-1 to bdl-12) and for the requests of a
//! transaction or batch.

use std::collections::HashSet;

use super::json::{Json, Kind};
use super::outcome::Code;
use super::primitive::id;
use super::walk::Walk;

/// What a Bundle means to what is in it.
#[derive(Debug, Default)]
pub(super) struct Scope {
    transaction: bool,
    addresses: HashSet<String>,
}

impl Scope {
    pub(super) fn of(json: &Json<'_>, n: usize) -> Self {
        let transaction = json.text_of(n, "type").is_some_and(|t| t == "transaction");
        if !transaction {
            return Self::default();
        }
        let addresses = entries(json, n).into_iter().filter_map(|e| json.text_of(e, "fullUrl"));
        Self { transaction, addresses: addresses.map(Into::into).collect() }
    }

    pub(super) const fn is_transaction(&self) -> bool {
        self.transaction
    }

    /// Whether a `urn:uuid:` points at nothing in this transaction. Senders that split what belongs together over
    /// several transactions do that; it is doubtful, not wrong.
    pub(super) fn dangles(&self, reference: &str) -> bool {
        self.transaction && reference.starts_with("urn:uuid:") && !self.addresses.contains(reference)
    }
}

/// The entries of a Bundle.
pub(super) fn entries(json: &Json<'_>, n: usize) -> Vec<usize> {
    json.member(n, "entry").map_or_else(Vec::new, |(list, node)| {
        if node.kind == Kind::Array { json.children(list).map(|(at, _)| at).collect() } else { Vec::new() }
    })
}

/// The invariants of the Bundle at `n`.
pub(super) fn check(walk: &mut Walk<'_, '_>, n: usize) {
    let json = walk.json;
    let Some(kind) = json.text_of(n, "type") else { return };
    let kind = &*kind;
    let has = |n: usize, name: &str| json.member(n, name).is_some();
    if has(n, "total") && !matches!(kind, "searchset" | "history") {
        walk.error_below(
            "total",
            Code::Invariant,
            n,
            "a total belongs to searches and histories only (bdl-1)",
        );
    }
    if kind == "document" {
        let identifier = json.member(n, "identifier").map(|(at, _)| at);
        if !identifier.is_some_and(|at| has(at, "system") && has(at, "value")) {
            let text = "a document must have an identifier with system and value (bdl-9)";
            walk.error_below("identifier", Code::Invariant, n, text);
        }
        if !has(n, "timestamp") {
            walk.error_below("timestamp", Code::Invariant, n, "a document must have a date (bdl-10)");
        }
    }
    let requests = matches!(kind, "transaction" | "batch" | "history");
    let responses = matches!(kind, "transaction-response" | "batch-response" | "history");
    let mut seen = HashSet::new();
    for (index, entry) in entries(json, n).into_iter().enumerate() {
        walk.within("entry", Some(index), |walk| {
            let resource = json.member(entry, "resource").map(|(at, _)| at);
            let resource_type = resource.and_then(|at| json.text_of(at, "resourceType"));
            let (request, response) = (json.member(entry, "request"), json.member(entry, "response"));
            if index == 0 {
                let first = match kind {
                    "document" => Some("Composition"),
                    "message" => Some("MessageHeader"),
                    _ => None,
                };
                if let Some(first) = first.filter(|first| resource_type.as_deref() != Some(*first)) {
                    let text = format!("the first entry of this Bundle must be a {first} (bdl-11, bdl-12)");
                    walk.error(Code::Invariant, entry, &text);
                }
            }
            if kind != "searchset" && has(entry, "search") {
                walk.error_below("search", Code::Invariant, entry, "only search results have this (bdl-2)");
            }
            if requests != request.is_some() {
                let text =
                    "every entry of a transaction, batch or history has a request, others have none (bdl-3)";
                walk.error_below("request", Code::Invariant, entry, text);
            }
            if responses != response.is_some() {
                let text = "every entry of a response or history has a response, others have none (bdl-4)";
                walk.error_below("response", Code::Invariant, entry, text);
            }
            if resource.is_none() && request.is_none() && response.is_none() {
                walk.error(
                    Code::Invariant,
                    entry,
                    "an entry needs a resource, a request or a response (bdl-5)",
                );
            }
            if let Some(full) = json.text_of(entry, "fullUrl") {
                if full.contains("/_history/") {
                    let text = "a fullUrl must not name a version (bdl-8)";
                    walk.error_below("fullUrl", Code::Invariant, entry, text);
                }
                let meta = resource.and_then(|r| json.member(r, "meta"));
                let version = meta.and_then(|(m, _)| json.text_of(m, "versionId")).unwrap_or_default();
                if kind != "history" && !seen.insert((full.clone(), version)) {
                    let text = "two entries have the same fullUrl and version (bdl-7)";
                    walk.error_below("fullUrl", Code::Invariant, entry, text);
                }
                // The URL is the resource's identity, so it must agree with its id.
                let id = resource.and_then(|r| json.text_of(r, "id"));
                if let (Some(super::Target::Resource { id: of_url, absolute: true, .. }), Some(id)) =
                    (super::Target::parse(&full), id)
                    && of_url != id
                {
                    walk.error_below(
                        "fullUrl",
                        Code::Invariant,
                        entry,
                        "the fullUrl names another id than the resource",
                    );
                }
            }
            if let (Some((request, _)), true) = (request, matches!(kind, "transaction" | "batch")) {
                walk.within("request", None, |walk| {
                    self::request(walk, request, resource, resource_type.as_deref());
                });
            }
        });
    }
}

/// A request must fit the resource beside it.
fn request(walk: &mut Walk<'_, '_>, n: usize, resource: Option<usize>, resource_type: Option<&str>) {
    let json = walk.json;
    let (Some(method), Some(url)) = (json.text_of(n, "method"), json.text_of(n, "url")) else { return };
    let needs = matches!(&*method, "POST" | "PUT" | "PATCH");
    if needs && resource.is_none() {
        walk.error_below("method", Code::Required, n, "this method needs a resource");
        return;
    }
    if matches!(&*method, "GET" | "HEAD" | "DELETE") && resource.is_some() {
        walk.error_below("method", Code::Structure, n, "this method has no resource");
        return;
    }
    let plain = url.split('?').next().unwrap_or_default();
    let mut parts = plain.split('/');
    let (kind, named, rest) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
    match &*method {
        "POST" if named.is_none() && resource_type.is_some_and(|t| t != kind) => {
            walk.error_below("url", Code::Invariant, n, "the url names another type than the resource");
        }
        "PUT" => {
            if resource_type.is_some_and(|t| t != kind) {
                walk.error_below("url", Code::Invariant, n, "the url names another type than the resource");
            }
            let own = resource.and_then(|r| json.text_of(r, "id"));
            match named {
                Some(named) if rest.is_none() && id(named) => {
                    if own.as_deref() != Some(named) {
                        let text = "the resource must have the id that the url names";
                        walk.error_below("url", Code::Invariant, n, text);
                    }
                }
                None if url.contains('?') => {}
                _ => walk.error_below("url", Code::Value, n, "an update's url is Type/id"),
            }
        }
        _ => {}
    }
}
