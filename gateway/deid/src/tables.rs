//! The tables of the standard, as they stand in `data/`, read once.
//!
//! The files are part of the program: a test reads every line, and a line that cannot be read denies what it
//! would have described. Formats are described at the head of each file.

use std::sync::LazyLock;

use crate::fnv::{Map, Set};

/// The text of the tables, in the order in which they enter the hash of a policy.
pub(crate) const SOURCES: [&str; 6] = [
    include_str!("../data/segments.txt"),
    include_str!("../data/types.txt"),
    include_str!("../data/tables.txt"),
    include_str!("../data/units.txt"),
    include_str!("../data/zip3.txt"),
    include_str!("../data/loinc.txt"),
];

/// The standard's primitive types.
const PRIMITIVES: [&str; 11] = ["DT", "DTM", "FT", "GTS", "ID", "IS", "NM", "SI", "ST", "TM", "TX"];

/// A data type, as an index into [`Tables::types`].
pub(crate) type TypeId = u8;

/// What a coded value is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Binding {
    /// Nothing: only a coding system can vouch for the code.
    None,
    /// The table with this index in [`Tables::tables`].
    Table(u16),
    /// A unit of measure.
    Unit,
}

/// A place for a value: its type and what it is bound to. `None` for a type: never defined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    /// `None` where the standard defines nothing, [`Slot::varies`] apart.
    pub(crate) data_type: Option<TypeId>,
    /// The table.
    pub(crate) binding: Binding,
    /// The type is named elsewhere in the message (OBX-2).
    pub(crate) varies: bool,
}

/// A data type.
#[derive(Debug)]
pub(crate) struct DataType {
    /// `CWE`.
    pub(crate) name: &'static str,
    /// Its components; empty for a primitive.
    pub(crate) components: Vec<Slot>,
}

/// The name of a segment.
pub(crate) type SegmentName = [u8; 3];

/// All tables.
#[derive(Debug)]
pub(crate) struct Tables {
    pub(crate) types: Vec<DataType>,
    pub(crate) segments: Map<SegmentName, Vec<Slot>>,
    tables: Vec<Set<&'static [u8]>>,
    table_names: Map<&'static str, u16>,
}

/// The tables of the standard.
pub(crate) static TABLES: LazyLock<Tables> = LazyLock::new(Tables::read);

impl Tables {
    fn read() -> Self {
        let [segments, types, tables, ..] = SOURCES;
        let mut all = Self {
            types: PRIMITIVES.iter().map(|name| DataType { name, components: Vec::new() }).collect(),
            segments: Map::default(),
            tables: Vec::new(),
            table_names: Map::default(),
        };
        for (name, values) in entries(tables) {
            let index = all.tables.len() as u16;
            all.table_names.insert(name, index);
            all.tables.push(values.iter().map(|v| blanks(v)).collect());
        }
        let composites = entries(types);
        all.types.extend(composites.iter().map(|(name, _)| DataType { name, components: Vec::new() }));
        for (name, words) in &composites {
            let components = words.iter().map(|w| all.slot(w)).collect();
            if let Some(data_type) = all.types.iter_mut().find(|t| t.name == *name) {
                data_type.components = components;
            }
        }
        for (name, words) in entries(segments) {
            if let Ok(name) = SegmentName::try_from(name.as_bytes()) {
                let fields = words.iter().map(|w| all.slot(w)).collect();
                all.segments.insert(name, fields);
            }
        }
        all
    }

    fn slot(&self, word: &str) -> Slot {
        let (data_type, bound) = word.split_once(':').unwrap_or((word, ""));
        let binding = match bound {
            "unit" => Binding::Unit,
            other => self.table_names.get(other).map_or(Binding::None, |i| Binding::Table(*i)),
        };
        Slot { data_type: self.type_id(data_type), binding, varies: word == "*" }
    }

    /// The type of this name.
    pub(crate) fn type_id(&self, name: &str) -> Option<TypeId> {
        self.types.iter().position(|t| t.name == name).and_then(|i| TypeId::try_from(i).ok())
    }

    /// A type by its index.
    pub(crate) fn data_type(&self, id: TypeId) -> Option<&DataType> {
        self.types.get(usize::from(id))
    }

