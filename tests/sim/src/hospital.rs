//! Who sends: a handful of clients that hand one message after the other to the intake and give up on none.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use model::{Closing, Format, Identity, Intake as _, Lane, Provenance, Receipt, RecordId, Seq, Timestamp};
use pipeline::LogIntake;

use crate::dice::Dice;
use crate::world::World;

/// Stands in every identifier that a message has.
pub(crate) const CANARY: &str = "CANARY";
/// A medical record number that is also a code of the message: held under `safe-harbor`.
const AMBIGUOUS: &str = "24323-8";

/// What a policy and a decoder will make of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Plain,
    /// `safe-harbor` holds it.
    Ambiguous,
    /// Nobody can read it.
    Broken,
}

/// The feeds: their lanes, and the destinations that their messages are for; `None` for all.
pub(crate) const FEEDS: [(&str, Lane, Option<&[&str]>); 3] = [
    ("lab", Lane::Clinical, None),
    ("stat", Lane::Urgent, Some(&["lake", "research"])),
    ("archive", Lane::Bulk, Some(&["lake"])),
];

#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) feed: usize,
    pub(crate) kind: Kind,
    pub(crate) body: Vec<u8>,
    pub(crate) is_sent: bool,
    pub(crate) receipt: Option<RecordId>,
}

impl Message {
    pub(crate) const fn lane(&self) -> Lane {
        FEEDS[self.feed].1
    }

    pub(crate) fn is_for(&self, destination: &str) -> bool {
        FEEDS[self.feed].2.is_none_or(|names| names.contains(&destination))
    }
}

#[derive(Debug)]
pub(crate) struct Hospital {
    /// By their numbers, from 1 on.
    messages: Vec<Message>,
    by_record: BTreeMap<(Lane, Seq), u64>,
    /// What each client has yet to send, or to be sure of.
    clients: Vec<VecDeque<u64>>,
    /// Of which destination somebody wanted to keep which message.
    dismissed: BTreeSet<(u64, String)>,
    /// The last record that each log has let go of.
    freed: BTreeMap<Lane, Seq>,
    /// The box's index of resends was lost with its state store, and read back from what the logs still had.
    has_lost_index: bool,
}

impl Hospital {
    pub(crate) fn new(dice: &mut Dice) -> Self {
        let mut messages = Vec::new();
        let mut clients = Vec::new();
        // What a seed's messages are padded with: large ones fill segments, so that there is something to free.
        let padding = *dice.pick(&[0, 500, 4_000]);
        for feed in [0, 0, 0, 1, 2] {
            let count = dice.within(2..=16);
            let mut mine = VecDeque::new();
            for _ in 0..count {
                let number = messages.len() as u64 + 1;
                messages.push(message(dice, number, feed, padding));
                mine.push_back(number);
            }
            clients.push(mine);
        }
        Self {
            messages,
            by_record: BTreeMap::new(),
            clients,
            dismissed: BTreeSet::new(),
            freed: BTreeMap::new(),
            has_lost_index: false,
        }
    }

    pub(crate) fn messages(&self) -> impl Iterator<Item = (u64, &Message)> {
        (1..).zip(&self.messages)
    }

    pub(crate) fn message(&self, number: u64) -> Option<&Message> {
        self.messages.get(usize::try_from(number).ok()?.checked_sub(1)?)
    }

    pub(crate) fn was_sent(&self, number: u64) -> bool {
        self.message(number).is_some_and(|m| m.is_sent)
    }

    pub(crate) fn of_record(&self, lane: Lane, seq: Seq) -> Option<u64> {
        self.by_record.get(&(lane, seq)).copied()
    }

    pub(crate) fn is_done(&self) -> bool {
        self.clients.iter().all(VecDeque::is_empty)
    }

    pub(crate) fn dismiss(&mut self, number: u64, destination: &str) {
        self.dismissed.insert((number, destination.to_owned()));
    }

    pub(crate) fn is_dismissed(&self, number: u64, destination: &str) -> bool {
        self.dismissed.contains(&(number, destination.to_owned()))
    }

    pub(crate) const fn lose_index(&mut self) {
        self.has_lost_index = true;
    }

    /// Records up to this one go with their segment.
    pub(crate) fn let_go(&mut self, lane: Lane, last: Seq) {
        let freed = self.freed.entry(lane).or_default();
        *freed = last.max(*freed);
    }

    pub(crate) const fn client_count(&self) -> usize {
        self.clients.len()
    }

    /// The receipt of a message; says what is wrong with it.
    fn receipted(&mut self, number: u64, receipt: &Receipt) -> Result<(), String> {
        let id = receipt.id;
        let message = &mut self.messages[number as usize - 1];
        if message.lane() != id.lane {
            return Err(format!("message {number} got {id}, of another lane"));
        }
        // Neither in the index of resends nor in the log any more: there it is a new one.
        let is_forgotten =
            |before: RecordId| self.has_lost_index && self.freed.get(&before.lane) >= Some(&before.seq);
        if let Some(before) = message.receipt
            && (before.seq != id.seq || receipt.duplicate.is_none())
            && !is_forgotten(before)
        {
            return Err(format!("message {number} has the receipt {before} and was stored again as {id}"));
        }
        message.receipt = Some(id);
        let other = *self.by_record.entry((id.lane, id.seq)).or_insert(number);
        if other != number {
            return Err(format!("{id} was given to message {other} and to message {number}"));
        }
        Ok(())
    }
}

