//! From a [`DataUrl`] to the object store that SlateDB keeps its tree in: made ready, proven to work,
//! and ours alone.
//!
//! It owns the lock on a data directory and the probe of a bucket. It knows nothing of what is stored.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use slatedb::object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use slatedb::object_store::local::LocalFileSystem;
use slatedb::object_store::memory::InMemory;
use slatedb::object_store::path::Path as ObjectPath;
use slatedb::object_store::{
    ClientConfigKey, Error as ObjectError, ObjectStore, PutMode, RetryConfig, UpdateVersion,
};

use crate::{DataUrl, Error, ErrorKind, Options, Result};

/// Where SlateDB's files lie within the object store, behind the prefix of the URL.
pub(crate) const DB_PATH: &str = "db";
/// The write-ahead log of a data directory.
/// Where OpenData Log keeps it by default.
const OPENDATA_PATH: &str = "data";
/// Where SlateDB keeps its list of files: a database is where this is.
const MANIFEST_DIR: &str = "manifest";
const WAL_DIR: &str = "wal-files";
/// The locked file of a data directory; holds the process id of its owner.
const LOCK_NAME: &str = "lock";
/// The object that the probe of a bucket creates and leaves, so that the next start finds it.
const PROBE_NAME: &str = "conditional-writes";
/// A bucket that has not answered the probe by then is refused.
const PROBE_TIMEOUT: Duration = Duration::from_secs(8);
/// A connection that is not made by then is not made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// An object store that is ready for SlateDB.
#[derive(Debug)]
pub(crate) struct OpenedStore {
    /// The store itself.
    pub(crate) object_store: Arc<dyn ObjectStore>,
    /// Path of the database within it.
    pub(crate) db_path: ObjectPath,
    /// The directory and the lock on it, if the bytes lie on a local disk.
    pub(crate) local: Option<LocalDirectory>,
}

/// A data directory that is ours while this value lives.
#[derive(Debug)]
pub(crate) struct LocalDirectory {
    /// The directory.
    pub(crate) root: PathBuf,
    /// The database's own within it.
    pub(crate) db_dir: PathBuf,
    _lock: File,
}

impl LocalDirectory {
    /// Where the write-ahead log lies: outside the database's own directory.
    pub(crate) fn wal_dir(&self) -> PathBuf {
        self.root.join(WAL_DIR)
    }

    /// Where SlateDB's own write-ahead log would lie.
    pub(crate) fn foreign_wal_dir(&self) -> PathBuf {
        self.db_dir.join("wal")
    }

    /// Whether there is a database that has never been opened with a write-ahead log of ours.
    pub(crate) fn was_written_by_others(&self) -> bool {
        !self.wal_dir().exists() && self.foreign_wal_dir().is_dir()
    }
}

/// Opens the object store that `options.data` names.
///
/// # Errors
/// `Invalid` if it cannot work as it is: a path that is a file, a directory without permission or in
/// use, a bucket or credentials that are refused, a server without conditional writes. `Unavailable`
/// if the disk fails or the server does not answer, within 10 s.
pub(crate) async fn open(options: &Options) -> Result<OpenedStore> {
    match &options.data {
        DataUrl::Memory => Ok(OpenedStore {
            object_store: Arc::new(InMemory::new()),
            db_path: ObjectPath::from(DB_PATH),
            local: None,
        }),
        DataUrl::File(root) => open_directory(root, options.fsync),
        DataUrl::S3 { bucket, prefix } => open_bucket(&options.data, bucket, prefix).await,
    }
}

/// An object store that is only read.
pub(crate) struct ReadOnlyStore {
    pub(crate) object_store: Arc<dyn ObjectStore>,
    pub(crate) db_path: ObjectPath,
    /// Where the write-ahead log lies, if it is ours.
    pub(crate) wal_dir: Option<PathBuf>,
}

