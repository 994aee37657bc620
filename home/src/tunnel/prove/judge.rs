//! What an attempt came to, read off what ssh and the VPS said.

use serde::Serialize;

use crate::tunnel::supervise::said::FORBIDDEN;

/// What an attempt ended as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outcome {
    /// The VPS refused.
    Closed,
    /// The VPS let us through.
    Open,
    /// The VPS neither refused nor let us through: no proof.
    Unclear,
    /// This machine cannot make the attempt.
    Skipped,
}

/// An outcome and what shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Verdict {
    /// How it ended.
    pub(super) outcome: Outcome,
    /// In words.
    pub(super) detail: String,
}

impl Verdict {
    /// The VPS refused.
    pub(super) fn closed(detail: impl Into<String>) -> Self {
        Self { outcome: Outcome::Closed, detail: detail.into() }
    }

    /// The VPS let us through.
    pub(super) fn open(detail: impl Into<String>) -> Self {
        Self { outcome: Outcome::Open, detail: detail.into() }
    }

    /// No proof.
    pub(super) fn unclear(detail: impl Into<String>) -> Self {
        Self { outcome: Outcome::Unclear, detail: detail.into() }
    }

    /// Not tried.
    pub(super) fn skipped(detail: impl Into<String>) -> Self {
        Self { outcome: Outcome::Skipped, detail: detail.into() }
    }
}

/// What an attempt left behind.
#[derive(Debug, Clone, Default)]
pub(super) struct Evidence {
    /// What `ssh -vv` said.
    pub(super) said: String,
    /// What came from the VPS.
    pub(super) out: Vec<u8>,
    /// How ssh ended, if it did so by itself.
    pub(super) status: Option<i32>,
}

impl Evidence {
    /// The VPS took our key.
    pub(super) fn logged_in(&self) -> bool {
        self.says("Authenticated to ")
    }

    fn says(&self, words: &str) -> bool {
        self.said.contains(words)
    }

    fn printed(&self) -> String {
        let text = String::from_utf8_lossy(&self.out);
        text.lines()
            .map(str::trim)
            .find(|line| !line.is_empty())
            .unwrap_or_default()
            .chars()
            .take(60)
            .collect()
    }

    /// The last thing that was said other than by `-v`.
    pub(super) fn last_words(&self) -> String {
        let chatter =
            ["debug1:", "debug2:", "OpenSSH_", "Authenticated to ", "Transferred:", "Bytes per second:"];
        let words = self.said.lines().rev().map(str::trim);
        let mut words =
            words.filter(|line| !line.is_empty() && !chatter.iter().any(|one| line.starts_with(one)));
        words.next().unwrap_or("no answer in time").to_owned()
    }
}

/// What the VPS's shell makes of [`COMMAND`], and nothing that only repeats it.
const RAN: &str = "ai-relay-42-proof";
/// A command that shows that it ran.
pub(super) const COMMAND: &str = "sh -c 'echo ai-relay-$((6*7))-proof:$SSH_AUTH_SOCK'";
const NO_SESSION: &str = "no session is opened";

/// A command, or a shell that is told one.
pub(super) fn command(evidence: &Evidence) -> Verdict {
    let printed = evidence.printed();
    if String::from_utf8_lossy(&evidence.out).contains(RAN) {
        return Verdict::open("it ran");
    }
    if evidence.says("open failed") {
        return Verdict::closed(NO_SESSION);
    }
    match evidence.status {
        Some(0) if !printed.is_empty() => Verdict::open(format!("something else ran and printed: {printed}")),
        Some(status) if printed.is_empty() => {
            Verdict::closed(format!("it did not run; exit status {status}"))
        }
        Some(status) => Verdict::closed(format!("it did not run; exit status {status}, printed: {printed}")),
        None => Verdict::unclear(format!("something runs that does not end: {}", evidence.last_words())),
    }
}

/// A terminal.
pub(super) fn terminal(evidence: &Evidence) -> Verdict {
    request(evidence, "PTY allocation request")
}

