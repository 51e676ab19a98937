//! A log in memory, a listener before it and a raw peer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hl7::mllp::{Deframer, Event};
use model::{
    Append, BoxFuture, Clock, Closing, Fault, FaultKind, Flag, Format, Identity, Intake, Provenance, Receipt,
    Refusal, Timestamp, Writer,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::mllp::{Config, Handle, Server, Stats};
use forward::mllp::client::Client;

pub(super) const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) provenance: Provenance,
    pub(super) payload: Vec<u8>,
    pub(super) reply: Option<Bytes>,
    pub(super) flags: Vec<Flag>,
}

/// When the fake refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    Begin,
    Push,
    Commit,
}

#[derive(Debug, Clone)]
pub(super) struct Memory(Arc<MemoryInner>);

#[derive(Debug)]
struct MemoryInner {
    state: Mutex<State>,
    /// Commits wait for a permit.
    gate: Semaphore,
    /// Commits that have begun.
    begun: Semaphore,
}

#[derive(Debug, Default)]
struct State {
    stored: Vec<Stored>,
    seen: HashMap<[u8; 32], usize>,
    forgetful: bool,
    push_takes: Duration,
    refuse: Option<(At, Refusal)>,
    links: HashMap<[u8; 32], i64>,
    faults: Vec<Fault>,
    writers: usize,
}

impl Memory {
    pub(super) fn new() -> Self {
        let gate = Semaphore::new(Semaphore::MAX_PERMITS);
        Self(Arc::new(MemoryInner { state: Mutex::default(), gate, begun: Semaphore::new(0) }))
    }

    /// Commits hang until [`Memory::open_gate`].
    pub(super) fn gated() -> Self {
        let (gate, begun) = (Semaphore::new(0), Semaphore::new(0));
        Self(Arc::new(MemoryInner { state: Mutex::default(), gate, begun }))
    }

    pub(super) fn open_gate(&self) {
        self.0.gate.add_permits(1_000_000);
    }

    /// Waits until so many commits more have begun.
    pub(super) async fn begun(&self, count: u32) {
        timeout(PATIENCE, self.0.begun.acquire_many(count)).await.expect("commits begin").unwrap().forget();
    }

    pub(super) fn refuse(&self, refuse: Option<(At, Refusal)>) {
        self.0.state.lock().unwrap().refuse = refuse;
    }

    pub(super) fn faults(&self) -> Vec<Fault> {
        self.0.state.lock().unwrap().faults.clone()
    }

    /// The kinds of the faults and how many bytes they were about.
    pub(super) fn kinds(&self) -> Vec<(FaultKind, u64)> {
        self.faults().iter().map(|fault| (fault.kind, fault.bytes)).collect()
    }

    /// From now on every push waits for room.
    pub(super) fn push_takes(&self, time: Duration) {
        self.0.state.lock().unwrap().push_takes = time;
    }

    /// From now on the stored answers are no longer known.
    pub(super) fn forget_replies(&self) {
        self.0.state.lock().unwrap().forgetful = true;
    }

    pub(super) fn stored(&self) -> Vec<Stored> {
        self.0.state.lock().unwrap().stored.clone()
    }

    pub(super) fn payloads(&self) -> Vec<String> {
        self.stored().iter().map(|s| String::from_utf8_lossy(&s.payload).into_owned()).collect()
    }

    /// Writers that are open.
    pub(super) fn writers(&self) -> usize {
        self.0.state.lock().unwrap().writers
    }

    fn check(&self, at: At) -> Result<(), Refusal> {
        let state = self.0.state.lock().unwrap();
        match state.refuse {
            Some((when, refusal)) if when == at => Err(refusal),
            _ => Ok(()),
        }
    }
}

impl Intake for Memory {
    async fn begin(&self, provenance: Provenance) -> Result<Writer, Refusal> {
        self.check(At::Begin)?;
        self.0.state.lock().unwrap().writers += 1;
        Ok(Writer::new(Record { memory: self.clone(), provenance, payload: Vec::new() }))
    }

    fn last_number(&self, _feed: &model::Slug, link: &Identity) -> Option<i64> {
        self.0.state.lock().unwrap().links.get(&link.0).copied()
    }

    fn report(&self, fault: Fault) {
        self.0.state.lock().unwrap().faults.push(fault);
    }
}

struct Record {
    memory: Memory,
    provenance: Provenance,
    payload: Vec<u8>,
}

impl Drop for Record {
    fn drop(&mut self) {
        self.memory.0.state.lock().unwrap().writers -= 1;
    }
}

impl Append for Record {
    fn push<'a>(&'a mut self, chunk: &'a [u8]) -> BoxFuture<'a, Result<(), Refusal>> {
        Box::pin(async move {
            self.memory.check(At::Push)?;
            let wait = self.memory.0.state.lock().unwrap().push_takes;
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
            self.payload.extend_from_slice(chunk);
            Ok(())
        })
    }

    fn commit(mut self: Box<Self>, closing: Closing) -> BoxFuture<'static, Result<Receipt, Refusal>> {
        Box::pin(async move {
            let memory = self.memory.clone();
            memory.0.begun.add_permits(1);
            memory.0.gate.acquire().await.unwrap().forget();
            memory.check(At::Commit)?;
            let mut state = memory.0.state.lock().unwrap();
            if let Some(Identity(key)) = closing.identity {
                if let Some(at) = state.seen.get(&key).copied() {
                    let reply = state.stored[at].reply.clone().filter(|_| !state.forgetful);
                    return Ok(Receipt { id: id(at), duplicate: Some(reply.unwrap_or_default()) });
                }
                let at = state.stored.len();
                state.seen.insert(key, at);
            }
            let mut provenance = self.provenance.clone();
            if let Some(format) = closing.format {
                provenance.format = format;
            }
            let payload = std::mem::take(&mut self.payload);
            if let Some(position) = closing.sequenced {
                state.links.insert(position.link.0, position.last);
            }
            let (reply, flags) = (closing.reply, closing.flags);
            state.stored.push(Stored { provenance, payload, reply, flags });
            Ok(Receipt { id: id(state.stored.len() - 1), duplicate: None })
        })
    }
}

