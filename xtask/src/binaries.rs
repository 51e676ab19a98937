//! The two programs, built.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::shell;

/// Where they are, if they are built already: then nothing is built.
const WARDGATE: &str = "WARDGATE_BIN";
const LANDING: &str = "WARDGATE_LANDING_BIN";

/// How to build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Quick to build, and nothing but the two: what the demo uses.
    Dev,
    /// Together with all tests. Tests ask some packages for more features; building them and the programs in one
    /// go builds those packages, and the many that stand on them, once instead of twice.
    Tests,
    /// What is measured and shipped.
    Release,
}

/// Where the programs stand.
#[derive(Debug, Clone)]
pub(crate) struct Binaries {
    pub(crate) wardgate: PathBuf,
    pub(crate) landing: PathBuf,
}

impl Binaries {
    /// For a program that we start: where they are.
    pub(crate) fn tell(&self, command: &mut Command) {
        command.env(WARDGATE, &self.wardgate).env(LANDING, &self.landing);
    }

    /// Those that the environment names.
    fn told() -> Option<Self> {
        let named = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_file());
        Some(Self { wardgate: named(WARDGATE)?, landing: named(LANDING)? })
    }
}

/// Builds both, unless the environment names them; cargo's progress goes to our standard error.
pub(crate) fn build(profile: Profile) -> Result<Binaries> {
    if profile != Profile::Release
        && let Some(told) = Binaries::told()
    {
        return Ok(told);
    }
    let mut cargo = shell::cargo();
    cargo.args(["build", "--locked"]);
    match profile {
        Profile::Dev => cargo.args(["-p", "wardgate", "-p", "wardgate-landing", "--bins"]),
        Profile::Tests => cargo.args(["--workspace", "--bins", "--tests", "--examples"]),
        Profile::Release => cargo.args(["-p", "wardgate", "-p", "wardgate-landing", "--bins", "--release"]),
    };
    eprintln!("$ {}   (the first time this takes some minutes)", shell::shown(&cargo));
    cargo.arg("--message-format=json-render-diagnostics");
    let out = cargo.stderr(Stdio::inherit()).output().context("could not start cargo")?;
    if !out.status.success() {
        bail!("the build failed");
    }
    let messages = String::from_utf8(out.stdout)?;
    let executable = |name: &str| {
        messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).find_map(|message| {
            let target = message.get("target")?;
            let is_it = target.get("name")?.as_str()? == name
                && target.get("kind")?.as_array()?.iter().any(|kind| kind == "bin");
            let is_test = message.get("profile")?.get("test")?.as_bool()?;
            (is_it && !is_test).then(|| message.get("executable")?.as_str().map(PathBuf::from))?
        })
    };
    Ok(Binaries {
        wardgate: executable("wardgate").context("cargo built no binary `wardgate`")?,
        landing: executable("wardgate-landing").context("cargo built no binary `wardgate-landing`")?,
    })
}

/// Builds the harness of power cuts, slow and failing disks.
pub(crate) fn power_cuts() -> Result<PathBuf> {
    shell::run(shell::cargo().args(["build", "--locked", "-p", "wardgate-crash-tests", "--bins"]))?;
    Ok(shell::target_dir()?.join("debug/power-cuts"))
}
