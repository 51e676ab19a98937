//! Real sockets on loopback, a fake intake behind them.

mod access;
mod faults;
mod flow;
mod support;
mod time;
