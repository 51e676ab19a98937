//! `wardgate account` and `wardgate vault`: what takes a person, known by account and password.

use clap::{Args, Subcommand, ValueEnum};
use deid::VaultToken;
use web::{AccountName, Role};

use super::Config;

/// Who does it.
#[derive(Debug, Clone, Args)]
pub(crate) struct Who {
    /// Your account of this box. Its password is asked for, or is the first line of standard input.
    #[arg(id = "as", long = "as", value_name = "NAME")]
    pub(crate) name: AccountName,
    #[command(flatten)]
    pub(crate) config: Config,
}

/// The people of this box.
#[derive(Debug, Subcommand)]
pub(crate) enum Account {
    /// Who has an account, and what each may do.
    List {
        #[command(flatten)]
        config: Config,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Claim the box: make its first account, with the role `security`, without the page. Its password is asked for.
    First {
        /// The new account.
        name: AccountName,
        #[command(flatten)]
        config: Config,
    },
    /// Make an account. Takes one with the role `security`; the new one's password is asked for too, or is the second line.
    Add {
        /// The new account.
        name: AccountName,
        /// What it may do; each may what those before it may.
        #[arg(long, value_enum)]
        role: Rank,
        #[command(flatten)]
        who: Who,
    },
    /// Remove an account. Takes one with the role `security`; the last of these stays.
    Remove {
        /// The account.
        name: AccountName,
        #[command(flatten)]
        who: Who,
    },
}

/// What an account may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Rank {
    /// Sees how things are.
    Viewer,
    /// Acts on what is held, and asks what a token is of.
    Operator,
    /// Changes the configuration.
    Engineer,
    /// Manages accounts, keys and certificates, and approves that somebody is shown what a token is of.
    Security,
}

impl From<Rank> for Role {
    fn from(rank: Rank) -> Self {
        match rank {
            Rank::Viewer => Self::Viewer,
            Rank::Operator => Self::Operator,
            Rank::Engineer => Self::Engineer,
            Rank::Security => Self::Security,
        }
    }
}

/// The vault's tokens, and what they are of.
#[derive(Debug, Subcommand)]
pub(crate) enum Vault {
    /// How full the vault is, and which requests are open.
    Status {
        #[command(flatten)]
        config: Config,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Ask what a token is of. Somebody else has to approve.
    Request {
        /// The token, such as VAAAA… with 27 characters.
        token: VaultToken,
        /// Why. It stands in the audit log: write nobody's name or number.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        who: Who,
    },
    /// Agree that whoever made a request is shown the answer. Takes an account with the role `security`, and another person.
    Approve {
        /// The request.
        request: u64,
        #[command(flatten)]
        who: Who,
    },
    /// End a request without an answer.
    Refuse {
        /// The request.
        request: u64,
        #[command(flatten)]
        who: Who,
    },
    /// Print what the token of an approved request is of, once, for whoever made it.
    Show {
        /// The request.
        request: u64,
        #[command(flatten)]
        who: Who,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}
