//! One table: opened or made, read forward, appended to.

use std::collections::HashMap;
use std::path::Path as FsPath;
use std::sync::Arc;

use deltalake_core::kernel::transaction::TransactionError;
use deltalake_core::logstore::object_store::path::Path;
use deltalake_core::logstore::object_store::{
    Error as StoreError, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions,
};
use deltalake_core::logstore::{LogStoreRef, StorageConfig, default_logstore};
use deltalake_core::operations::create::CreateBuilder;
use deltalake_core::parquet::errors::ParquetError;
use deltalake_core::protocol::SaveMode;
use deltalake_core::{DeltaTable, DeltaTableError, ensure_table_uri};
use model::{Clock, Timestamp};
use serde_json::Value;
use tokio_util::task::TaskTracker;

use super::durable::{Durable, make_folder};
use super::log::{Add, Commit, Draft};
use super::parquet::{self, Part};
use super::replay::{entry_path, read_entry, replay};
use super::schema::Schema;

/// A checkpoint is written after this many commits, so that opening a table reads at most as many entries.
pub(crate) const CHECKPOINT_COMMITS: u64 = 100;
/// How often a change of a table's columns is tried again when another writer was faster.
const RACES_MAX: u32 = 20;
/// Table property with the label of the policy whose releases a root takes.
const POLICY_PROPERTY: &str = "wardgate.policy";
/// Highest writer version whose demands an append meets (Delta protocol, "Requirements for Writers"); above it
/// stand the features named one by one.
const WRITER_VERSION_MAX: i64 = 2;
const WRITER_FEATURES: &[&str] = &["appendOnly", "invariants", "deletionVectors", "vacuumProtocolCheck"];

/// What can go wrong with a table. The operator acts, except where a variant says otherwise.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The storage failed: full, gone, not permitted.
    #[error("storage: {0}")]
    Storage(#[from] StoreError),
    /// `deltalake-core` failed to make, read or checkpoint the table.
    #[error("table: {0}")]
    Table(#[from] DeltaTableError),
    /// A data file could not be written or read.
    #[error("data file: {0}")]
    File(#[from] ParquetError),
    /// Rows could not be put into columns; our own defect.
    #[error("rows: {0}")]
    Rows(#[from] deltalake_core::arrow::error::ArrowError),
    /// A log entry is not the JSON it should be.
    #[error("log entry {version}, line {line}: not a Delta action; restore the file from a backup")]
    Entry {
        /// The version.
        version: u64,
        /// The line.
        line: usize,
    },
    /// A checkpoint cannot be read.
    #[error(
        "checkpoint {version}: {source}; where the entries from 0 on are still there, delete the checkpoint"
    )]
    Checkpoint {
        /// The version.
        version: u64,
        /// What the reader says.
        source: ParquetError,
    },
    /// The table belongs to another policy.
    #[error("the tables hold `{found}`, and the configuration says `{wanted}`: use another root")]
    Policy {
        /// As the table says.
        found: String,
        /// As configured.
        wanted: String,
    },
    /// Somebody changed the table so that it cannot be appended to.
    #[error("table `{table}` cannot be appended to: {why}")]
    Unfit {
        /// Which.
        table: &'static str,
        /// Why.
        why: String,
    },
    /// An entry was cleaned up before all tables had caught up with it.
    #[error(
        "entry {version} of `raw` was cleaned up before `{table}` had caught up with it: restore \
         raw/_delta_log/{version:020}.json from a backup"
    )]
    LogGap {
        /// The table behind.
        table: &'static str,
        /// The version of `raw`.
        version: u64,
    },
    /// What a commit of ours carries cannot be read; our own defect or a foreign hand.
    #[error("entry {version} of `raw` carries a manifest that cannot be read: {why}")]
    Manifest {
        /// The version of `raw`.
        version: u64,
        /// What is wrong.
        why: String,
    },
    /// An entry could not be written as JSON; our own defect.
    #[error("log entry: {0}")]
    Encode(#[from] serde_json::Error),
    /// Others won the race for a version too often.
    #[error("other writers won {0} races for a version; look for a runaway writer")]
    Crowded(u32),
    /// The process is going down.
    #[error("stopping")]
    Stopping,
}

/// What became of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Committed {
    /// It is this version, durably.
    As(u64),
    /// Somebody else made that version: read it and decide again.
    Lost,
}

