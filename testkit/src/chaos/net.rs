//! The machines and the cable between them: two network namespaces where that is possible, else loopback.

use std::net::SocketAddr;

use super::{cable::Cable, namespaces::Namespaces};
use crate::{place::Place, port::port};

/// One of the two machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Vps,
    Home,
}

/// Which way the cable carries nothing any more. Nobody is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    Both,
    ToVps,
    ToHome,
}

impl Cut {
    /// Whether nothing arrives on that side.
    pub(super) fn silences(self, side: Side) -> bool {
        match self {
            Self::Both => true,
            Self::ToVps => side == Side::Vps,
            Self::ToHome => side == Side::Home,
        }
    }
}

/// See the module. Namespaces and rules are removed when it is dropped.
#[derive(Debug)]
pub(super) enum Net {
    /// Each side is a namespace; packets are dropped in the kernel.
    Namespaces(Namespaces),
    /// Both sides are here; what goes through the cable is held back by a proxy.
    Loopback(Cable),
}

/// Where everything listens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ports {
    pub(super) relay: u16,
    pub(super) sshd: u16,
    /// On the VPS's loopback: claude-endpoint, ollama-endpoint.
    pub(super) tunnel: [u16; 2],
    /// At home: claude-endpoint, ollama-endpoint.
    pub(super) home: [u16; 2],
}

impl Net {
    /// Two namespaces, if this user may make them and nobody asked for loopback.
    pub(super) async fn new(loopback: bool) -> anyhow::Result<(Self, Ports)> {
        if loopback {
            let ports =
                Ports { relay: port(), sshd: port(), tunnel: [port(), port()], home: [port(), port()] };
            let cable = Cable::new(port(), ports.sshd).await?;
            return Ok((Self::Loopback(cable), ports));
        }
        // Nobody else is there, so everything has the port that it has in real life.
        let ports = Ports { relay: 4200, sshd: 22, tunnel: [5050, 8091], home: [5050, 8090] };
        Ok((Self::Namespaces(Namespaces::new()?), ports))
    }

    /// Where a machine's programs run.
    pub(super) fn place(&self, side: Side) -> Place {
        match self {
            Self::Namespaces(namespaces) => namespaces.place(side),
            Self::Loopback(_) => Place::default(),
        }
    }

    /// Where the internet's services listen: any free port of it.
    pub(super) fn internet(&self) -> SocketAddr {
        match self {
            Self::Namespaces(namespaces) => (namespaces.internet(), 0).into(),
            Self::Loopback(_) => crate::server::ANY_PORT,
        }
    }

    /// The VPS's sshd as home sees it.
    pub(super) fn sshd(&self, ports: &Ports) -> SocketAddr {
        match self {
            Self::Namespaces(namespaces) => (namespaces.vps_at_cable(), ports.sshd).into(),
            Self::Loopback(cable) => cable.address(),
        }
    }

    /// Cuts the cable.
    pub(super) fn cut(&self, cut: Cut) -> anyhow::Result<()> {
        match self {
            Self::Namespaces(namespaces) => namespaces.cut(cut),
            Self::Loopback(cable) => {
                cable.cut(cut);
                Ok(())
            }
        }
    }

    /// Mends it.
    pub(super) fn mend(&self) -> anyhow::Result<()> {
        match self {
            Self::Namespaces(namespaces) => namespaces.mend(),
            Self::Loopback(cable) => {
                cable.mend();
                Ok(())
            }
        }
    }

    /// A machine is gone from the network in this moment, and says goodbye to nobody.
    pub(super) fn power_off(&self, side: Side) -> anyhow::Result<()> {
        match self {
            Self::Namespaces(namespaces) => namespaces.unplug(side),
            Self::Loopback(cable) => {
                cable.cut(Cut::Both);
                Ok(())
            }
        }
    }

    /// It is back, and remembers no connection.
    pub(super) fn power_on(&self, side: Side) -> anyhow::Result<()> {
        match self {
            Self::Namespaces(namespaces) => namespaces.make_anew(side),
            Self::Loopback(cable) => {
                cable.forget();
                cable.mend();
                Ok(())
            }
        }
    }
}
