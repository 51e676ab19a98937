//! What a request asks for, from its method, address and headers alone.

use fhir::definitions::definitions;
use fhir::validate::Code;
use http::request::Parts;
use http::{HeaderMap, Method, header};

use super::respond::Refusal;

/// What is asked for. Types are R4's own names; ids are no more than what may stand in an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    Metadata,
    SmartConfiguration,
    Token,
    Create { kind: &'static str },
    Update { kind: &'static str, id: String },
    Bundle,
    Validate { kind: Option<&'static str>, id: Option<String> },
}

/// What the client would like to have back (R4 "3.1.0.1.2", `Prefer`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prefer {
    Minimal,
    Representation,
    Outcome,
}

/// Longest `Idempotency-Key` and `X-Request-Id`.
const KEY_BYTES_MAX: usize = 256;
const REQUEST_ID_BYTES_MAX: usize = 64;
const CONDITIONS: [&str; 5] =
    ["If-None-Exist", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"];

/// Reads method and address.
pub(super) fn route(parts: &Parts) -> Result<Route, Refusal> {
    let path = decoded(parts.uri.path()).ok_or_else(unknown)?;
    let path = path.strip_suffix('/').unwrap_or(&path);
    let method = &parts.method;
    let read = |route| {
        if matches!(*method, Method::GET | Method::HEAD) { Ok(route) } else { Err(not_allowed("GET, HEAD")) }
    };
    let post = |route| if *method == Method::POST { Ok(route) } else { Err(not_allowed("POST")) };
    match path {
        "/token" => return post(Route::Token),
        "/.well-known/smart-configuration" => return read(Route::SmartConfiguration),
        "/fhir" => return post(Route::Bundle),
        _ => {}
    }
    let segments: Vec<&str> = path.strip_prefix("/fhir/").ok_or_else(unknown)?.split('/').collect();
    let known = |name: &str| {
        definitions().resource(name).map(|(_, kind)| kind.name).ok_or_else(|| {
            Refusal::new(404, Code::NotSupported, "the address names no resource type of FHIR R4")
        })
    };
    match *segments.as_slice() {
        ["metadata"] => read(Route::Metadata),
        [".well-known", "smart-configuration"] => read(Route::SmartConfiguration),
        ["$validate"] => post(Route::Validate { kind: None, id: None }),
        [name] if name.starts_with(['$', '_']) => Err(unsupported()),
        [name] => {
            let kind = known(name)?;
            match *method {
                Method::POST => Ok(Route::Create { kind }),
                // A conditional update.
                Method::PUT => Err(condition("an update by search parameters")),
                Method::GET | Method::HEAD | Method::DELETE | Method::PATCH => Err(unsupported()),
                _ => Err(not_allowed("POST")),
            }
        }
        [name, "$validate"] => {
            let kind = known(name)?;
            post(Route::Validate { kind: Some(kind), id: None })
        }
        [name, id, "$validate"] if fhir::validate::id(id) => {
            let kind = known(name)?;
            match *method {
                Method::POST => Ok(Route::Validate { kind: Some(kind), id: Some(id.to_owned()) }),
                // It would be about what is stored, which nobody here reads.
                Method::GET | Method::HEAD => Err(unsupported()),
                _ => Err(not_allowed("POST")),
            }
        }
        [name, id] if fhir::validate::id(id) => {
            let kind = known(name)?;
            match *method {
                Method::PUT => Ok(Route::Update { kind, id: id.to_owned() }),
                Method::GET | Method::HEAD | Method::DELETE | Method::PATCH => Err(unsupported()),
                _ => Err(not_allowed("PUT")),
            }
        }
        [name, ..] => {
            known(name)?;
            Err(unsupported())
        }
        [] => Err(unknown()),
    }
}

fn unknown() -> Refusal {
    Refusal::new(404, Code::NotFound, "there is nothing at this address; the endpoint is at /fhir")
}

fn unsupported() -> Refusal {
    let text = "this endpoint takes in: create, update, transaction, batch and $validate are supported, nothing else";
    Refusal::new(501, Code::NotSupported, text)
}

/// R4 leaves it to a server which conditions it supports (its CapabilityStatement says none: `conditionalCreate`,
/// `conditionalUpdate`, `versioning`). To ignore one would do what the client did not want; 412 would say that it was
/// looked at and is not met. What is left is that the functionality is not there (RFC 9110 section 15.6.2), and nothing
/// is stored.
fn condition(name: &str) -> Refusal {
    let text = format!(
        "{name} is not supported, and nothing was stored: this endpoint takes in, and does not know what its receivers \
         hold. Without the condition an identical resend is recognised; see Idempotency-Key"
    );
    Refusal::new(501, Code::NotSupported, text)
}

fn not_allowed(allow: &'static str) -> Refusal {
    let text = format!("not this method: {allow}");
    Refusal { allow: Some(allow), ..Refusal::new(405, Code::NotSupported, text) }
}

/// Percent-decodes a path; `None` where it holds more than what addresses of FHIR are made of.
fn decoded(path: &str) -> Option<String> {
    let mut out = String::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        let byte = if byte == b'%' {
            let high = char::from(bytes.next()?).to_digit(16)?;
            let low = char::from(bytes.next()?).to_digit(16)?;
            u8::try_from(high * 16 + low).ok()?
        } else {
            byte
        };
        if !byte.is_ascii_alphanumeric() && !b"-._$/".contains(&byte) {
            return None;
        }
        out.push(char::from(byte));
    }
    Some(out)
}

/// Whether the client takes JSON, by `_format` or else by `Accept`.
pub(super) fn takes_json(parts: &Parts) -> Result<(), Refusal> {
    let refuse = || Err(Refusal::new(406, Code::NotSupported, "answers are JSON: application/fhir+json"));
    let format =
        parts.uri.query().into_iter().flat_map(|q| q.split('&')).find_map(|p| p.strip_prefix("_format="));
    if let Some(format) = format {
        return if format.contains("json") { Ok(()) } else { refuse() };
    }
    let mut accepts = parts.headers.get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok()).peekable();
    if accepts.peek().is_none() {
        return Ok(());
    }
    let json = accepts.flat_map(|list| list.split(',')).any(|one| {
        let essence = one.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        matches!(&*essence, "*/*" | "application/*" | "application/fhir+json" | "application/json" | "json")
    });
    if json { Ok(()) } else { refuse() }
}

