//! What a reference points at, as far as its text says (R4 "2.3 Resource References").

use std::borrow::Cow;

use super::outcome::{Code, Severity};
use super::primitive::{Primitive, id};
use super::walk::Walk;
use crate::definitions::definitions;

/// The forms of `Reference.reference`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'t> {
    /// `#id`: a contained resource; `#` alone: the one that contains it.
    Fragment(&'t str),
    /// `Patient/1`, also with `/_history/2`, also at an address: type and id.
    Resource {
        /// The resource's type.
        kind: &'static str,
        /// Its id.
        id: &'t str,
        /// Whether there is an address before it.
        absolute: bool,
    },
    /// `Patient?identifier=…`: to be found by whom a transaction is sent to.
    Search(&'static str),
    /// `urn:uuid:…`, `urn:oid:…`.
    Urn,
    /// An address that does not end like one of a REST server.
    Other,
}

impl<'t> Target<'t> {
    /// Reads one; `None` where it has none of the forms.
    pub fn parse(text: &'t str) -> Option<Self> {
        if let Some(fragment) = text.strip_prefix('#') {
            return (fragment.is_empty() || id(fragment)).then_some(Self::Fragment(fragment));
        }
        if text.starts_with("urn:") {
            let known = match text.get(..9) {
                Some("urn:uuid:") => Primitive::Uuid.fits(text),
                _ if text.starts_with("urn:oid:") => Primitive::Oid.fits(text),
                _ => Primitive::Uri.fits(text),
            };
            return known.then_some(Self::Urn);
        }
        if !Primitive::Uri.fits(text) {
            return None;
        }
        let absolute = text.split_once("://").is_some_and(|(scheme, rest)| {
            !rest.is_empty()
                && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
        });
        if let (false, Some((kind, query))) = (absolute, text.split_once('?')) {
            let (_, known) = definitions().resource(kind)?;
            return (!query.is_empty()).then_some(Self::Search(known.name));
        }
        let mut parts = text.rsplit('/');
        let mut last = parts.next()?;
        let mut before = parts.next();
        if before == Some("_history") {
            if !id(last) {
                return None;
            }
            last = parts.next()?;
            before = parts.next();
        }
        let kind = before.and_then(|kind| definitions().resource(kind)).map(|(_, kind)| kind.name);
        match (kind, absolute) {
            (Some(kind), true) if id(last) => Some(Self::Resource { kind, id: last, absolute }),
            (_, true) => Some(Self::Other),
            // Nothing before the type.
            (Some(kind), false) if id(last) && parts.next().is_none() => {
                Some(Self::Resource { kind, id: last, absolute })
            }
            _ => None,
        }
    }
}

/// Checks the `Reference` at `n` against the types it may point at; none means any.
pub(super) fn check(walk: &mut Walk<'_, '_>, n: usize, targets: &[&'static str]) {
    let Some((at, node)) = walk.json.member(n, "reference") else { return };
    let Some(text) = walk.json.string(node) else { return };
    let kind: Option<Cow<'_, str>> = match Target::parse(&text) {
        None => {
            let said = "not a reference: Type/id, an absolute address, urn:uuid:…, urn:oid:… or #id";
            walk.error_below("reference", Code::Value, at, said);
            return;
        }
        Some(Target::Fragment("")) => {
            walk.home.used.insert(Cow::Borrowed(""));
            None
        }
        Some(Target::Fragment(id)) => {
            let kind = walk.home.contained.get(id).cloned();
            walk.home.used.insert(Cow::Owned(id.to_owned()));
            if kind.is_none() {
                let said = "there is no contained resource of this id (ref-1)";
                walk.error_below("reference", Code::Invariant, at, said);
                return;
            }
            kind
        }
        Some(Target::Resource { kind, .. }) => Some(Cow::Borrowed(kind)),
        Some(Target::Search(kind)) => {
            if !walk.bundle.as_ref().is_some_and(super::bundle::Scope::is_transaction) {
                let said = "a search as reference has a meaning in a transaction only";
                walk.error_below("reference", Code::Value, at, said);
                return;
            }
            Some(Cow::Borrowed(kind))
        }
        Some(Target::Urn) => {
            if walk.bundle.as_ref().is_some_and(|b| b.dangles(&text)) {
                let said = "no entry of this transaction has this fullUrl; it must be known from elsewhere";
                walk.within("reference", None, |w| w.say(Severity::Warning, Code::NotFound, at, said));
            }
            return;
        }
        Some(Target::Other) => return,
    };
    if let Some(kind) = kind
        && !targets.is_empty()
        && !targets.iter().any(|t| *t == kind)
    {
        let said = format!(
            "a reference to a resource of this type is not permitted here, but to {}",
            targets.join(", ")
        );
        walk.error_below("reference", Code::Structure, at, &said);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_references() {
        let resource = |kind, id, absolute| Some(Target::Resource { kind, id, absolute });
        for (text, expected) in [
            ("#a", Some(Target::Fragment("a"))),
            ("#", Some(Target::Fragment(""))),
            ("# a", None),
            ("Patient/1", resource("Patient", "1", false)),
            ("Patient/1/_history/2", resource("Patient", "1", false)),
            ("https://h/fhir/Patient/1", resource("Patient", "1", true)),
            ("https://h/fhir/Patient/1/_history/2", resource("Patient", "1", true)),
            ("https://h/x", Some(Target::Other)),
            ("urn:uuid:c757873d-ec9a-4326-a141-556f43239520", Some(Target::Urn)),
            ("urn:uuid:1", None),
            ("urn:oid:1.2.3", Some(Target::Urn)),
            ("Patient?identifier=1", Some(Target::Search("Patient"))),
            ("Patient", None),
            ("Person1/1", None),
            ("fhir/Patient/1", None),
            ("/Patient/1", None),
            ("Patient/a b", None),
            ("Patient/a_b", None),
            ("Patient/", None),
            ("HumanName/1", None),
            ("", None),
        ] {
            assert_eq!(Target::parse(text), expected, "{text}");
        }
    }
}
