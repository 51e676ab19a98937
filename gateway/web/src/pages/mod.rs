//! The pages, one folder each. A page takes a [`crate::app::Snapshot`] and gives markup; what asks for data and
//! what changes anything goes through [`crate::Product`].

pub(crate) mod claim;
pub(crate) mod destinations;
pub(crate) mod error;
pub(crate) mod feeds;
pub(crate) mod overview;
pub(crate) mod sign_in;
