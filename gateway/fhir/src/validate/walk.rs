//! From the root down: every object along its type.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use super::json::{Json, Kind, Node};
use super::outcome::{Code, Issue, Severity};
use super::primitive::Primitive;
use super::{Report, bundle, reference, rules, xhtml};
use crate::definitions::{Content, Definitions, Element, Property, SetId, Type, TypeId, definitions};

/// Most issues that are listed; what is beyond is said in one more.
pub const ISSUES_MAX: usize = 100;
/// Most contained resources of one resource.
pub const CONTAINED_MAX: usize = 1_000;

/// The walk, and what it knows on its way.
pub(super) struct Walk<'j, 'a> {
    pub(super) json: &'j Json<'a>,
    pub(super) table: &'static Definitions,
    issues: Vec<(Issue, usize)>,
    path: Vec<Step>,
    /// The resource that contained ones belong to.
    pub(super) home: Home<'a>,
    /// The Bundle that is nearest above, if any.
    pub(super) bundle: Option<bundle::Scope>,
    element: Option<TypeId>,
}

#[derive(Debug, Clone, Copy)]
struct Step {
    name: &'static str,
    index: Option<usize>,
}

/// What references within a resource may point at.
#[derive(Debug, Default)]
pub(super) struct Home<'a> {
    /// Contained resources: id and type.
    pub(super) contained: HashMap<Cow<'a, str>, Cow<'a, str>>,
    /// What follows the `#` of references and addresses that were met.
    pub(super) used: HashSet<Cow<'a, str>>,
    /// Whether the walk is within a contained resource.
    pub(super) within_contained: bool,
}

pub(super) fn walk(json: &Json<'_>) -> Report {
    let table = definitions();
    let mut walk = Walk {
        json,
        table,
        issues: Vec::new(),
        path: Vec::new(),
        home: Home::default(),
        bundle: None,
        element: table.find("Element"),
    };
    let resource_type = walk.resource(0);
    let issues = located(json, walk.issues);
    Report { resource_type, issues }
}

/// Adds line and column to each, in one pass over the text.
fn located(json: &Json<'_>, mut found: Vec<(Issue, usize)>) -> Vec<Issue> {
    found.sort_by_key(|(_, at)| *at);
    let mut place = json.places();
    found
        .into_iter()
        .map(|(mut issue, at)| {
            let (line, column) = place.at(at);
            // Writing to a String does not fail.
            let written = write!(issue.diagnostics, " (line {line}, column {column})");
            debug_assert!(written.is_ok());
            issue
        })
        .collect()
}

