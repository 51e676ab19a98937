//! The device as a disk of this machine: FUSE, a loop device, a file system of the kernel.
//!
//! Mounts are made in a mount namespace of our own (`unshare --mount`, see [`alone`]): whatever becomes of this
//! process, they go with it, and so do their loop devices.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail, ensure};
use fuser::{
    BackgroundSession, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request,
    WriteFlags,
};

use crate::device::{Device, Image};

/// Names and attributes never change.
const TTL: Duration = Duration::from_secs(3600);
/// Programs without which there is no trial.
const PROGRAMS: [&str; 7] = ["mount", "umount", "unshare", "strace", "mkfs.ext4", "mkfs.xfs", "mkfs.btrfs"];
/// Says to the process that it is alone already.
const ALONE: &str = "WARDGATE_CRASH_ALONE";

/// What this machine lacks for a trial; empty when it has everything.
pub fn missing() -> Vec<String> {
    let mut missing = Vec::new();
    for node in ["/dev/fuse", "/dev/loop-control"] {
        if let Err(error) = std::fs::OpenOptions::new().read(true).write(true).open(node) {
            missing.push(format!("{node} ({error})"));
        }
    }
    let kernel = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    for name in ["ext4", "xfs", "btrfs"] {
        if !kernel.lines().any(|line| line.trim() == name) {
            missing.push(format!("{name} in the kernel"));
        }
    }
    for program in PROGRAMS {
        if program_path(program).is_none() {
            missing.push(format!("the program {program}"));
        }
    }
    missing
}

fn program_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let more = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(more).map(|dir| dir.join(name)).find(|path| path.is_file())
}

fn program(name: &str) -> Command {
    Command::new(program_path(name).unwrap_or_else(|| name.into()))
}

/// Where we are not in a mount namespace of our own yet, the command that runs us again in one.
pub fn alone() -> Result<Option<Command>> {
    let missing = missing();
    ensure!(
        missing.is_empty(),
        "this machine cannot cut the power of a disk; it lacks: {}",
        missing.join(", ")
    );
    if std::env::var_os(ALONE).is_some() {
        return Ok(None);
    }
    let mut unshare = program("unshare");
    unshare.args(["--mount", "--propagation", "private"]);
    unshare.arg(std::env::current_exe()?).args(std::env::args_os().skip(1)).env(ALONE, "1");
    Ok(Some(unshare))
}

/// A file system of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum)]
pub enum FileSystem {
    /// What most boxes have.
    Ext4,
    /// Delayed allocation and a log of its own.
    Xfs,
    /// Copy on write.
    Btrfs,
}

impl FileSystem {
    /// As `mount` calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
        }
    }

    /// As small as its tools make one.
    const fn bytes(self) -> u64 {
        match self {
            Self::Ext4 => 128 << 20,
            Self::Xfs => 320 << 20,
            Self::Btrfs => 256 << 20,
        }
    }

    /// Where its superblock is. It is written in place and has one checksum: ext4 and btrfs do not mount once it is torn
    /// (their tools repair it from a copy), so every file system relies on a drive that does not tear it.
    pub const fn superblocks(self) -> &'static [usize] {
        match self {
            Self::Ext4 | Self::Xfs => &[0],
            Self::Btrfs => &[64 << 10, 64 << 20],
        }
    }

    const fn options(self) -> &'static str {
        match self {
            Self::Ext4 => "loop,noatime,nodiscard",
            // All images of a run are copies of one file system.
            Self::Xfs => "loop,noatime,nouuid",
            Self::Btrfs => "loop,noatime,nodiscard",
        }
    }

    /// An empty one.
    pub fn make(self) -> Result<Image> {
        self.make_of(self.bytes())
    }

    /// An empty one of another size.
    pub fn make_of(self, bytes: u64) -> Result<Image> {
        let dir = scratch()?;
        let path = dir.path().join("image");
        std::fs::File::create(&path)?.set_len(bytes)?;
        let mut mkfs = program(&format!("mkfs.{}", self.name()));
        match self {
            Self::Ext4 => mkfs.args([
                "-q",
                "-F",
                "-b",
                "4096",
                "-m",
                "0",
                "-E",
                "nodiscard,lazy_itable_init=0,lazy_journal_init=0",
            ]),
            Self::Xfs => mkfs.args(["-q", "-K"]),
            Self::Btrfs => mkfs.args(["-q", "-K"]),
        };
        run(mkfs.arg(&path))?;
        Ok(Image::of(&path)?)
    }
}

/// A folder in memory.
pub fn scratch() -> Result<tempfile::TempDir> {
    Ok(tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())?)
}

fn run(command: &mut Command) -> Result<()> {
    let out = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?}"))?;
    if !out.status.success() {
        bail!("{command:?}: {}: {}", out.status, String::from_utf8_lossy(&out.stderr).trim());
    }
    Ok(())
}

