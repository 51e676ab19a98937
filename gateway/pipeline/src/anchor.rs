//! The outside anchor: checkpoints of the audit log, with the heads of all logs, witnessed by each landing.
//!
//! **Promise.** What a landing has a receipt of cannot be taken back unnoticed. At every contact the receipt is held
//! against what is on the disk: an audit log that does not continue it, and a log that ends before its receipted head
//! or has another record there, is audited ([`AuditAction::LogSetBack`]) and takes a new incarnation, so that no
//! number of it, and no place in the tree, stands for two things.
//!
//! **Limits.** A checkpoint leaves when [`Pace::entries`] new audit entries stand, or when [`Pace::every`] is over and
//! anything has changed. A landing that is away, or refuses, holds up nothing but this, and that the journal lets go of what
//! it has no receipt of ([`crate::letting_go`]). What came in after the newest
//! receipt and is set back with it cannot be noticed: that is at most [`Pace::every`] of a box that is connected.
//!
//! **How.** One task a destination that keeps checkpoints; see `docs/wire-protocol.md`. The key follows from the root
//! key; the origin is the gateway and the journal's incarnation.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use audit::witness::AddCheckpoint;
use audit::{Checkpoint, Head, Note, Signer, checkpoint};
use forward::retry::{Backoff, Limits};
use forward::{Destination, SendError};
use model::wire::{AuditReceipt, ProblemKind};
use model::{AuditAction, AuditEvent, Clock, Slug, Timestamp};
use serde::Serialize;
use spool::{AuditTip, Log, Spool, audit_signer};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::broken::Broken;
use crate::{Error, Handle, letting_go};

/// How often a checkpoint leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// After so many new audit entries at once.
    pub entries: u64,
    /// Otherwise after so long, where anything has changed.
    pub every: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { entries: 64, every: Duration::from_secs(60) }
    }
}

/// What a destination has witnessed of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Witnessed {
    /// The destination.
    pub destination: Slug,
    /// How many entries its newest receipt covers.
    pub entries: u64,
    /// When it gave that receipt.
    pub at: Option<Timestamp>,
    /// Why it has not witnessed more, where that failed last.
    pub failing: Option<String>,
}

/// What all destinations have witnessed; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Board(Arc<Mutex<Vec<Witnessed>>>);

impl Board {
    pub(crate) fn all(&self) -> Vec<Witnessed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, destination: &Slug, change: impl FnOnce(&mut Witnessed)) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match all.iter_mut().find(|w| &w.destination == destination) {
            Some(witnessed) => change(witnessed),
            None => {
                let mut witnessed =
                    Witnessed { destination: destination.clone(), entries: 0, at: None, failing: None };
                change(&mut witnessed);
                all.push(witnessed);
            }
        }
    }
}

/// The task of one destination.
#[derive(Debug)]
pub(crate) struct Anchor<D> {
    pub(crate) gateway: Slug,
    pub(crate) name: Slug,
    pub(crate) destination: Arc<D>,
    pub(crate) spool: Arc<Spool>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) board: Board,
    pub(crate) pace: Pace,
    /// How far each log was when the process began, and then at each attempt: a receipt beyond that is of a past that
    /// is not on this disk, whatever came in since and whoever gave the log another incarnation meanwhile.
    pub(crate) vouched: Mutex<Vec<Head>>,
}

/// How far the logs are, without a look at their records.
pub(crate) fn ends(spool: &Spool) -> Vec<Head> {
    let end = |log: &Log| Head {
        log: log.name().to_owned(),
        incarnation: log.incarnation(),
        epoch: log.epoch().get(),
        seq: *log.durable().borrow(),
        tag: None,
    };
    spool.logs().iter().map(end).collect()
}

/// Why nothing is witnessed any more, where nothing broke.
enum Over {
    Stopped,
    /// The destination keeps no checkpoints.
    NoWitness,
}

/// What was vouched for last.
struct Receipted {
    tip: AuditTip,
    heads: Vec<Head>,
    /// When the receipt was given.
    at: Option<Timestamp>,
}

/// How the audit log stands to what was vouched for.
enum Stood {
    At(AuditTip),
    /// So early that what followed has been freed: nothing can be told of it, or proven from it.
    Freed(u64),
    Contradicted(String),
}