fn id(at: usize) -> model::RecordId {
    format!("clinical-1-{}", at + 1).parse().unwrap()
}

#[derive(Debug)]
pub(super) struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        "2026-11-24T08:30:00Z".parse().unwrap()
    }
}

/// A listener that runs.
pub(super) struct Ward {
    pub(super) handle: Handle,
    pub(super) memory: Memory,
    pub(super) stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Ward {
    pub(super) fn open(memory: Memory) -> Self {
        Self::with(memory, |_| {})
    }

    #[expect(clippy::disallowed_methods, reason = "the test awaits the task itself")]
    pub(super) fn with(memory: Memory, adjust: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config { listen: Some("127.0.0.1:0".parse().unwrap()), ..Config::default() };
        adjust(&mut config);
        let server = Server::bind("adt".parse().unwrap(), &config, Arc::new(FixedClock)).unwrap();
        let (handle, stop) = (server.handle(), CancellationToken::new());
        let running = tokio::spawn(server.run(memory.clone(), stop.clone()));
        Self { handle, memory, stop, running }
    }

    pub(super) async fn peer(&self) -> Peer {
        let stream = TcpStream::connect(self.handle.local_addr()).await.unwrap();
        Peer::over(stream)
    }

    /// From another address of this machine.
    pub(super) async fn peer_from(&self, address: &str) -> Peer {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(format!("{address}:0").parse().unwrap()).unwrap();
        Peer::over(socket.connect(self.handle.local_addr()).await.unwrap())
    }

    pub(super) async fn client(&self) -> Client {
        Client::connect(self.handle.local_addr(), PATIENCE, PATIENCE).await.unwrap()
    }

    pub(super) fn stats(&self) -> Stats {
        self.handle.stats()
    }

    /// Waits until the counters say so.
    pub(super) async fn until(&self, what: &str, holds: impl Fn(&Stats) -> bool) {
        let waiting = async {
            while !holds(&self.stats()) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{what}: {:?}", self.stats()));
    }

    /// Stops and waits for the end.
    pub(super) async fn close(self) -> Stats {
        self.stop.cancel();
        timeout(PATIENCE, self.running).await.expect("the listener ends").unwrap();
        let stats = self.handle.stats();
        assert_eq!(stats.connections, 0);
        assert_eq!(self.memory.writers(), 0, "a writer was left open");
        stats
    }
}

/// A sender that writes what it likes.
pub(super) struct Peer<S = TcpStream> {
    pub(super) stream: S,
    deframer: Deframer,
    read: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    pub(super) fn over(stream: S) -> Self {
        Self { stream, deframer: Deframer::new(1 << 20), read: Vec::new() }
    }

    pub(super) async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// The next answer, or `None` when the connection ends.
    pub(super) async fn answer(&mut self) -> Option<String> {
        self.answer_bytes().await.map(|bytes| String::from_utf8(bytes).unwrap())
    }

    /// The same, for answers in another character set.
    pub(super) async fn answer_bytes(&mut self) -> Option<Vec<u8>> {
        let mut payload = Vec::new();
        loop {
            let read = std::mem::take(&mut self.read);
            let mut input = read.as_slice();
            while let Some(event) = self.deframer.next(&mut input) {
                match event {
                    Event::Begin => {}
                    Event::Data(data) => payload.extend_from_slice(data),
                    Event::End { .. } => {
                        self.read = input.to_vec();
                        return Some(payload);
                    }
                    other => panic!("{other:?} in the answers"),
                }
            }
            let mut buffer = vec![0; 4096];
            let count =
                timeout(PATIENCE, self.stream.read(&mut buffer)).await.expect("an answer").unwrap_or(0);
            if count == 0 {
                assert!(payload.is_empty(), "half an answer");
                return None;
            }
            buffer.truncate(count);
            self.read = buffer;
        }
    }

    /// The next answer's MSA segment.
    pub(super) async fn msa(&mut self) -> String {
        msa(&self.answer().await.expect("an answer"))
    }

    /// Nothing comes for a moment.
    pub(super) async fn silence(&mut self) {
        let mut buffer = [0; 64];
        let read = timeout(Duration::from_millis(100), self.stream.read(&mut buffer)).await;
        assert!(read.is_err(), "silence was due: {read:?}");
    }

    /// The connection is closed by the other side, without an answer.
    pub(super) async fn closed(&mut self) {
        assert_eq!(self.answer().await, None);
    }
}

pub(super) fn msa(answer: &str) -> String {
    answer.split('\r').find(|s| s.starts_with("MSA")).expect("an MSA").to_owned()
}

/// A small message of this control id.
pub(super) fn message(id: &str) -> String {
    format!(
        "MSH|^~\\&|LAB|WEST|EHR|MAIN|20261124||ORU^R01^ORU_R01|{id}|P|2.5.1\rPID|1||100^^^WEST\rOBX|1|NM|x||{id}\r"
    )
}

pub(super) fn framed(payload: &str) -> Vec<u8> {
    hl7::mllp::frame(payload.as_bytes())
}

pub(super) fn formats(stored: &[Stored]) -> Vec<Format> {
    stored.iter().map(|s| s.provenance.format.clone()).collect()
}
