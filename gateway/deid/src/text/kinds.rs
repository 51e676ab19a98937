//! What a word can be, as bits. The build script packs the lists with them.

/// A given name.
pub(crate) const GIVEN: u8 = 1;
/// A surname.
pub(crate) const SURNAME: u8 = 2;
/// A word of English or of the clinic.
pub(crate) const WORD: u8 = 4;
/// Never part of a name, however it is written.
pub(crate) const GRAMMAR: u8 = 8;
