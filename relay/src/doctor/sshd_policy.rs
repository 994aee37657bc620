//! What sshd lets the tunnel's account do, as `sshd -T -C user=…` tells it, held against what `setup-tunnel.sh` writes. Pure.

use std::collections::BTreeMap;

use shared::doctor::Finding;

/// A cut tunnel's port should be free again after so many seconds.
const FREE_WITHIN: u64 = 60;
const APPLY: &str = "on the Mac: ./scripts/setup-tunnel.sh setup … --apply root@VPS; by hand: /etc/ssh/sshd_config.d/ai-relay.conf as setup prints it";

/// A setting that must have one value or, for the command, must not.
struct Door {
    name: &'static str,
    /// The value with which it is shut; of the command, the one with which it is open.
    shut: &'static str,
    check: &'static str,
    may: &'static str,
    /// Whether `restrict,command=` in `authorized_keys` shuts it as well.
    by_key: bool,
}

const fn door(
    name: &'static str,
    shut: &'static str,
    check: &'static str,
    may: &'static str,
    by_key: bool,
) -> Door {
    Door { name, shut, check, may, by_key }
}

const DOORS: [Door; 6] = [
    door("forcecommand", "none", "commands", "run commands", true),
    door("permittty", "no", "terminal", "have a terminal", true),
    door("allowstreamlocalforwarding", "no", "unix sockets", "forward unix sockets", false),
    door("allowagentforwarding", "no", "agent", "forward an agent", true),
    door("x11forwarding", "no", "X11", "forward X11", true),
    door("permittunnel", "no", "tun device", "open tun devices", false),
];

/// Settings by their names in lower case; of those that are told more than once (`hostkey`), all.
#[derive(Debug, Default)]
pub(super) struct Policy(BTreeMap<String, Vec<String>>);

impl Policy {
    /// Reads `sshd -T`'s lines.
    pub(super) fn read(text: &str) -> Self {
        let mut policy = Self::default();
        for line in text.lines() {
            let (name, value) = line.split_once(' ').unwrap_or((line, ""));
            policy.0.entry(name.to_owned()).or_default().push(value.trim().to_owned());
        }
        policy
    }

