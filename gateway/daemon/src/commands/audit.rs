//! `wardgate audit`: the audit log on the disk, read only; works beside a running gateway, and without one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::audit::export::{Exported, audit_event, audit_message, json_line};
use ::audit::receipts::{self, Receipt};
use ::audit::{Checkpoint, Hash, Head, Note, Tree};
use anyhow::Context as _;
use model::{AuditAction, Slug};
use serde::Serialize;
use spool::{
    AuditCheck, AuditReader, AuditRecord, AuditStep, Keys, Log, RootKey, audit_signer, check_audit,
    keys_for_reading, open_for_reading,
};

use super::{broken_pipe_is_fine, checked, print};
use crate::cli::{Audit, ExportFormat};
use crate::clock::SystemClock;
use crate::exit;
use crate::wiring::SPOOL_DIR;

/// How often the log is read while its oldest part goes.
const READS_MAX: u32 = 4;
/// The log with the audit entries.
const JOURNAL: &str = "journal";

pub(crate) async fn audit(command: Audit) -> anyhow::Result<()> {
    match command {
        Audit::Verify { config, checkpoints, json } => {
            let disk = Disk::of(&config.config)?;
            let verdict = verify(&disk, &read_receipts(&checkpoints)?).await?;
            if json {
                print(&format!("{}\n", serde_json::to_string(&verdict)?))?;
            } else {
                print(&verdict.to_text())?;
            }
            if verdict.findings.is_empty() { Ok(()) } else { Err(exit::Printed.into()) }
        }
        Audit::Export { config, format, from } => export(&Disk::of(&config.config)?, format, from).await,
        Audit::Key { config } => {
            let disk = Disk::of(&config.config)?;
            let journal = disk.log(JOURNAL)?;
            print(&format!(
                "{}\n",
                audit_signer(&disk.keys()?, &disk.gateway, &journal.incarnation())?.verifier()
            ))
        }
    }
}

/// A gateway's logs, and what opens them.
struct Disk {
    dir: PathBuf,
    root: RootKey,
    gateway: Slug,
}

impl Disk {
    fn of(config: &Path) -> anyhow::Result<Self> {
        let document = checked(config)?.document;
        Ok(Self {
            dir: document.gateway.data_dir.join(SPOOL_DIR),
            root: RootKey::from_file(&document.spool.key_file, false)?,
            gateway: document.gateway.id,
        })
    }

    fn keys(&self) -> Result<Keys, spool::Error> {
        keys_for_reading(&self.dir, &self.root)
    }

    fn log(&self, name: &str) -> Result<Log, spool::Error> {
        open_for_reading(&self.dir, name, &self.root, &self.gateway, Arc::new(SystemClock))
    }
}

fn read_receipts(files: &[PathBuf]) -> anyhow::Result<Vec<Receipt>> {
    let mut all = Vec::new();
    for file in files {
        let size = fs::metadata(file).with_context(|| format!("{}", file.display()))?.len();
        anyhow::ensure!(size <= receipts::FILE_BYTES_MAX, "{} is too large", file.display());
        let text = fs::read_to_string(file).with_context(|| format!("{}", file.display()))?;
        all.extend(receipts::parse(&text).with_context(|| format!("{}", file.display()))?);
    }
    Ok(all)
}

/// What `verify` says.
#[derive(Debug, Serialize)]
struct Verdict {
    gateway: Slug,
    /// Whose checkpoints will be, from here on.
    origin: String,
    /// The first entry that is still kept: how many were freed.
    first: u64,
    /// When the last of them were, and who vouched for them; none where nothing was freed.
    freed: Option<Freed>,
    /// How many there are in all, from the first ever.
    size: u64,
    /// How many were read.
    entries: u64,
    root: String,
    /// Checkpoints that were held against the log.
    checkpoints: u64,
    /// The newest entry count that a checkpoint vouches for.
    vouched: Option<u64>,
    /// Entries that tell of a log that was set back: what came after, until it was noticed, is lost for good.
    set_backs: u64,
    faults: u64,
    findings: Vec<Finding>,
}

