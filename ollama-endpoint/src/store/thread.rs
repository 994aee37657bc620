//! A synchronous resource, such as a database connection, on a thread of its own with an asynchronous face.

use std::error::Error;
use std::iter;

use tokio::sync::{mpsc, oneshot};

use super::StoreError;

/// Calls that wait for the thread; more wait in their callers.
const BACKLOG: usize = 256;

/// The most calls that are done together.
const GROUP: usize = 256;

/// What is done on the thread; gives back what is to be done once the group has been settled.
type Job<R> = Box<dyn FnOnce(&mut R) -> Settle + Send>;

/// Tells the caller, who learns whether the group's settlement succeeded.
type Settle = Box<dyn FnOnce(Result<(), String>)>;

/// The handle. The thread ends when the last one is dropped.
#[derive(Debug)]
pub(super) struct Thread<R> {
    jobs: mpsc::Sender<Job<R>>,
}

impl<R> Clone for Thread<R> {
    fn clone(&self) -> Self {
        Self { jobs: self.jobs.clone() }
    }
}

/// A resource whose calls are done in groups, between a beginning and an end that all of them share.
pub(super) trait Grouped {
    /// Begins a group.
    fn begin(&mut self) -> Result<(), String>;
    /// Ends it, for good if all went well, and otherwise as if it had not been.
    fn end(&mut self, all_well: bool) -> Result<(), String>;
    /// Whether a call of the group has failed.
    fn failed(&self) -> bool;
}

impl<R: Send + 'static> Thread<R> {
    /// A thread that does one call after the other.
    pub(super) fn start(name: &str, mut resource: R) -> std::io::Result<Self> {
        Self::spawn(name, move |waiting| {
            while let Some(job) = waiting.blocking_recv() {
                job(&mut resource)(Ok(()));
            }
        })
    }

    /// A thread that does all calls that wait as one group, so that they share what a group costs.
    pub(super) fn start_grouped(name: &str, mut resource: R) -> std::io::Result<Self>
    where
        R: Grouped,
    {
        Self::spawn(name, move |waiting| {
            while let Some(first) = waiting.blocking_recv() {
                let mut next = Some(first);
                let group = iter::from_fn(|| next.take().or_else(|| waiting.try_recv().ok()));
                together(&mut resource, group.take(GROUP));
            }
        })
    }

    fn spawn(
        name: &str,
        run: impl FnOnce(&mut mpsc::Receiver<Job<R>>) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (jobs, mut waiting) = mpsc::channel::<Job<R>>(BACKLOG);
        std::thread::Builder::new().name(name.to_owned()).spawn(move || run(&mut waiting))?;
        Ok(Self { jobs })
    }

    /// Runs `work` on the thread; `settled` follows once the group it was done in is settled well. Both are done even if
    /// the caller stops waiting.
    pub(super) async fn call<T: Send + 'static, E: Error + Send + Sync + 'static>(
        &self,
        work: impl FnOnce(&mut R) -> Result<T, E> + Send + 'static,
        settled: impl FnOnce(&T) + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let job: Job<R> = Box::new(move |resource| {
            let done = work(resource).map_err(|error| StoreError::Backend(error.into()));
            Box::new(move |group| {
                // Its own error tells more than the group's.
                let done = done
                    .and_then(|done| group.map(|()| done).map_err(|error| StoreError::Backend(error.into())));
                if let Ok(done) = &done {
                    settled(done);
                }
                // A caller that has left needs no answer.
                let _ = answer.send(done);
            })
        });
        self.jobs.send(job).await.map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| StoreError::Closed)?
    }
}

/// One that fails takes the whole group back, which happens when the disk is full or broken; a savepoint for each would copy
/// every page that a group writes again and again.
fn together<R: Grouped>(resource: &mut R, group: impl Iterator<Item = Job<R>>) {
    let begun = resource.begin();
    let settle: Vec<Settle> = group.map(|job| job(resource)).collect();
    let well = begun.is_ok() && !resource.failed();
    let ended = resource.end(well);
    let outcome = match (begun, well) {
        (Err(error), _) => Err(error),
        (Ok(()), false) => Err("another write of the same group failed".to_owned()),
        (Ok(()), true) => ended,
    };
    if let Err(error) = &outcome {
        tracing::error!(error, writes = settle.len(), "a group of writes failed; their callers are told");
    }
    for settle in settle {
        settle(outcome.clone());
    }
}
