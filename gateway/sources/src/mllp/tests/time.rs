//! Time-outs, on a paused clock and a pipe in place of a socket.

use std::sync::Arc;
use std::time::Duration;

use hl7::mllp::{FS, VT};
use model::FaultKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::support::{FixedClock, Memory, framed, message};
use crate::mllp::connection::serve;
use crate::mllp::server::Feed;
use crate::mllp::{ANSWER_WRITE_S_MAX, Config, Counters, STOP_GRACE_S, Stats};
use crate::socket::Counts as _;
use crate::socket::places::{Caps, Pace, Places};

struct Line {
    pipe: DuplexStream,
    counters: Arc<Counters>,
    memory: Memory,
    stop: CancellationToken,
    served: JoinHandle<()>,
    begun: Instant,
}

impl Line {
    fn open(config: Config) -> Self {
        Self::paced(config, Pace::default())
    }

    #[expect(clippy::disallowed_methods, reason = "the test awaits the task itself")]
    fn paced(config: Config, pace: Pace) -> Self {
        let (pipe, other) = tokio::io::duplex(1024);
        let (memory, counters, stop) = (Memory::new(), Arc::<Counters>::default(), CancellationToken::new());
        let feed = Feed::new(
            "adt".parse().unwrap(),
            config,
            Arc::new(FixedClock),
            Arc::clone(&counters),
            memory.clone(),
        );
        let served = tokio::spawn(serve(other, "pipe".to_owned(), pace, feed, stop.clone()));
        Self { pipe, counters, memory, stop, served, begun: Instant::now() }
    }

    async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.pipe.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Reads an answer and throws it away.
    async fn answered(&mut self) {
        assert_eq!(self.pipe.read_u8().await.unwrap(), VT);
        while self.pipe.read_u8().await.unwrap() != FS {}
        self.pipe.read_u8().await.unwrap();
    }

    /// Seconds from the beginning until the connection was over.
    async fn over_after(self) -> (f64, Stats, Memory) {
        let _pipe = self.pipe;
        timeout(Duration::from_secs(100_000), self.served).await.expect("an end").unwrap();
        (self.begun.elapsed().as_secs_f64(), self.counters.stats(), self.memory)
    }
}

fn near(seconds: f64, expected: u64) -> bool {
    let expected = Duration::from_secs(expected).as_secs_f64();
    seconds >= expected && seconds < expected + 1.0
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_and_junk_does_not_keep_it_open() {
    let mut line = Line::open(Config { idle_timeout_s: 10, ..Config::default() });
    sleep(Duration::from_secs(8)).await;
    line.write(framed(&message("A1"))).await;
    line.answered().await;
    sleep(Duration::from_secs(8)).await;
    line.write("\r\n").await;
    let (seconds, stats, _) = line.over_after().await;
    assert!(near(seconds, 18), "{seconds}");
    assert_eq!((stats.accepted, stats.cut_off, stats.junk_bytes), (1, 0, 2));
}

#[tokio::test(start_paused = true)]
async fn without_an_idle_time_out_a_connection_stays() {
    let mut line = Line::open(Config { idle_timeout_s: 0, ..Config::default() });
    sleep(Duration::from_secs(80_000)).await;
    line.write(framed(&message("A1"))).await;
    line.answered().await;
}

#[tokio::test(start_paused = true)]
async fn a_trickling_sender_is_cut_off_in_time() {
    let mut line = Line::open(Config { frame_timeout_s: 20, ..Config::default() });
    for byte in framed(&message("SLOW")) {
        if line.pipe.write_all(&[byte]).await.is_err() {
            break;
        }
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(line.counters.stats().cut_off, 1);
    let (seconds, _, memory) = line.over_after().await;
    assert!(near(seconds, 20) || near(seconds, 21), "{seconds}");
    assert!(memory.stored().is_empty());
    assert_eq!(memory.writers(), 0);
}

#[tokio::test(start_paused = true)]
async fn waiting_for_the_log_is_not_the_sender_s_delay() {
    let mut line = Line::open(Config { frame_timeout_s: 20, ..Config::default() });
    line.memory.push_takes(Duration::from_secs(15));
    let frame = framed(&message("A1"));
    for part in frame.chunks(frame.len().div_ceil(4)) {
        line.write(part).await;
        // The next bytes come a second after there is room.
        sleep(Duration::from_secs(16)).await;
    }
    line.answered().await;
    assert!(line.begun.elapsed() > Duration::from_secs(60));
    assert_eq!(line.counters.stats().accepted, 1);
}

#[tokio::test(start_paused = true)]
async fn answers_that_are_not_taken_end_the_connection_and_what_was_taken_stays() {
    let mut line = Line::open(Config::default());
    let mut written = 0;
    // The pipe holds 1 kB of answers.
    while let Ok(done) =
        timeout(Duration::from_secs(1), line.pipe.write_all(&framed(&message(&format!("N{written}"))))).await
    {
        done.unwrap();
        written += 1;
    }
    let (seconds, stats, memory) = line.over_after().await;
    assert!(near(seconds, ANSWER_WRITE_S_MAX), "{seconds}");
    assert!(stats.answers_lost > 0);
    assert_eq!(stats.accepted, memory.stored().len() as u64);
    assert!(stats.accepted >= stats.answers_lost);
    assert_eq!(memory.writers(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_does_not_end_cannot_hold_up_a_stop() {
    let mut line = Line::open(Config::default());
    line.write(&framed(&message("A1"))[..40]).await;
    sleep(Duration::from_secs(3)).await;
    line.stop.cancel();
    let (seconds, stats, memory) = line.over_after().await;
    assert!(near(seconds, 3 + STOP_GRACE_S), "{seconds}");
    assert_eq!(stats.cut_off, 1);
    assert!(memory.stored().is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_is_held_to_his_pace_for_long_is_a_fault_each_minute() {
    let place = Places::default().take([10, 0, 0, 1].into(), Caps { all: 1, of_peer: 1 }).unwrap();
    let mut line = Line::paced(Config::default(), Pace::of(place, 1, 0));
    for n in 0..150 {
        line.write(framed(&message(&format!("P{n}")))).await;
        line.answered().await;
    }
    // One a second, the first second's worth at once.
    assert_eq!(line.begun.elapsed().as_secs(), 149);
    let kinds: Vec<_> = line.memory.faults().iter().map(|fault| fault.kind).collect();
    assert_eq!(kinds, [FaultKind::OverQuota; 3]);
}
