//! What is redelivered, what is not, and how far the cursor may move.

use proptest::{collection::vec, prelude::*};

use super::*;

const NOW: Timestamp = Timestamp::constant(1_795_341_600, 0);

fn ago(minutes: i64) -> Timestamp {
    NOW - SignedDuration::from_mins(minutes)
}

/// Attempt `id` of event `guid`, so many minutes ago, with this status; the first one unless `redelivery`.
fn attempt(id: u64, guid: &str, minutes: i64, status: i64, redelivery: bool) -> Attempt {
    Attempt {
        id,
        guid: guid.to_owned(),
        delivered_at: ago(minutes),
        redelivery,
        status_code: Some(status),
        event: Some("push".to_owned()),
    }
}

fn listing(attempts: Vec<Attempt>) -> Listing {
    let newest = attempts.iter().map(|attempt| attempt.delivered_at).max();
    Listing { attempts, newest }
}

fn plan_of(attempts: Vec<Attempt>) -> Plan {
    plan(&listing(attempts), &BTreeSet::new(), &BTreeMap::new(), None, NOW)
}

fn redelivered(plan: &Plan) -> Vec<u64> {
    plan.redeliver.iter().map(|redelivery| redelivery.attempt).collect()
}

#[test]
fn missed_events_are_redelivered_oldest_first() {
    let plan = plan_of(vec![
        attempt(4, "d", 1, 502, false),
        attempt(3, "c", 5, 202, false),
        attempt(2, "b", 10, 0, false),
        attempt(1, "a", 20, 504, false),
    ]);
    assert_eq!(redelivered(&plan), [1, 2, 4]);
    assert_eq!((plan.open, plan.given_up.len()), (3, 0));
    assert_eq!(plan.cursor, Some(ago(21)), "a minute before the oldest that is open");
}

#[test]
fn what_was_delivered_at_last_is_settled() {
    let plan = plan_of(vec![attempt(2, "a", 5, 200, true), attempt(1, "a", 20, 502, false)]);
    assert_eq!(plan, Plan { cursor: Some(ago(6)), ..Plan::default() });
}

#[test]
fn what_the_queue_has_and_pings_are_settled() {
    let listing = listing(vec![
        attempt(1, "a", 20, 504, false),
        Attempt { event: Some("ping".to_owned()), ..attempt(2, "b", 10, 502, false) },
    ]);
    assert_eq!(failed(&listing), BTreeSet::from(["a"]));
    let plan = plan(&listing, &BTreeSet::from(["a".to_owned()]), &BTreeMap::new(), None, NOW);
    assert_eq!((plan.open, plan.cursor), (0, Some(ago(11))));
}

#[test]
fn the_distance_between_redeliveries_grows_until_it_is_given_up() {
    for (redeliveries, minutes) in [(1, 5), (2, 60), (3, 6 * 60), (4, 24 * 60)] {
        let tried = |newest: i64| {
            let mut attempts = vec![attempt(1, "a", 70 * 60, 401, false)];
            attempts.extend((1..=redeliveries).map(|n| {
                let time = if n == redeliveries { newest } else { 60 * 60 };
                attempt(1 + n, "a", time, 401, true)
            }));
            plan_of(attempts)
        };
        assert!(redelivered(&tried(minutes - 1)).is_empty(), "{redeliveries}");
        assert_eq!(tried(minutes - 1).open, 1);
        let plan = tried(minutes);
        assert_eq!(redelivered(&plan), [1 + redeliveries], "the newest attempt is repeated");
        assert_eq!(plan.redeliver[0].number, usize::try_from(redeliveries).unwrap() + 1);
    }
    let mut attempts = vec![attempt(1, "a", 60, 502, false)];
    attempts.extend((2..=6).map(|id| attempt(id, "a", 50, 401, true)));
    let plan = plan_of(attempts);
    let expected =
        GivenUp { guid: "a".to_owned(), event: "push".to_owned(), status_code: 401, redeliveries: 5 };
    assert_eq!((plan.given_up, plan.cursor), (vec![expected], Some(ago(51))));
}