type Table = Arc<Mutex<BTreeMap<u64, Arc<Device>>>>;

/// The place where devices are files.
#[derive(Debug)]
pub struct Bench {
    // Dropped in this order: the mount of FUSE before its folder.
    session: Option<BackgroundSession>,
    table: Table,
    next: AtomicU64,
    dir: tempfile::TempDir,
}

impl Bench {
    /// Sets it up.
    pub fn new() -> Result<Self> {
        let dir = scratch()?;
        let (devices, mount) = (dir.path().join("devices"), dir.path().join("disk"));
        std::fs::create_dir(&devices)?;
        std::fs::create_dir(&mount)?;
        let table = Table::default();
        let mut config = fuser::Config::default();
        config.mount_options = vec![fuser::MountOption::FSName("power-cuts".to_owned())];
        let session = fuser::Session::new(Files(Arc::clone(&table)), &devices, &config)
            .and_then(fuser::Session::spawn)
            .context("FUSE cannot be mounted")?;
        Ok(Self { session: Some(session), table, next: AtomicU64::new(2), dir })
    }

    /// Mounts a device. One at a time.
    pub fn mount(&self, device: &Arc<Device>, kind: FileSystem) -> Result<Mounted<'_>> {
        let inode = self.next.fetch_add(1, Ordering::Relaxed);
        self.table.lock().unwrap().insert(inode, Arc::clone(device));
        let file = self.dir.path().join("devices").join(inode.to_string());
        let dir = self.dir.path().join("disk");
        if kind == FileSystem::Btrfs {
            // What it knows of the disk's later life would keep it from mounting the earlier one.
            run(program("btrfs").args(["device", "scan", "--forget"]))?;
        }
        let mut mount = program("mount");
        mount.args(["-t", kind.name(), "-o", kind.options()]).arg(file).arg(&dir);
        let mounted = run(&mut mount);
        if let Err(error) = mounted {
            self.table.lock().unwrap().remove(&inode);
            return Err(error);
        }
        Ok(Mounted { bench: self, inode, dir, is_mounted: true })
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Some(session) = self.session.take()
            && let Err(error) = session.umount_and_join()
        {
            eprintln!("FUSE could not be unmounted: {error}");
        }
    }
}

/// A device in use.
#[derive(Debug)]
pub struct Mounted<'a> {
    bench: &'a Bench,
    inode: u64,
    dir: PathBuf,
    is_mounted: bool,
}

impl Mounted<'_> {
    /// Where its files are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Takes it out of use, in order.
    pub fn unmount(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        if std::mem::take(&mut self.is_mounted) {
            let ended = run(program("umount").arg(&self.dir));
            self.bench.table.lock().unwrap().remove(&self.inode);
            ended?;
        }
        Ok(())
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("{error:#}");
        }
    }
}

/// The devices as files, by number. Answers come in the order of the questions: there is one thread.
struct Files(Table);

impl Files {
    fn device(&self, inode: INodeNo) -> Option<Arc<Device>> {
        self.0.lock().unwrap().get(&inode.0).cloned()
    }

    fn attributes(&self, inode: INodeNo) -> Option<FileAttr> {
        let (kind, size) = match inode {
            INodeNo::ROOT => (FileType::Directory, 0),
            _ => (FileType::RegularFile, self.device(inode)?.bytes()),
        };
        Some(FileAttr {
            ino: inode,
            size,
            blocks: size / 512,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm: 0o700,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }
}

impl Filesystem for Files {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let inode = name.to_str().and_then(|name| name.parse().ok()).map(INodeNo);
        match inode.filter(|_| parent == INodeNo::ROOT).and_then(|inode| self.attributes(inode)) {
            Some(attributes) => reply.entry(&TTL, &attributes, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.attributes(inode) {
            Some(attributes) => reply.attr(&TTL, &attributes),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        // Nothing is cached on the way: the disk is the only one that is.
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.device(inode) {
            Some(device) => reply.data(&device.read(offset, size as usize)),
            None => reply.error(Errno::EIO),
        }
    }

    fn write(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.device(inode) {
            Some(device) => {
                device.write(offset, data);
                reply.written(data.len() as u32);
            }
            None => reply.error(Errno::EIO),
        }
    }

    fn fsync(&self, _: &Request, inode: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        match self.device(inode) {
            Some(device) => {
                device.flush();
                reply.ok();
            }
            None => reply.error(Errno::EIO),
        }
    }

    fn fallocate(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        _: i32,
        reply: ReplyEmpty,
    ) {
        // The loop device asks for zeros or for a hole, and both read as zeros.
        match self.device(inode) {
            Some(device) => {
                let mut at = offset;
                while at < offset + length {
                    let len = (offset + length - at).min(1 << 20);
                    device.write(at, &vec![0; len as usize]);
                    at += len;
                }
                reply.ok();
            }
            None => reply.error(Errno::EIO),
        }
    }
}
