//! The relay on this machine: whether it runs with these settings, what it says of itself, its store and its disk.

use std::{os::unix::fs::MetadataExt, path::Path, time::Duration};

use queue::Examined;
use secrecy::{ExposeSecret, SecretString};
use shared::{
    client,
    doctor::{
        Finding, disk, exposure,
        listeners::{self, Listener},
        own,
        peer::{self, Remedies, Seen},
    },
    health::{Check, Report},
};
use url::Url;

use super::{Known, ping};
use crate::{
    WHEN_CLOSED, WHEN_DAMAGED,
    config::{MissedConfig, RelayArgs},
    targets::{CLAUDE, OLLAMA},
};

const SERVICE: &str = "relay";
/// How long damage is looked for.
const LOOK: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(5);
const REMEDIES: Remedies = Remedies {
    start: "`systemctl start relay`, or start the container; `journalctl -u relay -n 50` says why it ended",
    frozen: "see what it waits for in its log, then `systemctl restart relay`, or restart the container",
    stranger: "`ss -ltnp` shows who has the port; stop it, or set PORT to a free one",
    mixed_up: "PORT is another service's here; set it to the relay's",
    key: "restart the relay: it runs with another RELAY_SIGNING_KEY",
    upgrade: "install one version of both, and restart the relay: a running program keeps the version that it was started as",
};

/// Looks at it.
pub(super) async fn examine(args: &RelayArgs, known: &Known) -> Vec<Finding> {
    let service = &args.service;
    let Ok(base) = Url::parse(&service.own_url()) else {
        return vec![Finding::fail("connection", "LISTEN and PORT make no address", "mend LISTEN and PORT")];
    };
    let seen = peer::look(SERVICE, &base, &[]).await;
    let mut found = vec![peer::reach(&base, &seen, &REMEDIES, "it ends as it begins")];
    let report = own::report(&seen).filter(|report| report.service_id == SERVICE);
    let listening = listeners::on(service.port);
    found.push(match &listening {
        Ok(listening) => exposure::of_service(SERVICE, service.port, listening, false, report.is_some()),
        Err(why) => Finding::skipped("address", why),
    });
    if matches!(seen, Seen::Answered(_) | Seen::Stranger(_)) {
        found.extend(
            peer::identity(SERVICE, &seen, 0, &REMEDIES).into_iter().filter(|one| one.check != "clock"),
        );
    }
    if let Some(report) = report {
        let store = service.data_dir.metadata().ok().map(|about| about.uid());
        let is_proven = is_of_account(&listening.unwrap_or_default(), store);
        found.extend(same_settings(&base, known, is_proven).await);
        found.extend(health(report));
        found.extend(missed(report, args));
    } else {
        found.push(disk::writable(&service.data_dir));
    }
    found.extend(store(&service.queue_url(), report.is_some(), args, &service.data_dir).await);
    found.push(metrics(args));
    found
}

/// Whether all who listen are of this account. Its answers are not signed, and everybody can take a port and answer as a
/// relay; whose socket it is, the kernel says.
fn is_of_account(listening: &[Listener], account: Option<u32>) -> bool {
    account.is_some() && !listening.is_empty() && listening.iter().all(|one| one.uid == account)
}

/// Whether the running relay has these settings: a change of them counts from its next start. The token goes only to one
/// that is proven to be ours.
async fn same_settings(base: &Url, known: &Known, is_proven: bool) -> Vec<Finding> {
    let mut found = Vec::new();
    if let (Ok(url), false) = (base.join("/github-webhook"), known.webhook.is_empty()) {
        let (pong, _) = ping::send(&url, &known.webhook).await;
        found.push(ping::judge_here(&pong, known.webhook.len()));
    }
    if let Some(token) = &known.admin {
        found.push(match is_proven {
            true => admin(base, token).await,
            false => Finding::skipped(
                "admin token",
                "RELAY_ADMIN_TOKEN is not sent: who listens there is not seen to be of the account that DATA_DIR belongs to",
            ),
        });
    }
    found
}

async fn admin(base: &Url, token: &SecretString) -> Finding {
    let check = "admin token";
    let ask = async {
        let url = base.join("/api/deliveries?limit=1").ok()?;
        let request = client::http(Some(TIMEOUT)).ok()?.get(url).bearer_auth(token.expose_secret());
        Some(request.send().await.ok()?.status().as_u16())
    };
    match ask.await {
        Some(200) => Finding::ok(check, "the running relay takes it"),
        Some(401 | 403) => Finding::fail(
            check,
            "the running relay does not take RELAY_ADMIN_TOKEN as it is set here",
            "the relay runs with other settings than these: `systemctl restart relay`, or redeploy it",
        ),
        Some(status) => Finding::skipped(check, format!("its admin routes answer {status}")),
        None => Finding::skipped(check, "its admin routes do not answer"),
    }
}