#[test]
fn a_redelivery_that_is_not_listed_yet_counts() {
    let listing = listing(vec![attempt(1, "a", 20, 502, false)]);
    let at = |minutes: i64, times: usize| {
        let asked = BTreeMap::from([(1, Asked { at: ago(minutes), times })]);
        plan(&listing, &BTreeSet::new(), &asked, None, NOW)
    };
    assert_eq!((redelivered(&at(1, 1)), at(1, 1).open), (vec![], 1));
    assert_eq!(redelivered(&at(5, 1)), [1], "GitHub forgot it, or we did");
    assert_eq!((redelivered(&at(59, 2)), redelivered(&at(60, 2))), (vec![], vec![1]));
    assert_eq!(redelivered(&at(24 * 60, 9)), [1]);
}

#[test]
fn nothing_older_than_the_window_is_asked_for() {
    let old = vec![attempt(1, "a", 72 * 60 + 1, 502, false)];
    assert_eq!(plan_of(old.clone()).given_up, [], "before the first look");
    let cursor = Some(ago(80 * 60));
    let plan = plan(&listing(old), &BTreeSet::new(), &BTreeMap::new(), cursor, NOW);
    assert_eq!((plan.redeliver.len(), plan.given_up.len()), (0, 1), "lost, and said so");
    assert_eq!(plan.cursor, Some(ago(72 * 60 + 2)));
}

#[test]
fn without_attempts_the_cursor_stays() {
    let plan = plan(&Listing::default(), &BTreeSet::new(), &BTreeMap::new(), Some(ago(9)), NOW);
    assert_eq!(plan.cursor, Some(ago(9)));
    assert_eq!(horizon(None, NOW), ago(72 * 60));
    assert_eq!(horizon(Some(ago(9)), NOW), ago(9));
    assert_eq!(horizon(Some(ago(200 * 60)), NOW), ago(96 * 60));
}

#[test]
fn an_event_whose_first_attempt_is_past_the_cursor_is_left_alone() {
    let plan = plan(
        &listing(vec![attempt(9, "a", 5, 500, true), attempt(1, "b", 30, 500, false)]),
        &BTreeSet::new(),
        &BTreeMap::new(),
        Some(ago(10)),
        NOW,
    );
    assert_eq!((plan.open, plan.redeliver.len(), plan.given_up.len()), (0, 0, 0));
}

#[test]
fn githubs_list_is_read() {
    let json = r#"{"id":12345678,"guid":"0b989ba4-242f-11e5-81e1-c7b6966d2516","delivered_at":"2019-06-03T00:57:16Z",
        "redelivery":false,"duration":0.27,"status":"OK","status_code":200,"event":"issues","action":"opened",
        "installation_id":123,"repository_id":456,"throttled_at":"2019-06-03T00:57:16Z"}"#;
    let read: Attempt = serde_json::from_str(json).unwrap();
    assert!(read.succeeded() && read.event.as_deref() == Some("issues"));
}

/// Events with up to seven attempts each, newest attempts last.
fn histories() -> impl Strategy<Value = Vec<Attempt>> {
    let times = vec(0_i64..100 * 60, 1..8);
    let event = (times, vec(any::<bool>(), 8), prop_oneof![9 => Just("push"), 1 => Just("ping")]);
    vec(event, 0..20).prop_map(|events| {
        let mut attempts = Vec::new();
        for (number, (mut times, succeeded, kind)) in events.into_iter().enumerate() {
            times.sort_unstable_by(|a, b| b.cmp(a));
            for (nth, minutes) in times.into_iter().enumerate() {
                let status = if succeeded[nth] && nth % 2 == 0 { 202 } else { 502 };
                let id = attempts.len() as u64;
                let made = attempt(id, &number.to_string(), minutes, status, nth > 0);
                attempts.push(Attempt { event: Some(kind.to_owned()), ..made });
            }
        }
        attempts
    })
}

