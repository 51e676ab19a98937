//! What must hold at the end, whatever happened: every receipted record is at each destination that it is for exactly
//! once, or held, or left out for a reason that is true; nothing else is there; the ledgers add up.

use std::collections::{BTreeMap, BTreeSet};

use model::{Lane, Reason, Seq};
use pipeline::{Handle, Start};
use spool::Spool;

use crate::hospital::{Hospital, Kind, Message};
use crate::lake::{Entry, Row, Taken};
use crate::life::Plan;
use crate::world::{RECEIVER, RESEARCH, World, control_id};

/// What the oracle knows of how the box was set up.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    /// Of each destination in the configuration, and each lane: what comes after this number is for it.
    owed_after: BTreeMap<&'static str, BTreeMap<Lane, Seq>>,
    /// Destinations that were there, were taken out and were put in again.
    came_back: BTreeSet<&'static str>,
    ever: BTreeSet<&'static str>,
    /// Destinations of a life that is not built yet, and of lives that died of it.
    trying: Vec<&'static str>,
    tried: BTreeSet<&'static str>,
    last: BTreeMap<Lane, (Seq, Seq)>,
    /// The state store was lost: who remembers nothing hears some things again.
    pub(crate) was_state_lost: bool,
}

/// What became of a number at a destination.
#[derive(Debug, Clone)]
enum Cover {
    Row(Row),
    Skip(Reason),
}

impl Oracle {
    /// Before the pipeline is built.
    pub(crate) fn opened(&mut self, spool: &Spool, plan: &Plan) {
        let is_there = |name: &&'static str| plan.destinations.iter().any(|(n, _)| n == name);
        self.owed_after.retain(|name, _| is_there(name));
        self.tried.extend(std::mem::take(&mut self.trying));
        self.trying.extend(plan.destinations.iter().map(|(name, _)| *name));
        for lane in Lane::ALL {
            let log = spool.lane(lane);
            self.last.insert(lane, (log.oldest(), *log.durable().borrow()));
        }
    }

    /// One that comes back goes on with what comes in from then on: all else it would hear twice. So does one that an earlier
    /// life died of adding: nobody can say whether its beginning had got into the journal.
    pub(crate) fn start(&self, name: &str, plan: &Plan) -> Start {
        if self.ever.contains(name) || self.tried.contains(name) { Start::Now } else { plan.start }
    }

    /// After it was built: new destinations have begun.
    pub(crate) fn built(&mut self, plan: &Plan) {
        self.trying.clear();
        for (name, _) in plan.destinations.iter().copied() {
            if self.owed_after.contains_key(name) {
                continue;
            }
            // Where it was there before, nobody can say whether its removal had got into the journal: then it may
            // begin where it stopped. What came in until now is owed by no means.
            let is_new = self.ever.insert(name) && !self.tried.contains(name);
            if !is_new {
                self.came_back.insert(name);
            }
            let from_the_oldest = is_new && plan.start == Start::Oldest;
            let after = |(oldest, durable): (Seq, Seq)| {
                if from_the_oldest { oldest.saturating_sub(1) } else { durable }
            };
            self.owed_after.insert(name, self.last.iter().map(|(lane, at)| (*lane, after(*at))).collect());
        }
    }
}

/// The end: everything was sent, delivered and is quiet.
pub(crate) async fn judge(world: &World, oracle: &Oracle, handle: &Handle) {
    let mut held = Vec::new();
    for item in handle.held() {
        let Ok(payload) = handle.held_payload(&item.destination, item.id, "somebody").await else {
            return world
                .violation(format!("{} is held for {} and cannot be read", item.id, item.destination));
        };
        let number = control_id(&String::from_utf8_lossy(&payload)).unwrap_or(0);
        held.push((item.destination.to_string(), number));
    }
    let ends: BTreeMap<Lane, Seq> =
        Lane::ALL.into_iter().map(|lane| (lane, *handle.spool().lane(lane).durable().borrow())).collect();
    let judged = world.hospital(|hospital| {
        world.lake(|lake| {
            oracle.owed_after.keys().try_for_each(|name| {
                let view = View { oracle, hospital, held: &held, name, ends: &ends };
                let seen = match *name {
                    RECEIVER => view.receiver(&lake.taken),
                    _ => view.lakehouse(&lake.ledger),
                };
                seen.map_err(|problem| format!("{name}: {problem}"))
            })
        })
    });
    if let Err(problem) = judged {
        world.violation(problem);
    }
}

