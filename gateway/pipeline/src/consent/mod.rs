//! The consent gate: before a record is released to a destination that asks, what its patient said is looked up.
//!
//! **Promise.** Nothing of a patient who refuses goes to a destination that asks for consent, from the moment on at which the
//! refusal was read or given, also where the record arrived before. Deny overrides: one refusal counts whatever else was
//! said. Where it cannot be told whose a record is, it is held.
//!
//! **Who says something.** Records, as they are read by a destination that asks ([`said`]), whatever feed they come by and
//! wherever they are routed; the list of people who opted out, imported as a whole; and a person at the box. All of it stands
//! in the journal, as keyed digests; what records say goes there before a batch leaves that was shaped by it.
//!
//! **A list that is too old** stops delivery to the destinations that set an age for it: the records wait in the log.
//!
//! **Limits.** [`STATEMENTS_MAX`] statements; [`LIST_MAX`] people of the list. An id without its authority is one of any
//! authority. Ids that only stand together in a message are not taken for one patient, those of a merge (MRG) are.

mod kept;
mod said;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use deid::Clinical;
use model::{AuditAction, AuditEvent, Clock, Envelope, RecordId, Timestamp};
use serde::{Deserialize, Serialize};
use spool::{Keys, Spool};

use self::kept::{Person, Standing, Statement};
use self::said::{Digests, Fact, Said};
use crate::journal::Journal;
use crate::{Error, Handle};

pub(crate) use kept::{Entry, Kept};
pub use kept::{LIST_MAX, STATEMENTS_MAX, Source, Word};
pub use said::Codes;

/// What is asked for a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// What counts for somebody of whom nothing is known.
    pub unknown: Unknown,
    /// How old the list of people who opted out may be, in hours; `None`: any age, and there need be none.
    pub list_age_h_max: Option<u32>,
}

/// What counts for somebody of whom nothing is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Unknown {
    /// His data goes: people opt out.
    #[default]
    Permit,
    /// His data stays: people opt in.
    Deny,
}

/// What becomes of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Go,
    /// Its patient refuses, or has not agreed.
    Withhold,
    /// It cannot be told.
    Hold(&'static str),
}

/// A patient, as a person names him.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// His number.
    pub id: String,
    /// Who assigned it; of any authority where it is empty.
    #[serde(default)]
    pub authority: String,
}

/// Nothing of him is printed.
impl std::fmt::Debug for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Named(redacted)")
    }
}

/// How consents stand. Numbers alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Standings {
    /// People on the list in force.
    pub listed: u64,
    /// Since when it is in force.
    pub list_at: Option<Timestamp>,
    /// Statements, those taken back included.
    pub statements: u64,
    /// Most that are kept.
    pub statements_max: u64,
    /// Refusals in force by what said them.
    pub refusals: BTreeMap<Source, u64>,
    /// Permissions by what said them, those that have ended included.
    pub permissions: BTreeMap<Source, u64>,
}

/// What was said and is not in the journal yet.
#[derive(Debug, Default)]
struct Fresh {
    statements: Vec<Statement>,
    kept: Kept,
    /// There was no room for one.
    is_over: bool,
}

/// What is known of consents; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Consents {
    journal: Journal,
    spool: Arc<Spool>,
    clock: Arc<dyn Clock>,
    digests: Digests,
    fresh: Arc<Mutex<Fresh>>,
    /// Held by whoever writes to the journal.
    writing: Arc<tokio::sync::Mutex<()>>,
}

impl Consents {
    pub(crate) fn new(journal: Journal, spool: Arc<Spool>, clock: Arc<dyn Clock>) -> Self {
        let keys: Keys = spool.keys().clone();
        Self { journal, spool, clock, digests: Digests(keys), fresh: Arc::default(), writing: Arc::default() }
    }

