//! The two programs, built.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::shell;

/// How to build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Quick to build; what demo and tests use.
    Dev,
    /// What is measured and shipped.
    Release,
}

/// Where the programs stand.
#[derive(Debug, Clone)]
pub(crate) struct Binaries {
    pub(crate) wardgate: PathBuf,
    pub(crate) landing: PathBuf,
}

/// Builds both; cargo's progress goes to our standard error.
pub(crate) fn build(profile: Profile) -> Result<Binaries> {
    let mut cargo = shell::cargo();
    cargo.args(["build", "--locked", "-p", "wardgate", "-p", "wardgate-landing", "--bins"]);
    cargo.arg("--message-format=json-render-diagnostics");
    if profile == Profile::Release {
        cargo.arg("--release");
    }
    eprintln!("$ cargo build -p wardgate -p wardgate-landing   (a first build takes some minutes)");
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
            is_it.then(|| message.get("executable")?.as_str().map(PathBuf::from))?
        })
    };
    Ok(Binaries {
        wardgate: executable("wardgate").context("cargo built no binary `wardgate`")?,
        landing: executable("wardgate-landing").context("cargo built no binary `wardgate-landing`")?,
    })
}
