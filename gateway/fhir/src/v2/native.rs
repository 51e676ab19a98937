//! What maps cannot say in lines.

use super::coded::{is_code, percent};
use super::leaves::Node;
use super::primitives::{base64, decimal, is_oid, uri};
use super::run::Run;
use crate::json::{Json, Name, Object};
use crate::maps::Native;

/// The levels of a place, outer first: component, code and display of `location-physical-type`.
type Levels = [(u16, &'static str, &'static str); 6];
const PL: Levels = [
    (4, "si", "Site"),
    (7, "bu", "Building"),
    (8, "lvl", "Level"),
    (1, "wa", "Ward"),
    (2, "ro", "Room"),
    (3, "bd", "Bed"),
];
const NDL: Levels = [
    (7, "si", "Site"),
    (10, "bu", "Building"),
    (11, "lvl", "Level"),
    (4, "wa", "Ward"),
    (5, "ro", "Room"),
    (6, "bd", "Bed"),
];

/// The system of UCUM units.
pub(crate) const UCUM: &str = "http://unitsofmeasure.org";

impl<'m> Run<'_, 'm> {
    /// A value made by code.
    pub(crate) fn native(&mut self, native: Native, node: Node<'_, 'm>, official: bool) -> Option<Json> {
        match native {
            Native::Locations => self.locations(node, &PL, official),
            Native::LocationsOfNdl => self.locations(node, &NDL, official),
            Native::TelephoneNumber => self.telephone(node, official),
            Native::AuthorityUri => self.authority(node, 2, official),
            Native::EntityUri => self.authority(node, 3, official),
            Native::CodingSystem => {
                let uri = self.system_uri(node.text()?);
                self.take(node.first_leaf(), official, "");
                Some(Json::Text(uri))
            }
            Native::Quantity => self.quantity(node, official),
            Native::Unit => self.unit(node, official).map(Json::from),
            Native::MessageEvent => self.event(node, official),
            Native::Attachment => self.attachment(node, official).map(Json::from),
            Native::ObservationValue | Native::DocumentContent | Native::SetId => None,
        }
    }

    /// What takes a whole field and places it by itself.
    pub(crate) fn direct(
        &mut self,
        native: Native,
        field: Node<'_, 'm>,
        object: &mut Object,
        official: bool,
    ) {
        match native {
            Native::ObservationValue => self.observation_value(field, object, official),
            Native::DocumentContent => self.document_content(field, object, official),
            Native::SetId => self.set_id(field, official),
            _ => {}
        }
    }

    /// Names the segment under way as something that the resources were made from.
    fn set_id(&mut self, field: Node<'_, 'm>, official: bool) {
        let Some(cut) = self.cuts.get(self.at) else { return };
        self.segments_named.push((cut.name.to_string(), field.joined()));
        let path = format!("entity[{}].what.identifier.value", self.segments_named.len());
        self.take_absolute(field, official, &format!("Provenance.{path}"));
    }

    /// HD or the last components of EI: the universal id as a URI, by its type.
    fn authority(&mut self, node: Node<'_, 'm>, at: u16, official: bool) -> Option<Json> {
        let (id, kind) = (node.child(at).first_leaf(), node.child(at + 1));
        let text = id.text()?;
        let value = match kind.text().unwrap_or_default().to_ascii_uppercase().as_str() {
            "ISO" | "OID" if is_oid(text) => format!("urn:oid:{text}"),
            "UUID" | "GUID" if is_uuid(text) => format!("urn:uuid:{}", text.to_ascii_lowercase()),
            "URI" | "URL" => uri(text)?.to_owned(),
            "DNS" => format!("urn:dns:{}", percent(text)),
            _ if is_oid(text) => format!("urn:oid:{text}"),
            _ if text.starts_with("urn:") || text.starts_with("http") => uri(text)?.to_owned(),
            _ => format!("urn:wardgate:authority:{}", percent(text)),
        };
        self.take(id, official, "");
        Some(Json::Text(value))
    }

    /// CQ, or NM alone.
    fn quantity(&mut self, node: Node<'_, 'm>, official: bool) -> Option<Json> {
        let number = node.child(1).first_leaf();
        let value = decimal(number.text()?)?;
        self.take(number, official, "value");
        let mut quantity = Object::from([("value", Json::Number(value))]);
        let unit = node.child(2);
        if !unit.is_empty()
            && let Some(unit) = self.unit(unit, official)
        {
            for (name, value) in unit.into_members() {
                quantity.set(name, value);
            }
        }
        Some(quantity.into())
    }

    /// A unit as CWE: code and system where both are there, the text for people anyway.
    pub(crate) fn unit(&mut self, node: Node<'_, 'm>, official: bool) -> Option<Object> {
        let [code, display, system] = [1, 2, 3].map(|n| node.child(n));
        let mut unit = Object::new();
        let spelled = code.joined();
        if !display.is_empty() {
            self.take(display, official, "unit");
            unit.set("unit", Json::Text(display.joined()));
        } else if !code.is_empty() {
            self.take(code, official, "unit");
            unit.set("unit", Json::text(spelled.as_str()));
        }
        if !code.is_empty() && is_code(&spelled) {
            let named = system.text().map(|name| self.system_uri(name));
            let ucum = super::observation::is_ucum(&spelled);
            let named = match named {
                Some(uri) if uri == UCUM && !ucum => None,
                Some(uri) => Some(uri),
                None => None,
            };
            if let Some(uri) = named {
                self.take(system, official, "system");
                self.take(code, official, "code");
                unit.set("system", Json::Text(uri));
                unit.set("code", Json::Text(spelled));
            }
        }
        (!unit.is_empty()).then_some(unit)
    }

    /// MSH-9: the event, with the whole of it for people.
    fn event(&mut self, node: Node<'_, 'm>, official: bool) -> Option<Json> {
        let (kind, trigger) = (node.child(1), node.child(2));
        let whole = node.joined();
        let (table, code) = match trigger.text() {
            Some(trigger) => ("0003", trigger),
            None => ("0076", kind.text()?),
        };
        if !is_code(code) {
            return None;
        }
        let mut coding =
            Object::from([("system", Json::Text(self.table_uri(table, code))), ("code", Json::text(code))]);
        self.take(if trigger.is_empty() { kind } else { trigger }, official, "code");
        self.take(node, official, "display");
        coding.set("display", Json::Text(whole));
        Some(coding.into())
    }

    /// XTN as text: the number as one wrote it, put together from its parts, or an address of electronic mail.
    fn telephone(&mut self, node: Node<'_, 'm>, official: bool) -> Option<Json> {
        let [old, mail, country, area, local, extension, any, other] =
            [1, 4, 5, 6, 7, 8, 9, 12].map(|n| node.child(n));
        let kind = node.child(3).text().unwrap_or_default().to_ascii_uppercase();
        let is_mail = matches!(kind.as_str(), "INTERNET" | "X.400");
        if !mail.is_empty() && (is_mail || (other.is_empty() && local.is_empty() && old.is_empty())) {
            self.take(mail, official, "");
            return mail.text().map(Json::text);
        }
        if !other.is_empty() {
            self.take(other, official, "");
            return Some(Json::Text(other.joined()));
        }
        if !local.is_empty() {
            let mut number = String::new();
            for (part, before) in [(country, "+"), (area, ""), (local, ""), (extension, "X"), (any, "")] {
                if let Some(text) = part.text() {
                    if !number.is_empty() {
                        number.push(' ');
                    }
                    if !text.starts_with(before) || before.is_empty() {
                        number.push_str(before);
                    }
                    number.push_str(text);
                    self.take(part, official, "");
                }
            }
            if let Some(text) = old.text()
                && digits(text) == digits(&number)
            {
                self.take(old, official, "");
            }
            return Some(Json::Text(number));
        }
        self.take(old, official, "");
        old.text().map(Json::text)
    }

    /// PL: a Location for each level that is named, the inner ones part of the outer; the reference is to the inmost.
    fn locations(&mut self, node: Node<'_, 'm>, levels: &Levels, official: bool) -> Option<Json> {
        let mut chain = String::new();
        let mut outer: Option<Json> = None;
        let inmost = levels.iter().rev().find(|(c, ..)| !node.child(*c).is_empty()).map_or(0, |(c, ..)| *c);
        let kind = Name::from("Location");
        for (component, code, display) in *levels {
            let part = node.child(component);
            let name = part.child(1);
            let Some(text) = name.text().or_else(|| part.text()) else { continue };
            let base = self.pending.len();
            let mut identifiers = vec![Object::from([("value", Json::text(text))]).into()];
            self.take(
                if name.is_empty() { part.first_leaf() } else { name },
                official,
                "identifier[0].value",
            );
            if !name.is_empty()
                && let Some(id) = self.authority(part, 2, official)
            {
                let mut identifier = Object::from([("value", id)]);
                let kind = part.child(3).first_leaf();
                if let Some(code) = kind.text().filter(|code| is_code(code)) {
                    let coding = Object::from([
                        ("system", Json::Text(self.table_uri("0301", code))),
                        ("code", Json::text(code)),
                    ]);
                    identifier
                        .set("type", Object::from([("coding", Json::Array(vec![coding.into()]))]).into());
                    self.take(kind, official, "identifier[1].type.coding[0].code");
                }
                identifiers.push(identifier.into());
            }
            let coding = Object::from([
                ("system", Json::text("http://terminology.hl7.org/CodeSystem/location-physical-type")),
                ("code", Json::text(code)),
                ("display", Json::text(display)),
            ]);
            let mut location = Object::from([
                ("identifier", Json::Array(identifiers)),
                ("name", Json::text(text)),
                ("mode", Json::text("instance")),
                ("physicalType", Object::from([("coding", Json::Array(vec![coding.into()]))]).into()),
            ]);
            if let Some(outer) = outer.take() {
                location.set("partOf", outer);
            }
            if component == inmost && levels == &PL {
                self.location_details(node, &mut location, official);
            }
            chain.push_str(&format!("{code}={}/", part.joined()));
            let key = Some(format!("{chain}|{}", self.scope));
            outer = self.intern(&kind, key, location, base);
        }
        if outer.is_none() && levels == &PL {
            let description = node.child(9);
            let text = description.text()?;
            let base = self.pending.len();
            let mut location = Object::from([("mode", Json::text("instance"))]);
            let key = Some(format!("description={text}|{}", self.scope));
            self.location_details(node, &mut location, official);
            outer = self.intern(&kind, key, location, base);
        }
        outer
    }

    /// PL.5, .6, .9, .10, .11: what is said of the inmost place.
    fn location_details(&mut self, node: Node<'_, 'm>, location: &mut Object, official: bool) {
        let [kind, description, id] = [6, 9, 10].map(|n| node.child(n));
        if let Some(text) = description.text() {
            self.take(description, official, "description");
            let text = if description.leaves.len() == 1 { text.to_owned() } else { description.joined() };
            location.set("description", Json::Text(text));
        }
        if let Some(text) = kind.text() {
            self.take(kind.first_leaf(), false, "type[0].text");
            let concept = Object::from([("text", Json::text(text))]);
            location.set("type", Json::Array(vec![concept.into()]));
        }
        if let Some(text) = id.child(1).text() {
            let mut identifier = Object::from([("value", Json::text(text))]);
            self.take(id.child(1), official, "identifier[1].value");
            let authority = Node { leaves: id.leaves, level: id.level };
            // EI.2 to .4 are an HD one place further on.
            if let Some(system) = authority.child(3).text().filter(|t| is_oid(t)) {
                identifier.set("system", Json::Text(format!("urn:oid:{system}")));
                self.take(authority.child(3), official, "identifier[1].system");
                self.take(authority.child(4), official, "identifier[1].system");
            }
            if let Some(list) = location.array(&Name::from("identifier")) {
                list.push(identifier.into());
            }
        }
    }

    /// ED: `source ^ type ^ subtype ^ encoding ^ data`; RP: `pointer ^ application ^ type ^ subtype`.
    pub(crate) fn attachment(&mut self, node: Node<'_, 'm>, official: bool) -> Option<Object> {
        let [first, kind, subtype, encoding, data] = [1, 2, 3, 4, 5].map(|n| node.child(n));
        let mut attachment = Object::new();
        if data.is_empty() {
            let pointer = first.first_leaf();
            let text = uri(pointer.text()?)?;
            self.take(pointer, official, "url");
            if let (Some(main), Some(sub)) = (subtype.text(), encoding.text())
                && is_code(main)
                && is_code(sub)
            {
                self.take(subtype, official, "contentType");
                self.take(encoding, official, "contentType");
                attachment.set("contentType", Json::Text(media_type(main, sub)));
            }
            attachment.set("url", Json::text(text));
            return Some(attachment);
        }
        let text = data.joined();
        let bytes = match encoding.text().unwrap_or_default().to_ascii_uppercase().as_str() {
            "BASE64" => clean_base64(&text)?,
            "HEX" => base64(&hex(&text)?),
            _ => base64(text.as_bytes()),
        };
        let (main, sub) = (kind.text().unwrap_or_default(), subtype.text().unwrap_or_default());
        if !main.is_empty() && is_code(main) {
            self.take(kind, official, "contentType");
            if is_code(sub) {
                self.take(subtype, official, "contentType");
            }
            attachment.set("contentType", Json::Text(media_type(main, sub)));
        } else if is_code(sub) {
            self.take(subtype, official, "contentType");
            attachment.set("contentType", Json::Text(media_type("application", sub)));
        } else {
            attachment.set("contentType", Json::text("application/octet-stream"));
        }
        self.take(data, official, "data");
        if !encoding.is_empty() {
            self.take(encoding, official, "data");
        }
        attachment.set("data", Json::Text(bytes));
        Some(attachment)
    }
}

