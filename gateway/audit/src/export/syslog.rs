//! Syslog messages of RFC 5424, framed for TLS as RFC 5425 wants it.
//!
//! `<109>1 2026-11-26T04:05:06.000000Z ward-3 wardgate - signed-in [audit@32473 index="41" leaf="…"] …`: facility 13
//! (log audit), and a severity that follows the outcome. 32473 is the enterprise number kept for documentation
//! (RFC 5612); Wardgate has none.

use super::{Exported, audit_message, codes, json_line, name};

/// Facility 13, log audit.
const FACILITY: u8 = 13;
/// Longest MSGID (RFC 5424 section 6).
const MSGID_CHARS_MAX: usize = 32;
/// What ATNA asks for as MSGID where the message is its XML (IHE ITI TF-2, 3.20.4.1.2).
const ATNA_MSGID: &str = "IHE+RFC-3881";

/// What stands in the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Body {
    /// The JSON line of an export.
    #[default]
    Json,
    /// The XML of ATNA.
    Atna,
}

/// One message, with its length before it.
pub fn framed(exported: &Exported<'_>, body: Body) -> Vec<u8> {
    let message = message(exported, body);
    let mut frame = format!("{} ", message.len()).into_bytes();
    frame.extend_from_slice(message.as_bytes());
    frame
}

/// One message.
pub fn message(exported: &Exported<'_>, body: Body) -> String {
    let Exported { gateway, index, leaf, entry } = exported;
    let event = &entry.event;
    // Error, warning, notice.
    let severity = match codes(event.action).outcome {
        8.. => 3,
        4.. => 4,
        _ => 5,
    };
    let priority = FACILITY * 8 + severity;
    let mut id = name(event.action);
    id.truncate(MSGID_CHARS_MAX);
    let (id, text) = match body {
        Body::Json => (id.as_str(), json_line(exported, None)),
        Body::Atna => (ATNA_MSGID, audit_message(exported)),
    };
    // A byte order mark says that the text is UTF-8.
    format!(
        "<{priority}>1 {} {gateway} wardgate - {id} [audit@32473 index=\"{index}\" leaf=\"{leaf}\"] \u{FEFF}{text}",
        event.at
    )
}
