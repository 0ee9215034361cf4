//! The one error of this crate: a kind that says what the caller can do, a sentence for people, and
//! the cause.

use std::sync::Arc;

/// The result of a storage call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller can do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Another writer has taken the store over: stop serving.
    Fenced,
    /// The disk or object store does not answer or is full: try again later.
    Unavailable,
    /// Stored bytes are not what was written: a person must look.
    Corrupt,
    /// The call itself is wrong: change it.
    Invalid,
    /// The store is closed: open it again.
    Closed,
}

/// Why a storage call failed.
#[derive(Clone, Debug)]
pub struct Error {
    kind: ErrorKind,
    context: String,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of `kind`; `context` names what was being done and with what.
    pub fn new(kind: ErrorKind, context: impl Into<String>) -> Self {
        Self {
            kind,
            context: context.into(),
            source: None,
        }
    }

    /// The same error with its cause.
    pub fn with_source(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// The engine failed while `context` was being done.
    pub(crate) fn engine(context: String, source: slatedb::Error) -> Self {
        use slatedb::{CloseReason, ErrorKind as Engine};
        let kind = match source.kind() {
            Engine::Closed(CloseReason::Fenced) => ErrorKind::Fenced,
            Engine::Closed(_) => ErrorKind::Closed,
            Engine::Data => ErrorKind::Corrupt,
            Engine::Invalid => ErrorKind::Invalid,
            // What remains passes, or is not ours to judge.
            _ => ErrorKind::Unavailable,
        };
        Self::new(kind, context).with_source(source)
    }

    /// The engine has closed for `reason`.
    pub(crate) fn closed(reason: slatedb::CloseReason) -> Self {
        match reason {
            slatedb::CloseReason::Clean => Self::new(ErrorKind::Closed, "the store is closed"),
            slatedb::CloseReason::Fenced => Self::new(
                ErrorKind::Fenced,
                "another writer has opened the store and taken it over",
            ),
            reason => Self::new(
                ErrorKind::Closed,
                format!("the engine has failed: {reason:?}"),
            ),
        }
    }

    /// The same error as one of `kind`.
    pub(crate) fn into_kind(self, kind: ErrorKind) -> Self {
        Self { kind, ..self }
    }

    /// What the caller can do.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.context)?;
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source
            .as_ref()
            .map(|s| &**s as &(dyn std::error::Error + 'static))
    }
}
