//! Delivering to another receiver over MLLP, beside what the line itself gives.
//!
//! The receiver is a thread here that answers AA at once. For each pair: messages of the same size go to it straight
//! over loopback, one after the other (the raw echo); the gateway is filled with a backlog, and from the end of the
//! filling on the receiver's clock counts how many arrive a second and how long one comes after the other; then the
//! raw echo again. The gateway has one message under way, and writes after each answer how far it is, synced: so the
//! disk's own flushes stand beside it too.

use std::io::{BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::raw::Yardstick;
use super::spread::Spread;
use super::{Args, DRAIN, Figure, Scratch, p99_ms, parent, profile, show};
use crate::binaries;
use crate::child::Child;
use crate::demo::Progress;
use crate::http;
use crate::load::{FRAME_BYTES, Load, acknowledgement, read_frame};
use crate::site::Ports;
use crate::stop::Stop;

/// How long the gateway is filled, over how many connections.
const FILL: (Duration, u32) = (Duration::from_millis(300), 50);
/// How long the gateway may take to start and to end.
const PATIENCE: Duration = Duration::from_secs(60);
/// Fewer messages behind the end of the filling say nothing.
const MESSAGES_MIN: usize = 100;

pub(super) fn run(args: &Args) -> Result<()> {
    let stop = Stop::on_signals()?;
    let programs = binaries::build(profile(args))?;
    let dir = Scratch(parent(args)?.join(format!("bench-{}", std::process::id())));
    std::fs::create_dir_all(dir.0.join("logs"))?;
    let receiver = Receiver::start()?;
    let ports = Ports::choose(None)?;
    std::fs::write(dir.0.join("gateway.toml"), config(ports, receiver.address))?;
    let mut gateway = Command::new(&programs.wardgate);
    gateway.env("MALLOC_ARENA_MAX", "2").args(["run", "--config", "gateway.toml"]).current_dir(&dir.0);
    let mut gateway = Child::start("gateway", &gateway, &dir.0.join("logs"))?;
    until(&mut gateway, "ready", PATIENCE, || {
        http::json(ports.operations, "/status").is_ok_and(|s| s.get("ready").is_some_and(|r| r == true))
    })?;
    let mut yardstick = Yardstick::new(&dir.0.join("gateway"))?;
    let mut turns = Vec::new();
    // The first round warms up and does not count.
    for pair in 0..=args.pairs {
        if stop.asked() {
            bail!("interrupted");
        }
        let turn = turn(args, ports, &receiver, &mut gateway, &mut yardstick, pair)?;
        if pair > 0 {
            let Turn { out, echo, .. } = &turn;
            eprintln!("pair {pair}/{}: {:.0} messages/s, raw echo {:.0}/s", args.pairs, out.0, echo.0);
            turns.push(turn);
        }
    }
    gateway.stop(PATIENCE)?;
    report(args, &turns);
    Ok(())
}

/// Rate, and the slowest of a hundred in ms.
type Rate = (f64, f64);

/// One backlog and its yardsticks.
struct Turn {
    out: Rate,
    echo: Rate,
    /// Records a second that the disk takes, one a flush.
    flushes: Rate,
}

fn turn(
    args: &Args,
    ports: Ports,
    receiver: &Receiver,
    gateway: &mut Child,
    yardstick: &mut Yardstick,
    pair: u32,
) -> Result<Turn> {
    let half = Duration::from_secs(args.burst.max(1)) / 2;
    let echo = |run: String| {
        Load { to: receiver.address, connections: 1, lasting: half, pace: Duration::ZERO, run }.run()
    };
    let before = (echo(format!("x{pair}"))?, yardstick.run(FRAME_BYTES, 1, half)?);
    receiver.forget();
    let (lasting, connections) = FILL;
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, ports.mllp));
    let filled = Load { to, connections, lasting, pace: Duration::ZERO, run: format!("o{pair}") }.run()?;
    let from = Instant::now();
    until(gateway, "without a backlog", DRAIN, || {
        http::json(ports.operations, "/status").is_ok_and(|status| Progress::read(&status).backlog() == 0)
    })?;
    let arrived = receiver.forget();
    if arrived.len() as u64 != filled.acknowledged {
        bail!("{} of {} messages arrived", arrived.len(), filled.acknowledged);
    }
    let arrived: Vec<Instant> = arrived.into_iter().filter(|at| *at >= from).collect();
    let (Some(first), Some(last)) = (arrived.first(), arrived.last()) else {
        bail!("nothing was left to deliver")
    };
    if arrived.len() < MESSAGES_MIN {
        bail!("only {} messages were left to deliver when the filling ended", arrived.len());
    }
    let between: Vec<Duration> =
        arrived.windows(2).filter_map(|two| Some(*two.get(1)? - *two.first()?)).collect();
    let out = (between.len() as f64 / (*last - *first).as_secs_f64(), p99_ms(&between));
    let after = (echo(format!("y{pair}"))?, yardstick.run(FRAME_BYTES, 1, half)?);
    receiver.forget();
    let latencies: Vec<Duration> = before.0.latencies.iter().chain(&after.0.latencies).copied().collect();
    let rate = latencies.len() as f64 / (before.0.elapsed + after.0.elapsed).as_secs_f64();
    let disk = before.1.and(after.1);
    Ok(Turn { out, echo: (rate, p99_ms(&latencies)), flushes: (disk.rate(), p99_ms(&disk.flushes)) })
}

