//! One message on its way: segments in order, each put into the resources that its map names.

use std::collections::HashMap;

use super::coded::is_code;
use super::ids::{Identity, Ids, uuid};
use super::leaves::{Cut, Leaf, Level, Node};
use super::place::{Labels, merge, place};
use super::report::{Kept, Report, Way};
use super::{Context, Converted, Error, primitives};
use crate::json::{Json, Name, Object};
use crate::maps::{Cond, DEPTH_MAX, How, Line, Maps, Mode, Section, Source, Step};

/// Most resources of one bundle.
pub const RESOURCES_MAX: usize = 200_000;

/// A resource that is being filled.
pub(crate) struct Resource {
    pub(crate) kind: Name,
    pub(crate) id: String,
    pub(crate) body: Object,
    /// Numbers of the segments that touched it.
    touched: Vec<usize>,
}

/// A leaf that a value under way is made of.
pub(crate) struct Pending {
    leaf: usize,
    official: bool,
    /// Below the element that is being made; empty unless traced.
    path: String,
    /// The path begins with a resource already.
    absolute: bool,
    /// For a code that no table translates: the table's system, and the code.
    untranslated: Option<(String, String)>,
}

pub(crate) struct Run<'c, 'm> {
    pub(crate) maps: &'c Maps,
    ids: &'c dyn Ids,
    pub(crate) context: Context<'c>,
    pub(crate) cuts: &'c [Cut<'m>],
    pub(crate) message: (String, String),
    /// The authority of identifiers that name none.
    scope: String,
    pub(crate) resources: Vec<Resource>,
    current: Vec<(Name, usize)>,
    parent: Option<usize>,
    /// The segment under way.
    pub(crate) at: usize,
    known: HashMap<String, usize>,
    pub(crate) pending: Vec<Pending>,
    pub(crate) ways: Vec<Option<Way>>,
    kept: Vec<Kept>,
    depth: usize,
    positional: usize,
    /// Members of the Bundle itself.
    pub(crate) bundle_members: Object,
    /// Segments with a number of their own: name and number.
    pub(crate) segments_named: Vec<(String, String)>,
}

