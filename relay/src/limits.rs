//! Who may send how much: so many requests from one sender that do not prove who sends them, and so many in all.
//! Refused requests are answered before their body is read.

pub mod accounts;
pub mod client;
pub mod rate;

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    extract::{ConnectInfo, Request, State},
    middleware::Next,
    response::Response,
};
use http::Extensions;
use shared::error::ApiError;

use self::{
    accounts::Accounts,
    client::{Sender, TrustedProxies},
    rate::{Bucket, Rate},
};
use crate::{App, config::LimitArgs, metrics};

/// Senders of which anything is remembered.
const MOST_SENDERS: usize = 10_000;

/// Seconds' worth of requests that one sender may send at once.
const SENDER_BURST: u32 = 10;

/// A flood is one line in the log in this time, not one for each request.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Routes by which an orchestrator sees whether the relay is well.
const PROBES: [&str; 3] = ["/livez", "/readyz", "/health"];

/// The limits of a relay, and what was used of them.
#[derive(Debug)]
pub struct Limits {
    start: Instant,
    trusted: TrustedProxies,
    per_second: Option<Rate>,
    used: Mutex<Used>,
}

#[derive(Debug)]
struct Used {
    all: Bucket,
    senders: Option<Accounts>,
    refused: u64,
    told_at: Option<Duration>,
}

struct Refusal {
    reason: &'static str,
    message: &'static str,
    wait: Duration,
}

/// A request under way. What is not proven when it ends is charged to its sender.
#[derive(Debug, Clone)]
struct Visit(Arc<Visitor>);

#[derive(Debug)]
struct Visitor {
    app: App,
    sender: Sender,
    proven: AtomicBool,
}

/// Middleware: refuses what is too much.
pub async fn guard(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    mut request: Request,
    next: Next,
) -> Response {
    let limits = &app.limits;
    let forwarded: Vec<_> = request.headers().get_all("x-forwarded-for").iter().collect();
    // A proxy that tells nobody's address asks for itself: it must not take the relay for dead because others ask too.
    if forwarded.is_empty() && limits.trusted.contains(peer.ip()) && PROBES.contains(&request.uri().path()) {
        limits.count();
        return next.run(request).await;
    }
    let lines = forwarded.iter().map(|line| line.to_str().unwrap_or_default());
    let sender = Sender::from(limits.trusted.client(peer.ip(), lines));
    if let Err(refusal) = limits.admit(sender) {
        metrics::refused(refusal.reason);
        return ApiError::too_many(refusal.message, refusal.wait).into_quiet_response();
    }
    let visitor = Visitor { app: app.clone(), sender, proven: AtomicBool::new(false) };
    request.extensions_mut().insert(Visit(Arc::new(visitor)));
    next.run(request).await
}

/// Tells that the request with these extensions has proven who sent it.
pub fn proven(extensions: &Extensions) {
    if let Some(Visit(visitor)) = extensions.get() {
        visitor.proven.store(true, Ordering::Relaxed);
        visitor.app.limits.senders(Accounts::prove, visitor.sender);
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        if !self.proven.load(Ordering::Relaxed) {
            self.app.limits.senders(Accounts::charge, self.sender);
        }
    }
}

impl Limits {
    /// The limits that `args` set.
    pub fn new(args: &LimitArgs) -> Self {
        let senders = Rate::new(args.rate_limit_address, SENDER_BURST);
        let senders = senders.map(|rate| Accounts::new(rate, MOST_SENDERS));
        Self {
            start: Instant::now(),
            trusted: args.trusted_proxies.clone(),
            per_second: Rate::new(args.rate_limit, 1),
            used: Mutex::new(Used { all: Bucket::default(), senders, refused: 0, told_at: None }),
        }
    }

    /// Whether this is a proxy whose headers are believed.
    pub fn is_proxy(&self, peer: IpAddr) -> bool {
        self.trusted.contains(peer)
    }

    /// A sender that sends too much takes nothing from the others: what is refused for its sake counts only there.
    fn admit(&self, sender: Sender) -> Result<(), Refusal> {
        let now = self.start.elapsed();
        let mut used = self.lock();
        let wait = used.senders.as_ref().map_or(Duration::ZERO, |senders| senders.wait(sender, now));
        let admitted = if wait.is_zero() {
            let all = self.per_second.map_or(Ok(()), |rate| used.all.take(rate, now));
            all.map_err(|wait| Refusal {
                reason: "all",
                message: "more requests than RATE_LIMIT are arriving; send it again later",
                wait,
            })
        } else {
            Err(Refusal {
                reason: "address",
                message: "too many requests from this address without a valid signature or token; send it again later",
                wait,
            })
        };
        if let Err(refusal) = &admitted {
            used.tell(refusal, sender, now);
        }
        admitted
    }

    /// Counts a request among all, whatever there are.
    fn count(&self) {
        let now = self.start.elapsed();
        if let Some(rate) = self.per_second {
            let _ = self.lock().all.take(rate, now);
        }
    }

    fn senders(&self, note: fn(&mut Accounts, Sender, Duration), sender: Sender) {
        let now = self.start.elapsed();
        if let Some(senders) = &mut self.lock().senders {
            note(senders, sender, now);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Used> {
        // Nothing in here panics half-way.
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Used {
    fn tell(&mut self, refusal: &Refusal, sender: Sender, now: Duration) {
        self.refused += 1;
        if self.told_at.is_none_or(|at| now >= at + TELL_EVERY) {
            let (refused, reason) = (self.refused, refusal.reason);
            tracing::warn!(refused, reason, last_sender = %sender, "requests were answered 429 rate_limited");
            (self.refused, self.told_at) = (0, Some(now));
        }
    }
}