/// The object store that `options.data` names, as it is: nothing is created, locked or probed.
///
/// # Errors
/// `Invalid` if there is none, or for a store in memory.
pub(crate) async fn open_read_only(options: &Options) -> Result<ReadOnlyStore> {
    match &options.data {
        DataUrl::Memory => Err(Error::new(
            ErrorKind::Invalid,
            "a store in memory belongs to its process",
        )),
        DataUrl::File(root) => {
            let absent = || {
                let problem = format!("there is no store in {}", root.display());
                Error::new(ErrorKind::Invalid, problem)
            };
            let root = root.canonicalize().map_err(|_| absent())?;
            let place = LocalPlace::of(&root);
            if !place.db_dir().is_dir() {
                return Err(absent());
            }
            let object_store = LocalFileSystem::new_with_prefix(&place.base).map_err(|source| {
                let context = format!("cannot open data directory {}", root.display());
                Error::new(ErrorKind::Unavailable, context).with_source(source)
            })?;
            let wal_dir = root.join(WAL_DIR);
            Ok(ReadOnlyStore {
                object_store: Arc::new(object_store),
                db_path: place.db_path,
                wal_dir: wal_dir.is_dir().then_some(wal_dir),
            })
        }
        DataUrl::S3 { bucket, prefix } => {
            let prefix = parse_prefix(&options.data, prefix)?;
            let s3 = S3::from_env(bucket);
            let object_store: Arc<dyn ObjectStore> =
                Arc::new(s3.build(&options.data, s3.builder.clone())?);
            // An endpoint that is not there says so when the store is opened.
            let db_path = db_path_within(&*object_store, &prefix).await;
            Ok(ReadOnlyStore {
                db_path: db_path.unwrap_or_else(|_| prefix.join(DB_PATH)),
                object_store,
                wal_dir: None,
            })
        }
    }
}

pub(crate) fn open_directory(root: &Path, fsync: bool) -> Result<OpenedStore> {
    if root.exists() && !root.is_dir() {
        return Err(Error::new(
            ErrorKind::Invalid,
            format!(
                "data directory {} is a file; name a directory",
                root.display()
            ),
        ));
    }
    create_directory(root, fsync).map_err(|source| directory_error("create", root, source))?;
    let root = root
        .canonicalize()
        .map_err(|source| directory_error("open", root, source))?;
    let lock = lock(&root)?;
    let place = LocalPlace::of(&root);
    let db_dir = place.db_dir();
    remove_staging_files(&db_dir).map_err(|source| directory_error("clean up", &root, source))?;
    let object_store = LocalFileSystem::new_with_prefix(&place.base)
        .map_err(|source| {
            let context = format!("cannot open data directory {}", root.display());
            Error::new(ErrorKind::Unavailable, context).with_source(source)
        })?
        .with_fsync(fsync);
    Ok(OpenedStore {
        object_store: Arc::new(object_store),
        db_path: place.db_path,
        local: Some(LocalDirectory {
            root,
            db_dir,
            _lock: lock,
        }),
    })
}

/// Where the database of a directory lies.
struct LocalPlace {
    /// The directory that its path starts from.
    base: PathBuf,
    db_path: ObjectPath,
}

impl LocalPlace {
    /// Ours; else that of OpenData Log within `root`, or `root` itself if it is one.
    fn of(root: &Path) -> Self {
        let is_database = |path: &Path| path.join(MANIFEST_DIR).is_dir();
        let within = |name: &str| Self {
            base: root.to_owned(),
            db_path: ObjectPath::from(name),
        };
        if is_database(&root.join(DB_PATH)) {
            return within(DB_PATH);
        }
        if is_database(&root.join(OPENDATA_PATH)) {
            return within(OPENDATA_PATH);
        }
        let own = root.parent().zip(root.file_name());
        let own =
            own.and_then(|(base, name)| Some((base, ObjectPath::parse(name.to_str()?).ok()?)));
        match own {
            Some((base, db_path)) if is_database(root) => Self {
                base: base.to_owned(),
                db_path,
            },
            _ => within(DB_PATH),
        }
    }

    fn db_dir(&self) -> PathBuf {
        self.base.join(self.db_path.as_ref())
    }
}

