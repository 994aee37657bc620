//! `export` and `import`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use bytes::Bytes;
use clap::Args;
use futures_util::stream;
use http::Method;
use tokio::sync::mpsc;

use super::service::Running;
use super::show;
use crate::store::portable::Imported;

/// How much of a file is read at a time.
const PIECE: usize = 64 * 1024;

/// Where to, and how much.
#[derive(Debug, Args)]
pub struct Export {
    /// The file to make; must not exist. Without one, or with -, it is standard output
    file: Option<PathBuf>,
    /// Only this repository (owner/name)
    #[arg(long)]
    repository: Option<String>,
}

/// Where from.
#[derive(Debug, Args)]
pub struct Import {
    /// A file that `export` made; - is standard input
    file: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Export {
    pub(super) async fn run(&self, service: &Running) -> anyhow::Result<()> {
        let file = self.file.as_deref().filter(|file| *file != Path::new("-"));
        let query: Vec<_> =
            self.repository.clone().map(|repository| ("repository", repository)).into_iter().collect();
        let Some(file) = file else {
            return self.write(service, &query, &mut io::stdout().lock()).await;
        };
        ensure!(!file.exists(), "{} exists already; an export never overwrites a file", file.display());
        let unfinished = file.with_added_extension("unfinished");
        let written = self.written_to(service, &query, file, &unfinished).await;
        if written.is_err() {
            // What is not whole is of no use.
            let _ = fs::remove_file(&unfinished);
        }
        written
    }

    async fn written_to(
        &self,
        service: &Running,
        query: &[(&str, String)],
        file: &Path,
        unfinished: &Path,
    ) -> anyhow::Result<()> {
        let named = || format!("cannot write {}", unfinished.display());
        let mut open = OpenOptions::new();
        let mut out =
            open.write(true).create(true).truncate(true).mode(0o600).open(unfinished).with_context(named)?;
        self.write(service, query, &mut out).await?;
        out.sync_all().and_then(|()| fs::rename(unfinished, file)).with_context(named)?;
        println!("{}: {} bytes", file.display(), fs::metadata(file).with_context(named)?.len());
        Ok(())
    }

    async fn write(
        &self,
        service: &Running,
        query: &[(&str, String)],
        out: &mut impl Write,
    ) -> anyhow::Result<()> {
        let mut answer = service.with_token(Method::GET, "/memory/export", query, None).await?;
        let mut last = Vec::new();
        while let Some(piece) =
            answer.chunk().await.context("the export was broken off; the service's log says why")?
        {
            out.write_all(&piece).context("cannot write")?;
            keep_end(&mut last, &piece);
        }
        ensure!(
            last.ends_with(b"}}\n") && String::from_utf8_lossy(&last).contains("{\"end\":"),
            "the export is not whole: its last line is missing"
        );
        out.flush().context("cannot write")
    }
}

/// As much as the last line may have.
fn keep_end(last: &mut Vec<u8>, piece: &[u8]) {
    const LONGEST: usize = 300;
    last.extend_from_slice(piece.get(piece.len().saturating_sub(LONGEST)..).unwrap_or(piece));
    last.drain(..last.len().saturating_sub(LONGEST));
}

impl Import {
    pub(super) async fn run(&self, service: &Running) -> anyhow::Result<()> {
        let shown = self.file.display().to_string();
        let input: Box<dyn Read + Send> = match self.file == Path::new("-") {
            true => Box::new(io::stdin()),
            false => Box::new(File::open(&self.file).with_context(|| format!("cannot read {shown}"))?),
        };
        let body = reqwest::Body::wrap_stream(stream::unfold(pieces(input), async |mut pieces| {
            Some((pieces.recv().await?, pieces))
        }));
        let answer = service
            .with_token(Method::POST, "/memory/import", &[], Some(("application/x-ndjson", body)))
            .await;
        let imported: Imported =
            answer.with_context(|| shown.clone())?.json().await.context("the answer cannot be read")?;
        match self.json {
            true => println!("{}", serde_json::to_string_pretty(&imported)?),
            false => print!("{}", show::imported(&imported)),
        }
        Ok(())
    }
}

/// The pieces of a file, read on a thread of its own as fast as they are taken.
fn pieces(input: Box<dyn Read + Send>) -> mpsc::Receiver<io::Result<Bytes>> {
    let (sender, receiver) = mpsc::channel(4);
    std::thread::spawn(move || {
        let mut input = io::BufReader::with_capacity(PIECE, input);
        loop {
            let piece = input.fill_buf().map(Bytes::copy_from_slice);
            let length = piece.as_ref().map_or(0, Bytes::len);
            let is_last = length == 0;
            let unwanted = (piece.is_err() || !is_last) && sender.blocking_send(piece).is_err();
            if is_last || unwanted {
                return;
            }
            input.consume(length);
        }
    });
    receiver
}
