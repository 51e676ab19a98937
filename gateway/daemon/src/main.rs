//! `wardgate`: the daemon and its CLI. Each command is a small file; all wiring is in [`wiring`].

mod applied;
mod background;
mod claim;
mod cli;
mod client;
mod clock;
mod commands;
mod dev_certificates;
mod dial;
mod exit;
mod feeds;
mod logging;
mod metrics;
mod operations;
mod pipe;
mod product;
mod simulate;
mod syslog;
mod wiring;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    exit::code(commands::run(cli.command))
}
