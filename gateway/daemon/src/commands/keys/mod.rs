//! `wardgate keys`: how the keys stand, and what a person does with them.
//!
//! Beside a running gateway, the gateway does it, and audits it; otherwise the files are worked on here, under the
//! spool's lock. Erasing needs the gateway, which alone knows what is delivered.

mod kms;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use self::kms::Kms;
use super::{checked, print};
use crate::cli::{Config, EscrowTo, Keys, Protect, Provider};
use crate::client::Client;
use crate::clock::SystemClock;
use crate::exit;
use crate::exit::NotReachable;
use crate::wiring::SPOOL_DIR;
use ::spool::{EpochStatus, KeyStatus, Protection, RootKey, Spool};
use anyhow::{Context as _, anyhow, bail};
use bytes::Bytes;
use control::Checked;
use hyper::Method;
use model::{Clock as _, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What stands beside the key file about the last recovery copy. No secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct EscrowNote {
    /// Id of the root key that was copied.
    key: String,
    at: Timestamp,
    /// What it is wrapped by, for a person.
    wrapped_by: String,
}

/// A recovery copy that a cloud's key wraps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct CloudCopy {
    wardgate_recovery: u32,
    /// Id of the root key.
    key: String,
    made_at: Timestamp,
    kms: Kms,
    /// The service's ciphertext, base64.
    sealed: String,
}

const CLOUD_COPY_VERSION: u32 = 1;

/// A key file and the spool it belongs to.
struct Place {
    client: Client,
    key_file: PathBuf,
    spool: PathBuf,
    checked: Checked,
}

impl Place {
    fn of(config: &Config) -> anyhow::Result<Self> {
        let checked = checked(&config.config)?;
        Ok(Self {
            client: Client::of(&config.config)?,
            key_file: checked.document.spool.key_file.clone(),
            spool: checked.document.gateway.data_dir.join(SPOOL_DIR),
            checked,
        })
    }

    fn note(&self) -> PathBuf {
        let mut name = self.key_file.as_os_str().to_owned();
        name.push(".escrow");
        PathBuf::from(name)
    }

    fn last_escrow(&self) -> Option<EscrowNote> {
        serde_json::from_slice(&std::fs::read(self.note()).ok()?).ok()
    }

