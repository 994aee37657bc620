//! The VPS and home as network namespaces. Each has a line to the internet, which is this process; a cable joins the two,
//! and only the tunnel goes through it.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::Path,
    process::Command,
    sync::atomic::{AtomicU16, Ordering},
};

use anyhow::Context;

use super::net::{Cut, Side};
use crate::{crash::process::run, place::Place};

/// How the namespaces' names begin.
const PREFIX: &str = "chaos";
/// Name of the cable's two ends, and of the end of each line that is inside.
const CABLE: &str = "cable";
const LINE: &str = "line";
/// So many of them have addresses of their own; each takes sixteen of 10.198.0.0/16.
const MOST: u16 = 4096;

/// See the module.
#[derive(Debug)]
pub(super) struct Namespaces {
    /// Which addresses are theirs.
    index: u16,
    owner: u32,
}

/// Whether this user may make them here; the text says what is missing.
pub(super) fn possible() -> Result<(), &'static str> {
    let can = |program: &str, arguments: &[&str]| run(program, arguments).is_ok();
    if !can("ip", &["netns", "list"]) {
        return Err("the program ip is missing (package iproute2)");
    }
    let probe = format!("{PREFIX}-{}-probe", std::process::id());
    if !can("ip", &["netns", "add", &probe]) {
        return Err("this user may not make network namespaces (root may)");
    }
    let filters = can("ip", &["netns", "exec", &probe, "iptables", "-S"]);
    // It was made a moment ago, and nothing is in it.
    let _ = run("ip", &["netns", "del", &probe]);
    if filters { Ok(()) } else { Err("iptables is missing or does not work here (package iptables)") }
}

impl Namespaces {
    /// Both, with all lines.
    pub(super) fn new() -> anyhow::Result<Self> {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let owner = std::process::id();
        let index = (u16::try_from(owner % 256)? * 16 + NEXT.fetch_add(1, Ordering::Relaxed) % 16) % MOST;
        let namespaces = Self { index, owner };
        namespaces.make().context("the network namespaces cannot be made")?;
        Ok(namespaces)
    }

    fn make(&self) -> anyhow::Result<()> {
        ip(&format!("address add {}/32 dev lo", self.internet()))?;
        for side in [Side::Vps, Side::Home] {
            self.add(side)?;
        }
        self.join()
    }

    /// The namespace of a side, with its line to the internet.
    fn add(&self, side: Side) -> anyhow::Result<()> {
        let (name, outside) = (self.name(side), self.outside(side));
        let (here, there) = self.line(side);
        ip(&format!("netns add {name}"))?;
        ip(&format!("-n {name} link set lo up"))?;
        ip(&format!("link add {outside} type veth peer name {LINE} netns {name}"))?;
        ip(&format!("address add {here}/30 dev {outside}"))?;
        ip(&format!("link set {outside} up"))?;
        ip(&format!("-n {name} address add {there}/30 dev {LINE}"))?;
        ip(&format!("-n {name} link set {LINE} up"))?;
        ip(&format!("-n {name} route add default via {here}"))
    }

    /// The cable between the two.
    fn join(&self) -> anyhow::Result<()> {
        let [vps, home] = [Side::Vps, Side::Home].map(|side| self.name(side));
        ip(&format!("link add {CABLE} netns {vps} type veth peer name {CABLE} netns {home}"))?;
        for (name, address) in [(vps, self.address(9)), (home, self.address(10))] {
            ip(&format!("-n {name} address add {address}/30 dev {CABLE}"))?;
            ip(&format!("-n {name} link set {CABLE} up"))?;
        }
        Ok(())
    }

    fn name(&self, side: Side) -> String {
        format!("{PREFIX}-{}-{}-{}", self.owner, self.index, word(side))
    }

    /// The outer end of a line; the kernel takes at most fifteen letters.
    fn outside(&self, side: Side) -> String {
        format!("{PREFIX}{}{}", self.index, word(side))
    }

    fn address(&self, host: u16) -> Ipv4Addr {
        let [high, low] = (self.index * 16 + host).to_be_bytes();
        Ipv4Addr::new(10, 198, high, low)
    }

    /// A line's outer and inner address.
    fn line(&self, side: Side) -> (Ipv4Addr, Ipv4Addr) {
        match side {
            Side::Vps => (self.address(1), self.address(2)),
            Side::Home => (self.address(5), self.address(6)),
        }
    }

    /// Where the internet's services listen.
    pub(super) fn internet(&self) -> IpAddr {
        self.address(13).into()
    }

