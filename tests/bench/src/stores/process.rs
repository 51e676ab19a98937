//! What the kernel says of a process and of the disk: memory, bytes written, flushes.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// What a disk has done since the machine started (`/sys/dev/block/*/stat`, Documentation/block/stat.rst): bytes
/// written, and flushes of its cache. Everybody's: it takes a machine that does nothing else.
pub(super) fn disk(dir: &Path) -> Result<Option<(u64, u64)>, String> {
    let device = fs::metadata(dir).map_err(|e| e.to_string())?.dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let Ok(text) = fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat")) else {
        return Ok(None);
    };
    let fields: Vec<u64> = text.split_whitespace().filter_map(|f| f.parse().ok()).collect();
    Ok(fields.get(6).zip(fields.get(15)).map(|(sectors, flushes)| (sectors * 512, *flushes)))
}

/// Bytes that those of our own threads whose names begin so have caused to be written to the disk (`write_bytes` of
/// `/proc/PID/task/TID/io`, proc(5)): pages made dirty, counted once until they are clean again. Where the page cache holds
/// a file in large folios the kernel counts a whole folio for each page of it.
pub(super) fn written_by_threads(named: &str) -> Result<u64, String> {
    let mut sum = 0;
    for entry in fs::read_dir("/proc/self/task").map_err(|e| e.to_string())? {
        let path = entry.map_err(|e| e.to_string())?.path();
        let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
        if name.starts_with(named) {
            sum += number(&path.join("io").display().to_string(), "write_bytes:")?;
        }
    }
    Ok(sum)
}

/// Resident now, and at most ever, in bytes.
pub(super) fn resident(process: &str) -> Result<(u64, u64), String> {
    let status = format!("/proc/{process}/status");
    Ok((number(&status, "VmRSS:")? << 10, number(&status, "VmHWM:")? << 10))
}

fn number(file: &str, key: &str) -> Result<u64, String> {
    let text = fs::read_to_string(file).map_err(|e| format!("{file}: {e}"))?;
    text.lines()
        .find_map(|line| line.strip_prefix(key)?.split_whitespace().next()?.parse().ok())
        .ok_or(format!("{file} has no {key}"))
}
