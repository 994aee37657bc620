//! Ollama's API, streamed through: bytes, chunks and status as they come, in both directions, nothing buffered.

mod attended;
mod body;
mod guard;
mod headers;
mod local;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{StatusCode, Uri, Version};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use url::Url;

use self::attended::Attended;
use self::body::{Passing, Silence};
use self::guard::Route;

/// How long Ollama may take to accept a connection. How long a cold model takes to answer is nobody's guess.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long an idle connection to Ollama is kept for the next request.
const POOL_IDLE: Duration = Duration::from_secs(60);

/// What the proxy allows.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Requests that Ollama gets at a time.
    pub concurrency: usize,
    /// Requests that wait for their turn, first come, first served.
    pub waiting: usize,
    /// How long one of them waits.
    pub wait: Duration,
    /// How long a body may stand still, because nothing comes or because nobody takes it.
    pub idle: Duration,
    /// Whether routes that change the models are open.
    pub admin: bool,
}

/// The way to one Ollama.
#[derive(Debug)]
pub struct Proxy {
    client: Client<HttpConnector, Passing<Body>>,
    /// `http://host:port`, and a path prefix if there is one; without a slash at the end.
    base: String,
    slots: Arc<Semaphore>,
    places: Semaphore,
    limits: Limits,
}

impl Proxy {
    /// A proxy for the Ollama at `base`, an `http` URL.
    pub fn new(base: &Url, limits: Limits) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE)
            .pool_max_idle_per_host(limits.concurrency)
            .build(connector);
        Self {
            client,
            base: base.as_str().trim_end_matches('/').to_owned(),
            slots: Arc::new(Semaphore::new(limits.concurrency)),
            places: Semaphore::new(limits.waiting),
            limits,
        }
    }

    async fn forward(&self, request: Request) -> Result<Response, Refusal> {
        self.permit(request.uri())?;
        let outbound = self.outbound(request)?;
        let slot = self.turn().await?;
        let answer = self.client.request(outbound).await.map_err(|error| self.failed(&error))?;
        Ok(self.inbound(answer, slot))
    }

    fn permit(&self, uri: &Uri) -> Result<(), Refusal> {
        match guard::classify(uri.path()) {
            Route::Open => Ok(()),
            Route::Admin if self.limits.admin => Ok(()),
            Route::Admin => Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "this route changes the models of the machine; set OLLAMA_PROXY_ADMIN=1 on the ollama-endpoint to open it",
            )),
            Route::Unknown => Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "the ollama-endpoint passes on generation, embedding and listing only; this route is not among them",
            )),
        }
    }

    /// The same request for Ollama: path and query exactly as they came.
    fn outbound(&self, request: Request) -> Result<http::Request<Passing<Body>>, Refusal> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let uri = Uri::try_from(format!("{}{path}", self.base))
            .map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, "the path cannot be forwarded"))?;
        let mut outbound = http::Request::new(Passing::new(body, self.limits.idle, ()));
        *outbound.method_mut() = parts.method;
        *outbound.uri_mut() = uri;
        *outbound.version_mut() = Version::HTTP_11;
        *outbound.headers_mut() = headers::outbound(&parts.headers);
        Ok(outbound)
    }

    /// Waits for one of the slots; the answer's body holds it until its end.
    async fn turn(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        if let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() {
            return Ok(slot);
        }
        let busy = || {
            let Limits { concurrency, waiting, .. } = self.limits;
            let message =
                format!("server busy: {concurrency} requests run and {waiting} may wait; try again");
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, message).retry_after(Duration::from_secs(1))
        };
        let _place = self.places.try_acquire().map_err(|_| busy())?;
        let slot = tokio::time::timeout(self.limits.wait, Arc::clone(&self.slots).acquire_owned()).await;
        slot.ok().and_then(Result::ok).ok_or_else(busy)
    }

    fn inbound(&self, answer: Response<Incoming>, slot: OwnedSemaphorePermit) -> Response {
        let (parts, body) = answer.into_parts();
        let idle = self.limits.idle;
        let mut response = Response::new(Body::new(Attended::new(Passing::new(body, idle, slot), idle)));
        *response.status_mut() = parts.status;
        *response.headers_mut() = headers::end_to_end(&parts.headers);
        response
    }

    fn failed(&self, error: &hyper_util::client::legacy::Error) -> Refusal {
        if error.is_connect() {
            let message = format!(
                "Ollama does not answer at {}: start it with `ollama serve` or the Ollama app",
                self.base
            );
            return Refusal::new(StatusCode::SERVICE_UNAVAILABLE, message)
                .retry_after(Duration::from_secs(5));
        }
        if let Some(silence) = silence(error) {
            let message = format!("the request's body stood still: {silence}; send it again");
            return Refusal::new(StatusCode::REQUEST_TIMEOUT, message);
        }
        tracing::warn!(error = shared::error::chain(error), "Ollama's answer failed");
        Refusal::new(
            StatusCode::BAD_GATEWAY,
            "Ollama closed the connection before it answered; its log has the cause",
        )
    }
}

/// The handler of all proxied routes. Dropping it, because the caller left, ends the request to Ollama.
pub async fn handle(State(proxy): State<Arc<Proxy>>, request: Request) -> Response {
    let started = Instant::now();
    let response = proxy.forward(request).await.unwrap_or_else(IntoResponse::into_response);
    metrics::counter!("ollama_proxy_requests_total", "status" => response.status().as_u16().to_string())
        .increment(1);
    metrics::histogram!("ollama_proxy_first_byte_seconds").record(started.elapsed().as_secs_f64());
    response
}

/// Middleware for a proxy that asks for no credentials: only programs of this machine pass, not the web pages that one
/// of them shows. Ollama's own check of `Host` and `Origin` sees neither, since both are ours.
pub async fn only_from_here(request: Request, next: Next) -> Response {
    match local::foreign(request.uri(), request.headers()) {
        None => next.run(request).await,
        Some(name) => {
            let message = format!(
                "`{name}` is not this machine's loopback; call http://127.0.0.1, or set OLLAMA_PROXY_AUTH=required on the ollama-endpoint and send its token"
            );
            Refusal::new(StatusCode::FORBIDDEN, message).into_response()
        }
    }
}

/// The caller's silence, if that is what the request to Ollama failed of.
fn silence<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Silence> {
    error.downcast_ref().or_else(|| silence(error.source()?))
}

/// An error in Ollama's own shape, `{"error":"…"}`, which its clients can show.
struct Refusal {
    status: StatusCode,
    message: String,
    retry_after: Option<Duration>,
}

impl Refusal {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), retry_after: None }
    }

    fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = serde_json::json!({"error": self.message}).to_string();
        let mut response =
            (self.status, [(CONTENT_TYPE, "application/json; charset=utf-8")], body).into_response();
        if let Some(after) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, after.as_secs().into());
        }
        response
    }
}