    /// The table of this number or name.
    pub(crate) fn table(&self, name: &str) -> Option<Binding> {
        self.table_names.get(name).map(|i| Binding::Table(*i))
    }

    /// Whether the table that a value is bound to lists it.
    pub(crate) fn lists(&self, binding: Binding, code: &[u8]) -> bool {
        match binding {
            Binding::Table(index) => {
                self.tables.get(usize::from(index)).is_some_and(|values| values.contains(code))
            }
            Binding::None | Binding::Unit => false,
        }
    }
}

/// The entries of a data file: a name and its words. Lines that begin with a blank go on with the entry
/// above; `#` begins a comment at a line's start.
pub(crate) fn entries(text: &'static str) -> Vec<(&'static str, Vec<&'static str>)> {
    let mut entries: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in text.lines().filter(|l| !l.starts_with('#') && !l.trim().is_empty()) {
        let mut words = line.split_ascii_whitespace();
        if !line.starts_with(' ') {
            entries.extend(words.next().map(|name| (name, Vec::new())));
        }
        if let Some((_, of)) = entries.last_mut() {
            of.extend(words);
        }
    }
    entries
}

/// `~` in a data file stands for a blank. The few values that have one are leaked once, at start.
fn blanks(word: &'static str) -> &'static [u8] {
    if word.contains('~') {
        Box::leak(word.replace('~', " ").into_boxed_str()).as_bytes()
    } else {
        word.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn type_name(slot: &Slot) -> &'static str {
        slot.data_type.and_then(|t| TABLES.data_type(t)).map_or("-", |t| t.name)
    }

    #[test]
    fn every_word_of_every_file_is_understood() {
        let [segments, types, ..] = SOURCES;
        for (name, words) in entries(segments).into_iter().chain(entries(types)) {
            assert!(name.len() <= 3 && !words.is_empty(), "{name}");
            for word in words.iter().filter(|w| !["*", "-"].contains(w)) {
                let slot = TABLES.slot(word);
                assert!(slot.data_type.is_some(), "{name}: no type {word}");
                assert_eq!(word.contains(':'), slot.binding != Binding::None, "{name}: no table {word}");
            }
        }
        assert!(TABLES.segments.len() > 180, "{}", TABLES.segments.len());
        assert!(TABLES.types.len() < usize::from(TypeId::MAX));
    }

    #[test]
    fn names_are_unique() {
        for source in SOURCES {
            let mut seen = Set::default();
            for (name, _) in entries(source) {
                assert!(seen.insert(name), "{name} twice");
            }
        }
    }

    #[test]
    fn composites_nest_at_most_two_deep() {
        // Field, component, subcomponent: a composite in a component is made of primitives, or its parts are denied.
        let cwe = TABLES.data_type(TABLES.type_id("CWE").unwrap()).unwrap();
        assert_eq!(cwe.components.len(), 22);
        assert!(
            cwe.components.iter().all(|c| TABLES
                .data_type(c.data_type.unwrap())
                .unwrap()
                .components
                .is_empty())
        );
    }

    #[test]
    fn known_fields_have_their_types() {
        let field = |segment: &[u8; 3], n: usize| &TABLES.segments[segment][n - 1];
        for (segment, n, expected) in [
            (b"PID", 3, "CX"),
            (b"PID", 5, "XPN"),
            (b"PID", 11, "XAD"),
            (b"PV1", 3, "PL"),
            (b"PV1", 7, "XCN"),
            (b"OBX", 3, "CWE"),
            (b"OBR", 4, "CWE"),
            (b"NK1", 5, "XTN"),
            (b"MSH", 9, "MSG"),
            (b"SPM", 2, "EIP"),
        ] {
            assert_eq!(type_name(field(segment, n)), expected, "{segment:?}-{n}");
        }
        assert!(field(b"OBX", 5).varies);
        assert_eq!(field(b"OBX", 6).binding, Binding::Unit);
        assert!(TABLES.lists(field(b"PID", 8).binding, b"F"));
        assert!(!TABLES.lists(field(b"PID", 8).binding, b"FRED"));
        assert!(TABLES.lists(TABLES.table("0211").unwrap(), b"UNICODE UTF-8"));
    }
}
