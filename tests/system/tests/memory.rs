//! What the gateway keeps in memory while much is in flight: a bound, not a speed.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, with what it saw"
)]

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use system_tests::mllp::Known;
use system_tests::site::Site;
use system_tests::{readers, sha256};

/// Frames in flight at once, and the payload of each.
const FRAMES: usize = 20;
const FRAME_BYTES: usize = 19_900_000;
/// What the gateway may keep resident.
const RESIDENT_BYTES_MAX: u64 = 150_000_000;
/// What stays back until all are in flight.
const HELD_BACK: usize = 1_000;

fn document(n: usize) -> Vec<u8> {
    let mut message = format!(
        "MSH|^~\\&|SCAN|WEST|EHR|MAIN|20261124083000||MDM^T02^MDM_T02|MEM-{n}|P|2.5.1\rPID|1||{n}^^^WEST^MR\r\
         OBX|1|ED|PDF^report^L||^AP^^Base64^"
    )
    .into_bytes();
    // Not one byte over and over: compression would hide what is kept.
    let mut state = n as u64 + 1;
    while message.len() < FRAME_BYTES - 1 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let digit = usize::try_from(state >> 58).unwrap();
        message.push(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[digit]);
    }
    message.push(b'\r');
    message
}

/// A figure of `/proc/PID/status`, in bytes.
fn figure(pid: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[test]
fn twenty_frames_of_twenty_megabytes_in_flight_stay_within_their_bound_and_land() {
    let mut site = Site::small();
    // As the unit file has it.
    site.environment = vec!["MALLOC_ARENA_MAX=2".to_owned(), "MALLOC_MMAP_THRESHOLD_=262144".to_owned()];
    let (mut gateway, mut landing) = site.start();
    let pid = gateway.id();
    let at_rest = figure(pid, "VmRSS");
    // All have sent but their last bytes; the test has looked.
    let (sent, seen) = (Arc::new(Barrier::new(FRAMES + 1)), Arc::new(Barrier::new(FRAMES + 1)));
    let senders: Vec<_> = (0..FRAMES)
        .map(|n| {
            let (port, sent, seen) = (site.ports.mllp, Arc::clone(&sent), Arc::clone(&seen));
            std::thread::spawn(move || {
                let message = document(n);
                let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(300))).unwrap();
                let (now, later) = message.split_at(message.len() - HELD_BACK);
                stream.write_all(b"\x0b").unwrap();
                stream.write_all(now).unwrap();
                sent.wait();
                seen.wait();
                stream.write_all(later).unwrap();
                stream.write_all(b"\x1c\r").unwrap();
                let mut answer = Vec::new();
                let mut byte = [0];
                while !answer.ends_with(b"\x1c\r") {
                    stream.read_exact(&mut byte).unwrap();
                    answer.push(byte[0]);
                }
                let answer = String::from_utf8(answer).unwrap();
                assert!(answer.contains(&format!("MSA|AA|MEM-{n}\r")), "{answer}");
                Known { sha256: sha256(&message), connection: n, acknowledged: true }
            })
        })
        .collect();
    sent.wait();
    let in_flight = figure(pid, "VmRSS");
    let peak_in_flight = figure(pid, "VmHWM");
    seen.wait();
    let known: Vec<Known> = senders.into_iter().map(|sender| sender.join().unwrap()).collect();
    let peak_taken = figure(pid, "VmHWM");
    site.drained_within(Duration::from_secs(300));
    let peak = figure(pid, "VmHWM");
    eprintln!(
        "resident: {at_rest} at rest, {in_flight} with all in flight, peaks {peak_in_flight} until then, {peak_taken} \
         until all were taken, {peak} until all were delivered"
    );
    gateway.stop();
    landing.stop();
    readers::accounted_for(&known, &site.root("lake"), &[]);
    assert!(peak_taken < RESIDENT_BYTES_MAX, "{peak_taken} bytes resident while frames were in flight");
    assert!(peak < RESIDENT_BYTES_MAX, "{peak} bytes resident until all were delivered");
}
