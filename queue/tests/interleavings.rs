//! Random interleavings of arriving, leasing, failing and finishing: order per key, never two at a time, nothing lost.

#![allow(clippy::unwrap_used, reason = "clippy.toml's exemption for tests does not reach their helpers")]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use proptest::prelude::*;
use queue::{
    Clock, Finish, JobState, Lease, Options, Queue, Replaces,
    conformance::{ManualClock, delivery},
};

#[derive(Debug, Clone)]
enum Step {
    /// A delivery of this subject; with a version, it brings a head.
    Put {
        subject: u8,
        version: Option<i64>,
    },
    Lease {
        most: usize,
    },
    /// What becomes of one of the leases in hand.
    Settle {
        which: usize,
        how: u8,
    },
    Wait {
        seconds: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..4_u8, prop::option::of(0..6_i64)).prop_map(|(subject, version)| Step::Put { subject, version }),
        2 => (1..4_usize).prop_map(|most| Step::Lease { most }),
        3 => (0..8_usize, 0..4_u8).prop_map(|(which, how)| Step::Settle { which, how }),
        1 => (0..20_u64).prop_map(|seconds| Step::Wait { seconds }),
    ]
}

/// What a test knows besides the queue.
struct Run {
    queue: Queue,
    clock: Arc<ManualClock>,
    arrived: Vec<(String, u8, Option<i64>)>,
    in_hand: Vec<Lease>,
    ended: Vec<String>,
}

const TTL: Duration = Duration::from_secs(100_000);

impl Run {
    async fn take(&mut self, step: &Step) {
        match step {
            Step::Put { subject, version } => {
                let id = format!("d{}", self.arrived.len());
                let mut new = delivery(&id, "a", &format!("subject-{subject}"));
                new.routes[0].replaces =
                    version.map(|version| Replaces { group: format!("subject-{subject}/head"), version });
                self.queue.put(new).await.unwrap();
                self.arrived.push((id, *subject, *version));
            }
            Step::Lease { most } => self.lease(*most).await,
            Step::Settle { which, how } if !self.in_hand.is_empty() => {
                let lease = self.in_hand.remove(which % self.in_hand.len());
                self.settle(lease, *how).await;
            }
            Step::Settle { .. } => {}
            Step::Wait { seconds } => self.clock.advance(Duration::from_secs(*seconds)),
        }
    }

    async fn lease(&mut self, most: usize) {
        for lease in self.queue.lease("a", most, TTL).await.unwrap() {
            let busy = self.in_hand.iter().any(|other| other.job().key == lease.job().key);
            assert!(!busy, "two of {} at a time", lease.job().key);
            self.in_hand.push(lease);
        }
    }

    async fn settle(&mut self, lease: Lease, how: u8) {
        let id = lease.job().id.clone();
        match how {
            0 => return lease.release().await.unwrap(),
            1 => {
                return lease
                    .retry(self.clock.now() + Duration::from_secs(7), "no luck".into())
                    .await
                    .unwrap();
            }
            2 => lease.dead("hopeless".into()).await.unwrap(),
            _ => lease.done(Finish::new("completed", "")).await.unwrap(),
        }
        self.ended.push(id);
    }

    /// Works off whatever is left.
    async fn drain(&mut self) {
        while let Some(lease) = self.in_hand.pop() {
            self.settle(lease, 3).await;
        }
        loop {
            self.clock.advance(Duration::from_secs(10));
            self.lease(3).await;
            if self.in_hand.is_empty() {
                return;
            }
            while let Some(lease) = self.in_hand.pop() {
                self.settle(lease, 3).await;
            }
        }
    }

    async fn check(&self) {
        let mut superseded = Vec::new();
        for (id, ..) in &self.arrived {
            let state = self.queue.find(id).await.unwrap().unwrap().jobs[0].state;
            assert!(
                !matches!(state, JobState::Pending | JobState::Leased),
                "{id} was left behind as {state:?}"
            );
            if state == JobState::Superseded {
                superseded.push(id);
            }
        }
        let mut by_subject: BTreeMap<u8, Vec<&String>> = BTreeMap::new();
        for (id, subject, version) in &self.arrived {
            by_subject.entry(*subject).or_default().push(id);
            if superseded.contains(&id) {
                let newer = self.arrived.iter().any(|(_, other, newer)| other == subject && newer > version);
                assert!(version.is_some() && newer, "{id} was superseded by nothing newer");
            }
        }
        for ids in by_subject.values() {
            let expected: Vec<&&String> = ids.iter().filter(|id| !superseded.contains(id)).collect();
            let ended: Vec<&String> = self.ended.iter().filter(|id| ids.contains(id)).collect();
            assert!(
                ended.iter().eq(expected.into_iter()),
                "ended {ended:?} of {ids:?}, superseded {superseded:?}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn order_is_kept_and_nothing_is_lost(steps in prop::collection::vec(step(), 1..60)) {
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let clock = Arc::new(ManualClock::default());
            let options = Options { clock: Arc::clone(&clock) as Arc<dyn Clock>, ..Options::default() };
            let queue = queue::open(&format!("sqlite://{}/queue.db", folder.path().display()), options).await.unwrap();
            let mut run = Run { queue, clock, arrived: Vec::new(), in_hand: Vec::new(), ended: Vec::new() };
            for step in &steps {
                run.take(step).await;
            }
            run.drain().await;
            run.check().await;
        });
    }
}
