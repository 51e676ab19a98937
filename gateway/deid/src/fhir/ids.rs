//! Ids of resources and references between them: a resource keeps no id of its sender's.
//!
//! | | numbers (`ids = "number"`) | tokens (`ids = "token"`) |
//! |---|---|---|
//! | `id` of a resource | its place in the release, behind that of the release in its stream: `42-3` | the destination's keyed token of type and id |
//! | `fullUrl` | `urn:uuid:` of both numbers | of an address, the token's; else as with numbers |
//! | a reference to what is in the release | what its target is called now | the same |
//! | any other | the type of the target alone | `Patient/` and the token, so that releases link |
//! | contained resources | `#1`, … within the resource that holds them | the same |
//!
//! Numbers are not derived from anything of the person (45 CFR 164.514(c)).

use std::collections::HashMap;

use fhir::definitions::definitions;
use fhir::validate::json::{Json, Kind};

use crate::TokenKey;

/// Stands before the type and the token of a `fullUrl`.
const BASE: &str = "https://deidentified.invalid/";
/// Deepest Bundles in Bundles that are looked into; the reader of JSON has its own limit.
const BUNDLES_DEEP_MAX: usize = 20;

/// What resources are called in a release.
pub(super) struct Ids<'t> {
    seq: u64,
    tokens: Option<&'t TokenKey>,
    /// By `fullUrl` and by `Type/id`: the number of the resource, and whether it has a `fullUrl`.
    inside: HashMap<String, (usize, bool)>,
    count: usize,
}

/// What becomes of a reference.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Referred {
    To(String),
    /// To something of this type, no longer said which.
    Only(&'static str),
    Gone,
}

impl<'t> Ids<'t> {
    /// Looks for what is in the release. `tokens` where ids become tokens.
    pub(super) fn of(json: &Json<'_>, seq: u64, tokens: Option<&'t TokenKey>) -> Self {
        let mut ids = Self { seq, tokens, inside: HashMap::new(), count: 0 };
        ids.look(json, 0, None, 0);
        ids
    }

    fn look(&mut self, json: &Json<'_>, at: usize, full_url: Option<&str>, deep: usize) {
        let kind = json.text_of(at, "resourceType").unwrap_or_default();
        let id = json.text_of(at, "id");
        self.count += 1;
        let number = self.count;
        let names = full_url.map(str::to_owned).into_iter().chain(id.map(|id| format!("{kind}/{id}")));
        for name in names {
            self.inside.entry(name).or_insert((number, full_url.is_some()));
        }
        if kind != "Bundle" || deep >= BUNDLES_DEEP_MAX {
            return;
        }
        let Some((entries, _)) = json.member(at, "entry") else { return };
        for (entry, node) in json.children(entries) {
            if node.kind != Kind::Object {
                continue;
            }
            if let Some((resource, _)) = json.member(entry, "resource") {
                let url = json.text_of(entry, "fullUrl");
                self.look(json, resource, url.as_deref(), deep + 1);
            }
        }
    }

    fn number(&self, number: usize) -> String {
        format!("{}-{number}", self.seq)
    }

    fn urn(&self, number: usize) -> String {
        let [seq, number] = [self.seq & 0xFFFF_FFFF_FFFF, number as u64 & 0xFFFF_FFFF];
        format!("urn:uuid:{number:08x}-0000-4000-8000-{seq:012x}")
    }

    fn token(&self, kind: &str, id: &str) -> Option<String> {
        String::from_utf8(self.tokens?.token(id.as_bytes(), b"", kind.as_bytes())).ok()
    }

    /// The id of a resource that is not contained.
    pub(super) fn id(&self, kind: &str, id: &str) -> Option<String> {
        if self.tokens.is_some() {
            return self.token(kind, id);
        }
        self.inside.get(&format!("{kind}/{id}")).map(|(number, _)| self.number(*number))
    }

    /// The `fullUrl` of an entry.
    pub(super) fn full_url(&self, url: &str) -> Option<String> {
        if let (Some(_), Some((kind, id))) = (self.tokens, target(url)) {
            return Some(format!("{BASE}{kind}/{}", self.token(kind, id)?));
        }
        self.inside.get(url).map(|(number, _)| self.urn(*number))
    }

    /// A reference to something that is not contained.
    pub(super) fn reference(&self, reference: &str) -> Referred {
        let target = target(reference);
        if let (Some(_), Some((kind, id))) = (self.tokens, target) {
            return self
                .token(kind, id)
                .map_or(Referred::Only(kind), |token| Referred::To(format!("{kind}/{token}")));
        }
        let by_name = target.and_then(|(kind, id)| self.inside.get(&format!("{kind}/{id}")));
        match (self.inside.get(reference).or(by_name), target) {
            (Some((number, true)), _) => Referred::To(self.urn(*number)),
            (Some((number, false)), Some((kind, _))) => {
                Referred::To(format!("{kind}/{}", self.number(*number)))
            }
            (_, Some((kind, _))) => Referred::Only(kind),
            (_, None) => conditional(reference).map_or(Referred::Gone, Referred::Only),
        }
    }
}

/// Type and id of `Patient/7`, `https://server/fhir/Patient/7/_history/2`.
fn target(reference: &str) -> Option<(&'static str, &str)> {
    let mut parts = reference.rsplit('/');
    let mut id = parts.next()?;
    let mut kind = parts.next()?;
    if kind == "_history" {
        (id, kind) = (parts.next()?, parts.next()?);
    }
    let kind = definitions().resource(kind).map(|(_, kind)| kind.name)?;
    fhir::validate::id(id).then_some((kind, id))
}

/// The type of `Patient?identifier=…`.
fn conditional(reference: &str) -> Option<&'static str> {
    let (kind, _) = reference.split_once('?')?;
    definitions().resource(kind).map(|(_, kind)| kind.name)
}
