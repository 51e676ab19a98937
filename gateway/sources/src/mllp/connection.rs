//! One connection: frames in, answers out in their order.
//!
//! Two halves run side by side in one task. The reader takes frames off the socket and hands their outcomes over;
//! the answerer drives all outcomes at once and writes the answers in order. So a pipelining sender shares the
//! syncs of the disk, and a synchronous one waits for its own alone.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::stream::{FuturesOrdered, StreamExt};
use hl7::mllp::{CR, Deframer, Event, FS, VT};
use model::{FaultKind, Intake};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::frame::{Frame, Origin, Outcome};
use super::server::Feed;
use crate::socket::places::Pace;

/// Most frames of a connection that wait for their answers; then reading stops until the first is answered.
pub const PIPELINE_MAX: usize = 64;
/// The read buffer of a connection, in bytes.
pub const READ_BYTES: usize = 32 << 10;
/// How long a peer may leave its answers in its window, in seconds.
pub const ANSWER_WRITE_S_MAX: u64 = 30;
/// How long a frame in progress may take to arrive once the gateway stops, in seconds.
pub const STOP_GRACE_S: u64 = 5;
/// Most bytes between two frames.
pub const JUNK_BYTES_MAX: u64 = 1 << 20;
/// How often a connection whose peer is held to its pace is a fault. The faults themselves are summed up.
const OVER_QUOTA_EVERY: Duration = Duration::from_secs(60);
/// Answers that are ready together leave in one write of about this size.
const ANSWER_BYTES: usize = 16 << 10;

/// Why a connection ended, for its last line in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Closed,
    Failed,
    Idle,
    FrameTimeout,
    Junk,
    Stopped,
    AnswersNotTaken,
}

impl Ending {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "the peer closed",
            Self::Failed => "the connection failed",
            Self::Idle => "idle for too long",
            Self::FrameTimeout => "a frame took too long",
            Self::Junk => "too many bytes outside of frames; is this MLLP?",
            Self::Stopped => "the gateway stops",
            Self::AnswersNotTaken => "the answers were not taken",
        }
    }
}

/// Serves a connection until it ends.
pub(crate) async fn serve<S, I>(stream: S, peer: String, pace: Pace, feed: Feed<I>, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Send,
    I: Intake,
{
    let (read_half, write_half) = tokio::io::split(stream);
    let (hand_over, outcomes) = mpsc::channel(PIPELINE_MAX / 2);
    let unwritable = CancellationToken::new();
    let origin = Origin::new(feed.clone(), &peer);
    let mut reader = Reader {
        feed: &feed,
        peer: &peer,
        pace,
        origin: &origin,
        stop,
        unwritable: unwritable.clone(),
        deframer: Deframer::new(feed.config.frame_bytes_max),
        frame: None,
        deadline: None,
        grace: None,
        frames: 0,
        junk: 0,
        is_filler: true,
        over_quota: None,
        hand_over,
    };
    // The reader goes with the end of reading, and with it the sender that the answerer waits for.
    let reading = async move {
        let ending = reader.run(read_half).await;
        (ending, reader.frames)
    };
    let answering = answer(write_half, outcomes, &origin, &unwritable);
    let ((ending, frames), ()) = tokio::join!(reading, answering);
    tracing::info!(feed = %feed.name, %peer, frames, reason = ending.as_str(), "a connection ended");
}

struct Reader<'c, I> {
    feed: &'c Feed<I>,
    peer: &'c str,
    pace: Pace,
    origin: &'c Origin<I>,
    stop: CancellationToken,
    /// Fires when an answer could not be written.
    unwritable: CancellationToken,
    deframer: Deframer,
    frame: Option<Frame<I>>,
    /// When the peer must have sent what is due; none where it may be idle for ever.
    deadline: Option<Instant>,
    /// Set once the gateway stops.
    grace: Option<Instant>,
    frames: u64,
    /// Bytes since the last frame.
    junk: u64,
    /// Whether these are line ends, blanks and NULs alone, which many senders append.
    is_filler: bool,
    /// When the peer was last reported for having to be held to its pace.
    over_quota: Option<Instant>,
    hand_over: mpsc::Sender<Outcome>,
}

