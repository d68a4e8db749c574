//! Errors of the journal, each with its file and offset.

use std::io;
use std::path::{Path, PathBuf};

use crate::env::fs::is_no_space;

#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The operating system reported an error.
    #[error("{}: {doing} at byte {offset}: {source}", file.display())]
    Io { file: PathBuf, offset: u64, doing: &'static str, source: io::Error },
    /// There is no space to write on. Nothing has changed: the same may be tried again.
    #[error("{}: {doing} at byte {offset}: {source}", file.display())]
    NoSpace { file: PathBuf, offset: u64, doing: &'static str, source: io::Error },
    /// The bytes differ from what was written. Nothing was changed.
    #[error("{}: damaged at byte {offset}: {reason}", file.display())]
    Damaged { file: PathBuf, offset: u64, reason: String },
    /// An earlier write or sync failed; the journal accepts nothing more (S2).
    #[error("the journal stopped: {reason}")]
    Stopped { reason: String },
}

impl JournalError {
    /// Makes an error for `map_err`.
    pub fn io(file: &Path, offset: u64, doing: &'static str) -> impl FnOnce(io::Error) -> JournalError {
        let file = file.to_owned();
        move |source| JournalError::Io { file, offset, doing, source }
    }

    /// The same for what may be tried again if only space is missing: whatever is no sync (S2).
    pub fn unwritten(
        file: &Path,
        offset: u64,
        doing: &'static str,
    ) -> impl FnOnce(io::Error) -> JournalError {
        let file = file.to_owned();
        move |source| match is_no_space(&source) {
            true => JournalError::NoSpace { file, offset, doing, source },
            false => JournalError::Io { file, offset, doing, source },
        }
    }

    pub fn is_no_space(&self) -> bool {
        matches!(self, JournalError::NoSpace { .. })
    }

    pub fn damaged(file: &Path, offset: u64, reason: impl Into<String>) -> JournalError {
        JournalError::Damaged { file: file.to_owned(), offset, reason: reason.into() }
    }
}
