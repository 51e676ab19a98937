//! Lines of a map at work: from a node of the message to a value, and the value to its place.

use super::coded::is_code;
use super::leaves::{Level, Node};
use super::pending::{Untranslated, join};
use super::place::{Labels, merge, place};
use super::primitives;
use super::run::Run;
use crate::json::{Json, Name, Object};
use crate::maps::{DEPTH_MAX, How, Line, Step};

impl<'m> Run<'_, 'm> {
    /// Puts `node`, a segment or a value, into `object`.
    pub(crate) fn lines(&mut self, lines: &[Line], node: Node<'_, 'm>, object: &mut Object, official: bool) {
        let mut labels = Labels::new();
        self.lines_with(lines, node, object, official, &mut labels);
    }

    fn lines_with(
        &mut self,
        lines: &[Line],
        node: Node<'_, 'm>,
        object: &mut Object,
        official: bool,
        labels: &mut Labels,
    ) {
        for line in lines {
            if line.when.as_ref().is_some_and(|when| !self.holds(when, node)) {
                continue;
            }
            let official = official && line.official;
            let Some(source) = line.source else {
                let value = match &line.how {
                    How::Constant(value) => Some(value.clone()),
                    How::Current(kind) => self.current_of(kind).and_then(|index| self.reference(index)),
                    _ => None,
                };
                if let Some(value) = value {
                    place(object, &line.target, &line.with, labels, 1, value, &mut None);
                }
                continue;
            };
            if node.level != Level::Segment {
                let found = node.at(source.0);
                if !found.is_empty() {
                    self.line(line, found, 1, object, official, labels);
                }
                continue;
            }
            let [field, component, sub] = source.0;
            let field = node.child(field);
            if let How::Native(native) = &line.how
                && native.takes_the_field()
            {
                if !field.is_empty() {
                    self.direct(*native, field, object, official);
                }
                continue;
            }
            for (repetition, value) in field.repetitions() {
                let value = value.at([component, sub, 0]);
                if !value.is_empty() {
                    self.line(line, value, repetition, object, official, labels);
                }
            }
        }
    }

    fn line(
        &mut self,
        line: &Line,
        node: Node<'_, 'm>,
        repetition: u16,
        object: &mut Object,
        official: bool,
        labels: &mut Labels,
    ) {
        let base = self.pending.len();
        if let How::Into(id) = &line.how {
            if let Some(map) = self.maps.type_map(*id)
                && self.deeper()
            {
                self.lines_with(&map.lines, node, object, official, labels);
                self.depth -= 1;
            }
            return;
        }
        let value = self.value(&line.how, node, official);
        if let (None, How::Code(table)) = (&value, &line.how) {
            self.untranslated(*table, node, false);
            return;
        }
        let mut path = self.context.trace.then(String::new);
        let placed = value.is_some_and(|value| {
            place(object, &line.target, &line.with, labels, repetition, value, &mut path)
        });
        // What stands in an extension alone is not kept: the rest has it too.
        if !placed || line.target.iter().any(|step| matches!(step, Step::Extension(_))) {
            self.pending.truncate(base);
            return;
        }
        if let Some(path) = path {
            for pending in self.pending.iter_mut().skip(base).filter(|p| !p.absolute) {
                pending.path = join(&path, &pending.path);
            }
        }
    }

    /// Whether the v2 table of a translation has the code. Where R4 does not publish the table, nobody can tell.
    fn is_of_the_table(&self, table: usize, code: &str) -> bool {
        let from = self.maps.table(table).and_then(|t| t.from.as_deref()).unwrap_or_default();
        let known = from.rsplit("v2-").next().and_then(|digits| self.maps.known.get(digits));
        known.is_none_or(|codes| codes.contains(code))
    }

    /// Notes a code for a tag: one that no table translates, or (`always`) one whose translation says less.
    pub(crate) fn untranslated(&mut self, table: usize, node: Node<'_, 'm>, always: bool) {
        let node = node.first_leaf();
        let from = self.maps.table(table).and_then(|t| t.from.as_deref()).unwrap_or_default();
        if let Some(code) = node.text().filter(|code| is_code(code)) {
            let digits = from.rsplit("v2-").next().filter(|d| d.len() == 4).unwrap_or("local");
            let system = format!("urn:wardgate:hl7v2:table:{digits}");
            let code = code.to_owned();
            self.take(node, false, "");
            if let Some(pending) = self.pending.last_mut() {
                pending.untranslated = Some(Untranslated { system, code, always });
            }
        }
    }

    const fn deeper(&mut self) -> bool {
        let fits = self.depth < DEPTH_MAX;
        if fits {
            self.depth += 1;
        }
        fits
    }

    fn value(&mut self, how: &How, node: Node<'_, 'm>, official: bool) -> Option<Json> {
        match how {
            How::Constant(_) | How::Current(_) | How::Into(_) => None,
            How::Primitive(kind) => self.primitive(*kind, node, official),
            How::Code(table) => {
                let node = node.first_leaf();
                let code = node.text()?;
                let row = self.maps.table(*table)?.row(code)?;
                if !self.is_of_the_table(*table, code) {
                    self.untranslated(*table, node, true);
                }
                self.take(node, official, "");
                Some(Json::text(&*row.code))
            }
            How::TableCoding(table) => {
                let node = node.first_leaf();
                let code = node.text().filter(|code| is_code(code))?;
                let coding = Object::from([
                    ("system", Json::Text(self.table_uri(table, code))),
                    ("code", Json::text(code)),
                ]);
                self.take(node, official, "code");
                Some(coding.into())
            }
            How::Left(name) => self.left(name, node, official),
            How::Closed(table) => self.closed(*table, node, official),
            How::Coded(kind, table) => self.coded(*kind, *table, node, official),
            How::Type(id) => {
                let map = self.maps.type_map(*id)?;
                if !self.deeper() {
                    return None;
                }
                let base = self.pending.len();
                let mut object = Object::new();
                self.lines(&map.lines, node, &mut object, official);
                self.depth -= 1;
                if self.pending.len() == base || object.is_empty() {
                    return None;
                }
                if !map.is_resource {
                    return Some(object.into());
                }
                self.tags(&mut object, base);
                let key = self.key(&map.key, node).map(|key| format!("{}|{key}", map.variant));
                self.intern(&map.target, key, object, base)
            }
            How::Native(native) => self.native(*native, node, official),
        }
    }

    /// Components of an observation: the leaves that no line took, each under the name of the field.
    fn left(&mut self, name: &Name, node: Node<'_, 'm>, official: bool) -> Option<Json> {
        let mut components = Vec::new();
        for (n, leaf) in node.leaves.iter().enumerate() {
            let taken = self.ways.get(leaf.number).is_some_and(Option::is_some)
                || self.pending.iter().any(|pending| pending.leaf == leaf.number);
            if taken {
                continue;
            }
            let one = Node { leaves: node.leaves.get(n..=n).unwrap_or_default(), level: node.level };
            self.take(one, official, "valueString");
            let code = Object::from([("text", Json::text(&**name))]);
            let component = Object::from([("code", code.into()), ("valueString", Json::text(&*leaf.text))]);
            components.push(component.into());
        }
        (!components.is_empty()).then_some(Json::Array(components))
    }

    /// A reference to a resource of this content: the one that has its identity already, or a new one.
    pub(crate) fn intern(
        &mut self,
        kind: &Name,
        key: Option<String>,
        mut object: Object,
        base: usize,
    ) -> Option<Json> {
        if self.context.trace {
            for pending in self.pending.iter_mut().skip(base).filter(|p| !p.absolute) {
                pending.path = join(kind, &pending.path);
                pending.absolute = true;
            }
        }
        // What has no identity of its own is the same as what reads the same in the same message.
        let key = key.unwrap_or_else(|| {
            let mut text = format!("{}/{}#", self.context.gateway, self.context.record);
            object.write(&mut text);
            text
        });
        let (mut id, known) = self.identify(kind, Some(key), false);
        if let Some(index) = known {
            if let Some(resource) = self.resources.get_mut(index) {
                // Another spelling of the name of an organization or a place is another name of it.
                if let (Some(there), Some(name)) = (resource.body.get("name"), object.get("name"))
                    && there != name
                    && name.as_str().is_some()
                    && let Some(name) = object.remove("name")
                {
                    object.set("alias", Json::Array(vec![name]));
                }
                if merge(&mut resource.body, object.clone()) {
                    return self.reference(index);
                }
            }
            (id, _) = self.identify(kind, None, true);
        }
        let index = self.push(kind, id, object);
        self.reference(index)
    }

    pub(crate) fn primitive(
        &mut self,
        kind: crate::maps::Primitive,
        node: Node<'_, 'm>,
        official: bool,
    ) -> Option<Json> {
        use crate::maps::Primitive::{Base64, Markdown, String};
        if matches!(kind, String | Markdown | Base64) {
            let value = match node.leaves {
                [leaf] => primitives::convert(kind, &leaf.text, self.context.offset_minutes),
                _ => primitives::convert(kind, &node.joined(), self.context.offset_minutes),
            };
            self.take(node, official, "");
            return value;
        }
        let node = node.first_leaf();
        let value = primitives::convert(kind, node.text()?, self.context.offset_minutes)?;
        self.take(node, official, "");
        Some(value)
    }
}
