//! From text to a document that can be used, or to everything that is wrong with it.
//!
//! Each section is read on its own, and to its end, so that a mistake hides no other one. What the types cannot say
//! (names that refer to each other, files that must fit together) is checked after that, for sections that could be
//! read.

mod certificates;
mod destination;
mod routes;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use deid::{Mistake, Policy};
use model::{Lane, Slug, Timestamp};
use pipeline::routing::Router;
use profile::Catalogue;
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use self::certificates::Shown;
use crate::document::{
    Audit, DESTINATIONS_MAX, DOCUMENT_BYTES_MAX, Destination, Document, FEEDS_MAX, Feed, Gateway, KEY_FILE,
    Operations, PolicyFile,
};
use crate::finding::Finding;
use crate::mistakes;

/// The sections a document may have.
const SECTIONS: [&str; 8] =
    ["gateway", "spool", "web", "operations", "audit", "feed", "destination", "policy"];
/// What the settings of `[audit]` may be.
const CHECKPOINT_ENTRIES: std::ops::RangeInclusive<u64> = 1..=10_000;
const CHECKPOINT_EVERY_S: std::ops::RangeInclusive<u64> = 1..=86_400;
/// An age limit below this is worth a word: an outage may last as long.
const AGE_S_WARN: u64 = 24 * 60 * 60;
/// How alike two names must be for a "did you mean".
const LIKENESS_MIN: f64 = 0.75;

/// A document without errors, its paths absolute, its policies compiled.
#[derive(Debug)]
pub struct Checked {
    /// The document.
    pub document: Document,
    /// The policies that its destinations name.
    pub policies: HashMap<String, Arc<Policy>>,
    /// The routes of its feeds, compiled; feeds without any have no entry.
    pub routers: HashMap<Slug, Arc<Router>>,
    /// Things worth knowing that stop nobody.
    pub warnings: Vec<Finding>,
    shown: Vec<Shown>,
}

impl Checked {
    /// What there is to say about the dates of the certificates that the gateway shows: each that has ended, ends
    /// within 30 days or has not begun, at its place in the document. It stops nobody: what else works goes on.
    pub fn certificate_warnings(&self, now: Timestamp) -> Vec<Finding> {
        self.shown.iter().filter_map(|s| s.warning(now)).collect()
    }
}

/// Reads and checks a file. `now` is the time at which what its policies rest on must hold.
///
/// # Errors
/// Everything that is wrong with it.
pub fn check_file(path: &Path, now: Timestamp) -> Result<Checked, Vec<Finding>> {
    let name = path.display().to_string();
    let unreadable = |why: String, hint: &str| vec![Finding::at(&name, "", 0..0, why, Some(hint.to_owned()))];
    let size = std::fs::metadata(path)
        .map_err(|e| {
            unreadable(format!("cannot be read: {e}"), "give the path of the configuration with --config")
        })?
        .len();
    if size > DOCUMENT_BYTES_MAX as u64 {
        return Err(unreadable(
            format!("is {size} bytes long"),
            &format!("at most {DOCUMENT_BYTES_MAX} are taken"),
        ));
    }
    let text = std::fs::read_to_string(path)
        .map_err(|e| unreadable(format!("cannot be read: {e}"), "the document is TOML in UTF-8"))?;
    let base = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let base = std::path::absolute(base).unwrap_or_else(|_| base.to_owned());
    check(&name, &text, &base, now)
}

