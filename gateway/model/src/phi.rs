//! The wrapper that keeps identifiers out of logs.

use std::fmt;

/// A value that may identify a patient. `Debug` prints `Phi(redacted)`; there is no `Display` and no
/// `Serialize`. Every call of [`Phi::expose`] is a place an auditor reads.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Phi<T>(T);

impl<T> Phi<T> {
    /// Wraps a value.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself. Never hand the result to a log, a metric, an error or a URL.
    pub const fn expose(&self) -> &T {
        &self.0
    }

    /// Unwraps the value; the same warning holds.
    pub fn into_exposed(self) -> T {
        self.0
    }
}

impl<T> fmt::Debug for Phi<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Phi(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_never_shows_the_value() {
        let name = Phi::new("DOE^JANE");
        assert_eq!(format!("{name:?} {:#?}", Some(&name)), "Phi(redacted) Some(\n    Phi(redacted),\n)");
    }
}