/// Whether the body is JSON in UTF-8, as it is.
pub(super) fn is_json(headers: &HeaderMap) -> Result<(), Refusal> {
    let refuse = |text: &str| Err(Refusal::new(415, Code::NotSupported, text));
    let encoding = headers.get(header::CONTENT_ENCODING).map(|v| v.as_bytes());
    if encoding.is_some_and(|e| !e.eq_ignore_ascii_case(b"identity")) {
        return refuse("send the body without Content-Encoding");
    }
    let Some(text) = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()) else {
        return refuse("Content-Type is missing: application/fhir+json");
    };
    let mut parts = text.split(';').map(|part| part.trim().to_ascii_lowercase());
    match &*parts.next().unwrap_or_default() {
        "application/fhir+json" | "application/json" => {}
        "application/fhir+xml" | "application/xml" | "text/xml" => {
            return refuse("XML is not taken: send application/fhir+json");
        }
        _ => return refuse("Content-Type must be application/fhir+json"),
    }
    for parameter in parts {
        if let Some(charset) = parameter.strip_prefix("charset=")
            && !matches!(charset.trim_matches('"'), "utf-8" | "utf8" | "us-ascii")
        {
            return refuse("the body must be UTF-8");
        }
        if let Some(version) = parameter.strip_prefix("fhirversion=")
            && !matches!(version.trim_matches('"'), "4.0" | "4.0.1")
        {
            return refuse("FHIR 4.0 is taken alone");
        }
    }
    Ok(())
}

/// Whether it asks for what only a server could answer that reads.
pub(super) fn unconditional(headers: &HeaderMap) -> Result<(), Refusal> {
    match CONDITIONS.into_iter().find(|name| headers.contains_key(*name)) {
        Some(name) => Err(condition(name)),
        None => Ok(()),
    }
}

/// How many bytes the body is to have.
pub(super) fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

pub(super) fn prefer(headers: &HeaderMap) -> Prefer {
    let all = headers.get_all("prefer").iter().filter_map(|v| v.to_str().ok());
    let mut wishes = all.flat_map(|list| list.split([',', ';'])).map(|wish| wish.trim().to_ascii_lowercase());
    wishes
        .find_map(|wish| match wish.strip_prefix("return=")?.trim_matches('"') {
            "minimal" => Some(Prefer::Minimal),
            "operationoutcome" => Some(Prefer::Outcome),
            "representation" => Some(Prefer::Representation),
            _ => None,
        })
        .unwrap_or(Prefer::Representation)
}

/// What tells two requests apart that are otherwise identical.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<&[u8]>, Refusal> {
    match headers.get("idempotency-key").map(|v| v.as_bytes()) {
        Some(key) if key.is_empty() || key.len() > KEY_BYTES_MAX => {
            Err(Refusal::new(400, Code::Value, "an Idempotency-Key has 1 to 256 bytes"))
        }
        key => Ok(key),
    }
}

/// The name that the client gave its request, where it can stand in an answer.
pub(super) fn request_id(headers: &HeaderMap) -> Option<&http::HeaderValue> {
    headers.get("x-request-id").filter(|value| {
        (1..=REQUEST_ID_BYTES_MAX).contains(&value.len())
            && value.as_bytes().iter().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(b))
    })
}

/// The token of `Authorization: Bearer`, or that there is another kind.
pub(super) fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty() => {
            Ok(Some(token.trim()))
        }
        _ => Err(Refusal::unauthorised(true, "a bearer token is expected")),
    }
}
