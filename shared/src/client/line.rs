//! How long something large is under way on a slow line.

use std::time::Duration;

/// The slowest line that large events come over, in bytes a second: 1 Mbit/s.
const SLOWEST: u64 = 128 * 1024;

/// How long so many bytes may be under way before silence means anything: those before an answer, and before whatever
/// else goes through the same tunnel, which has one stream for all.
pub fn travel(bytes: usize) -> Duration {
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    Duration::from_millis(bytes.saturating_mul(1000) / SLOWEST)
}

#[test]
fn what_is_large_is_under_way_for_longer() {
    assert_eq!(travel(0), Duration::ZERO);
    assert_eq!(travel(20_000).as_millis(), 152);
    assert_eq!(travel(25 << 20).as_secs(), 200);
    assert!(travel(usize::MAX) > Duration::from_secs(1));
}
