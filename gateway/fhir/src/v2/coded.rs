//! Coded values: CWE and its elder relatives as CodeableConcept and Coding.

use super::leaves::Node;
use super::primitives::{is_oid, uri};
use super::run::Run;
use crate::json::{Json, Object};
use crate::maps::{Coded, Row};

/// Components of a CWE: code, display, system, version of its three codings.
const CODINGS: [[u16; 4]; 3] = [[1, 2, 3, 7], [4, 5, 6, 8], [10, 11, 12, 13]];
/// What the sender wrote instead of codes.
const ORIGINAL_TEXT: u16 = 9;
/// What the code systems of v2 tables begin with.
const V2_TABLE: &str = "http://terminology.hl7.org/CodeSystem/v2-";

impl<'m> Run<'_, 'm> {
    pub(crate) fn coded(
        &mut self,
        kind: Coded,
        table: Option<usize>,
        node: Node<'_, 'm>,
        official: bool,
    ) -> Option<Json> {
        if kind == Coded::Text {
            self.take(node, official, "text");
            return Some(Object::from([("text", Json::Text(node.joined()))]).into());
        }
        let maps = self.maps;
        let table = table.and_then(|table| maps.table(table));
        let mut codings = Vec::new();
        let mut text = None;
        for (n, components) in CODINGS.into_iter().enumerate() {
            let [code, display, system, version] = components.map(|c| node.child(c));
            if code.is_empty() && display.is_empty() {
                // A system or version without a code says nothing that a Coding can hold.
                continue;
            }
            if kind == Coded::Coding && n > 0 {
                break;
            }
            let at = codings.len();
            let mut coding = Object::new();
            let spelled = code.joined();
            let fits = is_code(&spelled);
            let row = table.and_then(|t| t.row(&spelled)).filter(|_| fits && !code.is_empty());
            let own = self.system(system.text(), table.and_then(|t| t.from.as_deref()), row.is_some());
            let own = own.map(|uri| match uri.strip_prefix(V2_TABLE) {
                Some(digits) => self.table_uri(digits, &spelled),
                None => uri,
            });
            let same = row.is_some_and(|row| {
                *row.code == *spelled && (row.system.is_none() || own.as_deref() == row.system.as_deref())
            });
            let at = if let Some(row) = row.filter(|_| !same) {
                codings.push(translated(row).into());
                if kind == Coded::Coding {
                    self.take(code, official, "code");
                    if display.is_empty() && system.is_empty() {
                        break;
                    }
                }
                at + 1
            } else {
                at
            };
            let place = |member: &str| format!("coding[{at}].{member}");
            if let Some(own) = &own {
                coding.set("system", Json::text(own.as_str()));
                self.take(system, official, &place("system"));
            }
            if !version.is_empty() {
                coding.set("version", Json::Text(version.joined()));
                self.take(version, official, &place("version"));
            }
            if !code.is_empty() && fits {
                self.take(code, official, &place("code"));
                coding.set("code", Json::Text(spelled));
            } else if !code.is_empty() && text.is_none() && kind == Coded::CodeableConcept {
                self.take(code, official, "text");
                text = Some(spelled);
            }
            if !display.is_empty() {
                self.take(display, official, &place("display"));
                coding.set("display", Json::Text(display.joined()));
            } else if let Some(display) = row.filter(|_| same).and_then(|row| row.display.as_deref()) {
                coding.set("display", Json::text(display));
            }
            if coding.get("code").is_some() || coding.get("display").is_some() {
                codings.push(coding.into());
            }
        }
        if kind == Coded::Coding {
            return codings.into_iter().next();
        }
        let original = node.child(ORIGINAL_TEXT);
        if !original.is_empty() && text.is_none() {
            self.take(original, official, "text");
            text = Some(original.joined());
        }
        let mut concept = Object::new();
        if !codings.is_empty() {
            concept.set("coding", Json::Array(codings));
        }
        if let Some(text) = text {
            concept.set("text", Json::Text(text));
        }
        (!concept.is_empty()).then(|| concept.into())
    }

    /// A coded value where R4 takes codes of one list only.
    pub(crate) fn closed(&mut self, table: usize, node: Node<'_, 'm>, official: bool) -> Option<Json> {
        let maps = self.maps;
        let code = [1, 4, 10].into_iter().find_map(|n| {
            let text = node.child(n).text()?;
            maps.table(table)?.row(text)
        });
        let mut concept = Object::new();
        if let Some(row) = code {
            concept.set("coding", Json::Array(vec![translated(row).into()]));
        }
        concept.set("text", Json::Text(node.joined()));
        for n in [1, 4] {
            self.untranslated(table, node.child(n), true);
        }
        self.take(node, official, "text");
        Some(concept.into())
    }

    /// The URI of a v2 table for a code: of a user-defined table R4 knows some codes only, and says so.
    pub(crate) fn table_uri(&self, digits: &str, code: &str) -> String {
        match self.maps.known.get(digits) {
            Some(codes) if !codes.contains(code) => format!("urn:wardgate:hl7v2:table:{digits}"),
            _ => format!("{V2_TABLE}{digits}"),
        }
    }

    /// The URI of a coding system that a message names; the table's own where it names none and the code is in it.
    fn system(&self, named: Option<&str>, of_table: Option<&str>, member: bool) -> Option<String> {
        match named {
            Some(name) => Some(self.system_uri(name)),
            None if member => of_table.map(str::to_owned),
            None => None,
        }
    }

    /// The URI of a coding system by its name in HL7 table 0396, or one of our own for a local name.
    pub(crate) fn system_uri(&self, name: &str) -> String {
        let upper = name.to_uppercase();
        if let Some(uri) = self.maps.systems.get(upper.as_str()) {
            return (**uri).to_owned();
        }
        if let Some(digits) = upper.strip_prefix("HL7")
            && digits.len() == 4
            && digits.bytes().all(|b| b.is_ascii_digit())
        {
            return format!("http://terminology.hl7.org/CodeSystem/v2-{digits}");
        }
        if is_oid(name) {
            return format!("urn:oid:{name}");
        }
        let scheme = name.starts_with("urn:") || name.starts_with("http://") || name.starts_with("https://");
        if scheme && uri(name).is_some() {
            return name.to_owned();
        }
        format!("urn:wardgate:coding-system:{}", percent(name))
    }
}

fn translated(row: &Row) -> Object {
    let mut coding = Object::new();
    if let Some(system) = &row.system {
        coding.set("system", Json::text(&**system));
    }
    coding.set("code", Json::text(&*row.code));
    if let Some(display) = &row.display {
        coding.set("display", Json::text(&**display));
    }
    coding
}

/// Whether a text is a `code`: no blanks but single ones inside.
pub(crate) fn is_code(text: &str) -> bool {
    !text.is_empty() && !text.contains("  ") && text.chars().all(|c| c == ' ' || !c.is_whitespace())
}

/// Percent-encodes what a URN does not hold.
pub(crate) fn percent(text: &str) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b':') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            for digit in [byte >> 4, byte & 15] {
                out.push(char::from(HEX.get(usize::from(digit)).copied().unwrap_or(b'0')));
            }
        }
    }
    out
}
