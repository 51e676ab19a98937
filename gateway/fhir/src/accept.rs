//! What a request to a FHIR endpoint that only takes in comes to: refused, or to be stored, and as what.
//!
//! **Promise.** What is accepted is valid ([`crate::validate`]), is of the type and id that its address names, and
//! asks for nothing that such an endpoint cannot do: it stores, and knows nothing of what was stored before. So there
//! are no conditions (`If-None-Exist`, `ifMatch`, conditional updates), no deletes and patches, and no reads.
//!
//! | request | what is accepted |
//! |---|---|
//! | create | one resource of the type in the address; its `id`, if any, is not used |
//! | update | one resource of the type and id in the address |
//! | transaction | a Bundle of creates and updates, all or nothing |
//! | batch | a Bundle of creates and updates, each for itself |
//! | validate | anything; it is judged alone |
//!
//! **Limits.** [`ENTRIES_MAX`] entries; a batch with more issues than are listed ([`ISSUES_MAX`]) is refused as a
//! whole, because nobody could say which of its entries are good.

use std::collections::HashMap;
use std::ops::Range;

use crate::definitions::definitions;
use crate::validate::{Code, ISSUES_MAX, Issue, Json, Report, Severity, checked, id};

/// Most entries of a transaction or batch.
pub const ENTRIES_MAX: usize = 10_000;

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request<'r> {
    /// `POST Type`.
    Create {
        /// The type in the address.
        kind: &'r str,
    },
    /// `PUT Type/id`.
    Update {
        /// The type in the address.
        kind: &'r str,
        /// The id in the address.
        id: &'r str,
    },
    /// `POST` to the base: a transaction or a batch.
    Bundle,
}

/// What is done to one resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interaction {
    /// It gets an id from whom it was sent to.
    Create,
    /// It has one.
    Update,
}

/// One resource to be stored.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// What is done to it.
    pub interaction: Interaction,
    /// Its type.
    pub kind: &'static str,
    /// Its own id; of a create the one that is not used.
    pub id: Option<String>,
    /// Where its bytes stand in the body.
    pub bytes: Range<usize>,
}

/// Without the id.
impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {} ({} bytes)", self.interaction, self.kind, self.bytes.len())
    }
}

/// What is to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accepted {
    /// One resource.
    One(Entry),
    /// All of it, as one document.
    Transaction(Vec<Entry>),
    /// Each for itself.
    Batch(Vec<Result<Entry, Refused>>),
}

/// Why a request, or an entry of a batch, is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The status of HTTP.
    pub status: u16,
    /// What is wrong.
    pub issues: Vec<Issue>,
}

impl Refused {
    /// For one reason.
    pub fn new(status: u16, code: Code, diagnostics: impl Into<String>) -> Self {
        Self { status, issues: vec![Issue::new(Severity::Error, code, diagnostics)] }
    }
}

/// Bad request: it cannot be read, or contradicts its address.
const BAD_REQUEST: u16 = 400;
/// The content is understood and not valid.
const UNPROCESSABLE: u16 = 422;
/// This endpoint cannot do what is asked.
const NOT_IMPLEMENTED: u16 = 501;
const CONDITION: &str =
    "conditions are not supported: this endpoint takes in, and does not know what was stored before";

/// Judges a request by its body.
///
/// # Errors
/// [`Refused`]: nothing of it is to be stored.
pub fn accept(request: Request<'_>, body: &[u8]) -> Result<Accepted, Refused> {
    let (json, report) = checked(body);
    let Some(json) = json else { return Err(Refused { status: BAD_REQUEST, issues: report.issues }) };
    match request {
        Request::Create { kind } => one(&json, report, kind, None).map(Accepted::One),
        Request::Update { kind, id } => one(&json, report, kind, Some(id)).map(Accepted::One),
        Request::Bundle => bundle(&json, report),
    }
}

