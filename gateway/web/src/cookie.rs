//! The two cookies. Both carry the `__Host-` prefix (RFC 6265bis section 4.1.3.2): a browser takes them only
//! over HTTPS, from this host, for all of it, and no neighbour in the domain can plant one.

use axum::http::HeaderMap;
use axum::http::header::{self, HeaderValue};

use crate::session::Token;

/// Holds the session's token.
pub(crate) const SESSION: &str = "__Host-wardgate-session";
/// Holds the token that the forms before a sign-in repeat.
pub(crate) const FORM: &str = "__Host-wardgate-form";

const FLAGS: &str = "Path=/; Secure; HttpOnly; SameSite=Strict";

/// The token in a cookie. A name that comes twice is not trusted.
pub(crate) fn read(headers: &HeaderMap, name: &str) -> Option<Token> {
    let mut found = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(key, _)| *key == name)
        .map(|(_, value)| value);
    match (found.next(), found.next()) {
        (Some(value), None) => Token::parse(value),
        _ => None,
    }
}

/// Sets a cookie until the browser closes.
pub(crate) fn set(name: &str, token: &Token) -> Option<HeaderValue> {
    header_value(&format!("{name}={}; {FLAGS}", token.as_str()))
}

/// Takes a cookie back.
pub(crate) fn clear(name: &str) -> Option<HeaderValue> {
    header_value(&format!("{name}=; {FLAGS}; Max-Age=0"))
}

fn header_value(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_only_what_is_unambiguous() {
        let token = Token::random().unwrap();
        let headers = |lines: &[String]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::COOKIE, line.parse().unwrap());
            }
            headers
        };
        let pair = format!("{SESSION}={}", token.as_str());
        assert_eq!(read(&headers(&[format!("a=b; {pair}; c=d")]), SESSION).as_ref(), Some(&token));
        assert_eq!(read(&headers(&["a=b".to_owned(), pair.clone()]), SESSION).as_ref(), Some(&token));
        assert_eq!(read(&headers(&[format!("{pair}; {pair}")]), SESSION), None);
        assert_eq!(read(&headers(&[format!("x{pair}")]), SESSION), None);
        assert_eq!(read(&headers(&[format!("{SESSION}=short")]), SESSION), None);
        assert_eq!(read(&headers(&[]), SESSION), None);
    }
}
