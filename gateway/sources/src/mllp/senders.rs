//! Whose messages a feed takes: sending application and facility, MSH-3 and MSH-4.
//!
//! These are what a sender says of itself. They keep a message that was sent to the wrong port out of the wrong feed;
//! against a hostile peer there are networks and certificates, see [`crate::access`]. Of a batch in one frame the
//! first message decides.

use std::borrow::Cow;

use hl7::Header;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A sender, by application, facility or both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sender {
    /// MSH-3.1, exactly; any where it is not written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub application: Option<String>,
    /// MSH-4.1, exactly; any where it is not written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub facility: Option<String>,
}

impl Sender {
    /// Whether it names anything.
    pub(super) fn is_named(&self) -> bool {
        let written = |name: &Option<String>| name.as_ref().is_none_or(|n| !n.is_empty());
        (self.application.is_some() || self.facility.is_some())
            && written(&self.application)
            && written(&self.facility)
    }

    fn is_of(&self, header: &Header) -> bool {
        let fits = |wanted: &Option<String>, field| {
            wanted
                .as_ref()
                .is_none_or(|w| header.text(&first_component(header, field)).as_ref() == w.as_bytes())
        };
        fits(&self.application, 3) && fits(&self.facility, 4)
    }
}

/// Whether the feed takes messages with such a header. Without a list it takes all.
pub(super) fn admits(senders: Option<&[Sender]>, header: &Header) -> bool {
    senders.is_none_or(|senders| senders.iter().any(|s| s.is_of(header)))
}

/// The name within an HD: its first component, without escapes.
fn first_component(header: &Header, field: usize) -> Cow<'_, [u8]> {
    let segment = header.segment();
    let raw = segment.field(field).and_then(|f| f.component(1)).map(|c| c.raw()).unwrap_or_default();
    hl7::unescape(raw, &header.delimiters())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn application_and_facility_are_compared_exactly() {
        let senders: Vec<Sender> = vec![
            Sender { application: Some("LAB".into()), facility: Some("WEST".into()) },
            Sender { application: Some("A&E".into()), facility: None },
            Sender { application: None, facility: Some("Köln".into()) },
        ];
        for (msh, taken) in [
            ("MSH|^~\\&|LAB|WEST|", true),
            ("MSH|^~\\&|LAB^1.2.3^ISO|WEST^4.5^ISO|", true),
            ("MSH#*~\\&#LAB*1.2.3*ISO#WEST#", true),
            ("MSH|^~\\&|LAB|EAST|", false),
            ("MSH|^~\\&|lab|WEST|", false),
            ("MSH|^~\\&|LAB2|WEST|", false),
            ("MSH|^~\\&||WEST|", false),
            ("MSH|^~\\&|", false),
            ("MSH|^~\\&|A\\T\\E|ANY|", true),
            ("MSH|^~\\&|ANY|Köln|", true),
            ("BHS|^~\\&|LAB|WEST|", true),
        ] {
            let header = Header::read(msh.as_bytes(), true).unwrap();
            assert_eq!(admits(Some(&senders), &header), taken, "{msh}");
            assert!(admits(None, &header));
        }
        // Their names are text, whatever character set they come in.
        let latin = b"MSH|^~\\&|ANY|K\xf6ln|";
        for (charset, taken) in [(None, false), (hl7::Charset::read(b"8859/1"), true)] {
            assert_eq!(admits(Some(&senders), &Header::read_in(latin, true, charset).unwrap()), taken);
        }
    }
}
