//! `wardgate backup`: through the running gateway where there is one, from the spool itself where there is none.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal as _, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use aws_lc_rs::digest;
use control::Document as Configuration;
use model::{AuditAction, AuditEvent, Clock, codec};
use rustix::fs::{CWD, FlockOperation, OFlags, RenameFlags, flock, renameat_with};
use rustix::io::Errno;
use serde::Serialize;
use spool::backup::{Backup, Document, Plan, Summary};
use spool::{RootKey, Spool};

use super::{checked, print};
use crate::client::Client;
use crate::clock::SystemClock;
use crate::exit::{self, NotReachable};
use crate::wiring::SPOOL_DIR;

pub(crate) const HELP: &str = "\
Back up what cannot be had again: the journal (accounts, destinations, audit log), held records, cursors, the
configuration with the files it names, and every record that some destination does not have yet.

The file is encrypted and authenticated under the root key, which is not in it: keep the root key elsewhere, a backup
is worth nothing without it. The gateway may run; when it does not, the spool is read directly. The file is read back
before it gets its name, and opened with the root key where that can be had here. With --to - it goes to standard
output, and nobody reads it back: `wardgate restore --check` does, where it has arrived.

Exit codes: 0 made and read back, 1 not made, or made with parts that the disk would not give.";

/// Where a backup goes that is not to be a file.
const STANDARD_OUTPUT: &str = "-";
/// Files of the web UI in the data directory.
const WEB_FILES: [&str; 2] = ["web/certificate.pem", "web/key.pem"];

pub(crate) async fn backup(config: &Path, to: &Path, with_backlog: bool, json: bool) -> anyhow::Result<()> {
    let document = checked(config)?.document;
    if to == Path::new(STANDARD_OUTPUT) {
        return to_standard_output(config, &document, with_backlog, json).await;
    }
    if to.exists() {
        bail!("{} is there already, and a backup is never overwritten: give another name", to.display());
    }
    let plan = plan(config, &document, with_backlog)?;
    let partial = Partial::make(to)?;
    let made =
        partial.fill(config, &document, plan).await.and_then(|sums| partial.settle(&document, sums, to));
    if made.is_err() {
        // Half a backup is none.
        drop(fs::remove_file(&partial.path));
    }
    let made = made?;
    if json {
        print(&format!("{}\n", serde_json::to_string(&made)?))?;
    } else {
        print(&made.told(to))?;
    }
    let unreadable_bytes = made.summary.map_or(0, |summary| summary.unreadable_bytes);
    if unreadable_bytes > 0 { Err(exit::Printed.into()) } else { Ok(()) }
}

fn plan(config: &Path, document: &Configuration, with_backlog: bool) -> anyhow::Result<Plan> {
    Ok(Plan {
        gateway: document.gateway.id.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        with_backlog,
        documents: documents(config, document)?,
    })
}

/// To whoever reads it, who is told nothing but bytes; the report is for the person.
#[expect(clippy::print_stderr, reason = "standard output is the backup")]
async fn to_standard_output(
    config: &Path,
    document: &Configuration,
    with_backlog: bool,
    json: bool,
) -> anyhow::Result<()> {
    let out = io::stdout();
    if out.is_terminal() {
        bail!("a backup is no text: send standard output to a file or another program");
    }
    let (bytes, sha256) = make(config, document, plan(config, document, with_backlog)?, out).await?.sums();
    let made =
        Made { bytes, sha256, summary: None, not_opened: Some("it went to standard output".to_owned()) };
    if json {
        eprintln!("{}", serde_json::to_string(&made)?);
    } else {
        eprintln!(
            "the backup is made: {bytes} bytes, SHA-256 {}\n  nobody has read it back: try `wardgate restore --check` \
             where it has arrived",
            made.sha256
        );
    }
    Ok(())
}

