//! x
use crate::*;
use model::Seq;
use std::path::Path;
/// One thing found.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// Log.
    pub log: String,
    /// File name.
    pub file: String,
    /// Byte offset.
    pub offset: u64,
    /// `rot`, `tampering`, ...
    pub kind: String,
    /// For a person.
    pub detail: String,
}
/// One log.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct LogReport {
    /// Name.
    pub name: String,
    /// Files.
    pub segments: u64,
    /// Bytes.
    pub bytes: u64,
    /// Records.
    pub records: u64,
    /// First.
    pub first: Seq,
    /// Last.
    pub last: Seq,
}
/// The whole.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct VerifyReport {
    /// Whether tags were checked.
    pub with_key: bool,
    /// Per log.
    pub logs: Vec<LogReport>,
    /// What is wrong; empty when all is well.
    pub findings: Vec<Finding>,
}
/// Per log.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct SpoolStat {
    /// Per log.
    pub logs: Vec<LogReport>,
}
/// Checks.
/// # Errors
/// x
pub fn verify(_dir: &Path, keys: Option<&Keys>) -> Result<VerifyReport, Error> {
    Ok(VerifyReport { with_key: keys.is_some(), logs: vec![], findings: vec![] })
}
/// Figures.
/// # Errors
/// x
pub fn stat(_dir: &Path) -> Result<SpoolStat, Error> {
    Ok(SpoolStat { logs: vec![] })
}
