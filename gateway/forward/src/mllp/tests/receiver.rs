//! A receiver that does what a script says, message by message, and remembers what it read on which connection.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hl7::mllp::{Deframer, Event, frame};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

/// What it does when it has read a message. Several are done one after the other.
#[derive(Debug, Clone)]
pub(super) enum Do {
    /// Answers the message with this code.
    Say(&'static str),
    /// Answers with this code, as if to another message.
    SayFor(&'static str, &'static str),
    /// Writes these bytes.
    Raw(Vec<u8>),
    /// Lets time pass.
    Wait(Duration),
    /// Closes the connection.
    Close,
}

/// `code` for `control_id`, without a frame.
pub(super) fn ack(code: &str, control_id: &str) -> Vec<u8> {
    format!("MSH|^~\\&|B|EDGE|A|LARKHAVEN|20261124083001||ACK^A08^ACK|R1|P|2.5.1\rMSA|{code}|{control_id}\r")
        .into_bytes()
}

#[derive(Debug, Default)]
struct Shared {
    script: VecDeque<Vec<Do>>,
    read: Vec<(usize, Vec<u8>)>,
    connections: usize,
}

pub(super) struct Receiver {
    pub(super) address: String,
    shared: Arc<Mutex<Shared>>,
    tasks: TaskTracker,
}

impl Receiver {
    /// After its script it answers AA to everything.
    pub(super) async fn start(script: impl IntoIterator<Item = Vec<Do>>) -> Self {
        Self::serve(script, None).await
    }

    pub(super) async fn over_tls(script: impl IntoIterator<Item = Vec<Do>>, acceptor: TlsAcceptor) -> Self {
        Self::serve(script, Some(acceptor)).await
    }

    async fn serve(script: impl IntoIterator<Item = Vec<Do>>, acceptor: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shared =
            Arc::new(Mutex::new(Shared { script: script.into_iter().collect(), ..Shared::default() }));
        let (tasks, all) = (TaskTracker::new(), Arc::clone(&shared));
        let children = tasks.clone();
        drop(tasks.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (shared, acceptor) = (Arc::clone(&all), acceptor.clone());
                drop(children.spawn(async move {
                    match acceptor {
                        None => connection(stream, &shared).await,
                        Some(acceptor) => {
                            if let Ok(stream) = acceptor.accept(stream).await {
                                connection(stream, &shared).await;
                            }
                        }
                    }
                }));
            }
        }));
        Self { address, shared, tasks }
    }

    /// The messages read, each with the number of its connection.
    pub(super) fn read(&self) -> Vec<(usize, String)> {
        let shared = self.shared.lock().unwrap();
        shared.read.iter().map(|(n, m)| (*n, control_id(m))).collect()
    }

    pub(super) fn payloads(&self) -> Vec<Vec<u8>> {
        self.shared.lock().unwrap().read.iter().map(|(_, m)| m.clone()).collect()
    }

    pub(super) fn connections(&self) -> usize {
        self.shared.lock().unwrap().connections
    }

    pub(super) fn will(&self, script: impl IntoIterator<Item = Vec<Do>>) {
        self.shared.lock().unwrap().script.extend(script);
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.tasks.close();
    }
}

fn control_id(message: &[u8]) -> String {
    let header = hl7::Header::read(message, true).unwrap();
    String::from_utf8(header.control_id().to_vec()).unwrap()
}

async fn connection<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, shared: &Mutex<Shared>) {
    let number = {
        let mut shared = shared.lock().unwrap();
        shared.connections += 1;
        shared.connections
    };
    let mut deframer = Deframer::new(64 << 20);
    let mut payload = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let Ok(count @ 1..) = stream.read(&mut buffer).await else { return };
        let mut input = &buffer[..count];
        while let Some(event) = deframer.next(&mut input) {
            match event {
                Event::Begin => payload.clear(),
                Event::Data(data) => payload.extend_from_slice(data),
                Event::End { .. } => {
                    let steps = {
                        let mut shared = shared.lock().unwrap();
                        shared.read.push((number, payload.clone()));
                        shared.script.pop_front().unwrap_or_else(|| vec![Do::Say("AA")])
                    };
                    for step in steps {
                        let bytes = match step {
                            Do::Say(code) => frame(&ack(code, &control_id(&payload))),
                            Do::SayFor(code, id) => frame(&ack(code, id)),
                            Do::Raw(bytes) => bytes,
                            Do::Wait(time) => {
                                tokio::time::sleep(time).await;
                                continue;
                            }
                            Do::Close => return,
                        };
                        if stream.write_all(&bytes).await.is_err() || stream.flush().await.is_err() {
                            return;
                        }
                    }
                }
                other => panic!("the sender framed badly: {other:?}"),
            }
        }
    }
}
