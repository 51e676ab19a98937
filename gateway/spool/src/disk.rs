//! Everything that changes the disk, behind one seam, so that a test can make any of it fail.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use rustix::fs::FallocateFlags;

const ZEROS_BYTES: usize = 1 << 20;

/// What changes the disk. Readers read by themselves.
///
/// # Errors
/// The system's, in all of these.
pub trait Disk: Send + Sync + fmt::Debug {
    /// Writes all bytes at an offset.
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// `fdatasync`.
    fn sync_data(&self, file: &File) -> io::Result<()>;
    /// Fills a new file with zeros and makes it durable, size and all.
    fn allocate(&self, file: &File, bytes: u64) -> io::Result<()>;
    /// Gives a file its final name, not yet durable.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Two names change places, not yet durable.
    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()> {
        let flags = rustix::fs::RenameFlags::EXCHANGE;
        Ok(rustix::fs::renameat_with(rustix::fs::CWD, one, rustix::fs::CWD, other, flags)?)
    }
    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Removes a file, not yet durable.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Cuts a file, not yet durable.
    fn truncate(&self, file: &File, bytes: u64) -> io::Result<()>;
    /// Bytes that may still be written to the file system.
    fn available(&self, dir: &Path) -> io::Result<u64>;
    /// Size of the file system; 0 where it is not known.
    fn capacity(&self, _dir: &Path) -> io::Result<u64> {
        Ok(0)
    }
}

/// The disk.
#[derive(Debug)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }

    fn sync_data(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn allocate(&self, file: &File, bytes: u64) -> io::Result<()> {
        // Reserves the blocks at once: a full disk is found before a byte is written. Not every file system can.
        match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes) {
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {}
            Err(error) => return Err(error.into()),
        }
        // Reserved blocks still need a change of metadata when first written; zeros take that cost now.
        let zeros = vec![0; ZEROS_BYTES];
        let mut at = 0;
        while at < bytes {
            let len = (bytes - at).min(ZEROS_BYTES as u64);
            file.write_all_at(zeros.get(..len as usize).unwrap_or(&zeros), at)?;
            at += len;
        }
        file.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn truncate(&self, file: &File, bytes: u64) -> io::Result<()> {
        file.set_len(bytes)
    }

    fn available(&self, dir: &Path) -> io::Result<u64> {
        let about = rustix::fs::statvfs(dir)?;
        Ok(about.f_bavail.saturating_mul(about.f_frsize))
    }

    fn capacity(&self, dir: &Path) -> io::Result<u64> {
        let about = rustix::fs::statvfs(dir)?;
        Ok(about.f_blocks.saturating_mul(about.f_frsize))
    }
}

/// Replaces a small file so that, whatever happens, either the old or the new one is there.
pub(crate) fn replace(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let temporary = path.with_extension("tmp");
    let file = File::create(&temporary)?;
    disk.write_at(&file, bytes, 0)?;
    disk.sync_data(&file)?;
    drop(file);
    disk.rename(&temporary, path)?;
    disk.sync_dir(dir)
}