/// Windows of programs on the VPS, on this machine's screen.
pub(super) fn x11(evidence: &Evidence) -> Verdict {
    request(evidence, "X11 forwarding request")
}

fn request(evidence: &Evidence, name: &str) -> Verdict {
    if evidence.says(&format!("{name} accepted")) {
        Verdict::open("granted")
    } else if evidence.says("open failed") {
        Verdict::closed(NO_SESSION)
    } else if evidence.says(&format!("{name} failed")) {
        Verdict::closed("refused")
    } else {
        Verdict::unclear(evidence.last_words())
    }
}

/// The sftp server answers with its version: packet type 2 behind four bytes of length.
pub(super) fn sftp(evidence: &Evidence) -> Verdict {
    if evidence.out.get(4) == Some(&2) {
        Verdict::open("its file server answers")
    } else if evidence.says("open failed") {
        Verdict::closed(NO_SESSION)
    } else if evidence.says("subsystem request failed") {
        Verdict::closed("refused")
    } else if let Some(status) = evidence.status {
        Verdict::closed(format!("no file server answers; exit status {status}"))
    } else {
        Verdict::unclear(evidence.last_words())
    }
}

/// Our agent, seen by what runs on the VPS. Nobody answers the request itself.
pub(super) fn agent(evidence: &Evidence) -> Verdict {
    let out = String::from_utf8_lossy(&evidence.out);
    if out.contains(&format!("{RAN}:/")) {
        Verdict::open("a command on the VPS has a socket to it")
    } else if out.contains(RAN) {
        Verdict::closed("a command ran, and had no agent")
    } else if evidence.says("open failed") {
        Verdict::closed(NO_SESSION)
    } else if let Some(status) = evidence.status {
        Verdict::closed(format!("nothing of ours runs there that could use it; exit status {status}"))
    } else {
        Verdict::unclear(evidence.last_words())
    }
}

/// A connection from the VPS to some place.
pub(super) fn passage(evidence: &Evidence) -> Verdict {
    if evidence.says("open failed: administratively prohibited") {
        Verdict::closed("prohibited")
    } else if evidence.says("open failed: connect failed") {
        Verdict::open("allowed; only the place did not answer")
    } else if evidence.says("open confirm") {
        Verdict::open("connected")
    } else {
        Verdict::unclear(evidence.last_words())
    }
}

/// Connections to sockets in the VPS's file system. Refused and absent look the same.
pub(super) fn unix_passage(evidence: &Evidence) -> Verdict {
    if evidence.says("open confirm") {
        Verdict::open("connected")
    } else if evidence.says("open failed") {
        Verdict::closed("refused")
    } else {
        Verdict::unclear(evidence.last_words())
    }
}

/// A network device.
pub(super) fn tun(evidence: &Evidence) -> Verdict {
    let here = ["Tunnel device open failed", "Tunnel interfaces are not supported"];
    if here.iter().any(|words| evidence.says(words)) {
        Verdict::skipped("this account cannot make such a device on this machine")
    } else if evidence.says("tunnel forward established") || evidence.says("open confirm") {
        Verdict::open("granted")
    } else if evidence.says("open failed") {
        Verdict::closed("refused")
    } else {
        Verdict::unclear(evidence.last_words())
    }
}

/// A port or socket of the VPS that we want to listen on.
pub(super) fn listen(evidence: &Evidence) -> Verdict {
    if evidence.says("remote forward success") {
        Verdict::open("granted")
    } else if FORBIDDEN.iter().any(|words| evidence.says(words)) {
        Verdict::closed("refused")
    } else if evidence.says("remote forward failure") {
        Verdict::open("allowed; only the port is taken at the moment")
    } else {
        Verdict::unclear(evidence.last_words())
    }
}

