//! Rules for FHIR R4: by data type, as for HL7 v2, and unlisted means removed.
//!
//! | what | becomes |
//! |---|---|
//! | names, telecoms, signatures, addresses of the web, ids of elements | nothing |
//! | text, markdown, narrative, annotations | nothing; by policy what [`texts`] lets through |
//! | attachments, `Binary` | nothing; by policy their text ([`documents`]) |
//! | Identifier | nothing, or a token, keyed or of the vault, with its kind |
//! | Address | state, three digits of the ZIP code, country; by policy city and postal code |
//! | Coding, code | system and code where somebody vouches for the code ([`terms`]); `display` never |
//! | date, dateTime | the year, unless it tells an age over 89; or moved by the patient's days ([`shifted`]); or as it is |
//! | instant, time | nothing; or moved, a time of day unmoved; or as it is |
//! | numbers, Quantity | as written, to the digit; ages over 89 become `>= 90` |
//! | ids of resources, references | numbers within the release, or tokens, keyed or of the vault ([`ids`]) |
//! | extensions | those of [`EXTENSIONS`], their values by the same rules; any other is removed |
//! | elements and types that R4 does not define | nothing |
//! | a Bundle | a `collection`: requests, answers, links and totals go; one that deletes stays what it is, or is held ([`requests`]) |
//!
//! What R4 requires and the rules remove stays as an element that says so: the extension `data-absent-reason`, `masked`.
//! Observations that say who somebody is, by LOINC code or by the words beside it, lose their value.
//!
//! **Limits** are those of [`fhir::validate::json`]; time is linear in the text.

mod documents;
mod ids;
mod people;
mod requests;
mod shifted;
pub(crate) mod terms;
mod texts;
mod values;

use std::collections::HashMap;

use fhir::definitions::{Content, Definitions, Property, Type, TypeId, definitions};
use fhir::validate::Primitive;
use fhir::validate::json::{Json, Kind, Node};

use self::ids::Ids;
use self::requests::{Requests, Told};
use self::shifted::Patients;
use crate::Context;
use crate::dates;
use crate::patient::Namespace;
use crate::policy::{Compiled, FhirDate, FhirRules, ScrubbedText};
use crate::release::{Held, HeldWhy};
use crate::rules::meaning::{self, Meaning};
use crate::shift::Shift;
use crate::tally::{Tally, Touch};
use crate::text::Known;
use crate::tokens::{TokenKind, Tokens};

/// Elements that go whatever their type, by the type that holds them.
const REMOVED: [(&str, &str); 10] = [
    // Relatives and employers (45 CFR 164.514(b)(2)(i)).
    ("Patient", "contact"),
    // Where something is, to the metre.
    ("Location", "position"),
    ("Bundle", "link"),
    ("Bundle", "total"),
    ("Bundle", "signature"),
    ("Bundle.entry", "link"),
    ("Bundle.entry", "search"),
    ("Bundle.entry", "request"),
    ("Bundle.entry", "response"),
    ("Device", "udiCarrier"),
];
/// Data types of which nothing may stay.
const REMOVED_TYPES: [&str; 13] = [
    "ContactDetail",
    "ContactPoint",
    "Contributor",
    "DataRequirement",
    "ElementDefinition",
    "Expression",
    "HumanName",
    "ParameterDefinition",
    "RelatedArtifact",
    "Signature",
    "TriggerDefinition",
    "UsageContext",
    "Population",
];
/// Extensions that stay, by address, and those within them, by name. None of them holds text by its definition.
pub(crate) const EXTENSIONS: [&str; 10] = [
    "http://hl7.org/fhir/us/core/StructureDefinition/us-core-race",
    "http://hl7.org/fhir/us/core/StructureDefinition/us-core-ethnicity",
    "http://hl7.org/fhir/us/core/StructureDefinition/us-core-birthsex",
    "http://hl7.org/fhir/us/core/StructureDefinition/us-core-sex",
    "http://hl7.org/fhir/us/core/StructureDefinition/us-core-genderIdentity",
    "http://hl7.org/fhir/StructureDefinition/data-absent-reason",
    "http://hl7.org/fhir/StructureDefinition/individual-genderIdentity",
    "http://hl7.org/fhir/StructureDefinition/individual-recordedSexOrGender",
    "ombCategory",
    "detailed",
];
/// Types of which one of several elements must be there, those elements, and the one that is masked where none stayed
/// (org-1, obs-3, imm-1).
const ONE_OF: [(&str, &[&str], &str); 3] = [
    ("Organization", &["identifier", "name"], "name"),
    ("Observation.referenceRange", &["low", "high", "text"], "text"),
    ("Immunization.education", &["documentType", "reference"], "documentType"),
];
/// Stands where R4 requires an element that the rules removed.
const MASKED: &str = r#""extension":[{"url":"http://hl7.org/fhir/StructureDefinition/data-absent-reason","valueCode":"masked"}]"#;

