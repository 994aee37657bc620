//! What a test does to a stand-in: make calls fail, hold them at a gate, read the log, wait for a state.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, Method, Request, StatusCode};
use tokio::sync::watch;
use tower::ServiceExt;

use crate::operation;

/// How long [`Control::wait_until`] and [`Gate::reached`] wait before they give up.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Which requests a fault or a gate is meant for.
#[derive(Debug, Clone)]
pub struct Matcher {
    method: Option<Method>,
    prefix: String,
    suffix: String,
}

impl Matcher {
    /// Requests with this method whose path starts with `prefix`. A GraphQL operation with a name has the path
    /// `/graphql#Name`.
    pub fn new(method: Method, prefix: impl Into<String>) -> Self {
        Self { method: Some(method), prefix: prefix.into(), suffix: String::new() }
    }

    /// Requests of any method whose path starts with `prefix`.
    pub fn any(prefix: impl Into<String>) -> Self {
        Self { method: None, prefix: prefix.into(), suffix: String::new() }
    }

    /// Narrows to paths that also end with `suffix`.
    #[must_use]
    pub fn ending(mut self, suffix: impl Into<String>) -> Self {
        self.suffix = suffix.into();
        self
    }

    /// Whether `method` and `path` (without query) are meant.
    pub fn matches(&self, method: &Method, path: &str) -> bool {
        self.method.as_ref().is_none_or(|wanted| wanted == method)
            && path.starts_with(&self.prefix)
            && path.ends_with(&self.suffix)
    }
}

/// `POST` to paths starting with `prefix`.
pub fn post(prefix: impl Into<String>) -> Matcher {
    Matcher::new(Method::POST, prefix)
}

/// `GET` of paths starting with `prefix`.
pub fn get(prefix: impl Into<String>) -> Matcher {
    Matcher::new(Method::GET, prefix)
}

/// What goes wrong with one request.
#[derive(Debug, Clone)]
pub enum Fault {
    /// This status with these extra headers, and the stand-in's usual error body; nothing takes effect.
    Status(StatusCode, Vec<(&'static str, String)>),
    /// No answer ever; nothing takes effect.
    Hang,
    /// The connection is cut before anything takes effect.
    Cut,
    /// The request takes effect, then the connection is cut before the answer.
    LoseAnswer,
    /// The stand-in's own way to say "too many requests".
    RateLimited {
        /// Seconds in `retry-after`.
        retry_after: u64,
    },
}

/// One request as it was logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The method.
    pub method: Method,
    /// Path without query; `/graphql#Name` for a GraphQL operation that has a name.
    pub path: String,
    /// Query without `?`, empty if there was none.
    pub query: String,
    /// The answer's status; `None` while unanswered, or if the connection was cut.
    pub status: Option<u16>,
}

/// As one line: method, path with query, status (`-` without an answer).
impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)?;
        if !self.query.is_empty() {
            write!(f, "?{}", self.query)?;
        }
        match self.status {
            Some(status) => write!(f, " {status}"),
            None => f.write_str(" -"),
        }
    }
}

/// How a stand-in words the errors that faults make up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wording {
    /// The error body for a status.
    pub(crate) error: fn(StatusCode) -> String,
    /// Status and body of a rate limit.
    pub(crate) rate_limited: fn() -> (StatusCode, String),
}

/// Waiting took longer than [`DEADLINE`].
#[derive(Debug)]
pub struct Overdue {
    calls: Vec<Call>,
}

impl fmt::Display for Overdue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not seen within {DEADLINE:?}; the stand-in had these calls: {:#?}", self.calls)
    }
}

impl std::error::Error for Overdue {}

/// Returned to hyper to make it drop the connection.
#[derive(Debug)]
pub(crate) struct Cut;

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection is cut on purpose")
    }
}

impl std::error::Error for Cut {}

/// Locks, also after a test thread panicked: the stand-ins' states are valid at every point.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Point {
    Request,
    Answer,
}

#[derive(Debug)]
struct Held {
    matcher: Matcher,
    point: Point,
    arrived: watch::Sender<usize>,
    open: watch::Sender<bool>,
}

