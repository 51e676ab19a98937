//! The oracle: what must be there, what may be there, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use anyhow::{Context as _, Result, bail};

/// The logs of a spool, as lines name them.
pub const LOGS: [&str; 5] = ["urgent", "clinical", "bulk", "held", "journal"];

/// What a subject says it was told, or is about to do. One line of text each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// This record is about to be appended.
    Begun(u64),
    /// `log seq id`: it was acknowledged under this number.
    Acknowledged(usize, u64, u64),
    /// The audit entry with this id was acknowledged.
    Audited(u64),
    /// `log seq`: everything through there is about to be given up.
    Freeing(usize, u64),
    /// `key value` is about to be put into the state store.
    Putting(u64, u64),
    /// It was synced.
    Synced(u64, u64),
    /// `log epoch` is about to be adopted.
    Adopting(usize, u64),
    /// It was.
    Adopted(usize, u64),
    /// It has opened what is there, and shown it.
    Opened,
}

impl std::fmt::Display for Mark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Begun(id) => write!(f, "begun {id}"),
            Self::Acknowledged(log, seq, id) => write!(f, "acknowledged {log} {seq} {id}"),
            Self::Audited(id) => write!(f, "audited {id}"),
            Self::Freeing(log, seq) => write!(f, "freeing {log} {seq}"),
            Self::Putting(key, value) => write!(f, "putting {key} {value}"),
            Self::Synced(key, value) => write!(f, "synced {key} {value}"),
            Self::Adopting(log, epoch) => write!(f, "adopting {log} {epoch}"),
            Self::Adopted(log, epoch) => write!(f, "adopted {log} {epoch}"),
            Self::Opened => write!(f, "opened"),
        }
    }
}

/// What a subject found when it opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// `log oldest last epoch damaged`.
    Log(usize, u64, u64, u64, u64),
    /// `log seq id`: a record whose envelope and payload are what was appended under this id.
    Record(usize, u64, u64),
    /// `log seq`: a record that is not what anybody appended.
    Foreign(usize, u64),
    /// `log first last`: damaged.
    Hole(usize, u64, u64),
    /// The audit entry with this id.
    Audit(u64),
    /// `entries breaks` of the audit log's chain.
    Chain(u64, u64),
    /// `key value` in the state store.
    State(u64, u64),
    /// The state store was lost and begun anew.
    Lost,
    /// How many faults `verify` finds.
    Faults(u64),
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Log(log, oldest, last, epoch, damaged) => {
                write!(f, "log {log} {oldest} {last} {epoch} {damaged}")
            }
            Self::Record(log, seq, id) => write!(f, "record {log} {seq} {id}"),
            Self::Foreign(log, seq) => write!(f, "foreign {log} {seq}"),
            Self::Hole(log, first, last) => write!(f, "hole {log} {first} {last}"),
            Self::Audit(id) => write!(f, "audit {id}"),
            Self::Chain(entries, breaks) => write!(f, "chain {entries} {breaks}"),
            Self::State(key, value) => write!(f, "state {key} {value}"),
            Self::Lost => write!(f, "lost"),
            Self::Faults(faults) => write!(f, "faults {faults}"),
        }
    }
}

/// A line of a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// While it works.
    Mark(Mark),
    /// When it opens.
    Found(Found),
}

impl FromStr for Said {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> Result<Self> {
        let mut words = line.split(' ');
        let what = words.next().unwrap_or_default();
        let mut number = || -> Result<u64> {
            words.next().and_then(|w| w.parse().ok()).with_context(|| format!("not understood: {line:?}"))
        };
        let log = |n: u64| usize::try_from(n).ok().filter(|n| *n < LOGS.len()).context("no such log");
        Ok(match what {
            "begun" => Self::Mark(Mark::Begun(number()?)),
            "acknowledged" => Self::Mark(Mark::Acknowledged(log(number()?)?, number()?, number()?)),
            "audited" => Self::Mark(Mark::Audited(number()?)),
            "freeing" => Self::Mark(Mark::Freeing(log(number()?)?, number()?)),
            "putting" => Self::Mark(Mark::Putting(number()?, number()?)),
            "synced" => Self::Mark(Mark::Synced(number()?, number()?)),
            "adopting" => Self::Mark(Mark::Adopting(log(number()?)?, number()?)),
            "adopted" => Self::Mark(Mark::Adopted(log(number()?)?, number()?)),
            "opened" => Self::Mark(Mark::Opened),
            "log" => Self::Found(Found::Log(log(number()?)?, number()?, number()?, number()?, number()?)),
            "record" => Self::Found(Found::Record(log(number()?)?, number()?, number()?)),
            "foreign" => Self::Found(Found::Foreign(log(number()?)?, number()?)),
            "hole" => Self::Found(Found::Hole(log(number()?)?, number()?, number()?)),
            "audit" => Self::Found(Found::Audit(number()?)),
            "chain" => Self::Found(Found::Chain(number()?, number()?)),
            "state" => Self::Found(Found::State(number()?, number()?)),
            "lost" => Self::Found(Found::Lost),
            "faults" => Self::Found(Found::Faults(number()?)),
            _ => bail!("not understood: {line:?}"),
        })
    }
}