/// A resource as the rules leave it.
pub(crate) struct Shaped {
    pub(crate) payload: Vec<u8>,
    pub(crate) tally: Tally,
}

/// Applies a policy's rules to a resource or a Bundle.
pub(crate) fn shape(
    raw: &[u8],
    policy: &Compiled,
    rules: FhirRules,
    context: &Context<'_>,
    tally: Tally,
    scrubbed: ScrubbedText,
) -> Result<Shaped, Held> {
    let json = Json::parse(raw).map_err(|_| Held::new(HeldWhy::NotAResource))?;
    if rules.needs_keys() && context.tokens().is_none() {
        return Err(Held::new(HeldWhy::KeysMissing));
    }
    if rules.needs(TokenKind::Vault) && context.vault().is_none() {
        return Err(Held::new(HeldWhy::VaultMissing));
    }
    let tokens = Tokens::of(context);
    let namespace = policy.namespace(context);
    let shifts = match context.keys.filter(|_| rules.dates == FhirDate::Shift) {
        Some(keys) => Patients::of(&json, namespace, rules.patients_by_id).shifts(&keys.shift),
        None => HashMap::new(),
    };
    let arrived = u16::try_from(context.provenance.received_at.year()).unwrap_or(0);
    let year = context.provenance.received_at.year();
    let scrubs = policy.text.scrubs && scrubbed == ScrubbedText::Passes;
    let mut walk = Walk {
        known: scrubs.then(|| people::known(&json, policy, year)),
        year,
        binary: None,
        patient: if policy.text.surrogates { people::patient(&json) } else { String::new() },
        text_bytes: 0,
        json: &json,
        definitions: definitions(),
        policy,
        rules,
        tokens: &tokens,
        namespace,
        shifts,
        shift: None,
        reference_year: arrived.max(dates::REFERENCE_YEAR_MIN),
        ids: Ids::of(
            &json,
            context.seq,
            context.provenance.feed.as_str(),
            rules.ids.map(|kind| (kind, &tokens)),
        ),
        server: String::new(),
        requests: Requests::Gone,
        is_untold: false,
        contained: Vec::new(),
        about: About::default(),
        out: Vec::with_capacity(raw.len() / 2),
        tally,
    };
    let kind = json.text_of(0, "resourceType").unwrap_or_default();
    walk.tally.enter(format_args!("{kind}"), b"");
    if !walk.resource(0, None) {
        return Err(Held::new(HeldWhy::NotAResource));
    }
    tokens.settle()?;
    if walk.is_untold {
        return Err(Held::new(HeldWhy::RequestUntold));
    }
    walk.tally.leave(b"");
    Ok(Shaped { payload: walk.out, tally: walk.tally })
}

/// What is known of the value that is being written.
#[derive(Debug, Clone, Copy, Default)]
struct About {
    meaning: Meaning,
    /// A code that somebody vouches for says what the value is.
    is_named: bool,
}

struct Walk<'w> {
    json: &'w Json<'w>,
    definitions: &'static Definitions,
    policy: &'w Compiled,
    rules: FhirRules,
    tokens: &'w Tokens<'w>,
    namespace: Namespace<'w>,
    /// By the place of a resource.
    shifts: HashMap<usize, Shift>,
    /// By how much the dates of the resource at hand move; none where it is nobody's.
    shift: Option<Shift>,
    reference_year: u16,
    ids: Ids<'w>,
    /// The server of the entry at hand; empty where it says none.
    server: String,
    /// Of the Bundle at hand.
    requests: Requests,
    /// Something is asked for that the release does not say.
    is_untold: bool,
    /// The ids of what the resource at hand contains.
    contained: Vec<String>,
    about: About,
    /// Whom texts may name; none where no scrubbed text passes.
    known: Option<Known>,
    /// Where the Binary at hand begins.
    binary: Option<usize>,
    /// The year of arrival.
    year: i16,
    /// Whose record it is, for surrogates.
    patient: String,
    /// Of texts that were read.
    text_bytes: usize,
    out: Vec<u8>,
    tally: Tally,
}