/// Holds matching requests until [`Gate::release`] (or until it is dropped).
#[derive(Debug)]
#[must_use = "a dropped gate is open"]
pub struct Gate {
    held: Arc<Held>,
    control: Control,
}

impl Gate {
    /// Waits until a request stands at the gate.
    ///
    /// # Errors
    /// [`Overdue`] if none came within [`DEADLINE`].
    pub async fn reached(&self) -> Result<(), Overdue> {
        self.reached_by(1).await
    }

    /// Waits until `count` requests have come to the gate.
    ///
    /// # Errors
    /// [`Overdue`] if fewer came within [`DEADLINE`].
    pub async fn reached_by(&self, count: usize) -> Result<(), Overdue> {
        let mut arrived = self.held.arrived.subscribe();
        let seen = arrived.wait_for(|n| *n >= count);
        match tokio::time::timeout(DEADLINE, seen).await {
            Ok(_) => Ok(()),
            Err(_) => Err(Overdue { calls: self.control.calls() }),
        }
    }

    /// How many requests have come to the gate so far.
    pub fn arrivals(&self) -> usize {
        *self.held.arrived.borrow()
    }

    /// Lets the held requests and all later ones through.
    pub fn release(&self) {
        self.held.open.send_replace(true);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.release();
    }
}

/// The test's side of a stand-in. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Control(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    faults: Mutex<Vec<(Matcher, Fault)>>,
    gates: Mutex<Vec<Arc<Held>>>,
    calls: Mutex<Vec<Call>>,
    /// When each of them arrived and was answered.
    times: Mutex<Vec<(Instant, Option<Instant>)>>,
    changes: watch::Sender<u64>,
    wording: Wording,
}

impl Control {
    pub(crate) fn new(wording: Wording) -> Self {
        Self(Arc::new(Inner {
            faults: Mutex::default(),
            gates: Mutex::default(),
            calls: Mutex::default(),
            times: Mutex::default(),
            changes: watch::Sender::new(0),
            wording,
        }))
    }

    /// The next matching request meets `fault`. Several add up, oldest first.
    pub fn fail_next(&self, matcher: Matcher, fault: Fault) {
        lock(&self.0.faults).push((matcher, fault));
    }

    /// Forgets faults that have not happened yet; returns how many there were.
    pub fn forget_faults(&self) -> usize {
        std::mem::take(&mut *lock(&self.0.faults)).len()
    }

    /// Holds matching requests before they take effect.
    pub fn gate(&self, matcher: Matcher) -> Gate {
        self.add_gate(matcher, Point::Request)
    }

    /// Holds matching requests after they took effect, before their answer is sent.
    pub fn gate_answer(&self, matcher: Matcher) -> Gate {
        self.add_gate(matcher, Point::Answer)
    }

    fn add_gate(&self, matcher: Matcher, point: Point) -> Gate {
        let held = Arc::new(Held {
            matcher,
            point,
            arrived: watch::Sender::new(0),
            open: watch::Sender::new(false),
        });
        lock(&self.0.gates).push(Arc::clone(&held));
        Gate { held, control: self.clone() }
    }

    /// Every request so far, in the order of arrival.
    pub fn calls(&self) -> Vec<Call> {
        lock(&self.0.calls).clone()
    }

    /// The requests since there were `earlier` of them: those of one review, say.
    pub fn calls_since(&self, earlier: usize) -> Vec<Call> {
        lock(&self.0.calls).iter().skip(earlier).cloned().collect()
    }

    /// When those of the requests since there were `earlier` arrived that `wanted` wants, and when their answers were
    /// ready.
    pub fn times_since(
        &self,
        earlier: usize,
        wanted: impl Fn(&Call) -> bool,
    ) -> Vec<(Instant, Option<Instant>)> {
        let (calls, times) = (lock(&self.0.calls), lock(&self.0.times));
        let all = calls.iter().zip(times.iter()).skip(earlier);
        all.filter(|(call, _)| wanted(call)).map(|(_, times)| *times).collect()
    }

