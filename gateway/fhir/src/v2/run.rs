//! One message on its way: segments in order, each put into the resources that its map names.

use std::collections::HashMap;

use super::ids::{Identity, Ids, uuid};
use super::leaves::{Cut, Level, Node};
use super::pending::{Pending, join};
use super::report::{Kept, Report, Way};
use super::{Context, Converted, Error};
use crate::json::{Json, Name, Object};
use crate::maps::{Cond, Maps, Mode, Section, Source};

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

pub(crate) struct Run<'c, 'm> {
    pub(crate) maps: &'c Maps,
    ids: &'c dyn Ids,
    pub(crate) context: Context<'c>,
    pub(crate) cuts: &'c [Cut<'m>],
    pub(crate) message: (String, String),
    /// The authority of identifiers that name none.
    pub(crate) scope: String,
    pub(crate) resources: Vec<Resource>,
    current: Vec<(Name, usize)>,
    parent: Option<usize>,
    /// The segment under way.
    pub(crate) at: usize,
    known: HashMap<String, usize>,
    pub(crate) pending: Vec<Pending>,
    pub(crate) ways: Vec<Option<Way>>,
    kept: Vec<Kept>,
    pub(crate) depth: usize,
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
            let made = self.section(section, index, cut);
            if made && section.mode != Mode::Parent && about.is_none() && !beside {
                about = Some(index);
            }
        }
        // A note is about what stands before it, and so is the next one.
        if map.sections.iter().any(|section| section.mode == Mode::Parent) {
            about = None;
        }
        self.parent = about.or(before);
    }

    /// `false` where nothing was said, so that nothing was made.
    fn section(&mut self, section: &Section, index: usize, cut: &Cut<'m>) -> bool {
        let Some(resource) = self.resources.get_mut(index) else { return false };
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
            return false;
        }
        self.tags(&mut body, 0);
        if let Some(resource) = self.resources.get_mut(index) {
            resource.body = body;
        }
        self.commit(&root);
        true
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
}