/// The directory of the database in a data directory.
pub(crate) fn database_dir(root: &Path) -> PathBuf {
    LocalPlace::of(root).db_dir()
}

/// [`LocalPlace`] of a bucket: the path of the database under `prefix`.
async fn db_path_within(
    store: &dyn ObjectStore,
    prefix: &ObjectPath,
) -> std::result::Result<ObjectPath, ObjectError> {
    let ours = prefix.clone().join(DB_PATH);
    for path in [
        ours.clone(),
        prefix.clone().join(OPENDATA_PATH),
        prefix.clone(),
    ] {
        let manifests = path.clone().join(MANIFEST_DIR);
        if store
            .list(Some(&manifests))
            .next()
            .await
            .transpose()?
            .is_some()
        {
            return Ok(path);
        }
    }
    Ok(ours)
}

/// Creates `dir` and what is missing above it, so that all of it survives a power cut.
fn create_directory(dir: &Path, fsync: bool) -> std::io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    create_directory(parent, fsync)?;
    std::fs::create_dir(dir)?;
    if fsync {
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}

pub(crate) fn directory_error(what: &str, dir: &Path, source: std::io::Error) -> Error {
    use std::io::ErrorKind::{AlreadyExists, NotADirectory, PermissionDenied, ReadOnlyFilesystem};
    let (kind, remedy) = match source.kind() {
        PermissionDenied | ReadOnlyFilesystem => (
            ErrorKind::Invalid,
            "; let this user write to it, or name another directory",
        ),
        AlreadyExists | NotADirectory => (ErrorKind::Invalid, "; a part of the path is a file"),
        _ => (ErrorKind::Unavailable, ""),
    };
    Error::new(
        kind,
        format!("cannot {what} data directory {}{remedy}", dir.display()),
    )
    .with_source(source)
}

/// Takes the lock on the directory. The system lets go of it when the process ends, however it ends.
fn lock(root: &Path) -> Result<File> {
    let failed = |source| directory_error("lock", root, source);
    let path = root.join(LOCK_NAME);
    let mut options = File::options();
    let mut file = options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let _ = (&mut file).take(32).read_to_string(&mut pid);
            let owner = match pid.trim() {
                "" => "another process".to_owned(),
                pid => format!("process {pid}"),
            };
            return Err(Error::new(
                ErrorKind::Invalid,
                format!(
                    "data directory {} is in use by {owner}; stop it first, or name another directory",
                    root.display()
                ),
            ));
        }
        Err(TryLockError::Error(source)) => return Err(failed(source)),
    }
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(failed)?;
    Ok(file)
}

/// Removes what a killed process had half uploaded: files named `*#N`, which the object store does not
/// list and nothing else would ever remove.
fn remove_staging_files(dir: &Path) -> std::io::Result<()> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            remove_staging_files(&path)?;
        } else if entry.file_name().to_str().is_some_and(is_staging_name) {
            tracing::info!(path = %path.display(), "removing what a killed process had half written");
            std::fs::remove_file(&path)?;
        }
    }
    Ok(())
}