    fn fresh(&self) -> MutexGuard<'_, Fresh> {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn today(&self) -> u32 {
        day_of(self.clock.now())
    }

    /// Reads what a record says, and keeps it.
    fn read(&self, id: RecordId, envelope: &Envelope, clinical: &Clinical, codes: &Codes) -> Reading {
        let provenance = &envelope.provenance;
        let said = match clinical {
            Clinical::Hl7(message) => {
                said::hl7(message, codes, &self.digests, day_of(provenance.received_at))
            }
            Clinical::Fhir { raw, .. } => match said::fhir(raw, &self.digests) {
                Some(said) => said,
                None => return Reading(None),
            },
            // A device's unit names no patient.
            Clinical::Observations { .. } => Said::default(),
        };
        // A copy says what its original said, and when.
        self.learn(&said, provenance.origin.unwrap_or(id), provenance.received_at);
        Reading(Some(said))
    }

    fn learn(&self, said: &Said, record: RecordId, at: Timestamp) {
        if said.facts.is_empty() && said.merged.is_empty() {
            return;
        }
        let statement = |about: &Person, fact: &Fact| Statement {
            about: *about,
            source: fact.source,
            which: fact.which,
            word: fact.word,
            until: fact.until,
            at,
            record: Some(record),
        };
        let mut new: Vec<Statement> = said
            .facts
            .iter()
            .flat_map(|fact| fact.about.iter().map(|about| statement(about, fact)))
            .collect();
        for (former, now) in &said.merged {
            if self.standing(former) == Standing::Denied {
                let fact = Fact {
                    about: Vec::new(),
                    source: Source::Merge,
                    which: 0,
                    word: Word::Deny,
                    until: None,
                };
                new.extend(now.iter().map(|about| statement(about, &fact)));
            }
        }
        self.journal.with_consents(|kept| {
            let mut fresh = self.fresh();
            for statement in new {
                // What takes back nothing is not kept.
                let changes = fresh.kept.changes(&statement).or_else(|| kept.changes(&statement));
                if !changes.unwrap_or(statement.word != Word::Nothing) {
                    continue;
                }
                // What changes something that is there takes no room.
                if changes.is_none() && kept.statements() + fresh.kept.statements() >= STATEMENTS_MAX {
                    fresh.is_over = true;
                    return;
                }
                fresh.kept.apply(Entry::Said(vec![statement.clone()]));
                fresh.statements.push(statement);
            }
        });
    }

    fn standing(&self, people: &[Person]) -> Standing {
        let today = self.today();
        self.journal.with_consents(|kept| kept::standing(&[kept, &self.fresh().kept], people, today))
    }

    /// Writes to the journal what records have said since. Nothing that was shaped by it may leave before.
    pub(crate) async fn settle(&self) -> Result<(), Error> {
        {
            let fresh = self.fresh();
            if fresh.is_over {
                return Err(Error::ConsentsFull);
            }
            if fresh.statements.is_empty() {
                return Ok(());
            }
        }
        let _writing = self.writing.lock().await;
        let statements = self.fresh().statements.clone();
        let (Some(first), Some(last)) = (statements.first(), statements.last()) else { return Ok(()) };
        let count = |word| statements.iter().filter(|s| s.word == word).count();
        let records = [first.record, last.record].map(|id| id.map_or_else(String::new, |id| id.to_string()));
        let detail = format!(
            "by records {} to {}: {} refusals, {} permissions, {} taken back",
            records[0],
            records[1],
            count(Word::Deny),
            count(Word::Permit),
            count(Word::Nothing)
        );
        self.audit("system", "what records say", detail)?;
        for part in statements.chunks(kept::PER_ENTRY) {
            self.journal.say_of_consents(Entry::Said(part.to_vec())).await?;
        }
        let mut fresh = self.fresh();
        fresh.statements.drain(..statements.len());
        let rest = fresh.statements.clone();
        fresh.kept = Kept::default();
        fresh.kept.apply(Entry::Said(rest));
        Ok(())
    }

    /// Whether the list is as new as the destination wants it.
    pub(crate) fn check_age(&self, asked: &Asked) -> Result<(), Error> {
        let Some(hours) = asked.list_age_h_max else { return Ok(()) };
        let (_, at) = self.journal.with_consents(Kept::list);
        let Some(at) = at else { return Err(Error::OptOutListMissing { hours }) };
        let age_h = self.clock.now().micros_since(at) / MICROS_PER_HOUR;
        if age_h >= i64::from(hours) {
            return Err(Error::OptOutListOld { age_h, hours });
        }
        Ok(())
    }

    /// What becomes of a record.
    fn decide(&self, reading: &Reading, asked: &Asked) -> Verdict {
        let Some(said) = &reading.0 else {
            return Verdict::Hold("whose it is cannot be read, so his consent cannot be looked up");
        };
        match self.standing(&said.people) {
            Standing::Denied => Verdict::Withhold,
            _ if said.is_about_nobody_known => {
                Verdict::Hold("it names a patient by no id, so his consent cannot be looked up")
            }
            Standing::Permitted => Verdict::Go,
            Standing::Unknown if asked.unknown == Unknown::Permit => Verdict::Go,
            Standing::Unknown if said.people.is_empty() => {
                Verdict::Hold("it names no patient, and only who has agreed may be handed on")
            }
            Standing::Unknown => Verdict::Withhold,
        }
    }

    fn person(&self, named: &Named) -> Result<Person, Error> {
        self.digests.patient(&named.id, &named.authority).ok_or(Error::NoPatient)
    }

    /// A person says something of a patient. Audited first, by a keyed digest.
    pub(crate) async fn say(&self, named: &Named, word: Word, actor: &str) -> Result<(), Error> {
        let about = self.person(named)?;
        let _writing = self.writing.lock().await;
        let statement = Statement {
            about,
            source: Source::Operator,
            which: 0,
            word,
            until: None,
            at: self.clock.now(),
            record: None,
        };
        let is_new = |kept: &Kept| kept.changes(&statement).is_none() && kept.statements() >= STATEMENTS_MAX;
        if self.journal.with_consents(is_new) {
            return Err(Error::ConsentsFull);
        }
        let what = match word {
            Word::Deny => "refuses",
            Word::Permit => "permits",
            Word::Nothing => "what was said here is taken back",
        };
        self.audit(actor, &format!("person {}", about.shown()), what.to_owned())?;
        self.journal.say_of_consents(Entry::Said(vec![statement])).await
    }

    /// Puts a list in the place of the one in force.
    pub(crate) async fn import(&self, people: &[Named], shrinks: bool, actor: &str) -> Result<u64, Error> {
        if people.len() > LIST_MAX {
            return Err(Error::OptOutListLong { people: people.len() });
        }
        let mut list: Vec<Person> = Vec::with_capacity(people.len());
        for named in people {
            list.push(self.person(named)?);
        }
        list.sort_unstable();
        list.dedup();
        let count = list.len() as u64;
        let _writing = self.writing.lock().await;
        let (before, number) = self.journal.with_consents(|kept| (kept.list().0, kept.next_list()));
        if count < before / 2 && !shrinks {
            return Err(Error::OptOutListShrinks { before, count });
        }
        self.audit(actor, "the list of people who opted out", format!("{count} people, {before} before"))?;
        for part in kept::parts(number, &list) {
            self.journal.say_of_consents(part).await?;
        }
        let at = self.clock.now();
        self.journal.say_of_consents(Entry::ListComplete { number, count, at }).await?;
        Ok(count)
    }

    /// What is known of a patient: `Some(true)` that his data may go, `Some(false)` that it may not.
    pub(crate) fn look_up(&self, named: &Named) -> Result<Option<bool>, Error> {
        Ok(match self.standing(&[self.person(named)?]) {
            Standing::Denied => Some(false),
            Standing::Permitted => Some(true),
            Standing::Unknown => None,
        })
    }

    pub(crate) fn standings(&self) -> Standings {
        const SOURCES: [Source; 6] = [
            Source::Operator,
            Source::Indicator,
            Source::Restriction,
            Source::Form,
            Source::Resource,
            Source::Merge,
        ];
        self.journal.with_consents(|kept| {
            let of = |word| {
                let all = SOURCES.iter().map(|source| (*source, kept.count(*source, word)));
                all.filter(|(_, count)| *count > 0).collect()
            };
            let (listed, list_at) = kept.list();
            Standings {
                listed,
                list_at,
                statements: kept.statements() as u64,
                statements_max: STATEMENTS_MAX as u64,
                refusals: of(Word::Deny),
                permissions: of(Word::Permit),
            }
        })
    }

    fn audit(&self, actor: &str, subject: &str, detail: String) -> Result<(), Error> {
        let event = AuditEvent {
            at: self.clock.now(),
            actor: actor.to_owned(),
            action: AuditAction::ConsentChanged,
            subject: subject.to_owned(),
            detail,
        };
        Ok(self.spool.audit().record(&event)?)
    }
}

