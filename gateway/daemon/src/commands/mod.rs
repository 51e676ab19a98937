//! The commands, one file each.

mod audit;
mod backup;
mod check;
mod consent;
mod deid;
mod deid_explain;
mod deid_text;
mod faults;
mod held;
mod hl7;
mod hl7_fhir;
mod hl7_parse;
mod hl7_route;
mod keys;
mod people;
mod restore;
mod run;
mod search;
mod self_test;
mod send;
mod spool;
mod trace;

use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use bytes::Bytes;
use control::Checked;
use hyper::Method;
use model::Clock as _;

pub(crate) use self::backup::HELP as BACKUP_HELP;
pub(crate) use self::hl7_parse::HELP as HL7_PARSE_HELP;
pub(crate) use self::restore::HELP as RESTORE_HELP;
use crate::cli::{Command, Held};
use crate::client::Client;
use crate::clock::SystemClock;
use crate::{dev_certificates, exit, simulate};

/// Runs a command to its end.
pub(crate) fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Run(config) => runtime()?.block_on(run::run(&config.config)),
        Command::Check { file, json, schema, connect } => {
            check::check(file.as_deref(), json, schema, connect)
        }
        Command::ClaimCode(config) => runtime()?.block_on(claim_code(&config.config)),
        Command::Trace { id, config, json } => runtime()?.block_on(trace::trace(&config.config, id, json)),
        Command::Replay { id, to, config } => runtime()?.block_on(async {
            let path = format!("/replay/{to}/{id}");
            let new = Client::of(&config.config)?.ask(Method::POST, &path, Bytes::new()).await?;
            print(&format!("{id} is on its way to {to} as {}\n", new.as_str().unwrap_or("?")))
        }),
        Command::Held(command) => runtime()?.block_on(held::held(command)),
        Command::Consent(command) => runtime()?.block_on(consent::consent(command)),
        Command::Account(command) => runtime()?.block_on(people::account(command)),
        Command::Vault(command) => runtime()?.block_on(people::vault(command)),
        Command::Faults(asked) => runtime()?.block_on(faults::faults(asked)),
        Command::Search(asked) => runtime()?.block_on(search::search(asked)),
        Command::Spool(command) => spool::spool(command),
        Command::Audit(command) => runtime()?.block_on(audit::audit(command)),
        Command::Backup { config, to, without_backlog, json } => {
            runtime()?.block_on(backup::backup(&config.config, &to, !without_backlog, json))
        }
        Command::Restore { config, from, key_file, check, replace, json } => {
            let plan = restore::Plan { config: config.config, from, key_file, check, replace, json };
            runtime()?.block_on(restore::restore(&plan))
        }
        Command::Keys(command) => runtime()?.block_on(keys::keys(command)),
        Command::Hl7(command) => hl7::hl7(command),
        Command::Deid(command) => deid::deid(command),
        Command::Send { to, tls, files, connections, rate, retries, resume, timeout_s, json } => {
            let plan = send::Plan { to, tls, files, connections, rate, retries, resume, timeout_s, json };
            runtime()?.block_on(send::send(plan))
        }
        Command::Simulate { to, tls, rate, connections, seed, seconds, count, json } => {
            let plan = simulate::Plan { rate, connections, seed, seconds, count };
            runtime()?.block_on(simulate::simulate(&to, &tls, plan, json))
        }
        Command::SelfTest => runtime()?.block_on(self_test::self_test()),
        Command::DevCertificates { dir, gateway, landing_hosts } => {
            let hosts: Vec<&str> = landing_hosts.iter().map(String::as_str).collect();
            let written = dev_certificates::write(&dir, &gateway, &hosts, SystemClock.now())?;
            print(&format!("{}\n", written.ca.display()))
        }
    }
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("the runtime cannot start")
}

/// A checked configuration, or its findings printed.
#[expect(clippy::print_stderr, reason = "findings are for the person who gave the file")]
pub(crate) fn checked(config: &Path) -> anyhow::Result<Checked> {
    control::check_file(config, SystemClock.now()).map_err(|findings| {
        eprint!("{}", control::render(&findings));
        exit::Printed.into()
    })
}

/// Prints to standard output; a closed pipe ends the command in peace.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    print_bytes(text.as_bytes())
}

/// The same for what need not be UTF-8.
pub(crate) fn print_bytes(bytes: &[u8]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    broken_pipe_is_fine(out.write_all(bytes).and_then(|()| out.flush())).map(drop)
}

/// Whoever reads our output may have seen enough: then there is nothing more to say.
pub(crate) fn broken_pipe_is_fine<T>(written: std::io::Result<T>) -> anyhow::Result<Option<T>> {
    match written {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(None),
        written => written.map(Some).context("standard output"),
    }
}

/// A filter's input that holds something, and no message, is a mistake of whoever sent it.
pub(crate) fn nothing_to_read(input: &[u8], messages: usize) -> anyhow::Result<()> {
    if messages == 0 && !input.iter().all(u8::is_ascii_whitespace) {
        anyhow::bail!("no message in the input: a message begins with MSH at the start of a line");
    }
    Ok(())
}

async fn claim_code(config: &Path) -> anyhow::Result<()> {
    let answer = Client::of(config)?.ask(Method::GET, "/claim-code", Bytes::new()).await?;
    let code = answer.get("code").and_then(serde_json::Value::as_str).unwrap_or_default();
    print(&format!("{code}\n"))
}

/// Used by the commands that name a record and a destination.
pub(crate) fn held_path(command: &Held) -> Option<String> {
    match command {
        Held::List { .. } => None,
        Held::Release { id, to, .. } => Some(format!("/held/{to}/{id}/release")),
        Held::Dismiss { id, to, .. } => Some(format!("/held/{to}/{id}/dismiss")),
    }
}