/// One Delta table below a root.
#[derive(Debug)]
pub(crate) struct Table {
    schema: &'static Schema,
    policy: String,
    clock: Arc<dyn Clock>,
    log: LogStoreRef,
    store: Arc<dyn ObjectStore>,
    version: u64,
    txns: HashMap<String, i64>,
    checkpoints: TaskTracker,
}

fn log_store(root: &FsPath, table: &str) -> Result<LogStoreRef, Error> {
    let folder = root.join(table);
    let files: Arc<dyn ObjectStore> = Arc::new(Durable::at(&folder)?);
    let folder = std::fs::canonicalize(&folder)
        .map_err(|e| StoreError::Generic { store: "Durable", source: Box::new(e) })?;
    let location = ensure_table_uri(folder.to_string_lossy())?;
    Ok(default_logstore(files, Arc::new(Durable::absolute()), &location, &StorageConfig::default()))
}

impl Table {
    /// Opens the table below `root`, or makes it; columns that one made earlier lacks are added to it. Several
    /// replicas may do so at once.
    pub(crate) async fn open(
        root: &FsPath,
        schema: &'static Schema,
        policy: &str,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        make_folder(root).map_err(|e| StoreError::Generic { store: "Durable", source: Box::new(e) })?;
        let log = log_store(root, schema.table)?;
        let store = log.object_store(None);
        let first = store.head(&entry_path(0)).await;
        let any = match first {
            Ok(_) => true,
            // Entries may have been cleaned up behind a checkpoint.
            Err(StoreError::NotFound { .. }) => log.is_delta_table_location().await?,
            Err(e) => return Err(e.into()),
        };
        if !any {
            create(&log, schema, policy).await?;
        }
        let mut table = Self {
            schema,
            policy: policy.to_owned(),
            clock,
            log,
            store,
            version: 0,
            txns: HashMap::new(),
            checkpoints: TaskTracker::new(),
        };
        table.reload().await?;
        Ok(table)
    }

    /// The latest version that was seen.
    pub(crate) const fn version(&self) -> u64 {
        self.version
    }

    /// The `txn` versions by application id, as of [`Table::version`].
    pub(crate) const fn txns(&self) -> &HashMap<String, i64> {
        &self.txns
    }

    pub(crate) fn store(&self) -> &dyn ObjectStore {
        self.store.as_ref()
    }

    /// Reads the entries of others. Returns whether there were any.
    pub(crate) async fn sync(&mut self) -> Result<bool, Error> {
        let mut news = false;
        while let Some(commit) = read_entry(self.store.as_ref(), self.version + 1).await? {
            news = true;
            if commit.structural {
                self.reload().await?;
                continue;
            }
            self.txns.extend(commit.txns);
            self.version += 1;
        }
        Ok(news)
    }

    /// An entry, where the log still has it.
    pub(crate) async fn entry(&self, version: u64) -> Result<Option<Commit>, Error> {
        read_entry(self.store.as_ref(), version).await
    }

    /// Writes rows into files that are not yet part of the table. Where no commit names them, `VACUUM` removes
    /// them.
    pub(crate) async fn write(&self, parts: Vec<Part>, now: Timestamp) -> Result<Vec<Add>, Error> {
        let schema = self.schema;
        let now_ms = now.micros().div_euclid(1000);
        let encoding = tokio::task::spawn_blocking(move || {
            let file = |part: &Part| parquet::encode(schema, part, &file_name()?, now_ms);
            parts.iter().filter(|part| part.rows.num_rows() > 0).map(file).collect::<Result<Vec<_>, Error>>()
        });
        let mut adds = Vec::new();
        for file in encoding.await.map_err(|_| Error::Stopping)?? {
            let path = Path::from(file.add.path.as_str());
            self.store.put_opts(&path, file.bytes.into(), PutMode::Create.into()).await?;
            adds.push(file.add);
        }
        Ok(adds)
    }

    /// Makes the next version. Durable when it returns [`Committed::As`]. After an error it is open whether the
    /// version exists: [`Table::sync`] tells.
    pub(crate) async fn commit(&mut self, draft: &Draft) -> Result<Committed, Error> {
        let version = self.version + 1;
        let create = PutOptions::from(PutMode::Create);
        match self.store.put_opts(&entry_path(version), draft.encode()?.into(), create).await {
            Ok(_) => {
                self.version = version;
                self.txns.extend(draft.txns.iter().map(|(app, v)| (app.clone(), *v)));
                self.checkpoint_if_due();
                Ok(Committed::As(version))
            }
            Err(StoreError::AlreadyExists { .. }) => Ok(Committed::Lost),
            Err(e) => Err(e.into()),
        }
    }

