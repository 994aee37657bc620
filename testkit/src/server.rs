//! The accept loop of the stand-ins. Unlike axum's own it can cut a connection instead of answering, and
//! be stopped and started again on the same port.

use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;

use axum::Router;
use axum::body::Body;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::control::{Control, lock};

/// Any free port on loopback.
pub(crate) const ANY_PORT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// A listening stand-in; stops when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    routes: Router,
    control: Control,
    running: Mutex<Option<(CancellationToken, JoinHandle<()>)>>,
}

impl Server {
    /// Takes the listener first, so that the routes can know their own address.
    pub(crate) fn start(listener: TcpListener, routes: Router, control: Control) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let server = Self { address, routes, control, running: Mutex::default() };
        server.run(listener);
        Ok(server)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Closes the port and cuts every connection.
    pub(crate) async fn stop(&self) {
        let running = lock(&self.running).take();
        if let Some((stop, accepting)) = running {
            stop.cancel();
            // A panic of the accept loop has already been printed by the runtime.
            let _ = accepting.await;
        }
    }

    /// Listens again on the same port.
    pub(crate) async fn start_again(&self) -> io::Result<()> {
        self.stop().await;
        self.run(TcpListener::bind(self.address).await?);
        Ok(())
    }

    fn run(&self, listener: TcpListener) {
        let stop = CancellationToken::new();
        let accepting =
            tokio::spawn(accept(listener, self.routes.clone(), self.control.clone(), stop.clone()));
        *lock(&self.running) = Some((stop, accepting));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some((stop, _)) = lock(&self.running).take() {
            stop.cancel();
        }
    }
}

async fn accept(listener: TcpListener, routes: Router, control: Control, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        if let Ok((stream, _)) = accepted {
            let (routes, control) = (routes.clone(), control.clone());
            let serving = stop.clone().run_until_cancelled_owned(serve(stream, routes, control));
            tokio::spawn(serving);
        }
    }
}

async fn serve(stream: TcpStream, routes: Router, control: Control) {
    let service = service_fn(move |request: Request<Incoming>| {
        let (routes, control) = (routes.clone(), control.clone());
        async move { control.run(routes, request.map(Body::new)).await }
    });
    // Errors are cut connections: by the client, or on purpose.
    let _ =
        http1::Builder::new().title_case_headers(true).serve_connection(TokioIo::new(stream), service).await;
}
