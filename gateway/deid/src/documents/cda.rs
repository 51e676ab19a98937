//! The text of a CDA document (HL7 Clinical Document Architecture, release 2): titles and texts of its sections, in order. What
//! its header and its entries say of people becomes known to the text engine; they themselves do not leave.

use quick_xml::events::BytesStart;

use super::xml::{self, Part, Refused};
use super::{DOCUMENT_TEXT_BYTES_MAX, Declared, Unread, base64, nested};
use crate::text::Known;

/// Elements between which a word does not end.
const INLINE: [&[u8]; 6] = [b"content", b"sub", b"sup", b"linkHtml", b"footnoteRef", b"delete"];
/// Longest part of a name, address or number, in bytes. A longer one is none.
const FACT_BYTES_MAX: usize = 200;

/// What is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum In {
    /// Nothing of it is text.
    Other,
    /// A title or a text of a section.
    Section,
    /// The text of a `nonXMLBody`.
    Body,
    /// What people are called and where they live.
    Family,
    Given,
    Place,
}

#[derive(Default)]
struct Cda {
    out: String,
    /// Of the elements that are open: their names and what they are.
    open: Vec<(Vec<u8>, In)>,
    /// Of the name, or part of an address, that is being read.
    fact: String,
    family: String,
    given: Vec<String>,
    facts: Vec<Fact>,
    /// The document in the body, with what it says that it is.
    body: Option<(String, String, bool)>,
}

/// What a document says of people.
enum Fact {
    Person(String, Vec<String>),
    Number(String),
    Place(String),
    Telecom(String),
    Birth(String),
}

/// Reads a document.
///
/// # Errors
/// [`Unread`]: XML that is no CDA, none at all, or beyond a limit.
pub(crate) fn text(text: &str, known: &mut Known, year: i16, deep: usize) -> Result<String, Unread> {
    let mut cda = Cda::default();
    xml::read(text, |part| cda.part(part)).map_err(|Refused| Unread::Malformed)?;
    for fact in std::mem::take(&mut cda.facts) {
        match fact {
            Fact::Person(family, given) => {
                let given: Vec<&str> = given.iter().map(String::as_str).collect();
                known.person(&family, &given);
                given.iter().for_each(|name| known.name(name));
            }
            Fact::Number(number) => known.number(&number),
            Fact::Place(place) => known.place(&place),
            Fact::Telecom(telecom) => known.telecom(&telecom),
            Fact::Birth(date) => known.birth_date(&date, year),
        }
    }
    let Some((declared, data, is_base64)) = cda.body else { return Ok(cda.out) };
    let inner = if is_base64 { base64(data.as_bytes())? } else { data.into_bytes() };
    let inner = nested(&inner, Declared(&declared), known, year, deep + 1)?;
    Ok(if cda.out.is_empty() { inner } else { cda.out + "\n" + &inner })
}

impl Cda {
    fn part(&mut self, part: Part<'_>) -> Result<(), Refused> {
        match part {
            Part::Start(start) => self.start(&start),
            Part::End => {
                self.end();
                Ok(())
            }
            Part::Text(raw) | Part::Data(raw) => self.text(std::str::from_utf8(raw).map_err(|_| Refused)?),
            Part::Reference(c, _) => self.text(c.encode_utf8(&mut [0; 4])),
        }
    }

