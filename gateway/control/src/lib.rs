//! The configuration document: as written, as checked.
