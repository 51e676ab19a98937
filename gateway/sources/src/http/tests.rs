mod access;
mod flow;
mod requests;
mod support;
