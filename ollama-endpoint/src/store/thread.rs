//! A synchronous resource, such as a database connection, on a thread of its own with an asynchronous face.

use std::error::Error;

use tokio::sync::{mpsc, oneshot};

use super::StoreError;

/// Calls that wait for the thread; more wait in their callers.
const BACKLOG: usize = 256;

type Job<R> = Box<dyn FnOnce(&mut R) + Send>;

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

impl<R: Send + 'static> Thread<R> {
    pub(super) fn start(name: &str, mut resource: R) -> std::io::Result<Self> {
        let (jobs, mut waiting) = mpsc::channel::<Job<R>>(BACKLOG);
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            while let Some(job) = waiting.blocking_recv() {
                job(&mut resource);
            }
        })?;
        Ok(Self { jobs })
    }

    /// Runs `work` on the thread. It is done even if the caller stops waiting.
    pub(super) async fn call<T: Send + 'static, E: Error + Send + Sync + 'static>(
        &self,
        work: impl FnOnce(&mut R) -> Result<T, E> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let job: Job<R> = Box::new(move |resource| {
            // A caller that has left needs no answer.
            let _ = answer.send(work(resource));
        });
        self.jobs.send(job).await.map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| StoreError::Closed)?.map_err(|error| StoreError::Backend(error.into()))
    }
}