    /// The gateway's answer; `None` where none runs.
    async fn ask(&self, method: Method, path: &str, body: Bytes) -> anyhow::Result<Option<Value>> {
        match self.client.ask(method, path, body).await {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.downcast_ref::<NotReachable>().is_some() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The spool, opened here. Another process that has it and does not answer is *not reachable*.
    fn open(&self) -> anyhow::Result<Spool> {
        let document = &self.checked.document;
        let root = RootKey::from_file(&self.key_file, false)?;
        let opened = Spool::open(
            &self.spool,
            &document.spool,
            root,
            &document.gateway.id,
            std::sync::Arc::new(SystemClock),
        );
        match opened {
            Err(e @ ::spool::Error::Locked { .. }) => {
                Err(NotReachable(format!("{e}, which does not answer")).into())
            }
            opened => Ok(opened?),
        }
    }
}

pub(crate) async fn keys(command: Keys) -> anyhow::Result<()> {
    match command {
        Keys::Status { config, json } => status(&Place::of(&config)?, json).await,
        Keys::Init { config, protect } => init(&Place::of(&config)?, &protect),
        Keys::Rotate { config, protect, json } => rotate(&Place::of(&config)?, &protect, json).await,
        Keys::Erase { epoch, day, config, json } => {
            erase(&Place::of(&config)?, epoch, day.as_deref(), json).await
        }
        Keys::Escrow { out, to, config, json } => escrow(&Place::of(&config)?, &out, &to, json).await,
        Keys::Recover { from, config, protect, json } => {
            recover(&Place::of(&config)?, &from, &protect, json).await
        }
    }
}

/// How a root key is to be kept, from the command line; `None` where that says nothing.
fn protection(protect: &Protect) -> anyhow::Result<Option<Protection>> {
    let Some(provider) = protect.provider else { return Ok(None) };
    let missing = |option: &str| anyhow!("this provider needs {option}");
    Ok(Some(match provider {
        Provider::KeyFile => Protection::KeyFile,
        Provider::Passphrase => Protection::Passphrase {
            passphrase: protect.passphrase.clone().ok_or_else(|| missing("--passphrase"))?,
        },
        Provider::Credential => Protection::Credential {
            credential: protect.credential.clone().ok_or_else(|| missing("--credential"))?,
        },
        Provider::Tpm2 => Protection::Tpm2 { device: protect.device.clone() },
        Provider::Pkcs11 => Protection::Pkcs11 {
            module: protect.module.clone().ok_or_else(|| missing("--module"))?,
            token: protect.token.clone().ok_or_else(|| missing("--token"))?,
            key_label: protect.key_label.clone(),
            pin: protect.pin.clone().ok_or_else(|| missing("--pin"))?,
        },
    }))
}

async fn status(place: &Place, as_json: bool) -> anyhow::Result<()> {
    let running = place.ask(Method::GET, "/keys", Bytes::new()).await?;
    let is_running = running.is_some();
    let status: KeyStatus = match running {
        Some(answer) => serde_json::from_value(answer).context("the gateway answered something else")?,
        None => ::spool::key_status(&place.spool, &RootKey::from_file(&place.key_file, false)?)?,
    };
    let escrow = place.last_escrow();
    let mut findings = status.findings.clone();
    if let Some(note) = escrow.as_ref().filter(|note| note.key != status.root_key) {
        findings.push(format!(
            "the recovery copy of {} is of a former root key: make a new one with `wardgate keys escrow`",
            note.at
        ));
    }
    if as_json {
        let mut answer = serde_json::to_value(&status)?;
        if let Some(fields) = answer.as_object_mut() {
            fields.insert("running".to_owned(), json!(is_running));
            fields.insert("recovery_copy".to_owned(), json!(escrow));
            fields.insert("findings".to_owned(), json!(findings));
        }
        print(&format!("{answer}\n"))?;
    } else {
        print(&told(&status, escrow.as_ref(), &findings))?;
    }
    if findings.is_empty() { Ok(()) } else { Err(exit::Printed.into()) }
}

fn told(status: &KeyStatus, escrow: Option<&EscrowNote>, findings: &[String]) -> String {
    let kept_by = status.kept_by.as_ref().map_or("hand", Protection::name);
    let KeyStatus { root_key, worth, ring, generation, .. } = status;
    let mut out = format!(
        "root key   {root_key}\nkept by    {kept_by}: {worth}\nring       {ring}, written {generation} times\n"
    );
    let recovery = match escrow {
        Some(note) => format!("made {}, wrapped by {}", note.at, note.wrapped_by),
        None => "none was made from here; see `wardgate keys escrow`".to_owned(),
    };
    // Writing to a string does not fail.
    let mut line = |text: String| writeln!(out, "{text}").unwrap_or_default();
    line(format!("recovery   {recovery}"));
    line(format!("erased     {} epochs, by retention or by hand", status.erased));
    line(format!("{:>6} {:<27} {:>9} {:>14}  {}", "epoch", "begun", "segments", "bytes", "needed for"));
    for epoch in &status.epochs {
        line(row(epoch));
    }
    findings.iter().for_each(|finding| line(format!("finding: {finding}")));
    out
}

fn row(epoch: &EpochStatus) -> String {
    let needed = match &epoch.needed_for {
        None => "not known: no gateway runs".to_owned(),
        Some(needed) if needed.is_empty() => "nothing: may be erased".to_owned(),
        Some(needed) => needed.join("; "),
    };
    let EpochStatus { epoch: number, begun_at, segments, bytes, is_current, .. } = epoch;
    let current = if *is_current { " (current)" } else { "" };
    format!("{number:>6} {:<27} {segments:>9} {bytes:>14}  {needed}{current}", begun_at.to_string())
}

fn init(place: &Place, protect: &Protect) -> anyhow::Result<()> {
    if Spool::is_begun(&place.spool) {
        bail!("{} is begun already under a key: `wardgate keys rotate` exchanges it", place.spool.display());
    }
    let protection = protection(protect)?.unwrap_or_default();
    let root = RootKey::generate()?;
    root.write_new(&place.key_file, &protection)?;
    print(&format!(
        "root key {} stands in {}\n{}\n",
        root.id(),
        place.key_file.display(),
        protection.worth_at(&place.key_file)
    ))
}

async fn rotate(place: &Place, protect: &Protect, as_json: bool) -> anyhow::Result<()> {
    let protection = protection(protect)?;
    let body = Bytes::from(serde_json::to_vec(&protection)?);
    let answer = match place.ask(Method::POST, "/keys/rotate", body).await? {
        Some(answer) => answer,
        None => {
            let spool = place.open()?;
            let key = spool.rotate_root_key(protection, "console")?;
            spool.stop().await?;
            json!({ "root_key": key })
        }
    };
    if as_json {
        return print(&format!("{answer}\n"));
    }
    let key = answer.get("root_key").and_then(Value::as_str).unwrap_or("?");
    let worth = Protection::of_file(&place.key_file)?.worth_at(&place.key_file);
    print(&format!("the root key is {key} now\n{worth}\n"))?;
    if place.last_escrow().is_some() {
        print("the recovery copy is of the former key: make a new one with `wardgate keys escrow`\n")?;
    }
    Ok(())
}

async fn erase(place: &Place, epoch: Option<u64>, day: Option<&str>, as_json: bool) -> anyhow::Result<()> {
    let status = place.client.ask(Method::GET, "/keys", Bytes::new()).await?;
    let status: KeyStatus = serde_json::from_value(status).context("the gateway answered something else")?;
    let epochs: Vec<u64> = match (epoch, day) {
        (Some(epoch), _) => vec![epoch],
        (None, Some(day)) => {
            let of_day = |e: &&EpochStatus| e.begun_at.to_string().starts_with(&format!("{day}T"));
            status.epochs.iter().filter(of_day).map(|e| e.epoch).collect()
        }
        (None, None) => Vec::new(),
    };
    if epochs.is_empty() {
        bail!("no key epoch began on {}; see `wardgate keys status`", day.unwrap_or("that day"));
    }
    for epoch in epochs {
        let answer = place.client.ask(Method::POST, &format!("/keys/erase/{epoch}"), Bytes::new()).await?;
        if as_json {
            print(&format!("{answer}\n"))?;
        } else {
            let figure = |name: &str| answer.get(name).and_then(Value::as_u64).unwrap_or(0);
            print(&format!(
                "key epoch {epoch} is erased: {} segments, {} bytes that nobody can read any more\n",
                figure("segments"),
                figure("bytes")
            ))?;
        }
    }
    Ok(())
}

async fn escrow(place: &Place, out: &Path, to: &EscrowTo, as_json: bool) -> anyhow::Result<()> {
    if out.exists() {
        bail!("{} exists already", out.display());
    }
    let root = RootKey::from_file(&place.key_file, false)?;
    // The key that is copied must be the one that opens the spool.
    if Spool::is_begun(&place.spool) {
        ::spool::key_status(&place.spool, &root)?;
    }
    let now = SystemClock.now();
    let wrapped_by = match (&to.kms_key, &to.passphrase) {
        (Some(key), _) => format!("the AWS KMS key {key}"),
        (None, Some(_)) => "a passphrase".to_owned(),
        (None, None) => bail!("--kms-key or --passphrase says what wraps the copy"),
    };
    // Audited before it happens, where a gateway runs.
    let about = json!({ "key": root.id(), "detail": format!("recovery copy wrapped by {wrapped_by}") });
    let is_audited = place.ask(Method::POST, "/keys/escrow", Bytes::from(about.to_string())).await?.is_some();
    if let Some(key) = &to.kms_key {
        let region = to.kms_region.clone().context("--kms-key needs --kms-region")?;
        let kms = Kms { key: key.clone(), region, endpoint: to.kms_endpoint.clone(), ca: to.kms_ca.clone() };
        let sealed = kms.encrypt(root.expose_for_escrow(), &root.id(), now).await?;
        let copy = CloudCopy {
            wardgate_recovery: CLOUD_COPY_VERSION,
            key: root.id(),
            made_at: now,
            kms,
            sealed: kms::base64(&sealed),
        };
        ::spool::write_private(out, format!("{}\n", serde_json::to_string_pretty(&copy)?).as_bytes())?;
    } else if let Some(passphrase) = &to.passphrase {
        root.write_new(out, &Protection::Passphrase { passphrase: passphrase.clone() })?;
    }
    let note = EscrowNote { key: root.id(), at: now, wrapped_by: wrapped_by.clone() };
    std::fs::write(place.note(), serde_json::to_vec(&note)?)
        .with_context(|| format!("{} cannot be written", place.note().display()))?;
    if as_json {
        return print(&format!("{}\n", json!({ "root_key": root.id(), "out": out, "audited": is_audited })));
    }
    let audited = if is_audited { "" } else { "; no gateway runs, so that this is not in its audit log" };
    print(&format!(
        "{} holds a copy of root key {}, wrapped by {wrapped_by}{audited}\nKeep it elsewhere than on this box.\n",
        out.display(),
        root.id()
    ))
}

/// The root key of a recovery copy, or of a key file.
pub(super) async fn of_copy(from: &Path) -> anyhow::Result<RootKey> {
    let text = std::fs::read(from).with_context(|| format!("{} cannot be read", from.display()))?;
    Ok(match serde_json::from_slice::<CloudCopy>(&text) {
        Ok(copy) if copy.wardgate_recovery == CLOUD_COPY_VERSION => {
            let sealed = kms::unbase64(&copy.sealed).context("the recovery copy is damaged")?;
            let mut secret = copy.kms.decrypt(&sealed, &copy.key, SystemClock.now()).await?;
            RootKey::new(&mut secret)?
        }
        Ok(copy) => bail!("{} is a recovery copy of version {}", from.display(), copy.wardgate_recovery),
        Err(_) => RootKey::from_file(from, false)?,
    })
}

async fn recover(place: &Place, from: &Path, protect: &Protect, as_json: bool) -> anyhow::Result<()> {
    let protection = protection(protect)?.unwrap_or_default();
    if place.key_file.exists() {
        bail!(
            "{} is there: move it away first if it is not the right one any more",
            place.key_file.display()
        );
    }
    let root = of_copy(from).await?;
    // Before anything is written: it must be the right one.
    ::spool::key_status(&place.spool, &root)?;
    root.write_new(&place.key_file, &protection)?;
    if as_json {
        return print(&format!("{}\n", json!({ "root_key": root.id(), "key_file": place.key_file })));
    }
    print(&format!(
        "root key {} is recovered to {}\n{}\nExchange it once the gateway runs: `wardgate keys rotate`.\n",
        root.id(),
        place.key_file.display(),
        protection.worth_at(&place.key_file)
    ))
}