/// From the gateway where one runs, and from the spool where none does.
async fn make<W: Write + Send + 'static>(
    config: &Path,
    document: &Configuration,
    plan: Plan,
    out: W,
) -> anyhow::Result<Summed<W>> {
    let mut out = Summed::new(out);
    let asked = Client::of(config)?.download("/backup", codec::encode(&plan)?.into(), &mut out).await;
    let mut out = match asked {
        Err(error) if error.downcast_ref::<NotReachable>().is_some() => {
            let document = document.clone();
            let made = move || without_gateway(&document, &plan, &mut out).map(|()| out);
            tokio::task::spawn_blocking(made).await??
        }
        asked => asked.map(|()| out)?,
    };
    out.flush()?;
    Ok(out)
}

/// A backup that has its name.
#[derive(Debug, Serialize)]
struct Made {
    bytes: u64,
    sha256: String,
    /// What is in it.
    #[serde(flatten)]
    summary: Option<Summary>,
    /// Why it was not opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_opened: Option<String>,
}

impl Made {
    fn told(&self, to: &Path) -> String {
        let to = to.display();
        match (&self.summary, &self.not_opened) {
            (Some(summary), _) => told(summary, &format!("{to} is made and was read back")),
            (None, why) => format!(
                "{to} is made: {} bytes, read back as they were written, SHA-256 {}\n  it was not opened, because the \
                 root key cannot be had here: {}\n  try `wardgate restore --check` where it can\n",
                self.bytes,
                self.sha256,
                why.as_deref().unwrap_or_default()
            ),
        }
    }
}

/// The configuration and the files it names; paths below its folder are noted from there.
fn documents(config: &Path, document: &Configuration) -> anyhow::Result<Vec<Document>> {
    let config = std::path::absolute(config)?;
    let base = config.parent().unwrap_or(Path::new("/"));
    let web =
        WEB_FILES.into_iter().map(|name| document.gateway.data_dir.join(name)).filter(|path| path.exists());
    let mut documents = Vec::new();
    for path in std::iter::once(config.clone()).chain(document.files()).chain(web) {
        let read = || Ok::<_, std::io::Error>((fs::metadata(&path)?.mode() & 0o777, fs::read(&path)?));
        let (mode, content) = read().with_context(|| format!("{} cannot be read", path.display()))?;
        documents.push(Document {
            is_configuration: path == config,
            path: path.strip_prefix(base).unwrap_or(&path).display().to_string(),
            mode,
            content: content.into(),
        });
    }
    Ok(documents)
}

/// How much was written, and its checksum.
type Sums = (u64, String);

/// The file under the name that it has until it is whole. Locked, so that two do not write the same.
#[derive(Debug)]
struct Partial {
    path: PathBuf,
    file: File,
}

impl Partial {
    fn make(to: &Path) -> anyhow::Result<Self> {
        let mut path = to.as_os_str().to_owned();
        path.push(".partial");
        let path = PathBuf::from(path);
        // Never through a link that somebody has put there.
        let nofollow = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default();
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(nofollow)
            .open(&path)
            .with_context(|| format!("{} cannot be made", path.display()))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            // Some file systems of others know no locks.
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOLCK | Errno::NOSYS) => {}
            Err(Errno::WOULDBLOCK) => bail!("{} is being written by another process", path.display()),
            Err(e) => {
                return Err(io::Error::from(e))
                    .with_context(|| format!("{} cannot be locked", path.display()));
            }
        }
        // What an interrupted one left.
        file.set_len(0)?;
        Ok(Self { path, file })
    }

    async fn fill(&self, config: &Path, document: &Configuration, plan: Plan) -> anyhow::Result<Sums> {
        let out = make(config, document, plan, self.file.try_clone()?).await?;
        self.file.sync_all()?;
        Ok(out.sums())
    }

    /// Reads it back, then gives it its name.
    fn settle(&self, document: &Configuration, sums: Sums, to: &Path) -> anyhow::Result<Made> {
        let mut back = Summed::new(io::sink());
        io::copy(&mut File::open(&self.path)?, &mut back)?;
        if back.sums() != sums {
            bail!(
                "what was written to {} does not come back as it was: that medium is broken",
                self.path.display()
            );
        }
        let (bytes, sha256) = sums;
        let mut made = Made { bytes, sha256, summary: None, not_opened: None };
        match RootKey::from_file(&document.spool.key_file, false) {
            Ok(root) => {
                let backup = Backup::open(&self.path, &root, Some(&document.gateway.id))?;
                made.summary = Some(backup.check()?.0);
            }
            // The service manager may give it to the gateway alone.
            Err(error) => made.not_opened = Some(error.to_string()),
        }
        // Never in the place of another, however fast that came.
        match renameat_with(CWD, &self.path, CWD, to, RenameFlags::NOREPLACE) {
            Ok(()) => {}
            // Not every file system can; that there was none was seen at the beginning.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) if !to.exists() => {
                fs::rename(&self.path, to)?
            }
            Err(e) => {
                return Err(io::Error::from(e)).with_context(|| format!("{} cannot be made", to.display()));
            }
        }
        let folder = to.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        match File::open(folder)?.sync_all() {
            // Nor can every one sync a folder.
            Err(e) if e.kind() == io::ErrorKind::InvalidInput => {}
            synced => synced?,
        }
        Ok(made)
    }
}