/// Table 0191 and 0291 as a media type, in lower case: `AP` is application, `TEXT` text.
fn media_type(main: &str, sub: &str) -> String {
    let main = match main.to_ascii_lowercase().as_str() {
        "ap" => "application".to_owned(),
        "au" => "audio".to_owned(),
        "im" => "image".to_owned(),
        "text" | "tx" | "ft" => "text".to_owned(),
        "multipart" => "multipart".to_owned(),
        other => other.to_owned(),
    };
    let sub = sub.to_ascii_lowercase();
    if sub.is_empty() || main.contains('/') { main } else { format!("{main}/{sub}") }
}

fn digits(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(n, b)| match n {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}

/// Base64 without blanks and line ends; `None` where it is none.
fn clean_base64(text: &str) -> Option<String> {
    let mut out: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    // Line ends that the sender wrote as escapes.
    for mark in ["\\.br\\", "\\X0D\\", "\\X0A\\", "\\X0D0A\\"] {
        out = out.replace(mark, "");
    }
    while out.ends_with('=') {
        out.pop();
    }
    let fits = out.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'));
    if !fits || out.len() % 4 == 1 || out.is_empty() {
        return None;
    }
    while !out.len().is_multiple_of(4) {
        out.push('=');
    }
    Some(out)
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok()))
        .collect::<Option<_>>()?;
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    Some(digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| (byte << 4) | digit)).collect())
}
