//! The local UI and the API under it.
//!
//! **Promise.** Whoever owns the box sees how it is doing in one look, over HTTPS only, without anything
//! fetched from elsewhere; nobody else sees anything. Until the box is claimed with its one-time code, the
//! claim page is all there is.
//!
//! **Invariants.**
//! - The product is seen through [`Product`] alone; nothing here knows the log, the sources or the network
//!   behind them, and no page can show what a patient's message said.
//! - Every route stands in one table with the right that it needs (`router`); tests walk the table.
//! - A form reaches its handler only with the token of its page (`form::Checked`), a changing request only from
//!   a page of this box, any request only under a name of this box (`guard`).
//! - Pages are whole without the script; the script only exchanges parts of them (`live`).
//! - Who signs in is written to the audit log before the session exists.
//! - Strict content security policy: no inline script, no inline style, no other host.
//!
//! **Limits** stand as constants where they are kept: connections and headers in `server`, bodies in `router`,
//! live pages in `app`, sessions in `session`, guesses in `throttle`, hashes in `password`.

// The fake product is written against the public API, and the tests share it with the preview.
#[cfg(test)]
extern crate self as web;

mod api;
mod app;
mod assets;
mod chart;
mod config;
mod cookie;
mod form;
mod format;
mod guard;
mod history;
mod layout;
mod live;
mod pages;
mod password;
mod product;
mod router;
mod server;
mod session;
mod status;
mod throttle;
mod watched;

#[cfg(test)]
mod tests;

pub use config::{Config, DESTINATION_EXAMPLE, FEED_EXAMPLE};
pub use password::{Busy, Hasher, PASSWORD_BYTES_MAX, PASSWORD_CHARS_MIN, Password, Weak};
pub use product::{
    ACCOUNT_NAME_BYTES_MAX, Account, AccountName, ClaimError, NewAccount, NotAnAccountName, PasswordHash,
    Product, Role,
};
pub use server::{
    CONNECTION_S_MAX, CONNECTIONS_MAX, CONNECTIONS_PER_ADDRESS_MAX, Error, HANDSHAKE_S_MAX, HEADER_BYTES_MAX,
    HEADER_S_MAX, STREAMS_MAX, Server,
};
pub use status::{
    DestinationLane, DestinationState, DestinationStatus, Disk, FeedStatus, LaneStatus, Status,
};
