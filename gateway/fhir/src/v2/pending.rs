//! Leaves that a value under way is made of: they are kept once the value has found its place, and free again where it
//! does not.

use super::leaves::{Cut, Leaf, Node};
use super::place::{Labels, place};
use super::run::Run;
use crate::json::{Json, Name, Object};
use crate::maps::Step;

/// A leaf that a value under way is made of.
pub(crate) struct Pending {
    pub(crate) leaf: usize,
    pub(crate) official: bool,
    /// Below the element that is being made; empty unless traced.
    pub(crate) path: String,
    /// The path begins with a resource already.
    pub(crate) absolute: bool,
    /// For a code that no table translates: the table's system, and the code.
    pub(crate) untranslated: Option<Untranslated>,
}

/// A code that no element holds as it was sent.
pub(crate) struct Untranslated {
    pub(crate) system: String,
    pub(crate) code: String,
    /// Also where its translation stands in an element.
    pub(crate) always: bool,
}

impl<'m> Run<'_, 'm> {
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
    pub(crate) fn tags(&mut self, body: &mut Object, base: usize) {
        if !self.pending.iter().skip(base).any(|pending| pending.untranslated.is_some()) {
            return;
        }
        let mut from = base;
        while let Some(pending) = self.pending.get_mut(from) {
            let Some(Untranslated { system, code, always }) = pending.untranslated.take() else {
                from += 1;
                continue;
            };
            let leaf = pending.leaf;
            let elsewhere = !always
                && (self.ways.get(leaf).is_some_and(Option::is_some)
                    || self.pending.iter().enumerate().any(|(n, p)| n != from && p.leaf == leaf));
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
    pub(crate) fn set(&mut self, object: &mut Object, name: &'static str, value: Json, base: usize) -> bool {
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

    /// The path of a leaf of the segment under way.
    pub(crate) fn trace_path(&self, number: usize) -> String {
        let Some(cut) = self.cuts.get(self.at) else { return String::new() };
        let nth = self.cuts.iter().take(self.at + 1).filter(|other| other.name == cut.name).count();
        let leaf = cut.leaves.iter().find(|leaf| leaf.number == number);
        leaf.map(|leaf| path_of(cut, nth, leaf)).unwrap_or_default()
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
