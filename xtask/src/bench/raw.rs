//! What disk and loopback can do: the yardsticks for durable acknowledgements.

use std::fs::File;
use std::io::{BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::load::{Load, Outcome, acknowledgement, read_frame};

/// Written over and over, so that no write has to make the file longer: the best case of a log.
const FILE_BYTES: u64 = 64 << 20;

/// A file that is there in full, its blocks allocated.
#[derive(Debug)]
pub(crate) struct Yardstick {
    file: File,
    at: u64,
}

impl Yardstick {
    /// Makes it in `dir`, which must be on the same disk as what it is compared with.
    pub(crate) fn new(dir: &Path) -> Result<Self> {
        let path = dir.join("yardstick");
        let file = File::options().create(true).truncate(true).read(true).write(true).open(&path)?;
        let zeroes = vec![0_u8; 1 << 20];
        for megabyte in 0..FILE_BYTES >> 20 {
            file.write_all_at(&zeroes, megabyte << 20)?;
        }
        file.sync_all()?;
        // Nobody else needs its name.
        std::fs::remove_file(&path)?;
        Ok(Self { file, at: 0 })
    }

    /// Writes for a while, `group` records of `bytes` in one `pwrite` with one `fdatasync`.
    pub(crate) fn run(&mut self, bytes: usize, group: u32, lasting: Duration) -> Result<Written> {
        let group_bytes = bytes * usize::try_from(group)?;
        let block: Vec<u8> = (0_u8..=255).cycle().take(group_bytes).collect();
        let length = u64::try_from(group_bytes)?;
        let (begun, mut written) = (Instant::now(), Written::default());
        while written.elapsed < lasting {
            if self.at + length > FILE_BYTES {
                self.at = 0;
            }
            let flush = Instant::now();
            self.file.write_all_at(&block, self.at)?;
            self.file.sync_data()?;
            written.flushes.push(flush.elapsed());
            self.at += length;
            written.records += u64::from(group);
            written.elapsed = begun.elapsed();
        }
        Ok(written)
    }
    /// The plainest receiver there could be: one thread that reads a frame, writes it with one `pwrite` and one
    /// `fdatasync`, and answers. It parses, encrypts, counts and delivers nothing, so what it does is the limit of
    /// what anybody can acknowledge over one connection of this machine.
    pub(crate) fn receive(&mut self, run: &str, lasting: Duration) -> Result<Outcome> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let to: SocketAddr = listener.local_addr()?;
        let load = Load { to, connections: 1, lasting, pace: Duration::ZERO, run: run.to_owned() };
        std::thread::scope(|scope| {
            let sender = scope.spawn(move || load.run());
            self.serve(&listener)?;
            sender.join().unwrap_or_else(|_| bail!("the load panicked"))
        })
    }

    /// One connection, until it ends.
    fn serve(&mut self, listener: &TcpListener) -> Result<()> {
        let (mut stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        let mut frames = BufReader::with_capacity(64 << 10, stream.try_clone()?);
        // The sender's end in mid-frame and between frames look alike here; its own count tells them apart.
        while let Ok(frame) = read_frame(&mut frames) {
            let length = u64::try_from(frame.len())?;
            if self.at + length > FILE_BYTES {
                self.at = 0;
            }
            self.file.write_all_at(&frame, self.at)?;
            self.file.sync_data()?;
            self.at += length;
            stream.write_all(&acknowledgement(&frame).context("a frame without a control id")?)?;
        }
        Ok(())
    }
}

/// What the disk took.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) records: u64,
    pub(crate) elapsed: Duration,
    /// How long each write with its flush took, unsorted.
    pub(crate) flushes: Vec<Duration>,
}

impl Written {
    /// Both together.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.records += other.records;
        self.elapsed += other.elapsed;
        self.flushes.extend(other.flushes);
        self
    }

    /// Records a second.
    pub(crate) fn rate(&self) -> f64 {
        self.records as f64 / self.elapsed.as_secs_f64()
    }
}