/// Checks a document; relative paths are taken from `base`. `file` is only shown, `now` as in [`check_file`].
///
/// # Errors
/// Everything that is wrong with it.
pub fn check(file: &str, text: &str, base: &Path, now: Timestamp) -> Result<Checked, Vec<Finding>> {
    let mut c = Checker { file, text, errors: Vec::new(), warnings: Vec::new(), shown: Vec::new() };
    let (table, syntax) = DeTable::parse_recoverable(text);
    if !syntax.is_empty() {
        for error in syntax {
            c.error(error.span().unwrap_or(0..0), error.message().to_owned(), None);
        }
        return Err(c.errors);
    }
    let table = table.into_inner();
    for (key, value) in &table {
        if !SECTIONS.contains(&key.get_ref().as_ref()) {
            let hint = did_you_mean(key.get_ref(), &SECTIONS)
                .unwrap_or_else(|| format!("sections are {}", SECTIONS.join(", ")));
            c.error(key.span(), format!("there is no section `{}`", key.get_ref()), Some(hint));
            let _: &Spanned<DeValue<'_>> = value;
        }
    }
    let gateway: Option<Gateway> = if table.contains_key("gateway") {
        c.section(&table, "gateway")
    } else {
        c.error(
            0..0,
            "the section [gateway] is missing",
            Some("it begins with: [gateway]\nid = \"ward-3\"".into()),
        );
        None
    };
    let spool: Option<spool::Config> = c.section_or_default(&table, "spool");
    let web: Option<web::Config> = c.section_or_default(&table, "web");
    let operations: Option<Operations> = c.section_or_default(&table, "operations");
    let audit: Option<Audit> = c.section_or_default(&table, "audit");
    let feeds: Vec<Section<Feed>> = c.sections(&table, "feed", FEEDS_MAX);
    let destinations: Vec<Section<Destination>> = c.sections(&table, "destination", DESTINATIONS_MAX);
    let policies: Vec<Section<PolicyFile>> = c.sections(&table, "policy", DESTINATIONS_MAX);

    c.names("feed", feeds.iter().map(|s| (&s.value.name, &s.span)));
    c.names("destination", destinations.iter().map(|s| (&s.value.name, &s.span)));
    c.names("policy", policies.iter().map(|s| (&s.value.name, &s.span)));
    let names: Vec<String> = destinations.iter().map(|s| s.value.name.to_string()).collect();
    let mut routers = HashMap::new();
    for Section { value: feed, span, index } in &feeds {
        c.feed(&table, *index, feed, span, base, &names);
        if let Some(router) = c.routes(&table, *index, feed, span, &names) {
            routers.insert(feed.name.clone(), router);
        }
    }
    let own: BTreeMap<String, PathBuf> =
        policies.iter().map(|s| (s.value.name.to_string(), base.join(&s.value.file))).collect();
    let mut compiled = HashMap::new();
    for Section { value: p, span, index: n } in &policies {
        let n = *n;
        if deid::BUILTIN_POLICIES.contains(&p.name.as_str()) {
            let span = at(&table, "policy", n, &["name"]).unwrap_or_else(|| span.clone());
            c.error(span, format!("`{}` is a built-in policy", p.name), Some("choose another name".into()));
        }
        c.policy_file(&table, n, p, base, now, &mut compiled);
    }
    for Section { value: destination, span, index } in &destinations {
        c.destination(&table, *index, destination, span, base, gateway.as_ref(), &own, &mut compiled);
    }
    c.vain_routes(&table, &feeds, &destinations);
    c.listeners(&table, &feeds, web.as_ref(), operations.as_ref());
    if let Some(audit) = &audit {
        c.audit(&table, audit, base);
    }
    if feeds.is_empty() {
        c.warn(0..0, "there is no feed: nothing will come in", "add [[feed]] with a name and [feed.mllp]");
    }
    if destinations.is_empty() {
        c.warn(0..0, "there is no destination: records are kept and go nowhere", "add [[destination]]");
    }
    let spool_span = |setting: &str| {
        table.get("spool").map_or(0..0, |s| {
            s.get_ref().as_table().and_then(|t| t.get(setting)).map_or_else(|| s.span(), Spanned::span)
        })
    };
    if let Some(error) = spool.as_ref().and_then(|s| s.check().err()) {
        let setting = if let spool::Error::Config { setting, .. } = &error { setting } else { "" };
        c.error(spool_span(setting), error.to_string(), None);
    }
    for lane in Lane::ALL {
        let limit = spool.as_ref().and_then(|s| s.age_s_max(lane)).filter(|s| *s < AGE_S_WARN);
        if let Some(limit) = limit {
            c.warn(
                spool_span(&format!("{lane}_age_s_max")),
                &format!("what no destination takes from the {lane} lane within {limit} s is given up"),
                "an outage of a destination may last longer; 30 days are 2592000",
            );
        }
    }
    let own_key =
        table.get("spool").and_then(|s| s.get_ref().as_table()).is_some_and(|t| t.contains_key("key_file"));
    if let (true, Some(gateway), Some(mut spool), Some(web), Some(operations), Some(audit)) =
        (c.errors.is_empty(), gateway, spool, web, operations, audit)
    {
        if !own_key {
            spool.key_file = gateway.data_dir.join(KEY_FILE);
        }
        let mut document = Document {
            gateway,
            spool,
            web,
            operations,
            audit,
            feeds: feeds.into_iter().map(|s| s.value).collect(),
            destinations: destinations.into_iter().map(|s| s.value).collect(),
            policies: policies.into_iter().map(|s| s.value).collect(),
        };
        resolve(&mut document, base);
        let (warnings, shown) = (c.warnings, c.shown);
        return Ok(Checked { document, policies: compiled, routers, warnings, shown });
    }
    c.errors.sort_by_key(|f| (f.line, f.column));
    Err(c.errors)
}

