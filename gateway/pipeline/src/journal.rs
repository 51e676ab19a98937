//! What cannot be rebuilt: which destinations there are and where they began, small documents (accounts, the claim), how
//! far destinations are that remember nothing themselves, what was said of whose consent, and the tokens of the vault with what
//! they are of. Appended to the encrypted `journal` log, which also carries the audit entries; folded at start.
//!
//! **Said again.** Before the oldest part of the log goes, the whole state is appended again ([`Journal::say_again`]), and
//! behind it an entry that says since where. Every entry says the whole of what it is about, so that the state said again
//! and what came before it give the same, together or the later alone: a crash before the end leaves both, and an entry
//! that nobody counts on. Nobody writes meanwhile, but to the vault, whose entries never change.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::try_join_all;
use model::{Lane, Seq, Slug, codec};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use spool::{AUDIT_META, Entry, Spool};

use crate::Error;
use crate::{consent, vault};

/// Largest document, in bytes.
pub const DOCUMENT_BYTES_MAX: usize = 64 << 10;
/// Entries of the vault that are said again under one flush of the disk.
const SAID_AT_ONCE: usize = 32;

/// Where a destination began in one lane: everything up to `after` is not addressed to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Beginning {
    pub(crate) lane: Lane,
    /// The name under which the destination met the log last, or began with it.
    pub(crate) incarnation: String,
    pub(crate) after: Seq,
    /// Where the log ended when it was first found under another name: nothing after it was sent under the former.
    #[serde(default)]
    pub(crate) ended: Option<Seq>,
    /// How much was settled when the log took the name that stands here. The destination may never have heard of the name;
    /// then nobody else knows.
    #[serde(default)]
    pub(crate) settled: Seq,
}

/// How far a destination was in one lane, at some time: never further than its durable cursor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    pub(crate) incarnation: String,
    pub(crate) through: Seq,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum JournalEntry {
    DestinationAdded {
        name: Slug,
        began: Vec<Beginning>,
    },
    DestinationRemoved {
        name: Slug,
    },
    /// The destination has met the log under another name, and what it had under the former is settled.
    Met {
        name: Slug,
        lane: Lane,
        incarnation: String,
        #[serde(default)]
        settled: Seq,
    },
    Document {
        key: String,
        value: ByteBuf,
    },
    Mark {
        destination: Slug,
        lane: Lane,
        mark: Mark,
    },
    /// Up to here the lane was given up, by its age limit.
    GivenUp {
        lane: Lane,
        mark: Mark,
    },
    /// What was said of whose consent.
    Consent(consent::Entry),
    /// Tokens of the vault.
    Vault(vault::Entry),
    /// From this number on all of the state was said again.
    SaidAgain {
        since: Seq,
    },
}

#[derive(Debug, Default)]
struct Folded {
    /// From here on everything is said; 0 where that is from the beginning.
    since: Seq,
    /// The first entry of a kind that is not known here, a newer version's.
    unknown: Option<Seq>,
    given_up: HashMap<Lane, Mark>,
    destinations: BTreeMap<Slug, Vec<Beginning>>,
    documents: HashMap<String, Vec<u8>>,
    marks: HashMap<(Slug, Lane), Mark>,
    consents: consent::Kept,
    vault: vault::Kept,
}

impl Folded {
    /// `at` is the entry's number in the log.
    fn apply(&mut self, entry: JournalEntry, at: Seq) {
        match entry {
            JournalEntry::DestinationAdded { name, began } => {
                self.destinations.insert(name, began);
            }
            JournalEntry::DestinationRemoved { name } => {
                self.destinations.remove(&name);
                self.marks.retain(|(destination, _), _| destination != &name);
            }
            JournalEntry::Met { name, lane, incarnation, settled } => {
                let began = self.destinations.get_mut(&name).into_iter().flatten();
                for beginning in began.filter(|b| b.lane == lane) {
                    beginning.incarnation = incarnation.clone();
                    beginning.ended = None;
                    beginning.settled = settled;
                }
            }
            JournalEntry::Document { key, value } => {
                self.documents.insert(key, value.into_vec());
            }
            JournalEntry::Mark { destination, lane, mark } => {
                self.marks.insert((destination, lane), mark);
            }
            JournalEntry::GivenUp { lane, mark } => {
                self.given_up.insert(lane, mark);
            }
            JournalEntry::Consent(entry) => self.consents.apply(entry),
            JournalEntry::Vault(entry) => self.vault.apply(&entry, at),
            JournalEntry::SaidAgain { since } => self.since = since,
        }
    }

