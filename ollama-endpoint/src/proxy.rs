//! Ollama's API, streamed through: bytes, chunks and status as they come, in both directions, nothing buffered. Only a
//! chat that asks for the memory is read whole, to add what is known.

mod ahead;
mod background;
mod body;
mod guard;
mod headers;
mod local;
mod measured;
mod refusal;
mod remembering;
mod tally;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::CONTENT_ENCODING;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, StatusCode, Uri, Version};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use url::Url;

use self::ahead::Ahead;
use self::body::{Passing, Silence};
use self::guard::Route;
use self::headers::MEMORY;
use self::measured::Measured;
use self::refusal::{Dialect, Refusal};
pub use self::remembering::Briefer;
use self::remembering::{Remembering, Wish};

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
    /// How long a body may stand still because nothing comes. (Where nobody takes it, the listener sees to that.)
    pub idle: Duration,
    /// Whether routes that change the models are open.
    pub admin: bool,
    /// Tokens of what the memory adds to a chat that asks for it.
    pub memory_tokens: usize,
}

/// The way to one Ollama.
#[derive(Debug)]
pub struct Proxy {
    client: Client<HttpConnector, Passing<Body>>,
    base: Uri,
    slots: Arc<Semaphore>,
    places: Semaphore,
    limits: Limits,
    remembering: Remembering,
}

/// What an answer is measured by.
#[derive(Clone, Copy)]
struct Asked {
    at: Instant,
    /// Whether a model is run, so that the answer may tell tokens.
    runs_model: bool,
}

impl Proxy {
    /// A proxy for the Ollama at `base`, an `http` URL. Chats that ask for the memory go on without it.
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
            // What is an http URL is a URI; if it were not, no connection could be made.
            base: base.as_str().parse().unwrap_or_default(),
            slots: Arc::new(Semaphore::new(limits.concurrency)),
            places: Semaphore::new(limits.waiting),
            remembering: Remembering::new(limits.memory_tokens),
            limits,
        }
    }

    /// The same, with what `briefer` knows for chats that ask for it.
    #[must_use]
    pub fn with_memory(mut self, briefer: Arc<dyn Briefer>) -> Self {
        self.remembering.briefer = Some(briefer);
        self
    }

    async fn forward(&self, mut request: Request, at: Instant) -> Result<Response, Refusal> {
        let route = self.permit(request.uri())?;
        let runs_model = request.method() == Method::POST && route != Route::Admin;
        let mut remembered = None;
        if let Some(wish) = Wish::of(route, request.method(), request.headers())? {
            // Boxed, as the wait for a turn: what few requests need is not to be moved with each of them.
            let (changed, added) = Box::pin(self.remembering.add(&wish, request)).await?;
            (request, remembered) = (changed, Some(added));
        }
        let (parts, body) = request.into_parts();
        // It fails as long as anybody waits: a slot that becomes free is the next one's at once.
        let (slot, body) = match Arc::clone(&self.slots).try_acquire_owned() {
            Ok(slot) => (slot, body),
            Err(_) => Box::pin(self.turn(body)).await?,
        };
        let outbound = self.outbound(parts, body)?;
        let answer = self.client.request(outbound).await.map_err(|error| self.failed(&error))?;
        let mut response = self.inbound(answer, slot, Asked { at, runs_model });
        if let Some(remembered) = remembered {
            response.headers_mut().insert(MEMORY, remembered.header);
        }
        Ok(response)
    }

    fn permit(&self, uri: &Uri) -> Result<Route, Refusal> {
        match guard::classify(uri.path()) {
            Route::Admin if self.limits.admin => Ok(Route::Admin),
            Route::Admin => Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "this route changes the models of the machine; set OLLAMA_PROXY_ADMIN=1 on the ollama-endpoint to open it",
            )),
            Route::Unknown => Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "the ollama-endpoint passes on generation, embedding and listing only; this route is not among them",
            )),
            open => Ok(open),
        }
    }

    /// The same request for Ollama: path and query exactly as they came.
    fn outbound(&self, parts: Parts, body: Body) -> Result<http::Request<Passing<Body>>, Refusal> {
        let uri = self
            .target(&parts.uri)
            .map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, "the path cannot be forwarded"))?;
        let mut outbound = http::Request::new(Passing::new(body, self.limits.idle, ()));
        *outbound.method_mut() = parts.method;
        *outbound.uri_mut() = uri;
        *outbound.version_mut() = Version::HTTP_11;
        *outbound.headers_mut() = headers::outbound(parts.headers);
        Ok(outbound)
    }

    fn target(&self, asked: &Uri) -> Result<Uri, http::Error> {
        let mut target = self.base.clone().into_parts();
        let prefix = self.base.path().trim_end_matches('/');
        target.path_and_query = match asked.path_and_query() {
            Some(path) if prefix.is_empty() => Some(path.clone()),
            path => {
                let path = path.map_or("/", PathAndQuery::as_str);
                Some(PathAndQuery::try_from(format!("{prefix}{path}"))?)
            }
        };
        Ok(Uri::from_parts(target)?)
    }

    /// Waits for one of the slots, first come, first served; the answer's body holds it until its end. Gives the body
    /// back, of which a part may have been read meanwhile.
    async fn turn(&self, body: Body) -> Result<(OwnedSemaphorePermit, Body), Refusal> {
        let busy = || {
            let Limits { concurrency, waiting, .. } = self.limits;
            let message =
                format!("server busy: {concurrency} requests run and {waiting} may wait; try again");
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, message).retry_after(Duration::from_secs(1))
        };
        let _place = self.places.try_acquire().map_err(|_| busy())?;
        let mut body = Ahead::new(body);
        let slot = tokio::time::timeout(self.limits.wait, Arc::clone(&self.slots).acquire_owned());
        tokio::select! {
            biased;
            slot = slot => Ok((slot.ok().and_then(Result::ok).ok_or_else(busy)?, Body::new(body))),
            error = body.read_on() => {
                tracing::debug!(%error, "a caller left the queue");
                Err(Refusal::new(StatusCode::BAD_REQUEST, "the connection broke before the request was complete"))
            }
        }
    }

    fn inbound(&self, answer: Response<Incoming>, slot: OwnedSemaphorePermit, asked: Asked) -> Response {
        let (parts, body) = answer.into_parts();
        let idle = self.limits.idle;
        let tells =
            asked.runs_model && parts.status.is_success() && !parts.headers.contains_key(CONTENT_ENCODING);
        // A caller who takes nothing of it is the listener's to close (`Limits::write_stall`), and that drops it.
        let body = Measured::new(Passing::new(body, idle, slot), asked.at, tells);
        let mut response = Response::new(Body::new(body));
        *response.status_mut() = parts.status;
        *response.headers_mut() = headers::end_to_end(parts.headers);
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
    let (asked, dialect) = (Instant::now(), Dialect::of(request.uri().path()));
    let answer = proxy.forward(request, asked).await;
    let response = answer.unwrap_or_else(|refusal| refusal.answer(dialect));
    metrics::counter!("ollama_proxy_requests_total", "status" => response.status().as_u16().to_string())
        .increment(1);
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
            Refusal::new(StatusCode::FORBIDDEN, message).answer(Dialect::of(request.uri().path()))
        }
    }
}

/// The caller's silence, if that is what the request to Ollama failed of.
fn silence<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Silence> {
    error.downcast_ref().or_else(|| silence(error.source()?))
}