impl<'c, 'm> Run<'c, 'm> {
    pub(crate) fn new(
        maps: &'c Maps,
        ids: &'c dyn Ids,
        context: Context<'c>,
        cuts: &'c [Cut<'m>],
        leaves: usize,
    ) -> Option<Self> {
        let msh = cuts.iter().find(|cut| cut.name == "MSH")?.node();
        let text = |path| msh.at(path).text().unwrap_or_default().to_owned();
        let facility = text([4, 1, 0]);
        let scope = if facility.is_empty() { text([3, 1, 0]) } else { facility };
        Some(Self {
            maps,
            ids,
            context,
            cuts,
            message: (text([9, 1, 0]), text([9, 2, 0])),
            scope,
            resources: Vec::new(),
            current: Vec::new(),
            parent: None,
            at: 0,
            known: HashMap::new(),
            pending: Vec::new(),
            ways: vec![None; leaves],
            kept: Vec::new(),
            depth: 0,
            positional: 0,
            bundle_members: Object::new(),
            segments_named: Vec::new(),
        })
    }

    pub(crate) fn convert(mut self) -> Result<Converted, Error> {
        for at in 0..self.cuts.len() {
            self.at = at;
            self.segment();
            if self.resources.len() > RESOURCES_MAX {
                return Err(Error::TooManyResources);
            }
        }
        self.finish();
        let mut report = Report {
            message_type: [self.message.0.as_str(), self.message.1.as_str()].join("_"),
            leaves: self.ways.len(),
            ..Report::default()
        };
        self.rest(&mut report);
        for way in &self.ways {
            match way {
                Some(Way::Official) => report.official += 1,
                Some(Way::Ours) => report.ours += 1,
                Some(Way::Rest) => report.rest += 1,
                None => {}
            }
        }
        report.kept = std::mem::take(&mut self.kept);
        Ok(Converted { bundle: self.bundle(), report })
    }

    fn segment(&mut self) {
        let Some(cut) = self.cuts.get(self.at) else { return };
        let maps = self.maps;
        let Some(map) = maps.segments.get(cut.name.as_ref()) else {
            self.parent = None;
            return;
        };
        self.current.retain(|(kind, _)| !map.clears.contains(kind));
        let mut about = None;
        let before = self.parent;
        for section in &map.sections {
            if section.when.as_ref().is_some_and(|when| !self.holds(when, cut.node())) {
                continue;
            }
            if &*section.resource == "Bundle" {
                let mut members = std::mem::take(&mut self.bundle_members);
                self.pending.clear();
                self.lines(&section.lines, cut.node(), &mut members, true);
                self.bundle_members = members;
                self.commit("Bundle");
                continue;
            }
            let Some(index) = self.resource_for(section, cut) else { continue };
            let beside =
                matches!(&*section.resource, "Organization" | "Device" | "Provenance" | "Practitioner");
            if section.mode != Mode::Parent && about.is_none() && !beside {
                about = Some(index);
            }
            self.section(section, index, cut);
        }
        self.parent = about.or(before);
    }

    fn section(&mut self, section: &Section, index: usize, cut: &Cut<'m>) {
        let Some(resource) = self.resources.get_mut(index) else { return };
        resource.touched.push(self.at);
        let kind = Name::clone(&resource.kind);
        let mut body = std::mem::take(&mut resource.body);
        let root = if self.context.trace { kind.to_string() } else { String::new() };
        self.pending.clear();
        self.lines(&section.lines, cut.node(), &mut body, true);
        if section.mode == Mode::Beside && self.pending.is_empty() && self.resources.len() == index + 1 {
            // Nothing was said, so there is nothing to make.
            if let Some(none) = self.resources.pop() {
                self.known.remove(&none.id);
            }
            return;
        }
        self.tags(&mut body, 0);
        if let Some(resource) = self.resources.get_mut(index) {
            resource.body = body;
        }
        self.commit(&root);
    }

    /// Writes down where the pending leaves are.
    fn commit(&mut self, root: &str) {
        for pending in std::mem::take(&mut self.pending) {
            let way = if pending.official { Way::Official } else { Way::Ours };
            if let Some(slot) = self.ways.get_mut(pending.leaf) {
                *slot = Some(slot.map_or(way, |old| old.min(way)));
            }
            if self.context.trace {
                let to = if pending.absolute { pending.path } else { join(root, &pending.path) };
                self.kept.push(Kept { from: self.trace_path(pending.leaf), to, way });
            }
        }
    }

    fn resource_for(&mut self, section: &Section, cut: &Cut<'m>) -> Option<usize> {
        let current = self.current_of(&section.resource);
        match section.mode {
            Mode::Parent => self.parent,
            Mode::Current => current,
            Mode::Open => current.or_else(|| Some(self.create(section, cut))),
            Mode::New | Mode::Beside => Some(self.create(section, cut)),
            Mode::Join => {
                let free = current.filter(|index| {
                    let touched =
                        self.resources.get(*index).map(|r| r.touched.as_slice()).unwrap_or_default();
                    !touched.iter().any(|at| self.cuts.get(*at).is_some_and(|c| c.name == cut.name))
                });
                free.or_else(|| Some(self.create(section, cut)))
            }
        }
    }

    fn create(&mut self, section: &Section, cut: &Cut<'m>) -> usize {
        let key = self.key(&section.key, cut.node());
        let (id, _) = self.identify(&section.resource, key, true);
        let index = self.push(&section.resource, id, Object::new());
        if section.mode != Mode::Beside {
            self.current.retain(|(kind, _)| *kind != section.resource);
            self.current.push((Name::clone(&section.resource), index));
        }
        index
    }

    pub(crate) fn push(&mut self, kind: &Name, id: String, body: Object) -> usize {
        let index = self.resources.len();
        self.known.insert(id.clone(), index);
        self.resources.push(Resource { kind: Name::clone(kind), id, body, touched: Vec::new() });
        index
    }

    /// An id, and the resource that has it already. `fresh` asks for one that no resource has.
    pub(crate) fn identify(
        &mut self,
        kind: &str,
        key: Option<String>,
        fresh: bool,
    ) -> (String, Option<usize>) {
        if let Some(key) = key {
            let id = uuid(self.ids.id(Identity { resource: kind, key: &key }));
            let known = self.known.get(&id).copied();
            if known.is_none() || !fresh {
                return (id, known);
            }
            for n in 2..=RESOURCES_MAX {
                let key = format!("{key}#{n}");
                let id = uuid(self.ids.id(Identity { resource: kind, key: &key }));
                if !self.known.contains_key(&id) {
                    return (id, None);
                }
            }
        }
        self.positional += 1;
        let key = format!("{}/{}#{}", self.context.gateway, self.context.record, self.positional);
        (uuid(self.ids.id(Identity { resource: kind, key: &key })), None)
    }

    /// The first alternative whose first part says something.
    pub(crate) fn key(&self, alternatives: &[Vec<Source>], node: Node<'_, 'm>) -> Option<String> {
        alternatives.iter().find_map(|parts| {
            let mut key = String::new();
            for (n, part) in parts.iter().enumerate() {
                let found = self.find(node, *part);
                if n == 0 && found.is_empty() {
                    return None;
                }
                if n > 0 {
                    key.push('|');
                }
                if n > 0 && found.is_empty() {
                    key.push_str(&self.scope);
                } else {
                    key.push_str(&found.joined());
                }
            }
            if parts.len() == 1 {
                key.push('|');
                key.push_str(&self.scope);
            }
            Some(key)
        })
    }

    fn find<'a>(&self, node: Node<'a, 'm>, source: Source) -> Node<'a, 'm> {
        let [first, second, third] = source.0;
        if node.level == Level::Segment && second > 0 {
            return node.child(first).at([second, third, 0]);
        }
        node.at(source.0)
    }

    pub(crate) fn current_of(&self, kind: &str) -> Option<usize> {
        self.current.iter().find(|(k, _)| &**k == kind).map(|(_, index)| *index)
    }

    pub(crate) fn reference(&self, index: usize) -> Option<Json> {
        let id = &self.resources.get(index)?.id;
        Some(Object::from([("reference", Json::Text(format!("urn:uuid:{id}")))]).into())
    }

    pub(crate) fn holds(&self, when: &Cond, node: Node<'_, 'm>) -> bool {
        let is_one_of = |source: &Source, values: &[Box<str>]| {
            let found = self.find(node, *source);
            found.text().is_some_and(|text| values.iter().any(|v| v.eq_ignore_ascii_case(text)))
        };
        match when {
            Cond::Valued(sources) => sources.iter().any(|source| !self.find(node, *source).is_empty()),
            Cond::Empty(source) => self.find(node, *source).is_empty(),
            Cond::In(source, values) => is_one_of(source, values),
            Cond::NotIn(source, values) => !is_one_of(source, values),
            Cond::Message(types) => types.iter().any(|t| match t.split_once('_') {
                Some((code, event)) => code == self.message.0 && event == self.message.1,
                None => **t == *self.message.0,
            }),
            Cond::Have(kinds) => kinds.iter().any(|kind| self.current_of(kind).is_some()),
            Cond::Lack(kinds) => kinds.iter().all(|kind| self.current_of(kind).is_none()),
            Cond::Next(names) => {
                let own = self.cuts.get(self.at).map(|cut| cut.name.as_ref()).unwrap_or_default();
                let after = self.cuts.iter().skip(self.at + 1).take_while(|cut| cut.name != own);
                after.into_iter().any(|cut| names.iter().any(|n| **n == *cut.name))
            }
            Cond::Parent(kinds) => {
                let parent = self.parent.and_then(|index| self.resources.get(index));
                parent.is_some_and(|parent| kinds.contains(&parent.kind))
            }
            Cond::All(all) => all.iter().all(|when| self.holds(when, node)),
        }
    }

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
            self.untranslated(*table, node);
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

    fn untranslated(&mut self, table: usize, node: Node<'_, 'm>) {
        let node = node.first_leaf();
        let from = self.maps.table(table).and_then(|t| t.from.as_deref()).unwrap_or_default();
        if let Some(code) = node.text().filter(|code| is_code(code)) {
            let digits = from.rsplit("v2-").next().unwrap_or_default();
            let system = format!("urn:wardgate:hl7v2:table:{digits}");
            let code = code.to_owned();
            self.take(node, false, "");
            if let Some(pending) = self.pending.last_mut() {
                pending.untranslated = Some((system, code));
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
                let row = self.maps.table(*table)?.row(node.text()?)?;
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

    /// A component of an observation: the leaves that no line took, under the name of the field.
    fn left(&mut self, name: &Name, node: Node<'_, 'm>, official: bool) -> Option<Json> {
        let mut text = String::new();
        for (n, leaf) in node.leaves.iter().enumerate() {
            let taken = self.ways.get(leaf.number).is_some_and(Option::is_some)
                || self.pending.iter().any(|pending| pending.leaf == leaf.number);
            if taken {
                continue;
            }
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(&leaf.text);
            let one = Node { leaves: node.leaves.get(n..=n).unwrap_or_default(), level: node.level };
            self.take(one, official, "valueString");
        }
        if text.is_empty() {
            return None;
        }
        let code = Object::from([("text", Json::text(&**name))]);
        Some(Object::from([("code", code.into()), ("valueString", Json::Text(text))]).into())
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

    /// Says that the leaves of `node` are in the value under way, at `path` below it.
    pub(crate) fn take(&mut self, node: Node<'_, 'm>, official: bool, path: &str) {
        for leaf in node.leaves {
            let path = if self.context.trace { path.to_owned() } else { String::new() };
            self.pending.push(Pending {
                leaf: leaf.number,
                official,
                path,
                absolute: false,
                untranslated: None,
            });
        }
    }

    /// The same, with a path that begins with a resource.
    pub(crate) fn take_absolute(&mut self, node: Node<'_, 'm>, official: bool, path: &str) {
        let base = self.pending.len();
        self.take(node, official, path);
        for pending in self.pending.iter_mut().skip(base) {
            pending.absolute = true;
        }
    }

    /// Codes under way that no table translates become tags of the resource: a closed list of R4 cannot hold them, and
    /// what the sender wrote is not to be lost.
    fn tags(&mut self, body: &mut Object, base: usize) {
        if !self.pending.iter().skip(base).any(|pending| pending.untranslated.is_some()) {
            return;
        }
        let mut from = base;
        while let Some(pending) = self.pending.get_mut(from) {
            let Some((system, code)) = pending.untranslated.take() else {
                from += 1;
                continue;
            };
            let leaf = pending.leaf;
            let elsewhere = self.ways.get(leaf).is_some_and(Option::is_some)
                || self.pending.iter().enumerate().any(|(n, p)| n != from && p.leaf == leaf);
            if elsewhere {
                self.pending.remove(from);
                continue;
            }
            let tag = Object::from([("system", Json::Text(system)), ("code", Json::Text(code))]);
            let steps = [Step::Member(Name::from("meta")), Step::Append(Name::from("tag"))];
            let mut path = self.context.trace.then(String::new);
            place(body, &steps, &[], &mut Labels::new(), 1, tag.into(), &mut path);
            if let (Some(pending), Some(path)) = (self.pending.get_mut(from), path) {
                pending.path = path;
            }
            from += 1;
        }
    }

    /// `place` for natives: with the path of what has been taken since `base`.
    pub(crate) fn set(&mut self, object: &mut Object, name: &str, value: Json, base: usize) -> bool {
        let steps = [Step::Member(Name::from(name))];
        let mut path = self.context.trace.then(String::new);
        let placed = place(object, &steps, &[], &mut Labels::new(), 1, value, &mut path);
        if !placed {
            self.pending.truncate(base);
        } else if let Some(path) = path {
            for pending in self.pending.iter_mut().skip(base).filter(|p| !p.absolute) {
                pending.path = join(&path, &pending.path);
            }
        }
        placed
    }

    /// Puts the paths of what is pending since `base` below another.
    pub(crate) fn within(&mut self, base: usize, path: &str) {
        if self.context.trace {
            for pending in self.pending.iter_mut().skip(base) {
                pending.within(path);
            }
        }
    }

    pub(crate) fn scope(&self) -> &str {
        &self.scope
    }

    fn trace_path(&self, number: usize) -> String {
        let mut nth: HashMap<&str, usize> = HashMap::new();
        for cut in self.cuts {
            let nth = nth.entry(&cut.name).or_default();
            *nth += 1;
            if let Some(leaf) = cut.leaves.iter().find(|leaf| leaf.number == number) {
                return path_of(cut, *nth, leaf);
            }
        }
        String::new()
    }
}

impl Pending {
    pub(crate) fn within(&mut self, path: &str) {
        if !self.absolute {
            self.path = join(path, &self.path);
        }
    }
}

/// Where a leaf stood, with the number of its segment among those of its name: `OBX[3]-5[1].2`.
pub(crate) fn path_of(cut: &Cut<'_>, nth: usize, leaf: &Leaf<'_>) -> String {
    let mut path = format!("{}[{nth}]-{}[{}].{}", cut.name, leaf.field, leaf.repetition, leaf.component);
    if leaf.subcomponent > 1 {
        path.push_str(&format!(".{}", leaf.subcomponent));
    }
    path
}

pub(crate) fn join(head: &str, tail: &str) -> String {
    match (head.is_empty(), tail.is_empty()) {
        (true, _) => tail.to_owned(),
        (_, true) => head.to_owned(),
        _ => format!("{head}.{tail}"),
    }
}