    /// Waits for a checkpoint under way.
    pub(crate) async fn close(self) {
        self.checkpoints.close();
        self.checkpoints.wait().await;
    }

    /// One at a time, beside the commits; without it, opening takes longer and nothing is lost.
    fn checkpoint_if_due(&self) {
        if !self.version.is_multiple_of(CHECKPOINT_COMMITS) || !self.checkpoints.is_empty() {
            return;
        }
        let (log, version, table) = (Arc::clone(&self.log), self.version, self.schema.table);
        self.checkpoints.spawn(async move {
            let mut at = DeltaTable::new(log);
            let written = match at.load_version(version).await {
                Ok(()) => deltalake_core::checkpoints::create_checkpoint(&at, None).await,
                Err(e) => Err(e),
            };
            match written {
                Ok(()) => tracing::debug!(table, version, "checkpoint written"),
                Err(error) => {
                    tracing::warn!(table, version, %error, "no checkpoint; the next is tried later")
                }
            }
        });
    }

    async fn reload(&mut self) -> Result<(), Error> {
        for _ in 0..RACES_MAX {
            let state = replay(self.store.as_ref()).await?;
            let mut table = DeltaTable::new(Arc::clone(&self.log));
            table.load_version(state.version).await?;
            let missing = check(&table, self.schema, &self.policy)?;
            self.version = state.version;
            self.txns = state.txns;
            if missing.is_empty() {
                return Ok(());
            }
            let metadata = Some(widened(&table, self.schema, &missing)?);
            let timestamp_ms = self.clock.now().micros().div_euclid(1000);
            if let Committed::As(version) =
                self.commit(&Draft { timestamp_ms, metadata, ..Draft::default() }).await?
            {
                tracing::info!(table = self.schema.table, version, columns = ?missing, "columns were added");
                return Ok(());
            }
        }
        Err(Error::Crowded(RACES_MAX))
    }
}

async fn create(log: &LogStoreRef, schema: &Schema, policy: &str) -> Result<(), Error> {
    let made = CreateBuilder::new()
        .with_log_store(Arc::clone(log))
        .with_table_name(schema.table)
        .with_comment(schema.doc)
        .with_columns(schema.fields())
        .with_partition_columns(schema.partition.column().map(|c| c.name))
        .with_raise_if_key_not_exists(false)
        .with_configuration([
            (POLICY_PROPERTY, Some(policy.to_owned())),
            ("delta.dataSkippingStatsColumns", Some(schema.indexed.join(","))),
            ("delta.checkpointInterval", Some(CHECKPOINT_COMMITS.to_string())),
        ])
        .with_save_mode(SaveMode::Ignore)
        .await;
    match made {
        Ok(_)
        | Err(
            DeltaTableError::VersionAlreadyExists(_)
            | DeltaTableError::Transaction { source: TransactionError::VersionAlreadyExists(_) },
        ) => Ok(()),
        // Another replica was faster, whatever the error is called.
        Err(e) => {
            if log.object_store(None).head(&entry_path(0)).await.is_ok() {
                Ok(())
            } else {
                Err(e.into())
            }
        }
    }
}