    /// Entries that give this state, but for the vault: of that only the log has all.
    fn entries(&self) -> Vec<JournalEntry> {
        let destinations = self.destinations.clone().into_iter();
        let documents = self.documents.clone().into_iter();
        let marks = self.marks.clone().into_iter();
        let given_up = self.given_up.clone().into_iter();
        destinations
            .map(|(name, began)| JournalEntry::DestinationAdded { name, began })
            .chain(documents.map(|(key, value)| JournalEntry::Document { key, value: ByteBuf::from(value) }))
            .chain(marks.map(|((destination, lane), mark)| JournalEntry::Mark { destination, lane, mark }))
            .chain(given_up.map(|(lane, mark)| JournalEntry::GivenUp { lane, mark }))
            .chain(self.consents.entries().into_iter().map(JournalEntry::Consent))
            .collect()
    }
}

/// The folded journal; cheap to clone.
#[derive(Debug, Clone)]
pub struct Journal {
    spool: Arc<Spool>,
    folded: Arc<Mutex<Folded>>,
    /// Held by whoever appends, so that what is applied comes in the log's order.
    writing: Arc<tokio::sync::Mutex<()>>,
}

impl Journal {
    pub(crate) async fn load(spool: Arc<Spool>) -> Result<Self, Error> {
        let mut folded = Folded::default();
        let log = spool.journal();
        let mut reader = log.reader(log.oldest());
        while let Some(entry) = reader.next().await? {
            let Entry::Record(record) = entry else { continue };
            // Audit entries stand in the same log under their own envelope.
            if record.meta.starts_with(AUDIT_META) {
                continue;
            }
            match codec::decode::<JournalEntry>(&record.meta) {
                Ok(entry) => folded.apply(entry, record.seq),
                Err(_) => folded.unknown = folded.unknown.or(Some(record.seq)),
            }
        }
        Ok(Self { spool, folded: Arc::new(Mutex::new(folded)), writing: Arc::default() })
    }

    fn folded(&self) -> MutexGuard<'_, Folded> {
        self.folded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn append(&self, entry: JournalEntry) -> Result<(), Error> {
        let _writing = self.writing.lock().await;
        let at = self.spool.journal().append(codec::encode(&entry)?, &[]).await?;
        self.folded().apply(entry, at);
        Ok(())
    }

    /// From where on the log says the whole state, and before which number nothing stands that is not understood here.
    pub(crate) fn said(&self) -> (Seq, Seq) {
        let folded = self.folded();
        (folded.since, folded.unknown.unwrap_or(Seq::MAX))
    }

    /// Appends the whole state, durably, beyond the budget where need be. See the module.
    pub(crate) async fn say_again(&self) -> Result<(), Error> {
        let log = self.spool.journal();
        let since = log.durable().borrow().saturating_add(1);
        self.say_vault_again(since).await?;
        let _writing = self.writing.lock().await;
        let entries = self.folded().entries();
        for entry in entries.into_iter().chain([JournalEntry::SaidAgain { since }]) {
            let at = log.append_aside(codec::encode(&entry)?, &[]).await?;
            self.folded().apply(entry, at);
        }
        Ok(())
    }

    /// Appends again what the log says of the vault before a number.
    async fn say_vault_again(&self, before: Seq) -> Result<(), Error> {
        let log = self.spool.journal();
        let places: Vec<Seq> = self.folded().vault.places().into_iter().filter(|at| *at < before).collect();
        for together in places.chunks(SAID_AT_ONCE) {
            let again = together.iter().map(async |at| {
                let entry = self.vault_entry(*at).await?;
                let said = JournalEntry::Vault(entry.clone());
                Ok::<_, Error>((log.append_aside(codec::encode(&said)?, &[]).await?, entry))
            });
            for (at, entry) in try_join_all(again).await? {
                self.folded().vault.apply(&entry, at);
            }
        }
        Ok(())
    }

