//! The base definitions of FHIR R4 (4.0.1) as a table: types, their properties in JSON, value sets that bind.
//!
//! The table is `third_party/fhir-r4/definitions.txt`, made of HL7's own definitions by the script beside it, and
//! carried in the binary. It is read once, in a few milliseconds, at the first use.
//!
//! **Invariants** (held by tests): every type that is named exists; no type has more than [`ELEMENTS_MAX`]
//! elements, so that a set of them is one `u128`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::LazyLock;

use crate::validate::{Primitive, Rule};

const TEXT: &str = include_str!("../../../third_party/fhir-r4/definitions.txt");
/// Most elements of a type, inherited ones included.
pub const ELEMENTS_MAX: usize = 128;

static TABLE: LazyLock<Definitions> = LazyLock::new(|| read(TEXT));

/// The table.
pub fn definitions() -> &'static Definitions {
    &TABLE
}

/// A type's place in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TypeId(u16);

/// A value set's place in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetId(u16);

/// A list of resource types, as the targets of a reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TargetsId(u16);

/// Every code that a value set lists, with its system.
static LISTED: LazyLock<HashSet<(&str, &str)>> = LazyLock::new(|| {
    let of = |set: &'static ValueSet| {
        let codes = set.codes.iter().flatten();
        codes.flat_map(|(code, systems)| systems.iter().map(|system| (*system, *code)))
    };
    TABLE.sets.iter().flat_map(of).collect()
});

/// All types and value sets.
#[derive(Debug, Default)]
pub struct Definitions {
    types: Vec<Type>,
    by_name: HashMap<&'static str, TypeId>,
    sets: Vec<ValueSet>,
    targets: Vec<Vec<&'static str>>,
}

/// A resource, a data type, or the content of an element that has elements of its own.
#[derive(Debug)]
pub struct Type {
    /// `Patient`, `HumanName`, `Patient.contact`.
    pub name: &'static str,
    /// Whether it is a resource that can stand alone.
    pub resource: bool,
    /// Its elements, those of its bases first.
    pub elements: Vec<Element>,
    /// Bit `n` is set where element `n` must be there.
    pub required: u128,
    /// By JSON name, sorted.
    properties: Vec<(Box<str>, Property)>,
    /// The invariants that it has.
    pub(crate) rule: Rule,
}

/// An element, whatever its types.
#[derive(Debug, Clone, Copy)]
pub struct Element {
    /// The name without `[x]`.
    pub name: &'static str,
    /// Whether its name in JSON says its type: `value[x]`.
    pub choice: bool,
    /// Whether it is a list in JSON.
    pub many: bool,
}

/// What a name in JSON stands for.
#[derive(Debug, Clone, Copy)]
pub struct Property {
    /// Which element of the type.
    pub element: usize,
    /// What it holds.
    pub content: Content,
    /// The value set that its codes must be of.
    pub binding: Option<SetId>,
}

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// A JSON value with a form.
    Primitive(Primitive),
    /// An object of this type.
    Complex(TypeId),
    /// A `Reference`, and to what, where that is limited.
    Reference(TypeId, Option<TargetsId>),
    /// Any resource.
    Resource,
}

/// A value set that binds.
#[derive(Debug, Default)]
pub struct ValueSet {
    /// Its name in HL7's address.
    pub name: &'static str,
    /// All its codes, whatever their system; `None` where no list can be made of it.
    codes: Option<HashMap<&'static str, Vec<&'static str>>>,
}

impl ValueSet {
    /// Whether it holds the code, in this system where one is given. A set without a list holds everything.
    pub fn contains(&self, system: Option<&str>, code: &str) -> bool {
        let Some(codes) = &self.codes else { return true };
        match (codes.get(code), system) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(systems), Some(system)) => systems.contains(&system),
        }
    }

    /// Its codes, where they are listed, in no order.
    pub fn codes(&self) -> impl Iterator<Item = &'static str> {
        self.codes.iter().flat_map(|codes| codes.keys().copied())
    }

    /// Whether its codes are listed.
    pub const fn closed(&self) -> bool {
        self.codes.is_some()
    }
}

impl Definitions {
    /// Whether some value set lists this code of this system.
    pub fn knows(&self, system: &str, code: &str) -> bool {
        LISTED.contains(&(system, code))
    }

    /// A type by its name, such as `Patient`, `HumanName` or `Patient.contact`.
    pub fn find(&self, name: &str) -> Option<TypeId> {
        self.by_name.get(name).copied()
    }

    /// A resource type by its name.
    pub fn resource(&self, name: &str) -> Option<(TypeId, &Type)> {
        let id = self.find(name)?;
        self.get(id).filter(|t| t.resource).map(|t| (id, t))
    }

