//! Ports of loopback for processes that are started, stopped and started again.

use std::{
    io,
    net::{Ipv4Addr, TcpListener},
    sync::atomic::{AtomicU16, Ordering},
};

/// A port that stays free while its service is down: below the range from which the kernel takes ports for outgoing
/// connections, and apart for processes that run at the same time.
///
/// # Errors
/// None of ten thousand ports is free.
pub fn free() -> io::Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Below 100, so it fits.
    let process = u16::try_from(std::process::id() % 100).unwrap_or_default();
    for _ in 0..10_000 {
        let offset = (process * 80).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000;
        let port = 20_000 + offset;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}
