//! `wardgate restore`: a box from a backup.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use control::Essentials;
use model::Clock;
use serde::Serialize;
use spool::RootKey;
use spool::backup::{Backup, Document, Restored, may_restore};

use super::{backup, keys, print};
use crate::clock::SystemClock;
use crate::wiring::SPOOL_DIR;

pub(crate) const HELP: &str = "\
Put a box back together from a backup made by `wardgate backup`. The gateway must be stopped.

The backup is read to its end first: a wrong root key, damage and a missing end are found before anything changes.
The new spool takes the place of the old one in one step at the very end. A spool that is there is refused, or put
aside with --replace; it is never removed. Files of the backup that are missing here (configuration, policies,
certificates) are written; those that are there are left as they are.

The root key is looked for where the configuration says; --key-file names another place, also that of a recovery copy.
Without a configuration on this box give --key-file, and in --config the place where it is to go.

When the gateway starts, each destination is asked how far it is: nothing is sent twice. What came in after the
backup and was not delivered is lost.

Exit codes: 0 restored (or, with --check, whole), 1 not: nothing was changed.";

/// What was asked for.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) config: PathBuf,
    pub(crate) from: PathBuf,
    pub(crate) key_file: Option<PathBuf>,
    pub(crate) check: bool,
    pub(crate) replace: bool,
    pub(crate) json: bool,
}

/// What became of the files of a backup.
#[derive(Debug, Default, Serialize)]
struct Files {
    written: Vec<PathBuf>,
    /// They are there and say something else.
    left: Vec<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Report {
    #[serde(flatten)]
    restored: Restored,
    files: Files,
    /// Where the root key is to be before the gateway starts, and is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    key_belongs_in: Option<PathBuf>,
}

pub(crate) async fn restore(plan: &Plan) -> anyhow::Result<()> {
    let config = std::path::absolute(&plan.config)?;
    let base = config.parent().unwrap_or(Path::new("/")).to_owned();
    let here = match fs::read_to_string(&config) {
        Ok(text) => Some(text),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
        Err(e) => return Err(e).with_context(|| format!("{} cannot be read", config.display())),
    };
    let essentials =
        |text: &str| Essentials::of(text, &base).map_err(|why| anyhow!("{}: {why}", config.display()));
    let known = here.as_deref().map(essentials).transpose()?;
    let root = match (&plan.key_file, &known) {
        (Some(path), _) => keys::of_copy(path).await?,
        (None, Some(known)) => RootKey::from_file(&known.spool.key_file, false)?,
        (None, None) => bail!(
            "{} is not there, so nobody knows where the root key is: give it with --key-file",
            config.display()
        ),
    };
    let opened = Backup::open(&plan.from, &root, known.as_ref().map(|known| &known.gateway.id))?;
    let (summary, documents) = opened.check()?;
    if plan.check {
        if plan.json {
            return print(&format!("{}\n", serde_json::to_string(&summary)?));
        }
        return print(&backup::told(&summary, &format!("{} is whole", plan.from.display())));
    }
    let essentials = match known {
        Some(known) => known,
        None => {
            let configuration = documents.iter().find(|d| d.is_configuration);
            let configuration =
                configuration.ok_or_else(|| anyhow!("there is no configuration in the backup"))?;
            essentials(std::str::from_utf8(&configuration.content)?)?
        }
    };
    let dir = essentials.gateway.data_dir.join(SPOOL_DIR);
    may_restore(&dir, plan.replace)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let restored = opened.restore(&dir, &essentials.spool, clock, plan.replace)?;
    let mut files = Files::default();
    let (configuration, others): (Vec<_>, Vec<_>) = documents.iter().partition(|d| d.is_configuration);
    let others = others.into_iter().map(|document| (base.join(&document.path), document));
    // The configuration last: without it no gateway starts.
    for (path, document) in others.chain(configuration.into_iter().map(|document| (config.clone(), document)))
    {
        place(&path, document, &mut files)
            .with_context(|| format!("{} is restored, and not every file beside it", dir.display()))?;
    }
    let key_file = &essentials.spool.key_file;
    let is_key_there = RootKey::from_file(key_file, false).is_ok_and(|there| opened.opens_with(&there));
    let key_belongs_in = (!is_key_there).then(|| key_file.clone());
    let report = Report { restored, files, key_belongs_in };
    if plan.json {
        return print(&format!("{}\n", serde_json::to_string(&report)?));
    }
    print(&told(&report, &dir))
}

/// Writes a file that is missing. One that is there is somebody's.
fn place(path: &Path, document: &Document, files: &mut Files) -> anyhow::Result<()> {
    match fs::read(path) {
        Ok(there) => {
            if there != document.content.as_slice() {
                files.left.push(path.to_owned());
            }
            return Ok(());
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => return Err(e).with_context(|| format!("{} cannot be read", path.display())),
    }
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut name = path.as_os_str().to_owned();
    name.push(".restoring");
    let temporary = PathBuf::from(name);
    let write = || {
        fs::create_dir_all(folder)?;
        let mut options = OpenOptions::new();
        let mut file =
            options.write(true).create(true).truncate(true).mode(document.mode).open(&temporary)?;
        file.write_all(&document.content)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(folder)?.sync_all()
    };
    write().with_context(|| format!("{} cannot be written", path.display()))?;
    files.written.push(path.to_owned());
    Ok(())
}

fn told(report: &Report, dir: &Path) -> String {
    let Report { restored, files, key_belongs_in } = report;
    let mut out = backup::told(&restored.summary, &format!("{} is restored", dir.display()));
    for path in &files.written {
        out.push_str(&format!("  written   {}\n", path.display()));
    }
    for path in &files.left {
        out.push_str(&format!("  left      {}: it is there and differs from the backup\n", path.display()));
    }
    if let Some(aside) = &restored.put_aside {
        out.push_str(&format!("  the spool that was there is in {}\n", aside.display()));
    }
    if let Some(path) = key_belongs_in {
        out.push_str(&format!(
            "  the root key of this backup is not in {}: put it there, or the gateway will not start\n  from a recovery \
             copy: `wardgate keys recover --from COPY`\n",
            path.display()
        ));
    }
    out.push_str("start the gateway: it asks each destination how far it is and goes on from there\n");
    out
}
