//! Real sockets on loopback, a fake intake behind them.

mod access;
mod answers;
mod batches;
mod faults;
mod flow;
mod framing;
mod support;
mod time;
