//! What every request passes before a page sees it, and what every answer carries.
//!
//! In this order: the name the browser used (against DNS rebinding), where a changing request came from
//! (against cross-site request forgery; the forms' tokens are the second lock), the time an answer may take.
//! Then every answer gets its headers, also an error's.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use crate::app::Shared;
use crate::pages::error::Failure;

/// Longest time until an answer begins, in seconds: a form that trickles in is cut off here.
pub(crate) const ANSWER_S_MAX: u64 = 30;

/// Nothing but our own files; no inline script or style; nobody frames us.
pub(crate) const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// On every answer.
pub(crate) const HEADERS: [(HeaderName, &str); 7] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), geolocation=(), microphone=(), usb=(), serial=()",
    ),
];

/// One year. Sent only when an operator installed a certificate: with a self-signed one it would lock browsers
/// out for good (RFC 6797 section 12.1).
const STRICT_TRANSPORT_SECURITY: &str = "max-age=31536000";

/// The names under which the box answers.
#[derive(Debug, Clone, Default)]
pub(crate) struct HostNames(Vec<String>);

impl HostNames {
    /// From the configuration; the first name that is no host name comes back.
    pub(crate) fn new(names: &[String]) -> Result<Self, &str> {
        let mut known = Vec::with_capacity(names.len());
        for name in names {
            let label = |l: &str| {
                !l.is_empty() && l.len() <= 63 && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            };
            if name.len() > 253 || !name.split('.').all(label) {
                return Err(name);
            }
            known.push(name.to_ascii_lowercase());
        }
        Ok(Self(known))
    }

    /// Whether a browser may have meant this box. Any IP address will do: rebinding needs a name that an
    /// attacker controls, and an address behind a port forwarding is not one of our own.
    fn allow(&self, host: &str) -> bool {
        host_is_address(host)
            || host.eq_ignore_ascii_case("localhost")
            || self.0.iter().any(|known| known.eq_ignore_ascii_case(host))
    }
}

fn host_is_address(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    bare.map_or_else(
        || host.parse::<std::net::Ipv4Addr>().is_ok(),
        |v6| v6.parse::<std::net::Ipv6Addr>().is_ok(),
    )
}

/// The host that a request is for, without port: from its target (HTTP/2) or its `Host`.
fn host(request: &Request) -> Option<String> {
    if let Some(host) = request.uri().host() {
        return Some(host.to_owned());
    }
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let (Some(only), None) = (hosts.next(), hosts.next()) else { return None };
    let authority: axum::http::uri::Authority = only.to_str().ok()?.parse().ok()?;
    Some(authority.host().to_owned())
}

/// Whether a changing request comes from a page of ours. A browser says so in `Sec-Fetch-Site`, which scripts
/// cannot set; one that does not know it must send the `Origin` we have ourselves.
fn is_same_origin(headers: &HeaderMap, uri_authority: Option<&str>) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site == "same-origin";
    }
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let ours = uri_authority.or_else(|| text(header::HOST));
    match (text(header::ORIGIN).and_then(|origin| origin.strip_prefix("https://")), ours) {
        (Some(theirs), Some(ours)) => theirs.eq_ignore_ascii_case(ours),
        _ => false,
    }
}

/// The door of the whole router.
pub(crate) async fn screen(State(app): State<Shared>, request: Request, next: Next) -> Response {
    let for_programs = crate::router::is_for_programs(request.uri().path());
    let answer = match refusal(&app, &request) {
        Some(failure) => failure.into_response(),
        None => match tokio::time::timeout(Duration::from_secs(ANSWER_S_MAX), next.run(request)).await {
            Ok(answer) => answer,
            Err(_) => Failure::new(
                StatusCode::REQUEST_TIMEOUT,
                "That took too long",
                "The request did not arrive in time, or could not be answered in time. Try again.",
            )
            .into_response(),
        },
    };
    finish(&app, answer, for_programs)
}

