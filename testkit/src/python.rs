//! The Python environment that `scripts/real-model.sh` installs: a real embedding model, and the official clients.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Below the folder of the test tools: the environment, what the script could not install and why, and the model.
const ENVIRONMENT: &str = "python";
const FELL_BACK: &str = "python.fell-back";
const MODEL: &str = "all-minilm.gguf";

/// The installed environment.
#[derive(Debug, Clone)]
pub struct Python {
    tools: PathBuf,
}

/// Why there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// The script tried to install it and could not: tests do without, and say so.
    FellBack(String),
    /// The script has not run: a test that needs it fails.
    NotInstalled(PathBuf),
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FellBack(reason) => {
                write!(f, "no real embedding model and no official Python client, but stand-ins: {reason}")
            }
            Self::NotInstalled(path) => {
                write!(f, "{} is missing; run scripts/real-model.sh, which installs it", path.display())
            }
        }
    }
}

impl std::error::Error for Missing {}

impl Python {
    /// Looks for it in `tools`, the folder of the test tools: `target/test-tools` below the repository's root.
    ///
    /// # Errors
    /// [`Missing`].
    pub fn find(tools: &Path) -> Result<Self, Missing> {
        let tools = std::path::absolute(tools).unwrap_or_else(|_| tools.to_owned());
        let found = Self { tools };
        if let Ok(reason) = fs::read_to_string(found.tools.join(FELL_BACK)) {
            return Err(Missing::FellBack(reason.trim().to_owned()));
        }
        match [found.program(), found.model()].into_iter().find(|path| !path.exists()) {
            None => Ok(found),
            Some(path) => Err(Missing::NotInstalled(path)),
        }
    }

    /// The interpreter.
    pub fn program(&self) -> PathBuf {
        self.tools.join(ENVIRONMENT).join("bin/python")
    }

    /// The embedding model as a GGUF.
    pub fn model(&self) -> PathBuf {
        self.tools.join(MODEL)
    }

    /// A program of `testkit/python`, with nothing of this process's environment. Add its arguments.
    pub fn script(&self, name: &str) -> Command {
        let mut command = Command::new(self.program());
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin");
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(name));
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told_apart() {
        let tools = tempfile::tempdir().unwrap();
        let missing = Python::find(tools.path()).unwrap_err();
        assert!(missing.to_string().contains("run scripts/real-model.sh"), "{missing}");
        fs::create_dir_all(tools.path().join("python/bin")).unwrap();
        fs::write(tools.path().join("python/bin/python"), "").unwrap();
        fs::write(tools.path().join(MODEL), "").unwrap();
        assert!(Python::find(tools.path()).is_ok());
        fs::write(tools.path().join(FELL_BACK), "no network\n").unwrap();
        assert_eq!(Python::find(tools.path()).unwrap_err(), Missing::FellBack("no network".into()));
    }
}
