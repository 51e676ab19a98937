//! Which answer belongs to which message: the sending side of MLLP, without I/O.
//!
//! **Promise.** An answer is taken for a message only where it names that message in MSA-2, in the order of sending.
//! Whatever else comes is a [`Fault`]: the connection is then to be closed, because what comes next on it cannot be
//! trusted to belong to what was sent next.
//!
//! **Limits.** An answer has at most [`ANSWER_BYTES_MAX`] bytes; [`JUNK_BYTES_MAX`] outside of frames are tolerated
//! before the other side is taken for something that does not speak MLLP; [`KNOWN_MAX`] control ids are remembered.
//!
//! **What settles a message** (MSH-15 accept, MSH-16 application; HL7 v2.8.2 §2.9.2, §2.9.3; table 0155)
//!
//! | asked for | a positive answer that settles it |
//! |---|---|
//! | neither field valued: original mode | the first, AA or CA |
//! | application AL or SU | AA; a CA before it is noted, and its wait goes on |
//! | accept AL or SU, application NE or ER | CA or AA |
//! | nothing on success (NE or ER both) | none comes: [`Wanted::Nothing`] |
//!
//! Receivers that know only the original mode answer AA whatever was asked, so AA settles always; AE, AR, CE and CR
//! do so too. An application answer that comes after a CA has settled its message is [`Event::Late`], no fault.
//!
//! **Constant control ids.** Some senders write the same MSH-10 into every message, or none. A second answer to the
//! last message then looks like the answer to this one. [`Exchange::can_tell_apart`] says when a message needs a
//! connection of its own; on it, a message without MSH-10 is answered by whatever acknowledgement comes.

use std::collections::VecDeque;
use std::fmt;

use crate::mllp::{Deframer, Event as Line};
use crate::{AckCode, Delimiters, Fate, Header, MSH_BYTES_MAX, Message, Mode, Path, unescape};

/// Longest answer, in bytes.
pub const ANSWER_BYTES_MAX: u64 = 1 << 20;
/// Most bytes outside of frames before an answer.
pub const JUNK_BYTES_MAX: u64 = 64 << 10;
/// Control ids of a connection that are remembered.
pub const KNOWN_MAX: usize = 256;

/// How long to wait for what settles a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WaitFor {
    /// As MSH-15 and MSH-16 of the message ask.
    #[default]
    AsAsked,
    /// The first answer settles it, also a CA where an application answer was asked for: receivers whose
    /// application answers come another way.
    FirstAnswer,
}

/// What settles one message, beside a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// The first positive answer.
    Any,
    /// An application answer (AA).
    Application,
    /// The message asks for no answer when all is well.
    Nothing,
}

impl Wanted {
    /// What a message asks for.
    pub fn by(header: &Header, wait: WaitFor) -> Self {
        let mode = Mode::asked_by(header);
        let (mut any, mut application) = (false, false);
        for code in mode.codes(Fate::Accepted) {
            any = true;
            application |= code == AckCode::Accept;
        }
        match (mode, wait) {
            (Mode::Enhanced { .. }, WaitFor::AsAsked) if application => Self::Application,
            _ if any => Self::Any,
            _ => Self::Nothing,
        }
    }
}

/// What a receiver answered.
#[derive(Clone)]
pub struct Answer {
    code: AckCode,
    message: Message,
}

impl Answer {
    /// Reads an answer.
    ///
    /// # Errors
    /// [`Fault::NotAnAck`].
    pub fn read(payload: Vec<u8>) -> Result<Self, Fault> {
        let message = Message::parse(payload).map_err(|_| Fault::NotAnAck)?;
        let code = "MSA-1".parse::<Path>().ok().and_then(|path| AckCode::read(message.get(&path)?));
        Ok(Self { code: code.ok_or(Fault::NotAnAck)?, message })
    }

    /// MSA-1.
    pub const fn code(&self) -> AckCode {
        self.code
    }

    /// The whole answer.
    pub const fn message(&self) -> &Message {
        &self.message
    }

    /// MSA-2.
    pub fn control_id(&self) -> &[u8] {
        self.get("MSA-2").unwrap_or_default()
    }

    /// The reason in words, MSA-3 or ERR-8, where there is one. It may quote the message: not for logs.
    pub fn text(&self) -> Option<String> {
        let raw = ["MSA-3", "ERR-8"].into_iter().find_map(|path| self.get(path).filter(|t| !t.is_empty()))?;
        Some(String::from_utf8_lossy(&unescape(raw, &self.message.delimiters())).into_owned())
    }

