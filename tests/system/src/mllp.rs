//! Senders, as hospitals have them: a message goes out again, byte for byte, until it is accepted. Shares no code
//! with the gateway.

use std::io::{BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::hl7;
use crate::wait::PATIENCE;

/// How long an answer may take before the sender connects anew.
const ANSWER: Duration = Duration::from_secs(10);
/// From one attempt to the next.
const PAUSE: Duration = Duration::from_millis(40);
/// Largest answer, in bytes.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// An acknowledgement, without its frame.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer(pub Vec<u8>);

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.to_string().replace('\r', "⏎"))
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl Answer {
    /// A field of the first segment of this name, by its number.
    pub fn field(&self, segment: &str, number: usize) -> Option<String> {
        hl7::field(&self.0, segment, number).map(|f| String::from_utf8_lossy(f).into_owned())
    }

    /// MSA-1.
    pub fn code(&self) -> String {
        self.field("MSA", 1).unwrap_or_default()
    }
}

/// A connection to a listener.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// Connects to a port of loopback.
    ///
    /// # Errors
    /// Where nobody listens.
    pub fn open(port: u16) -> std::io::Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER))?;
        stream.set_write_timeout(Some(ANSWER))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Sends a message and waits for its answer.
    ///
    /// # Errors
    /// When the connection breaks or no answer comes: whether the message was taken is not known.
    pub fn exchange(&mut self, message: &[u8]) -> std::io::Result<Answer> {
        self.send(message)?;
        self.answer()
    }

    /// Sends a message.
    ///
    /// # Errors
    /// When the connection breaks.
    pub fn send(&mut self, message: &[u8]) -> std::io::Result<()> {
        self.stream.get_mut().write_all(&[b"\x0b", message, b"\x1c\r"].concat())
    }

    /// Reads the next answer.
    ///
    /// # Errors
    /// When the connection breaks or nothing comes.
    pub fn answer(&mut self) -> std::io::Result<Answer> {
        let mut answer = Vec::with_capacity(256);
        let mut byte = [0];
        while !answer.ends_with(b"\x1c\r") {
            self.stream.read_exact(&mut byte)?;
            answer.push(byte[0]);
            assert!(answer.len() <= ANSWER_BYTES_MAX, "an acknowledgement has no end");
        }
        assert_eq!(answer[0], 0x0b, "an acknowledgement does not begin with VT");
        Ok(Answer(answer[1..answer.len() - 2].to_vec()))
    }
}

/// Sends one message on a connection of its own.
///
/// # Panics
/// When there is no answer.
#[track_caller]
pub fn send(port: u16, message: &[u8]) -> Answer {
    Connection::open(port)
        .and_then(|mut c| c.exchange(message))
        .unwrap_or_else(|e| panic!("no answer from port {port}: {e}"))
}

/// Sends one message and expects AA.
///
/// # Panics
/// When the answer is another.
#[track_caller]
pub fn accepted(port: u16, message: &[u8]) -> Answer {
    let answer = send(port, message);
    assert_eq!(answer.code(), "AA", "{answer:?}");
    answer
}

/// Sends one message again and again until it is accepted.
///
/// # Panics
/// When that does not happen.
#[track_caller]
pub fn resent_until_accepted(port: u16, message: &[u8]) -> Answer {
    let end = Instant::now() + PATIENCE;
    let mut last = "no answer".to_owned();
    while Instant::now() < end {
        match Connection::open(port).and_then(|mut c| c.exchange(message)) {
            Ok(answer) if answer.code() == "AA" => return answer,
            Ok(answer) => last = format!("{answer:?}"),
            Err(error) => last = error.to_string(),
        }
        std::thread::sleep(PAUSE);
    }
    panic!("never accepted; the last time: {last}");
}

/// A message of a [`Load`] and what its sender knows of it.
#[derive(Debug)]
pub struct Sent {
    /// Who sent it.
    pub sender: usize,
    /// Its bytes.
    pub message: Vec<u8>,
    /// AA came. Otherwise the load ended first: it is there once or not at all.
    pub acknowledged: bool,
}

