//! The cable where there are no namespaces: a proxy before sshd that can hold back what goes through, either way.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};
use tokio_util::task::AbortOnDropHandle;

use super::net::{Cut, Side};

/// Between two tries of an sshd that is not there; its client waits meanwhile.
const PAUSE: Duration = Duration::from_millis(50);

#[derive(Debug, Clone, Copy, Default)]
struct State {
    cut: Option<Cut>,
    /// Connections that began before this many machines lost their memory are of no use.
    lives: u64,
}

impl State {
    fn carries_to(self, side: Side) -> bool {
        !self.cut.is_some_and(|cut| cut.silences(side))
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Cable {
    address: SocketAddr,
    state: watch::Sender<State>,
    _carrying: AbortOnDropHandle<()>,
}

impl Cable {
    /// From a port of loopback to sshd's.
    pub(super) async fn new(port: u16, sshd: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.context("no port for the cable")?;
        let (address, state) = (listener.local_addr()?, watch::Sender::new(State::default()));
        let carrying = tokio::spawn(carry(listener, sshd, state.subscribe()));
        Ok(Self { address, state, _carrying: AbortOnDropHandle::new(carrying) })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What goes that way is held back.
    pub(super) fn cut(&self, cut: Cut) {
        self.state.send_modify(|state| state.cut = Some(cut));
    }

    /// What was held back arrives.
    pub(super) fn mend(&self) {
        self.state.send_modify(|state| state.cut = None);
    }

    /// Cuts every connection for good.
    pub(super) fn forget(&self) {
        self.state.send_modify(|state| state.lives += 1);
    }
}

async fn carry(listener: TcpListener, sshd: u16, state: watch::Receiver<State>) {
    while let Ok((client, _)) = listener.accept().await {
        let mut state = state.clone();
        tokio::spawn(async move {
            let born = state.borrow().lives;
            let mut forgotten = state.clone();
            tokio::select! {
                _ = forgotten.wait_for(|now| now.lives != born) => {}
                () = connection(client, sshd, &mut state) => {}
            }
        });
    }
}

async fn connection(client: TcpStream, sshd: u16, state: &mut watch::Receiver<State>) {
    // A connection is there once packets went both ways.
    let opened = state.wait_for(|now| now.cut.is_none()).await.is_ok();
    if !opened {
        return;
    }
    let Ok(server) = TcpStream::connect(("127.0.0.1", sshd)).await else {
        tokio::time::sleep(PAUSE).await;
        return;
    };
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let there = one_way(from_client, to_server, state.clone(), Side::Vps);
    let back = one_way(from_server, to_client, state.clone(), Side::Home);
    // When one end has closed, ssh has nothing more to say to the other.
    tokio::select! {
        () = there => {}
        () = back => {}
    }
}

/// Passes on to `side` what comes, when the cable carries it.
async fn one_way(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut state: watch::Receiver<State>,
    side: Side,
) {
    let mut chunk = vec![0; 16 << 10];
    loop {
        let length = from.read(&mut chunk).await.unwrap_or(0);
        if state.wait_for(|now| now.carries_to(side)).await.is_err() {
            return;
        }
        if length == 0 || to.write_all(&chunk[..length]).await.is_err() {
            return;
        }
    }
}