fn is_staging_name(name: &str) -> bool {
    name.split_once('#').is_some_and(|(_, number)| {
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

pub(crate) fn parse_prefix(url: &DataUrl, prefix: &str) -> Result<ObjectPath> {
    ObjectPath::parse(prefix).map_err(|source| {
        let problem = format!("data URL {url}: the prefix cannot be used");
        Error::new(ErrorKind::Invalid, problem).with_source(source)
    })
}

async fn open_bucket(url: &DataUrl, bucket: &str, prefix: &str) -> Result<OpenedStore> {
    let prefix = parse_prefix(url, prefix)?;
    let s3 = S3::from_env(bucket);
    let build = |builder: AmazonS3Builder| s3.build(url, builder);
    // A store that gives up at once, for its errors name the cause.
    let probed = build(s3.builder.clone().with_retry(RetryConfig {
        max_retries: 1,
        retry_timeout: PROBE_TIMEOUT / 2,
        ..RetryConfig::default()
    }))?;
    let probe = probe(&probed, prefix.clone().join(PROBE_NAME));
    match tokio::time::timeout(PROBE_TIMEOUT, probe).await {
        Ok(Ok(())) => {}
        Ok(Err(refusal)) => return Err(refusal.into_error(url, &s3)),
        Err(_) => {
            return Err(Error::new(
                ErrorKind::Unavailable,
                format!(
                    "{url} {} does not answer within {} s; look at the endpoint (AWS_ENDPOINT_URL), the \
                     region (AWS_REGION) and the credentials (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)",
                    s3.whereabouts(),
                    PROBE_TIMEOUT.as_secs()
                ),
            ));
        }
    }
    let object_store: Arc<dyn ObjectStore> = Arc::new(build(s3.builder.clone())?);
    let db_path = db_path_within(&*object_store, &prefix).await;
    Ok(OpenedStore {
        db_path: db_path.map_err(|error| Refusal::Failed(error).into_error(url, &s3))?,
        object_store,
        local: None,
    })
}

/// How a bucket is reached, from the AWS variables.
struct S3 {
    builder: AmazonS3Builder,
    endpoint: Option<String>,
}

impl S3 {
    fn from_env(bucket: &str) -> Self {
        let builder = AmazonS3Builder::from_env().with_bucket_name(bucket);
        let endpoint = [AmazonS3ConfigKey::S3Endpoint, AmazonS3ConfigKey::Endpoint]
            .iter()
            .find_map(|key| builder.get_config_value(key));
        let mut builder = builder.with_config(
            AmazonS3ConfigKey::Client(ClientConfigKey::ConnectTimeout),
            format!("{}s", CONNECT_TIMEOUT.as_secs()),
        );
        if endpoint
            .as_ref()
            .is_some_and(|endpoint| endpoint.starts_with("http://"))
        {
            builder = builder.with_allow_http(true);
        }
        Self { builder, endpoint }
    }

    fn build(&self, url: &DataUrl, builder: AmazonS3Builder) -> Result<AmazonS3> {
        builder.build().map_err(|source| {
            let problem = format!("cannot use {url} {}", self.whereabouts());
            Error::new(ErrorKind::Invalid, problem).with_source(source)
        })
    }

    fn whereabouts(&self) -> String {
        match &self.endpoint {
            Some(endpoint) => format!("at {endpoint}"),
            None => "at AWS".to_owned(),
        }
    }
}

/// Why a bucket cannot hold a store.
enum Refusal {
    Failed(ObjectError),
    NoConditionalWrites(&'static str),
}

impl Refusal {
    fn into_error(self, url: &DataUrl, s3: &S3) -> Error {
        let whereabouts = s3.whereabouts();
        match self {
            Self::NoConditionalWrites(header) => Error::new(
                ErrorKind::Invalid,
                format!(
                    "{url} {whereabouts}: the server ignores {header}, and without conditional writes two \
                     writers would overwrite each other; use a server that has them"
                ),
            ),
            Self::Failed(source) => {
                let answer = source.to_string();
                let said = |tag: &str| {
                    let (_, rest) = answer.split_once(&format!("<{tag}>"))?;
                    Some(rest.split_once("</")?.0)
                };
                let (kind, remedy) = remedy(&source, said("Code"));
                let context = format!("cannot use {url} {whereabouts}: {remedy}");
                match said("Code").zip(said("Message")) {
                    // The answer's body is an XML document; this is all that it says.
                    Some((code, message)) => Error::new(
                        kind,
                        format!("{context} (the server says {code}: {message})"),
                    ),
                    None => Error::new(kind, context).with_source(source),
                }
            }
        }
    }
}

/// What to do about a failed probe, by the error and the code in the server's answer.
fn remedy(error: &ObjectError, code: Option<&str>) -> (ErrorKind, &'static str) {
    match (error, code) {
        (ObjectError::PermissionDenied { .. } | ObjectError::Unauthenticated { .. }, _)
        | (_, Some("AccessDenied" | "InvalidAccessKeyId" | "SignatureDoesNotMatch")) => (
            ErrorKind::Invalid,
            "the credentials are refused; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to ones \
             that may read and write there",
        ),
        (_, Some("NoSuchBucket")) => (ErrorKind::Invalid, "the bucket does not exist; create it"),
        (ObjectError::NotFound { .. }, _) => (
            ErrorKind::Invalid,
            "the bucket or the user is not known there; look at the bucket and AWS_ACCESS_KEY_ID",
        ),
        _ => (
            ErrorKind::Unavailable,
            "the probe of the bucket failed; look at AWS_ENDPOINT_URL and AWS_REGION",
        ),
    }
}

/// Proves that objects can be written at `path`, and that writes can be made conditional: SlateDB's
/// manifest and its fences rest on that.
async fn probe(store: &dyn ObjectStore, path: ObjectPath) -> Result<(), Refusal> {
    let put = async |mode: PutMode| store.put_opts(&path, "probe".into(), mode.into()).await;
    match put(PutMode::Create).await {
        // Left by an earlier probe: the condition was seen to.
        Err(ObjectError::AlreadyExists { .. }) => {}
        Err(error) => return Err(Refusal::Failed(error)),
        Ok(_) => match put(PutMode::Create).await {
            Err(ObjectError::AlreadyExists { .. }) => {}
            Err(error) => return Err(Refusal::Failed(error)),
            Ok(_) => return Err(Refusal::NoConditionalWrites("If-None-Match")),
        },
    }
    let never = UpdateVersion {
        e_tag: Some("\"00000000000000000000000000000000\"".into()),
        version: None,
    };
    match put(PutMode::Update(never)).await {
        Err(ObjectError::Precondition { .. }) => Ok(()),
        Err(error) => Err(Refusal::Failed(error)),
        Ok(_) => Err(Refusal::NoConditionalWrites("If-Match")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &Path) -> Options {
        Options::new(DataUrl::File(path.to_owned()))
    }

    #[tokio::test]
    async fn directories_are_created_and_locked_until_dropped() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("a/b/c");
        let first = open(&at(&path)).await.unwrap();
        let error = open(&at(&path)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let owner = format!("is in use by process {};", std::process::id());
        assert!(error.to_string().contains(&owner), "{error}");
        drop(first);
        // The number of an earlier owner is longer than ours at times.
        std::fs::write(path.join(LOCK_NAME), "123456789012\n").unwrap();
        let _second = open(&at(&path)).await.unwrap();
        let pid = std::fs::read_to_string(path.join(LOCK_NAME)).unwrap();
        assert_eq!(pid, format!("{}\n", std::process::id()));
    }

    #[tokio::test]
    async fn a_path_that_cannot_be_a_directory_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("file");
        std::fs::write(&file, "x").unwrap();
        let error = open(&at(&file)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(
            error
                .to_string()
                .contains("file is a file; name a directory"),
            "{error}"
        );
        let error = open(&at(&file.join("below"))).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(
            error.to_string().contains("a part of the path is a file"),
            "{error}"
        );
    }

    #[test]
    fn a_directory_without_permission_says_what_to_do() {
        // A test that runs as root is let in everywhere, so the error itself is looked at.
        let denied = std::io::ErrorKind::PermissionDenied.into();
        let error = directory_error("open", Path::new("/data"), denied);
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(
            error
                .to_string()
                .contains("/data; let this user write to it"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn staging_files_of_a_killed_process_are_removed() {
        let temp = tempfile::tempdir().unwrap();
        let compacted = temp.path().join("db/compacted");
        std::fs::create_dir_all(&compacted).unwrap();
        for name in ["01ABC.sst", "01ABC.sst#1", "01DEF.sst#27", "01DEF.sst#x"] {
            std::fs::write(compacted.join(name), "x").unwrap();
        }
        // What lies beside the database is not ours to remove.
        std::fs::write(temp.path().join("notes#1"), "x").unwrap();
        let _opened = open(&at(temp.path())).await.unwrap();
        let mut left: Vec<_> = std::fs::read_dir(&compacted)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["01ABC.sst", "01DEF.sst#x"]);
        assert!(temp.path().join("notes#1").exists());
    }
}