/// What the log says of the entries that are gone.
#[derive(Debug, Clone, Serialize)]
struct Freed {
    at: model::Timestamp,
    detail: String,
}

impl Freed {
    fn to_text(&self, first: u64) -> String {
        format!("entries before {first} were freed, the last of them at {}: {}\n", self.at, self.detail)
    }
}

#[derive(Debug, Serialize)]
struct Finding {
    /// The first entry that it is about, from 0; none where it is about another log.
    entry: Option<u64>,
    /// The log, where it is about a head.
    log: Option<String>,
    what: String,
}

impl Verdict {
    fn to_text(&self) -> String {
        let mut text = format!(
            "{}: entries {} to {} read, {} in all, root {}\n",
            self.gateway, self.first, self.size, self.size, self.root
        );
        if let Some(freed) = &self.freed {
            text += &freed.to_text(self.first);
        }
        match self.vouched {
            Some(size) => text += &format!("{} checkpoints agree up to entry {size}\n", self.checkpoints),
            None if self.checkpoints == 0 => {
                text += "no checkpoint of a landing was given: a log written anew from its beginning would look the same\n";
            }
            None => {
                text +=
                    &format!("none of {} checkpoints could be held against what is kept\n", self.checkpoints)
            }
        }
        if self.set_backs > 0 {
            text += &format!("{} entries tell of a log that was set back\n", self.set_backs);
        }
        for finding in &self.findings {
            text += &format!("  {}\n", finding.what);
        }
        text + &format!("{} findings\n", self.faults)
    }
}

/// A checkpoint whose signature is right.
struct Vouched {
    received_at: model::Timestamp,
    checkpoint: Checkpoint,
}

/// Beside a running gateway the oldest part may go while it is read: then once more.
async fn verify(disk: &Disk, receipts: &[Receipt]) -> anyhow::Result<Verdict> {
    for _ in 1..READS_MAX {
        let journal = disk.log(JOURNAL)?;
        let verdict = verify_once(disk, &journal, receipts).await;
        if disk.log(JOURNAL)?.oldest() == journal.oldest() {
            return verdict;
        }
    }
    verify_once(disk, &disk.log(JOURNAL)?, receipts).await
}

async fn verify_once(disk: &Disk, journal: &Log, receipts: &[Receipt]) -> anyhow::Result<Verdict> {
    let mut findings = Vec::new();
    let vouched = believed(disk, receipts, &mut findings)?;
    let sizes: BTreeSet<u64> = vouched.iter().map(|v| v.checkpoint.size).collect();
    let check = check_audit(journal, &sizes).await?;
    findings.extend(check.findings.iter().map(|f| Finding {
        entry: Some(f.entry),
        log: None,
        what: f.what.clone(),
    }));
    let told = Told::by(journal).await?;
    let agreed = hold_against(&check, &vouched, &told.details, &mut findings);
    if let Some(newest) = vouched.iter().max_by_key(|v| v.received_at) {
        for head in &newest.checkpoint.heads {
            findings.extend(hold_head(disk, head)?);
        }
    }
    let unlisted = check.faults.saturating_sub(check.findings.len() as u64);
    Ok(Verdict {
        gateway: disk.gateway.clone(),
        origin: ::audit::checkpoint::origin(&disk.gateway, &journal.incarnation()),
        first: check.first,
        freed: told.freed,
        size: check.size,
        entries: check.entries,
        root: check.root.to_string(),
        checkpoints: vouched.len() as u64,
        vouched: agreed,
        set_backs: told.set_backs,
        faults: findings.len() as u64 + unlisted,
        findings,
    })
}

