//! A disk whose flush takes as long as one likes, and a command that works on it: a flush of the disks that many test
//! machines have is a promise of a hypervisor and takes a tenth of what that of a box in a hospital takes.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::device::Device;
use crate::disk::{Bench, FileSystem};

/// Stands in the command for the folder where the disk is mounted.
const PLACE: &str = "{}";

/// The disk, and who works on it.
#[derive(Debug, Clone, clap::Args)]
pub struct Plan {
    /// How long a flush takes, in microseconds
    #[arg(long)]
    flush_us: u64,
    /// Size of the disk, in MiB; it is kept in memory
    #[arg(long, default_value_t = 4096)]
    mib: u64,
    /// What to run; `{}` stands for the folder where the disk is
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// Runs the command. Says whether it ended well.
pub fn run(plan: &Plan) -> Result<bool> {
    let bench = Bench::new()?;
    let image = FileSystem::Ext4.make_of(plan.mib << 20)?;
    let device = Device::slow(image, Duration::from_micros(plan.flush_us));
    let mounted = bench.mount(&device, FileSystem::Ext4)?;
    let place = mounted.dir().to_str().context("the folder of the disk has a strange name")?.to_owned();
    let mut words = plan.command.iter().map(|word| word.replace(PLACE, &place));
    let mut command = Command::new(words.next().context("there is no command")?);
    let ended = command.args(words).status().with_context(|| format!("{command:?}"))?;
    mounted.unmount()?;
    Ok(ended.success())
}