    /// How many requests matched so far.
    pub fn count(&self, matcher: &Matcher) -> usize {
        lock(&self.0.calls).iter().filter(|call| matcher.matches(&call.method, &call.path)).count()
    }

    /// Waits until `condition` holds; it is looked at again after each request and each change by the test.
    ///
    /// # Errors
    /// [`Overdue`] with the call log after [`DEADLINE`].
    pub async fn wait_until(&self, mut condition: impl FnMut() -> bool) -> Result<(), Overdue> {
        let mut changes = self.0.changes.subscribe();
        let seen = changes.wait_for(|_| condition());
        let in_time = tokio::time::timeout(DEADLINE, seen).await.is_ok();
        if in_time { Ok(()) } else { Err(Overdue { calls: self.calls() }) }
    }

    /// Wakes the waiters: something changed.
    pub(crate) fn touch(&self) {
        self.0.changes.send_modify(|n| *n += 1);
    }

    /// Takes one request through gates and faults to the stand-in's routes.
    pub(crate) async fn run(&self, routes: axum::Router, request: Request<Body>) -> Result<Response, Cut> {
        let (request, path) = operation::named(request).await;
        let method = request.method().clone();
        let index = self.log(&request, &path);
        self.hold(Point::Request, &method, &path).await;
        let answer = match self.take_fault(&method, &path) {
            None => self.through(routes, request, &method, &path).await,
            Some(Fault::LoseAnswer) => {
                self.through(routes, request, &method, &path).await?;
                self.touch();
                Err(Cut)
            }
            Some(Fault::Cut) => Err(Cut),
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::Status(status, headers)) => Ok(self.made_up(status, headers)),
            Some(Fault::RateLimited { retry_after }) => Ok(self.rate_limited(retry_after)),
        };
        if let Ok(answer) = &answer {
            lock(&self.0.calls)[index].status = Some(answer.status().as_u16());
            lock(&self.0.times)[index].1 = Some(Instant::now());
        }
        self.touch();
        answer
    }

    async fn through(
        &self,
        routes: axum::Router,
        request: Request<Body>,
        method: &Method,
        path: &str,
    ) -> Result<Response, Cut> {
        let Ok(answer) = routes.oneshot(request).await;
        self.touch();
        self.hold(Point::Answer, method, path).await;
        Ok(answer)
    }

    fn log(&self, request: &Request<Body>, path: &str) -> usize {
        let call = Call {
            method: request.method().clone(),
            path: path.to_owned(),
            query: request.uri().query().unwrap_or_default().to_owned(),
            status: None,
        };
        let mut calls = lock(&self.0.calls);
        calls.push(call);
        lock(&self.0.times).push((Instant::now(), None));
        calls.len() - 1
    }

    async fn hold(&self, point: Point, method: &Method, path: &str) {
        let held: Vec<_> = lock(&self.0.gates)
            .iter()
            .filter(|gate| gate.point == point && gate.matcher.matches(method, path) && !*gate.open.borrow())
            .map(Arc::clone)
            .collect();
        for gate in held {
            gate.arrived.send_modify(|n| *n += 1);
            // The sender lives in `gate` itself, so this cannot end early.
            let _ = gate.open.subscribe().wait_for(|open| *open).await;
        }
    }

    fn take_fault(&self, method: &Method, path: &str) -> Option<Fault> {
        let mut faults = lock(&self.0.faults);
        let index = faults.iter().position(|(matcher, _)| matcher.matches(method, path))?;
        Some(faults.remove(index).1)
    }

    fn made_up(&self, status: StatusCode, headers: Vec<(&'static str, String)>) -> Response {
        let json = [("content-type", "application/json; charset=utf-8")];
        let mut answer = (status, json, (self.0.wording.error)(status)).into_response();
        for (name, value) in headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                answer.headers_mut().insert(HeaderName::from_static(name), value);
            }
        }
        answer
    }

    fn rate_limited(&self, retry_after: u64) -> Response {
        let (status, body) = (self.0.wording.rate_limited)();
        let headers =
            [("content-type", "application/json; charset=utf-8"), ("retry-after", &retry_after.to_string())];
        (status, headers, body).into_response()
    }
}