    /// What the log says of the vault at a number.
    pub(crate) async fn vault_entry(&self, at: Seq) -> Result<vault::Entry, Error> {
        match self.spool.journal().get(at).await? {
            Some(Entry::Record(record)) => match codec::decode(&record.meta)? {
                JournalEntry::Vault(entry) => Ok(entry),
                _ => Err(Error::VaultDamaged),
            },
            _ => Err(Error::VaultDamaged),
        }
    }

    pub(crate) fn destinations(&self) -> BTreeMap<Slug, Vec<Beginning>> {
        self.folded().destinations.clone()
    }

    pub(crate) async fn add_destination(&self, name: &Slug, began: Vec<Beginning>) -> Result<(), Error> {
        self.append(JournalEntry::DestinationAdded { name: name.clone(), began }).await
    }

    pub(crate) async fn remove_destination(&self, name: &Slug) -> Result<(), Error> {
        self.append(JournalEntry::DestinationRemoved { name: name.clone() }).await
    }

    /// The name by which a destination knows a lane's log.
    pub(crate) fn known_as(&self, name: &Slug, lane: Lane) -> Option<String> {
        let folded = self.folded();
        let began = folded.destinations.get(name)?;
        began.iter().find(|b| b.lane == lane).map(|b| b.incarnation.clone())
    }

    /// From now on a destination is asked under the log's new name; up to `settled` it has everything. Durable on return.
    pub(crate) async fn met(
        &self,
        name: &Slug,
        lane: Lane,
        incarnation: String,
        settled: Seq,
    ) -> Result<(), Error> {
        self.append(JournalEntry::Met { name: name.clone(), lane, incarnation, settled }).await
    }

    pub(crate) fn mark(&self, destination: &Slug, lane: Lane) -> Option<Mark> {
        let folded = self.folded();
        folded.marks.get(&(destination.clone(), lane)).cloned()
    }

    pub(crate) async fn put_mark(&self, destination: &Slug, lane: Lane, mark: Mark) -> Result<(), Error> {
        self.append(JournalEntry::Mark { destination: destination.clone(), lane, mark }).await
    }

    /// Up to which number a lane was given up; nothing of another log's.
    pub(crate) fn given_up(&self, lane: Lane, incarnation: &str) -> Seq {
        let folded = self.folded();
        folded
            .given_up
            .get(&lane)
            .filter(|mark| mark.incarnation == incarnation)
            .map_or(0, |mark| mark.through)
    }

    pub(crate) async fn give_up(&self, lane: Lane, incarnation: String, through: Seq) -> Result<(), Error> {
        self.append(JournalEntry::GivenUp { lane, mark: Mark { incarnation, through } }).await
    }

    /// Asks what was said of whose consent.
    pub(crate) fn with_consents<T>(&self, ask: impl FnOnce(&consent::Kept) -> T) -> T {
        ask(&self.folded().consents)
    }

    /// Durable on return.
    pub(crate) async fn say_of_consents(&self, entry: consent::Entry) -> Result<(), Error> {
        self.append(JournalEntry::Consent(entry)).await
    }

    /// Asks what tokens were given out.
    pub(crate) fn with_vault<T>(&self, ask: impl FnOnce(&vault::Kept) -> T) -> T {
        ask(&self.folded().vault)
    }

    /// Durable on return.
    pub(crate) async fn say_of_vault(&self, entry: vault::Entry) -> Result<(), Error> {
        self.append(JournalEntry::Vault(entry)).await
    }

    /// A document by its key.
    pub fn document(&self, key: &str) -> Option<Vec<u8>> {
        self.folded().documents.get(key).cloned()
    }

    /// Stores a document in the place of an older one. Durable on return.
    ///
    /// # Errors
    /// [`Error`] when it is larger than [`DOCUMENT_BYTES_MAX`] or the journal cannot be written.
    pub async fn put_document(&self, key: &str, value: Vec<u8>) -> Result<(), Error> {
        if value.len() > DOCUMENT_BYTES_MAX {
            return Err(Error::DocumentTooLarge { bytes: value.len() });
        }
        self.append(JournalEntry::Document { key: key.to_owned(), value: ByteBuf::from(value) }).await
    }
}