    /// Code, condition and place of a refusal, for logs: `AR, condition 103 at PID-3`. Only what looks like a
    /// condition number, a segment's name and field numbers is repeated, never text.
    pub fn reason(&self) -> String {
        let mut reason = self.code.as_str().to_owned();
        if let Some(condition) = self.condition() {
            reason.push_str(", condition ");
            reason.push_str(condition);
        }
        if let Some(place) = self.place() {
            reason.push_str(" at ");
            reason.push_str(&place);
        }
        reason
    }

    /// ERR-3.1, or ERR-1.4.1 of a version before 2.5; table 0357 has three digits.
    fn condition(&self) -> Option<&str> {
        ["ERR-3.1", "ERR-1.4.1"].into_iter().find_map(|path| number(self.get(path)?))
    }

    /// ERR-2, or ERR-1 of a version before 2.5: segment, occurrence, field, repetition, component.
    fn place(&self) -> Option<String> {
        let new = [1, 3, 5].map(|n| self.get(&format!("ERR-2.{n}")).unwrap_or_default());
        let old = [1, 3].map(|n| self.get(&format!("ERR-1.{n}")).unwrap_or_default());
        let (segment, numbers) = match (new, old) {
            ([segment, field, component], _) if !segment.is_empty() => (segment, vec![field, component]),
            (_, [segment, field]) => (segment, vec![field]),
        };
        let is_name = segment.len() == 3
            && segment.first().is_some_and(u8::is_ascii_uppercase)
            && segment.iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        let mut place = is_name.then(|| std::str::from_utf8(segment).ok()).flatten()?.to_owned();
        for (value, mark) in numbers.into_iter().zip(['-', '.']) {
            let Some(value) = number(value) else { break };
            place.push(mark);
            place.push_str(value);
        }
        Some(place)
    }

    fn get(&self, path: &str) -> Option<&[u8]> {
        self.message.get(&path.parse::<Path>().ok()?)
    }

    fn names(&self, control_id: &[u8], delimiters: Delimiters) -> bool {
        let named = self.control_id();
        named == control_id
            || unescape(named, &self.message.delimiters()) == unescape(control_id, &delimiters)
    }
}

fn number(value: &[u8]) -> Option<&str> {
    let fits = (1..=3).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
    fits.then(|| std::str::from_utf8(value).ok()).flatten()
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answer({}, {:?})", self.code.as_str(), self.message)
    }
}

/// Why the connection is of no more use. What was sent on it and not settled has to be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// MSA-2 names another message than the one that is waiting.
    #[error("the answer is for another message")]
    OtherMessage,
    /// An answer, and no message waits for one: a second answer, or one to another sender.
    #[error("an answer came that no message waits for")]
    Unasked,
    /// A frame that is no acknowledgement: junk, or a message of the receiver's own.
    #[error("the answer is no acknowledgement")]
    NotAnAck,
    /// An answer longer than [`ANSWER_BYTES_MAX`].
    #[error("the answer is longer than {ANSWER_BYTES_MAX} bytes")]
    TooLong,
    /// A frame that lost its end.
    #[error("the answer broke off before its end")]
    Broken,
    /// More than [`JUNK_BYTES_MAX`] outside of any frame.
    #[error("the other side does not speak MLLP")]
    NotMllp,
}

/// What came.
#[derive(Debug, Clone)]
pub enum Event {
    /// The oldest message that waited is settled, by this answer.
    Settled(Answer),
    /// An application answer to a message that a CA had settled.
    Late(Answer),
}

struct Waiting {
    control_id: Vec<u8>,
    delimiters: Delimiters,
    wanted: Wanted,
    accepted: bool,
}

/// One connection as its sender sees it: messages out, answers in.
pub struct Exchange {
    wait: WaitFor,
    deframer: Deframer,
    payload: Vec<u8>,
    junk: u64,
    waiting: VecDeque<Waiting>,
    /// Settled by a CA: an application answer may still come.
    may_follow: VecDeque<Waiting>,
    /// Control ids that were sent on this connection, latest last.
    known: VecDeque<Vec<u8>>,
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Exchange({} waiting, {} known)", self.waiting.len(), self.known.len())
    }
}

impl Exchange {
    /// Of a new connection.
    pub const fn new(wait: WaitFor) -> Self {
        Self {
            wait,
            deframer: Deframer::new(ANSWER_BYTES_MAX),
            payload: Vec::new(),
            junk: 0,
            waiting: VecDeque::new(),
            may_follow: VecDeque::new(),
            known: VecDeque::new(),
        }
    }

