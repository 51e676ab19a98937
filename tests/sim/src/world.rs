//! Everything around the box that outlives one process of it, and what the oracle hears at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use model::{Clock, Lane, RecordId, Released, Seq, Slug, Timestamp, codec};
use serde::Deserialize;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::dice::Dice;
use crate::disk::Platter;
use crate::hospital::{CANARY, Hospital, Kind};
use crate::lake::{Lake, Row, Upload};
use crate::plant::Plant;
use crate::shelf::Cabinet;

/// 2026-10-01, more or less.
const BEGINNING_MICROS: i64 = 1_790_000_000_000_000;
/// The receiver without a memory.
pub(crate) const RECEIVER: &str = "ris";
/// The destination under `safe-harbor`.
pub(crate) const RESEARCH: &str = "research";

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) gateway: Slug,
    pub(crate) plant: Option<Plant>,
    /// Where the box's files are; not for the event log.
    dir: String,
    pub(crate) platter: Platter,
    pub(crate) cabinet: Cabinet,
    dice: Mutex<Dice>,
    log: Mutex<String>,
    lake: Mutex<Lake>,
    hospital: Mutex<Hospital>,
    /// Virtual time of the lives that are over, and the beginning of this one.
    past_micros: AtomicI64,
    began: Mutex<Option<Instant>>,
    life: AtomicU32,
    wall_micros: AtomicI64,
    trouble: AtomicU64,
    cut_off: Mutex<BTreeSet<Slug>>,
    /// How often the landing was started.
    landing: AtomicU32,
    /// Requests under way, by the time at which they arrive.
    mail: Mutex<BTreeMap<(i64, u64), Upload>>,
    posted: AtomicU64,
    pub(crate) mailbox: Notify,
    pocket: Mutex<Vec<Upload>>,
    violation: Mutex<Option<String>>,
    violated: Notify,
    /// The destinations of this life's configuration.
    pub(crate) configured: Mutex<Vec<Slug>>,
    is_opening: AtomicBool,
}

impl World {
    pub(crate) fn new(seed: u64, plant: Option<Plant>, dir: &Path) -> Arc<Self> {
        let mut dice = Dice::new(seed);
        let hospital = Hospital::new(&mut dice);
        Arc::new(Self {
            gateway: "ward-3".parse().unwrap(),
            plant,
            dir: dir.display().to_string(),
            platter: Platter::default(),
            cabinet: Cabinet::default(),
            dice: Mutex::new(dice),
            log: Mutex::default(),
            lake: Mutex::default(),
            hospital: Mutex::new(hospital),
            past_micros: AtomicI64::new(0),
            began: Mutex::default(),
            life: AtomicU32::new(0),
            wall_micros: AtomicI64::new(0),
            trouble: AtomicU64::new(0),
            cut_off: Mutex::default(),
            landing: AtomicU32::new(1),
            mail: Mutex::default(),
            posted: AtomicU64::new(0),
            mailbox: Notify::new(),
            pocket: Mutex::default(),
            violation: Mutex::default(),
            violated: Notify::new(),
            configured: Mutex::default(),
            is_opening: AtomicBool::new(false),
        })
    }

    pub(crate) fn dice<T>(&self, roll: impl FnOnce(&mut Dice) -> T) -> T {
        roll(&mut self.dice.lock().unwrap())
    }

    pub(crate) fn lake<T>(&self, act: impl FnOnce(&mut Lake) -> T) -> T {
        act(&mut self.lake.lock().unwrap())
    }

    pub(crate) fn hospital<T>(&self, act: impl FnOnce(&mut Hospital) -> T) -> T {
        act(&mut self.hospital.lock().unwrap())
    }

    pub(crate) fn pocket<T>(&self, act: impl FnOnce(&mut Vec<Upload>) -> T) -> T {
        act(&mut self.pocket.lock().unwrap())
    }

    // Time