/// What the VPS offers to somebody without a key.
pub(super) fn password(evidence: &Evidence) -> Verdict {
    if evidence.logged_in() {
        return Verdict::open("no key is needed at all");
    }
    let offered = evidence.said.split_once("Authentications that can continue: ");
    let Some(offered) = offered.and_then(|(_, rest)| rest.lines().next()).map(str::trim) else {
        return Verdict::unclear(evidence.last_words());
    };
    let guessable: Vec<_> = offered.split(',').filter(|way| *way != "publickey").collect();
    if guessable.is_empty() {
        Verdict::closed("only a key is taken")
    } else {
        Verdict::open(format!("the account may log in by {}", guessable.join(" or ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(said: &str) -> Evidence {
        Evidence { said: said.to_owned(), out: Vec::new(), status: Some(255) }
    }

    fn printed(out: &[u8], status: i32) -> Evidence {
        Evidence { said: String::new(), out: out.to_vec(), status: Some(status) }
    }

    #[test]
    fn what_lets_through_is_open() {
        let open = [
            command(&printed(b"ai-relay-42-proof:\n", 0)),
            command(&printed(b"welcome to the menu\n", 0)),
            terminal(&said("debug2: PTY allocation request accepted on channel 0")),
            x11(&said("debug2: X11 forwarding request accepted on channel 0")),
            sftp(&printed(b"\0\0\0\x05\x02\0\0\0\x03", 0)),
            agent(&printed(b"ai-relay-42-proof:/tmp/ssh-x/agent.1\n", 0)),
            passage(&said("debug2: channel 0: open confirm rwindow 2097152 rmax 32768")),
            passage(&said("channel 0: open failed: connect failed: Connection refused")),
            unix_passage(&said("debug2: channel 1: open confirm rwindow 2097152")),
            tun(&said("debug1: ssh_tun_confirm: tunnel forward established, id=0")),
            listen(&said("debug1: remote forward success for: listen 0.0.0.0:5050")),
            listen(&said("debug1: remote forward failure for: listen 127.0.0.1:4200")),
            password(&said("debug1: Authentications that can continue: publickey,password")),
            password(&said("Authenticated to vps using \"none\".")),
        ];
        for verdict in open {
            assert_eq!(verdict.outcome, Outcome::Open, "{}", verdict.detail);
        }
    }

    #[test]
    fn what_is_refused_is_closed() {
        let no_session = said("channel 0: open failed: connect failed: open failed");
        let refused = "debug1: Remote: port forwarding refused\ndebug1: remote forward failure for: listen 0.0.0.0:5050";
        let closed = [
            command(&no_session),
            command(&printed(b"", 1)),
            command(&printed(b"This account is currently not available.\n", 1)),
            terminal(&no_session),
            terminal(&said("PTY allocation request failed on channel 0")),
            x11(&said("X11 forwarding request failed on channel 0")),
            sftp(&no_session),
            sftp(&said("subsystem request failed on channel 0")),
            sftp(&printed(b"", 1)),
            agent(&no_session),
            agent(&printed(b"ai-relay-42-proof:\n", 0)),
            passage(&said("channel 0: open failed: administratively prohibited: open failed")),
            unix_passage(&said("channel 1: open failed: connect failed: open failed")),
            tun(&said("channel 0: open failed: connect failed: open failed")),
            listen(&said(refused)),
            listen(&said(
                "debug1: Remote: Server has disabled streamlocal forwarding.\nremote forward failure",
            )),
            password(&said("debug1: Authentications that can continue: publickey\r\n")),
        ];
        for verdict in closed {
            assert_eq!(verdict.outcome, Outcome::Closed, "{}", verdict.detail);
        }
    }

    #[test]
    fn silence_is_no_proof() {
        let silence = Evidence::default();
        let judges: [fn(&Evidence) -> Verdict; 10] =
            [command, terminal, x11, sftp, agent, passage, unix_passage, tun, listen, password];
        for judge in judges {
            assert_eq!(judge(&silence).outcome, Outcome::Unclear);
        }
        assert_eq!(tun(&said("Tunnel device open failed.")).outcome, Outcome::Skipped);
    }
}