/// Whether rows of ours can be appended to the table: as it is now, or once it has the nullable columns that are
/// returned, which later versions of the landing brought.
fn check(table: &DeltaTable, schema: &Schema, policy: &str) -> Result<Vec<&'static str>, Error> {
    let unfit = |why: String| Error::Unfit { table: schema.table, why };
    let snapshot = table.snapshot()?;
    let protocol = serde_json::to_value(snapshot.protocol())?;
    let writer = protocol.get("minWriterVersion").and_then(Value::as_i64).unwrap_or(0);
    let features = protocol.get("writerFeatures").and_then(|f| f.as_array()).cloned().unwrap_or_default();
    if writer > WRITER_VERSION_MAX {
        let foreign = features.iter().filter_map(|f| f.as_str()).find(|f| !WRITER_FEATURES.contains(f));
        if let Some(feature) = foreign.or(features.is_empty().then_some("its writer version")) {
            return Err(unfit(format!("it demands {feature}, which the landing does not know; remove it")));
        }
    }
    let metadata = snapshot.metadata();
    let found = metadata.configuration().get(POLICY_PROPERTY).cloned().unwrap_or_default();
    if found != policy {
        return Err(Error::Policy { found, wanted: policy.to_owned() });
    }
    let partition: Vec<&str> = schema.partition.column().iter().map(|c| c.name).collect();
    if metadata.partition_columns() != partition {
        return Err(unfit(format!("it is not partitioned by {partition:?}")));
    }
    let current = metadata.parse_schema().map_err(DeltaTableError::from)?;
    let mut missing = Vec::new();
    for (ours, column) in schema.fields().iter().zip(schema.all()) {
        if column.nullable && current.field(column.name).is_none() {
            missing.push(column.name);
            continue;
        }
        let fits = current.field(column.name).is_some_and(|theirs| {
            theirs.data_type() == ours.data_type() && (theirs.is_nullable() || !ours.is_nullable())
        });
        if !fits {
            return Err(unfit(format!("column `{}` is not a {}", column.name, column.kind.as_str())));
        }
    }
    let demanding = current.fields().find(|f| !f.is_nullable() && !schema.all().any(|c| c.name == f.name()));
    match demanding {
        Some(field) => Err(unfit(format!("column `{}` is not ours and not nullable", field.name()))),
        None => Ok(missing),
    }
}

/// The table's metadata with more columns; all else stays as whoever wrote it left it. Rows that are there already
/// have null in them (Delta protocol, "Change Metadata").
fn widened(table: &DeltaTable, schema: &Schema, missing: &[&str]) -> Result<Value, Error> {
    let unfit =
        || Error::Unfit { table: schema.table, why: "its metadata has no list of columns".to_owned() };
    let mut metadata = serde_json::to_value(table.snapshot()?.metadata())?;
    let members = metadata.as_object_mut().ok_or_else(unfit)?;
    members.retain(|_, value| !value.is_null());
    let columns = members.get("schemaString").and_then(Value::as_str).ok_or_else(unfit)?;
    let mut columns: Value = serde_json::from_str(columns)?;
    let fields = columns.get_mut("fields").and_then(Value::as_array_mut).ok_or_else(unfit)?;
    for field in schema.fields().iter().filter(|field| missing.contains(&field.name().as_str())) {
        fields.push(serde_json::to_value(field)?);
    }
    members.insert("schemaString".to_owned(), columns.to_string().into());
    Ok(metadata)
}

fn file_name() -> Result<String, Error> {
    let mut random = [0_u8; 16];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| {
        let source = std::io::Error::other("the system gives no random numbers");
        StoreError::Generic { store: "Durable", source: Box::new(source) }
    })?;
    Ok(format!("part-{}.zstd.parquet", hex::encode(random)))
}

/// A table as it stands, for those who read all of it.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) version: u64,
    pub(crate) txns: HashMap<String, i64>,
    /// Paths and row counts of the active files.
    pub(crate) files: Vec<(Path, Option<u64>)>,
    /// The label of the policy that the table is kept under.
    pub(crate) policy: String,
    store: Arc<dyn ObjectStore>,
}

impl Snapshot {
    /// Reads the table below `root`; `None` where there is none. Makes nothing.
    pub(crate) async fn read(root: &FsPath, table: &'static str) -> Result<Option<Self>, Error> {
        if !root.join(table).join("_delta_log").is_dir() {
            return Ok(None);
        }
        let log = log_store(root, table)?;
        let store = log.object_store(None);
        let state = replay(store.as_ref()).await?;
        let mut loaded = DeltaTable::new(log);
        loaded.load_version(state.version).await?;
        let snapshot = loaded.snapshot()?;
        let mut files = Vec::new();
        for file in snapshot.log_data() {
            if file.deletion_vector_descriptor().is_some() {
                let why = "rows were deleted by deletion vectors, which are not read here".to_owned();
                return Err(Error::Unfit { table, why });
            }
            files.push((file.object_store_path(), file.num_records().map(|n| n as u64)));
        }
        let policy = snapshot.metadata().configuration().get(POLICY_PROPERTY).cloned().unwrap_or_default();
        Ok(Some(Self { version: state.version, txns: state.txns, files, policy, store }))
    }

    pub(crate) fn store(&self) -> &dyn ObjectStore {
        self.store.as_ref()
    }

    /// An entry, where the log still has it.
    pub(crate) async fn entry(&self, version: u64) -> Result<Option<Commit>, Error> {
        read_entry(self.store.as_ref(), version).await
    }
}
