//! Taking the memory out, and what was taken out in again, piece by piece.

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;

use super::Memory;
use crate::store::StoreError;
use crate::store::portable::{End, Header, Imported, Line};

/// The longest line: the largest envelope, and as much again for what has to be escaped in it.
const LONGEST_LINE: usize = 72 * 1024 * 1024;

/// Lines, and bytes of them, that are taken in together.
const BATCH: usize = 256;
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// Why an import went no further.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A line is not as it should be.
    #[error(
        "line {line}: {why}; the lines before {since} were taken in, and may be sent again: they change nothing then"
    )]
    Line {
        /// Its number, from 1.
        line: u64,
        /// What is wrong with it, as a clause.
        why: String,
        /// The first line that was not taken in.
        since: u64,
    },
    /// The store cannot write now.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Memory {
    /// Everything as lines of [`portable`](crate::store::portable), in pieces, as it is at this moment; of one repository if
    /// given.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn export(
        &self,
        repository: Option<String>,
    ) -> Result<mpsc::Receiver<Result<Bytes, StoreError>>, StoreError> {
        self.store.export(repository).await
    }

    /// Begins to take in what was exported.
    pub fn importing(&self) -> Importing<'_> {
        Importing {
            memory: self,
            rest: BytesMut::new(),
            lines: 0,
            batch: Vec::new(),
            bytes: 0,
            since: 1,
            came: End::default(),
            end: None,
            imported: Imported::default(),
        }
    }
}

/// An import under way. What it was given is taken in batch by batch, each all or nothing.
#[derive(Debug)]
pub struct Importing<'a> {
    memory: &'a Memory,
    /// The beginning of a line whose end is to come.
    rest: BytesMut,
    /// Lines that were read.
    lines: u64,
    batch: Vec<Line>,
    bytes: usize,
    /// The first line that was not taken in yet.
    since: u64,
    came: End,
    end: Option<End>,
    imported: Imported,
}

impl Importing<'_> {
    /// Takes more of it, cut wherever.
    ///
    /// # Errors
    /// [`ImportError`].
    pub async fn take(&mut self, piece: &[u8]) -> Result<(), ImportError> {
        let mut piece = piece;
        while let Some(at) = piece.iter().position(|byte| *byte == b'\n') {
            let (head, tail) = piece.split_at(at);
            piece = &tail[1..];
            self.longer(head)?;
            let line = self.rest.split();
            self.line(&line).await?;
        }
        self.longer(piece)
    }

    fn longer(&mut self, more: &[u8]) -> Result<(), ImportError> {
        if self.rest.len() + more.len() > LONGEST_LINE {
            self.lines += 1;
            return Err(self.wrong(format!("it is longer than {} MiB", LONGEST_LINE >> 20)));
        }
        self.rest.extend_from_slice(more);
        Ok(())
    }

    fn wrong(&self, why: String) -> ImportError {
        ImportError::Line { line: self.lines, why, since: self.since }
    }

    async fn line(&mut self, line: &[u8]) -> Result<(), ImportError> {
        self.lines += 1;
        if self.lines == 1 {
            return Header::check(line).map_err(|why| self.wrong(why));
        }
        if line.trim_ascii().is_empty() {
            return Ok(());
        }
        if self.end.is_some() {
            return Err(self.wrong("there is something behind the end".to_owned()));
        }
        let read = serde_json::from_slice::<Line>(line)
            .map_err(|error| format!("it cannot be read: {error}"))
            .and_then(|read| match &read {
                Line::Record(record) => record.words().map(|_| read),
                _ => Ok(read),
            });
        match read.map_err(|why| self.wrong(why))? {
            Line::Memory(_) => self.came.memories += 1,
            Line::End(end) => self.end = Some(end),
            read => {
                self.came.count(&read);
                if !matches!(read, Line::Memory(_)) {
                    self.bytes += line.len();
                    self.batch.push(read);
                }
            }
        }
        if self.batch.len() >= BATCH || self.bytes >= BATCH_BYTES { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<(), ImportError> {
        let batch = std::mem::take(&mut self.batch);
        self.bytes = 0;
        self.imported.add(self.memory.store.import(batch).await?);
        self.since = self.lines + 1;
        self.memory.note_changed();
        Ok(())
    }

    /// The end of it; what came of all.
    ///
    /// # Errors
    /// [`ImportError`]; also if the last line is missing, or there were more lines once than have come.
    pub async fn finish(mut self) -> Result<Imported, ImportError> {
        let rest = self.rest.split();
        if !rest.is_empty() {
            self.line(&rest).await?;
        }
        if self.lines == 0 {
            return Err(self.wrong("there is nothing".to_owned()));
        }
        self.flush().await?;
        match &self.end {
            None => Err(self.wrong("it was cut off: the line that ends it is missing".to_owned())),
            Some(end) if *end != self.came => {
                Err(self
                    .wrong("it is not whole: its last line counts more, or fewer, than have come".to_owned()))
            }
            Some(_) => Ok(self.imported),
        }
    }
}

#[cfg(test)]
mod tests;
