//! Finds an ssh that is stuck. One whose line is cut ends by itself (`ServerAliveInterval`); one that was stopped, or
//! hangs before it is connected, does not, and neither end would notice.

use std::time::{Duration, SystemTime};

use tokio::{
    io::AsyncReadExt,
    net::UnixStream,
    time::{Instant, sleep, timeout},
};

use super::{DOOR, End, Up};

const LOOK: Duration = Duration::from_secs(3);
/// How long ssh may take to greet who knocks at its door; its loop does nothing that takes time.
const PATIENCE: Duration = Duration::from_secs(5);
/// From its start until the forwards are granted: `ConnectTimeout`, and the same again for the log-in.
const CONNECT_DEADLINE: Duration = Duration::from_secs(30);
/// The VPS gives a silent connection up within about this time (`ClientAliveInterval`, `ClientAliveCountMax`).
const SLEPT: Duration = Duration::from_secs(30);

/// Until something is wrong.
pub(super) async fn watch(up: &Up) -> End {
    let started = Instant::now();
    loop {
        let before = SystemTime::now();
        sleep(LOOK).await;
        if slept(before, SystemTime::now()) {
            return End::Slept;
        }
        if up.borrow().is_none() {
            if started.elapsed() >= CONNECT_DEADLINE {
                return End::Stuck(format!("not connected after {} s", CONNECT_DEADLINE.as_secs()));
            }
        } else if hangs().await {
            return End::Stuck(format!("ssh was stuck for {} s and was killed", PATIENCE.as_secs()));
        }
    }
}

/// The wall clock goes on in sleep, and timers do not.
fn slept(before: SystemTime, now: SystemTime) -> bool {
    now.duration_since(before).is_ok_and(|passed| passed > LOOK + SLEPT)
}

/// Whether ssh's event loop stands still: else it greets each caller of its control socket. A door that is not there
/// proves nothing.
async fn hangs() -> bool {
    let greeting = async {
        let mut door = UnixStream::connect(DOOR).await?;
        door.read_u8().await
    };
    timeout(PATIENCE, greeting).await.is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_that_jumped_ahead_means_sleep() {
        let before = SystemTime::now();
        assert!(!slept(before, before + LOOK));
        assert!(!slept(before, before + LOOK + Duration::from_secs(10)));
        assert!(slept(before, before + Duration::from_secs(3600)));
        assert!(!slept(before, before - Duration::from_secs(3600)), "a clock that was put back");
    }
}