/// One entry of a list of sections, with its place in the document.
struct Section<T> {
    value: T,
    span: Range<usize>,
    index: usize,
}

struct Checker<'a> {
    file: &'a str,
    text: &'a str,
    errors: Vec<Finding>,
    warnings: Vec<Finding>,
    shown: Vec<Shown>,
}

impl Checker<'_> {
    fn error(&mut self, span: Range<usize>, message: impl Into<String>, hint: Option<String>) {
        self.errors.push(Finding::at(self.file, self.text, span, message, hint));
    }

    fn warn(&mut self, span: Range<usize>, message: &str, hint: &str) {
        self.warnings.push(Finding::at(self.file, self.text, span, message, Some(hint.to_owned())));
    }

    fn section<T: DeserializeOwned>(&mut self, table: &DeTable<'_>, name: &str) -> Option<T> {
        let value = table.get(name)?;
        self.read(value, name)
    }

    /// The ranges of `[audit]`, and its syslog server.
    fn audit(&mut self, table: &DeTable<'_>, audit: &Audit, base: &Path) {
        let section = table.get("audit");
        let whole = section.map_or(0..0, Spanned::span);
        let written = |setting: &str| {
            let value = section.and_then(|s| s.get_ref().as_table()).and_then(|t| t.get(setting));
            value.map_or_else(|| whole.clone(), Spanned::span)
        };
        for (setting, value, range) in [
            ("checkpoint_entries", audit.checkpoint_entries, CHECKPOINT_ENTRIES),
            ("checkpoint_every_s", audit.checkpoint_every_s, CHECKPOINT_EVERY_S),
        ] {
            if !range.contains(&value) {
                let message = format!("{setting} is from {} to {}", range.start(), range.end());
                self.error(written(setting), message, None);
            }
        }
        if let Some(syslog) = &audit.syslog {
            let span = written("syslog");
            self.receiver(&syslog.receiver(), |_| span.clone(), base);
        }
    }

    fn section_or_default<T: DeserializeOwned + Default>(
        &mut self,
        table: &DeTable<'_>,
        name: &str,
    ) -> Option<T> {
        if table.contains_key(name) { self.section(table, name) } else { Some(T::default()) }
    }

    fn sections<T: DeserializeOwned>(
        &mut self,
        table: &DeTable<'_>,
        name: &str,
        max: usize,
    ) -> Vec<Section<T>> {
        let Some(value) = table.get(name) else { return Vec::new() };
        let Some(array) = value.get_ref().as_array() else {
            let hint = format!("write [[{name}]], in double brackets: there may be several");
            self.error(value.span(), format!("`{name}` is not a list"), Some(hint));
            return Vec::new();
        };
        if array.len() > max {
            self.error(
                value.span(),
                format!("{} entries of `{name}`", array.len()),
                Some(format!("at most {max}")),
            );
        }
        array
            .iter()
            .take(max)
            .enumerate()
            .filter_map(|(index, item)| {
                Some(Section { value: self.read(item, name)?, span: item.span(), index })
            })
            .collect()
    }

    fn read<T: DeserializeOwned>(&mut self, value: &Spanned<DeValue<'_>>, section: &str) -> Option<T> {
        match mistakes::read(value) {
            Ok(value) => Some(value),
            Err(mistakes) => {
                for mistake in mistakes {
                    let (message, hint) = explain(&mistake.message, section);
                    self.error(mistake.span, message, hint);
                }
                None
            }
        }
    }

    fn names<'n>(&mut self, kind: &str, names: impl Iterator<Item = (&'n Slug, &'n Range<usize>)>) {
        let mut seen: Vec<&Slug> = Vec::new();
        for (name, span) in names {
            if seen.contains(&name) {
                let hint = format!("every {kind} has a name of its own");
                self.error(span.clone(), format!("a second {kind} named `{name}`"), Some(hint));
            }
            seen.push(name);
        }
    }

    fn feed(
        &mut self,
        table: &DeTable<'_>,
        n: usize,
        feed: &Feed,
        span: &Range<usize>,
        base: &Path,
        destinations: &[String],
    ) {
        let kinds =
            [("mllp", feed.mllp.is_some()), ("mqtt", feed.mqtt.is_some()), ("fhir", feed.fhir.is_some())];
        match *kinds.iter().filter(|(_, there)| *there).map(|(kind, _)| *kind).collect::<Vec<_>>() {
            [_] => {}
            [] => self.error(
                span.clone(),
                format!("feed `{}` does not say where it comes from", feed.name),
                Some("add [feed.mllp], [feed.mqtt] or [feed.fhir] below it".into()),
            ),
            [one, other, ..] => self.error(
                span.clone(),
                format!("feed `{}` has both {one} and {other}", feed.name),
                Some("make it two feeds".into()),
            ),
        }
        if let Some(mllp) = &feed.mllp {
            self.mllp(table, n, mllp, base, span);
        }
        if let Some(fhir) = &feed.fhir {
            self.fhir(table, n, fhir, base, span);
        }
        if let Some(error) = feed.mqtt.as_ref().and_then(|m| m.check().err()) {
            let span = at(table, "feed", n, &["mqtt"]).unwrap_or_else(|| span.clone());
            self.error(span, error.to_string(), None);
        }
        for name in feed.destinations.iter().flatten() {
            if !destinations.iter().any(|d| d == name.as_str()) {
                let span = at(table, "feed", n, &["destinations"]).unwrap_or_else(|| span.clone());
                let known: Vec<&str> = destinations.iter().map(String::as_str).collect();
                let hint =
                    did_you_mean(name.as_str(), &known).unwrap_or_else(|| list("destinations", &known));
                self.error(span, format!("there is no destination `{name}`"), Some(hint));
            }
        }
        if let Some(mqtt) = &feed.mqtt {
            let catalogue = Catalogue::builtin().unwrap_or_default();
            if catalogue.get(&mqtt.profile).is_none() {
                let span = at(table, "feed", n, &["mqtt", "profile"]).unwrap_or_else(|| span.clone());
                let known: Vec<&str> = catalogue.ids().collect();
                let hint = did_you_mean(&mqtt.profile, &known).unwrap_or_else(|| list("profiles", &known));
                self.error(span, format!("there is no device profile `{}`", mqtt.profile), Some(hint));
            }
        }
    }

    fn policy_file(
        &mut self,
        table: &DeTable<'_>,
        n: usize,
        policy: &PolicyFile,
        base: &Path,
        now: Timestamp,
        compiled: &mut HashMap<String, Arc<Policy>>,
    ) {
        let path = base.join(&policy.file);
        let span = at(table, "policy", n, &["file"]).unwrap_or(0..0);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) => {
                self.error(span, format!("{} cannot be read: {e}", path.display()), None);
                return;
            }
        };
        match Policy::compile(policy.name.as_str(), &text, now) {
            Ok(policy_compiled) => {
                compiled.insert(policy.name.to_string(), Arc::new(policy_compiled));
            }
            Err(error) => {
                let shown = path.display().to_string();
                self.errors.extend(error.mistakes.into_iter().map(|mistake| {
                    let Mistake { line, column, path, message, remedy } = mistake;
                    let offset = offset_of(&text, line, column);
                    let message = if path.is_empty() { message } else { format!("{path}: {message}") };
                    Finding::at(&shown, &text, offset..offset + 1, message, Some(remedy))
                }));
            }
        }
    }

    fn listeners(
        &mut self,
        table: &DeTable<'_>,
        feeds: &[Section<Feed>],
        web: Option<&web::Config>,
        operations: Option<&Operations>,
    ) {
        let mut taken: Vec<(SocketAddr, String)> = Vec::new();
        let single = |name: &str| table.get(name).map_or(0..0, Spanned::span);
        let fixed = web
            .map(|w| (w.listen, "web".to_owned(), single("web")))
            .into_iter()
            .chain(operations.map(|o| (o.listen, "operations".to_owned(), single("operations"))));
        let of_feeds = feeds.iter().filter_map(|Section { value: f, span, index }| {
            let of_mllp = f.mllp.as_ref().map(|mllp| ("mllp", mllp.address()));
            let (kind, address) = of_mllp.or(f.fhir.as_ref().map(|fhir| ("fhir", fhir.listen)))?;
            let span = at(table, "feed", *index, &[kind, "listen"]).unwrap_or_else(|| span.clone());
            Some((address, format!("feed `{}`", f.name), span))
        });
        for (address, who, span) in fixed.chain(of_feeds) {
            let clash = taken.iter().find(|(other, _)| {
                address.port() != 0
                    && other.port() == address.port()
                    && (other.ip() == address.ip()
                        || other.ip().is_unspecified()
                        || address.ip().is_unspecified())
            });
            if let Some((_, other)) = clash {
                let message = format!("{who} listens on {address}, and so does {other}");
                self.error(span, message, Some("give one of them another port".into()));
            }
            taken.push((address, who));
        }
    }
}

