//! `cargo xtask cross`: the daemon for aarch64, and its self-test under qemu-user. The recipe and its reasons
//! stand in `cross/README.md`.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::setup::{self, Tool};
use crate::shell;

/// Debian 11 and Ubuntu 20.04; what is older gets no more updates.
const GLIBC_MAX: (u32, u32) = (2, 31);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which machine
    #[arg(long, value_enum, default_value = "aarch64-unknown-linux-gnu")]
    target: Target,
    /// Build only; for a machine without qemu
    #[arg(long)]
    no_self_test: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Target {
    /// 64-bit ARM, glibc
    #[value(name = "aarch64-unknown-linux-gnu")]
    Aarch64Gnu,
}

impl Target {
    const fn triple(self) -> &'static str {
        match self {
            Self::Aarch64Gnu => "aarch64-unknown-linux-gnu",
        }
    }

    const fn qemu(self) -> Tool {
        match self {
            Self::Aarch64Gnu => Tool {
                program: "qemu-aarch64-static",
                package: "qemu-user-static",
                needed_for: "the self-test of the cross-built binary",
            },
        }
    }

    /// The target's C library: where it stands, and the package that has it.
    const fn libc(self) -> (&'static str, &'static str) {
        match self {
            Self::Aarch64Gnu => ("/usr/aarch64-linux-gnu", "libc6-arm64-cross"),
        }
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let begun = Instant::now();
    let triple = args.target.triple();
    if shell::has("rustup") {
        shell::run(Command::new("rustup").current_dir(shell::root()).args(["target", "add", triple]))
            .context("rustup has no such target here; cross/README.md tells how to do without")?;
    }
    let python = setup::python("cross-venv", "cross/requirements.txt")?;
    let tools = python.parent().context("the environment has no folder of programs")?;
    let target_dir = shell::target_dir()?.join("cross");

    let mut zigbuild = Command::new(tools.join("cargo-zigbuild"));
    zigbuild.current_dir(shell::root());
    let (major, minor) = GLIBC_MAX;
    zigbuild.args(["zigbuild", "--locked", "--release", "-p", "wardgate", "--bin", "wardgate"]);
    zigbuild.args(["--target", &format!("{triple}.{major}.{minor}")]).arg("--target-dir").arg(&target_dir);
    zigbuild.env("PATH", with_first(tools)?);
    shell::run(&mut zigbuild)?;

    let binary = target_dir.join(triple).join("release/wardgate");
    let bytes = std::fs::read(&binary).with_context(|| format!("no {}", binary.display()))?;
    let asks = newest_glibc(&bytes);
    println!(
        "{}: {:.1} MB, asks for glibc {}.{}, {:.0} s",
        binary.display(),
        bytes.len() as f64 / 1e6,
        asks.0,
        asks.1,
        begun.elapsed().as_secs_f64()
    );
    if asks > GLIBC_MAX {
        bail!("it asks for glibc {}.{}; {major}.{minor} is the most a box has", asks.0, asks.1);
    }
    if args.no_self_test {
        return Ok(());
    }
    self_test(args.target, &binary)
}

fn self_test(target: Target, binary: &Path) -> Result<()> {
    let qemu = target.qemu();
    setup::tools(&[qemu])?;
    let (libc, package) = target.libc();
    if !Path::new(libc).exists() {
        setup::packages(&[package])?;
    }
    shell::run(Command::new(qemu.program).args(["-L", libc]).arg(binary).arg("self-test"))
}

fn with_first(dir: &Path) -> Result<std::ffi::OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    Ok(std::env::join_paths(std::iter::once(dir.to_path_buf()).chain(std::env::split_paths(&path)))?)
}

/// The newest `GLIBC_x.y` that the binary names among the versions of its symbols.
fn newest_glibc(binary: &[u8]) -> (u32, u32) {
    const MARK: &[u8] = b"GLIBC_";
    let number = |bytes: &[u8]| -> Option<(u32, usize)> {
        let digits = bytes.iter().take_while(|b| b.is_ascii_digit()).count();
        let text = std::str::from_utf8(bytes.get(..digits)?).ok()?;
        Some((text.parse().ok()?, digits))
    };
    let version = |rest: &[u8]| -> Option<(u32, u32)> {
        let (major, digits) = number(rest)?;
        let (minor, _) = number(rest.get(digits..)?.strip_prefix(b".")?)?;
        Some((major, minor))
    };
    binary
        .windows(MARK.len())
        .enumerate()
        .filter(|(_, window)| *window == MARK)
        .filter_map(|(at, _)| version(binary.get(at + MARK.len()..)?))
        .max()
        .unwrap_or((0, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_counts_by_number() {
        assert_eq!(newest_glibc(b"..GLIBC_2.4\0GLIBC_2.28\0GLIBC_2.17\0GLIBC_PRIVATE\0"), (2, 28));
        assert_eq!(newest_glibc(b"static"), (0, 0));
        assert_eq!(newest_glibc(b"GLIBC_2."), (0, 0));
    }
}