/// Checks who signed. Receipts of other gateways are a finding too: somebody meant them for this one.
fn believed(disk: &Disk, receipts: &[Receipt], findings: &mut Vec<Finding>) -> anyhow::Result<Vec<Vouched>> {
    let mut vouched = Vec::new();
    for (i, receipt) in receipts.iter().enumerate() {
        let mut bad = |what: String| {
            findings.push(Finding { entry: None, log: None, what: format!("checkpoint {}: {what}", i + 1) });
        };
        let read =
            Note::parse(&receipt.checkpoint).and_then(|note| Ok((Checkpoint::parse(note.text())?, note)));
        let (checkpoint, note) = match read {
            Ok(read) => read,
            Err(error) => {
                bad(error.to_string());
                continue;
            }
        };
        match ::audit::checkpoint::of_origin(&checkpoint.origin) {
            Some((gateway, incarnation)) if gateway == disk.gateway => {
                let signer = audit_signer(&disk.keys()?, &gateway, incarnation)?;
                match note.verify(signer.verifier()) {
                    Ok(_) => vouched.push(Vouched { received_at: receipt.received_at, checkpoint }),
                    Err(error) => bad(error.to_string()),
                }
            }
            _ => bad(format!("it is of {}, not of gateway {}", checkpoint.origin, disk.gateway)),
        }
    }
    Ok(vouched)
}

/// What the log itself tells of its past.
#[derive(Default)]
struct Told {
    /// The last that was freed.
    freed: Option<Freed>,
    /// Entries that tell of a log that was set back.
    set_backs: u64,
    /// What they say, and those that tell of such entries that were freed, in a row: which pasts it is no continuation of.
    details: String,
}

impl Told {
    async fn by(journal: &Log) -> anyhow::Result<Self> {
        let mut reader = AuditReader::new(journal, 0);
        let mut told = Self::default();
        while let Some(step) = reader.next().await? {
            let AuditStep::Entry(record) = step else { continue };
            let Some(event) = record.entry.map(|entry| entry.event) else { continue };
            match event.action {
                AuditAction::LogSetBack => told.set_backs += 1,
                AuditAction::JournalFreed => {}
                _ => continue,
            }
            told.details += &event.detail;
            told.details.push('\n');
            // An entry says what will go; what is there still, a crash has kept.
            if event.action == AuditAction::JournalFreed && event.subject == JOURNAL && journal.oldest() > 1 {
                told.freed = Some(Freed { at: event.at, detail: event.detail });
            }
        }
        Ok(told)
    }
}

/// Compares roots. Of each origin, the first size that does not agree is a finding. Says the largest that does.
fn hold_against(
    check: &AuditCheck,
    vouched: &[Vouched],
    known_set_backs: &str,
    findings: &mut Vec<Finding>,
) -> Option<u64> {
    let mut by_origin: BTreeMap<&str, BTreeMap<u64, Hash>> = BTreeMap::new();
    for Vouched { checkpoint, .. } in vouched {
        by_origin.entry(&checkpoint.origin).or_default().insert(checkpoint.size, checkpoint.root);
    }
    let mut largest = None;
    for (origin, checkpoints) in by_origin {
        let mut agreed = check.first;
        // The log's own word for it: the incarnation of the journal that was set back.
        let incarnation = origin.rsplit('/').next().unwrap_or(origin);
        for (size, root) in checkpoints {
            match check.roots.get(&size) {
                Some(ours) if *ours == root => {
                    agreed = size;
                    largest = largest.max(Some(size));
                    continue;
                }
                // What was freed cannot be looked at; a later checkpoint covers it.
                None if size < check.first => continue,
                // An earlier past, which the log itself tells of.
                _ if known_set_backs.contains(incarnation) => break,
                Some(_) => {
                    let what = format!(
                        "entries {agreed} to {} are not those that {origin} vouched for: some of them were changed, taken out or put in",
                        size.saturating_sub(1)
                    );
                    findings.push(Finding { entry: Some(agreed), log: None, what });
                }
                None => {
                    let what = format!(
                        "{origin} vouched for {size} entries, and there are {}: entries from {} on are missing",
                        check.size, check.size
                    );
                    findings.push(Finding { entry: Some(check.size), log: None, what });
                }
            }
            break;
        }
    }
    largest
}

