//! What a Bundle asks of whom it is sent to. A release tells what is; a deletion and a patch tell what no longer is.
//!
//! | the Bundle holds | `ids = "token"`, `ids = "vault"` | `ids = "number"` |
//! |---|---|---|
//! | creates, updates, reads | a `collection` without requests | the same |
//! | a deletion of `Type/id` in a transaction or batch | a Bundle of its type, its creates, updates and deletions with the ids of the release | held |
//! | a conditional deletion, one in any other Bundle, a patch; a deletion beside what is conditional | held | held |
//!
//! **Why.** Left out, a deletion is lost without a word, and the receiver keeps for ever what its source has taken back. With
//! tokens `Patient/7` is called the same in every release of a destination, so the receiver can find what is meant. Numbers are of
//! one release alone; a deletion of one would be of nothing. What is held can be looked at and acted on by people.
//!
//! Versions and times that a request is conditional on are the sender's; a receiver has others.

use fhir::definitions::definitions;
use fhir::validate::json::Json;

use super::ids::{Ids, Referred};

/// What makes a request conditional (R4, `Bundle.entry.request`).
const CONDITIONS: [&str; 4] = ["ifNoneMatch", "ifModifiedSince", "ifMatch", "ifNoneExist"];

/// What becomes of the requests of a Bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Requests {
    /// They go, and the release is a `collection`.
    #[default]
    Gone,
    /// They stay, and the release is a Bundle of this type.
    Stay(&'static str),
    /// They cannot be told, and must not be left out.
    Untold,
}

/// One request as the release says it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Method and address.
    As(&'static str, String),
    /// It asks for no change.
    Nothing,
    /// No release can say it.
    Not,
}

/// What becomes of the requests of the Bundle at this place.
pub(super) fn of_bundle(json: &Json<'_>, bundle: usize, with_tokens: bool) -> Requests {
    let Some((entries, _)) = json.member(bundle, "entry") else { return Requests::Gone };
    let method = |entry| {
        let (request, _) = json.member(entry, "request")?;
        json.text_of(request, "method")
    };
    let takes_back = json
        .children(entries)
        .any(|(entry, _)| method(entry).is_some_and(|method| matches!(&*method, "DELETE" | "PATCH")));
    if !takes_back {
        return Requests::Gone;
    }
    match json.text_of(bundle, "type").as_deref() {
        Some("transaction") if with_tokens => Requests::Stay("transaction"),
        Some("batch") if with_tokens => Requests::Stay("batch"),
        _ => Requests::Untold,
    }
}

/// The request at this place, of an entry of this server.
pub(super) fn told(json: &Json<'_>, request: usize, ids: &Ids<'_>, server: &str) -> Told {
    let method = json.text_of(request, "method").unwrap_or_default();
    let url = json.text_of(request, "url").unwrap_or_default();
    let method = match &*method {
        "GET" | "HEAD" => return Told::Nothing,
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        _ => return Told::Not,
    };
    let is_conditional = CONDITIONS.iter().any(|name| json.member(request, name).is_some());
    if is_conditional || url.contains(['?', '#']) || url.contains("/_history") {
        return Told::Not;
    }
    if method == "POST" {
        let kind = definitions().resource(url.trim_matches('/')).map(|(_, kind)| kind.name);
        return kind.map_or(Told::Not, |kind| Told::As(method, kind.to_owned()));
    }
    match ids.reference(url.trim_start_matches('/'), server) {
        Referred::To(named) => Told::As(method, named),
        Referred::Only(_) | Referred::Gone => Told::Not,
    }
}
