//! What is known of senders: how much they sent without proof, and when they last proved who they are.
//!
//! A request is charged when it ends without proof, not when it begins: so that a thousand real webhooks at a time,
//! none of them proven yet, do not shut each other out. Since all that are under way were let in before the first of
//! them was charged, a sender can exceed its burst by as many as it has connections, and waits for that afterwards.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use super::{
    client::Sender,
    rate::{Bucket, Rate},
};

/// How long a proof counts: a sender of real webhooks is not shut out by unsigned ones from the same address, such as
/// those of other people's hooks at GitHub that name this relay.
const PROOF: Duration = Duration::from_secs(24 * 60 * 60);

/// A proof is renewed only after this long: it costs less than remembering each.
const RENEWAL: Duration = Duration::from_secs(60);

/// The senders of which anything is known, at most so many.
#[derive(Debug)]
pub struct Accounts {
    rate: Rate,
    most: usize,
    all: HashMap<Sender, Account>,
    /// By the time from which on there is nothing to remember.
    order: BTreeSet<(Duration, Sender)>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Account {
    unproven: Bucket,
    proven_until: Duration,
}

impl Account {
    fn forgettable_at(&self) -> Duration {
        self.unproven.full_at().max(self.proven_until)
    }
}

impl Accounts {
    /// Keeps `most` senders to `rate`; beyond, those are forgotten of whom there is the least to remember.
    pub fn new(rate: Rate, most: usize) -> Self {
        Self { rate, most, all: HashMap::new(), order: BTreeSet::new() }
    }

    /// How long until `sender` may send a request; zero: now.
    pub fn wait(&self, sender: Sender, now: Duration) -> Duration {
        match self.all.get(&sender) {
            Some(account) if account.proven_until <= now => account.unproven.wait(self.rate, now),
            _ => Duration::ZERO,
        }
    }

    /// `sender` sent a request without proof.
    pub fn charge(&mut self, sender: Sender, now: Duration) {
        let rate = self.rate;
        self.change(sender, now, |account| {
            if account.proven_until <= now {
                account.unproven.charge(rate, now);
            }
        });
    }

    /// `sender` has proven who it is.
    pub fn prove(&mut self, sender: Sender, now: Duration) {
        let fresh = |account: &Account| account.proven_until + RENEWAL >= now + PROOF;
        if !self.all.get(&sender).is_some_and(fresh) {
            self.change(sender, now, |account| account.proven_until = now + PROOF);
        }
    }

    fn change(&mut self, sender: Sender, now: Duration, change: impl FnOnce(&mut Account)) {
        let mut account = self.all.get(&sender).copied().unwrap_or_default();
        self.order.remove(&(account.forgettable_at(), sender));
        change(&mut account);
        self.order.insert((account.forgettable_at(), sender));
        self.all.insert(sender, account);
        self.forget(now);
    }

    /// Each change adds one sender at the most, so that forgetting a few keeps up.
    fn forget(&mut self, now: Duration) {
        for _ in 0..3 {
            match self.order.first() {
                Some((at, _)) if *at <= now || self.all.len() > self.most => {}
                _ => return,
            }
            if let Some((_, sender)) = self.order.pop_first() {
                self.all.remove(&sender);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn sender(number: u32) -> Sender {
        IpAddr::from(Ipv4Addr::from_bits(number)).into()
    }

    fn accounts(most: usize) -> Accounts {
        Accounts::new(Rate::new(50, 10).unwrap(), most)
    }

    #[test]
    fn without_proof_there_is_a_rate_for_each_sender() {
        let mut accounts = accounts(10);
        (0..500).for_each(|_| accounts.charge(sender(1), SECOND));
        assert_eq!(accounts.wait(sender(1), SECOND), Duration::from_millis(20));
        assert_eq!(accounts.wait(sender(2), SECOND), Duration::ZERO);
        assert_eq!(accounts.wait(sender(1), SECOND * 2), Duration::ZERO);
    }

    #[test]
    fn a_proof_opens_the_way_for_a_day() {
        let mut accounts = accounts(10);
        (0..5000).for_each(|_| accounts.charge(sender(1), SECOND));
        assert!(accounts.wait(sender(1), SECOND) > SECOND * 90);
        accounts.prove(sender(1), SECOND);
        (0..5000).for_each(|_| accounts.charge(sender(1), SECOND));
        assert_eq!(accounts.wait(sender(1), SECOND), Duration::ZERO);
        let next_day = SECOND + PROOF;
        (0..500).for_each(|_| accounts.charge(sender(1), next_day));
        assert!(
            accounts.wait(sender(1), next_day) > Duration::ZERO,
            "what it sent meanwhile was not charged"
        );
        assert_eq!(accounts.wait(sender(1), next_day + SECOND), Duration::ZERO);
    }

    #[test]
    fn those_with_the_least_to_remember_are_forgotten() {
        let mut accounts = accounts(3);
        accounts.prove(sender(1), SECOND);
        (0..600).for_each(|_| accounts.charge(sender(2), SECOND));
        for other in 10..10_000 {
            accounts.charge(sender(other), SECOND);
        }
        assert_eq!((accounts.all.len(), accounts.order.len()), (3, 3));
        assert!(accounts.wait(sender(2), SECOND) > Duration::ZERO, "the one that sent most is remembered");
        (0..600).for_each(|_| accounts.charge(sender(1), SECOND));
        assert_eq!(accounts.wait(sender(1), SECOND), Duration::ZERO, "so is a proof");
        accounts.charge(sender(3), SECOND * 3600);
        assert_eq!(accounts.all.len(), 2, "full buckets are forgotten by themselves");
    }

    proptest! {
        /// `under_way` requests at a time, each charged only at its end.
        #[test]
        fn without_proof_never_more_than_the_rate_a_burst_and_those_under_way(
            under_way in 1_usize..300,
            pauses in prop::collection::vec(0_u64..2_000, 1..40),
        ) {
            let mut accounts = accounts(10);
            let (mut now, mut admitted, mut open) = (Duration::ZERO, 0_usize, 0_usize);
            for pause in pauses {
                now += Duration::from_millis(pause);
                while open < under_way && accounts.wait(sender(1), now).is_zero() {
                    (open, admitted) = (open + 1, admitted + 1);
                }
                (0..open).for_each(|_| accounts.charge(sender(1), now));
                open = 0;
            }
            let most = now.as_secs_f64() * 50.0 + 500.0 + under_way as f64;
            prop_assert!(admitted as f64 <= most, "{admitted} > {most}");
        }

        #[test]
        fn both_tables_always_agree_and_have_a_limit(
            steps in prop::collection::vec((0_u32..20, any::<bool>(), 0_u64..100_000), 1..300),
        ) {
            let mut accounts = accounts(8);
            let mut now = Duration::ZERO;
            for (number, proven, pause) in steps {
                now += Duration::from_secs(pause);
                if proven { accounts.prove(sender(number), now) } else { accounts.charge(sender(number), now) }
                prop_assert!(accounts.all.len() <= 8);
                let order: BTreeSet<_> =
                    accounts.all.iter().map(|(sender, account)| (account.forgettable_at(), *sender)).collect();
                prop_assert_eq!(&order, &accounts.order);
            }
        }
    }
}