impl<'a> Walk<'_, 'a> {
    /// Notes an issue at the present path.
    pub(super) fn say(&mut self, severity: Severity, code: Code, at: usize, text: &str) {
        let offset = self.json.node(at).map_or(0, Node::offset);
        self.note(severity, code, offset, text);
    }

    fn note(&mut self, severity: Severity, code: Code, offset: usize, text: &str) {
        if self.issues.len() > ISSUES_MAX {
            return;
        }
        if self.issues.len() == ISSUES_MAX {
            let more = format!("there are more issues; {ISSUES_MAX} are listed");
            self.issues.push((Issue::new(Severity::Error, Code::TooCostly, more), usize::MAX));
            return;
        }
        let issue = Issue { severity, code, diagnostics: text.to_owned(), expression: self.expression() };
        self.issues.push((issue, offset));
    }

    /// Notes an error at the present path.
    pub(super) fn error(&mut self, code: Code, at: usize, text: &str) {
        self.say(Severity::Error, code, at, text);
    }

    /// Notes an error at an element below the present path.
    pub(super) fn error_below(&mut self, name: &'static str, code: Code, at: usize, text: &str) {
        self.path.push(Step { name, index: None });
        self.error(code, at, text);
        self.path.pop();
    }

    /// Goes on at a step further down.
    pub(super) fn within<T>(
        &mut self,
        name: &'static str,
        index: Option<usize>,
        f: impl FnOnce(&mut Self) -> T,
    ) -> T {
        self.path.push(Step { name, index });
        let out = f(self);
        self.path.pop();
        out
    }

    /// Whether issues are no longer listed, so that there is no use in looking for more.
    fn enough(&self) -> bool {
        self.issues.len() > ISSUES_MAX
    }

    fn expression(&self) -> String {
        let mut out = String::new();
        for step in &self.path {
            if !out.is_empty() {
                out.push('.');
            }
            out.push_str(step.name);
            if let Some(index) = step.index {
                // Writing to a String does not fail.
                let written = write!(out, "[{index}]");
                debug_assert!(written.is_ok());
            }
        }
        out
    }

    /// The resource itself, its type put in front of the path where it is the first.
    fn resource(&mut self, n: usize) -> Option<&'static str> {
        let node = self.json.node(n)?;
        if node.kind != Kind::Object {
            self.error(Code::Structure, n, "a resource must be an object");
            return None;
        }
        let found = match self.json.text_of(n, "resourceType") {
            Some(name) => self.table.resource(&name),
            None => {
                self.error(Code::Structure, n, "a resource must say its `resourceType`");
                return None;
            }
        };
        let Some((id, kind)) = found else {
            self.error(Code::NotSupported, n, "`resourceType` is not a resource of FHIR R4");
            return None;
        };
        let first = self.path.is_empty();
        if first {
            self.path.push(Step { name: kind.name, index: None });
        }
        let outer_bundle =
            (kind.rule == rules::Rule::Bundle).then(|| self.bundle.replace(bundle::Scope::of(self.json, n)));
        if self.home.within_contained {
            self.object(n, id, true);
        } else {
            // A resource in a Bundle has contained ones of its own.
            let home = self.contained_of(n);
            let outer = std::mem::replace(&mut self.home, home);
            self.object(n, id, true);
            rules::contained_are_used(self, n);
            self.home = outer;
        }
        if let Some(outer) = outer_bundle {
            bundle::check(self, n);
            self.bundle = outer;
        }
        if first {
            self.path.pop();
        }
        Some(kind.name)
    }

    fn contained_of(&self, n: usize) -> Home<'a> {
        let mut home = Home::default();
        if let Some((list, node)) = self.json.member(n, "contained")
            && node.kind == Kind::Array
        {
            for (item, _) in self.json.children(list).take(CONTAINED_MAX) {
                let id = self.json.text_of(item, "id").unwrap_or_default();
                let kind = self.json.text_of(item, "resourceType").unwrap_or_default();
                home.contained.insert(id, kind);
            }
        }
        home
    }

    /// An object of a type.
    fn object(&mut self, n: usize, id: TypeId, resource: bool) {
        let (Some(node), Some(kind)) = (self.json.node(n), self.table.get(id)) else { return };
        if node.kind != Kind::Object {
            self.error(Code::Structure, n, "an object is expected here");
            return;
        }
        let json = self.json;
        let (mut seen, mut beside, mut count, mut types) = (0_u128, 0_u128, 0_usize, 0_usize);
        for (at, child) in json.children(n) {
            if self.enough() {
                return;
            }
            count += 1;
            let key = json.key(child);
            if resource && key == "resourceType" {
                types += 1;
                if types > 1 {
                    self.error(Code::Structure, at, "`resourceType` is there twice");
                }
                continue;
            }
            let (name, sibling) = key.strip_prefix('_').map_or((&*key, false), |name| (name, true));
            let property =
                kind.property(name).filter(|p| !sibling || matches!(p.content, Content::Primitive(_)));
            let Some((property, element)) = property.and_then(|p| Some((p, *kind.elements.get(p.element)?)))
            else {
                self.unknown(at, kind, name);
                continue;
            };
            let bit = 1_u128 << property.element;
            let met = if sibling { &mut beside } else { &mut seen };
            let again = *met & bit != 0;
            *met |= bit;
            if again {
                let text = if element.choice && !self.twice(n, &key) {
                    "an element of several possible types may have one of them only"
                } else {
                    "the same name twice in one object"
                };
                self.error_below(element.name, Code::Structure, at, text);
                continue;
            }
            if sibling {
                self.sibling(n, at, child, name, element);
            } else {
                self.value(n, at, child, name, element, property);
            }
        }
        if count == 0 {
            self.error(Code::Structure, n, "an object must not be empty");
        }
        let both = seen & beside;
        let missing = kind.required & !(seen | beside);
        if missing != 0 || both != 0 {
            for (at, element) in kind.elements.iter().enumerate() {
                if missing & (1 << at) != 0 {
                    let text = "this element must be there";
                    self.error_below(element.name, Code::Required, n, text);
                }
                if element.choice && both & (1 << at) != 0 {
                    self.one_choice(n, kind, at, element);
                }
            }
        }
        rules::check(self, n, kind);
    }

    /// Whether an object has a name twice.
    fn twice(&self, n: usize, key: &str) -> bool {
        self.json.children(n).filter(|(_, c)| self.json.key(c) == key).count() > 1
    }

    /// `valueString` beside `_valueInteger`: one element of two types.
    fn one_choice(&mut self, n: usize, kind: &Type, element: usize, of: &Element) {
        let mut names = self.json.children(n).filter_map(|(at, child)| {
            let key = self.json.key(child);
            let name = key.strip_prefix('_').unwrap_or(&key).to_owned();
            (kind.property(&name)?.element == element).then_some((at, name))
        });
        let first = names.next();
        let other = names.find(|(_, name)| first.as_ref().is_some_and(|(_, known)| known != name));
        if let Some((at, _)) = other {
            let text = "an element of several possible types may have one of them only";
            self.error_below(of.name, Code::Structure, at, text);
        }
    }

    fn unknown(&mut self, at: usize, kind: &Type, name: &str) {
        let near = nearest(kind, name);
        let text = match near {
            Some(near) => format!("{} has no element of this name; did you mean `{near}`?", kind.name),
            None => format!("{} has no element of this name", kind.name),
        };
        let offset = self.json.node(at).map_or(0, Node::name_offset);
        self.note(Severity::Error, Code::Structure, offset, &text);
    }

    /// The value of an element: one, or a list.
    fn value(
        &mut self,
        parent: usize,
        at: usize,
        node: &Node,
        name: &str,
        element: Element,
        property: &Property,
    ) {
        if !element.many {
            self.path.push(Step { name: element.name, index: None });
            match node.kind {
                Kind::Array => self.error(Code::Structure, at, "this element is not a list"),
                Kind::Null => self.error(Code::Structure, at, "null is no value: leave the element out"),
                _ => self.single(at, node, property.content, property.binding),
            }
            self.path.pop();
            return;
        }
        if node.kind != Kind::Array {
            self.error_below(element.name, Code::Structure, at, "this element is a list");
            return;
        }
        let json = self.json;
        let mut items = 0;
        let mut beside: Option<Vec<bool>> = None;
        for (index, (item, value)) in json.children(at).enumerate() {
            if self.enough() {
                return;
            }
            items += 1;
            self.path.push(Step { name: element.name, index: Some(index) });
            if value.kind == Kind::Null {
                let filled = beside.get_or_insert_with(|| self.filled(parent, name));
                if !filled.get(index).is_some_and(|there| *there) {
                    let text =
                        "null stands for a value that has extensions in the list beside it; there are none";
                    self.error(Code::Structure, item, text);
                }
            } else {
                self.single(item, value, property.content, property.binding);
            }
            self.path.pop();
        }
        if items == 0 {
            self.error_below(element.name, Code::Structure, at, "a list must not be empty");
        }
    }

    /// For each place of the list of extensions beside a list of primitives, whether there is something.
    fn filled(&self, parent: usize, name: &str) -> Vec<bool> {
        self.json.member(parent, &format!("_{name}")).map_or_else(Vec::new, |(list, _)| {
            self.json.children(list).map(|(_, item)| item.kind == Kind::Object).collect()
        })
    }

    /// `_name`: id and extensions of a primitive, or of each of a list.
    fn sibling(&mut self, parent: usize, at: usize, node: &Node, name: &str, element: Element) {
        let Some(id) = self.element else { return };
        if !element.many {
            self.path.push(Step { name: element.name, index: None });
            self.object(at, id, false);
            self.path.pop();
            return;
        }
        if node.kind != Kind::Array {
            self.error_below(element.name, Code::Structure, at, "this element is a list");
            return;
        }
        let json = self.json;
        let values = json
            .member(parent, name)
            .map(|(list, _)| json.children(list).map(|(_, v)| v.kind != Kind::Null).collect::<Vec<_>>());
        let mut items = 0;
        for (index, (item, value)) in json.children(at).enumerate() {
            items += 1;
            self.path.push(Step { name: element.name, index: Some(index) });
            if value.kind != Kind::Null {
                self.object(item, id, false);
            } else if values.as_ref().is_none_or(|values| !values.get(index).is_some_and(|there| *there)) {
                self.error(Code::Structure, item, "neither a value nor extensions of it");
            }
            self.path.pop();
        }
        if items == 0 {
            self.error_below(element.name, Code::Structure, at, "a list must not be empty");
        } else if values.is_some_and(|values| values.len() != items) {
            let text = "the list of values and the list of their extensions are not equally long";
            self.error_below(element.name, Code::Structure, at, text);
        }
    }

    /// One value.
    fn single(&mut self, at: usize, node: &Node, content: Content, binding: Option<SetId>) {
        match content {
            Content::Primitive(kind) => self.primitive(at, node, kind, binding),
            Content::Complex(id) => {
                self.object(at, id, false);
                if let Some(set) = binding.and_then(|b| self.table.set(b)) {
                    rules::bound(self, at, id, set);
                }
            }
            Content::Reference(id, targets) => {
                self.object(at, id, false);
                reference::check(self, at, targets.map_or(&[], |t| self.table.targets(t)));
            }
            Content::Resource => self.inner_resource(at),
        }
    }

    fn inner_resource(&mut self, at: usize) {
        let contained = self.path.last().is_some_and(|step| step.name == "contained");
        if !contained {
            // Of a Bundle or Parameters: what is in it stands on its own.
            let outer = std::mem::take(&mut self.home);
            self.resource(at);
            self.home = outer;
            return;
        }
        if self.home.within_contained {
            self.error(Code::Invariant, at, "a contained resource must not contain others (dom-2)");
            return;
        }
        self.home.within_contained = true;
        self.resource(at);
        self.home.within_contained = false;
        rules::contained(self, at);
    }

    fn primitive(&mut self, at: usize, node: &Node, kind: Primitive, binding: Option<SetId>) {
        let right = match node.kind {
            Kind::String | Kind::Escaped => !kind.is_number() && kind != Primitive::Boolean,
            Kind::Number => kind.is_number(),
            Kind::True | Kind::False => kind == Primitive::Boolean,
            Kind::Object | Kind::Array | Kind::Null => false,
        };
        if !right {
            let text = format!("not of the type {}: {}", kind.name(), kind.form());
            self.error(Code::Structure, at, &text);
            return;
        }
        let text = self.json.string(node).unwrap_or_else(|| Cow::Borrowed(self.json.raw(node)));
        if kind == Primitive::Xhtml {
            if let Some(fault) = xhtml::fault(&text) {
                self.error(Code::Invariant, at, fault);
            }
            return;
        }
        if !kind.fits(&text) {
            let said = format!("not of the type {}: {}", kind.name(), kind.form());
            self.error(Code::Value, at, &said);
            return;
        }
        if matches!(kind, Primitive::Uri | Primitive::Canonical | Primitive::Url)
            && let Some(fragment) = fragment(&text)
        {
            self.home.used.insert(fragment);
        }
        if let Some(set) = binding.and_then(|b| self.table.set(b))
            && !set.contains(None, &text)
        {
            let said = format!("not a code of the value set `{}`, which is required here", set.name);
            self.error(Code::CodeInvalid, at, &said);
        }
    }
}

