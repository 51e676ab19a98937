//! What became of each leaf value.

/// Which way a value took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// Into an element that the official map names.
    Official,
    /// Into an element of our choice, because the official map names none.
    Ours,
    /// Into the rest, because no map line takes it.
    Rest,
}

impl Way {
    /// As it is written in a report.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Official => "official",
            Self::Ours => "ours",
            Self::Rest => "rest",
        }
    }
}

/// A value that is in the bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Where it stood: `PID[1]-5[1].1`.
    pub from: String,
    /// Where it stands: `Patient.name[0].family`.
    pub to: String,
    /// Which way.
    pub way: Way,
}

/// A value that is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmapped {
    /// Where it stood.
    pub from: String,
    /// Why no element holds it.
    pub reason: &'static str,
}

/// The account of one message. Paths and counts; never a value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// MSH-9.1 and .2, such as `ADT_A01`.
    pub message_type: String,
    /// Leaf values: every subcomponent that is neither empty nor `""`, but MSH-1 and MSH-2.
    pub leaves: usize,
    /// In elements that the official map names.
    pub official: usize,
    /// In elements of our choice.
    pub ours: usize,
    /// In the rest.
    pub rest: usize,
    /// Where each value went, where [`super::Context::trace`] asks for it.
    pub kept: Vec<Kept>,
    /// What is in no element but the rest, with the reason.
    pub unmapped: Vec<Unmapped>,
}