    /// All values of a setting.
    pub(super) fn all(&self, name: &str) -> &[String] {
        self.0.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    fn one(&self, name: &str) -> &str {
        self.all(name).first().map(String::as_str).unwrap_or_default()
    }

    fn number(&self, name: &str) -> u64 {
        self.one(name).parse().unwrap_or_default()
    }

    /// Whether sshd lets the account, which is in these groups, in at all. From where a pattern is for, is not judged.
    pub(super) fn entry(&self, user: &str, groups: &[&str]) -> Finding {
        let check = "entry";
        let named = |list: &str, names: &[&str]| {
            let patterns = self.all(list).iter().map(|pattern| pattern.split('@').next().unwrap_or_default());
            patterns.into_iter().any(|pattern| names.iter().any(|name| matches(pattern, name)))
        };
        let everywhere = |pattern: &&String| !pattern.contains('@') && matches(pattern, user);
        let refused = |keyword: &str, mend: String| {
            let says = format!("sshd does not let {user} in, whatever its key: {keyword}");
            Finding::fail(check, says, format!("in /etc/ssh: {mend}, then: sshd -t && systemctl reload ssh"))
        };
        // As sshd goes through them (sshd_config(5)).
        if let Some(line) = self.all("denyusers").iter().find(everywhere) {
            return refused("DenyUsers", format!("take {user} out of `DenyUsers {line}`"));
        }
        if !self.all("allowusers").is_empty() && !named("allowusers", &[user]) {
            return refused("AllowUsers", format!("add {user} to AllowUsers"));
        }
        if named("denygroups", groups) {
            return refused("DenyGroups", format!("take {user} out of the groups of DenyGroups"));
        }
        if !self.all("allowgroups").is_empty() && !named("allowgroups", groups) {
            return refused("AllowGroups", format!("add {user}'s group to AllowGroups"));
        }
        Finding::ok(check, format!("sshd lets {user} in"))
    }

    /// One finding per door. `ports` are those that the tunnel needs on loopback; `is_bound`: the lines in `authorized_keys`
    /// shut some of the doors by themselves.
    pub(super) fn judge(&self, user: &str, ports: &[u16], is_bound: bool) -> Vec<Finding> {
        let mut found = vec![self.forwarding(user), self.gateway(), self.listens(ports)];
        found.extend(DOORS.iter().filter_map(|door| self.open(door, is_bound)));
        if found.iter().all(|one| one.mend.is_none()) {
            found = vec![Finding::ok(
                "policy",
                format!("{user} may listen on its ports of 127.0.0.1, and nothing else"),
            )];
        }
        found.push(self.keys_only(user));
        found.push(self.cut_line());
        found
    }

    fn forwarding(&self, user: &str) -> Finding {
        match self.one("allowtcpforwarding") {
            "remote" => Finding::ok("forwards", "remote ones alone"),
            "no" | "local" => Finding::fail(
                "forwards",
                format!("sshd allows {user} no remote forward: there can be no tunnel"),
                APPLY,
            ),
            _ => Finding::fail(
                "forwards",
                format!("{user} may also forward to any address that this machine reaches (ssh -L)"),
                APPLY,
            ),
        }
    }

    fn gateway(&self) -> Finding {
        match self.one("gatewayports") {
            "no" => Finding::ok("GatewayPorts", "no"),
            other => Finding::fail(
                "GatewayPorts",
                format!("`{other}` opens the tunnel's ports to the internet"),
                APPLY,
            ),
        }
    }

    fn listens(&self, ports: &[u16]) -> Finding {
        let check = "PermitListen";
        let allowed: Vec<&str> = self.one("permitlisten").split(' ').collect();
        let wanted: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let any = allowed.contains(&"any");
        if let Some(missing) = wanted.iter().find(|want| !any && !allowed.contains(&want.as_str())) {
            let says = format!(
                "sshd does not allow to listen on {missing}, where the relay looks: {}",
                allowed.join(" ")
            );
            return Finding::fail(check, says, APPLY);
        }
        match allowed.iter().find(|allow| !wanted.iter().any(|want| want == **allow)) {
            Some(&"any") => {
                Finding::warn(check, "sshd allows any port; authorized_keys alone limits it", APPLY)
            }
            Some(more) => Finding::warn(check, format!("sshd also allows to listen on {more}"), APPLY),
            None => Finding::ok(check, wanted.join(" ")),
        }
    }

    fn open(&self, door: &Door, is_bound: bool) -> Option<Finding> {
        let (Door { name, shut, check, may, by_key }, value) = (door, self.one(door.name));
        let is_open = if *name == "forcecommand" { value == *shut } else { value != *shut };
        let says = |more| format!("who has the tunnel's key may {may}{more} (sshd: {name} {value})");
        is_open.then(|| match is_bound && *by_key {
            true => Finding::warn(*check, says(", were it not for authorized_keys"), APPLY),
            false => Finding::fail(*check, says(""), APPLY),
        })
    }

    fn keys_only(&self, user: &str) -> Finding {
        let by_password =
            self.one("passwordauthentication") == "yes" || self.one("kbdinteractiveauthentication") == "yes";
        match by_password && self.one("authenticationmethods") != "publickey" {
            true => Finding::warn("login", format!("{user} may try passwords"), APPLY),
            false => Finding::ok("login", "by key alone"),
        }
    }

    /// Measured: twice the interval, for each that may be missed and one more.
    fn cut_line(&self) -> Finding {
        let check = "cut line";
        match self.number("clientaliveinterval") * 2 * (self.number("clientalivecountmax") + 1) {
            0 => Finding::warn(
                check,
                "sshd keeps the ports of a tunnel that was cut for ever: no reconnect gets them",
                APPLY,
            ),
            seconds if seconds > FREE_WITHIN => Finding::warn(
                check,
                format!("sshd keeps the ports of a tunnel that was cut for some {seconds} s"),
                APPLY,
            ),
            seconds => Finding::ok(check, format!("its ports are free again after some {seconds} s")),
        }
    }
}

/// sshd's patterns: `*` is for any signs, `?` for one (ssh_config(5), "PATTERNS").
fn matches(pattern: &str, text: &str) -> bool {
    let (mut signs, mut rest) = (pattern.chars(), text.chars());
    match signs.next() {
        None => text.is_empty(),
        Some('*') => {
            matches(signs.as_str(), text) || rest.next().is_some_and(|_| matches(pattern, rest.as_str()))
        }
        Some('?') => rest.next().is_some_and(|_| matches(signs.as_str(), rest.as_str())),
        Some(sign) => rest.next() == Some(sign) && matches(signs.as_str(), rest.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use shared::doctor::Status;

    use super::*;

    const GOOD: &str = "allowtcpforwarding remote\ngatewayports no\npermitlisten 127.0.0.1:5050 127.0.0.1:8091\nforcecommand /bin/false\n\
        permittty no\nallowstreamlocalforwarding no\nallowagentforwarding no\nx11forwarding no\npermittunnel no\n\
        passwordauthentication yes\nauthenticationmethods publickey\nclientaliveinterval 5\nclientalivecountmax 2\nhostkey /a\nhostkey /b\n";

    fn judge(text: &str) -> Vec<Finding> {
        Policy::read(text).judge("ai-tunnel", &[5050, 8091], false)
    }

    #[test]
    fn what_deploy_recommends_is_as_it_should_be() {
        let found = judge(GOOD);
        assert!(found.iter().all(|one| one.status == Status::Ok), "{found:?}");
        assert_eq!(Policy::read(GOOD).all("hostkey"), ["/a", "/b"]);
    }

    #[test]
    fn each_open_door_is_named() {
        for (from, to, status, check) in [
            ("allowtcpforwarding remote", "allowtcpforwarding yes", Status::Fail, "forwards"),
            ("allowtcpforwarding remote", "allowtcpforwarding no", Status::Fail, "forwards"),
            ("gatewayports no", "gatewayports yes", Status::Fail, "GatewayPorts"),
            ("gatewayports no", "gatewayports clientspecified", Status::Fail, "GatewayPorts"),
            ("127.0.0.1:5050", "127.0.0.1:5051", Status::Fail, "PermitListen"),
            ("127.0.0.1:5050", "127.0.0.1:5050 *:22", Status::Warn, "PermitListen"),
            ("127.0.0.1:5050 127.0.0.1:8091", "any", Status::Warn, "PermitListen"),
            ("/bin/false", "none", Status::Fail, "commands"),
            ("permittty no", "permittty yes", Status::Fail, "terminal"),
            ("localforwarding no", "localforwarding remote", Status::Fail, "unix sockets"),
            ("agentforwarding no", "agentforwarding yes", Status::Fail, "agent"),
            ("x11forwarding no", "x11forwarding yes", Status::Fail, "X11"),
            ("permittunnel no", "permittunnel point-to-point", Status::Fail, "tun device"),
            ("methods publickey", "methods any", Status::Warn, "login"),
            ("interval 5", "interval 0", Status::Warn, "cut line"),
            ("countmax 2", "countmax 9", Status::Warn, "cut line"),
        ] {
            let text = GOOD.replace(from, to);
            assert_ne!(text, GOOD, "{from}");
            let found = judge(&text);
            let wrong: Vec<_> = found.iter().filter(|one| one.status != Status::Ok).collect();
            assert!(
                wrong.len() == 1 && wrong[0].check == check && wrong[0].status == status,
                "{to}: {found:?}"
            );
        }
    }

    #[test]
    fn an_account_that_sshd_never_lets_in_is_named_with_the_line() {
        let entry = |text: &str| Policy::read(text).entry("ai-tunnel", &["ai-tunnel", "daemons"]);
        for (text, keyword) in [
            ("denyusers root\ndenyusers ai-*", "DenyUsers"),
            ("allowusers admin\nallowusers ?i-tunne", "AllowUsers"),
            ("allowusers ai-tunnel\ndenygroups daemons", "DenyGroups"),
            ("allowgroups ssh-users", "AllowGroups"),
        ] {
            let found = entry(text);
            assert!(
                found.status == Status::Fail && found.says.contains(keyword) && found.mend.is_some(),
                "{text}: {found:?}"
            );
        }
        for text in [
            "",
            "allowusers ai-t*l@203.0.113.*\ndenyusers ai-tunnel@192.0.2.1",
            "allowgroups *\ndenygroups root",
        ] {
            assert_eq!(entry(text).status, Status::Ok, "{text}");
        }
    }

    #[test]
    fn what_authorized_keys_shuts_is_no_more_than_a_warning() {
        let open = GOOD.replace("/bin/false", "none").replace("localforwarding no", "localforwarding yes");
        let found = Policy::read(&open).judge("ai-tunnel", &[5050, 8091], true);
        let of = |check: &str| found.iter().find(|one| one.check == check).unwrap().status;
        assert_eq!((of("commands"), of("unix sockets")), (Status::Warn, Status::Fail));
    }
}
