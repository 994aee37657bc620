//! Follows a log file of JSON lines.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
};

use anyhow::Context;
use jiff::Timestamp;
use serde_json::Value;

use super::steps::Step;

/// A log file, read from where it ended when we began.
#[derive(Debug)]
pub(super) struct Tail {
    file: File,
    /// The beginning of a line whose end is not written yet.
    rest: Vec<u8>,
}

impl Tail {
    pub(super) fn from_end(path: &Path) -> anyhow::Result<Self> {
        let open = || {
            let mut file = File::open(path)?;
            file.seek(SeekFrom::End(0))?;
            Ok::<_, std::io::Error>(file)
        };
        let file = open().with_context(|| format!("cannot read the log {}", path.display()))?;
        Ok(Self { file, rest: Vec::new() })
    }

    /// The steps of a delivery that were logged since the last look.
    pub(super) fn read(&mut self, delivery: &str) -> anyhow::Result<Vec<Step>> {
        self.file.read_to_end(&mut self.rest).context("the log cannot be read")?;
        let complete = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let lines: Vec<u8> = self.rest.drain(..complete).collect();
        Ok(lines.split(|byte| *byte == b'\n').filter_map(|line| step(line, delivery)).collect())
    }
}

/// The step that a line tells of, if it is one of this delivery.
fn step(line: &[u8], delivery: &str) -> Option<Step> {
    let line: Value = serde_json::from_slice(line).ok()?;
    if line["delivery"].as_str() != Some(delivery) || line["step"].is_null() {
        return None;
    }
    let at: Timestamp = line["timestamp"].as_str()?.parse().ok()?;
    let took = line["ms"].as_u64().map(|ms| format!("took {ms} ms"));
    let error = line["error"].as_str().map(str::to_owned);
    Some(Step::new(at, line["message"].as_str()?, error.or(took).as_deref().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const DIFF: &str = r#"{"timestamp":"2026-11-22T10:00:00.040123Z","level":"INFO","delivery":"a","step":"diff","ms":3,"message":"diff read"}"#;

    #[test]
    fn only_whole_lines_of_this_delivery_that_are_new() {
        let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        let mut file = File::options().append(true).open(&path).unwrap();
        writeln!(file, "{DIFF}").unwrap();
        let mut tail = Tail::from_end(&path).unwrap();
        assert_eq!(tail.read("a").unwrap(), []);
        let other = DIFF.replace(r#""a""#, r#""b""#);
        let (first, second) = DIFF.split_at(50);
        write!(file, "not JSON\n{other}\n{first}").unwrap();
        assert_eq!(tail.read("a").unwrap(), []);
        writeln!(file, "{second}").unwrap();
        let at = "2026-11-22T10:00:00.040123Z".parse().unwrap();
        assert_eq!(tail.read("a").unwrap(), [Step::new(at, "diff read", "took 3 ms")]);
        assert_eq!(tail.read("a").unwrap(), []);
    }
}
