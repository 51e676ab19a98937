//! Addresses of mail, pages and hosts.

use super::words::{self, WORD};
use super::{Category, Span};

/// Addresses of mail, pages and hosts, in one walk over the bytes.
pub(super) fn find(text: &str) -> Vec<Span> {
    let mut out: Vec<Span> = Vec::new();
    let bytes = text.as_bytes();
    // Each has one of these in it: a text without them is passed over at the speed of memory.
    let mut at = 0;
    while let Some(mark) =
        bytes.get(at..).and_then(|rest| memchr::memchr3(b'@', b'.', b':', rest)).map(|found| at + found)
    {
        let breaks = |b: &u8| {
            b.is_ascii_whitespace()
                || matches!(b, b',' | b';' | b'<' | b'>' | b'"' | b'(' | b')' | b'[' | b']' | b'|' | b'^')
        };
        let start = bytes
            .get(at..mark)
            .and_then(|before| before.iter().rposition(breaks))
            .map_or(at, |found| at + found + 1);
        let end = bytes
            .get(mark..)
            .and_then(|rest| rest.iter().position(breaks))
            .map_or(text.len(), |found| mark + found);
        at = end.max(mark + 1);
        let piece = text.get(start..end).unwrap_or_default();
        let trimmed = piece.trim_end_matches(['.', ':', '!', '?', '\'', '-', '/']);
        let Some((category, rule)) = network(trimmed) else { continue };
        let (mut from, to) = (start, start + trimmed.len());
        // `jane . doe@example.org`, `jane at example.org`, `jane[at]example.org`
        let before = text.get(..start).unwrap_or_default();
        if category == Category::Url || trimmed.starts_with('@') || trimmed.starts_with('.') {
            for middle in [" at ", "[at]", "(at)", " [at] ", " (at) ", " @ ", " . "] {
                if let Some(head) =
                    before.strip_suffix(middle).or_else(|| before.strip_suffix(middle.trim_end()))
                {
                    let name = head
                        .bytes()
                        .rev()
                        .take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'+'))
                        .count();
                    let word = head.get(head.len() - name..).unwrap_or_default();
                    let plain = middle.trim() == "at" && words::kinds(word) & WORD != 0;
                    if name > 0 && !plain {
                        from = head.len() - name;
                        break;
                    }
                }
            }
        } else if category == Category::Email
            && let Some(head) = before.strip_suffix(" . ")
        {
            from = head.len() - head.bytes().rev().take_while(u8::is_ascii_alphanumeric).count();
        }
        out.push(Span { range: from..to, category, rule, confidence: 0.97 });
    }
    out
}

fn network(piece: &str) -> Option<(Category, &'static str)> {
    if piece.contains("://") || piece.starts_with("www.") {
        Some((Category::Url, "page"))
    } else if piece.split_once('@').is_some_and(|(_, host)| host.bytes().any(|b| b.is_ascii_alphanumeric())) {
        Some((if piece.starts_with('@') { Category::Url } else { Category::Email }, "mail"))
    } else if is_ipv4(piece) || is_colons(piece) {
        Some((Category::Ip, "host"))
    } else if is_domain(piece) {
        Some((Category::Url, "domain"))
    } else {
        None
    }
}

fn is_ipv4(piece: &str) -> bool {
    let host = piece.split(['/', ':']).next().unwrap_or_default();
    host.split('.').count() == 4
        && host.split('.').all(|part| matches!(part.len(), 1..=3) && part.bytes().all(|b| b.is_ascii_digit()))
}

/// An IPv6 or a hardware address.
fn is_colons(piece: &str) -> bool {
    let groups = piece.split(':').count();
    let hex = piece.split(':').all(|g| g.len() <= 4 && g.bytes().all(|b| b.is_ascii_hexdigit()));
    hex && (groups >= 4 || groups >= 3 && piece.contains("::"))
}

fn is_domain(piece: &str) -> bool {
    let host = piece.split('/').next().unwrap_or_default();
    let Some((name, top)) = host.rsplit_once('.') else { return false };
    name.len() > 1
        && !name.contains(['@', '\''])
        && name.bytes().any(|b| b.is_ascii_alphabetic())
        && (top.len() >= 2
            && piece.len() > host.len() + 1
            && top.bytes().all(|b| b.is_ascii_alphabetic())
            && name.len() > 3
            || matches!(
                top,
                "com"
                    | "org"
                    | "net"
                    | "edu"
                    | "gov"
                    | "io"
                    | "info"
                    | "uk"
                    | "de"
                    | "ca"
                    | "biz"
                    | "health"
                    | "mil"
                    | "eu"
                    | "fr"
                    | "au"
                    | "us"
                    | "co"
                    | "me"
                    | "tv"
                    | "nl"
                    | "se"
                    | "dk"
                    | "fi"
                    | "pl"
                    | "ch"
                    | "es"
                    | "ie"
                    | "jp"
                    | "nz"
                    | "app"
                    | "dev"
                    | "care"
                    | "med"
                    | "clinic"
                    | "hospital"
            ))
}