/// What must be there at a point in time.
#[derive(Debug, Clone, Default)]
pub struct Expect {
    /// By log and number.
    acknowledged: BTreeMap<(usize, u64), u64>,
    audited: BTreeSet<u64>,
    /// Through where each log was given up.
    freed: [u64; LOGS.len()],
    synced: BTreeMap<u64, u64>,
    epochs: [u64; LOGS.len()],
    /// What may be there: all ids ever begun, the highest value ever put, the highest epoch ever asked for.
    begun: BTreeSet<u64>,
    put: BTreeMap<u64, u64>,
    epochs_max: [u64; LOGS.len()],
}

impl Expect {
    /// Before anything was done.
    pub fn nothing() -> Self {
        Self { epochs: [1; LOGS.len()], epochs_max: [1; LOGS.len()], ..Self::default() }
    }

    /// Nobody will see this before the power goes again; it may be on the disk all the same.
    pub fn may(&mut self, mark: Mark) {
        match mark {
            Mark::Begun(id) => {
                self.begun.insert(id);
            }
            Mark::Putting(key, value) => {
                let most = self.put.entry(key).or_default();
                *most = value.max(*most);
            }
            Mark::Adopting(log, epoch) => self.epochs_max[log] = self.epochs_max[log].max(epoch),
            _ => {}
        }
    }

    /// This was said before the power went.
    pub fn must(&mut self, mark: Mark) {
        match mark {
            Mark::Acknowledged(log, seq, id) => {
                self.acknowledged.insert((log, seq), id);
            }
            Mark::Audited(id) => {
                self.audited.insert(id);
            }
            Mark::Freeing(log, seq) => self.freed[log] = self.freed[log].max(seq),
            Mark::Synced(key, value) => {
                let held = self.synced.entry(key).or_default();
                *held = value.max(*held);
            }
            Mark::Adopted(log, epoch) => self.epochs[log] = self.epochs[log].max(epoch),
            _ => self.may(mark),
        }
    }

    /// What was found was shown to somebody, so it must stay.
    pub fn must_stay(&mut self, found: &[Found]) {
        for one in found {
            match *one {
                Found::Record(log, seq, id) => {
                    self.acknowledged.insert((log, seq), id);
                }
                Found::Audit(id) => {
                    self.audited.insert(id);
                }
                Found::State(key, value) => self.must(Mark::Synced(key, value)),
                Found::Log(log, _, _, epoch, _) => self.must(Mark::Adopted(log, epoch)),
                _ => {}
            }
        }
    }

    /// How many records must be there.
    pub fn demanded(&self) -> usize {
        self.acknowledged.iter().filter(|((log, seq), _)| *seq > self.freed[*log]).count()
            + self.audited.len()
            + self.synced.len()
    }