    /// A type.
    pub fn get(&self, id: TypeId) -> Option<&Type> {
        self.types.get(usize::from(id.0))
    }

    /// A value set.
    pub fn set(&self, id: SetId) -> Option<&ValueSet> {
        self.sets.get(usize::from(id.0))
    }

    /// The resource types that a reference may point at.
    pub fn targets(&self, id: TargetsId) -> &[&'static str] {
        self.targets.get(usize::from(id.0)).map_or(&[], Vec::as_slice)
    }

    /// All types, resources and others.
    pub fn types(&self) -> impl Iterator<Item = &Type> {
        self.types.iter()
    }

    /// The names of all resource types, in order.
    pub fn resources(&self) -> impl Iterator<Item = &'static str> {
        self.types.iter().filter(|t| t.resource).map(|t| t.name)
    }
}

impl Type {
    /// What a name in JSON stands for here.
    pub fn property(&self, name: &str) -> Option<&Property> {
        let at = self.properties.binary_search_by(|(known, _)| (**known).cmp(name)).ok()?;
        self.properties.get(at).map(|(_, property)| property)
    }

    /// The names in JSON, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.properties.iter().map(|(name, _)| &**name)
    }
}

/// A line of a type, as written.
#[derive(Debug, Clone, Copy)]
struct Line {
    name: &'static str,
    cardinality: &'static str,
    types: &'static str,
    set: Option<&'static str>,
}

#[derive(Debug)]
struct Draft {
    name: &'static str,
    base: &'static str,
    resource: bool,
    lines: Vec<Line>,
}

/// Lines that fit no rule are passed over; a test holds the table's own.
fn read(text: &'static str) -> Definitions {
    let mut drafts: Vec<Draft> = Vec::new();
    let mut table = Definitions::default();
    let mut set_ids = HashMap::new();
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        let mut words = line.split_ascii_whitespace();
        let Some(first) = words.next() else { continue };
        match (first, line.starts_with(' ')) {
            ("set", false) => {
                let name = words.next().unwrap_or_default();
                set_ids.insert(name, SetId(id(table.sets.len())));
                table.sets.push(ValueSet { name, codes: Some(HashMap::new()) });
            }
            (_, false) => drafts.push(Draft {
                name: words.next().unwrap_or_default(),
                base: words.next().unwrap_or_default(),
                resource: first == "resource",
                lines: Vec::new(),
            }),
            (_, true) => match table.sets.last_mut() {
                Some(set) if first == "open" => set.codes = None,
                Some(set) => {
                    for code in words {
                        if let Some(codes) = &mut set.codes {
                            codes.entry(code).or_default().push(first);
                        }
                    }
                }
                None => {
                    let (cardinality, types) = (words.next().unwrap_or("?"), words.next().unwrap_or("-"));
                    let set = words.next().and_then(|s| s.strip_prefix('#'));
                    if let Some(draft) = drafts.last_mut() {
                        draft.lines.push(Line { name: first, cardinality, types, set });
                    }
                }
            },
        }
    }
    for (n, draft) in drafts.iter().enumerate() {
        table.by_name.insert(draft.name, TypeId(id(n)));
    }
    let of: HashMap<&str, &Draft> = drafts.iter().map(|d| (d.name, d)).collect();
    let mut targets: BTreeMap<&'static str, TargetsId> = BTreeMap::new();
    for draft in &drafts {
        let built = build(draft, &of, &table.by_name, &set_ids, &mut targets, &mut table.targets);
        table.types.push(built);
    }
    table
}

fn id(n: usize) -> u16 {
    u16::try_from(n).unwrap_or(u16::MAX)
}