    /// The VPS's end of the cable.
    pub(super) fn vps_at_cable(&self) -> IpAddr {
        self.address(9).into()
    }

    /// See [`super::net::Net::place`].
    pub(super) fn place(&self, side: Side) -> Place {
        Place { address: self.line(side).1.into(), namespace: Some(self.name(side)) }
    }

    /// From now on one side or both drop what comes in by the cable.
    pub(super) fn cut(&self, cut: Cut) -> anyhow::Result<()> {
        for side in [Side::Vps, Side::Home].into_iter().filter(|side| cut.silences(*side)) {
            self.filter(side, &["-A", "INPUT", "-i", CABLE, "-j", "DROP"])?;
        }
        Ok(())
    }

    /// They drop nothing any more.
    pub(super) fn mend(&self) -> anyhow::Result<()> {
        [Side::Vps, Side::Home].into_iter().try_for_each(|side| self.filter(side, &["-F"]))
    }

    fn filter(&self, side: Side, rule: &[&str]) -> anyhow::Result<()> {
        let name = self.name(side);
        run("ip", &[&["netns", "exec", &name, "iptables", "-w"], rule].concat())
    }

    /// Nothing goes into a side or out of it, not even that its connections end.
    pub(super) fn unplug(&self, side: Side) -> anyhow::Result<()> {
        ["INPUT", "OUTPUT"].into_iter().try_for_each(|chain| self.filter(side, &["-P", chain, "DROP"]))
    }

    /// A side anew, with its line and the cable. What its kernel knew of connections is gone with the old one.
    pub(super) fn make_anew(&self, side: Side) -> anyhow::Result<()> {
        // The old one may live on, without a name, until its last connection is given up.
        ip(&format!("-n {} link del {CABLE}", self.name(side)))?;
        ip(&format!("link del {}", self.outside(side)))?;
        ip(&format!("netns del {}", self.name(side)))?;
        self.add(side)?;
        self.join()
    }

    /// Ends what still runs in a side, then takes the side away. All that may be gone already.
    fn remove(&self, side: Side) {
        let name = self.name(side);
        let running = Command::new("ip").args(["netns", "pids", &name]).output();
        let running = running.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        for pid in running.unwrap_or_default().split_whitespace() {
            let _ = run("kill", &["-KILL", pid]);
        }
        let _ = ip(&format!("link del {}", self.outside(side)));
        let _ = ip(&format!("netns del {name}"));
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        self.remove(Side::Vps);
        self.remove(Side::Home);
        let _ = ip(&format!("address del {}/32 dev lo", self.internet()));
    }
}

/// Removes what a run left behind that was itself killed.
pub(super) fn sweep() {
    let names = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    for name in names.filter_map(|entry| entry.file_name().into_string().ok()) {
        if let Some(left) = left_behind(&name, |pid| Path::new(&format!("/proc/{pid}")).exists()) {
            drop(left);
        }
    }
}

/// The namespaces that one of this name belongs to, if whoever made them is gone.
fn left_behind(name: &str, runs: impl Fn(u32) -> bool) -> Option<Namespaces> {
    let mut words = name.strip_prefix(PREFIX)?.strip_prefix('-')?.split('-');
    let (owner, index) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    (!runs(owner)).then_some(Namespaces { index, owner })
}

fn word(side: Side) -> &'static str {
    match side {
        Side::Vps => "vps",
        Side::Home => "home",
    }
}

fn ip(arguments: &str) -> anyhow::Result<()> {
    run("ip", &arguments.split(' ').collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_addresses_of_its_own_and_names_that_the_kernel_takes() {
        let last = std::mem::ManuallyDrop::new(Namespaces { index: MOST - 1, owner: 4_194_304 });
        assert_eq!(last.internet().to_string(), "10.198.255.253");
        assert_eq!(last.name(Side::Home), "chaos-4194304-4095-home");
        assert!(last.outside(Side::Home).len() <= 15);
    }

    #[test]
    fn only_what_a_dead_run_made_is_swept() {
        let of = |name, runs| left_behind(name, |_| runs).map(std::mem::ManuallyDrop::new);
        assert!(of("chaos-12-34-vps", true).is_none());
        let left = of("chaos-12-34-vps", false).unwrap();
        assert_eq!((left.owner, left.index), (12, 34));
        for foreign in ["work", "chaos", "chaos-a-b", "chaos-12"] {
            assert!(of(foreign, false).is_none(), "{foreign}");
        }
    }
}
