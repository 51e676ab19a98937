//! JSON as FHIR needs it: members in the order they were set, decimals with the digits they came with.
//!
//! `serde_json` keeps neither in every build of this workspace (both hang on features that other crates turn on), and
//! FHIR R4 asks for the digits (datatypes, `decimal`: "the precision of the decimal value has significance").

use std::sync::Arc;

/// The name of a member: one of ours, or one of the maps', which share it.
#[derive(Clone)]
pub enum Name {
    /// Written in code.
    Ours(&'static str),
    /// Written in a map.
    Shared(Arc<str>),
}

impl Name {
    /// A name that is not written in code.
    pub fn shared(name: &str) -> Self {
        Self::Shared(Arc::from(name))
    }
}

impl std::ops::Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Ours(name) => name,
            Self::Shared(name) => name,
        }
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        self
    }
}

impl From<&'static str> for Name {
    fn from(name: &'static str) -> Self {
        Self::Ours(name)
    }
}

impl From<String> for Name {
    fn from(name: String) -> Self {
        Self::Shared(Arc::from(name))
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Name {}

impl std::fmt::Debug for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self)
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self)
    }
}

/// A JSON value. There is no null: FHIR has none outside of arrays of primitives with extensions.
#[derive(Clone, PartialEq, Eq)]
pub enum Json {
    /// `true` or `false`.
    Bool(bool),
    /// A number as it is written.
    Number(String),
    /// Text, unescaped.
    Text(String),
    /// An array.
    Array(Vec<Json>),
    /// An object.
    Object(Object),
}

/// Members in order. Few enough that a scan beats a tree.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Object(Vec<(Name, Json)>);

impl Json {
    /// Text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// The members, where this is an object.
    pub const fn as_object(&self) -> Option<&Object> {
        match self {
            Self::Object(object) => Some(object),
            _ => None,
        }
    }

    /// The members, where this is an object.
    pub const fn as_object_mut(&mut self) -> Option<&mut Object> {
        match self {
            Self::Object(object) => Some(object),
            _ => None,
        }
    }

    /// The elements, where this is an array.
    pub fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(elements) => Some(elements),
            _ => None,
        }
    }

    /// The text, where this is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Appends the JSON text.
    pub fn write(&self, out: &mut String) {
        match self {
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Number(digits) => out.push_str(digits),
            Self::Text(text) => write_text(text, out),
            Self::Array(elements) => {
                out.push('[');
                for (n, element) in elements.iter().enumerate() {
                    if n > 0 {
                        out.push(',');
                    }
                    element.write(out);
                }
                out.push(']');
            }
            Self::Object(object) => object.write(out),
        }
    }
}

impl Object {
    /// No member.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Whether there is no member.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The members in order.
    pub fn members(&self) -> impl Iterator<Item = (&Name, &Json)> {
        self.0.iter().map(|(name, value)| (name, value))
    }

    /// The members in order.
    pub fn members_mut(&mut self) -> impl Iterator<Item = (&Name, &mut Json)> {
        self.0.iter_mut().map(|(name, value)| (&*name, value))
    }

    /// The members, given away.
    pub fn into_members(self) -> impl Iterator<Item = (Name, Json)> {
        self.0.into_iter()
    }

    /// A member.
    pub fn get(&self, name: &str) -> Option<&Json> {
        self.0.iter().find(|(n, _)| &**n == name).map(|(_, value)| value)
    }

