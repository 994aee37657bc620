//! What may stand in a file that a service manager reads.

use std::path::Path;

use anyhow::{Context, bail};

/// A text of one line. Line breaks and other control characters could say something of their own.
pub(super) fn plain<'a>(what: &str, text: &'a str) -> anyhow::Result<&'a str> {
    if text.chars().any(|sign| sign.is_control() || ['\u{fffe}', '\u{ffff}'].contains(&sign)) {
        bail!("{what} {text:?} has a control character, which no service file can hold");
    }
    Ok(text)
}

/// A path that means the same wherever it is read.
pub(super) fn path(path: &Path) -> anyhow::Result<&str> {
    let text = path.to_str().with_context(|| format!("{} is not valid UTF-8", path.display()))?;
    if !path.is_absolute() {
        bail!("{text} is not an absolute path");
    }
    plain("path", text)
}
