//! A local folder as an object store whose writes are durable when they return.
//!
//! **Promise.** When a put returns, the object survives a power cut: its bytes were synced before its name
//! appeared, and the folder that holds the name was synced after. A torn or empty object is never seen under its
//! name. `object_store`'s own `LocalFileSystem` promises the second only while the power stays on.
//!
//! **How.** Bytes go to `NAME#<n>` (a name that listings hide), are synced, and are then linked (create: fails
//! where the name exists) or renamed (overwrite) into place. New folders are synced into their parents. What a
//! crash leaves behind under such a name is never read.
//!
//! Reading, listing and deleting are `LocalFileSystem`'s. The file system has to know hard links (ext4, XFS, ZFS,
//! NFS do). Files are 0640 and folders 0750, less what the umask takes.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use deltalake_core::logstore::object_store;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart,
};

const STORE: &str = "Durable";
/// Rows are patients' data: for the landing's user, and for its group, as which engines may read.
const FILE_MODE: u32 = 0o640;
const FOLDER_MODE: u32 = 0o750;
/// Attempts to find a name for the bytes before they get their own; each that is taken was left by a crash or
/// belongs to another writer.
const STAGING_ATTEMPTS_MAX: u32 = 10_000;

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Durable {
    inner: Arc<LocalFileSystem>,
}

impl Durable {
    /// A store rooted at a folder, which is made if need be.
    pub(crate) fn at(root: &FsPath) -> Result<Self> {
        make_folder(root).map_err(failed)?;
        Ok(Self { inner: Arc::new(LocalFileSystem::new_with_prefix(root)?) })
    }

    /// A store of absolute paths.
    pub(crate) fn absolute() -> Self {
        Self { inner: Arc::new(LocalFileSystem::new()) }
    }

    async fn write(&self, location: &Path, payload: PutPayload, mode: PutMode) -> Result<PutResult> {
        let overwrite = match mode {
            PutMode::Overwrite => true,
            PutMode::Create => false,
            PutMode::Update(_) => {
                return Err(Error::NotImplemented {
                    operation: "a put with PutMode::Update".to_owned(),
                    implementer: self.to_string(),
                });
            }
        };
        let path = self.inner.path_to_filesystem(location)?;
        tokio::task::spawn_blocking(move || put(&path, &payload, overwrite)).await?
    }
}

impl fmt::Display for Durable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{STORE}({})", self.inner)
    }
}

/// Writes an object. Blocking.
fn put(path: &FsPath, payload: &PutPayload, overwrite: bool) -> Result<PutResult> {
    match place(path, payload.iter().map(Bytes::as_ref), overwrite) {
        Ok(()) => Ok(PutResult { e_tag: None, version: None }),
        Err(source) if !overwrite && source.kind() == ErrorKind::AlreadyExists => {
            Err(Error::AlreadyExists { path: path.display().to_string(), source: Box::new(source) })
        }
        Err(source) => Err(failed(source)),
    }
}

/// Writes a file that has its name when it is durable, and not before; also among replicas that share a disk a name is
/// given once, unless one overwrites. Blocking.
///
/// # Errors
/// [`ErrorKind::AlreadyExists`] where the name is taken; what the disk says.
pub(crate) fn place<'p>(
    path: &FsPath,
    parts: impl IntoIterator<Item = &'p [u8]>,
    overwrite: bool,
) -> io::Result<()> {
    let parent = path.parent().ok_or(ErrorKind::InvalidInput)?;
    make_folder(parent)?;
    let (mut file, staging) = stage(path)?;
    let written = parts.into_iter().try_for_each(|part| file.write_all(part)).and_then(|()| file.sync_all());
    let placed = written
        .and_then(|()| if overwrite { fs::rename(&staging, path) } else { fs::hard_link(&staging, path) });
    if !overwrite || placed.is_err() {
        // Where even this fails, a file stays that no listing shows.
        drop(fs::remove_file(&staging));
    }
    placed?;
    sync_folder(parent)
}

fn stage(path: &FsPath) -> io::Result<(File, PathBuf)> {
    for n in 1..STAGING_ATTEMPTS_MAX {
        let mut name = path.as_os_str().to_owned();
        name.push(format!("#{n}"));
        let staging = PathBuf::from(name);
        match OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&staging) {
            Ok(file) => return Ok((file, staging)),
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
    }
    Err(io::Error::other("too many unfinished files; delete those whose name ends in # and a number"))
}

/// Makes a folder and those above it, each synced into its parent.
pub(crate) fn make_folder(folder: &FsPath) -> io::Result<()> {
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    let parent = folder.parent().unwrap_or(FsPath::new("/"));
    make_folder(parent)?;
    match DirBuilder::new().mode(FOLDER_MODE).create(folder) {
        Ok(()) => sync_folder(if parent.as_os_str().is_empty() { FsPath::new(".") } else { parent }),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(e),
    }
}

fn sync_folder(folder: &FsPath) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn failed(source: io::Error) -> Error {
    Error::Generic { store: STORE, source: Box::new(source) }
}

impl ObjectStore for Durable {
    fn put_opts<'s, 'l, 'f>(
        &'s self,
        location: &'l Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> BoxFuture<'f, Result<PutResult>>
    where
        's: 'f,
        'l: 'f,
        Self: 'f,
    {
        Box::pin(self.write(location, payload, opts.mode))
    }

