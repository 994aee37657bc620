//! Whether a target is there, asked beside the hand-overs.

use std::time::Duration;

use futures_util::future::BoxFuture;
use shared::client::travel;
use tokio::{
    sync::Mutex,
    time::{Instant, sleep, timeout},
};

/// How long a probe may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// How long a hand-over may be unanswered, beside the time that its body is under way, before a probe is sent beside it, and again after each.
const UNANSWERED: Duration = Duration::from_secs(2);

type Ask = Box<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// Asks one target whether it is there. However many want to know, one probe is on its way at a time, and its answer is
/// for all who asked before it came.
pub(super) struct Prober {
    ask: Ask,
    last: Mutex<Option<(Instant, Result<(), String>)>>,
}

impl Prober {
    /// Asks by `ask`, which says what is wrong.
    pub(super) fn new(
        ask: impl Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync + 'static,
    ) -> Self {
        Self { ask: Box::new(ask), last: Mutex::default() }
    }

    /// Whether the target is there, or what is wrong.
    pub(super) async fn is_there(&self) -> Result<(), String> {
        let asked = Instant::now();
        let mut last = self.last.lock().await;
        if let Some((answered, said)) = &*last
            && *answered > asked
        {
            return said.clone();
        }
        let none = || Err(format!("no answer to a probe within {} s", DEADLINE.as_secs()));
        let said = timeout(DEADLINE, (self.ask)()).await.unwrap_or_else(|_| none());
        *last = Some((Instant::now(), said.clone()));
        said
    }

    /// Waits for `call`, which sends so many `bytes`, but for no longer than the target is there: a frozen tunnel takes
    /// connections and then says nothing for as long as one likes to wait. A probe that is sent while a large body is
    /// under way would wait behind it, and tell nothing.
    ///
    /// # Errors
    /// What is wrong with the target. Whether `call` arrived is not known then.
    pub(super) async fn attend<T>(&self, bytes: usize, call: impl Future<Output = T>) -> Result<T, String> {
        let gone = async {
            sleep(travel(bytes)).await;
            loop {
                sleep(UNANSWERED).await;
                if let Err(why) = self.is_there().await {
                    return why;
                }
            }
        };
        tokio::select! {
            biased;
            answer = call => Ok(answer),
            why = gone => Err(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::{pending, ready},
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
    };

    use super::*;

    /// A target that answers its first probes, each after a second, and then none.
    fn prober(answered: usize) -> (Prober, Arc<AtomicUsize>) {
        let probes = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&probes);
        let ask = move || -> BoxFuture<'static, Result<(), String>> {
            let nth = count.fetch_add(1, Ordering::SeqCst);
            Box::pin(async move {
                if nth >= answered {
                    pending::<()>().await;
                }
                sleep(Duration::from_secs(1)).await;
                Ok(())
            })
        };
        (Prober::new(ask), probes)
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_to_a_frozen_target_is_given_up_after_two_seconds_and_a_probe() {
        let (prober, probes) = prober(0);
        let start = Instant::now();
        let given_up = prober.attend(0, pending::<()>()).await.unwrap_err();
        assert!(given_up.contains("within 5 s"), "{given_up}");
        assert_eq!((start.elapsed().as_secs(), probes.load(Ordering::SeqCst)), (7, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_call_to_a_target_that_is_there_is_waited_for() {
        let (prober, probes) = prober(usize::MAX);
        let slow = sleep(Duration::from_secs(25));
        assert_eq!(prober.attend(0, slow).await, Ok(()));
        assert_eq!(probes.load(Ordering::SeqCst), 8, "every 2 s, and a second for each");
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_event_has_the_time_that_it_takes_on_a_slow_line() {
        let (prober, probes) = prober(0);
        let (bytes, start) = (20 << 20, Instant::now());
        let upload = sleep(travel(bytes) + UNANSWERED);
        assert_eq!(prober.attend(bytes, upload).await, Ok(()));
        assert_eq!(probes.load(Ordering::SeqCst), 0, "a probe would have waited behind it");
        assert!(prober.attend(bytes, pending::<()>()).await.is_err(), "a frozen tunnel is found after that");
        assert_eq!(start.elapsed().as_secs(), 162 + 162 + 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_target_that_freezes_later_is_found_too() {
        let (prober, _) = prober(2);
        let start = Instant::now();
        assert!(prober.attend(0, pending::<()>()).await.is_err());
        assert_eq!(start.elapsed().as_secs(), 2 + 1 + 2 + 1 + 2 + 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_is_answered_in_time_asks_nothing() {
        let (prober, probes) = prober(0);
        assert_eq!(prober.attend(0, ready(7)).await, Ok(7));
        assert_eq!(prober.attend(0, sleep(Duration::from_millis(1999))).await, Ok(()));
        assert_eq!(probes.load(Ordering::SeqCst), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn many_calls_share_one_probe() {
        let (prober, probes) = prober(0);
        let prober = Arc::new(prober);
        let start = Instant::now();
        let calls: Vec<_> = (0..16)
            .map(|n| {
                let prober = Arc::clone(&prober);
                tokio::spawn(async move {
                    sleep(Duration::from_millis(n * 100)).await;
                    prober.attend(0, pending::<()>()).await
                })
            })
            .collect();
        for call in calls {
            assert!(call.await.unwrap().is_err());
        }
        assert_eq!((start.elapsed().as_secs(), probes.load(Ordering::SeqCst)), (7, 1));
    }
}
