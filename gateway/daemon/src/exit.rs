//! Exit codes: 0 fine, 1 finding, 2 usage, 3 not reachable.

use std::fmt;
use std::process::ExitCode;

/// Something was found: a wrong configuration, a damaged log, a held message.
pub(crate) const FINDING: u8 = 1;
/// What was asked for could not be reached.
const NOT_REACHABLE: u8 = 3;

/// A peer or the gateway itself does not answer.
#[derive(Debug)]
pub(crate) struct NotReachable(pub(crate) String);

impl fmt::Display for NotReachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotReachable {}

/// The findings were printed already.
#[derive(Debug)]
pub(crate) struct Printed;

impl fmt::Display for Printed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("see above")
    }
}

impl std::error::Error for Printed {}

/// The exit code of an outcome; prints what has not been printed.
#[expect(clippy::print_stderr, reason = "this is the CLI's last word")]
pub(crate) fn code(outcome: anyhow::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if error.downcast_ref::<Printed>().is_none() {
                eprintln!("wardgate: {}", model::told(error.chain()));
            }
            let code = if error.downcast_ref::<NotReachable>().is_some() { NOT_REACHABLE } else { FINDING };
            ExitCode::from(code)
        }
    }
}