impl<I: Intake> Reader<'_, I> {
    async fn run(&mut self, mut socket: impl AsyncRead + Unpin) -> Ending {
        let mut buffer = vec![0; READ_BYTES];
        self.frame_due();
        let ending = loop {
            let count = match self.read(&mut socket, &mut buffer).await {
                Ok(count) => count,
                Err(ending) => break ending,
            };
            let Some(mut input) = buffer.get(..count).filter(|input| !input.is_empty()) else {
                break Ending::Closed;
            };
            let before = Instant::now();
            self.wait(self.pace.bytes(count as u64)).await;
            if let Err(ending) = self.take(&mut input).await {
                break ending;
            }
            // While the log had no room, or the peer was held to its pace, it could not go on; that is not its delay.
            self.deadline = self.deadline.map(|at| at + before.elapsed());
        };
        self.close(ending).await;
        ending
    }

    /// Waits for bytes until the deadline, or until the gateway stops between two frames. Cancel safe.
    async fn read(
        &mut self,
        socket: &mut (impl AsyncRead + Unpin),
        buffer: &mut [u8],
    ) -> Result<usize, Ending> {
        let in_frame = self.deframer.in_frame();
        loop {
            let stopping = self.stop.is_cancelled();
            if stopping && !in_frame {
                return Err(Ending::Stopped);
            }
            if stopping && self.grace.is_none() {
                self.grace = Some(Instant::now() + Duration::from_secs(STOP_GRACE_S));
            }
            let (due, overdue) = match (self.deadline, self.grace) {
                (Some(deadline), Some(grace)) if deadline < grace => (Some(deadline), Ending::FrameTimeout),
                (_, Some(grace)) => (Some(grace), Ending::Stopped),
                (deadline, None) if in_frame => (deadline, Ending::FrameTimeout),
                (deadline, None) => (deadline, Ending::Idle),
            };
            let alarm = async {
                match due {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.unwritable.cancelled() => return Err(Ending::AnswersNotTaken),
                read = socket.read(buffer) => return read.map_err(|_| Ending::Failed),
                () = self.stop.cancelled(), if !stopping => {}
                () = alarm => return Err(overdue),
            }
        }
    }

    /// Acts on everything that came.
    async fn take(&mut self, input: &mut &[u8]) -> Result<(), Ending> {
        loop {
            if self.stop.is_cancelled() && !self.deframer.in_frame() {
                return Err(Ending::Stopped);
            }
            match self.deframer.next(input) {
                None => return Ok(()),
                Some(Event::Begin) => {
                    self.report_junk();
                    self.frame = Some(Frame::new(self.origin));
                    self.wait(self.pace.message()).await;
                    let patience = Duration::from_secs(self.feed.config.frame_timeout_s.into());
                    self.deadline = Some(Instant::now() + patience);
                }
                Some(Event::Data(mut data)) => {
                    while let Some(frame) = &mut self.frame
                        && let Some(outcome) = frame.push(&mut data).await
                    {
                        self.hand_over(outcome).await?;
                    }
                }
                Some(Event::TooLong) => {
                    if let Some(frame) = &mut self.frame {
                        frame.too_long();
                    }
                }
                Some(Event::End { .. }) => self.end().await?,
                Some(Event::Broken { bytes, .. }) => self.broken_off(bytes).await?,
                Some(Event::Junk(junk)) => self.junk(junk)?,
            }
        }
    }

    /// Holds a peer to its pace. A stop does not wait for it, nor does the end of a connection.
    async fn wait(&mut self, time: Duration) {
        if time.is_zero() {
            return;
        }
        let begun = Instant::now();
        if self.over_quota.is_none_or(|at| begun.duration_since(at) >= OVER_QUOTA_EVERY) {
            self.over_quota = Some(begun);
            self.origin.report(self.origin.fault(FaultKind::OverQuota));
        }
        tokio::select! {
            () = sleep(time) => {}
            () = self.stop.cancelled() => {}
            () = self.unwritable.cancelled() => {}
        }
        self.feed.counters.paced_ms.add(u64::try_from(begun.elapsed().as_millis()).unwrap_or(0));
    }

    /// The frame is complete.
    async fn end(&mut self) -> Result<(), Ending> {
        self.frame_due();
        let Some(frame) = self.frame.take() else { return Ok(()) };
        if frame.is_empty() {
            self.feed.counters.empty.one();
            return Ok(());
        }
        self.frames += 1;
        match frame.end().await {
            Some(outcome) => self.hand_over(outcome).await,
            None => Ok(()),
        }
    }

    /// The next frame began before this one ended.
    async fn broken_off(&mut self, bytes: u64) -> Result<(), Ending> {
        self.feed.counters.broken.one();
        let Some(frame) = self.frame.take() else { return Ok(()) };
        match frame.broken_off(bytes).await {
            Some(outcome) => self.hand_over(outcome).await,
            None => Ok(()),
        }
    }

    fn junk(&mut self, junk: &[u8]) -> Result<(), Ending> {
        let bytes = junk.len() as u64;
        self.feed.counters.junk_bytes.add(bytes);
        let is_filler = junk.iter().all(|b| matches!(b, b'\r' | b'\n' | b' ' | b'\t' | 0));
        if self.is_filler && !is_filler {
            tracing::warn!(feed = %self.feed.name, peer = %self.peer, bytes, "bytes outside of a frame are skipped");
        }
        self.is_filler &= is_filler;
        self.junk += bytes;
        if self.junk > JUNK_BYTES_MAX { Err(Ending::Junk) } else { Ok(()) }
    }

    /// The run of bytes outside of frames has ended. Of filler nothing is said.
    fn report_junk(&mut self) {
        let bytes = std::mem::take(&mut self.junk);
        if !std::mem::replace(&mut self.is_filler, true) || bytes > JUNK_BYTES_MAX {
            self.origin.report(self.origin.fault(FaultKind::Junk).bytes(bytes));
        }
    }

    /// Nothing more will be read. Closing after FS completes a frame whose CR was lost.
    async fn close(&mut self, ending: Ending) {
        self.report_junk();
        let bytes = match self.deframer.finish() {
            Some(Event::End { .. }) if ending == Ending::Closed => {
                if self.end().await.is_err() {
                    tracing::debug!(feed = %self.feed.name, peer = %self.peer, "the last frame has nobody to be answered to");
                }
                return;
            }
            Some(Event::End { bytes } | Event::Broken { bytes, .. }) => bytes,
            _ => return,
        };
        self.feed.counters.cut_off.one();
        self.origin.report(self.origin.fault(FaultKind::CutOff).bytes(bytes));
        tracing::warn!(feed = %self.feed.name, peer = %self.peer, bytes, reason = ending.as_str(), "a frame was cut off; its sender got no answer and will resend");
    }

    async fn hand_over(&mut self, outcome: Outcome) -> Result<(), Ending> {
        self.hand_over.send(outcome).await.map_err(|_| Ending::AnswersNotTaken)
    }

    /// From now on the next frame is awaited.
    fn frame_due(&mut self) {
        let patience = self.feed.config.idle_timeout_s;
        self.deadline = (patience > 0).then(|| Instant::now() + Duration::from_secs(patience.into()));
    }
}

