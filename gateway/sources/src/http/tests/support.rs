//! A log in memory, an endpoint before it, and a client that writes bytes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use model::{
    Append, BoxFuture, Clock, Closing, Fault, Intake, Provenance, Receipt, Refusal, Timestamp, Writer,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::http::{Config, Handle, Server, Stats};

pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// 2026-11-25T12:00:00Z.
pub(super) const NOW_S: i64 = 1_795_608_000;

#[derive(Debug)]
struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(NOW_S * 1_000_000)
    }
}

#[derive(Debug, Default)]
struct State {
    stored: Vec<(Provenance, Vec<u8>)>,
    seen: HashMap<[u8; 32], usize>,
    /// From so many records on, this.
    refuse: Option<(usize, Refusal)>,
    faults: Vec<Fault>,
}

#[derive(Debug, Clone)]
pub(super) struct Memory {
    state: Arc<Mutex<State>>,
    pub(super) gate: Arc<Semaphore>,
}

impl Memory {
    pub(super) fn stored(&self) -> Vec<(String, String)> {
        let state = self.state.lock().unwrap();
        state.stored.iter().map(|(p, b)| (p.channel.clone(), String::from_utf8(b.clone()).unwrap())).collect()
    }

    pub(super) fn peers(&self) -> Vec<String> {
        self.state.lock().unwrap().stored.iter().map(|(p, _)| p.peer.clone()).collect()
    }

    /// The faults since the last look.
    pub(super) fn faults(&self) -> Vec<Fault> {
        std::mem::take(&mut self.state.lock().unwrap().faults)
    }

    pub(super) fn refuse(&self, from: usize, refusal: Option<Refusal>) {
        self.state.lock().unwrap().refuse = refusal.map(|refusal| (from, refusal));
    }
}

impl Intake for Memory {
    async fn begin(&self, provenance: Provenance) -> Result<Writer, Refusal> {
        let state = self.state.lock().unwrap();
        if let Some((from, refusal)) = state.refuse
            && state.stored.len() >= from
        {
            return Err(refusal);
        }
        Ok(Writer::new(Record { memory: self.clone(), provenance, bytes: Vec::new() }))
    }

    fn report(&self, fault: Fault) {
        self.state.lock().unwrap().faults.push(fault);
    }
}

struct Record {
    memory: Memory,
    provenance: Provenance,
    bytes: Vec<u8>,
}

impl Append for Record {
    fn push<'a>(&'a mut self, chunk: &'a [u8]) -> BoxFuture<'a, Result<(), Refusal>> {
        self.bytes.extend_from_slice(chunk);
        Box::pin(async { Ok(()) })
    }

    fn commit(self: Box<Self>, closing: Closing) -> BoxFuture<'static, Result<Receipt, Refusal>> {
        Box::pin(async move {
            self.memory.gate.acquire().await.unwrap().forget();
            self.memory.gate.add_permits(1);
            let mut state = self.memory.state.lock().unwrap();
            let identity = closing.identity.unwrap().0;
            if let Some(n) = state.seen.get(&identity) {
                return Ok(Receipt { id: id(*n), duplicate: Some(Bytes::new()) });
            }
            state.stored.push((self.provenance, self.bytes));
            let n = state.stored.len();
            state.seen.insert(identity, n);
            Ok(Receipt { id: id(n), duplicate: None })
        })
    }
}

fn id(n: usize) -> model::RecordId {
    format!("clinical-1-{n}").parse().unwrap()
}

/// An endpoint that runs.
pub(super) struct Bed {
    pub(super) memory: Memory,
    handle: Handle,
    pub(super) stop: CancellationToken,
    pub(super) running: JoinHandle<()>,
}

/// Of TOML, without the listener.
pub(super) async fn bed(rest: &str) -> Bed {
    bed_of(
        toml::from_str(&format!("listen = \"127.0.0.1:0\"\nplain_text_on_loopback = true\n{rest}")).unwrap(),
    )
}

fn bed_of(config: Config) -> Bed {
    let server = Server::bind("ehr".parse().unwrap(), &config, Arc::new(Fixed)).unwrap();
    let (handle, stop) = (server.handle(), CancellationToken::new());
    let memory = Memory { state: Arc::default(), gate: Arc::new(Semaphore::new(1)) };
    #[expect(clippy::disallowed_methods, reason = "the test waits for it by its handle")]
    let running = tokio::spawn(server.run(memory.clone(), stop.clone()));
    Bed { memory, handle, stop, running }
}

/// An answer, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }
}

impl Bed {
    pub(super) fn stats(&self) -> Stats {
        self.handle.stats()
    }

    pub(super) const fn address(&self) -> std::net::SocketAddr {
        self.handle.local_addr()
    }

    pub(super) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address()).await.unwrap()
    }

    /// One request on a connection of its own.
    pub(super) async fn send(&self, line: &str, headers: &str, body: &str) -> Answer {
        let mut stream = self.connect().await;
        let length =
            if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let text = format!("{line} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{headers}{length}\r\n{body}");
        stream.write_all(text.as_bytes()).await.unwrap();
        receive(&mut stream).await
    }

    /// JSON, and nothing special.
    pub(super) async fn post(&self, line: &str, body: &str) -> Answer {
        self.send(line, "Content-Type: application/fhir+json\r\n", body).await
    }
}

pub(super) async fn receive(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("an answer").unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines.map(|l| l.split_once(": ").unwrap()).map(|(n, v)| (n.to_lowercase(), v.to_owned()));
    Answer { status, headers: headers.collect(), body: body.to_owned() }
}

pub(super) const PATIENT: &str = "{\"resourceType\":\"Patient\",\"id\":\"p1\",\"active\":true}\n";

pub(super) fn bundle(kind: &str, entries: &[(&str, &str, &str)]) -> String {
    let entry = |(method, url, resource): &(&str, &str, &str)| {
        let resource =
            if resource.is_empty() { String::new() } else { format!("\"resource\": {resource}, ") };
        format!("{{{resource}\"request\": {{\"method\": \"{method}\", \"url\": \"{url}\"}}}}")
    };
    let entries: Vec<String> = entries.iter().map(entry).collect();
    format!("{{\"resourceType\": \"Bundle\", \"type\": \"{kind}\", \"entry\": [{}]}}", entries.join(", "))
}
