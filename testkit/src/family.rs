//! A process and all that descend from it, stopped and killed by their ids.

use std::{collections::HashMap, process::Command};

use anyhow::{Context, ensure};

use crate::crash::process::run;

/// One line of `ps`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Process {
    pid: u32,
    parent: u32,
    name: String,
}

/// Everybody who runs, at one moment.
#[derive(Debug)]
pub(crate) struct Census(Vec<Process>);

impl Census {
    /// As of now.
    pub(crate) fn take() -> anyhow::Result<Self> {
        let output = Command::new("ps").args(["-A", "-o", "pid=,ppid=,comm="]).output();
        let output = output.context("ps is missing (package procps)")?;
        ensure!(output.status.success(), "ps ended with {}", output.status);
        Ok(Self::read(&String::from_utf8_lossy(&output.stdout)))
    }

    fn read(text: &str) -> Self {
        let process = |line: &str| {
            let mut words = line.split_whitespace();
            let (pid, parent) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
            // Some systems show the whole path.
            let name = words.next()?.rsplit('/').next()?.to_owned();
            Some(Process { pid, parent, name })
        };
        Self(text.lines().filter_map(process).collect())
    }

    /// `root` and all that descend from it, parents first: none of them is there to start what was killed again.
    pub(crate) fn family(&self, root: u32) -> Vec<u32> {
        let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
        for process in &self.0 {
            children.entry(process.parent).or_default().push(process.pid);
        }
        let mut family = vec![root];
        let mut next = 0;
        while let Some(pid) = family.get(next) {
            family.extend(children.remove(pid).unwrap_or_default());
            next += 1;
        }
        family
    }

    /// Whether a process of this id runs a program of this name.
    pub(crate) fn is(&self, pid: u32, name: &str) -> bool {
        self.0.iter().any(|process| process.pid == pid && process.name == name)
    }

    /// Those of a family that run a program of this name.
    pub(crate) fn named(&self, root: u32, name: &str) -> Vec<u32> {
        let family = self.family(root);
        let wanted = |process: &&Process| process.name == name && family.contains(&process.pid);
        self.0.iter().filter(wanted).map(|process| process.pid).collect()
    }
}

/// Sends a signal to each; one that has ended is not missed.
pub(crate) fn signal(signal: &str, pids: &[u32]) {
    for pid in pids {
        let _ = run("kill", &[&format!("-{signal}"), &pid.to_string()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_all_who_descend_and_nobody_else() {
        let census = Census::read(
            "    1     0 init\n   10     1 bash\n   11    10 /usr/bin/ssh\n   12    11 ssh\n   20     1 ssh\n 99\n",
        );
        assert_eq!(census.family(10), [10, 11, 12]);
        assert_eq!(census.named(10, "ssh"), [11, 12]);
        assert_eq!(census.family(20), [20]);
        assert!(census.named(1, "sshd").is_empty());
    }

    #[test]
    fn this_test_is_somebodys_child() {
        let census = Census::take().unwrap();
        assert!(census.family(1).contains(&std::process::id()));
    }
}
