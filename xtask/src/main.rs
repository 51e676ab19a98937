//! `cargo xtask …`: what a person or a CI machine does with this repository, in one place.
//!
//! **Promise.** Each command works on a fresh machine with the Rust toolchain, a C compiler and the
//! distribution's package manager; it installs what else it needs and says so. Whatever it starts, it ends:
//! also after Ctrl-C, a panic or a failed start.
//!
//! | command | for |
//! |---|---|
//! | `demo` | the whole way on loopback: simulated hospital → gateway → landing → tables |
//! | `test` | everything that a change must pass; `.ci/run` calls it |
//! | `torture` | the long programmes |
//! | `bench` | figures with their spread |
//! | `train` | the weights of the text engine's tagger, made again |
//! | `cross` | an aarch64 binary that passes its self-test under qemu-user |
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a tool for a terminal")]
#![allow(clippy::disallowed_methods, reason = "it measures and waits in real time; nothing simulates it")]

mod bench;
mod binaries;
mod child;
mod cross;
mod demo;
mod faults;
mod fuzz;
mod http;
mod landed;
mod load;
mod setup;
mod shell;
mod site;
mod stages;
mod stop;
mod torture;
mod train;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "Demo, test, bench, torture, cross")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs landing, gateway and a simulated hospital on loopback, with throw-away certificates
    Demo(demo::Args),
    /// Runs everything that a change must pass, installing what it needs
    Test(stages::Args),
    /// Runs the long programmes: more crash rounds, more property cases
    Torture(torture::Args),
    /// Measures throughput, latency, memory and binary size; release build
    Bench(bench::Args),
    /// Makes the weights of the text engine's tagger again from the corpus
    Train(train::Args),
    /// Builds `wardgate` for aarch64 and runs its self-test under qemu-user
    Cross(cross::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Demo(args) => demo::run(&args),
        Command::Test(args) => stages::run(&args),
        Command::Torture(args) => torture::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Train(args) => train::run(&args),
        Command::Cross(args) => cross::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        super::Cli::command().debug_assert();
    }
}