/// The span of a value inside entry `n` of a list of sections.
fn at(table: &DeTable<'_>, section: &str, n: usize, keys: &[&str]) -> Option<Range<usize>> {
    let mut value = table.get(section)?.get_ref().as_array()?.get(n)?;
    for key in keys {
        value = value.get_ref().as_table()?.get(*key)?;
    }
    Some(value.span())
}

/// serde's words made a person's, with a hint.
fn explain(message: &str, section: &str) -> (String, Option<String>) {
    if let Some(rest) = message.strip_prefix("unknown field `")
        && let Some((field, rest)) = rest.split_once('`')
    {
        let known: Vec<&str> = rest.split('`').skip(1).step_by(2).collect();
        let hint = did_you_mean(field, &known).unwrap_or_else(|| list("keys", &known));
        return (format!("`{section}` has no key `{field}`"), Some(hint));
    }
    if let Some(field) = message.strip_prefix("missing field `").and_then(|m| m.strip_suffix('`')) {
        return (format!("`{section}` lacks the key `{field}`"), Some(format!("add {field} = …")));
    }
    (message.to_owned(), None)
}

fn list(what: &str, known: &[&str]) -> String {
    if known.is_empty() {
        format!("there are no {what} yet")
    } else {
        format!("{what} are {}", known.join(", "))
    }
}

fn did_you_mean(word: &str, known: &[&str]) -> Option<String> {
    known
        .iter()
        .map(|k| (strsim::jaro_winkler(word, k), k))
        // Short words are unlike by proportion, though only two letters changed places.
        .filter(|(likeness, k)| *likeness >= LIKENESS_MIN || strsim::osa_distance(word, k) == 1)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, k)| format!("did you mean `{k}`?"))
}

fn offset_of(text: &str, line: usize, column: usize) -> usize {
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let rest = text.get(start..).unwrap_or_default();
    start + rest.chars().take(column.saturating_sub(1)).map(char::len_utf8).sum::<usize>()
}

/// Makes every path absolute.
fn resolve(document: &mut Document, base: &Path) {
    let fix = |path: &mut PathBuf| *path = base.join(&*path);
    fix(&mut document.gateway.data_dir);
    fix(&mut document.spool.key_file);
    document.files_mut().into_iter().for_each(fix);
}