    /// Whether an answer to this message can be told from one to a message that went before it on this connection.
    /// Where not, a new connection is needed.
    pub fn can_tell_apart(&self, message: &[u8]) -> bool {
        let control_id = control_id(message).map(|(id, ..)| id).unwrap_or_default();
        if control_id.is_empty() {
            return self.known.is_empty();
        }
        !self.known.iter().any(|known| known.is_empty() || *known == control_id)
    }

    /// A message is about to be sent. Says what will settle it.
    pub fn sent(&mut self, message: &[u8]) -> Wanted {
        let (control_id, delimiters, wanted) = control_id(message).map_or_else(
            || (Vec::new(), Delimiters::STANDARD, Wanted::Any),
            |(id, header)| (id, header.delimiters(), Wanted::by(&header, self.wait)),
        );
        if self.known.len() >= KNOWN_MAX {
            self.known.pop_front();
        }
        self.known.push_back(control_id.clone());
        self.waiting.push_back(Waiting { control_id, delimiters, wanted, accepted: false });
        wanted
    }

    /// Messages that wait for an answer.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nothing is owed and no answer has begun: the next message may go.
    pub fn is_clear(&self) -> bool {
        self.waiting.is_empty() && !self.deframer.in_frame()
    }

    /// Whether anything at all came that was no frame.
    pub const fn heard_junk(&self) -> bool {
        self.junk > 0
    }

    /// Takes bytes off the front of `input`, up to the end of the next answer. `None` when `input` is used up: call
    /// again with the next bytes.
    ///
    /// # Errors
    /// [`Fault`]: close the connection.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<Event>, Fault> {
        while let Some(line) = self.deframer.next(input) {
            match line {
                Line::Begin => self.payload.clear(),
                Line::Data(data) => self.payload.extend_from_slice(data),
                Line::End { .. } => {
                    if let Some(event) = self.answered()? {
                        return Ok(Some(event));
                    }
                }
                Line::TooLong => return Err(Fault::TooLong),
                Line::Broken { .. } => return Err(Fault::Broken),
                Line::Junk(junk) => {
                    self.junk = self.junk.saturating_add(junk.len() as u64);
                    if self.junk > JUNK_BYTES_MAX {
                        return Err(Fault::NotMllp);
                    }
                }
            }
        }
        Ok(None)
    }

    /// The stream has ended: an answer whose last byte was lost may be complete.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn finish(&mut self) -> Result<Option<Event>, Fault> {
        match self.deframer.finish() {
            Some(Line::End { .. }) => self.answered(),
            Some(_) => Err(Fault::Broken),
            None => Ok(None),
        }
    }

    fn answered(&mut self) -> Result<Option<Event>, Fault> {
        self.junk = 0;
        let answer = Answer::read(std::mem::take(&mut self.payload))?;
        let is_application = matches!(answer.code, AckCode::Accept | AckCode::Error | AckCode::Reject);
        if let Some(first) = self.waiting.front_mut()
            && (first.control_id.is_empty() || answer.names(&first.control_id, first.delimiters))
        {
            if answer.code == AckCode::CommitAccept && first.wanted == Wanted::Application {
                // A second CA settles nothing either, and is none of ours to have sent.
                if std::mem::replace(&mut first.accepted, true) {
                    return Err(Fault::Unasked);
                }
                return Ok(None);
            }
            if let Some(settled) = self.waiting.pop_front()
                && answer.code == AckCode::CommitAccept
                && !settled.control_id.is_empty()
            {
                if self.may_follow.len() >= KNOWN_MAX {
                    self.may_follow.pop_front();
                }
                self.may_follow.push_back(settled);
            }
            return Ok(Some(Event::Settled(answer)));
        }
        if is_application
            && let Some(at) = self.may_follow.iter().position(|w| answer.names(&w.control_id, w.delimiters))
        {
            self.may_follow.remove(at);
            return Ok(Some(Event::Late(answer)));
        }
        Err(if self.waiting.is_empty() { Fault::Unasked } else { Fault::OtherMessage })
    }
}

fn control_id(message: &[u8]) -> Option<(Vec<u8>, Header)> {
    let first = message.get(..MSH_BYTES_MAX).unwrap_or(message);
    let header = Header::read(first, message.len() <= MSH_BYTES_MAX).ok()?;
    Some((header.control_id().to_vec(), header))
}

#[cfg(test)]
mod tests;