    fn start(&mut self, start: &BytesStart<'_>) -> Result<(), Refused> {
        let name = xml::local(start);
        if self.open.is_empty() && name != b"ClinicalDocument" {
            return Err(Refused);
        }
        let outer = self.open.last().map_or(In::Other, |(_, what)| *what);
        let parent = self.open.last().map_or(&b""[..], |(name, _)| name);
        let what = match (outer, name) {
            (In::Section | In::Body, _) => outer,
            (_, b"title" | b"text") if parent == b"section" => In::Section,
            (_, b"text") if parent == b"nonXMLBody" => In::Body,
            (_, b"family") => In::Family,
            (_, b"given") => In::Given,
            (_, b"streetAddressLine" | b"city" | b"streetName" | b"additionalLocator") => In::Place,
            // A name without parts.
            (_, b"name")
                if matches!(
                    parent,
                    b"patient" | b"assignedPerson" | b"relatedPerson" | b"guardianPerson"
                ) =>
            {
                In::Given
            }
            _ => In::Other,
        };
        if what == In::Body && outer != In::Body {
            if self.body.is_some() {
                return Err(Refused);
            }
            let declared = attribute(start, b"mediaType")?.unwrap_or_default();
            let is_base64 = attribute(start, b"representation")?.is_some_and(|r| r == "B64");
            self.body = Some((declared, String::new(), is_base64));
        }
        if outer == In::Section && !INLINE.contains(&name) {
            self.line(name);
        }
        let number = match name {
            b"id" | b"setId" => attribute(start, b"extension")?.map(Fact::Number),
            b"telecom" => attribute(start, b"value")?.map(|value| {
                Fact::Telecom(
                    value.strip_prefix("tel:").or(value.strip_prefix("mailto:")).unwrap_or(&value).to_owned(),
                )
            }),
            b"birthTime" => attribute(start, b"value")?.map(Fact::Birth),
            _ => None,
        };
        self.facts.extend(number.filter(|_| !matches!(outer, In::Section | In::Body)));
        if matches!(what, In::Family | In::Given | In::Place) {
            self.fact.clear();
        }
        self.open.push((name.to_vec(), what));
        Ok(())
    }

    fn end(&mut self) {
        let Some((name, what)) = self.open.pop() else { return };
        let outer = self.open.last().map_or(In::Other, |(_, what)| *what);
        match what {
            In::Section if outer != In::Section => self.out.push('\n'),
            In::Section if !INLINE.contains(&name.as_slice()) => self.line(&name),
            In::Family => self.family = std::mem::take(&mut self.fact),
            In::Given if name == b"name" => {
                // Its parts were read, or it has none.
                let whole = std::mem::take(&mut self.fact);
                self.given.extend(whole.split_whitespace().map(str::to_owned));
            }
            In::Given => self.given.push(std::mem::take(&mut self.fact)),
            In::Place => self.facts.push(Fact::Place(std::mem::take(&mut self.fact))),
            In::Section | In::Body | In::Other => {}
        }
        if name == b"name" {
            let (family, given) = (std::mem::take(&mut self.family), std::mem::take(&mut self.given));
            if !family.is_empty() || !given.is_empty() {
                self.facts.push(Fact::Person(family, given));
            }
        }
    }

    /// A line of the text ends here, or a cell of a table.
    fn line(&mut self, name: &[u8]) {
        if matches!(name, b"td" | b"th") {
            self.out.push('\t');
        } else if !self.out.ends_with('\n') && !self.out.is_empty() {
            self.out.push('\n');
        }
    }

    fn text(&mut self, text: &str) -> Result<(), Refused> {
        let into = match self.open.last().map_or(In::Other, |(_, what)| *what) {
            In::Other => return Ok(()),
            In::Section => &mut self.out,
            In::Body => match &mut self.body {
                Some((_, data, _)) => {
                    data.push_str(text);
                    return Ok(());
                }
                None => return Err(Refused),
            },
            In::Family | In::Given | In::Place => {
                if self.fact.len() + text.len() <= FACT_BYTES_MAX {
                    self.fact.push_str(text);
                }
                return Ok(());
            }
        };
        into.push_str(text);
        if into.len() > DOCUMENT_TEXT_BYTES_MAX { Err(Refused) } else { Ok(()) }
    }
}

/// The value of an attribute without its references.
fn attribute(start: &BytesStart<'_>, name: &[u8]) -> Result<Option<String>, Refused> {
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|_| Refused)?;
        if attribute.key.into_inner() == name {
            return attribute.unescape_value().map(|value| Some(value.into_owned())).map_err(|_| Refused);
        }
    }
    Ok(None)
}