/// Whether a log still is what a checkpoint says it was.
fn hold_head(disk: &Disk, head: &Head) -> anyhow::Result<Option<Finding>> {
    let finding = |what: String| Some(Finding { entry: None, log: Some(head.log.clone()), what });
    let log = match disk.log(&head.log) {
        Ok(log) => log,
        Err(error) => return Ok(finding(format!("log {}: {error}", head.log))),
    };
    if log.incarnation() != head.incarnation {
        return Ok(None);
    }
    let last = *log.durable().borrow();
    if last < head.seq {
        let what = format!(
            "log {}: records {} to {} were vouched for and are missing",
            head.log,
            last + 1,
            head.seq
        );
        return Ok(finding(what));
    }
    Ok(match (log.tag(head.seq)?, head.tag) {
        (Some(ours), Some(theirs)) if ours != theirs => finding(format!(
            "log {}: record {} or one before it is not the one that was vouched for",
            head.log, head.seq
        )),
        _ => None,
    })
}

#[expect(clippy::print_stderr, reason = "standard output is the export")]
async fn export(disk: &Disk, format: ExportFormat, from: u64) -> anyhow::Result<()> {
    let journal = disk.log(JOURNAL)?;
    if let Some(freed) = Told::by(&journal).await?.freed {
        let first = check_audit(&journal, &BTreeSet::new()).await?.first;
        if from < first {
            eprint!("{}", freed.to_text(first));
        }
    }
    let mut tree = if format == ExportFormat::Json { provable(&journal).await? } else { None };
    let mut reader = AuditReader::new(&journal, 0);
    let mut left_out = 0_u64;
    while let Some(step) = reader.next().await? {
        let AuditStep::Entry(record) = step else {
            left_out += 1;
            continue;
        };
        let AuditRecord { before, hash, entry, .. } = *record;
        let index = before.size();
        if index < from {
            continue;
        }
        let Some(entry) = entry else {
            left_out += 1;
            continue;
        };
        let exported = Exported { gateway: &disk.gateway, index, leaf: hash, entry: &entry };
        let line = match format {
            ExportFormat::Json => {
                let proof = tree.as_mut().and_then(|tree| {
                    let size = tree.size();
                    tree.inclusion(index, size)
                });
                json_line(&exported, proof.as_deref())
            }
            ExportFormat::Fhir => audit_event(&exported).to_string(),
            ExportFormat::Atna => audit_message(&exported),
        };
        let mut out = std::io::stdout().lock();
        if broken_pipe_is_fine(writeln!(out, "{line}"))?.is_none() {
            return Ok(());
        }
    }
    if let Some(mut tree) = tree {
        let size = tree.size();
        let signer = audit_signer(&disk.keys()?, &disk.gateway, &journal.incarnation())?;
        let checkpoint = Checkpoint {
            origin: signer.verifier().name().to_owned(),
            size,
            root: tree.root_at(size).unwrap_or(Hash::ZERO),
            heads: Vec::new(),
        };
        let mut note = Note::new(checkpoint.to_text());
        note.sign(&signer);
        let line = serde_json::json!({
            "checkpoint": note.to_string(), "key": signer.verifier().to_string(),
        });
        print(&format!("{line}\n"))?;
    }
    anyhow::ensure!(
        left_out == 0,
        "{left_out} places of the journal cannot be read: see `wardgate audit verify`"
    );
    Ok(())
}

/// The tree, where nothing is wrong with it.
async fn provable(journal: &Log) -> anyhow::Result<Option<Tree>> {
    let mut reader = AuditReader::new(journal, 0);
    let mut tree: Option<Tree> = None;
    while let Some(step) = reader.next().await? {
        let AuditStep::Entry(record) = step else { return Ok(None) };
        let tree = tree.get_or_insert_with(|| Tree::new(record.before.clone()));
        if tree.size() != record.before.size() {
            return Ok(None);
        }
        tree.push(record.hash);
    }
    Ok(Some(tree.unwrap_or_default()))
}
