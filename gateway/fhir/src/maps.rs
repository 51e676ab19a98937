//! The mapping from v2 to FHIR as data: text in, a compiled form out. The form is described in `docs/fhir-maps.md`.
//!
//! **Promise.** A map either compiles or every mistake in it is named with file and line. Compiling knows nothing of
//! files: the caller hands in names and texts, so that a site can lay its own maps over the built-in ones.
//!
//! **Limits.** [`FILE_BYTES_MAX`], [`FILES_MAX`], [`DEPTH_MAX`].

mod line;
mod parse;
mod raw;
mod table;
mod token;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

pub(crate) use line::{Coded, Cond, How, Line, Native, Primitive, Source, Step};
pub(crate) use table::{Row, Table};

use crate::json::{Json, Name};

/// Longest map file.
pub const FILE_BYTES_MAX: usize = 1 << 20;
/// Most map files.
pub const FILES_MAX: usize = 2_000;
/// How deep type maps may use each other: a subcomponent is the deepest place of a v2 message.
pub const DEPTH_MAX: usize = 6;

mod embedded {
    include!(concat!(env!("OUT_DIR"), "/maps.rs"));
}

/// A mistake in a map. Whoever wrote the map must act.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {message}")]
pub struct MapError {
    /// The file as the caller named it.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

/// All maps, compiled.
pub struct Maps {
    pub(crate) segments: HashMap<Box<str>, SegmentMap>,
    pub(crate) types: Vec<TypeMap>,
    pub(crate) tables: Vec<Table>,
    pub(crate) type_ids: HashMap<Box<str>, usize>,
    pub(crate) table_ids: HashMap<Box<str>, usize>,
    pub(crate) literals: HashMap<Box<str>, Json>,
    /// What a resource must have, where no segment said it.
    pub(crate) defaults: HashMap<Box<str>, Vec<(Name, Json)>>,
    /// The codes that a v2 table has as a code system of R4, by the table's four digits.
    pub(crate) known: HashMap<Box<str>, HashSet<Box<str>>>,
    /// Names of coding systems as v2 writes them, to their URIs.
    pub(crate) systems: HashMap<Box<str>, Arc<str>>,
}

/// What becomes of one kind of segment.
#[derive(Default)]
pub(crate) struct SegmentMap {
    pub(crate) clears: Vec<Name>,
    pub(crate) sections: Vec<Section>,
}

/// The lines of a segment that fill one resource.
pub(crate) struct Section {
    /// Empty for [`Mode::Parent`].
    pub(crate) resource: Name,
    pub(crate) mode: Mode,
    pub(crate) when: Option<Cond>,
    pub(crate) key: Vec<Vec<Source>>,
    pub(crate) lines: Vec<Line>,
}

/// How a section finds its resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A new one, which is current from here on.
    New,
    /// A new one that stands beside what is current.
    Beside,
    /// The current one, made where there is none.
    Open,
    /// The current one; without one the section is passed over.
    Current,
    /// The current one if no segment of this name touched it, else a new one.
    Join,
    /// The resource that the segment before this one was about.
    Parent,
}

/// What becomes of one data type.
pub(crate) struct TypeMap {
    pub(crate) target: Name,
    /// What tells maps with the same target apart; part of the identity of what they make.
    pub(crate) variant: Box<str>,
    pub(crate) is_resource: bool,
    pub(crate) key: Vec<Vec<Source>>,
    pub(crate) lines: Vec<Line>,
}

impl Maps {
    /// The maps that come with the gateway.
    ///
    /// # Errors
    /// Every mistake; a test of this crate sees to it that there is none.
    pub fn builtin() -> Result<Self, Vec<MapError>> {
        Self::compile(embedded::FILES.iter().copied())
    }

    /// Names and texts of the maps that come with the gateway.
    pub fn builtin_files() -> impl Iterator<Item = (&'static str, &'static str)> {
        embedded::FILES.iter().copied()
    }

    /// Compiles maps. A later file replaces an earlier one that declares the same segment, type or table.
    ///
    /// # Errors
    /// Every mistake in every file.
    pub fn compile<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, Vec<MapError>> {
        parse::compile(files.into_iter().collect())
    }

    pub(crate) fn type_map(&self, id: usize) -> Option<&TypeMap> {
        self.types.get(id)
    }

    pub(crate) fn table(&self, id: usize) -> Option<&Table> {
        self.tables.get(id)
    }
}

impl std::fmt::Debug for Maps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Maps({} segments, {} types, {} tables)",
            self.segments.len(),
            self.types.len(),
            self.tables.len()
        )
    }
}

#[cfg(test)]
mod tests;