/// What follows the `#` of an address within the resource.
fn fragment<'a>(text: &Cow<'a, str>) -> Option<Cow<'a, str>> {
    match text {
        Cow::Borrowed(text) => text.strip_prefix('#').map(Cow::Borrowed),
        Cow::Owned(text) => text.strip_prefix('#').map(|rest| Cow::Owned(rest.to_owned())),
    }
}

/// A name of the type that differs from this one in case, in one letter, or in the lack of its type's name. What
/// was written is not repeated: it came from outside.
fn nearest<'t>(kind: &'t Type, name: &str) -> Option<&'t str> {
    let alike = |known: &str| {
        known.eq_ignore_ascii_case(name)
            || (name.len() > 2
                && known.len().abs_diff(name.len()) <= 1
                && one_edit(known.as_bytes(), name.as_bytes()))
    };
    kind.names().find(|known| alike(known))
}

/// Whether one letter was changed, left out, added, or changed places with its neighbour.
fn one_edit(a: &[u8], b: &[u8]) -> bool {
    let same = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let (a, b) = (a.get(same..).unwrap_or_default(), b.get(same..).unwrap_or_default());
    let tail = |s: &'_ [u8], n: usize| s.get(n..).map(<[u8]>::to_vec);
    tail(a, 1) == tail(b, 1)
        || tail(a, 1).as_deref() == Some(b)
        || Some(a) == tail(b, 1).as_deref()
        || (tail(a, 2).is_some()
            && tail(a, 2) == tail(b, 2)
            && a.first() == b.get(1)
            && a.get(1) == b.first())
}