/// Judges a body for the type and the id that an address names, if it does. A body that is no JSON has issues too.
pub fn judge(kind: Option<&str>, id: Option<&str>, body: &[u8]) -> Report {
    let (json, mut report) = checked(body);
    let wanted = kind.filter(|kind| report.resource_type.is_some_and(|found| found != *kind));
    match (wanted, json) {
        // R4 "$validate": the resource may come in Parameters.
        (Some(_), Some(json)) if report.resource_type == Some("Parameters") => {
            let mut names = parameters(&json);
            if names.any(|name| name == "profile") {
                let text = "profiles are not judged here, the base definitions of R4 are";
                report.issues.push(Issue::new(Severity::Warning, Code::NotSupported, text));
            }
        }
        (Some(_), _) => {
            let text = "the resource is of another type than the address names";
            report.issues.push(Issue::new(Severity::Error, Code::Invalid, text));
        }
        (None, Some(json)) if id.is_some() && json.text_of(0, "id").as_deref() != id => {
            let text = "the resource has another id than the address names";
            report.issues.push(Issue::new(Severity::Error, Code::Invalid, text));
        }
        (None, _) => {}
    }
    report
}

fn parameters<'j>(json: &'j Json<'_>) -> impl Iterator<Item = String> + 'j {
    let list = json.member(0, "parameter").map_or(0, |(list, _)| list);
    let list = (list > 0).then(|| json.children(list)).into_iter().flatten();
    list.filter_map(|(item, _)| json.text_of(item, "name").map(Into::into))
}

fn one(json: &Json<'_>, report: Report, kind: &str, wanted: Option<&str>) -> Result<Entry, Refused> {
    let Some(found) = report.resource_type else {
        return Err(Refused { status: UNPROCESSABLE, issues: report.issues });
    };
    if found != kind {
        let text = "the resource is of another type than the address names";
        return Err(Refused::new(BAD_REQUEST, Code::Invalid, text));
    }
    let own = json.text_of(0, "id").map(String::from);
    if wanted.is_some() && own.as_deref() != wanted {
        let text = "an update's resource must have the id that the address names";
        return Err(Refused::new(BAD_REQUEST, Code::Invalid, text));
    }
    if !report.is_valid() {
        return Err(Refused { status: UNPROCESSABLE, issues: report.issues });
    }
    let interaction = if wanted.is_some() { Interaction::Update } else { Interaction::Create };
    Ok(Entry { interaction, kind: found, id: own, bytes: json.span(0) })
}

fn bundle(json: &Json<'_>, report: Report) -> Result<Accepted, Refused> {
    if report.resource_type.is_some_and(|found| found != "Bundle") {
        let text = "what is sent to the base must be a Bundle; send a resource to its type";
        return Err(Refused::new(BAD_REQUEST, Code::Invalid, text));
    }
    let batch = match json.text_of(0, "type").as_deref() {
        Some("transaction") => false,
        Some("batch") => true,
        _ if !report.is_valid() => return Err(Refused { status: UNPROCESSABLE, issues: report.issues }),
        _ => {
            let text =
                "a Bundle of type transaction or batch is taken at the base; another one is sent to Bundle";
            return Err(Refused::new(BAD_REQUEST, Code::NotSupported, text));
        }
    };
    let entries: Vec<usize> = json.member(0, "entry").map_or_else(Vec::new, |(list, _)| {
        json.children(list).map(|(entry, _)| entry).take(ENTRIES_MAX + 1).collect()
    });
    if entries.len() > ENTRIES_MAX {
        return Err(Refused::new(413, Code::TooLong, format!("at most {ENTRIES_MAX} entries are taken")));
    }
    let mut wrong: HashMap<usize, Vec<Issue>> = HashMap::new();
    let valid = report.is_valid();
    let bounded = report.issues.len() <= ISSUES_MAX;
    let mut whole = Vec::new();
    for issue in report.issues {
        match entry_of(&issue) {
            Some(n) if batch && bounded => {
                if issue.severity <= Severity::Error {
                    wrong.entry(n).or_default().push(issue);
                }
            }
            _ => whole.push(issue),
        }
    }
    if !valid && whole.iter().any(|issue| issue.severity <= Severity::Error) {
        return Err(Refused { status: UNPROCESSABLE, issues: whole });
    }
    let judged = entries.into_iter().enumerate().map(|(n, at)| match wrong.remove(&n) {
        Some(issues) => Err(Refused { status: UNPROCESSABLE, issues }),
        None => entry(json, n, at),
    });
    if batch {
        return Ok(Accepted::Batch(judged.collect()));
    }
    let mut good = Vec::new();
    let mut refused: Option<Refused> = None;
    for judged in judged {
        match (judged, &mut refused) {
            (Ok(entry), _) => good.push(entry),
            (Err(next), None) => refused = Some(next),
            (Err(next), Some(all)) if all.issues.len() < ISSUES_MAX => all.issues.extend(next.issues),
            (Err(_), Some(_)) => {}
        }
    }
    refused.map_or(Ok(Accepted::Transaction(good)), Err)
}

