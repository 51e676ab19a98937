//! `wardgate-landing`: gateways' batches in over mutual TLS, lakehouse tables out.
//!
//! Exit codes: 0 fine, 1 finding or failure, 2 usage or configuration.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use landing::clock::SystemClock;
use landing::config::Config;
use landing::inspect::stat::{Stat, stat};
use landing::inspect::verify::{Verdict, verify};
use landing::server::Server;
use landing::witness::Witness;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// What is logged where WARDGATE_LOG does not say: the table library's own lines name files, and are many.
const LOG_DEFAULT: &str = "info,deltalake_core=error,buoyant_kernel=error,buoyant_kernel_engine=error,\
                           delta_kernel=error,delta_kernel_default_engine=error,object_store=error,h2=warn";

const FINDING: u8 = 1;
const USAGE: u8 = 2;

/// Takes batches of Wardgate gateways over mutual TLS and writes them into lakehouse tables, each exactly once.
#[derive(Debug, Parser)]
#[command(name = "wardgate-landing", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run until SIGTERM or SIGINT, then drain.
    Run {
        /// The configuration.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Check a configuration: the file, the certificates and what the tables say of their policy.
    Check {
        /// The configuration.
        #[arg(value_name = "FILE")]
        config: PathBuf,
    },
    /// How much there is: rows of each table and of each stream.
    Stat {
        /// The folder with the tables of one destination.
        #[arg(long, value_name = "DIR")]
        root: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// The checkpoints of a gateway's audit log that this landing has receipted, oldest first. With --json they are what
    /// `wardgate audit verify --checkpoints` reads. Exit code 1 where there are none, or one cannot be read.
    Audit {
        /// The gateway.
        gateway: model::Slug,
        /// The folder with the tables of one destination.
        #[arg(long, value_name = "DIR")]
        root: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Whether the tables agree with each other; exit code 1 where they do not.
    Verify {
        /// The folder with the tables of one destination.
        #[arg(long, value_name = "DIR")]
        root: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&anyhow::Error::new(error).context("no runtime")),
    };
    let done = runtime.block_on(async {
        match cli.command {
            Command::Run { config } => match load(&config) {
                Ok(config) => run(config).await,
                Err(code) => Ok(code),
            },
            Command::Check { config } => match load(&config) {
                Ok(parsed) => check(&config, &parsed).await,
                Err(code) => Ok(code),
            },
            Command::Stat { root, json } => {
                let stat = stat(&root).await?;
                print(json, &stat, text_of_stat)?;
                Ok(ExitCode::SUCCESS)
            }
            Command::Audit { gateway, root, json } => {
                let receipts = Witness::new(&root, Arc::new(SystemClock)).all(&gateway)?;
                print(json, &receipts, text_of_receipts)?;
                Ok(if receipts.is_empty() { ExitCode::from(FINDING) } else { ExitCode::SUCCESS })
            }
            Command::Verify { root, json } => {
                let verdict = verify(&root).await?;
                print(json, &verdict, text_of_verdict)?;
                Ok(if verdict.ok { ExitCode::SUCCESS } else { ExitCode::from(FINDING) })
            }
        }
    });
    done.unwrap_or_else(|error| failed(&error))
}

fn failed(error: &anyhow::Error) -> ExitCode {
    say_error(&model::told(error.chain()));
    ExitCode::from(FINDING)
}

fn say_error(text: &str) {
    // Nobody is left to tell where standard error is closed.
    drop(writeln!(std::io::stderr(), "wardgate-landing: {text}"));
}

fn load(path: &Path) -> Result<Config, ExitCode> {
    Config::load(path).map_err(|error| {
        for mistake in &error.0 {
            say_error(&mistake.to_string());
        }
        ExitCode::from(USAGE)
    })
}

async fn run(config: Config) -> anyhow::Result<ExitCode> {
    let filter = EnvFilter::try_from_env("WARDGATE_LOG").unwrap_or_else(|_| EnvFilter::new(LOG_DEFAULT));
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
    let server = Server::bind(&config, Arc::new(SystemClock)).await?;
    let stop = CancellationToken::new();
    let destinations = config.destinations.len();
    tracing::info!(listen = %server.local_addr(), destinations, "landing");
    let serving = server.run(stop.clone());
    tokio::pin!(serving);
    loop {
        tokio::select! {
            () = &mut serving => break,
            _ = terminate.recv() => tracing::info!("SIGTERM: draining"),
            _ = interrupt.recv() => tracing::info!("SIGINT: draining"),
        }
        stop.cancel();
    }
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

async fn check(path: &Path, config: &Config) -> anyhow::Result<ExitCode> {
    if let Err(unfit) = landing::inspect::check::check(config, &SystemClock).await {
        for why in unfit {
            say_error(&model::told(anyhow::Error::new(why).chain()));
        }
        return Ok(ExitCode::from(FINDING));
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}: fine, {} destinations", path.display(), config.destinations.len())?;
    Ok(ExitCode::SUCCESS)
}

fn print<T: Serialize>(json: bool, value: &T, text: impl Fn(&T) -> String) -> anyhow::Result<()> {
    let text = if json { serde_json::to_string(value)? + "\n" } else { text(value) };
    std::io::stdout().lock().write_all(text.as_bytes()).context("standard output")
}

/// A type that both forms share: a slice has no size to be a reference of.
fn text_of_receipts(receipts: &Vec<model::wire::AuditReceipt>) -> String {
    let mut text = String::new();
    for receipt in receipts {
        text += &format!("{} {}\n", receipt.received_at, receipt.key);
        for line in receipt.checkpoint.lines() {
            text += &format!("  {line}\n");
        }
    }
    text + &format!("{} checkpoints\n", receipts.len())
}

fn text_of_stat(stat: &Stat) -> String {
    let mut text = format!("{} ({})\n", stat.root.display(), stat.policy);
    for (name, table) in &stat.tables {
        text += &format!(
            "  {name:<13} {:>12} rows {:>8} files  version {}\n",
            table.rows, table.files, table.version
        );
    }
    for s in &stat.streams {
        text += &format!(
            "  {}: {} to {}, {} rows, {} skipped, {} batches\n",
            s.stream, s.first, s.last, s.rows, s.skipped, s.batches
        );
    }
    text
}

fn text_of_verdict(verdict: &Verdict) -> String {
    let Verdict { rows, batches, streams, found, .. } = verdict;
    let mut text = format!("{rows} rows, {batches} batches, {streams} streams: {found} findings\n");
    for finding in &verdict.findings {
        let stream = finding.stream.as_deref().unwrap_or("-");
        text += &format!("  {:<12} {stream}: {}\n", finding.check, finding.detail);
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        super::Cli::command().debug_assert();
    }
}