/// Counts and sums what is written through it.
struct Summed<W> {
    out: W,
    bytes: u64,
    sha256: digest::Context,
}

impl<W> Summed<W> {
    fn new(out: W) -> Self {
        Self { out, bytes: 0, sha256: digest::Context::new(&digest::SHA256) }
    }

    fn sums(self) -> Sums {
        (self.bytes, hex::encode(self.sha256.finish()))
    }
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        let seen = bytes.get(..written).unwrap_or_default();
        self.sha256.update(seen);
        self.bytes += seen.len() as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Nobody has the spool open.
fn without_gateway(document: &Configuration, plan: &Plan, out: &mut dyn Write) -> anyhow::Result<()> {
    let dir = document.gateway.data_dir.join(SPOOL_DIR);
    if !Spool::is_begun(&dir) {
        bail!("there is no spool in {}", dir.display());
    }
    // What root writes there the gateway's user could not open any more.
    let owner = fs::metadata(&dir)?.uid();
    if rustix::process::geteuid().is_root() && owner != 0 {
        bail!(
            "the gateway does not run, and {} belongs to user {owner}: make the backup as that user, with --to - where \
             only you may write the file, or start the gateway",
            dir.display()
        );
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let root = RootKey::from_file(&document.spool.key_file, false)?;
    let spool = Spool::open(&dir, &document.spool, root, &plan.gateway, Arc::clone(&clock))?;
    spool.audit().record(&AuditEvent {
        at: clock.now(),
        actor: "console".to_owned(),
        action: AuditAction::BackupMade,
        subject: plan.gateway.to_string(),
        detail: "while the gateway was stopped".to_owned(),
    })?;
    spool.backup(plan, clock.now(), out)?;
    Ok(())
}

/// What is in a backup, for a person.
pub(super) fn told(summary: &Summary, what: &str) -> String {
    let mut out = format!(
        "{what}\n  of {}, made {} by version {}, id {}\n",
        summary.manifest.gateway, summary.manifest.made_at, summary.manifest.version, summary.id
    );
    for log in &summary.logs {
        let held = if log.segments == 0 {
            "left out".to_owned()
        } else {
            format!("{} bytes in {} files", log.bytes, log.segments)
        };
        out.push_str(&format!("  {:<9} up to {}-{}: {held}\n", log.name, log.epoch, log.last));
    }
    out.push_str(&format!("  state     {} keys\n", summary.state_keys));
    for path in &summary.documents {
        out.push_str(&format!("  document  {path}\n"));
    }
    if summary.unreadable_bytes > 0 {
        out.push_str(&format!(
            "  the disk would not give {} bytes of the logs; what was there counts as damaged after a restore\n",
            summary.unreadable_bytes
        ));
    }
    out
}
