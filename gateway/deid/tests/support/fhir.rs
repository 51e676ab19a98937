//! Resources that hold a canary wherever R4 lets one stand, and wherever it does not.

use deid::Clinical;
use fhir::definitions::{Content, Type, definitions};
use fhir::validate::Primitive;
use serde_json::Value;

use super::{policy, release};

/// How deep elements are nested.
const DEEP_MAX: usize = 4;
/// Base64 of `ZQCANARY`.
pub(crate) const CANARY_BASE64: &str = "WlFDQU5BUlk";

/// A resource of a type, with every element that its definition has and some that it has not.
pub(crate) fn resource(name: &str) -> String {
    let (_, kind) = definitions().resource(name).unwrap();
    let mut made = Maker::default();
    made.out.push_str(&format!("{{\"resourceType\":\"{name}\",\"id\":\"{}\"", made.canary()));
    made.members(kind, 0);
    made.out.push_str(",\"zqcanaryElement\":\"ZQCANARY-undefined\",\"ZQCANARY\":1}");
    made.out
}

#[derive(Default)]
struct Maker {
    out: String,
    count: std::cell::Cell<u64>,
}

impl Maker {
    fn canary(&self) -> String {
        self.count.set(self.count.get() + 1);
        format!("ZQCANARY-{}", self.count.get())
    }

    fn members(&mut self, kind: &Type, deep: usize) {
        let names: Vec<String> = kind.names().map(str::to_owned).collect();
        let mut choices = std::collections::HashMap::new();
        for name in names {
            let property = *kind.property(&name).unwrap();
            let element = kind.elements[property.element];
            if kind.resource && name == "id" {
                continue;
            }
            // Of a choice the first, and by turns another.
            let turn = choices.entry(property.element).or_insert(0);
            *turn += 1;
            if element.choice && *turn != 1 + (deep + kind.name.len()) % 3 {
                continue;
            }
            self.out.push_str(&format!(",\"{name}\":"));
            self.out.push_str(if element.many { "[" } else { "" });
            self.value(property.content, deep);
            self.out.push_str(if element.many { "]" } else { "" });
            if let Content::Primitive(_) = property.content {
                let canary = self.canary();
                let beside = format!(
                    "{{\"id\":\"{canary}\",\"extension\":[{{\"url\":\"http://{canary}.example/x\",\"valueString\":\"{canary}\"}}]}}"
                );
                let beside = if element.many { format!("[{beside}]") } else { beside };
                self.out.push_str(&format!(",\"_{name}\":{beside}"));
            }
        }
    }

    fn value(&mut self, content: Content, deep: usize) {
        let canary = self.canary();
        match content {
            Content::Primitive(primitive) => {
                let value = match primitive {
                    Primitive::Boolean => "true".to_owned(),
                    // A telephone number in a number's place.
                    Primitive::Integer | Primitive::PositiveInt | Primitive::UnsignedInt => "5553125567".to_owned(),
                    Primitive::Decimal => "5553125567.25".to_owned(),
                    Primitive::Date => "\"1987-03-14\"".to_owned(),
                    Primitive::DateTime | Primitive::Instant => "\"1987-03-14T15:09:26.535+01:00\"".to_owned(),
                    Primitive::Time => "\"15:09:26\"".to_owned(),
                    Primitive::Base64Binary => format!("\"{CANARY_BASE64}\""),
                    Primitive::Uri | Primitive::Url | Primitive::Canonical => {
                        format!("\"http://hl7.org/fhir/{canary}\"")
                    }
                    Primitive::Xhtml => {
                        format!("\"<div xmlns=\\\"http://www.w3.org/1999/xhtml\\\">{canary}</div>\"")
                    }
                    _ => format!("\"{canary}\""),
                };
                self.out.push_str(&value);
            }
            Content::Reference(..) => {
                let canary = self.canary();
                self.out.push_str(&format!(
                    "{{\"reference\":\"Patient/{canary}\",\"type\":\"{canary}\",\"identifier\":{{\"value\":\"{canary}\"}},\"display\":\"{canary}\"}}"
                ));
            }
            Content::Resource => self.out.push_str(&format!(
                "{{\"resourceType\":\"Patient\",\"id\":\"{canary}\",\"name\":[{{\"family\":\"{canary}\"}}],\"telecom\":[{{\"value\":\"{canary}\"}}]}}"
            )),
            Content::Complex(id) => {
                let kind = definitions().get(id).unwrap();
                if kind.name == "Extension" {
                    let race = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-race";
                    self.out.push_str(&format!(
                        "{{\"url\":\"{race}\",\"valueString\":\"{canary}\",\"extension\":[{{\"url\":\"ombCategory\",\"valueCoding\":\
                         {{\"system\":\"urn:oid:2.16.840.1.113883.6.238\",\"code\":\"{canary}\",\"display\":\"{canary}\"}}}},\
                         {{\"url\":\"text\",\"valueString\":\"{canary}\"}},{{\"url\":\"detailed\",\"valueCode\":\"{canary}\"}}]}}"
                    ));
                    return;
                }
                if kind.name == "Coding" {
                    for_coding(&mut self.out, &canary);
                    return;
                }
                let start = self.out.len();
                if deep < DEEP_MAX {
                    self.members(kind, deep + 1);
                }
                if self.out.len() == start {
                    self.out.push_str(&format!(",\"text\":\"{canary}\""));
                }
                self.out.replace_range(start..=start, "{");
                self.out.push('}');
            }
        }
    }
}

/// A coding whose code is none of its system's.
fn for_coding(out: &mut String, canary: &str) {
    out.push_str(&format!(
        "{{\"system\":\"http://loinc.org\",\"version\":\"{canary}\",\"code\":\"{canary}\",\"display\":\"{canary}\"}}"
    ));
}

/// A resource as it comes to a policy.
pub(crate) fn clinical(json: &str) -> Clinical {
    let resource_type = fhir::resource_type(json.as_bytes()).unwrap();
    Clinical::Fhir { resource_type, raw: json.as_bytes().to_vec().into() }
}

/// What a policy of this name makes of it.
pub(crate) fn shaped(name: &str, json: &str) -> Value {
    let release = release(&policy(name), &clinical(json)).unwrap_or_else(|held| panic!("{name}: {held}"));
    serde_json::from_slice(release.payload()).unwrap()
}
