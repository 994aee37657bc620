//! The memory's file.

use std::path::Path;
use std::time::Duration;

use shared::doctor::Finding;

use crate::store::sqlite::{Glance, glance};
use crate::store::{StoreError, VectorModel};

/// How long damage is looked for.
const LOOK: Duration = Duration::from_secs(5);

/// Looks at it, and tells whose vectors are in it.
pub(super) fn examine(path: &Path) -> (Vec<Finding>, Vec<VectorModel>) {
    let check = "memory file";
    let restore =
        "stop the service, then `ollama-endpoint restore FILE` with your last `ollama-endpoint backup FILE`";
    let seen = match glance(path, LOOK) {
        Ok(seen) => seen,
        Err(StoreError::Unfit(_)) if !path.exists() => {
            return (vec![Finding::skipped(check, "there is none yet")], vec![]);
        }
        Err(error @ StoreError::Newer { .. }) => {
            let mend = "install the version that wrote it, or bring back a backup of this version's";
            return (vec![Finding::fail(check, error.to_string(), mend)], vec![]);
        }
        Err(StoreError::Unfit(why)) => {
            return (vec![Finding::warn(check, why, "start the service once")], vec![]);
        }
        Err(error) => return (vec![Finding::fail(check, shared::error::chain(&error), restore)], vec![]),
    };
    let Glance { damage, looked_through, memories, models } = seen;
    let finding = match damage {
        Some(damage) => Finding::fail(check, format!("it is damaged: {damage}"), restore),
        None if looked_through => Finding::ok(check, format!("no damage, {memories} memories")),
        None => Finding::ok(
            check,
            format!(
                "no damage in the part that was looked at, {memories} memories; `ollama-endpoint check` looks at all"
            ),
        ),
    };
    (vec![finding], models)
}