impl<D: Destination> Anchor<D> {
    /// Has checkpoints witnessed until stopped.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut backoff = Backoff::new(Limits::default());
        loop {
            let ended = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                ended = self.keep_up(&stop, &mut backoff) => ended,
            };
            let broken = match ended {
                Ok(Over::Stopped) => return,
                Ok(Over::NoWitness) => return self.spool.audit_log().need_no_more(self.name.as_str()),
                Err(broken) => broken,
            };
            let why = broken.to_string();
            let wait = backoff.failed(rand::random(), broken.retry_after());
            tracing::warn!(destination = %self.name, %why, "the audit log was not witnessed");
            self.board.change(&self.name, |witnessed| witnessed.failing = Some(why));
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    async fn keep_up(&self, stop: &CancellationToken, backoff: &mut Backoff) -> Result<Over, Broken> {
        let Some(mut receipted) = self.meet().await? else { return Ok(Over::NoWitness) };
        self.needs(&receipted);
        let journal = self.spool.journal().durable();
        loop {
            let mut seen = *journal.borrow();
            let tip = self.tip().await?;
            let heads = self.heads().await?;
            let is_news = tip.range != receipted.tip.range || heads != receipted.heads;
            if is_news && !self.send(&mut receipted, tip, heads).await? {
                return Ok(Over::NoWitness);
            }
            backoff.succeeded();
            let due = Instant::now() + self.pace.every;
            loop {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return Ok(Over::Stopped),
                    () = tokio::time::sleep_until(due) => break,
                    now = journal.beyond(seen) => seen = now,
                }
                let news = self.tip().await?.range.size().saturating_sub(receipted.tip.range.size());
                if news >= self.pace.entries {
                    break;
                }
            }
        }
    }

    /// What stands behind the newest receipt must stay until there is one for it.
    fn needs(&self, receipted: &Receipted) {
        let proof = receipted.at.map_or_else(String::new, |at| {
            format!("its receipt of {at} is for {} entries", receipted.tip.range.size())
        });
        self.spool.audit_log().need(self.name.as_str(), receipted.tip.seq, proof);
    }

    async fn tip(&self) -> Result<AuditTip, Error> {
        let audit = Arc::clone(self.spool.audit_log());
        off_runtime(move || Ok(audit.tip()?)).await
    }

    async fn heads(&self) -> Result<Vec<Head>, Error> {
        let logs: Vec<Log> = self.spool.logs().to_vec();
        off_runtime(move || Ok(logs.iter().map(Log::head).collect::<Result<Vec<_>, _>>()?)).await
    }

    fn signer(&self) -> Result<Signer, Error> {
        Ok(audit_signer(self.spool.keys(), &self.gateway, &self.spool.journal().incarnation())?)
    }

    /// Holds what the landing has against what is here, and acts where they contradict. `None` where it keeps no
    /// checkpoints.
    async fn meet(&self) -> Result<Option<Receipted>, Broken> {
        let origin = checkpoint::origin(&self.gateway, &self.spool.journal().incarnation());
        let Some(standing) = self.destination.standing(&origin).await? else { return Ok(None) };
        let newest = standing.newest.as_ref().and_then(|receipt| self.believed(receipt));
        // All are looked at before the first is audited: that alone makes the journal go on.
        let mut contradicted = Vec::new();
        for head in newest.iter().flat_map(|(_, checkpoint)| &checkpoint.heads) {
            let found = self.hold_against(head).await?;
            contradicted.extend(found.map(|(log, detail)| (log, detail, head.incarnation.clone())));
        }
        for (log, detail, incarnation) in contradicted {
            self.set_back(log.name(), &detail)?;
            log.renew_incarnation_of(&incarnation)?;
        }
        self.vouch(ends(&self.spool));
        let of_origin = standing.origin.as_ref().and_then(|receipt| self.believed(receipt));
        let nothing = || Some(Receipted { tip: AuditTip::nothing(), heads: Vec::new(), at: None });
        if self.spool.journal().incarnation() != of(&origin) {
            // The journal itself was set back: it goes on under a new origin, of which the landing has nothing.
            return Ok(nothing());
        }
        match (of_origin, newest) {
            (Some((at, checkpoint)), _) => match self.stood_at(&checkpoint).await? {
                Stood::At(tip) => {
                    self.board.change(&self.name, |witnessed| {
                        witnessed.entries = tip.range.size();
                        witnessed.at = Some(at);
                    });
                    Ok(Some(Receipted { tip, heads: checkpoint.heads, at: Some(at) }))
                }
                Stood::Freed(freed) => {
                    self.behind(at, checkpoint.size, freed)?;
                    self.spool.journal().renew_incarnation()?;
                    Ok(nothing())
                }
                Stood::Contradicted(why) => {
                    self.set_back("journal", &format!("{why} ({}, receipt of {at})", checkpoint.origin))?;
                    self.spool.journal().renew_incarnation()?;
                    Ok(nothing())
                }
            },
            // A new origin: after a restore, or a journal that lost its end. What the landing has under the old one
            // is compared once, before the first checkpoint of the new one.
            (None, Some((at, checkpoint))) => {
                match self.stood_at(&checkpoint).await? {
                    Stood::At(_) => {}
                    Stood::Freed(freed) => self.behind(at, checkpoint.size, freed)?,
                    Stood::Contradicted(why) => {
                        self.set_back("journal", &format!("{why} ({}, receipt of {at})", checkpoint.origin))?;
                    }
                }
                Ok(nothing())
            }
            (None, None) => Ok(nothing()),
        }
    }

    fn vouch(&self, heads: Vec<Head>) {
        *self.vouched.lock().unwrap_or_else(PoisonError::into_inner) = heads;
    }

    /// A receipt whose note this gateway has signed; others say nothing about it.
    fn believed(&self, receipt: &AuditReceipt) -> Option<(Timestamp, Checkpoint)> {
        let note = Note::parse(&receipt.checkpoint).ok()?;
        let checkpoint = Checkpoint::parse(note.text()).ok()?;
        let (gateway, incarnation) = checkpoint::of_origin(&checkpoint.origin)?;
        let signer = audit_signer(self.spool.keys(), &gateway, incarnation).ok()?;
        if gateway != self.gateway || note.verify(signer.verifier()).is_err() {
            tracing::warn!(destination = %self.name, origin = checkpoint.origin,
                "the landing holds a checkpoint that this gateway did not sign");
            return None;
        }
        Some((receipt.received_at, checkpoint))
    }

    /// The audit log as it stood at a checkpoint; or how it contradicts that.
    async fn stood_at(&self, checkpoint: &Checkpoint) -> Result<Stood, Error> {
        let audit = Arc::clone(self.spool.audit_log());
        let (size, root) = (checkpoint.size, checkpoint.root);
        off_runtime(move || {
            let here = audit.tip()?.range.size();
            Ok(match audit.tip_at(size)? {
                Some(tip) if tip.range.root() == root => Stood::At(tip),
                Some(_) => Stood::Contradicted(format!(
                    "of the {size} audit entries that were vouched for some are not the same any more"
                )),
                None if size > here => Stood::Contradicted(format!(
                    "{size} audit entries were vouched for, and there are {here}: the later ones are lost"
                )),
                None => match audit.freed()? {
                    freed if size < freed => Stood::Freed(freed),
                    _ => Stood::Contradicted(format!(
                        "{size} audit entries were vouched for, and what followed the last of them cannot be read any more"
                    )),
                },
            })
        })
        .await
    }

    /// One log against what was receipted of it: how it contradicts that.
    async fn hold_against(&self, receipted: &Head) -> Result<Option<(Log, String)>, Error> {
        let vouched = self.vouched.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let is_it = |ours: &&Head| ours.log == receipted.log && ours.incarnation == receipted.incarnation;
        let log = self.spool.logs().iter().find(|log| log.name() == receipted.log);
        let (Some(log), Some(ours)) = (log, vouched.iter().find(is_it)) else { return Ok(None) };
        let (seq, theirs, last) = (receipted.seq, receipted.tag, ours.seq);
        let why = if last < seq {
            let first = last.saturating_add(1);
            format!("records {first} to {seq} of it were vouched for and are not on this disk")
        } else {
            let at = log.clone();
            let ours = off_runtime(move || Ok(at.tag(seq)?)).await?;
            match (ours, theirs) {
                (Some(ours), Some(theirs)) if ours != theirs => {
                    format!("record {seq} of it, or one before, is not the one that was vouched for")
                }
                _ => return Ok(None),
            }
        };
        let detail = format!("{why} ({}, epoch {})", receipted.incarnation, receipted.epoch);
        Ok(Some((log.clone(), detail)))
    }

    /// A destination that was set back itself, or was not configured for a while, has a receipt of what is freed.
    fn behind(&self, at: Timestamp, size: u64, freed: u64) -> Result<(), Error> {
        tracing::warn!(destination = %self.name, size, freed,
            "the landing's newest receipt is for less than was freed of the audit log: it begins anew there");
        let detail = format!(
            "its receipt of {at} is for {size} entries, and {freed} are freed: they cannot be compared, and it begins anew"
        );
        let event = letting_go::event(&*self.clock, &format!("journal/{}", self.name), detail);
        Ok(self.spool.audit_log().record_aside(&event)?)
    }

    fn set_back(&self, log: &str, detail: &str) -> Result<(), Error> {
        tracing::error!(destination = %self.name, log, detail,
            "a log is not what the landing has a receipt of: the disk was set back, or somebody changed it");
        let event = AuditEvent {
            at: self.clock.now(),
            actor: "system".to_owned(),
            action: AuditAction::LogSetBack,
            subject: log.to_owned(),
            detail: format!("{}: {detail}", self.name),
        };
        // Also a full journal says it: nothing of it goes before the landing was met.
        Ok(self.spool.audit_log().record_aside(&event)?)
    }

    /// Has one checkpoint witnessed; says whether the destination keeps any.
    async fn send(&self, receipted: &mut Receipted, tip: AuditTip, heads: Vec<Head>) -> Result<bool, Broken> {
        let signer = self.signer()?;
        let Some(proof) = self.spool.audit_log().prove(&receipted.tip, &tip).await? else {
            // Met again, the landing's receipt is held against the entry that cannot be read.
            self.set_back(
                "journal",
                "an audit entry since the last receipt cannot be read: no proof can be made",
            )?;
            self.spool.journal().renew_incarnation()?;
            return Err(Error::AuditUnproven.into());
        };
        let checkpoint = Checkpoint {
            origin: signer.verifier().name().to_owned(),
            size: tip.range.size(),
            root: tip.range.root(),
            heads,
        };
        self.vouch(checkpoint.heads.clone());
        let mut note = Note::new(checkpoint.to_text());
        note.sign(&signer);
        let request = AddCheckpoint { old_size: receipted.tip.range.size(), proof, note };
        let sent = self.destination.witness(&signer.verifier().to_string(), request.to_body()).await;
        if let Err(SendError::Refused { kind: Some(ProblemKind::Inconsistent), title, .. }) = &sent {
            tracing::warn!(destination = %self.name, why = %title, "the landing takes this checkpoint for no continuation");
        }
        let Some(receipt) = sent? else { return Ok(false) };
        let is_ours = Note::parse(&receipt.checkpoint).is_ok_and(|note| note.text() == request.note.text());
        if !is_ours {
            return Err(SendError::Unknown { why: "it gave a receipt for something else".to_owned() }.into());
        }
        *receipted = Receipted { tip, heads: checkpoint.heads, at: Some(receipt.received_at) };
        self.needs(receipted);
        self.board.change(&self.name, |witnessed| {
            witnessed.entries = checkpoint.size;
            witnessed.at = Some(receipt.received_at);
            witnessed.failing = None;
        });
        Ok(true)
    }
}

/// The incarnation in an origin of ours.
fn of(origin: &str) -> &str {
    origin.rsplit('/').next().unwrap_or_default()
}

async fn off_runtime<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(Error::AuditUnproven))
}

impl Handle {
    /// What each destination that keeps checkpoints has witnessed of the audit log.
    pub fn witnessed(&self) -> Vec<Witnessed> {
        self.witnessed.all()
    }
}
