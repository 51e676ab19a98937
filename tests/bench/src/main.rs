//! `cargo xtask bench --only parse` runs this: indexing HL7 v2 messages and reading the fields that an intake needs,
//! by `wardgate-hl7` and, with the feature `peers`, by three other crates, in one process on one core.
//!
//! **The work** is the same for all: the message's bytes are there, as text; the library reads them, and the leaves
//! named in [`work::LEAVES`] are taken as borrowed text, first repetition, escapes left as they are. What was taken
//! is summed up and compared: libraries that disagree are not compared but refused. What a library does besides
//! is its own choice: hl7-parser, rust-hl7 and hl7-2 build a tree of all fields, ours finds out the character set and
//! builds an index of segments that finds fields when asked. rust-hl7 and hl7-parser are handed CR alone as the segment's end, as they expect.
//!
//! **The messages** are the files named on the command line. Those that one of the libraries refuses, or panics
//! on, are left out for all, and counted.
//!
//! **The rounds.** In each round every library runs once, for the same processor time, in an order that rotates.
//! Rates of all rounds are printed as one JSON object; xtask makes medians and spreads of them.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a tool for a terminal")]

mod deid;
#[cfg(feature = "stores")]
mod stores;
mod to_fhir;
mod work;

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use work::{Library, Sum};

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Arguments: the name of another benchmark with its own, or rounds, milliseconds of each run, and the files.
fn run(args: impl Iterator<Item = String>) -> Result<Value, String> {
    let mut args = args.peekable();
    #[cfg(feature = "stores")]
    match args.peek().map(String::as_str) {
        Some("stores") => return stores::run(args.skip(1)),
        Some("backlog") => return stores::backlog(args.skip(1)),
        Some("search") => return stores::search(args.skip(1)),
        Some("store") => return stores::child(args.skip(1)),
        Some("spin") => return stores::spin(),
        _ => {}
    }
    let fhir = args.next_if(|first| first == "fhir").is_some();
    let deid = args.next_if(|first| first == "deid").is_some();
    let mut number =
        |name| args.next().and_then(|a| a.parse::<u32>().ok()).ok_or(format!("{name} is a number"));
    let rounds = number("ROUNDS")? as usize;
    let run_ms = u64::from(number("RUN_MS")?);
    let (mut read, mut bundles) = (Vec::new(), Vec::new());
    for file in args {
        let bytes = std::fs::read(&file).map_err(|e| format!("{file}: {e}"))?;
        if deid && file.ends_with(".json") {
            bundles.push(Bytes::from(bytes));
            continue;
        }
        read.extend(hl7::split(&bytes).map(one_kind_of_line_end));
    }
    if fhir {
        return to_fhir::run(&read, rounds, run_ms);
    }
    if deid {
        return self::deid::run(&read, bundles, rounds, run_ms);
    }
    let found = read.len();
    let messages = agreed(read)?;
    if messages.is_empty() {
        return Err("there is no message that all can read".to_owned());
    }
    let bytes: usize = messages.iter().map(Bytes::len).sum();
    let mut all = Vec::new();
    // The first round warms up and does not count.
    for round in 0..=rounds {
        let mut rates = Map::new();
        for turn in 0..Library::ALL.len() {
            let Some(library) = Library::ALL.get((round + turn) % Library::ALL.len()) else { continue };
            rates.insert(library.name().to_owned(), json!(rate(*library, &messages, run_ms)?));
        }
        if round > 0 {
            all.push(Value::Object(rates));
        }
    }
    Ok(json!({
        "messages": messages.len(),
        "left_out": found - messages.len(),
        "bytes_per_message": bytes / messages.len(),
        "leaves_per_message": work::LEAVES.len(),
        "rounds": all,
    }))
}

/// With CR at the end of each segment, which every library takes; and nothing at the end of the last.
fn one_kind_of_line_end(message: &[u8]) -> Bytes {
    let text: Vec<u8> =
        message.iter().copied().filter(|b| *b != b'\n' || !message.contains(&b'\r')).collect();
    let text: Vec<u8> = text.iter().map(|b| if *b == b'\n' { b'\r' } else { *b }).collect();
    Bytes::copy_from_slice(text.trim_ascii_end())
}

/// The messages that every library reads, and reads alike.
fn agreed(messages: Vec<Bytes>) -> Result<Vec<Bytes>, String> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let mut kept = Vec::new();
    let mut differ = 0_usize;
    for message in messages {
        let sums: Vec<Option<Sum>> = Library::ALL
            .iter()
            .map(|library| std::panic::catch_unwind(|| library.read(&message)).ok().flatten())
            .collect();
        let Some(first) = sums.first().copied().flatten() else { continue };
        if sums.iter().any(Option::is_none) {
            continue;
        }
        if sums.iter().all(|sum| *sum == Some(first)) {
            kept.push(message);
        } else {
            differ += 1;
        }
    }
    std::panic::set_hook(hook);
    // A few odd messages are read differently; many would mean that the work is not the same.
    if differ * 100 > kept.len() {
        return Err(format!("the libraries read {differ} messages differently, and {} alike", kept.len()));
    }
    Ok(kept)
}

/// Messages a second of processor time.
fn rate(library: Library, messages: &[Bytes], run_ms: u64) -> Result<f64, String> {
    let lasting = Duration::from_millis(run_ms);
    let begun = processor_time()?;
    let mut read = 0_usize;
    loop {
        for message in messages {
            black_box(library.read(black_box(message)));
        }
        read += messages.len();
        let elapsed = processor_time()?.saturating_sub(begun);
        if elapsed >= lasting {
            return Ok(read as f64 / elapsed.as_secs_f64());
        }
    }
}

/// How long this thread has been on a processor (`/proc/thread-self/schedstat`, first number): what others do on a
/// shared machine does not count.
fn processor_time() -> Result<Duration, String> {
    let file = "/proc/thread-self/schedstat";
    let text = std::fs::read_to_string(file).map_err(|e| format!("{file}: {e}"))?;
    let nanoseconds = text.split(' ').next().and_then(|n| n.parse().ok());
    nanoseconds.map(Duration::from_nanos).ok_or(format!("{file} begins with no number"))
}
