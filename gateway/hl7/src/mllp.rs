//! MLLP: `VT payload FS CR`, under any chunking.
//!
//! **Promise.** The same bytes give the same frames, however they are cut into chunks. Two frames are never
//! merged into one, and a frame is never held in memory: data passes through.
//!
//! **What ends a frame**
//!
//! | bytes | meaning |
//! |---|---|
//! | FS CR | the end |
//! | FS VT | the end; the CR was lost, and the next frame begins |
//! | FS, then the stream ends | the end; the CR was lost |
//! | FS, anything else | FS is data: senders embed it in encoded documents |
//! | VT inside a frame | the frame is broken off and a new one begins: the FS was lost |
//!
//! VT never is data: taking it as such would merge two patients' messages where a frame lost its end.
//! What stands between frames (CR, LF, NUL, anything) is junk: skipped and counted.
//!
//! A frame longer than the limit is cut off there and its rest swallowed; the connection lives on.
//!
//! Source: HL7 "Transport Specification: MLLP, Release 1" §2; what senders get wrong: docs of five peers.

use std::fmt;

/// Begins a frame.
pub const VT: u8 = 0x0b;
/// Ends a frame, together with [`CR`].
pub const FS: u8 = 0x1c;
/// Ends a frame after [`FS`], and a segment.
pub const CR: u8 = 0x0d;

/// What happened next on the line.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// A frame begins.
    Begin,
    /// The next bytes of its payload; never empty.
    Data(&'a [u8]),
    /// The frame has passed its limit: what came until then were exactly so many bytes; nothing more of it comes
    /// but its [`Event::End`] or [`Event::Broken`].
    TooLong,
    /// The frame is complete.
    End {
        /// Length of its payload, with what was beyond the limit.
        bytes: u64,
    },
    /// The frame ended before its end.
    Broken {
        /// What broke it.
        cause: Cause,
        /// Length of what came of it.
        bytes: u64,
    },
    /// Bytes outside of any frame; never empty.
    Junk(&'a [u8]),
}

impl fmt::Debug for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begin => f.write_str("Begin"),
            Self::Data(data) => write!(f, "Data({} bytes)", data.len()),
            Self::TooLong => f.write_str("TooLong"),
            Self::End { bytes } => write!(f, "End({bytes} bytes)"),
            Self::Broken { cause, bytes } => write!(f, "Broken({cause:?}, {bytes} bytes)"),
            Self::Junk(junk) => write!(f, "Junk({} bytes)", junk.len()),
        }
    }
}

/// What broke a frame off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// VT inside the frame: the next frame began.
    Restarted,
    /// The stream ended.
    Closed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Outside of any frame.
    Between,
    /// Inside a frame.
    Inside,
    /// Inside a frame, after an FS that is not yet known to be the end.
    AfterFs,
    /// Inside a frame that is too long.
    Beyond,
    /// The same, after an FS.
    BeyondAfterFs,
}

/// Finds frames in a stream of bytes. Holds no payload.
#[derive(Debug, Clone)]
pub struct Deframer {
    state: State,
    /// Payload bytes of the frame so far.
    bytes: u64,
    bytes_max: u64,
}

impl Deframer {
    /// For frames of at most `frame_bytes_max` bytes of payload.
    pub const fn new(frame_bytes_max: u64) -> Self {
        Self { state: State::Between, bytes: 0, bytes_max: frame_bytes_max }
    }

    /// Whether a frame has begun and not ended.
    pub const fn in_frame(&self) -> bool {
        !matches!(self.state, State::Between)
    }