proptest! {
    #[test]
    fn nothing_settled_is_redelivered_and_nothing_missed_is_skipped(
        attempts in histories(),
        known in vec(0_usize..20, 0..5),
        cursor in proptest::option::of(0_i64..120 * 60),
    ) {
        let known: BTreeSet<String> = known.iter().map(ToString::to_string).collect();
        let cursor = cursor.map(ago);
        let listing = listing(attempts);
        let plan = plan(&listing, &known, &BTreeMap::new(), cursor, NOW);
        prop_assert!(plan.cursor >= cursor, "the cursor never goes back");
        let of = |guid: &str| listing.attempts.iter().filter(move |one| one.guid == guid).collect::<Vec<_>>();
        for redelivery in &plan.redeliver {
            let attempts = of(&redelivery.guid);
            prop_assert!(attempts.iter().all(|one| !one.succeeded() && one.event.as_deref() != Some("ping")));
            prop_assert!(!known.contains(&redelivery.guid));
            prop_assert!(attempts.len() <= 5, "at most five redeliveries");
            prop_assert!(NOW.duration_since(attempts[0].delivered_at) <= WINDOW);
            prop_assert!(attempts.iter().any(|one| one.id == redelivery.attempt));
        }
        let given_up: BTreeSet<&str> = plan.given_up.iter().map(|event| event.guid.as_str()).collect();
        for guid in failed(&listing) {
            let attempts = of(guid);
            let first = attempts[0].delivered_at;
            let was_settled = known.contains(guid) || first < horizon(cursor, NOW);
            if attempts[0].redelivery || was_settled || given_up.contains(guid) {
                continue;
            }
            prop_assert!(plan.cursor <= Some(first), "{guid} can still be found: the horizon includes the cursor");
            let late = attempts.len() == 1;
            prop_assert!(!late || plan.redeliver.iter().any(|one| one.guid == guid), "{guid} is redelivered at once");
        }
        for guid in given_up {
            let attempts = of(guid);
            prop_assert!(attempts.len() > 5 || NOW.duration_since(attempts[0].delivered_at) > WINDOW);
        }
    }

    /// Rounds against a GitHub whose deliveries fail at first: in the end everything that can be delivered is.
    #[test]
    fn every_missed_event_arrives_in_the_end(
        failures in vec((0_i64..300, 0_usize..7), 1..12),
        every in 1_i64..90,
    ) {
        let mut attempts: Vec<Attempt> = failures
            .iter()
            .enumerate()
            .map(|(n, (minutes, failing))| {
                let status = if *failing == 0 { 202 } else { 502 };
                attempt(n as u64, &n.to_string(), *minutes, status, false)
            })
            .collect();
        let (mut cursor, mut asked, mut minute, mut lost) = (None, BTreeMap::new(), 0, BTreeSet::new());
        while minute < 71 * 60 {
            let now = NOW + SignedDuration::from_mins(minute);
            let from = horizon(cursor, now);
            let listed = attempts.iter().filter(|one| one.delivered_at >= from).cloned().collect();
            let newest = attempts.iter().map(|one| one.delivered_at).max();
            let plan = plan(&Listing { attempts: listed, newest }, &BTreeSet::new(), &asked, cursor, now);
            for redelivery in plan.redeliver {
                asked.insert(redelivery.attempt, Asked { at: now, times: 1 });
                let (_, failing) = failures[redelivery.guid.parse::<usize>().unwrap()];
                let status = if redelivery.number >= failing { 202 } else { 502 };
                let id = attempts.len() as u64;
                attempts.push(Attempt { delivered_at: now, ..attempt(id, &redelivery.guid, 0, status, true) });
            }
            lost.extend(plan.given_up.into_iter().map(|event| event.guid));
            cursor = plan.cursor;
            minute += every;
        }
        for (n, (_, failing)) in failures.iter().enumerate() {
            let arrived =
                attempts.iter().filter(|one| one.guid == n.to_string() && one.succeeded()).count();
            prop_assert_eq!(arrived, usize::from(*failing <= 5), "event {} fails {} times", n, failing);
            prop_assert_eq!(lost.contains(&n.to_string()), *failing > 5);
        }
    }
}