struct View<'a> {
    oracle: &'a Oracle,
    hospital: &'a Hospital,
    /// Destination and message of everything in the held log.
    held: &'a [(String, u64)],
    name: &'static str,
    ends: &'a BTreeMap<Lane, Seq>,
}

impl View<'_> {
    fn owed_after(&self, lane: Lane) -> Seq {
        self.oracle.owed_after[self.name][&lane]
    }

    fn lakehouse(&self, ledger: &[Entry]) -> Result<(), String> {
        let mut covers: BTreeMap<(Lane, Seq), Vec<Cover>> = BTreeMap::new();
        let mut next: BTreeMap<(Lane, u64), Seq> = BTreeMap::new();
        for entry in ledger.iter().filter(|e| e.destination.as_str() == self.name) {
            let Entry { lane, epoch, first, last, .. } = *entry;
            let expected = next.entry((lane, epoch)).or_insert(first);
            if *expected != first {
                return Err(format!("{lane}-{epoch}: {first} follows where {expected} should"));
            }
            *expected = last + 1;
            let skipped: u64 = entry.skipped.iter().map(|(first, last, _)| last - first + 1).sum();
            if entry.rows.len() as u64 + skipped != last - first + 1 {
                return Err(format!(
                    "{lane}-{epoch}: {first}..={last} has {} rows and {skipped} skips",
                    entry.rows.len()
                ));
            }
            for (seq, cover) in parts(&entry.rows, &entry.skipped) {
                covers.entry((lane, seq)).or_default().push(cover);
            }
        }
        for (lane, end) in self.ends {
            for seq in 1..=*end {
                let count = covers.get(&(*lane, seq)).map_or(0, Vec::len);
                let is_owed = seq > self.owed_after(*lane);
                let is_fine = match count {
                    0 => !is_owed,
                    1 => true,
                    _ => !is_owed && self.oracle.came_back.contains(self.name),
                };
                if !is_fine {
                    return Err(format!("{lane} {seq} is accounted for {count} times of {end} in all"));
                }
            }
        }
        self.covers(&covers)
    }

    fn receiver(&self, taken: &[Taken]) -> Result<(), String> {
        let mut covers: BTreeMap<(Lane, Seq), Vec<Cover>> = BTreeMap::new();
        // Of each lane: how far it is, and where what was under way last began.
        let mut reached: BTreeMap<Lane, (Seq, Seq)> = BTreeMap::new();
        for Taken { lane, first, last, row, skipped } in taken {
            let (end, begin) = reached.get(lane).copied().unwrap_or((first - 1, *first));
            if *first > end + 1 && first - 1 > self.owed_after(*lane) {
                return Err(format!("{lane}: {first} comes after {end}"));
            }
            if *first <= end && *first < begin && !self.oracle.was_state_lost {
                return Err(format!("{lane}: {first} comes again after {begin}..={end}"));
            }
            if *first > end || self.oracle.was_state_lost {
                reached.insert(*lane, (*last, *first));
            } else {
                reached.insert(*lane, (end.max(*last), begin));
            }
            let rows: Vec<Row> = row.iter().cloned().collect();
            for (seq, cover) in parts(&rows, skipped) {
                covers.entry((*lane, seq)).or_default().push(cover);
            }
        }
        for (lane, end) in self.ends {
            for seq in self.owed_after(*lane) + 1..=*end {
                if !covers.contains_key(&(*lane, seq)) {
                    return Err(format!("{lane} {seq} is not accounted for"));
                }
            }
        }
        self.covers(&covers)
    }

    /// Each cover is true.
    fn covers(&self, covers: &BTreeMap<(Lane, Seq), Vec<Cover>>) -> Result<(), String> {
        let rows = || {
            covers.values().flatten().filter_map(|c| if let Cover::Row(row) = c { Some(row) } else { None })
        };
        let mut copied = BTreeSet::new();
        for row in rows() {
            if let Some(origin) = row.origin {
                if self.hospital.of_record(origin.lane, origin.seq) != Some(row.message) {
                    return Err(format!(
                        "{} goes back to {origin}, which is not message {}",
                        row.seq, row.message
                    ));
                }
                copied.insert(row.message);
            }
        }
        for ((lane, seq), all) in covers {
            let number = self.hospital.of_record(*lane, *seq);
            for cover in all {
                if matches!(cover, Cover::Skip(Reason::Expired))
                    && all.len() > 1
                    && self.oracle.was_state_lost
                {
                    // It has it, and nobody remembers; so it would have been sent again, were it still kept.
                    continue;
                }
                match (number.and_then(|n| Some((n, self.hospital.message(n)?))), cover) {
                    (Some((number, message)), cover) => self
                        .of_message(number, message, *seq, cover, &copied)
                        .map_err(|problem| format!("{lane} {seq} (message {number}): {problem}"))?,
                    (None, Cover::Row(row)) if row.origin.is_none() => {
                        return Err(format!("{lane} {seq} was delivered and never receipted"));
                    }
                    (
                        None,
                        Cover::Row(_)
                        | Cover::Skip(Reason::NotAddressed | Reason::Held | Reason::Quarantined),
                    ) => {}
                    (None, Cover::Skip(_)) if *seq <= self.owed_after(*lane) => {}
                    // A copy for somebody else, of a feed that does not lead here or of nothing that it reads.
                    (None, Cover::Skip(Reason::NotRouted)) => {}
                    (None, Cover::Skip(reason)) => {
                        return Err(format!("{lane} {seq}, a copy, is {reason:?}"));
                    }
                }
            }
        }
        // A receipted message that is owed was met above, or the numbers do not tile.
        for (number, message) in self.hospital.messages() {
            let Some(id) = message.receipt else { return Err(format!("message {number} has no receipt")) };
            if id.seq > self.owed_after(id.lane) && !covers.contains_key(&(id.lane, id.seq)) {
                return Err(format!("{id} (message {number}) is lost"));
            }
        }
        Ok(())
    }

    fn of_message(
        &self,
        number: u64,
        message: &Message,
        seq: Seq,
        cover: &Cover,
        copied: &BTreeSet<u64>,
    ) -> Result<(), String> {
        let is_owed = seq > self.owed_after(message.lane());
        match cover {
            Cover::Row(row) if row.message != number || row.origin.is_some() => {
                Err(format!("the row is of message {}, origin {:?}", row.message, row.origin))
            }
            Cover::Row(_) if !message.is_for(self.name) => Err("no route leads here".to_owned()),
            Cover::Row(_) if message.kind == Kind::Broken => Err("nobody can have read it".to_owned()),
            Cover::Row(_) if message.kind == Kind::Ambiguous && self.name == RESEARCH => {
                Err("its policy holds it".to_owned())
            }
            Cover::Row(_) => Ok(()),
            Cover::Skip(Reason::NotRouted) if !message.is_for(self.name) => Ok(()),
            Cover::Skip(Reason::NotAddressed | Reason::Expired) if !is_owed => Ok(()),
            Cover::Skip(Reason::Held | Reason::Quarantined) => {
                let is_held = self.held.iter().any(|(name, n)| name == self.name && *n == number);
                let is_known =
                    is_held || copied.contains(&number) || self.hospital.is_dismissed(number, self.name);
                // Of a destination that was taken out, and came back, a copy may have got lost with it.
                let is_excused = !is_owed && self.oracle.came_back.contains(self.name);
                if is_known || is_excused {
                    Ok(())
                } else {
                    Err("it was held, and nobody knows of it any more".to_owned())
                }
            }
            Cover::Skip(reason) => Err(format!("{reason:?}, and that is not true")),
        }
    }
}

fn parts(rows: &[Row], skipped: &[(Seq, Seq, Reason)]) -> Vec<(Seq, Cover)> {
    let rows = rows.iter().map(|row| (row.seq, Cover::Row(row.clone())));
    let skips =
        skipped.iter().flat_map(|(first, last, reason)| (*first..=*last).map(|n| (n, Cover::Skip(*reason))));
    rows.chain(skips).collect()
}
