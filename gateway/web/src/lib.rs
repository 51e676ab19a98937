//! The local UI.