    /// A member.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Json> {
        self.0.iter_mut().find(|(n, _)| &**n == name).map(|(_, value)| value)
    }

    /// Sets a member: in its old place where it was there, else at the end.
    pub fn set(&mut self, name: impl Into<Name> + AsRef<str>, value: Json) {
        match self.get_mut(name.as_ref()) {
            Some(old) => *old = value,
            None => self.0.push((name.into(), value)),
        }
    }

    /// Sets a member that is known not to be there: at the front.
    pub fn set_first(&mut self, name: impl Into<Name>, value: Json) {
        self.0.insert(0, (name.into(), value));
    }

    /// Takes a member out.
    pub fn remove(&mut self, name: &str) -> Option<Json> {
        let at = self.0.iter().position(|(n, _)| &**n == name)?;
        Some(self.0.remove(at).1)
    }

    /// The array under a name, made where it is missing; `None` where something else stands there.
    pub fn array(&mut self, name: &Name) -> Option<&mut Vec<Json>> {
        if self.get(name).is_none() {
            self.0.push((Name::clone(name), Json::Array(Vec::new())));
        }
        match self.get_mut(name) {
            Some(Json::Array(elements)) => Some(elements),
            _ => None,
        }
    }

    /// Appends the JSON text.
    pub fn write(&self, out: &mut String) {
        out.push('{');
        for (n, (name, value)) in self.0.iter().enumerate() {
            if n > 0 {
                out.push(',');
            }
            write_text(name, out);
            out.push(':');
            value.write(out);
        }
        out.push('}');
    }
}

impl<const N: usize> From<[(&'static str, Json); N]> for Object {
    fn from(members: [(&'static str, Json); N]) -> Self {
        Self(members.into_iter().map(|(name, value)| (Name::from(name), value)).collect())
    }
}

impl From<Object> for Json {
    fn from(object: Object) -> Self {
        Self::Object(object)
    }
}

impl std::fmt::Debug for Json {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bool(_) => f.write_str("Bool"),
            Self::Number(digits) => write!(f, "Number({} bytes)", digits.len()),
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::Array(elements) => write!(f, "Array({} elements)", elements.len()),
            Self::Object(object) => object.fmt(f),
        }
    }
}

impl std::fmt::Debug for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Object({} members)", self.0.len())
    }
}

fn write_text(text: &str, out: &mut String) {
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c < ' ' || matches!(c, '"' | '\\')) {
        let (plain, tail) = rest.split_at_checked(at).unwrap_or((rest, ""));
        out.push_str(plain);
        let mut chars = tail.chars();
        match chars.next() {
            Some('"') => out.push_str("\\\""),
            Some('\\') => out.push_str("\\\\"),
            Some('\n') => out.push_str("\\n"),
            Some('\r') => out.push_str("\\r"),
            Some('\t') => out.push_str("\\t"),
            Some(other) => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                let digit = |n: u32| char::from(HEX.get(n as usize & 15).copied().unwrap_or(b'0'));
                out.push_str("\\u00");
                out.push(digit(u32::from(other) >> 4));
                out.push(digit(u32::from(other)));
            }
            None => {}
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
    out.push('"');
}

/// Reads JSON text, for literals in maps. `None` where it is none, or holds a null.
pub(crate) fn parse(text: &str) -> Option<Json> {
    fn from(value: serde_json::Value) -> Option<Json> {
        Some(match value {
            serde_json::Value::Null => return None,
            serde_json::Value::Bool(value) => Json::Bool(value),
            serde_json::Value::Number(number) => Json::Number(number.to_string()),
            serde_json::Value::String(text) => Json::Text(text),
            serde_json::Value::Array(elements) => {
                Json::Array(elements.into_iter().map(from).collect::<Option<_>>()?)
            }
            serde_json::Value::Object(members) => Json::Object(Object(
                members
                    .into_iter()
                    .map(|(name, value)| Some((Name::from(name), from(value)?)))
                    .collect::<Option<_>>()?,
            )),
        })
    }
    from(serde_json::from_str(text).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_by_others() {
        let nasty = "a\"b\\c\n\r\t\u{1}\u{1f}é\u{1f600}";
        let object = Object::from([
            ("text", Json::text(nasty)),
            ("digits", Json::Number("5.00".into())),
            ("list", Json::Array(vec![Json::Bool(true), Object::new().into()])),
        ]);
        let mut out = String::new();
        object.write(&mut out);
        assert!(out.contains("5.00"), "{out}");
        let value: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(value["text"], nasty);
        assert_eq!(value["list"][0], true);
    }

    #[test]
    fn debug_tells_sizes_alone() {
        assert_eq!(format!("{:?}", Json::text("Miller")), "Text(6 bytes)");
    }
}
