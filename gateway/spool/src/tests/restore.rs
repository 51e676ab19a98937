//! Restores: what is refused, and what an interrupted one leaves.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::backup::{back_up, open_backup, restore};
use super::support::*;
use crate::backup::Backup;
use crate::disk::{Disk, RealDisk};
use crate::{Error, RootKey, Spool};

/// Every file below a folder, but for sockets and locks.
fn tree(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(tree(&path));
        } else {
            files.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
    files.sort();
    files
}

#[tokio::test]
async fn what_is_wrong_is_found_before_anything_changes() {
    let dir = tempdir();
    let (home, file) = (dir.path().join("a/spool"), dir.path().join("b.backup"));
    let spool = open(&home);
    clinical(&spool).append(Vec::new(), b"one").await.unwrap();
    back_up(&spool, &file, true);
    // A gateway runs on it.
    assert!(matches!(restore(&file, &home, true), Err(Error::Locked { .. })));
    spool.stop().await.unwrap();
    let before = tree(&dir.path().join("a"));
    assert!(matches!(restore(&file, &home, false), Err(Error::SpoolThere { .. })));
    let wrong = Backup::open(&file, &RootKey::new(&mut [8; 32]).unwrap(), None).unwrap_err();
    assert!(matches!(wrong, Error::WrongKey { .. }), "{wrong}");
    let other = Backup::open(&file, &keys(), Some(&"ward-4".parse().unwrap())).unwrap_err();
    assert!(matches!(other, Error::OtherGateway { .. }), "{other}");
    let whole = fs::read(&file).unwrap();
    let spoilt = dir.path().join("spoilt.backup");
    for at in (0..whole.len()).step_by(whole.len() / 40) {
        fs::write(&spoilt, &whole[..at]).unwrap();
        let error = restore(&spoilt, &home, true).unwrap_err().to_string();
        assert!(error.contains("cut off"), "{at}: {error}");
        let mut changed = whole.clone();
        changed[at] ^= 4;
        fs::write(&spoilt, &changed).unwrap();
        restore(&spoilt, &home, true).unwrap_err();
    }
    fs::write(&spoilt, b"hello").unwrap();
    restore(&spoilt, &home, true).unwrap_err();
    assert!(tree(&dir.path().join("a")) == before, "nothing was changed");

    // Put aside, and still what it was.
    let spool = open(&home);
    clinical(&spool).append(Vec::new(), b"two").await.unwrap();
    drop(spool);
    let aside = restore(&file, &home, true).unwrap().put_aside.unwrap();
    let spool = open(&aside);
    assert_eq!(all(&clinical(&spool)).await.len(), 2);
    drop(spool);
    let spool = open(&home);
    assert_eq!(all(&clinical(&spool)).await.len(), 1);
}

/// The disk, behind somebody who is told the bytes of each write, or nothing of another operation, and may refuse it.
struct Behind<F>(F);

impl<F> std::fmt::Debug for Behind<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Behind")
    }
}

impl<F: Fn(Option<u64>) -> io::Result<()> + Send + Sync> Disk for Behind<F> {
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        (self.0)(Some(bytes.len() as u64))?;
        RealDisk.write_at(file, bytes, offset)
    }
    fn sync_data(&self, file: &File) -> io::Result<()> {
        (self.0)(None)?;
        RealDisk.sync_data(file)
    }
    fn allocate(&self, file: &File, bytes: u64) -> io::Result<()> {
        (self.0)(None)?;
        RealDisk.allocate(file, bytes)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        (self.0)(None)?;
        RealDisk.rename(from, to)
    }
    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()> {
        (self.0)(None)?;
        RealDisk.exchange(one, other)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        (self.0)(None)?;
        RealDisk.sync_dir(dir)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        (self.0)(None)?;
        RealDisk.remove(path)
    }
    fn truncate(&self, file: &File, bytes: u64) -> io::Result<()> {
        (self.0)(None)?;
        RealDisk.truncate(file, bytes)
    }
    fn available(&self, dir: &Path) -> io::Result<u64> {
        RealDisk.available(dir)
    }
}

/// Fails from an operation on.
fn fails_from(at: u64) -> Arc<dyn Disk> {
    let count = AtomicU64::new(0);
    Arc::new(Behind(move |_| match count.fetch_add(1, Ordering::SeqCst) {
        n if n >= at => Err(io::Error::from_raw_os_error(5)),
        _ => Ok(()),
    }))
}

/// With room for two megabytes.
fn full() -> Arc<dyn Disk> {
    let written = AtomicU64::new(0);
    Arc::new(Behind(move |bytes| match bytes {
        Some(bytes) if written.fetch_add(bytes, Ordering::SeqCst) > 2 << 20 => {
            Err(io::Error::from_raw_os_error(28))
        }
        _ => Ok(()),
    }))
}

