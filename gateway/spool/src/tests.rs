//! The log as a whole: what survives, what is refused, what is found.

mod audit;
mod damage;
mod faults;
mod keys;
mod model_check;
mod plain;
mod support;
