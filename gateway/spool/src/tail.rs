//! The last durable number, and who waits for it to move.
//!
//! A `watch` of tokio with two differences: nobody is told of an end, and those who wait wake in the order in which they
//! came. tokio's wakes them in an order that chance decides, which no seed of a simulation reaches.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use model::Seq;
use tokio::sync::Notify;

/// Follows the last durable number of a log; 0 while there is none. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Durable(Arc<Tail>);

#[derive(Debug)]
struct Tail {
    seq: AtomicU64,
    moved: Notify,
}

/// A number as it was when somebody looked.
#[derive(Debug, Clone, Copy)]
pub struct Seen(Seq);

impl Deref for Seen {
    type Target = Seq;

    fn deref(&self) -> &Seq {
        &self.0
    }
}

impl Durable {
    pub(crate) fn new(seq: Seq) -> Self {
        Self(Arc::new(Tail { seq: AtomicU64::new(seq), moved: Notify::new() }))
    }

    pub(crate) fn set(&self, seq: Seq) {
        self.0.seq.store(seq, Ordering::Release);
        self.0.moved.notify_waiters();
    }

    /// The number now.
    pub fn borrow(&self) -> Seen {
        Seen(self.0.seq.load(Ordering::Acquire))
    }

    /// Returns the number as soon as it is beyond `seq`. Cancel safe.
    pub async fn beyond(&self, seq: Seq) -> Seq {
        loop {
            let moved = self.0.moved.notified();
            tokio::pin!(moved);
            // Before looking, so that a move in between is heard.
            moved.as_mut().enable();
            let now = *self.borrow();
            if now > seq {
                return now;
            }
            moved.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn those_who_wait_wake_in_the_order_in_which_they_came() {
        let durable = Durable::new(3);
        assert_eq!(durable.beyond(2).await, 3);
        let woken = Arc::new(std::sync::Mutex::new(Vec::new()));
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..40 {
            let (durable, woken) = (durable.clone(), Arc::clone(&woken));
            tasks.spawn(async move {
                assert_eq!(durable.beyond(4).await, 6);
                woken.lock().unwrap().push(n);
            });
        }
        for seq in [4, 6] {
            tokio::task::yield_now().await;
            durable.set(seq);
        }
        tasks.join_all().await;
        assert_eq!(*woken.lock().unwrap(), (0..40).collect::<Vec<_>>());
    }
}
