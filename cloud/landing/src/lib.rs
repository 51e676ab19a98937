//! The cloud side: mutual TLS in, lakehouse tables out.
