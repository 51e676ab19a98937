//! The power goes: the logs on a real file system on a block device whose every write we know.
//!
//! **How.** The device is one file that we serve over FUSE; a loop device makes it a disk; the kernel's own ext4,
//! XFS or btrfs is on it ([`disk`]). A process of its own ([`subject`]) opens a spool there, works on it and says
//! on a pipe what was acknowledged to it. [`device`] writes down, in one order, every write, every flush and every
//! acknowledgement. Then the power goes at any point of that record: what was flushed before is on the disk; of
//! every later write each 4 KiB is or is not, at 0, 25, 50, 75 or 100 %, in half of the cuts torn into sectors of
//! 512 bytes. The image is mounted, the kernel recovers its file system, the spool itself, and the oracle
//! ([`expect`]) asks: is everything there that was acknowledged before the cut, under its number? Is nothing there
//! that nobody appended, nothing twice, no number missing? Then the power goes again while that goes on, anywhere
//! between the mount and the work after recovery; what had been shown after the first cut must be there, too.
//!
//! **Is the harness any good?** It must find fault with what is known to be at fault ([`subject::Kind`]): sled
//! 0.34.7, whose `flush` does not sync, without our barrier; and our own spool while `strace` turns each `fdatasync`
//! into a lie, which is what acknowledging before the sync would be.
//!
//! Beside it, with the same subject and the same oracle: a disk that gets full at any moment ([`full`]), and one
//! whose nth call of a kind fails ([`failing`]).
//!
//! And one whose flush takes as long as one likes, for benchmarks ([`slow`]).
//!
//! **What it is not.** The disk keeps its promise that a flush is a flush, tears no sector of 512 bytes, and does not tear
//! a file system's superblock ([`disk::FileSystem::superblocks`]).
//!
//! **Needs** root, `/dev/fuse`, loop devices, `mkfs.ext4`, `mkfs.xfs`, `mkfs.btrfs`, `strace`. Where any of it is
//! missing the tests fail and say what ([`disk::missing`]); nothing is skipped silently.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the harness of tests fails by panicking, with what it saw"
)]
#![allow(clippy::disallowed_methods, reason = "real disks take real time")]

pub mod cuts;
pub mod device;
pub mod disk;
pub mod expect;
pub mod failing;
pub mod full;
pub mod process;
pub mod slow;
pub mod subject;