fn build(
    draft: &Draft,
    of: &HashMap<&str, &Draft>,
    names: &HashMap<&'static str, TypeId>,
    sets: &HashMap<&'static str, SetId>,
    seen: &mut BTreeMap<&'static str, TargetsId>,
    targets: &mut Vec<Vec<&'static str>>,
) -> Type {
    // From the root down, a later line of the same name in place of an earlier one.
    let mut line_of_descent = vec![draft];
    let mut base = of.get(draft.base);
    while let Some(next) = base {
        line_of_descent.push(next);
        base = of.get(next.base);
    }
    let mut lines: Vec<Line> = Vec::new();
    for line in line_of_descent.iter().rev().flat_map(|d| &d.lines) {
        match lines.iter_mut().find(|l| l.name == line.name) {
            Some(inherited) => *inherited = *line,
            None => lines.push(*line),
        }
    }
    let mut built = Type {
        name: draft.name,
        resource: draft.resource,
        elements: Vec::new(),
        required: 0,
        properties: Vec::new(),
        rule: Rule::named(draft.name),
    };
    for line in lines.iter().filter(|l| l.cardinality != "-").take(ELEMENTS_MAX) {
        let element = built.elements.len();
        let (name, choice) = line.name.strip_suffix("[x]").map_or((line.name, false), |name| (name, true));
        built.elements.push(Element { name, choice, many: matches!(line.cardinality, "*" | "+") });
        if matches!(line.cardinality, "1" | "+") {
            built.required |= 1 << element;
        }
        for kind in line.types.split('|') {
            let (plain, list) = kind.split_once('(').unwrap_or((kind, ""));
            let content = if plain == "Reference" {
                let list = list.trim_end_matches(')');
                let limit = (!list.is_empty()).then(|| {
                    *seen.entry(list).or_insert_with(|| {
                        targets.push(list.split(',').collect());
                        TargetsId(id(targets.len() - 1))
                    })
                });
                names.get(plain).map(|id| Content::Reference(*id, limit))
            } else if plain == "Resource" {
                Some(Content::Resource)
            } else if let Some(primitive) = Primitive::named(plain) {
                Some(Content::Primitive(primitive))
            } else {
                names.get(plain.trim_start_matches('@')).map(|id| Content::Complex(*id))
            };
            let Some(content) = content else { continue };
            let json_name = if choice { format!("{name}{}", suffix(plain)) } else { name.to_owned() };
            let binding = line.set.and_then(|s| sets.get(s)).copied();
            built.properties.push((json_name.into(), Property { element, content, binding }));
        }
    }
    built.properties.sort_by(|a, b| a.0.cmp(&b.0));
    built.properties.dedup_by(|a, b| a.0 == b.0);
    built
}

/// What a type adds to the name of a choice: `Quantity`, `DateTime`.
fn suffix(kind: &str) -> String {
    let kind = if kind == "SimpleQuantity" { "Quantity" } else { kind };
    let mut letters = kind.chars();
    letters.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + letters.as_str())
}

/// The names of all types that the table uses but does not define.
#[cfg(test)]
fn missing(text: &'static str) -> std::collections::HashSet<&'static str> {
    let known = read(text);
    let mut out = std::collections::HashSet::new();
    for line in text.lines().take_while(|l| !l.starts_with("set ")).filter(|l| l.starts_with(' ')) {
        for kind in line.split_ascii_whitespace().nth(2).unwrap_or_default().split('|') {
            let plain = kind.split('(').next().unwrap_or_default().trim_start_matches('@');
            if known.find(plain).is_none() && Primitive::named(plain).is_none() {
                out.insert(plain);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_whole() {
        let table = definitions();
        assert_eq!(table.resources().count(), 146);
        assert!(missing(TEXT).is_empty(), "{:?}", missing(TEXT));
        for t in &table.types {
            assert!(t.elements.len() < ELEMENTS_MAX, "{}", t.name);
            assert!(!t.properties.is_empty(), "{}", t.name);
        }
        let named = TEXT.lines().filter_map(|l| l.split(" #").nth(1)).filter(|s| !s.contains(' '));
        for set in named {
            assert!(table.sets.iter().any(|s| s.name == set), "{set}");
        }
        let open: Vec<_> = table.sets.iter().filter(|s| !s.closed()).map(|s| s.name).collect();
        assert_eq!(open, ["LL379-9", "currencies", "mimetypes", "ucum-units"]);
    }

    #[test]
    fn names_in_json_lead_to_elements() {
        let table = definitions();
        let (_, observation) = table.resource("Observation").unwrap();
        let value = observation.property("valueQuantity").unwrap();
        let element = observation.elements[value.element];
        assert_eq!((element.name, element.choice, element.many), ("value", true, false));
        assert_eq!(value.content, Content::Complex(table.find("Quantity").unwrap()));
        assert!(observation.property("value").is_none());
        assert!(observation.property("id").is_some() && observation.property("contained").is_some());
        let status = observation.property("status").unwrap();
        assert!(observation.required & 1 << status.element != 0);
        let set = table.set(status.binding.unwrap()).unwrap();
        assert!(set.contains(None, "final") && !set.contains(None, "finished"));
        let Content::Reference(_, Some(targets)) = observation.property("subject").unwrap().content else {
            panic!("a reference")
        };
        assert_eq!(table.targets(targets), ["Device", "Group", "Location", "Patient"]);
        assert!(table.resource("HumanName").is_none() && table.resource("DomainResource").is_none());
        let simple = table.get(table.find("SimpleQuantity").unwrap()).unwrap();
        assert!(simple.property("value").is_some() && simple.property("comparator").is_none());
    }
}
