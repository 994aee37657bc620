//! What the doctors of both endpoints look at alike: the keys, the tunnel, the running service, and its queue.

use std::{fmt::Display, time::Duration};

use shared::{
    config::{ServiceArgs, required},
    doctor::{
        Finding, disk, exposure, listeners, own,
        peer::{self, Remedies, Seen},
        secrets,
    },
    health::Report,
    signature::SigningKeys,
};
use url::Url;

/// How long damage is looked for.
const LOOK: Duration = Duration::from_secs(5);
macro_rules! restart {
    ($why:literal) => {
        concat!(
            $why,
            "./scripts/start-ai-services.sh --restart (of an installed release: ai-relay-home services restart)"
        )
    };
}
const RESTART: &str = restart!("");
const REMEDIES: Remedies = Remedies {
    start: "./scripts/start-ai-services.sh; where launchd or systemd should keep it running: with --restart",
    frozen: RESTART,
    stranger: "`lsof -nP -iTCP -sTCP:LISTEN` shows who has the port; stop it, or set another one",
    mixed_up: "PORT is another service's here; set it to this one's",
    key: restart!("the service runs with another RELAY_SIGNING_KEY than is set here: "),
    // a running program keeps the version that it was started as
    upgrade: RESTART,
};
const LOAD: &str = "look with the service's own settings: ./scripts/doctor.sh, or `ai-relay-home services doctor`; the relay's .env on the VPS has the same RELAY_SIGNING_KEY";

/// What the doctor finds out with its own shell's login and settings, which may be others.
const AS_SEEN: [(&str, &str); 2] =
    [("reviewer", "reviewer, as the service sees it"), ("github", "GitHub, as the service sees it")];
const AS_STARTED: &str =
    restart!("what the service was started with counts, not this shell's login: set it in .env, then ");

/// What mends what can be wrong with a service on the machine at home.
pub fn remedies() -> &'static Remedies {
    &REMEDIES
}

/// The keys between our services, one by one, and what they are worth.
pub fn keys(service: &ServiceArgs, found: &mut Vec<Finding>) -> Vec<SigningKeys> {
    let name = "RELAY_SIGNING_KEY";
    let file = service.relay_signing_key_file.as_deref();
    let given = required(name, service.relay_signing_key.as_ref(), file);
    let single =
        secrets::list(found, name, given, LOAD, |list| SigningKeys::parse(list).map(drop), secrets::MAKE_KEY);
    found.extend(file.and_then(|file| secrets::private(name, file)));
    found.extend(service.config.as_deref().and_then(|file| secrets::private("CONFIG", file)));
    single.iter().filter_map(|one| SigningKeys::parse(one).ok()).collect()
}

/// The settings of the service `name` that a start would need, if it could start with them.
pub fn configuration<C>(
    name: &str,
    config: Result<C, impl Display>,
    keys: &[SigningKeys],
    found: &mut Vec<Finding>,
) -> Option<C> {
    match config {
        Ok(config) => Some(config),
        // What is wrong with the keys was told.
        Err(_) if keys.is_empty() => None,
        Err(error) => {
            let says = format!("the {name} would not start: {error:#}");
            found.push(Finding::fail("configuration", says, "mend what it names, and start it again"));
            None
        }
    }
}

/// The running service of that name, and what it says of itself.
pub async fn running(
    name: &str,
    service: &ServiceArgs,
    keys: &[SigningKeys],
) -> (Vec<Finding>, Option<Report>) {
    let Ok(base) = Url::parse(&service.own_url()) else {
        return (
            vec![Finding::fail("connection", "LISTEN and PORT make no address", "mend LISTEN and PORT")],
            None,
        );
    };
    let seen = peer::look(name, &base, keys).await;
    let mut found = vec![peer::reach(&base, &seen, &REMEDIES, "it ends as it begins")];
    let report = own::report(&seen).filter(|report| report.service_id == name).cloned();
    found.push(match listeners::on(service.port) {
        Ok(listening) => exposure::of_service(name, service.port, &listening, true, report.is_some()),
        Err(why) => Finding::skipped("address", why),
    });
    if matches!(seen, Seen::Answered(_) | Seen::Stranger(_)) {
        let identity = peer::identity(name, &seen, keys.len(), &REMEDIES);
        found.extend(identity.into_iter().filter(|one| one.check != "clock"));
    }
    let wanted = [
        ("store", "store"),
        ("queue:pending", "waiting events"),
        ("queue:dead", "dead letters"),
        ("queue:lane", "lane"),
        ("memory", "memory, as the service sees it"),
    ];
    match &report {
        Some(report) => {
            found.extend(own::health(report, &wanted, "see the service's log"));
            found.extend(own::health(report, &AS_SEEN, AS_STARTED));
        }
        None => found.push(disk::writable(&service.data_dir)),
    }
    (found, report)
}

/// The file of the queue that the relay fills from `lane`, and the disk.
pub async fn store(lane: &str, service: &ServiceArgs) -> Vec<Finding> {
    let check = "queue file";
    let mut used = 0;
    let finding = match queue::examine(&service.queue_url(), LOOK).await {
        Ok(None) => Finding::skipped(check, "there is none yet"),
        Ok(Some(examined)) => {
            used = examined.usage.map_or(0, |usage| usage.store_bytes);
            let oldest = examined.lanes.iter().filter_map(|lane| lane.oldest).min();
            let seen = match examined.looked_through {
                true => "no damage",
                false => "no damage in the part that was looked at",
            };
            let waited = oldest.map(|oldest| jiff::Timestamp::now().as_second() - oldest.as_second());
            match waited {
                Some(3600..) => Finding::warn(
                    check,
                    format!("{seen}; an event has waited for {} h", waited.unwrap_or_default() / 3600),
                    "what is broken below holds it up",
                ),
                _ => Finding::ok(check, format!("{seen}, {}", disk::size(used))),
            }
        }
        Err(error @ queue::Error::Damaged(_)) => {
            let (says, file) = (error.to_string(), queue::path(&service.queue_url()).unwrap_or_default());
            // With its log, which would be taken for that of the next one. The relay has handed over what was in it, and asks
            // for the outcomes alone.
            let mend = format!(
                "stop the service, `mv {}* ANOTHER-FOLDER`, start it; then on the VPS: \
                 `relay deliveries redeliver --state handed_over --target {lane}`",
                file.display()
            );
            Finding::fail(check, says, mend)
        }
        Err(error) => Finding::fail(check, error.to_string(), "mend what it names"),
    };
    vec![finding, disk::room(&service.data_dir, service.retention.store_bytes().saturating_sub(used))]
}