/// What a sender knows of a message: for comparing with the tables.
#[derive(Debug)]
pub struct Known {
    /// Of its bytes.
    pub sha256: String,
    /// The connection that it went over.
    pub connection: usize,
    /// AA came.
    pub acknowledged: bool,
}

impl From<&Sent> for Known {
    fn from(sent: &Sent) -> Self {
        Self {
            sha256: crate::sha256(&sent.message),
            connection: sent.sender,
            acknowledged: sent.acknowledged,
        }
    }
}

/// Senders at work, each on a connection of its own and one message at a time.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    refused: Arc<AtomicU64>,
    threads: Vec<std::thread::JoinHandle<Vec<Sent>>>,
}

impl Load {
    /// Starts so many senders. `run` begins every control id; `pace` is from one message to the next of a sender.
    pub fn start(port: u16, senders: usize, run: &str, pace: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(AtomicU64::new(0));
        let refused = Arc::new(AtomicU64::new(0));
        let threads = (0..senders)
            .map(|sender| {
                let shared = (Arc::clone(&stop), Arc::clone(&acknowledged), Arc::clone(&refused));
                let run = run.to_owned();
                std::thread::spawn(move || {
                    let (stop, acknowledged, refused) = shared;
                    let sender = Sender { port, number: sender, run: format!("{run}-{sender}"), pace };
                    sender.work(&stop, &acknowledged, &refused)
                })
            })
            .collect();
        Self { stop, acknowledged, refused, threads }
    }

    /// How many messages were accepted so far.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::SeqCst)
    }

    /// How many negative answers came so far.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::SeqCst)
    }

    /// Waits until so many more are accepted.
    #[track_caller]
    pub fn progress(&self, by: u64) {
        let goal = self.acknowledged() + by;
        crate::wait::until("acknowledgements", || (self.acknowledged() >= goal).then_some(()));
    }

    /// Ends the senders after the message that each is at.
    ///
    /// # Panics
    /// When one of them did.
    pub fn stop(self) -> Vec<Sent> {
        self.stop.store(true, Ordering::SeqCst);
        self.threads.into_iter().flat_map(|thread| thread.join().expect("a sender panicked")).collect()
    }
}

struct Sender {
    port: u16,
    number: usize,
    run: String,
    pace: Duration,
}

impl Sender {
    fn work(&self, stop: &AtomicBool, acknowledged: &AtomicU64, refused: &AtomicU64) -> Vec<Sent> {
        let mut sent = Vec::new();
        let mut connection = None;
        for count in 0_u64.. {
            if stop.load(Ordering::SeqCst) {
                break;
            }
            let message = hl7::observation(&format!("{}-{count}", self.run), count % 50);
            let mut accepted = false;
            while !accepted && !stop.load(Ordering::SeqCst) {
                accepted = self.attempt(&mut connection, &message, refused);
                if !accepted {
                    std::thread::sleep(PAUSE);
                }
            }
            sent.push(Sent { sender: self.number, message, acknowledged: accepted });
            if accepted {
                acknowledged.fetch_add(1, Ordering::SeqCst);
            }
            std::thread::sleep(self.pace);
        }
        sent
    }

    fn attempt(&self, connection: &mut Option<Connection>, message: &[u8], refused: &AtomicU64) -> bool {
        if connection.is_none() {
            *connection = Connection::open(self.port).ok();
        }
        let Some(open) = connection else { return false };
        match open.exchange(message) {
            Ok(answer) => {
                let ours = answer.field("MSA", 2).unwrap_or_default();
                assert_eq!(ours.as_bytes(), hl7::field(message, "MSH", 10).unwrap(), "another's answer");
                let positive = answer.code() == "AA";
                if !positive {
                    refused.fetch_add(1, Ordering::SeqCst);
                }
                positive
            }
            Err(_) => {
                *connection = None;
                false
            }
        }
    }
}