impl Handle {
    /// How consents stand.
    pub fn consents(&self) -> Standings {
        self.consents.standings()
    }

    /// A person says of a patient that he refuses or permits, or takes back what was said here. Audited.
    ///
    /// # Errors
    /// [`Error::NoPatient`], [`Error::ConsentsFull`] and storage errors.
    pub async fn say_of_consent(&self, named: &Named, word: Word, actor: &str) -> Result<(), Error> {
        self.consents.say(named, word, actor).await
    }

    /// What is known of a patient: `true` where his data may go to who asks for consent, `false` where it may not.
    ///
    /// # Errors
    /// [`Error::NoPatient`].
    pub fn look_up_consent(&self, named: &Named) -> Result<Option<bool>, Error> {
        self.consents.look_up(named)
    }

    /// Puts a list of people who opted out in the place of the one in force; all of it or nothing. Audited.
    ///
    /// # Errors
    /// [`Error::OptOutListLong`], [`Error::OptOutListShrinks`] where it names less than half as many people and that is not
    /// expected, [`Error::NoPatient`] and storage errors.
    pub async fn import_opt_outs(&self, people: &[Named], shrinks: bool, actor: &str) -> Result<u64, Error> {
        self.consents.import(people, shrinks, actor).await
    }
}

/// What was read of a record, or that nothing could be.
#[derive(Debug)]
struct Reading(Option<Said>);