/// Which entry of the outermost Bundle an issue is about.
fn entry_of(issue: &Issue) -> Option<usize> {
    let (number, _) = issue.expression.strip_prefix("Bundle.entry[")?.split_once(']')?;
    number.parse().ok()
}

/// What a valid entry of a transaction or batch asks for.
fn entry(json: &Json<'_>, n: usize, at: usize) -> Result<Entry, Refused> {
    let refuse = |status, code, element: &str, text: &str| {
        let expression = format!("Bundle.entry[{n}].request.{element}");
        let issue = Issue { expression, ..Issue::new(Severity::Error, code, text) };
        Err(Refused { status, issues: vec![issue] })
    };
    let request = json.member(at, "request").map_or(0, |(request, _)| request);
    for condition in ["ifNoneExist", "ifMatch", "ifNoneMatch", "ifModifiedSince"] {
        if json.member(request, condition).is_some() {
            return refuse(NOT_IMPLEMENTED, Code::NotSupported, condition, CONDITION);
        }
    }
    let method = json.text_of(request, "method").unwrap_or_default();
    let url = json.text_of(request, "url").unwrap_or_default();
    if url.contains('?') {
        return refuse(NOT_IMPLEMENTED, Code::NotSupported, "url", CONDITION);
    }
    let (kind, named) = url.split_once('/').map_or((&*url, None), |(kind, named)| (kind, Some(named)));
    let interaction = match (&*method, named) {
        ("POST", None) => Interaction::Create,
        ("PUT", Some(named)) if id(named) => Interaction::Update,
        ("POST" | "PUT", _) => {
            let text = "a create's url is Type, an update's Type/id";
            return refuse(BAD_REQUEST, Code::Value, "url", text);
        }
        _ => {
            let text = "this endpoint takes in: POST and PUT are supported";
            return refuse(NOT_IMPLEMENTED, Code::NotSupported, "method", text);
        }
    };
    let Some((_, known)) = definitions().resource(kind) else {
        return refuse(404, Code::NotSupported, "url", "no resource type of FHIR R4");
    };
    let resource = json.member(at, "resource").map_or(0, |(resource, _)| resource);
    let own = json.text_of(resource, "id").map(String::from);
    Ok(Entry { interaction, kind: known.name, id: own, bytes: json.span(resource) })
}

/// A created resource as it is from now on: with the id that it was given, whatever it had.
///
/// `None` where the body is no object.
pub fn with_id(body: &[u8], id: &str) -> Option<Vec<u8>> {
    let json = Json::parse(body).ok()?;
    let whole = json.span(0);
    let (cut, piece) = match json.member(0, "id") {
        Some((at, _)) => (json.span(at), format!("\"{id}\"")),
        None => {
            let inside = whole.start + 1;
            let comma = if json.children(0).next().is_some() { "," } else { "" };
            (inside..inside, format!("\"id\":\"{id}\"{comma}"))
        }
    };
    let mut out = Vec::with_capacity(body.len() + piece.len());
    out.extend_from_slice(body.get(whole.start..cut.start)?);
    out.extend_from_slice(piece.as_bytes());
    out.extend_from_slice(body.get(cut.end..whole.end)?);
    Some(out)
}

#[cfg(test)]
mod tests;
