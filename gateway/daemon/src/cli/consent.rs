//! `wardgate consent`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Config;

/// What is said and asked of whose data may be handed on.
#[derive(Debug, Subcommand)]
pub(crate) enum Consent {
    /// How many refuse and permit, by what said it, and how old the list is.
    Status {
        #[command(flatten)]
        config: Config,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// What is known of a patient: `refused`, `permitted` or `unknown`. Exit code 1 where it is refused.
    Check {
        #[command(flatten)]
        patient: Patient,
        #[command(flatten)]
        config: Config,
    },
    /// A patient refuses: nothing of him goes to a destination that asks.
    Deny {
        #[command(flatten)]
        patient: Patient,
        #[command(flatten)]
        config: Config,
    },
    /// A patient permits. Any refusal counts more.
    Permit {
        #[command(flatten)]
        patient: Patient,
        #[command(flatten)]
        config: Config,
    },
    /// Take back what was said here of a patient; what messages and the list say stays.
    Forget {
        #[command(flatten)]
        patient: Patient,
        #[command(flatten)]
        config: Config,
    },
    /// Put a list of patients who refuse in the place of the one in force: a line each, ID or ID,AUTHORITY.
    Import {
        /// The list; - for standard input.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// It names less than half as many patients as the one in force, and that is right.
        #[arg(long)]
        shrinks: bool,
        #[command(flatten)]
        config: Config,
    },
}

/// A patient by one of his ids.
#[derive(Clone, Args)]
pub(crate) struct Patient {
    /// His id: PID-3.1, Patient.id or Patient.identifier. `-`: from standard input, so that no list of processes shows it.
    #[arg(long, value_name = "ID")]
    pub(crate) mrn: String,
    /// Who assigned it: PID-3.4. Without it the id is one of any authority.
    #[arg(long, value_name = "NAME", default_value = "")]
    pub(crate) authority: String,
}

/// Nothing of him is printed.
impl std::fmt::Debug for Patient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Patient(redacted)")
    }
}