#[tokio::test]
async fn a_restore_that_stops_anywhere_leaves_the_old_spool_or_the_new_one() {
    let dir = tempdir();
    let (made, file) = (dir.path().join("made/spool"), dir.path().join("b.backup"));
    let spool = open(&made);
    clinical(&spool).append(Vec::new(), b"from the backup").await.unwrap();
    back_up(&spool, &file, true);
    drop(spool);
    let old = dir.path().join("old/spool");
    let spool = open(&old);
    for payload in [b"old one", b"old two"] {
        clinical(&spool).append(Vec::new(), payload).await.unwrap();
    }
    spool.stop().await.unwrap();
    let (mut left_old, mut left_new) = (0, 0);
    for at in 0.. {
        let home = dir.path().join("home");
        fs::remove_dir_all(&home).ok();
        copy(&dir.path().join("old"), &home);
        let place = home.join("spool");
        let clock = Arc::new(Still::default());
        let done = open_backup(&file).unwrap().restore_on(&place, &small(), clock, true, fails_from(at));
        let is_done = done.is_ok();
        let spool = open(&place);
        match &all(&clinical(&spool)).await[..] {
            [Got::Record(1, payload)] if payload == b"from the backup" => left_new += 1,
            [Got::Record(1, one), Got::Record(2, two)] if one == b"old one" && two == b"old two" => {
                assert!(!is_done, "it said so at operation {at}");
                left_old += 1;
            }
            other => panic!("at operation {at}: {other:?}"),
        }
        drop(spool);
        if at % 6 != 0 && left_new == 0 {
            continue;
        }
        // Again, and nothing that was there before is lost.
        restore(&file, &place, true).unwrap();
        let spool = open(&place);
        assert_eq!(all(&clinical(&spool)).await, [Got::Record(1, b"from the backup".to_vec())]);
        drop(spool);
        let kept: Vec<PathBuf> = fs::read_dir(&home).unwrap().map(|e| e.unwrap().path()).collect();
        let mut had_old = 0;
        for path in kept.iter().filter(|p| p.to_string_lossy().contains("before-restore")) {
            let spool = open(path);
            had_old += usize::from(all(&clinical(&spool)).await.len() == 2);
        }
        assert_eq!(had_old, 1, "the spool of before is somewhere, once, after operation {at}: {kept:?}");
        if is_done {
            break;
        }
    }
    assert!(left_old > 20 && left_new > 1, "{left_old} {left_new}");
}

#[tokio::test]
async fn a_restore_leaves_the_key_file_and_an_interrupted_rotation_alone() {
    let dir = tempdir();
    let (home, file) = (dir.path().join("a/spool"), dir.path().join("b.backup"));
    let key_file = dir.path().join("root.key");
    let root = RootKey::from_file(&key_file, true).unwrap();
    let gateway = "ward-3".parse().unwrap();
    let clock = Arc::new(Still::default());
    let spool = Spool::open(&home, &small(), root.clone(), &gateway, Arc::clone(&clock) as Arc<_>).unwrap();
    back_up(&spool, &file, true);
    drop(spool);
    let next = dir.path().join("root.key.next");
    fs::copy(&key_file, &next).unwrap();
    let root = RootKey::from_file(&key_file, false).unwrap();
    let backup = Backup::open(&file, &root, None).unwrap();
    backup.restore(&home, &small(), clock, true).unwrap();
    assert!(next.exists(), "whoever starts the gateway decides about it");
}

#[tokio::test]
async fn a_link_and_an_owner_are_kept() {
    let dir = tempdir();
    let (made, file) = (dir.path().join("made/spool"), dir.path().join("b.backup"));
    let spool = open(&made);
    clinical(&spool).append(Vec::new(), b"one").await.unwrap();
    back_up(&spool, &file, true);
    drop(spool);
    // The spool is on another disk, and a link leads there.
    let (home, disk) = (dir.path().join("home"), dir.path().join("disk"));
    fs::create_dir_all(disk.join("spool")).unwrap();
    fs::create_dir_all(&home).unwrap();
    symlink(disk.join("spool"), home.join("spool")).unwrap();
    // Only root can give files away; everybody else owns what he makes.
    let owner =
        if chown(&disk, Some(1234), Some(1235)).is_ok() { 1234 } else { disk.metadata().unwrap().uid() };
    let aside = restore(&file, &home.join("spool"), true).unwrap().put_aside.unwrap();
    assert!(aside.starts_with(&disk), "{}", aside.display());
    assert!(home.join("spool").is_symlink());
    let spool = open(&home.join("spool"));
    assert_eq!(all(&clinical(&spool)).await.len(), 1);
    drop(spool);
    for (path, _) in tree(&disk.join("spool/logs")).into_iter().chain(tree(&disk.join("spool/keys"))) {
        assert_eq!(path.metadata().unwrap().uid(), owner, "{}", path.display());
    }
}

#[tokio::test]
async fn a_backup_of_a_later_version_is_told_from_a_damaged_one() {
    let dir = tempdir();
    let file = dir.path().join("b.backup");
    let spool = open(&dir.path().join("a/spool"));
    back_up(&spool, &file, true);
    let mut bytes = fs::read(&file).unwrap();
    bytes[8] += 1;
    fs::write(&file, &bytes).unwrap();
    let error = restore(&file, &dir.path().join("c/spool"), false).unwrap_err();
    assert!(matches!(error, Error::Version { version: 2, .. }), "{error}");
    assert!(!dir.path().join("c").exists());
}

#[tokio::test]
async fn a_full_disk_leaves_what_was_there() {
    let dir = tempdir();
    let (home, file) = (dir.path().join("a/spool"), dir.path().join("b.backup"));
    let spool = open(&home);
    clinical(&spool).append(Vec::new(), &bytes(1, 3_000_000)).await.unwrap();
    back_up(&spool, &file, true);
    drop(spool);
    let before = tree(&dir.path().join("a"));
    let clock = Arc::new(Still::default());
    let full = open_backup(&file).unwrap().restore_on(&home, &small(), clock, true, full()).unwrap_err();
    assert!(matches!(&full, Error::Io { source, .. } if Error::is_no_space(source)), "{full}");
    assert!(tree(&dir.path().join("a")) == before, "nothing was changed, and nothing is left over");
}
