//! What was said about whom, as the journal keeps it. No id stands here: people are keyed digests.

use std::collections::HashMap;

use model::{RecordId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// Most statements that are kept. Beyond, delivery to destinations that ask for consent stops.
pub const STATEMENTS_MAX: usize = 250_000;
/// Longest list of people who opted out.
pub const LIST_MAX: usize = 250_000;

/// A patient or a visit by one of its ids: keyed digests of the id and of who assigned it, where that is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Person {
    id: Id,
    authority: Option<u64>,
}

/// A digest of 128 bits; CBOR has no wider numbers than 64.
type Id = [u64; 2];

/// Bytes of a [`Person`] in a list.
const PERSON_BYTES: usize = 24;

impl Person {
    pub(crate) fn new(id: [u8; 32], authority: Option<[u8; 32]>) -> Self {
        let authority = authority.and_then(|digest| digest.first_chunk().copied()).map(u64::from_be_bytes);
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] = id;
        let id = [[a, b, c, d, e, f, g, h], [i, j, k, l, m, n, o, p]].map(u64::from_be_bytes);
        // Zero stands for none in a list.
        Self { id, authority: authority.map(|authority| authority.max(1)) }
    }

    /// Whether both may be the same: an id without its authority is one of any authority.
    fn may_be(&self, other: &Self) -> bool {
        self.id == other.id && self.authority.zip(other.authority).is_none_or(|(one, another)| one == another)
    }

    /// For the audit log: no more than tells two people of a hospital apart.
    pub(crate) fn shown(&self) -> String {
        let [first, _] = self.id;
        let [a, b, c, d, e, f, ..] = first.to_be_bytes();
        hex::encode([a, b, c, d, e, f])
    }
}

/// By what something was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// A person at the box.
    Operator,
    /// PD1-12, PV1-16, PV2-22.
    Indicator,
    /// ARV.
    Restriction,
    /// CON.
    Form,
    /// A FHIR Consent.
    Resource,
    /// MRG: who was merged into this one had refused.
    Merge,
}

/// What was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Word {
    /// Data may not be handed on.
    Deny,
    /// It may.
    Permit,
    /// What was said before holds no longer.
    Nothing,
}

/// Something that was said about one person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Statement {
    pub(crate) about: Person,
    pub(crate) source: Source,
    /// Which form or resource, as a digest; 0 where its source has one word alone.
    pub(crate) which: u64,
    pub(crate) word: Word,
    /// The last day on which a permission holds, as a number `YYYYMMDD`.
    pub(crate) until: Option<u32>,
    /// When, and by which record.
    pub(crate) at: Timestamp,
    pub(crate) record: Option<RecordId>,
}

impl Statement {
    fn same_place(&self, other: &Self) -> bool {
        self.about == other.about && self.source == other.source && self.which == other.which
    }

    /// A record that is read again says nothing new: by its number where both are of one log, else by its time. A clock may
    /// have been set back: what a person says counts from then on, and no refusal is passed over for its time.
    fn is_older_than(&self, other: &Self) -> bool {
        match (self.record, other.record) {
            (Some(one), Some(another)) if (one.lane, one.epoch) == (another.lane, another.epoch) => {
                one.seq < another.seq
            }
            (Some(_), _) => self.word != Word::Deny && self.at < other.at,
            (None, _) => false,
        }
    }
}

/// What is said of somebody, all in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Denied,
    Permitted,
    Unknown,
}

/// The list of people who opted out that is in force.
#[derive(Debug, Clone, Default)]
struct List {
    /// Its number; 0 for none.
    number: u64,
    at: Option<Timestamp>,
    people: HashMap<Id, Vec<Option<u64>>>,
    count: u64,
}

/// An entry of the journal about consents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Entry {
    Said(Vec<Statement>),
    /// A part of a list that is not in force before it is complete.
    ListPart {
        number: u64,
        people: ByteBuf,
    },
    /// It is in force from here, in the place of the one before.
    ListComplete {
        number: u64,
        count: u64,
        at: Timestamp,
    },
}

/// Statements of an [`Entry::Said`], and people of a [`Entry::ListPart`]: an entry stands in a record's envelope, which takes
/// 64 KiB, and a statement 170 bytes at most.
pub(super) const PER_ENTRY: usize = 250;

/// Everything that was said and holds.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    by_id: HashMap<Id, Vec<Statement>>,
    statements: usize,
    list: List,
    /// The parts of a list that is not complete.
    coming: List,
}

impl Kept {
    pub(crate) fn apply(&mut self, entry: Entry) {
        match entry {
            Entry::Said(statements) => statements.into_iter().for_each(|s| self.say(s)),
            Entry::ListPart { number, people } => {
                if self.coming.number != number {
                    self.coming = List { number, ..List::default() };
                }
                for person in people_of(&people) {
                    // The state may be said again between two parts; then one of them stands twice.
                    let authorities = self.coming.people.entry(person.id).or_default();
                    if !authorities.contains(&person.authority) {
                        authorities.push(person.authority);
                        self.coming.count += 1;
                    }
                }
            }
            Entry::ListComplete { number, count, at } => {
                let coming = std::mem::take(&mut self.coming);
                let coming =
                    if coming.number == number { coming } else { List { number, ..List::default() } };
                // A list that lost a part is not the one that was given: the former stays in force.
                if coming.count == count {
                    self.list = List { at: Some(at), ..coming };
                }
            }
        }
    }

    fn say(&mut self, new: Statement) {
        let all = self.by_id.entry(new.about.id).or_default();
        match all.iter_mut().find(|old| old.same_place(&new)) {
            Some(old) if new.is_older_than(old) => {}
            Some(old) => *old = new,
            None => {
                all.push(new);
                self.statements += 1;
            }
        }
    }