/// Waits until the gateway is as it should be.
fn until(gateway: &mut Child, what: &str, patience: Duration, mut done: impl FnMut() -> bool) -> Result<()> {
    let end = Instant::now() + patience;
    while !done() {
        gateway.still_runs()?;
        if Instant::now() > end {
            bail!("the gateway is not {what} after {} s; {}", patience.as_secs(), gateway.tail());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

fn config(ports: Ports, receiver: SocketAddr) -> String {
    let Ports { mllp, ui, operations, .. } = ports;
    format!(
        "[gateway]\nid = \"bench-box\"\ndata_dir = \"gateway\"\n\n[spool]\nkey_file = \"gateway/root.key\"\n\n\
         [web]\nlisten = \"127.0.0.1:{ui}\"\n\n[operations]\nlisten = \"127.0.0.1:{operations}\"\n\n\
         [[feed]]\nname = \"adt\"\nmllp = {{ listen = \"127.0.0.1:{mllp}\" }}\n\n\
         [[destination]]\nname = \"ris\"\npolicy = \"treatment\"\nstart = \"oldest\"\n\
         [destination.mllp]\nto = \"{receiver}\"\n"
    )
}

fn report(args: &Args, turns: &[Turn]) {
    let of = |value: fn(&Turn) -> f64| Spread::of(turns.iter().map(value));
    let figure = |name: &str, unit, value| Figure { name: name.to_owned(), unit, value: of(value) };
    show(
        args,
        &[
            figure("messages out over MLLP, one under way", "1/s", |t| t.out.0),
            figure("raw loopback echo, one under way", "1/s", |t| t.echo.0),
            figure("pwrite + fdatasync, one a flush", "1/s", |t| t.flushes.0),
            figure("… as part of the echo's", "1", |t| t.out.0 / t.echo.0),
            figure("… as part of the disk's", "1", |t| t.out.0 / t.flushes.0),
            figure("from message to message p99", "ms", |t| t.out.1),
            figure("raw echo p99", "ms", |t| t.echo.1),
            figure("fdatasync p99", "ms", |t| t.flushes.1),
            figure("… times the echo's and the disk's p99 together", "1", |t| {
                t.out.1 / (t.echo.1 + t.flushes.1)
            }),
        ],
    );
}

/// A receiver that answers AA at once, and notes when each message was there.
struct Receiver {
    address: SocketAddr,
    arrived: Arc<Mutex<Vec<Instant>>>,
}

impl Receiver {
    fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let receiver = Self { address: listener.local_addr()?, arrived: Arc::default() };
        let arrived = Arc::clone(&receiver.arrived);
        // It ends with us.
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let arrived = Arc::clone(&arrived);
                std::thread::spawn(move || {
                    // A connection that ends is no fault: each run has its own.
                    serve(stream, &arrived).ok();
                });
            }
        });
        Ok(receiver)
    }

    /// What arrived since the last time.
    fn forget(&self) -> Vec<Instant> {
        std::mem::take(&mut *self.arrived.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn serve(stream: TcpStream, arrived: &Mutex<Vec<Instant>>) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut answers = stream.try_clone()?;
    let mut messages = BufReader::new(stream);
    loop {
        let message = read_frame(&mut messages)?;
        arrived.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
        answers.write_all(&acknowledgement(&message).context("a message without a control id")?)?;
    }
}
