//! Where a test may strike, as a kill would. Nothing strikes in a product.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::delta::Error;
use crate::rows::Silver;

/// Between what the committer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The files of `raw` are written, no commit names them.
    RawWritten,
    /// `raw` is committed.
    RawCommitted,
    /// The files of another table are written.
    SilverWritten(Silver),
    /// Another table is committed.
    SilverCommitted(Silver),
}

type Strike = dyn Fn(Step) -> bool + Send + Sync;

/// Asked at every step whether this was the last.
#[derive(Clone, Default)]
pub(crate) struct Hook {
    strike: Option<Arc<Strike>>,
    struck: Arc<AtomicBool>,
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook")
    }
}

impl Hook {
    #[cfg(test)]
    pub(crate) fn new(strike: impl Fn(Step) -> bool + Send + Sync + 'static) -> Self {
        Self { strike: Some(Arc::new(strike)), struck: Arc::default() }
    }

    /// After a strike everything stops, as if the process were gone.
    pub(crate) fn reach(&self, step: Step) -> Result<(), Error> {
        if self.strike.as_ref().is_some_and(|strike| strike(step)) {
            self.struck.store(true, Ordering::SeqCst);
        }
        if self.struck() { Err(Error::Stopping) } else { Ok(()) }
    }

    pub(crate) fn struck(&self) -> bool {
        self.struck.load(Ordering::SeqCst)
    }
}
