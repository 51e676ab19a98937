mod access;
mod faults;
mod flow;
mod requests;
mod support;
