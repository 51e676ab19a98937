//! Ids of resources and references between them: a resource keeps no id of its sender's.
//!
//! | | numbers (`ids = "number"`) | tokens (`ids = "token"`, `ids = "vault"`) |
//! |---|---|---|
//! | `id` of a resource | its place in the release, behind that of the release in its stream: `42-3` | the destination's token of type and id |
//! | `fullUrl` | `urn:uuid:` of both numbers | of an address, the token's; else as with numbers |
//! | a reference to what is in the release | what its target is called now | the same |
//! | any other | the type of the target alone | `Patient/` and the token, so that releases link |
//! | contained resources | `#1`, … within the resource that holds them | the same |
//!
//! Numbers and tokens of the vault are not derived from anything of the person (45 CFR 164.514(c)).
//! `Patient/1` of one server is not that of another: a token is of the server that a `fullUrl` or a reference names, else of the
//! feed; a reference that names none is one of its entry's server.

use std::collections::HashMap;

use fhir::definitions::definitions;
use fhir::validate::json::{Json, Kind};

use crate::tokens::{TokenKind, Tokens};

/// Stands before the type and the token of a `fullUrl`.
const BASE: &str = "https://deidentified.invalid/";
/// Deepest Bundles in Bundles that are looked into; the reader of JSON has its own limit.
const BUNDLES_DEEP_MAX: usize = 20;

/// What resources are called in a release.
pub(super) struct Ids<'t> {
    seq: u64,
    tokens: Option<(TokenKind, &'t Tokens<'t>)>,
    /// Stands for the server where none is said: two feeds' `Patient/1` are two patients.
    feed: &'t str,
    /// The number of a resource, by its place in the JSON text and that of the `fullUrl` beside it.
    by_place: HashMap<usize, usize>,
    /// By `fullUrl`: the number, and whether that is what it is referred to by.
    inside: HashMap<String, (usize, bool)>,
    /// By `Type/id`; none where two resources have it.
    by_name: HashMap<String, Option<(usize, bool)>>,
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
    pub(super) fn of(
        json: &Json<'_>,
        seq: u64,
        feed: &'t str,
        tokens: Option<(TokenKind, &'t Tokens<'t>)>,
    ) -> Self {
        let (by_place, inside, by_name) = (HashMap::new(), HashMap::new(), HashMap::new());
        let mut ids = Self { seq, tokens, feed, by_place, inside, by_name, count: 0 };
        ids.look(json, 0, None, 0);
        ids
    }

    fn look(&mut self, json: &Json<'_>, at: usize, full_url: Option<(usize, &str)>, deep: usize) {
        let kind = json.text_of(at, "resourceType").unwrap_or_default();
        self.count += 1;
        let named = (self.count, full_url.is_some());
        self.by_place.insert(at, self.count);
        if let Some((beside, url)) = full_url {
            self.by_place.insert(beside, self.count);
            self.inside.entry(url.to_owned()).or_insert(named);
        }
        if let Some(id) = json.text_of(at, "id") {
            let by_name = self.by_name.entry(format!("{kind}/{id}"));
            by_name.and_modify(|other| *other = None).or_insert(Some(named));
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
                let url = json.member(entry, "fullUrl").and_then(|(at, node)| Some((at, json.string(node)?)));
                self.look(json, resource, url.as_ref().map(|(at, url)| (*at, &**url)), deep + 1);
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

    fn token(&self, server: &str, kind: &str, id: &str) -> Option<String> {
        // The feed is marked, so that no server is called as a feed is.
        let feed = format!("feed {}", self.feed);
        let authority = if server.is_empty() { feed.as_str() } else { server };
        let (which, tokens) = self.tokens?;
        tokens.token(which, id.as_bytes(), authority.as_bytes(), kind.as_bytes())
    }

    /// The id of a resource that is not contained. `server` is that of its entry.
    pub(super) fn id(&self, at: usize, server: &str, kind: &str, id: &str) -> Option<String> {
        if self.tokens.is_some() {
            return self.token(server, kind, id);
        }
        self.by_place.get(&at).map(|number| self.number(*number))
    }

    /// The `fullUrl` that stands at this place.
    pub(super) fn full_url(&self, at: usize, url: &str) -> Option<String> {
        // Of an entry without a resource there is nothing to be named.
        let number = *self.by_place.get(&at)?;
        // Whatever else leads to a resource is no address of a server, and the resource is called otherwise.
        let target = target(url).filter(|_| url.starts_with("http://") || url.starts_with("https://"));
        if let (Some(_), Some((server, kind, id))) = (self.tokens, target) {
            return Some(format!("{BASE}{kind}/{}", self.token(server, kind, id)?));
        }
        Some(self.urn(number))
    }

    /// A reference to something that is not contained, in an entry of this server; empty where it says none.
    pub(super) fn reference(&self, reference: &str, server: &str) -> Referred {
        let target = target(reference);
        if let (Some(_), Some((named, kind, id))) = (self.tokens, target) {
            let server = if named.is_empty() { server } else { named };
            let token = self.token(server, kind, id);
            return token.map_or(Referred::Only(kind), |token| Referred::To(format!("{kind}/{token}")));
        }
        // R4, resolving references in Bundles: against the server of the entry, where it says one.
        let found = match target {
            Some(("", kind, id)) if server.is_empty() => {
                self.by_name.get(&format!("{kind}/{id}")).copied().flatten()
            }
            Some(("", kind, id)) => self.inside.get(&format!("{server}{kind}/{id}")).copied(),
            Some((named, kind, id)) => self.inside.get(&format!("{named}{kind}/{id}")).copied(),
            None => self.inside.get(reference).copied(),
        };
        match (found, target) {
            (Some((number, true)), _) => Referred::To(self.urn(number)),
            (Some((number, false)), Some((_, kind, _))) => {
                Referred::To(format!("{kind}/{}", self.number(number)))
            }
            (_, Some((_, kind, _))) => Referred::Only(kind),
            (_, None) => conditional(reference).map_or(Referred::Gone, Referred::Only),
        }
    }
}

/// The server that a `fullUrl` names, with the slash behind it; empty where it names none.
pub(super) fn server(full_url: &str) -> &str {
    target(full_url).map_or("", |(server, ..)| server)
}

/// Server, type and id of `Patient/7`, `https://server/fhir/Patient/7/_history/2`.
pub(super) fn target(reference: &str) -> Option<(&str, &'static str, &str)> {
    let whole = reference.split_once("/_history/").map_or(reference, |(whole, _)| whole);
    let (rest, id) = whole.rsplit_once('/')?;
    let (server, kind) = rest
        .rsplit_once('/')
        .map_or(("", rest), |(_, kind)| (rest.strip_suffix(kind).unwrap_or_default(), kind));
    let kind = definitions().resource(kind).map(|(_, kind)| kind.name)?;
    fhir::validate::id(id).then_some((server, kind, id))
}

/// The type of `Patient?identifier=…`.
fn conditional(reference: &str) -> Option<&'static str> {
    let (kind, _) = reference.split_once('?')?;
    definitions().resource(kind).map(|(_, kind)| kind.name)
}