    /// Whether a statement would change what stands in its place; `None` where nothing does.
    pub(crate) fn changes(&self, new: &Statement) -> Option<bool> {
        let old = self.by_id.get(&new.about.id)?.iter().find(|old| old.same_place(new))?;
        Some(!new.is_older_than(old) && (old.word, old.until) != (new.word, new.until))
    }

    pub(crate) const fn statements(&self) -> usize {
        self.statements
    }

    /// How many people the list in force names, and since when.
    pub(crate) const fn list(&self) -> (u64, Option<Timestamp>) {
        (self.list.count, self.list.at)
    }

    /// The number of the next list.
    pub(crate) fn next_list(&self) -> u64 {
        self.list.number.max(self.coming.number) + 1
    }

    fn is_listed(&self, person: &Person) -> bool {
        let authorities = self.list.people.get(&person.id).into_iter().flatten();
        authorities.into_iter().any(|a| Person { id: person.id, authority: *a }.may_be(person))
    }

    /// The statements about a person.
    fn about<'k>(&'k self, person: &'k Person) -> impl Iterator<Item = &'k Statement> {
        self.by_id.get(&person.id).into_iter().flatten().filter(|s| s.about.may_be(person))
    }

    /// The statements in force about anybody of a source, for a person to be shown.
    pub(crate) fn count(&self, source: Source, word: Word) -> u64 {
        let all = self.by_id.values().flatten();
        all.filter(|s| s.source == source && s.word == word).count() as u64
    }

    /// Entries that give this state.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        let statements: Vec<Statement> = self.by_id.values().flatten().cloned().collect();
        let mut entries: Vec<Entry> =
            statements.chunks(PER_ENTRY).map(|part| Entry::Said(part.to_vec())).collect();
        entries.extend(parts(self.list.number, &self.list.all()));
        if let List { number, at: Some(at), count, .. } = self.list {
            entries.push(Entry::ListComplete { number, count, at });
        }
        entries.extend(parts(self.coming.number, &self.coming.all()));
        entries
    }
}

impl List {
    fn all(&self) -> Vec<Person> {
        let of = |(id, all): (&Id, &Vec<Option<u64>>)| {
            let id = *id;
            all.iter().map(move |authority| Person { id, authority: *authority }).collect::<Vec<_>>()
        };
        self.people.iter().flat_map(of).collect()
    }
}

/// The parts of a list.
pub(crate) fn parts(number: u64, people: &[Person]) -> impl Iterator<Item = Entry> + '_ {
    people.chunks(PER_ENTRY).map(move |part| {
        let mut bytes = Vec::with_capacity(part.len() * PERSON_BYTES);
        for person in part {
            let [one, two] = person.id;
            for number in [one, two, person.authority.unwrap_or(0)] {
                bytes.extend_from_slice(&number.to_be_bytes());
            }
        }
        Entry::ListPart { number, people: ByteBuf::from(bytes) }
    })
}

fn people_of(bytes: &[u8]) -> impl Iterator<Item = Person> + '_ {
    bytes.chunks_exact(PERSON_BYTES).filter_map(|bytes| {
        let (numbers, _) = bytes.as_chunks::<8>();
        let [one, two, authority] = <[[u8; 8]; 3]>::try_from(numbers).ok()?.map(u64::from_be_bytes);
        Some(Person { id: [one, two], authority: (authority != 0).then_some(authority) })
    })
}

/// What the journal and what was said since, together, say of these people on a day. Deny overrides.
pub(crate) fn standing(kept: &[&Kept], people: &[Person], today: u32) -> Standing {
    let mut standing = Standing::Unknown;
    for person in people {
        if kept.iter().any(|kept| kept.is_listed(person)) {
            return Standing::Denied;
        }
        for statement in kept.iter().flat_map(|kept| kept.about(person)) {
            // One and the same place may stand in both: the newer counts.
            let is_replaced = kept
                .iter()
                .flat_map(|kept| kept.about(&statement.about))
                .any(|other| other.same_place(statement) && statement.is_older_than(other));
            match statement.word {
                _ if is_replaced => {}
                Word::Deny => return Standing::Denied,
                Word::Permit if statement.until.is_none_or(|until| until >= today) => {
                    standing = Standing::Permitted;
                }
                Word::Permit | Word::Nothing => {}
            }
        }
    }
    standing
}

#[cfg(test)]
mod tests {
    use super::*;

    fn people(count: u8) -> Vec<Person> {
        (0..count).map(|n| Person::new([n; 32], (n % 2 == 0).then_some([n; 32]))).collect()
    }

    /// The journal's oldest part may go in the middle of an import: the state is said again between two parts of the list.
    #[test]
    fn a_list_is_whole_though_the_state_was_said_again_between_its_parts() {
        let (former, list) = (people(3), people(8));
        let at = Timestamp::from_micros(7);
        let mut kept = Kept::default();
        parts(1, &former).for_each(|part| kept.apply(part));
        kept.apply(Entry::ListComplete { number: 1, count: 3, at });
        let (one, other) = list.split_at(5);
        parts(2, one).for_each(|part| kept.apply(part));
        // Said again: for who has all of it, and for who has nothing from before.
        let again = kept.entries();
        let mut later = Kept::default();
        for entry in again {
            kept.apply(entry.clone());
            later.apply(entry);
        }
        for kept in [&mut kept, &mut later] {
            assert_eq!(kept.list(), (3, Some(at)), "the former one is in force until then");
            parts(2, other).for_each(|part| kept.apply(part));
            kept.apply(Entry::ListComplete { number: 2, count: 8, at });
            assert_eq!(kept.list(), (8, Some(at)));
            assert!(list.iter().all(|person| kept.is_listed(person)));
        }
    }
}