/// The gate of one destination.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) asked: Asked,
    pub(crate) consents: Consents,
}

impl Gate {
    /// Reads a record and says what becomes of it; both, because what it says counts for itself already.
    pub(crate) fn read(
        &self,
        id: RecordId,
        envelope: &Envelope,
        clinical: &Clinical,
        codes: &Codes,
    ) -> Verdict {
        let reading = self.consents.read(id, envelope, clinical, codes);
        self.consents.decide(&reading, &self.asked)
    }
}

const MICROS_PER_HOUR: i64 = 3_600_000_000;

/// A day as a number `YYYYMMDD`, in UTC.
fn day_of(at: Timestamp) -> u32 {
    at.to_hl7().get(..8).and_then(|day| day.parse().ok()).unwrap_or(u32::MAX)
}

/// A list of people who opted out, as text: a line each, `id` or `id,authority`; blank lines and those that begin with `#`
/// count for nothing.
///
/// # Errors
/// The number of the first line that is none of it, and why. No value.
pub fn read_list(text: &Bytes) -> Result<Vec<Named>, (usize, &'static str)> {
    let mut people = Vec::new();
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
    for (n, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let at = |why| (n + 1, why);
        let line = std::str::from_utf8(line).map_err(|_| at("is not UTF-8"))?.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (id, authority) = line.split_once(',').unwrap_or((line, ""));
        let (id, authority) = (unquoted(id), unquoted(authority));
        if authority.contains(',') {
            return Err(at("has more than an id and an authority"));
        }
        if id.is_empty() {
            return Err(at("has no id"));
        }
        if id.chars().chain(authority.chars()).any(|c| c.is_control() || c == '"') {
            return Err(at("has a character that no id has"));
        }
        people.push(Named { id: id.to_owned(), authority: authority.to_owned() });
    }
    Ok(people)
}

fn unquoted(text: &str) -> &str {
    let text = text.trim();
    text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(text).trim()
}

/// Says so much of people whom nobody knows that nothing more can be said.
#[cfg(test)]
pub(crate) async fn fill(journal: &Journal, said: u64) {
    let statement = |n: usize| Statement {
        about: Person::new([n.to_le_bytes(); 4].concat().try_into().unwrap(), None),
        source: Source::Form,
        which: n as u64,
        word: Word::Deny,
        until: None,
        at: model::Timestamp::from_micros(1),
        record: None,
    };
    let all: Vec<usize> = (0..STATEMENTS_MAX - said as usize).collect();
    for part in all.chunks(kept::PER_ENTRY) {
        let part = part.iter().map(|n| statement(*n)).collect();
        journal.say_of_consents(Entry::Said(part)).await.unwrap();
    }
}
