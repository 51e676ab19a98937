//! The leaf values of a message: every subcomponent that says something, in order, with its place.

use std::borrow::Cow;

use hl7::Message;

/// Most leaf values of one message: what is beyond is no message but an attack, and refused.
pub const LEAVES_MAX: usize = 2_000_000;

/// A value that cannot be cut further. `""` (delete what you have) says nothing that a resource can hold and is none.
pub(crate) struct Leaf<'m> {
    /// Field, repetition, component, subcomponent, from 1.
    pub(crate) field: u16,
    pub(crate) repetition: u16,
    pub(crate) component: u16,
    pub(crate) subcomponent: u16,
    /// Its number in the message.
    pub(crate) number: usize,
    /// Decoded, escapes resolved, trimmed; never empty.
    pub(crate) text: Cow<'m, str>,
}

/// A segment, cut.
pub(crate) struct Cut<'m> {
    pub(crate) name: Cow<'m, str>,
    pub(crate) leaves: Vec<Leaf<'m>>,
}

impl<'m> Cut<'m> {
    pub(crate) fn node(&self) -> Node<'_, 'm> {
        Node { leaves: &self.leaves, level: Level::Segment }
    }
}

/// Cuts a message. The number of leaves is returned too.
pub(crate) fn cut(message: &Message) -> (Vec<Cut<'_>>, usize) {
    let mut number = 0;
    let mut cuts = Vec::with_capacity(message.len());
    for segment in message.segments() {
        let name = text(segment.name().into());
        let literal = segment.is_header();
        let mut leaves = Vec::new();
        for (f, field) in (1_u16..).zip(segment.fields()) {
            if field.is_empty() || (literal && f <= 2) {
                continue;
            }
            for (r, repetition) in (1_u16..).zip(field.repetitions()) {
                for (c, component) in (1_u16..).zip(repetition.components()) {
                    for (s, sub) in (1_u16..).zip(component.subcomponents()) {
                        if sub.is_empty() || sub.is_null() || number >= LEAVES_MAX {
                            continue;
                        }
                        let text = text(sub.unescaped());
                        if text.is_empty() {
                            continue;
                        }
                        leaves.push(Leaf {
                            field: f,
                            repetition: r,
                            component: c,
                            subcomponent: s,
                            number,
                            text,
                        });
                        number += 1;
                    }
                }
            }
        }
        cuts.push(Cut { name, leaves });
    }
    (cuts, number)
}

/// UTF-8, else ISO 8859-1: no byte is lost either way. FHIR strings hold no control characters but TAB, LF and CR.
fn text(bytes: Cow<'_, [u8]>) -> Cow<'_, str> {
    let text: Cow<'_, str> = match bytes {
        Cow::Borrowed(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => Cow::Owned(bytes.iter().map(|b| char::from(*b)).collect()),
        },
        Cow::Owned(bytes) => Cow::Owned(match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => error.into_bytes().into_iter().map(char::from).collect(),
        }),
    };
    let control = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r');
    if text.contains(control) {
        return Cow::Owned(text.replace(control, " ").trim().to_owned());
    }
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
        Cow::Owned(text) if text.trim().len() == text.len() => Cow::Owned(text),
        Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
    }
}

/// What a node's children are told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Segment,
    Field,
    Repetition,
    Component,
    Subcomponent,
}

/// A part of a segment: the leaves below it.
#[derive(Clone, Copy)]
pub(crate) struct Node<'a, 'm> {
    pub(crate) leaves: &'a [Leaf<'m>],
    pub(crate) level: Level,
}

impl<'a, 'm> Node<'a, 'm> {
    pub(crate) const fn is_empty(&self) -> bool {
        self.leaves.is_empty()
    }

    /// The first leaf's text.
    pub(crate) fn text(&self) -> Option<&'a str> {
        self.leaves.first().map(|leaf| leaf.text.as_ref())
    }

    /// The first leaf alone.
    pub(crate) fn first_leaf(&self) -> Self {
        Node { leaves: self.leaves.get(..1).unwrap_or_default(), level: self.level }
    }

    fn slice(&self, level: Level, of: impl Fn(&Leaf<'m>) -> u16, number: u16) -> Self {
        let begin = self.leaves.partition_point(|leaf| of(leaf) < number);
        let rest = self.leaves.get(begin..).unwrap_or_default();
        let end = rest.partition_point(|leaf| of(leaf) == number);
        Node { leaves: rest.get(..end).unwrap_or_default(), level }
    }

    /// A field of a segment with all repetitions; a component of a repetition; a subcomponent of a component. A
    /// subcomponent's first child is itself: a value may be simpler than its type.
    pub(crate) fn child(&self, number: u16) -> Self {
        match self.level {
            Level::Segment => self.slice(Level::Field, |leaf| leaf.field, number),
            Level::Field => self.repetition(1).child(number),
            Level::Repetition => self.slice(Level::Component, |leaf| leaf.component, number),
            Level::Component => self.slice(Level::Subcomponent, |leaf| leaf.subcomponent, number),
            Level::Subcomponent if number == 1 => *self,
            Level::Subcomponent => Node { leaves: &[], level: Level::Subcomponent },
        }
    }

    pub(crate) fn repetition(&self, number: u16) -> Self {
        self.slice(Level::Repetition, |leaf| leaf.repetition, number)
    }

    /// The repetitions of a field that say something.
    pub(crate) fn repetitions(self) -> impl Iterator<Item = (u16, Self)> {
        let mut rest = self.leaves;
        std::iter::from_fn(move || {
            let number = rest.first()?.repetition;
            let end = rest.partition_point(|leaf| leaf.repetition == number);
            let (head, tail) = rest.split_at_checked(end)?;
            rest = tail;
            Some((number, Node { leaves: head, level: Level::Repetition }))
        })
    }

    /// Follows a path of child numbers, 0 ending it.
    pub(crate) fn at(&self, path: [u16; 3]) -> Self {
        path.into_iter().take_while(|n| *n > 0).fold(*self, |node, number| node.child(number))
    }

    /// All leaves as one text, with the separators of a standard message where there are several.
    pub(crate) fn joined(&self) -> String {
        let mut out = String::new();
        let mut before: Option<&Leaf<'_>> = None;
        for leaf in self.leaves {
            let (mut component, mut subcomponent) = (1, 1);
            if let Some(last) = before {
                if last.repetition != leaf.repetition {
                    out.push('~');
                } else {
                    (component, subcomponent) = (last.component, last.subcomponent);
                }
            } else if self.level == Level::Component {
                component = leaf.component;
            } else if self.level == Level::Subcomponent {
                (component, subcomponent) = (leaf.component, leaf.subcomponent);
            }
            for _ in component..leaf.component {
                out.push('^');
                subcomponent = 1;
            }
            for _ in subcomponent..leaf.subcomponent {
                out.push('&');
            }
            out.push_str(&leaf.text);
            before = Some(leaf);
        }
        out
    }
}
