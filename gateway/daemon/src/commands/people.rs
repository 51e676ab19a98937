//! `wardgate account` and `wardgate vault`: what takes a person. Passwords, reasons and answers travel in bodies, never in an
//! address; a password is read from the terminal without being shown, or from standard input.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use hyper::Method;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use serde_json::{Value, json};
use web::Role;
use zeroize::Zeroizing;

use super::print;
use crate::cli::{Account, Vault, Who};
use crate::client::Client;

/// Longest line that is read as a password, in bytes.
const LINE_BYTES_MAX: u64 = 1_024;

pub(crate) async fn account(command: Account) -> anyhow::Result<()> {
    match command {
        Account::List { config, json } => {
            let accounts = Client::of(&config.config)?.ask(Method::GET, "/accounts", Bytes::new()).await?;
            if json {
                return print(&format!("{accounts}\n"));
            }
            let mut out = String::new();
            for account in accounts.as_array().into_iter().flatten() {
                out.push_str(&format!("{:<32} {}\n", text(account, "name"), text(account, "role")));
            }
            print(if out.is_empty() { "nobody has claimed this box yet\n" } else { &out })
        }
        Account::First { name, config } => {
            let new = password(&format!("Password of the new account {name}: "))?;
            let body =
                serde_json::to_vec(&json!({ "name": name, "role": "security", "new_password": *new }))?;
            Client::of(&config.config)?.ask(Method::POST, "/accounts/first", Bytes::from(body)).await?;
            print(&format!("the box is claimed: {name} may sign in, as security\n"))
        }
        Account::Add { name, role, who } => {
            let password = password(&format!("Password of {}: ", who.name))?;
            let new = self::password(&format!("Password of the new account {name}: "))?;
            let role = Role::from(role).as_str();
            let what = json!({ "name": name, "role": role, "new_password": *new });
            post(&who, "/accounts", &password, what).await?;
            print(&format!("{name} may sign in, as {role}\n"))
        }
        Account::Remove { name, who } => {
            signed(&who, "/accounts/remove", json!({ "name": name })).await?;
            print(&format!("{name} may no longer sign in\n"))
        }
    }
}

pub(crate) async fn vault(command: Vault) -> anyhow::Result<()> {
    match command {
        Vault::Status { config, json } => {
            let status = Client::of(&config.config)?.ask(Method::GET, "/vault", Bytes::new()).await?;
            print(&if json { format!("{status}\n") } else { shown(&status) })
        }
        Vault::Request { token, reason, who } => {
            let what = json!({ "token": token.to_string(), "reason": reason });
            let request = signed(&who, "/vault/request", what).await?;
            let id = request.get("id").and_then(Value::as_u64).unwrap_or_default();
            print(&format!(
                "request {id}: somebody else has to say `wardgate vault approve {id}` within {} h\n",
                pipeline::vault::APPROVE_WITHIN_H
            ))
        }
        Vault::Approve { request, who } => {
            let approved = signed(&who, "/vault/approve", json!({ "request": request })).await?;
            print(&format!(
                "{} may be shown what {} is of, once, within {} h: `wardgate vault show {request}`\n",
                text(&approved, "by"),
                text(&approved, "token"),
                pipeline::vault::SHOW_WITHIN_H
            ))
        }
        Vault::Refuse { request, who } => {
            signed(&who, "/vault/refuse", json!({ "request": request })).await?;
            print(&format!("request {request} is over\n"))
        }
        Vault::Show { request, who, json } => {
            let revealed = signed(&who, "/vault/show", json!({ "request": request })).await?;
            if json {
                return print(&format!("{revealed}\n"));
            }
            let mut out = String::new();
            for key in ["kind", "authority", "id"] {
                out.push_str(&format!("{key:<10} {}\n", text(&revealed, key)));
            }
            print(&out)
        }
    }
}

async fn signed(who: &Who, path: &str, what: Value) -> anyhow::Result<Value> {
    let password = password(&format!("Password of {}: ", who.name))?;
    post(who, path, &password, what).await
}

async fn post(who: &Who, path: &str, password: &str, mut what: Value) -> anyhow::Result<Value> {
    if let Some(what) = what.as_object_mut() {
        what.insert("as".to_owned(), json!(who.name));
        what.insert("password".to_owned(), json!(password));
    }
    let body = serde_json::to_vec(&what).context("the question cannot be written")?;
    Client::of(&who.config.config)?.ask(Method::POST, path, Bytes::from(body)).await
}

/// A line of the terminal, which does not show it, or of standard input.
#[expect(clippy::print_stderr, reason = "a prompt is for the person at the terminal")]
fn password(prompt: &str) -> anyhow::Result<Zeroizing<String>> {
    let stdin = std::io::stdin();
    let shown = if stdin.is_terminal() { tcgetattr(&stdin).ok() } else { None };
    if let Some(shown) = &shown {
        eprint!("{prompt}");
        std::io::stderr().flush().context("standard error")?;
        let mut hidden = shown.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&stdin, OptionalActions::Flush, &hidden).context("the terminal cannot be silenced")?;
    }
    let mut line = Zeroizing::new(String::new());
    let read = std::io::Read::take(stdin.lock(), LINE_BYTES_MAX).read_line(&mut line);
    if let Some(shown) = &shown {
        tcsetattr(&stdin, OptionalActions::Now, shown).context("the terminal cannot be restored")?;
        eprintln!();
    }
    read.context("the password cannot be read")?;
    let end = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(end);
    if line.is_empty() {
        bail!("a password is needed: at the terminal, or as a line of standard input");
    }
    Ok(line)
}

fn text(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn shown(status: &Value) -> String {
    let number = |key: &str| status.get(key).and_then(Value::as_u64).unwrap_or_default();
    let mut out = format!(
        "{} of {} identifiers, {} of {} bytes\n",
        number("identifiers"),
        number("identifiers_max"),
        number("bytes"),
        number("bytes_max")
    );
    for (destination, count) in status.get("by_destination").and_then(Value::as_object).into_iter().flatten()
    {
        out.push_str(&format!("{destination:<16} {count}\n"));
    }
    for request in status.get("requests").and_then(Value::as_array).into_iter().flatten() {
        let state = request.get("approved").filter(|approved| !approved.is_null());
        out.push_str(&format!(
            "request {} by {}: {} ({}), {}\n",
            request.get("id").and_then(Value::as_u64).unwrap_or_default(),
            text(request, "by"),
            text(request, "token"),
            text(request, "reason"),
            if state.is_some() { "approved" } else { "waits for somebody else" }
        ));
    }
    out
}
