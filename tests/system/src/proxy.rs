//! A network between gateway and landing that can be made to fail: a TCP relay.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How often the relay looks whether it shall end.
const TICK: Duration = Duration::from_millis(20);

#[derive(Debug, Default)]
struct State {
    ended: AtomicBool,
    /// New connections are refused.
    down: AtomicBool,
    /// What the server sends is swallowed.
    mute: AtomicBool,
    /// Bytes that the clients sent.
    sent: AtomicU64,
    open: Mutex<Vec<TcpStream>>,
}

/// A relay on loopback.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    state: Arc<State>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Proxy {
    /// Relays a free port to `to`.
    pub fn start(to: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let thread = std::thread::spawn(move || accept(&listener, to, &shared));
        Self { port, state, thread: Some(thread) }
    }

    /// Where it listens.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// From now on what the server answers is lost; connections stay.
    pub fn lose_answers(&self) {
        self.state.mute.store(true, Ordering::SeqCst);
    }

    /// Cuts all connections and accepts no new ones.
    pub fn cut(&self) {
        self.state.down.store(true, Ordering::SeqCst);
        for stream in self.state.open.lock().unwrap().drain(..) {
            stream.shutdown(Shutdown::Both).ok();
        }
    }

    /// Everything works again.
    pub fn mend(&self) {
        self.state.mute.store(false, Ordering::SeqCst);
        self.state.down.store(false, Ordering::SeqCst);
    }

    /// Bytes that the clients have sent through it.
    pub fn sent(&self) -> u64 {
        self.state.sent.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::SeqCst);
        self.cut();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn accept(listener: &TcpListener, to: u16, state: &Arc<State>) {
    while !state.ended.load(Ordering::SeqCst) {
        let Ok((client, _)) = listener.accept() else {
            std::thread::sleep(TICK);
            continue;
        };
        client.set_nonblocking(false).unwrap();
        if state.down.load(Ordering::SeqCst) {
            continue;
        }
        let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, to)) else { continue };
        let copies = [&client, &client, &server, &server].map(|s| s.try_clone().unwrap());
        let [from_client, to_client, from_server, to_server] = copies;
        state.open.lock().unwrap().extend([client, server]);
        let (there, back) = (Arc::clone(state), Arc::clone(state));
        std::thread::spawn(move || {
            relay(from_client, to_server, |n| {
                there.sent.fetch_add(n, Ordering::SeqCst);
                true
            })
        });
        std::thread::spawn(move || relay(from_server, to_client, |_| !back.mute.load(Ordering::SeqCst)));
    }
}

/// Copies until one side ends; what `passes` does not let through is swallowed.
fn relay(mut from: TcpStream, mut to: TcpStream, passes: impl Fn(u64) -> bool) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count) = from.read(&mut buffer) {
        if count == 0 || (passes(count as u64) && to.write_all(&buffer[..count]).is_err()) {
            break;
        }
    }
    to.shutdown(Shutdown::Both).ok();
    from.shutdown(Shutdown::Both).ok();
}