    fn put_multipart_opts<'s, 'l, 'f>(
        &'s self,
        location: &'l Path,
        _opts: PutMultipartOptions,
    ) -> BoxFuture<'f, Result<Box<dyn MultipartUpload>>>
    where
        's: 'f,
        'l: 'f,
        Self: 'f,
    {
        let upload = Upload { store: self.clone(), location: location.clone(), parts: Vec::new() };
        Box::pin(async move { Ok(Box::new(upload) as Box<dyn MultipartUpload>) })
    }

    fn get_opts<'s, 'l, 'f>(
        &'s self,
        location: &'l Path,
        options: GetOptions,
    ) -> BoxFuture<'f, Result<GetResult>>
    where
        's: 'f,
        'l: 'f,
        Self: 'f,
    {
        self.inner.get_opts(location, options)
    }

    fn get_ranges<'s, 'l, 'r, 'f>(
        &'s self,
        location: &'l Path,
        ranges: &'r [Range<u64>],
    ) -> BoxFuture<'f, Result<Vec<Bytes>>>
    where
        's: 'f,
        'l: 'f,
        'r: 'f,
        Self: 'f,
    {
        self.inner.get_ranges(location, ranges)
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    fn list_with_delimiter<'s, 'p, 'f>(
        &'s self,
        prefix: Option<&'p Path>,
    ) -> BoxFuture<'f, Result<ListResult>>
    where
        's: 'f,
        'p: 'f,
        Self: 'f,
    {
        self.inner.list_with_delimiter(prefix)
    }

    fn copy_opts<'s, 'x, 'y, 'f>(
        &'s self,
        _from: &'x Path,
        _to: &'y Path,
        _options: CopyOptions,
    ) -> BoxFuture<'f, Result<()>>
    where
        's: 'f,
        'x: 'f,
        'y: 'f,
        Self: 'f,
    {
        let implementer = self.to_string();
        Box::pin(async move { Err(Error::NotImplemented { operation: "a copy".to_owned(), implementer }) })
    }

    fn rename_opts<'s, 'x, 'y, 'f>(
        &'s self,
        _from: &'x Path,
        _to: &'y Path,
        _options: RenameOptions,
    ) -> BoxFuture<'f, Result<()>>
    where
        's: 'f,
        'x: 'f,
        'y: 'f,
        Self: 'f,
    {
        let implementer = self.to_string();
        Box::pin(async move { Err(Error::NotImplemented { operation: "a rename".to_owned(), implementer }) })
    }
}

/// Parts are kept in memory: what arrives this way is a checkpoint.
#[derive(Debug)]
struct Upload {
    store: Durable,
    location: Path,
    parts: Vec<PutPayload>,
}

impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.parts.push(data);
        Box::pin(async { Ok(()) })
    }

    fn complete<'s, 'f>(&'s mut self) -> BoxFuture<'f, Result<PutResult>>
    where
        's: 'f,
        Self: 'f,
    {
        let whole = self.parts.drain(..).flatten().collect::<PutPayload>();
        Box::pin(self.store.write(&self.location, whole, PutMode::Overwrite))
    }

    fn abort<'s, 'f>(&'s mut self) -> BoxFuture<'f, Result<()>>
    where
        's: 'f,
        Self: 'f,
    {
        self.parts.clear();
        Box::pin(async { Ok(()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::ObjectStoreExt as _;

    fn visible(dir: &FsPath) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn create_never_replaces_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let store = Durable::at(&dir.path().join("a/b")).unwrap();
        let path = Path::from("_delta_log/0.json");
        let create = || PutOptions::from(PutMode::Create);
        store.put_opts(&path, "first".into(), create()).await.unwrap();
        let again = store.put_opts(&path, "second".into(), create()).await;
        assert!(matches!(again, Err(Error::AlreadyExists { .. })), "{again:?}");
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "first");
        store.put(&path, "third".into()).await.unwrap();
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "third");
        assert_eq!(visible(&dir.path().join("a/b/_delta_log")), ["0.json"]);
    }

    #[tokio::test]
    async fn others_on_the_machine_cannot_read_rows() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let store = Durable::at(&dir.path().join("lake")).unwrap();
        store.put(&Path::from("day=1/rows"), "x".into()).await.unwrap();
        for path in ["lake", "lake/day=1", "lake/day=1/rows"] {
            let mode = fs::metadata(dir.path().join(path)).unwrap().permissions().mode();
            assert_eq!(mode & 0o007, 0, "{path}: {mode:o}");
        }
    }

    #[tokio::test]
    async fn leftovers_of_a_crash_are_neither_listed_nor_in_the_way() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("x#1"), "torn").unwrap();
        let store = Durable::at(dir.path()).unwrap();
        store.put(&Path::from("x"), "whole".into()).await.unwrap();
        let listed = store.list_with_delimiter(None).await.unwrap();
        let names: Vec<_> = listed.objects.iter().map(|o| o.location.to_string()).collect();
        assert_eq!(names, ["x"]);
        assert_eq!(visible(dir.path()), ["x", "x#1"]);
    }

    #[tokio::test]
    async fn parts_become_one_object_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let store = Durable::at(dir.path()).unwrap();
        let mut upload = store.put_multipart(&Path::from("c")).await.unwrap();
        upload.put_part("one ".into()).await.unwrap();
        upload.put_part("two".into()).await.unwrap();
        assert_eq!(visible(dir.path()), Vec::<String>::new());
        upload.complete().await.unwrap();
        assert_eq!(store.get(&Path::from("c")).await.unwrap().bytes().await.unwrap(), "one two");
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_written_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        let store = Durable::at(dir.path()).unwrap();
        assert!(store.put(&Path::from("file/below"), "x".into()).await.is_err());
    }
}
