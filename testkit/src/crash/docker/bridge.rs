//! A bridge of our own in place of `docker0`, which this machine need not have: where the compose file has the relay listen.

use super::super::process::run;

/// A bridge with one address; gone when dropped.
#[derive(Debug)]
pub(super) struct Bridge {
    pub(super) name: String,
    pub(super) address: String,
}

impl Bridge {
    /// Makes one that nobody else has, by a port that nobody else has.
    ///
    /// # Errors
    /// The system's own words.
    pub(super) fn new(port: u16) -> anyhow::Result<Self> {
        let [high, low] = port.to_be_bytes();
        let bridge = Self { name: format!("relay{port}"), address: format!("10.213.{high}.{low}") };
        run("ip", &["link", "add", &bridge.name, "type", "bridge"])?;
        run("ip", &["address", "add", &format!("{}/32", bridge.address), "dev", &bridge.name])?;
        Ok(bridge)
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        // What stays has no port and no route; the next run makes another one.
        let _ = run("ip", &["link", "delete", &self.name]);
    }
}
