//! The XML audit message of DICOM PS3.15 section A.5.1, which IHE's ATNA profile sends.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Exported, codes, name};

/// Kind of the actions among the codes of the message.
const ACTION_SYSTEM: &str = "urn:wardgate:audit:action";

/// One message, on one line, without a declaration.
pub fn audit_message(exported: &Exported<'_>) -> String {
    let Exported { gateway, index, leaf, entry } = exported;
    let event = &entry.event;
    let codes = codes(event.action);
    let action = name(event.action);
    let mut xml = String::with_capacity(1024);
    xml.push_str("<AuditMessage><EventIdentification");
    attribute(&mut xml, "EventActionCode", &codes.action.to_string());
    attribute(&mut xml, "EventDateTime", &event.at.to_string());
    attribute(&mut xml, "EventOutcomeIndicator", &codes.outcome.to_string());
    xml.push('>');
    code(&mut xml, "EventID", codes.event.code, "DCM", codes.event.meaning);
    if let Some(kind) = codes.kind {
        code(&mut xml, "EventTypeCode", kind.code, "DCM", kind.meaning);
    }
    code(&mut xml, "EventTypeCode", &action, ACTION_SYSTEM, &action);
    if codes.outcome != 0 {
        xml.push_str("<EventOutcomeDescription>");
        escape(&mut xml, &event.detail);
        xml.push_str("</EventOutcomeDescription>");
    }
    xml.push_str("</EventIdentification><ActiveParticipant");
    attribute(&mut xml, "UserID", if event.actor.is_empty() { "unknown" } else { &event.actor });
    attribute(&mut xml, "UserIsRequestor", "true");
    xml.push_str("/><AuditSourceIdentification");
    attribute(&mut xml, "AuditSourceID", gateway.as_str());
    xml.push_str("><AuditSourceTypeCode csd-code=\"4\"/></AuditSourceIdentification>");
    xml.push_str("<ParticipantObjectIdentification");
    attribute(&mut xml, "ParticipantObjectID", if event.subject.is_empty() { "-" } else { &event.subject });
    attribute(&mut xml, "ParticipantObjectTypeCode", if codes.is_record { "4" } else { "2" });
    xml.push('>');
    code(&mut xml, "ParticipantObjectIDTypeCode", "subject", "urn:wardgate:audit", "Subject");
    xml.push_str("<ParticipantObjectName>");
    escape(&mut xml, &event.subject);
    xml.push_str("</ParticipantObjectName>");
    for (kind, value) in [
        ("detail", event.detail.clone()),
        ("leaf-index", index.to_string()),
        ("leaf-sha256", leaf.to_string()),
    ] {
        xml.push_str("<ParticipantObjectDetail");
        attribute(&mut xml, "type", kind);
        attribute(&mut xml, "value", &STANDARD.encode(value));
        xml.push_str("/>");
    }
    xml.push_str("</ParticipantObjectIdentification></AuditMessage>");
    xml
}

fn code(xml: &mut String, element: &str, code: &str, system: &str, meaning: &str) {
    xml.push('<');
    xml.push_str(element);
    attribute(xml, "csd-code", code);
    attribute(xml, "codeSystemName", system);
    attribute(xml, "originalText", meaning);
    xml.push_str("/>");
}

fn attribute(xml: &mut String, name: &str, value: &str) {
    xml.push(' ');
    xml.push_str(name);
    xml.push_str("=\"");
    escape(xml, value);
    xml.push('"');
}

/// XML 1.0 has no control characters, not even escaped: they become a sign that says so.
fn escape(xml: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => xml.push_str("&amp;"),
            '<' => xml.push_str("&lt;"),
            '>' => xml.push_str("&gt;"),
            '"' => xml.push_str("&quot;"),
            '\t' | '\n' | '\r' => xml.push(' '),
            c if c.is_control() || matches!(c, '\u{FFFE}' | '\u{FFFF}') => xml.push('\u{FFFD}'),
            c => xml.push(c),
        }
    }
}
