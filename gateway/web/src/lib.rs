//! The local UI.

mod config;
mod product;
mod server;
mod status;

pub use config::Config;
pub use product::{
    ACCOUNT_NAME_BYTES_MAX, Account, AccountName, ClaimError, NewAccount, NotAnAccountName, PasswordHash,
    Product, Role,
};
pub use server::{Error, Server};
pub use status::{
    DestinationLane, DestinationState, DestinationStatus, Disk, FeedStatus, LaneStatus, Status,
};