impl Walk<'_> {
    /// A resource; `false`, and nothing written, where R4 has none of this type. `within` is its number where it is contained.
    fn resource(&mut self, at: usize, within: Option<usize>) -> bool {
        let kind = self.json.text_of(at, "resourceType").unwrap_or_default();
        let Some((_, kind)) = self.definitions.resource(&kind) else {
            self.tally.count(Touch::ExtraRemoved);
            return false;
        };
        let outer_binary = std::mem::replace(&mut self.binary, (kind.name == "Binary").then_some(at));
        let inner = within.is_none().then(|| self.contained_in(at));
        let outer = inner.map(|inner| std::mem::replace(&mut self.contained, inner));
        let about = std::mem::take(&mut self.about);
        let requests = if kind.name == "Bundle" {
            requests::of_bundle(self.json, at, self.rules.ids.is_some())
        } else {
            Requests::Gone
        };
        self.is_untold |= requests == Requests::Untold;
        let requests = std::mem::replace(&mut self.requests, requests);
        let shift = self.shift;
        if within.is_none() {
            self.shift = self.shifts.get(&at).copied();
        }
        self.out.extend_from_slice(b"{\"resourceType\":\"");
        self.out.extend_from_slice(kind.name.as_bytes());
        self.out.push(b'"');
        let id = self.json.text_of(at, "id").and_then(|id| match within {
            Some(number) => Some(number.to_string()),
            None => self.ids.id(at, &self.server, kind.name, &id),
        });
        if let Some(id) = id {
            self.out.extend_from_slice(b",\"id\":");
            self.text(&id);
        }
        self.members(kind, at, true);
        self.out.push(b'}');
        (self.about, self.requests, self.binary) = (about, requests, outer_binary);
        self.shift = shift;
        if let Some(outer) = outer {
            self.contained = outer;
        }
        true
    }

    fn contained_in(&self, at: usize) -> Vec<String> {
        let Some((list, _)) = self.json.member(at, "contained") else { return Vec::new() };
        let ids = self.json.children(list).map(|(n, _)| self.json.text_of(n, "id"));
        ids.map(|id| id.unwrap_or_default().into_owned()).collect()
    }

    /// An object of a type; nothing where nothing of it stays.
    fn object(&mut self, kind: &Type, at: usize) {
        let start = self.out.len();
        self.out.push(b'{');
        if self.members(kind, at, false) { self.out.push(b'}') } else { self.out.truncate(start) }
    }

    /// The members of an object, and what R4 requires of it; whether anything stayed.
    fn members(&mut self, kind: &Type, at: usize, mut is_begun: bool) -> bool {
        let outer = self.about;
        let outer_server = (kind.name == "Bundle.entry").then(|| {
            let url = self.json.text_of(at, "fullUrl").unwrap_or_default();
            std::mem::replace(&mut self.server, ids::server(&url).to_owned())
        });
        if matches!(kind.name, "Observation" | "Observation.component") {
            self.about = self.about_observation(at);
        }
        let (mut written, mut is_any) = (0_u128, false);
        for (child, node) in self.json.children(at) {
            let key = self.json.key(node);
            if kind.resource && matches!(&*key, "resourceType" | "id") {
                continue;
            }
            let Some(property) = kind.property(&key) else {
                // What R4 does not define, and what stands beside a primitive.
                self.extra(&key, node);
                continue;
            };
            let bit = 1_u128.checked_shl(u32::try_from(property.element).unwrap_or(u32::MAX)).unwrap_or(0);
            let Some(element) = kind.elements.get(property.element).filter(|_| written & bit == 0) else {
                self.extra(&key, node);
                continue;
            };
            let start = self.out.len();
            if is_begun {
                self.out.push(b',');
            }
            self.name(&key);
            let value = self.out.len();
            self.tally.enter(format_args!(".{key}"), self.json.raw(node).as_bytes());
            self.element(kind, element.name, property, child, node, element.many);
            self.leave(value);
            if self.out.len() == value {
                self.out.truncate(start);
                continue;
            }
            written |= bit;
            (is_begun, is_any) = (true, true);
        }
        if is_any || kind.resource {
            self.mask(kind, written, is_begun);
        }
        self.about = outer;
        if let Some(server) = outer_server {
            self.server = server;
        }
        is_any
    }

    /// Counts a member that does not belong here.
    fn extra(&mut self, key: &str, node: &Node) {
        self.tally.enter(format_args!(".{key}"), self.json.raw(node).as_bytes());
        self.tally.count(Touch::ExtraRemoved);
        self.tally.leave(b"");
    }

    /// Leaves a place whose value was written from `start` on; a string is what is between the quotes.
    fn leave(&mut self, start: usize) {
        let written = self.out.get(start..).unwrap_or_default();
        let bare = written.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\""));
        self.tally.leave(bare.unwrap_or(written));
    }

    /// Says of required elements that are not there that they were removed.
    fn mask(&mut self, kind: &Type, written: u128, mut is_begun: bool) {
        let missing = kind.required & !written | one_of(kind, written);
        if missing == 0 {
            return;
        }
        for (n, element) in kind.elements.iter().enumerate().filter(|(n, _)| missing >> n & 1 == 1) {
            let of_it = kind.names().filter_map(|name| Some((name, kind.property(name)?)));
            let Some((name, property)) =
                of_it.filter(|(_, p)| p.element == n).min_by_key(|(name, p)| (is_primitive(p), name.len()))
            else {
                continue;
            };
            let (mark, many, inner) = match property.content {
                Content::Primitive(_) => ("_", false, None),
                Content::Complex(id) => ("", element.many, self.definitions.get(id)),
                Content::Reference(..) => ("", element.many, None),
                Content::Resource => continue,
            };
            if is_begun {
                self.out.push(b',');
            }
            self.out.extend_from_slice(format!("\"{mark}{name}\":").as_bytes());
            self.out.extend_from_slice(if many { b"[{" } else { b"{" });
            self.out.extend_from_slice(MASKED.as_bytes());
            // What is required of what is required; no definition requires itself.
            if let Some(inner) = inner {
                self.mask(inner, 0, true);
            }
            self.out.extend_from_slice(if many { b"}]" } else { b"}" });
            is_begun = true;
        }
    }

    fn element(&mut self, kind: &Type, name: &str, property: &Property, at: usize, node: &Node, many: bool) {
        match (kind.name, name, self.requests) {
            ("Bundle", "type", Requests::Stay(kind)) => return self.text(kind),
            ("Bundle", "type", _) => return self.text("collection"),
            ("Bundle.entry", "request", Requests::Stay(_)) if node.kind == Kind::Object => {
                return self.request(at);
            }
            _ => {}
        }
        if REMOVED.contains(&(kind.name, name)) {
            return self.tally.count(Touch::Removed);
        }
        match (kind.name, name) {
            ("Bundle.entry", "fullUrl") => {
                let url = self.json.string(node).and_then(|url| self.ids.full_url(at, &url));
                return self.text_or_removed(url);
            }
            ("Binary", "contentType" | "data") => return self.binary(name),
            ("Observation" | "Observation.component", "value") if !self.may_have_value(property) => {
                return self.tally.count(Touch::IdentifierObservation);
            }
            _ => {}
        }
        match (node.kind, many) {
            (Kind::Array, true) => self.array(kind, name, property, at),
            (Kind::Array, false) | (Kind::Null, _) => self.tally.count(Touch::ExtraRemoved),
            _ => self.one(kind, name, property, at, node, 1),
        }
    }

    fn request(&mut self, at: usize) {
        match requests::told(self.json, at, &self.ids, &self.server) {
            Told::As(method, url) => {
                self.tally.count(Touch::Request);
                self.strings(&[("method", method.to_owned()), ("url", url)]);
            }
            Told::Nothing => self.tally.count(Touch::Removed),
            Told::Not => self.is_untold = true,
        }
    }

    /// A list, without what nothing stays of.
    fn array(&mut self, kind: &Type, name: &str, property: &Property, at: usize) {
        let start = self.out.len();
        self.out.push(b'[');
        let mut is_begun = false;
        for (number, (child, node)) in (1..).zip(self.json.children(at)) {
            let before = self.out.len();
            if is_begun {
                self.out.push(b',');
            }
            let value = self.out.len();
            self.tally.enter(format_args!("[{}]", number - 1), self.json.raw(node).as_bytes());
            match node.kind {
                Kind::Array | Kind::Null => self.tally.count(Touch::ExtraRemoved),
                _ => self.one(kind, name, property, child, node, number),
            }
            self.leave(value);
            if self.out.len() == value { self.out.truncate(before) } else { is_begun = true }
        }
        if is_begun { self.out.push(b']') } else { self.out.truncate(start) }
    }

    /// One value. `number` is its place in its list, from 1.
    fn one(&mut self, kind: &Type, name: &str, property: &Property, at: usize, node: &Node, number: usize) {
        match property.content {
            Content::Primitive(primitive) => self.primitive(kind.name, name, property, primitive, node),
            _ if node.kind != Kind::Object => self.tally.count(Touch::ExtraRemoved),
            Content::Reference(..) => self.reference(at),
            Content::Resource => {
                self.resource(at, (name == "contained").then_some(number));
            }
            Content::Complex(id) => self.complex(id, at),
        }
    }

    fn complex(&mut self, id: TypeId, at: usize) {
        let Some(kind) = self.definitions.get(id) else { return };
        match kind.name {
            "Annotation" => self.annotation(at),
            "Attachment" => self.attachment(at),
            "Narrative" => self.narrative(at),
            name if REMOVED_TYPES.contains(&name) => self.tally.count(Touch::Removed),
            "Extension" => self.extension(kind, at),
            "Address" => self.address(at),
            "Identifier" => self.identifier(at),
            "Coding" => self.coding(at),
            "Quantity" | "SimpleQuantity" | "Age" | "Duration" | "Count" | "Distance" | "MoneyQuantity" => {
                self.quantity(at);
            }
            "Reference" => self.reference(at),
            // An amount of money is one, to whatever fraction it was computed.
            "Money" => {
                let outer = std::mem::replace(&mut self.about.is_named, true);
                self.object(kind, at);
                self.about.is_named = outer;
            }
            _ => self.object(kind, at),
        }
    }

    fn extension(&mut self, kind: &Type, at: usize) {
        let url = self.json.text_of(at, "url").unwrap_or_default();
        let Some(url) = EXTENSIONS.iter().find(|listed| **listed == url) else {
            return self.tally.count(Touch::ExtraRemoved);
        };
        let start = self.out.len();
        self.out.extend_from_slice(b"{\"url\":\"");
        self.out.extend_from_slice(url.as_bytes());
        self.out.push(b'"');
        let begun = self.out.len();
        for (child, node) in self.json.children(at) {
            let key = self.json.key(node);
            let Some(property) = kind.property(&key).filter(|_| {
                matches!(&*key, "valueCoding" | "valueCode" | "valueCodeableConcept" | "extension")
            }) else {
                continue;
            };
            let before = self.out.len();
            self.out.push(b',');
            self.name(&key);
            let value = self.out.len();
            match (&*key, node.kind) {
                ("extension", Kind::Array) => self.array(kind, "extension", property, child),
                ("valueCode", _) => self.code_of_extension(node),
                (_, Kind::Object) => self.one(kind, "value", property, child, node, 1),
                _ => {}
            }
            if self.out.len() == value {
                self.out.truncate(before);
            }
        }
        if self.out.len() == begun { self.out.truncate(start) } else { self.out.push(b'}') }
    }

    /// What an observation is about, from its code.
    fn about_observation(&self, at: usize) -> About {
        let mut about = About::default();
        let Some((code, _)) = self.json.member(at, "code") else { return about };
        let mut by_loinc = false;
        let mut by_word = Meaning::Other;
        if let Some((list, _)) = self.json.member(code, "coding") {
            for (coding, _) in self.json.children(list) {
                let part = |name| self.json.text_of(coding, name).unwrap_or_default();
                let (system, code, display) = (part("system"), part("code"), part("display"));
                about.is_named |= terms::vouches(self.policy, &system, &code);
                if crate::codes::is_loinc(code.as_bytes()) {
                    by_loinc = true;
                    about.meaning = about.meaning.max(meaning::of_code(code.as_bytes()));
                } else {
                    by_word = by_word.max(meaning::of_words(code.as_bytes()));
                }
                by_word = by_word.max(meaning::of_words(display.as_bytes()));
            }
        }
        let text = self.json.text_of(code, "text").unwrap_or_default();
        by_word = by_word.max(meaning::of_words(text.as_bytes()));
        if !(by_loinc && by_word == Meaning::PerhapsAge) {
            about.meaning = about.meaning.max(by_word);
        }
        about
    }

    fn may_have_value(&self, property: &Property) -> bool {
        match self.about.meaning {
            Meaning::Identifier => false,
            Meaning::BirthDate => {
                matches!(property.content, Content::Primitive(Primitive::Date | Primitive::DateTime))
            }
            Meaning::Age | Meaning::PerhapsAge | Meaning::Other => true,
        }
    }
}

/// Of a choice the form that holds an extension by itself is masked: not every reader looks beside a value that is not there.
const fn is_primitive(property: &Property) -> bool {
    matches!(property.content, Content::Primitive(_))
}

/// The element to be masked where none of several that one must be of is written.
fn one_of(kind: &Type, written: u128) -> u128 {
    let Some((_, any, masked)) = ONE_OF.iter().find(|(name, ..)| *name == kind.name) else { return 0 };
    let bit = |name: &str| {
        let property = kind.property(name)?;
        1_u128.checked_shl(u32::try_from(property.element).ok()?)
    };
    if any.iter().filter_map(|name| bit(name)).any(|bit| written & bit != 0) {
        return 0;
    }
    bit(masked).unwrap_or(0)
}
