//! Ports that stay free while their service is down.

use std::{
    net::TcpListener,
    sync::atomic::{AtomicU16, Ordering},
};

/// A port on loopback below the range from which the kernel takes ports for outgoing connections, and apart for
/// processes that run at the same time.
pub fn port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let share = u16::try_from(std::process::id() % 100).unwrap_or_default() * 80;
    loop {
        let port = 20_000 + (share + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
