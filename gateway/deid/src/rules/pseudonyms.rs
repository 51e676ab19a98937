//! What stands in the place of a number: a token, keyed or of the vault, a number of the same form, or a mask.

use hl7::unescape;

use super::message::Walk;
use super::values::{Level, cut};
use crate::tables::{Binding, TABLES, TypeId};
use crate::tally::Touch;
use crate::tokens::TokenKind;

/// Kinds of number (HL7 table 0203) that become tokens: of the patient and the stay, given by whoever treats.
/// Not those of states, insurers and employers.
pub(crate) const TOKEN_KINDS: [&[u8]; 16] = [
    b"", b"MR", b"MRT", b"MS", b"PI", b"PT", b"PE", b"AN", b"ANON", b"ANC", b"AND", b"ANT", b"VN", b"U",
    b"EPI", b"PATID",
];

/// The kind of number that a token of a control id is made with.
pub(crate) const CONTROL_ID: &[u8] = b"control-id";
/// The kind that tokens of authorities are made with.
const AUTHORITY: &[u8] = b"authority";
/// Stands for a value that is masked, however long it is: a length may tell a name.
pub(crate) const MASK: &[u8] = b"XXXX";
/// Shortest number of which the last four characters may be shown: half of it, at least, is not.
const SHOWN_IN_CHARACTERS_MIN: usize = 8;
const SHOWN: usize = 4;

/// A number with who gave it.
struct Number {
    id: Vec<u8>,
    authority: Vec<u8>,
    kind: Vec<u8>,
}

impl Walk<'_, '_> {
    /// CX: id, check digit, scheme, assigning authority, kind. EI: id, namespace, universal id and its type. Anything else is
    /// its own text, a control id. `None` for numbers of states, insurers and employers, and where there is none.
    fn number_of(&self, data_type: TypeId, raw: &[u8], level: Level) -> Option<Number> {
        let name = TABLES.data_type(data_type).map_or("", |t| t.name);
        let inner = self.separator(level.below());
        let piece = |n: usize| cut(raw, self.separator(level)).nth(n).unwrap_or_default();
        let text = |value: Option<&[u8]>| unescape(value.unwrap_or_default(), &self.delimiters).into_owned();
        let part = |n: usize| text(cut(piece(n), inner).find(|v| !v.is_empty()));
        let of_authority = |n: usize| text(cut(piece(3), inner).nth(n));
        let (id, authority, kind) = match name {
            "CX" => {
                let [namespace, universal, kind] = [0, 1, 2].map(of_authority);
                (part(0), self.namespace.of_hd(&namespace, &universal, &kind), part(4))
            }
            "EI" => (part(0), self.namespace.of_hd(&part(1), &part(2), &part(3)), b"EI".to_vec()),
            _ => (part(0), self.namespace.authority(&[]), CONTROL_ID.to_vec()),
        };
        let personal = name == "CX" && !TOKEN_KINDS.contains(&kind.to_ascii_uppercase().as_slice());
        (!id.trim_ascii().is_empty() && !personal).then_some(Number { id, authority, kind })
    }

    pub(super) fn token(&mut self, which: TokenKind, data_type: TypeId, raw: &[u8], level: Level) {
        let Some(number) = self.number_of(data_type, raw, level) else {
            return self.refuse(raw, Touch::Removed);
        };
        let Number { id, authority, kind } = &number;
        let Some(token) = self.tokens.token(which, id, authority, kind) else {
            return self.refuse(raw, Touch::Removed);
        };
        self.keep(token.as_bytes(), which.touch());
        self.kind_of_cx(data_type, level, &number.kind, 4);
    }

    /// The kind of a CX behind so many separators, where table 0203 lists it.
    fn kind_of_cx(&mut self, data_type: TypeId, level: Level, kind: &[u8], separators: usize) {
        let kinds = TABLES.table("0203").unwrap_or(Binding::None);
        let is_cx = TABLES.data_type(data_type).is_some_and(|t| t.name == "CX");
        if is_cx && level == Level::Repetition && TABLES.lists(kinds, kind) {
            self.out.extend(std::iter::repeat_n(self.delimiters.component(), separators));
            self.out.extend_from_slice(kind);
        }
    }

    /// A number of the same form ([`ff1`]). Two authorities may give the same one, so a token of the authority stands beside
    /// it, and where there is no room for that, nothing does.
    pub(super) fn format_preserved(&mut self, data_type: TypeId, raw: &[u8], level: Level) {
        let Some(number) = self.number_of(data_type, raw, level) else {
            return self.refuse(raw, Touch::Removed);
        };
        let Some(keys) = self.keys else { return self.keys_missing = true };
        let enciphered = keys.ff1.encipher(&number.id, &number.authority, &number.kind);
        let (Some(enciphered), Some(separator)) = (enciphered, self.separator(level)) else {
            return self.refuse(raw, Touch::Ff1Refused);
        };
        self.keep(&enciphered, Touch::Ff1);
        let is_cx = TABLES.data_type(data_type).is_some_and(|t| t.name == "CX");
        let authority = keys.tokens.token(&number.authority, b"", AUTHORITY);
        self.out.extend(std::iter::repeat_n(separator, if is_cx { 3 } else { 1 }));
        self.out.extend_from_slice(&authority);
        self.kind_of_cx(data_type, level, &number.kind, 1);
    }

    /// Something was here.
    pub(super) fn mask(&mut self, raw: &[u8], level: Level) {
        if cut(raw, self.separator(level)).any(|piece| !piece.is_empty()) {
            self.keep(MASK, Touch::Masked);
        }
    }

    /// Something was here, and how it ended, where that is at most half of it.
    pub(super) fn mask_but_4(&mut self, data_type: TypeId, raw: &[u8], level: Level) {
        let Some(number) = self.number_of(data_type, raw, level) else {
            return self.refuse(raw, Touch::Removed);
        };
        self.keep(MASK, Touch::Masked);
        let characters: Vec<u8> = number.id.iter().copied().filter(u8::is_ascii_alphanumeric).collect();
        if characters.len() >= SHOWN_IN_CHARACTERS_MIN && number.id.is_ascii() {
            self.out.extend(characters.iter().skip(characters.len() - SHOWN));
        }
        self.kind_of_cx(data_type, level, &number.kind, 4);
    }
}
