//! Keeps the journal within its budget: its oldest part goes (docs/adr/0020).
//!
//! **Promise.** A part goes when nobody outside needs it any more (each landing that keeps checkpoints has a receipt of it,
//! the syslog server got it), and it is old enough or the journal takes more than [`SHARE_PERCENT`] of its budget. First
//! the state that stands in it is said again, then the going is audited, then it goes: a crash in between repeats a step.
//!
//! **Limits.** [`PARTS_PER_LOOK`] segments at a look. Where somebody is away, nothing goes that he has not got: at
//! [`spool::pressure`]'s thresholds that is audited and shown, and when the budget is used up the journal refuses, and with
//! it the intake. Two segments and a quarter of the budget beyond it are for what makes room again.

use std::collections::BTreeSet;

use audit::checkpoint::is_incarnation;
use model::{AuditAction, AuditEvent, Clock, Seq};
use spool::{AuditReader, AuditStep, Need, Part, Spool};

use crate::Error;
use crate::journal::Journal;

/// Above this share of the budget the oldest part goes before its time.
const SHARE_PERCENT: u64 = 75;
/// Segments that go at one look.
const PARTS_PER_LOOK: usize = 4;
/// Of how many logs that were set back the entry that frees their entries still tells.
const SET_BACKS_MAX: usize = 16;

/// What was said last of it.
#[derive(Debug, Default)]
pub(crate) struct LettingGo {
    /// The part that an entry of the audit log said would go.
    announced: Option<Seq>,
    /// Whether somebody was warned that the journal waits.
    is_held_up: bool,
}

impl LettingGo {
    /// Lets go what may go. To be called every few seconds.
    pub(crate) async fn look(
        &mut self,
        spool: &Spool,
        journal: &Journal,
        clock: &dyn Clock,
    ) -> Result<(), Error> {
        let audit = spool.audit_log();
        for _ in 0..PARTS_PER_LOOK {
            let needs = audit.needs();
            let (_, unknown) = journal.said();
            let stat = spool.journal().stat();
            let is_over = stat.bytes > stat.bytes_max / 100 * SHARE_PERCENT;
            let part = audit.oldest_part(unknown.saturating_sub(1), clock.now()).await?;
            self.warn(spool, is_over && part.is_none(), &needs);
            let Some(part) = part else { break };
            let for_room = is_over && spool.config().journal_free_for_room && !needs.is_empty();
            if !part.is_old && !for_room {
                break;
            }
            if journal.said().0 <= part.through {
                journal.say_again().await?;
            }
            if self.announced != Some(part.through) {
                let event = announcement(spool, part, &needs, clock).await?;
                // Waits for a flush of the disk, as every entry does.
                audit.record_aside(&event)?;
                self.announced = Some(part.through);
            }
            audit.let_go(part).await?;
        }
        Ok(())
    }

    fn warn(&mut self, spool: &Spool, is_held_up: bool, needs: &[Need]) {
        if is_held_up && !self.is_held_up {
            let oldest = spool.journal().oldest();
            for need in needs {
                tracing::warn!(who = %need.who, has_through = need.behind, oldest,
                    "the journal takes most of its budget and waits for who has not got its oldest part");
            }
        }
        self.is_held_up = is_held_up;
    }
}

/// An entry about what goes of the audit log.
pub(crate) fn event(clock: &dyn Clock, subject: &str, detail: String) -> AuditEvent {
    AuditEvent {
        at: clock.now(),
        actor: "system".to_owned(),
        action: AuditAction::JournalFreed,
        subject: subject.to_owned(),
        detail,
    }
}

async fn announcement(
    spool: &Spool,
    part: Part,
    needs: &[Need],
    clock: &dyn Clock,
) -> Result<AuditEvent, Error> {
    let Told { set_back, unread } = told_in(spool, part).await?;
    let why = if part.is_old { "they are old enough" } else { "room is needed" };
    let mut detail = format!("entries before {} go, {why}", part.entries);
    for need in needs {
        detail += &format!("; {}: {}", need.who, need.proof);
    }
    if unread > 0 {
        detail += &format!("; {unread} places among them could not be read");
    }
    if !set_back.is_empty() {
        let words: Vec<_> = set_back.iter().rev().take(SET_BACKS_MAX).map(String::as_str).collect();
        detail += &format!("; among them that these were set back: {}", words.join(" "));
    }
    Ok(event(clock, "journal", detail))
}

/// What would be forgotten with a part.
#[derive(Default)]
struct Told {
    /// The incarnations that its entries say were set back: who holds old checkpoints against the log needs them.
    set_back: BTreeSet<String>,
    /// Places that cannot be read: when they are gone, nobody finds them.
    unread: u64,
}

async fn told_in(spool: &Spool, part: Part) -> Result<Told, Error> {
    let mut reader = AuditReader::new(spool.journal(), 0);
    let mut told = Told::default();
    while let Some(step) = reader.next().await? {
        let record = match step {
            AuditStep::Entry(record) if record.seq <= part.through => record,
            AuditStep::Malformed(seq) | AuditStep::Damaged(seq, _) if seq <= part.through => {
                told.unread += 1;
                continue;
            }
            _ => break,
        };
        let Some(entry) = record.entry else { continue };
        if matches!(entry.event.action, AuditAction::LogSetBack | AuditAction::JournalFreed) {
            let words = entry.event.detail.split(|c: char| !c.is_ascii_alphanumeric());
            told.set_back.extend(words.filter(|word| is_incarnation(word)).map(str::to_owned));
        }
    }
    Ok(told)
}