/// Drives all outcomes and writes their answers in order. Once writing has failed, what was taken is still made
/// durable; its sender will resend and get the stored answer.
async fn answer<I: Intake>(
    mut socket: impl AsyncWrite + Unpin,
    mut outcomes: mpsc::Receiver<Outcome>,
    origin: &Origin<I>,
    unwritable: &CancellationToken,
) {
    let mut pending = FuturesOrdered::new();
    let mut open = true;
    let mut out = Vec::new();
    loop {
        let answer = tokio::select! {
            biased;
            outcome = outcomes.recv(), if open && pending.len() < PIPELINE_MAX / 2 => {
                match outcome {
                    Some(outcome) => pending.push_back(outcome),
                    None => open = false,
                }
                continue;
            }
            Some(answer) = pending.next(), if !pending.is_empty() => answer,
            else => break,
        };
        let mut count = 0;
        let mut next = Some(answer);
        while let Some(answer) = next {
            count += append(&mut out, answer);
            next = if out.len() < ANSWER_BYTES { pending.next().now_or_never().flatten() } else { None };
        }
        if out.is_empty() {
            continue;
        }
        let written = !unwritable.is_cancelled() && write(&mut socket, &out).await;
        out.clear();
        if !written {
            origin.feed.counters.answers_lost.add(count);
            if !unwritable.is_cancelled() {
                origin.report(origin.fault(FaultKind::AnswersNotTaken));
            }
            unwritable.cancel();
        }
    }
    if !unwritable.is_cancelled() {
        // A peer that has gone already is no failure.
        drop(timeout(Duration::from_secs(ANSWER_WRITE_S_MAX), socket.shutdown()).await);
    }
}

/// Frames an answer, if there is one, and counts it.
fn append(out: &mut Vec<u8>, answer: Option<Bytes>) -> u64 {
    let Some(answer) = answer else { return 0 };
    out.push(VT);
    out.extend_from_slice(&answer);
    out.extend_from_slice(&[FS, CR]);
    1
}

async fn write(socket: &mut (impl AsyncWrite + Unpin), out: &[u8]) -> bool {
    let writing = async {
        socket.write_all(out).await?;
        socket.flush().await
    };
    matches!(timeout(Duration::from_secs(ANSWER_WRITE_S_MAX), writing).await, Ok(Ok(())))
}
