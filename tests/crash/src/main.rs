//! `power-cuts`: trials by hand; the tests run it, too.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a tool for a terminal")]

use std::os::unix::process::CommandExt as _;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use crash_tests::{cuts, disk, failing, full, slow, subject};

#[derive(Debug, Parser)]
#[command(name = "power-cuts", about = "Cuts the power under the logs, on real file systems")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Cuts the power
    Cut(cuts::Plan),
    /// Fills the disk at any moment, and opens what is there while it is full
    Full(full::Plan),
    /// Lets the nth call of a kind fail
    Failing(failing::Plan),
    /// Runs a command that works on a disk with slow flushes
    Slow(slow::Plan),
    /// What the power is cut under; started by the others
    Subject(subject::Task),
}

fn main() -> ExitCode {
    match run(&Cli::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(command: &Command) -> Result<bool> {
    if let Command::Subject(task) = command {
        return subject::run(task).map(|()| true);
    }
    if let Some(mut again) = disk::alone()? {
        return Err(again.exec().into());
    }
    match command {
        Command::Subject(_) => Ok(false),
        Command::Cut(plan) => {
            let tally = cuts::run(plan)?;
            println!("{}", tally.json(plan));
            Ok(tally.failed == 0)
        }
        Command::Full(plan) => {
            let tally = full::run(plan)?;
            println!("{}", tally.json());
            Ok(tally.failures.is_empty())
        }
        Command::Slow(plan) => slow::run(plan),
        Command::Failing(plan) => {
            let tally = failing::run(plan)?;
            println!("{}", tally.json());
            Ok(tally.failures.is_empty())
        }
    }
}
