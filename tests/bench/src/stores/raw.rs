//! The yardstick: one `pwrite` and one `fdatasync` into a file that is there in full.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, fadvise};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::child::Store;

/// Written over and over, so that no write has to make the file longer: the best case of a log.
const FILE_BYTES: u64 = 64 << 20;

pub(super) struct Raw {
    file: File,
    at: u64,
    buffer: Vec<u8>,
}

impl Raw {
    pub(super) fn open(dir: &Path) -> Result<Self, String> {
        let open = || {
            let file =
                File::options().create(true).truncate(true).read(true).write(true).open(dir.join("raw"))?;
            // Page by page, so that the page cache does not hold it in large folios.
            for page in 0..FILE_BYTES / 4096 {
                file.write_all_at(&[0; 4096], page * 4096)?;
            }
            file.sync_all()?;
            Ok(file)
        };
        let file = open().map_err(|e: std::io::Error| e.to_string())?;
        Ok(Self { file, at: 0, buffer: Vec::new() })
    }
}

impl Store for Raw {
    fn commit(&mut self, records: &[Vec<u8>]) -> Result<(), String> {
        self.buffer.clear();
        records.iter().for_each(|record| self.buffer.extend_from_slice(record));
        let len = self.buffer.len() as u64;
        if self.at + len > FILE_BYTES {
            self.at = 0;
        }
        let written = self.file.write_all_at(&self.buffer, self.at).and_then(|()| self.file.sync_data());
        self.at += len;
        written.map_err(|e| e.to_string())
    }

    /// Reads every segment below a folder, as a copy would.
    fn other(&mut self, what: &Value) -> Result<Value, String> {
        let dir = what.get("read").and_then(Value::as_str).ok_or("not understood")?;
        let read = || -> std::io::Result<Value> {
            let files = segments(Path::new(dir))?;
            forget(&files)?;
            let mut buffer = vec![0; 1 << 20];
            let (begun, mut bytes) = (Instant::now(), 0);
            for path in &files {
                let mut file = File::open(path)?;
                loop {
                    match file.read(&mut buffer)? {
                        0 => break,
                        n => bytes += n,
                    }
                }
            }
            let seconds = begun.elapsed().as_secs_f64();
            Ok(json!({"bytes": bytes, "mb_per_s": bytes as f64 / 1e6 / seconds}))
        };
        read().map_err(|e| e.to_string())
    }
}

/// The log's segments below a folder, oldest first.
pub(super) fn segments(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(segments(&path)?);
        } else if path.extension().is_some_and(|e| e == "seg") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Takes files out of the page cache.
pub(super) fn forget(files: &[PathBuf]) -> std::io::Result<()> {
    for path in files {
        fadvise(File::open(path)?, 0, None, Advice::DontNeed)?;
    }
    Ok(())
}