fn health(report: &Report) -> Vec<Finding> {
    let wanted = [("store", "store"), ("store:backlog", "backlog"), ("store:backlog-size", "backlog's size")];
    let mut found = own::health(report, &wanted, "relay healthcheck");
    for lane in [CLAUDE, OLLAMA] {
        let why = format!(
            "`relay deliveries list --state pending --target {lane}`; the tunnel and the {lane}-endpoint below say why"
        );
        let age = own::age(report, &format!("{lane}:oldest"), &why);
        found.extend(age.map(|age| Finding { check: format!("{lane}: {}", age.check), ..age }));
    }
    found.extend(dead(report));
    found
}

/// How the search for missed deliveries goes. Where it is not set up, GitHub's part has told.
fn missed(report: &Report, args: &RelayArgs) -> Vec<Finding> {
    let (check, component) = ("missed deliveries", "github:missed");
    let is_on = matches!(args.missed.check(), Ok(MissedConfig::On(_)));
    let off = |check: &Check| check.output.as_ref().is_some_and(|output| output.starts_with("off"));
    match report.checks.get(component).is_some_and(|checks| checks.iter().any(off)) {
        false => own::health(report, &[(component, check)], "relay healthcheck"),
        true if is_on => vec![Finding::warn(
            check,
            "the running relay does not look for them, though the settings here say so",
            "restart the relay",
        )],
        true => vec![],
    }
}

/// What is dead waits for somebody.
fn dead(report: &Report) -> Vec<Finding> {
    let dead = report.checks.iter().filter_map(|(component, checks)| {
        let lane = component.strip_suffix(":dead")?;
        let count = checks.first()?.observed_value.as_ref()?.as_u64()?;
        Some(Finding::warn(
            format!("{lane}: dead letters"),
            format!("{count} events failed for good"),
            format!("`relay deliveries list --state dead --target {lane}`, mend what they name, then `relay deliveries redeliver --state dead`"),
        ))
    });
    let dead: Vec<_> = dead.collect();
    if dead.is_empty() { vec![Finding::ok("dead letters", "none")] } else { dead }
}

async fn store(url: &str, runs: bool, args: &RelayArgs, folder: &Path) -> Vec<Finding> {
    let check = "store file";
    let mut used = 0;
    let finding = match queue::examine(url, LOOK).await {
        Ok(None) => Finding::skipped(check, "there is none yet"),
        Ok(Some(examined)) => {
            used = examined.usage.map_or(0, |usage| usage.store_bytes);
            whole(check, &examined, runs)
        }
        Err(error @ queue::Error::Damaged(_)) => Finding::fail(check, error.to_string(), WHEN_DAMAGED),
        Err(error @ queue::Error::TooNew { .. }) => Finding::fail(
            check,
            error.to_string(),
            "install the version that wrote it, or bring back a backup of this version's",
        ),
        Err(error) => Finding::fail(check, error.to_string(), WHEN_CLOSED),
    };
    let limits = (args.service.retention.store_bytes()).saturating_add(args.limits.max_backlog_size << 20);
    vec![finding, disk::room(folder, limits.saturating_sub(used))]
}

/// A store that is whole, as far as was looked.
fn whole(check: &str, examined: &Examined, runs: bool) -> Finding {
    let open: u64 = examined.lanes.iter().map(|lane| lane.pending + lane.leased).sum();
    let size = disk::size(examined.usage.unwrap_or_default().store_bytes);
    let seen = if examined.looked_through { "no damage" } else { "no damage in the part that was looked at" };
    if !examined.is_current {
        return Finding::ok(
            check,
            format!("{seen}; of an earlier version, which the relay's start upgrades"),
        );
    }
    match (runs, open) {
        (false, 1..) => {
            Finding::warn(check, format!("{seen}; {open} events wait in it for the relay"), REMEDIES.start)
        }
        _ => Finding::ok(check, format!("{seen}, {size}")),
    }
}

/// The metrics have no password.
fn metrics(args: &RelayArgs) -> Finding {
    let (check, at) = ("metrics", args.metrics_listen);
    match at.ip() {
        ip if ip.is_loopback() => Finding::ok(check, format!("for this machine alone, at {at}")),
        _ => Finding::warn(
            check,
            format!("METRICS_LISTEN={at}: others may read them, which have no password"),
            "METRICS_LISTEN=127.0.0.1:9420, or an address of a network of your own",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_port_it_is_is_known_by_the_account_of_the_store() {
        let listener = |uid| Listener { address: "127.0.0.1".parse().unwrap(), owner: None, uid };
        let (ours, other, unknown) = (listener(Some(7)), listener(Some(8)), listener(None));
        assert!(is_of_account(&[ours.clone(), ours.clone()], Some(7)));
        for listening in [vec![], vec![other.clone()], vec![ours.clone(), other], vec![unknown.clone()]] {
            assert!(!is_of_account(&listening, Some(7)), "{listening:?}");
        }
        assert!(!is_of_account(&[unknown], None));
    }
}