    /// Takes bytes off the front of `input` and says what they were. `None` when `input` is used up: then call
    /// again with the next bytes.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Option<Event<'a>> {
        loop {
            let first = *input.first()?;
            match self.state {
                State::Between => {
                    if first == VT {
                        skip(input, 1);
                        self.state = State::Inside;
                        self.bytes = 0;
                        return Some(Event::Begin);
                    }
                    let junk = memchr::memchr(VT, input).unwrap_or(input.len());
                    return Some(Event::Junk(take(input, junk)));
                }
                State::Inside => match first {
                    VT => return Some(self.restarted()),
                    FS => {
                        skip(input, 1);
                        self.state = State::AfterFs;
                    }
                    _ => {
                        let data = memchr::memchr2(VT, FS, input).unwrap_or(input.len());
                        return Some(self.data(take(input, self.room_for(data))));
                    }
                },
                State::AfterFs => {
                    if let Some(end) = self.end(first, input) {
                        return Some(end);
                    }
                    self.state = State::Inside;
                    let data: &[u8] = if self.room_for(1) == 1 { &[FS] } else { &[] };
                    if data.is_empty() {
                        self.bytes += 1;
                    }
                    return Some(self.data(data));
                }
                State::Beyond => match first {
                    VT => return Some(self.restarted()),
                    FS => {
                        skip(input, 1);
                        self.state = State::BeyondAfterFs;
                    }
                    _ => {
                        let swallowed = memchr::memchr2(VT, FS, input).unwrap_or(input.len());
                        self.bytes += skip(input, swallowed);
                    }
                },
                State::BeyondAfterFs => {
                    if let Some(end) = self.end(first, input) {
                        return Some(end);
                    }
                    self.bytes += 1;
                    self.state = State::Beyond;
                }
            }
        }
    }

    /// The stream has ended. What that means for the frame in progress; `None` between frames.
    pub const fn finish(&mut self) -> Option<Event<'static>> {
        let event = match self.state {
            State::Between => None,
            State::AfterFs | State::BeyondAfterFs => Some(Event::End { bytes: self.bytes }),
            State::Inside | State::Beyond => Some(Event::Broken { cause: Cause::Closed, bytes: self.bytes }),
        };
        self.state = State::Between;
        event
    }

    /// How many of so many bytes are within the limit.
    fn room_for(&self, bytes: usize) -> usize {
        usize::try_from(self.bytes_max.saturating_sub(self.bytes)).map_or(bytes, |room| room.min(bytes))
    }

    /// Data within the limit; none when the limit is reached.
    const fn data<'a>(&mut self, data: &'a [u8]) -> Event<'a> {
        if data.is_empty() {
            self.state = State::Beyond;
            return Event::TooLong;
        }
        self.bytes += data.len() as u64;
        Event::Data(data)
    }

    /// The byte after an FS, where it makes that FS the end. A VT stays: it begins the next frame.
    fn end<'a>(&mut self, after_fs: u8, input: &mut &'a [u8]) -> Option<Event<'a>> {
        match after_fs {
            CR => skip(input, 1),
            VT => 0,
            _ => return None,
        };
        self.state = State::Between;
        Some(Event::End { bytes: self.bytes })
    }

    const fn restarted(&mut self) -> Event<'static> {
        self.state = State::Between;
        Event::Broken { cause: Cause::Restarted, bytes: self.bytes }
    }
}

fn take<'a>(input: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (taken, rest) = input.split_at_checked(count).unwrap_or((input, &[]));
    *input = rest;
    taken
}

fn skip(input: &mut &[u8], count: usize) -> u64 {
    take(input, count).len() as u64
}

/// Whether a payload can be framed so that a receiver finds its end: no VT, and no FS before a CR.
pub fn can_frame(payload: &[u8]) -> bool {
    !payload.contains(&VT)
        && memchr::memchr_iter(FS, payload).all(|at| payload.get(at + 1).is_some_and(|next| *next != CR))
}

/// `VT payload FS CR`. Whether the payload can be framed is [`can_frame`]'s to say.
pub fn frame(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 3);
    out.push(VT);
    out.extend_from_slice(payload);
    out.extend_from_slice(&[FS, CR]);
    out
}

#[cfg(test)]
mod tests;
