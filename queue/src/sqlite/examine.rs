//! A look at the file from outside, for a doctor: a service may go on working with it.

use std::{path::Path, time::Duration};

use super::{keep, read};
use crate::model::{Examined, Result};

/// Looks at the store at `path`, for damage no longer than `time`; `None` if there is none.
pub(super) fn examine(path: &Path, time: Duration) -> Result<Option<Examined>> {
    if !keep::is_there(path)? {
        return Ok(None);
    }
    let mut connection = keep::open_beside(path)?;
    let version = keep::version(&connection, path)?;
    let whole = keep::look_through(path, &mut connection, Some(time))?;
    // What an earlier version keeps is known when it was upgraded.
    let (lanes, usage) = match version {
        keep::SCHEMA_VERSION => (read::stats(&connection)?, Some(read::usage(&connection)?)),
        _ => (Vec::new(), None),
    };
    Ok(Some(Examined { looked_through: whole, is_current: version == keep::SCHEMA_VERSION, lanes, usage }))
}