fn message(dice: &mut Dice, number: u64, feed: usize, padding: usize) -> Message {
    let kind = match dice.within(0..=99) {
        0..=4 if feed == 0 => Kind::Broken,
        5..=12 if feed != 2 => Kind::Ambiguous,
        _ => Kind::Plain,
    };
    let patient = dice.within(1..=4);
    let record_number = match kind {
        Kind::Ambiguous => AMBIGUOUS.to_owned(),
        Kind::Plain | Kind::Broken => format!("{CANARY}{patient}"),
    };
    let head = "MSH|^~\\&|LAB|LARKHAVEN|B|EDGE|20261124083000||ORU^R01^ORU_R01";
    let mut text = match kind {
        // Its number stands where that of a message would.
        Kind::Broken => format!("PID|1||{record_number}||||||C{number}|"),
        _ => format!(
            "{head}|C{number}|P|2.5.1\rPID|1||{record_number}^^^LARKHAVEN^MR||{CANARY}^{CANARY}||19540311|F\r\
             OBR|1|||24323-8^Comprehensive metabolic panel^LN\rOBX|1|NM|2345-7^Glucose^LN||{number}|mg/dL|||||F\r"
        ),
    };
    if feed == 2 || padding > 0 {
        let bytes = if feed == 2 { 4 * padding + 2_000 } else { padding };
        let bytes = dice.within(0..=bytes as u64) as usize;
        text.push_str(&format!("NTE|1||{}\r", "x".repeat(bytes)));
    }
    Message { feed, kind, body: text.into_bytes(), is_sent: false, receipt: None }
}

/// A copy of a broken message that a person has mended.
pub(crate) fn mended(number: u64) -> Bytes {
    format!(
        "MSH|^~\\&|LAB|LARKHAVEN|B|EDGE|20261124083000||ORU^R01^ORU_R01|C{number}|P|2.5.1\r\
         PID|1||{CANARY}9^^^LARKHAVEN^MR||{CANARY}^{CANARY}||19540311|F\r\
         OBR|1|||24323-8^Comprehensive metabolic panel^LN\rOBX|1|NM|2345-7^Glucose^LN||{number}|mg/dL|||||F\r"
    )
    .into()
}

/// One client, until it has a receipt for everything.
pub(crate) async fn send_all(world: Arc<World>, client: usize, intake: LogIntake) {
    while let Some(number) = world.hospital(|h| h.clients[client].front().copied()) {
        let message = world.hospital(|h| {
            h.messages[number as usize - 1].is_sent = true;
            h.messages[number as usize - 1].clone()
        });
        match hand_in(&world, &message, number, &intake).await {
            Ok(receipt) => {
                if world.platter.is_dead() {
                    // The process that would have said so is gone.
                    return;
                }
                world.say(format_args!(
                    "message {number} is {}{}",
                    receipt.id,
                    if receipt.duplicate.is_some() { ", again" } else { "" }
                ));
                if let Err(problem) = world.hospital(|h| h.receipted(number, &receipt)) {
                    world.violation(problem);
                }
                // Sometimes the acknowledgement gets lost, and the client sends the same again.
                if !world.dice(|d| d.permille(60)) {
                    world.hospital(|h| h.clients[client].pop_front());
                }
            }
            Err(refusal) => world.say(format_args!("message {number} is refused: {refusal}")),
        }
        let pause =
            world.dice(|d| if d.permille(300) { d.within(0..=2_000) } else { d.within(20_000..=3_000_000) });
        tokio::time::sleep(Duration::from_micros(pause)).await;
    }
}

async fn hand_in(
    world: &World,
    message: &Message,
    number: u64,
    intake: &LogIntake,
) -> Result<Receipt, model::Refusal> {
    let provenance = Provenance {
        feed: FEEDS[message.feed].0.parse().unwrap(),
        peer: format!("{CANARY}:4711"),
        channel: String::new(),
        received_at: Timestamp::from_micros(model::Clock::now(world).micros()),
        format: if message.kind == Kind::Broken { Format::Unparsed } else { Format::Hl7v2 },
        origin: None,
    };
    let mut writer = intake.begin(provenance).await?;
    let at = world.dice(|d| d.within(0..=message.body.len() as u64)) as usize;
    let (first, second) = message.body.split_at(at);
    writer.push(first).await?;
    writer.push(second).await?;
    let mut identity = [0; 32];
    identity[..8].copy_from_slice(&number.to_be_bytes());
    let closing = Closing {
        identity: Some(Identity(identity)),
        reply: Some(Bytes::from_static(b"AA")),
        ..Closing::default()
    };
    writer.commit(closing).await
}
