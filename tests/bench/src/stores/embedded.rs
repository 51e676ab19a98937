//! Embedded stores of others. Each keeps sealed records under a growing number and is told to make every commit
//! durable.

use std::fs::File;
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use redb::{Database, TableDefinition};

use super::child::Store;

/// Seals records as the log does: one key, a counter as nonce.
struct Sealer {
    key: LessSafeKey,
    next: u64,
}

impl Sealer {
    fn new() -> Result<Self, String> {
        let key = UnboundKey::new(&AES_256_GCM, &[7; 32]).map_err(|_| "no key")?;
        Ok(Self { key: LessSafeKey::new(key), next: 0 })
    }

    /// Its number and the record, sealed.
    fn seal(&mut self, record: &[u8]) -> Result<(u64, Vec<u8>), String> {
        self.next += 1;
        let mut nonce = [0; NONCE_LEN];
        nonce.iter_mut().skip(4).zip(self.next.to_be_bytes()).for_each(|(to, from)| *to = from);
        let mut sealed = Vec::with_capacity(record.len() + 16);
        sealed.extend_from_slice(record);
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut sealed)
            .map_err(|_| "not sealed")?;
        Ok((self.next, sealed))
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// sled 0.34 with the barrier that its own `flush` lacks: `fdatasync` of a second descriptor.
pub(super) struct Sled {
    db: sled::Db,
    file: File,
    sealer: Sealer,
}

impl Sled {
    pub(super) fn open(dir: &Path) -> Result<Self, String> {
        let path = dir.join("db");
        // Its own flushing by time would add to what we ask for.
        let db = sled::Config::new().path(&path).flush_every_ms(None).open().map_err(text)?;
        let file = File::options().write(true).open(path.join("db")).map_err(text)?;
        Ok(Self { db, file, sealer: Sealer::new()? })
    }
}

impl Store for Sled {
    fn commit(&mut self, records: &[Vec<u8>]) -> Result<(), String> {
        let mut batch = sled::Batch::default();
        for record in records {
            let (number, sealed) = self.sealer.seal(record)?;
            batch.insert(&number.to_be_bytes(), sealed);
        }
        self.db.apply_batch(batch).map_err(text)?;
        self.db.flush().map_err(text)?;
        self.file.sync_data().map_err(text)
    }
}

const RECORDS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("records");

/// redb with its default, durable on return.
pub(super) struct Redb {
    db: Database,
    sealer: Sealer,
}

impl Redb {
    pub(super) fn open(dir: &Path) -> Result<Self, String> {
        let db = Database::create(dir.join("redb")).map_err(text)?;
        Ok(Self { db, sealer: Sealer::new()? })
    }
}

impl Store for Redb {
    fn commit(&mut self, records: &[Vec<u8>]) -> Result<(), String> {
        let transaction = self.db.begin_write().map_err(text)?;
        {
            let mut table = transaction.open_table(RECORDS).map_err(text)?;
            for record in records {
                let (number, sealed) = self.sealer.seal(record)?;
                table.insert(number, sealed.as_slice()).map_err(text)?;
            }
        }
        transaction.commit().map_err(text)
    }
}

/// fjall, its journal synced with each batch.
pub(super) struct Fjall {
    db: fjall::Database,
    records: fjall::Keyspace,
    sealer: Sealer,
}

impl Fjall {
    pub(super) fn open(dir: &Path) -> Result<Self, String> {
        let db = fjall::Database::builder(dir.join("db")).open().map_err(text)?;
        let records = db.keyspace("records", fjall::KeyspaceCreateOptions::default).map_err(text)?;
        Ok(Self { db, records, sealer: Sealer::new()? })
    }
}

impl Store for Fjall {
    fn commit(&mut self, records: &[Vec<u8>]) -> Result<(), String> {
        let mut batch = self.db.batch().durability(Some(fjall::PersistMode::SyncData));
        for record in records {
            let (number, sealed) = self.sealer.seal(record)?;
            batch.insert(&self.records, number.to_be_bytes(), sealed);
        }
        batch.commit().map_err(text)
    }
}

/// SQLite with a write-ahead log and `synchronous = FULL`.
pub(super) struct Sqlite {
    db: rusqlite::Connection,
    sealer: Sealer,
}

impl Sqlite {
    pub(super) fn open(dir: &Path) -> Result<Self, String> {
        let db = rusqlite::Connection::open(dir.join("db")).map_err(text)?;
        db.pragma_update(None, "journal_mode", "WAL").map_err(text)?;
        db.pragma_update(None, "synchronous", "FULL").map_err(text)?;
        db.execute("CREATE TABLE records (number INTEGER PRIMARY KEY, record BLOB NOT NULL)", [])
            .map_err(text)?;
        Ok(Self { db, sealer: Sealer::new()? })
    }
}

impl Store for Sqlite {
    fn commit(&mut self, records: &[Vec<u8>]) -> Result<(), String> {
        let transaction = self.db.transaction().map_err(text)?;
        {
            let mut insert =
                transaction.prepare_cached("INSERT INTO records VALUES (?1, ?2)").map_err(text)?;
            for record in records {
                let (number, sealed) = self.sealer.seal(record)?;
                insert.execute((number as i64, sealed)).map_err(text)?;
            }
        }
        transaction.commit().map_err(text)
    }
}
