//! Waiting for something that another program does.

use std::time::{Duration, Instant};

/// How long anything may take on a busy machine before a test calls it a failure.
pub const PATIENCE: Duration = Duration::from_secs(60);
const EVERY: Duration = Duration::from_millis(25);

/// Waits until `look` finds something.
///
/// # Panics
/// After [`PATIENCE`], with `what` was waited for.
#[track_caller]
pub fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, what, look)
}

/// Waits at most `patience`.
///
/// # Panics
/// When it is over.
#[track_caller]
pub fn within<T>(patience: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + patience;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "waited {} s in vain for {what}", patience.as_secs());
        std::thread::sleep(EVERY);
    }
}