fn refusal(app: &Shared, request: &Request) -> Option<Failure> {
    match host(request) {
        Some(host) if app.host_names.allow(&host) => {}
        _ => {
            return Some(Failure::new(
                StatusCode::MISDIRECTED_REQUEST,
                "Not under this name",
                "This box does not know itself by the name in the address bar. Use its IP address, or add the \
                 name to web.host_names in the configuration.",
            ));
        }
    }
    let reads = [Method::GET, Method::HEAD].contains(request.method());
    let authority = request.uri().authority().map(axum::http::uri::Authority::as_str);
    if !reads && !is_same_origin(request.headers(), authority) {
        return Some(Failure::new(
            StatusCode::FORBIDDEN,
            "Not from a page of this box",
            "Changes are taken only from this box's own pages. Open the page here and send the form again.",
        ));
    }
    None
}

/// Turns failures into what the asker can read, and adds the headers.
fn finish(app: &Shared, mut answer: Response, for_programs: bool) -> Response {
    let failure = answer.extensions_mut().remove::<Failure>().or_else(|| bare_error(&answer));
    if let Some(failure) = failure {
        let headers = std::mem::take(answer.headers_mut());
        answer = if for_programs { failure.problem() } else { failure.page(app) };
        for name in [header::RETRY_AFTER, header::ALLOW, header::SET_COOKIE, header::WWW_AUTHENTICATE] {
            if let Some(value) = headers.get(&name) {
                answer.headers_mut().insert(name, value.clone());
            }
        }
    }
    let headers = answer.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // Only what carries a digest in its name, and nothing of this box, may be kept.
    if headers.get(header::CACHE_CONTROL).is_none_or(|value| value != crate::assets::KEEP) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    if app.trusted_certificate {
        headers
            .insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(STRICT_TRANSPORT_SECURITY));
    }
    answer
}

/// An error that came from below (a query that cannot be read, say), in the words of no page of ours.
fn bare_error(answer: &Response) -> Option<Failure> {
    let status = answer.status();
    let kind = answer.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
    let ours = kind.starts_with("text/html") || kind.contains("json");
    ((status.is_client_error() || status.is_server_error()) && !ours).then(|| {
        Failure::new(
            status,
            "That cannot be answered",
            "The request was not understood. Go to the overview and begin there.",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_address_and_only_named_hosts() {
        let names = ["Ward-3.Hospital.Example".to_owned()];
        let names = HostNames::new(&names).unwrap();
        for good in
            ["10.1.2.3", "[::1]", "[2001:db8::1]", "localhost", "LOCALHOST", "ward-3.hospital.example"]
        {
            assert!(names.allow(good), "{good}");
        }
        for bad in [
            "",
            "evil.example",
            "ward-3",
            "x.ward-3.hospital.example",
            "10.1.2",
            "::1",
            "10.1.2.3.evil.example",
        ] {
            assert!(!names.allow(bad), "{bad}");
        }
        for bad in ["", "https://a.example", "a.example:8443", "a/b", "*.example", "a..b"] {
            let bad = [bad.to_owned()];
            assert!(HostNames::new(&bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn origins() {
        let headers = |pairs: &[(&'static str, &'static str)]| {
            pairs
                .iter()
                .map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v)))
                .collect::<HeaderMap>()
        };
        let check = |pairs: &[(&'static str, &'static str)]| is_same_origin(&headers(pairs), None);
        assert!(check(&[("sec-fetch-site", "same-origin"), ("origin", "null")]));
        assert!(check(&[("host", "10.0.0.1:8443"), ("origin", "https://10.0.0.1:8443")]));
        for site in ["cross-site", "same-site", "none", ""] {
            assert!(!check(&[("sec-fetch-site", site), ("host", "a"), ("origin", "https://a")]), "{site}");
        }
        assert!(!check(&[("host", "10.0.0.1:8443")]));
        assert!(!check(&[("host", "10.0.0.1:8443"), ("origin", "null")]));
        assert!(!check(&[("host", "10.0.0.1:8443"), ("origin", "http://10.0.0.1:8443")]));
        assert!(!check(&[("host", "10.0.0.1:8443"), ("origin", "https://10.0.0.1:8444")]));
        assert!(is_same_origin(&headers(&[("origin", "https://[::1]:8443")]), Some("[::1]:8443")));
    }
}