    /// Everything that is wrong with what was found.
    pub fn check(&self, found: &[Found]) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut records = BTreeMap::new();
        let mut ids = BTreeSet::new();
        let mut audits = BTreeSet::new();
        let mut states = BTreeMap::new();
        let mut logs = [None; LOGS.len()];
        for one in found {
            match *one {
                Found::Log(log, oldest, last, epoch, damaged) => {
                    logs[log] = Some((oldest, last));
                    if damaged > 0 {
                        wrong.push(format!("{}: {damaged} damaged", LOGS[log]));
                    }
                    if epoch < self.epochs[log] || epoch > self.epochs_max[log] {
                        wrong.push(format!(
                            "{}: epoch {epoch}, not of {} to {}",
                            LOGS[log], self.epochs[log], self.epochs_max[log]
                        ));
                    }
                    if oldest > self.freed[log] + 1 && oldest > 1 {
                        let freed = self.freed[log];
                        wrong.push(format!("{}: begins at {oldest}, given up through {freed}", LOGS[log]));
                    }
                }
                Found::Record(log, seq, id) => {
                    records.insert((log, seq), id);
                    if !ids.insert(id) {
                        wrong.push(format!("{}: record {seq} is there twice", LOGS[log]));
                    }
                    if !self.begun.contains(&id) {
                        wrong.push(format!("{}: record {seq} is nobody's", LOGS[log]));
                    }
                }
                Found::Foreign(log, seq) => wrong.push(format!("{}: record {seq} is garbled", LOGS[log])),
                Found::Hole(log, first, last) => {
                    wrong.push(format!("{}: {first} to {last} are damaged", LOGS[log]));
                }
                Found::Audit(id) => {
                    if !audits.insert(id) || !self.begun.contains(&id) {
                        wrong.push(format!("audit entry {id} is there twice or nobody's"));
                    }
                }
                Found::Chain(entries, breaks) => {
                    if breaks > 0 {
                        wrong.push(format!("{breaks} breaks in {entries} audit entries"));
                    }
                }
                Found::State(key, value) => {
                    states.insert(key, value);
                }
                Found::Lost => wrong.push("the state store was lost".to_owned()),
                Found::Faults(0) => {}
                Found::Faults(faults) => wrong.push(format!("verify finds {faults} faults")),
            }
        }
        for ((log, seq), id) in &self.acknowledged {
            let oldest = logs[*log].map_or(1, |(oldest, _)| oldest);
            let name = LOGS[*log];
            match records.get(&(*log, *seq)) {
                Some(held) if held == id => {}
                Some(_) => wrong.push(format!("{name}: {seq} is another record than was acknowledged")),
                None if *seq < oldest && *seq <= self.freed[*log] => {}
                None => wrong.push(format!("{name}: acknowledged record {seq} is lost")),
            }
        }
        for id in &self.audited {
            if !audits.contains(id) {
                wrong.push(format!("acknowledged audit entry {id} is lost"));
            }
        }
        for (key, value) in &self.synced {
            let held = states.get(key).copied().unwrap_or(0);
            if held < *value {
                wrong.push(format!("state: {key} is {held}, synced was {value}"));
            }
        }
        for (key, value) in &states {
            if *value > self.put.get(key).copied().unwrap_or(0) {
                wrong.push(format!("state: {key} is {value}, which nobody put"));
            }
        }
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_read_back() {
        let said = [
            Said::Mark(Mark::Acknowledged(4, 5, 6)),
            Said::Mark(Mark::Opened),
            Said::Mark(Mark::Freeing(0, 1)),
            Said::Found(Found::Log(1, 2, 3, 4, 5)),
            Said::Found(Found::Lost),
        ];
        for one in said {
            let line = match one {
                Said::Mark(mark) => mark.to_string(),
                Said::Found(found) => found.to_string(),
            };
            assert_eq!(line.parse::<Said>().unwrap(), one, "{line}");
        }
        for bad in ["", "begun", "begun x", "acknowledged 9 1 1", "what 1"] {
            assert!(bad.parse::<Said>().is_err(), "{bad}");
        }
    }

    #[test]
    fn each_kind_of_fault_is_found() {
        let mut expect = Expect::nothing();
        for id in 1..=3 {
            expect.must(Mark::Begun(id));
        }
        expect.must(Mark::Acknowledged(2, 1, 1));
        expect.must(Mark::Acknowledged(2, 2, 2));
        expect.must(Mark::Putting(7, 8));
        expect.must(Mark::Synced(7, 8));
        let log = Found::Log(2, 1, 2, 1, 0);
        let (one, two, state) = (Found::Record(2, 1, 1), Found::Record(2, 2, 2), Found::State(7, 8));
        assert_eq!(expect.check(&[log, one, two, state]), Vec::<String>::new());
        // What was not acknowledged may be there.
        assert!(expect.check(&[log, one, two, Found::Record(2, 3, 3), state]).is_empty());
        let cases: [(&str, Vec<Found>); 10] = [
            ("record 2 is lost", vec![log, one, state]),
            ("another record", vec![log, one, Found::Record(2, 2, 3), state]),
            ("nobody's", vec![log, one, two, Found::Record(2, 3, 9), state]),
            ("twice", vec![log, one, two, Found::Record(2, 3, 2), state]),
            ("garbled", vec![log, one, two, Found::Foreign(2, 3), state]),
            ("damaged", vec![log, one, two, Found::Hole(2, 3, 3), state]),
            ("synced was 8", vec![log, one, two, Found::State(7, 7)]),
            ("nobody put", vec![log, one, two, Found::State(7, 9)]),
            ("lost", vec![log, one, two, state, Found::Lost]),
            ("epoch 2", vec![Found::Log(2, 1, 2, 2, 0), one, two, state]),
        ];
        for (what, found) in cases {
            let wrong = expect.check(&found);
            assert_eq!(wrong.len(), 1, "{what}: {wrong:?}");
            assert!(wrong[0].contains(what), "{what}: {wrong:?}");
        }
        // Given up and gone is fine; gone and not given up is not.
        let gone = [Found::Log(2, 2, 2, 1, 0), two, state];
        assert_eq!(expect.check(&gone).len(), 2);
        expect.must(Mark::Freeing(2, 1));
        assert!(expect.check(&gone).is_empty());
    }
}