    /// In a life's runtime.
    pub(crate) fn begin_life(&self) -> u32 {
        *self.began.lock().unwrap() = Some(Instant::now());
        self.life.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// In its runtime still.
    pub(crate) fn end_life(&self) {
        let now = self.now_micros();
        *self.began.lock().unwrap() = None;
        self.past_micros.store(now, Ordering::Relaxed);
    }

    pub(crate) fn life(&self) -> u32 {
        self.life.load(Ordering::Relaxed)
    }

    /// Microseconds of virtual time since the beginning of the world.
    pub(crate) fn now_micros(&self) -> i64 {
        let past = self.past_micros.load(Ordering::Relaxed);
        let lived = self.began.lock().unwrap().map_or(0, |began| began.elapsed().as_micros() as i64);
        past + lived
    }

    pub(crate) fn step_clock(&self, micros: i64) {
        self.wall_micros.fetch_add(micros, Ordering::Relaxed);
    }

    // The event log

    pub(crate) fn say(&self, what: fmt::Arguments<'_>) {
        let now = self.now_micros();
        let what = what.to_string().replace(&self.dir, "");
        let mut log = self.log.lock().unwrap();
        writeln!(log, "{:>6}.{:06} [{}] {what}", now / 1_000_000, now % 1_000_000, self.life()).unwrap();
    }

    pub(crate) fn take_log(&self) -> String {
        std::mem::take(&mut self.log.lock().unwrap())
    }

    /// The first one counts.
    pub(crate) fn violation(&self, what: String) {
        self.say(format_args!("VIOLATION: {what}"));
        self.violation.lock().unwrap().get_or_insert(what);
        self.violated.notify_one();
    }

    pub(crate) fn verdict(&self) -> Option<String> {
        self.violation.lock().unwrap().clone()
    }

    pub(crate) async fn violated(&self) {
        while self.verdict().is_none() {
            self.violated.notified().await;
        }
    }

    // The network

    pub(crate) fn trouble(&self) -> u64 {
        self.trouble.load(Ordering::Relaxed)
    }

    pub(crate) fn set_trouble(&self, level: u64) {
        self.trouble.store(level, Ordering::Relaxed);
    }

    pub(crate) fn is_cut_off(&self, destination: &Slug) -> bool {
        self.cut_off.lock().unwrap().contains(destination)
    }

    pub(crate) fn cut_off(&self, destination: &Slug, is_cut: bool) {
        let mut cut_off = self.cut_off.lock().unwrap();
        if is_cut {
            cut_off.insert(destination.clone());
        } else {
            cut_off.remove(destination);
        }
    }

    /// Whoever waits for an answer waits in vain.
    pub(crate) fn restart_landing(&self) {
        self.landing.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn landing(&self) -> u32 {
        self.landing.load(Ordering::Relaxed)
    }

    pub(crate) fn reconnect(&self) {
        self.cut_off.lock().unwrap().clear();
    }

    /// It will arrive, whatever becomes of the box.
    pub(crate) fn post(&self, upload: Upload) {
        let delay = self.dice(|d| {
            if d.permille(500) { d.within(1_000..=5_000_000) } else { d.within(5_000_000..=90_000_000) }
        });
        let due = self.now_micros() + delay as i64;
        let number = self.posted.fetch_add(1, Ordering::Relaxed);
        self.mail.lock().unwrap().insert((due, number), upload);
        self.mailbox.notify_one();
    }

    pub(crate) fn next_mail(&self) -> Option<i64> {
        self.mail.lock().unwrap().keys().next().map(|(due, _)| *due)
    }

    /// What has arrived by now.
    pub(crate) fn collect_mail(&self) {
        while let Some(due) = self.next_mail().filter(|due| *due <= self.now_micros()) {
            let Some((_, upload)) = self.mail.lock().unwrap().pop_first() else { return };
            let outcome = self.lake(|lake| lake.land(self, &upload));
            let outcome = outcome.map(|l| (l.first, l.last)).map_err(|e| e.to_string());
            self.say(format_args!("{}: a request arrives late (due {due}): {outcome:?}", upload.destination));
        }
    }

    // What the oracle hears at once

    /// A record has arrived at a destination: was it ever handed in, and does it say more than it may?
    pub(crate) fn arrived(&self, destination: &Slug, lane: Lane, released: &Released) -> Row {
        let id = RecordId { lane, epoch: model::StreamEpoch::FIRST, seq: released.seq };
        let harbor = destination.as_str() == RESEARCH;
        if harbor {
            let all = codec::encode(released).unwrap();
            if memchr::memmem::find(&all, CANARY.as_bytes()).is_some() {
                self.violation(format!("{destination}: an identifier left with {id}"));
            }
        }
        let text = String::from_utf8_lossy(&released.payload).into_owned();
        let number = if harbor { observation(&text) } else { control_id(&text) };
        let message = number.filter(|n| self.hospital(|h| h.was_sent(*n))).unwrap_or_else(|| {
            self.violation(format!("{destination}: {id} is of no message that was ever sent: {text:?}"));
            0
        });
        if !harbor && released.origin.is_none() {
            let sent = self.hospital(|h| h.message(message).map(|m| (m.kind, m.body.clone())));
            if sent.is_none_or(|(kind, body)| kind == Kind::Broken || released.payload != body) {
                self.violation(format!("{destination}: {id} is not what message {message} was"));
            }
        }
        Row { seq: released.seq, origin: released.origin, message }
    }

    pub(crate) fn set_opening(&self, is_opening: bool) {
        self.is_opening.store(is_opening, Ordering::Relaxed);
    }

    /// A cursor is about to be written: it may not be ahead of what its destination has.
    pub(crate) fn cursor_written(&self, key: &[u8], value: &[u8]) {
        let Some((name, lane, after)) = cursor(key, value) else { return };
        let before = self.cabinet.now(key).and_then(|value| cursor(key, &value));
        let Some((.., before)) = before else { return };
        if after <= before {
            return;
        }
        let reached = self.lake(|lake| match name.as_str() {
            RECEIVER => lake.taken_through().get(&lane).copied().unwrap_or(0),
            _ => lake.reached(self, &name, lane),
        });
        if after > reached {
            self.violation(format!("the cursor of {name} {lane} moves to {after}, and it has {reached}"));
        }
    }

    /// A file is about to be unlinked: no destination may still need what is in it.
    pub(crate) fn unlinked(&self, path: &Path, bytes: &[u8]) {
        let lane = path.parent().and_then(|d| d.file_name()?.to_str()?.parse::<Lane>().ok());
        let (Some(lane), Some("seg")) = (lane, path.extension().and_then(|e| e.to_str())) else { return };
        let Some(last) = last_record(bytes) else { return };
        self.hospital(|h| h.let_go(lane, last));
        if self.is_opening.load(Ordering::Relaxed) {
            return;
        }
        for name in self.configured.lock().unwrap().iter() {
            let key = [b"c", format!("{name}/{lane}").as_bytes()].concat();
            let passed = self.cabinet.passed(&key);
            if passed < last {
                self.violation(format!(
                    "{lane}: records up to {last} are unlinked, and the durable cursor of {name} is {passed}"
                ));
            }
        }
    }
}

impl Clock for World {
    fn now(&self) -> Timestamp {
        let wall = self.wall_micros.load(Ordering::Relaxed);
        Timestamp::from_micros(BEGINNING_MICROS + self.now_micros() + wall)
    }
}

/// What of a cursor is looked at.
#[derive(Debug, Deserialize)]
struct CursorValue {
    seq: Seq,
}

pub(crate) fn cursor(key: &[u8], value: &[u8]) -> Option<(Slug, Lane, Seq)> {
    let key = std::str::from_utf8(key.strip_prefix(b"c")?).ok()?;
    let (name, lane) = key.split_once('/')?;
    let CursorValue { seq } = codec::decode(value).ok()?;
    Some((name.parse().ok()?, lane.parse().ok()?, seq))
}

/// The last record number in a segment's bytes.
fn last_record(segment: &[u8]) -> Option<Seq> {
    let mut last = None;
    let mut at = 8192;
    while let Some(header) = segment.get(at..at + 52) {
        if !header.starts_with(b"WGf1") {
            // The padding of a batch.
            at = (at / 4096 + 1) * 4096;
            continue;
        }
        let body = u32::from_le_bytes(header[4..8].try_into().unwrap()) as usize;
        if header[28] == 1 {
            last = last.max(Some(u64::from_le_bytes(header[16..24].try_into().unwrap())));
        }
        at += 52 + body + 4;
    }
    last
}

/// MSH-10.
pub(crate) fn control_id(text: &str) -> Option<u64> {
    text.split('|').nth(9)?.strip_prefix('C')?.parse().ok()
}

/// OBX-5 of the one observation.
fn observation(text: &str) -> Option<u64> {
    let obx = text.split('\r').find(|s| s.starts_with("OBX|"))?;
    obx.split('|').nth(5)?.parse().ok()
}
