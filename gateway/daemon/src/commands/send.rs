//! `wardgate send`: an MLLP client with progress.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use forward::mllp::client::ClientError;
use serde_json::json;

use super::print;
use crate::cli;
use crate::dial::Dialler;
use crate::exit::{self, NotReachable};

/// Deepest folder that is looked into.
const DEPTH_MAX: usize = 16;
/// Progress is shown every so many messages.
const PROGRESS_EVERY: u64 = 500;

#[expect(
    clippy::print_stderr,
    reason = "progress and findings are for the person; standard output is the summary"
)]
pub(crate) async fn send(
    to: &str,
    tls: &cli::Tls,
    paths: &[PathBuf],
    timeout_s: u64,
    as_json: bool,
) -> anyhow::Result<()> {
    let timeout = Duration::from_secs(timeout_s);
    let dialler = Dialler::new(to, tls, timeout, timeout)?;
    let mut client = dialler.dial().await.map_err(|e| NotReachable(format!("{to}: {e}")))?;
    let mut files = Vec::new();
    for path in paths {
        collect(path, 0, &mut files)?;
    }
    files.sort();
    let (mut sent, mut acknowledged, mut refused) = (0_u64, 0_u64, 0_u64);
    for file in &files {
        let bytes = std::fs::read(file).with_context(|| file.display().to_string())?;
        for (index, message) in hl7::split(&bytes).enumerate() {
            sent += 1;
            match client.send(message).await {
                Ok(answer) if answer.code().is_positive() => acknowledged += 1,
                Ok(answer) => {
                    refused += 1;
                    let why = answer.text().unwrap_or_default();
                    eprintln!("{}: message {}: {} {why}", file.display(), index + 1, answer.code().as_str());
                }
                // The file holds bytes that MLLP cannot carry; the connection is as good as before.
                Err(e @ ClientError::Unframeable) => {
                    refused += 1;
                    eprintln!("{}: message {}: not sent: {e}", file.display(), index + 1);
                }
                Err(e) => {
                    // Over TLS 1.3 a receiver says only now that it does not like our certificate.
                    let why =
                        ::tls::explain_chain(&e, "the receiver").map_or(e.to_string(), |e| e.to_string());
                    return Err(anyhow!("{}: message {}: {why}", file.display(), index + 1));
                }
            }
            if sent.is_multiple_of(PROGRESS_EVERY) {
                eprintln!("{sent} sent, {acknowledged} acknowledged");
            }
        }
    }
    if as_json {
        let summary =
            json!({ "files": files.len(), "sent": sent, "acknowledged": acknowledged, "refused": refused });
        print(&format!("{summary}\n"))?;
    } else {
        print(&format!(
            "{} files: sent {sent}, acknowledged {acknowledged}, refused {refused}\n",
            files.len()
        ))?;
    }
    if refused == 0 { Ok(()) } else { Err(exit::Printed.into()) }
}

fn collect(path: &Path, depth: usize, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let kind = std::fs::metadata(path).with_context(|| path.display().to_string())?;
    if kind.is_file() {
        files.push(path.to_owned());
    } else if kind.is_dir() && depth < DEPTH_MAX {
        for entry in std::fs::read_dir(path).with_context(|| path.display().to_string())? {
            collect(&entry?.path(), depth + 1, files)?;
        }
    }
    Ok(())
}
