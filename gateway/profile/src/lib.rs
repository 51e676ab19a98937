//! The device profile language: decoding, codes, checks. Pure.
