//! What the kernel says that the relay's process may do.

use std::fs;

use anyhow::Context;

use super::{container::Container, report::Report};

/// Nobody's number; as the Dockerfile has it.
const NOBODY: &str = "65532";

/// Looks at the process from outside, and has it try to write where it must not.
pub(super) async fn look(relay: &Container<'_>, report: &mut Report) -> anyhow::Result<()> {
    let container = relay.inspect(&relay.id().await?).await?;
    let pid = container["State"]["Pid"].as_u64().context("the container has no process")?;
    let read = |name: &str| {
        fs::read_to_string(format!("/proc/{pid}/{name}")).with_context(|| format!("/proc/{pid}/{name}"))
    };
    let (status, mounts) = (read("status")?, read("mountinfo")?);
    for (what, name, wanted) in [
        ("user ids", "Uid", [NOBODY; 4].join(" ")),
        ("group ids", "Gid", [NOBODY; 4].join(" ")),
        ("capabilities", "CapEff", "0".repeat(16)),
        ("capabilities it could get", "CapBnd", "0".repeat(16)),
        ("no new privileges", "NoNewPrivs", "1".to_owned()),
        ("system calls filtered", "Seccomp", "2".to_owned()),
    ] {
        let found = field(&status, name);
        report.row(what, &found, found == wanted);
    }
    let root = options(&mounts, "/").unwrap_or_default();
    report.row("root file system", &root, root.split(',').any(|option| option == "ro"));
    let data = options(&mounts, "/data").unwrap_or_default();
    report.row("/data", &data, data.split(',').any(|option| option == "rw"));
    let network = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/net"));
    let shared = network(&pid.to_string())? == network("self")?;
    report.row("network", if shared { "the host's" } else { "its own" }, shared);
    let outside = match relay.relay(&["backup", "/outside.db"]).await {
        Ok(_) => "written".to_owned(),
        Err(error) => refusal(&format!("{error:#}")),
    };
    report.row("a file outside of /data", &outside, outside == "refused: read-only file system");
    Ok(())
}

/// A field of `/proc/PID/status`, its parts one blank apart.
fn field(status: &str, name: &str) -> String {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or("missing").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The options of the file system at a place, by `/proc/PID/mountinfo`: the sixth field.
fn options(mounts: &str, place: &str) -> Option<String> {
    let line = mounts.lines().rfind(|line| line.split(' ').nth(4) == Some(place))?;
    line.split(' ').nth(5).map(str::to_owned)
}

fn refusal(error: &str) -> String {
    let known = "read-only file system";
    if error.to_lowercase().contains(known) {
        return format!("refused: {known}");
    }
    error.trim().lines().last().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_understood() {
        assert_eq!(field("Name:\trelay\nUid:\t65532\t65532\t0\t1\nCapEff:\t00\n", "Uid"), "65532 65532 0 1");
        assert_eq!(field("Name:\trelay\n", "CapEff"), "missing");
        let mounts = "551 431 0:49 / / ro,relatime - overlay overlay rw,lowerdir=x\n552 551 254:0 /v /data rw,relatime - ext4 /dev/vda rw\n";
        assert_eq!(options(mounts, "/").unwrap(), "ro,relatime");
        assert_eq!(options(mounts, "/data").unwrap(), "rw,relatime");
        assert_eq!(options(mounts, "/tmp"), None);
    }
}
