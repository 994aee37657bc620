//! placeholder
use serde::Deserialize;
/// The threshold of the commit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Threshold {
    Blocker,
    Major,
    Minor,
    Nit,
    Never,
}
