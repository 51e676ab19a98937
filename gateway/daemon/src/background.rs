//! The runtime of what goes out. Its threads give way to those that take in: under a load that the box cannot carry, a
//! sender's acknowledgement comes first and delivery, which has the log behind it, catches up afterwards.

use std::thread;

use anyhow::Context as _;
use tokio::runtime::{Builder, Handle, Runtime};

/// How much nicer than the intake these threads are (setpriority(2)): about a third of its weight while both want the
/// processor, all of it otherwise. Not more, so that a flood of messages never stops the way out for alarms.
const NICENESS: i32 = 5;

/// Runs until it is dropped. What it still runs then is left to end by itself.
#[derive(Debug)]
pub(crate) struct Background(Option<Runtime>);

impl Background {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let runtime = Builder::new_multi_thread()
            .thread_name("out")
            .worker_threads(threads)
            .enable_all()
            .on_thread_start(give_way)
            .build()
            .context("the threads for delivery cannot be started")?;
        Ok(Self(Some(runtime)))
    }

    /// Where to spawn.
    pub(crate) fn handle(&self) -> anyhow::Result<&Handle> {
        self.0.as_ref().map(Runtime::handle).context("the threads for delivery have ended")
    }
}

impl Drop for Background {
    /// A runtime must not be waited for on another's thread.
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

fn give_way() {
    // On Linux the niceness is a thread's own. Without it everything works, a little less well.
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::debug!(%error, "a thread for delivery keeps the intake's priority");
    }
}
