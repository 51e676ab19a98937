//! How near the end of its room a log is, and the disk that all of them share.
//!
//! | at | what happens |
//! |---|---|
//! | 90 % | a warning: status, page, metrics, an entry in the audit log |
//! | 95 % of the disk | the same, and: delivered records that were only kept for later go now, those of the bulk lane first; the bulk lane takes no new segment |
//! | 95 % of a log's budget | a second warning |
//! | 100 % | the log refuses upstream, before a record's first byte; it goes on by itself when there is room |
//!
//! **What counts** is what may not go: a lane that is full of delivered records is empty. Of the disk it is the
//! share of what the logs may take of it (their budgets together, or the disk where it is smaller) that is neither
//! free nor could be freed.
//!
//! **On a full disk** the logs stop one after the other, because each leaves a reserve to those behind it: bulk
//! (8 segments, or 5 % of the disk where that is more), clinical (4), urgent (3), held (2), journal (1). What the
//! journal leaves is for the small files and, beside its own ballast, for the state store.

use std::fmt;

use serde::Serialize;

/// From here on a person is warned.
pub const HIGH_PERCENT: u64 = 90;
/// From here on room is made, and the bulk lane stands back.
pub const CRITICAL_PERCENT: u64 = 95;
/// So much lower it must be before a warning is over, so that one does not follow the other.
const SLACK_PERCENT: u64 = 5;

/// How near the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pressure {
    /// There is room.
    #[default]
    Easy,
    /// At [`HIGH_PERCENT`] or above.
    High,
    /// At [`CRITICAL_PERCENT`] or above.
    Critical,
}

impl Pressure {
    /// Of a share.
    pub const fn of(percent: u64) -> Self {
        match percent {
            CRITICAL_PERCENT.. => Self::Critical,
            HIGH_PERCENT.. => Self::High,
            _ => Self::Easy,
        }
    }

    /// What it is now, where it was this before: it rises at once and falls only when it is well below.
    #[must_use]
    pub fn then(self, percent: u64) -> Self {
        Self::of(percent).max(self.min(Self::of(percent.saturating_add(SLACK_PERCENT))))
    }
}

impl fmt::Display for Pressure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Easy => "easy",
            Self::High => "high",
            Self::Critical => "critical",
        })
    }
}

/// Room, used and left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Room {
    /// Bytes that may not go.
    pub needed_bytes: u64,
    /// Bytes that can still be taken in.
    pub left_bytes: u64,
}

impl Room {
    /// How much of the room is used, in percent; of no room at all, 100.
    pub fn percent(&self) -> u64 {
        let whole = u128::from(self.needed_bytes) + u128::from(self.left_bytes);
        let percent = (u128::from(self.needed_bytes) * 100).checked_div(whole).unwrap_or(100);
        u64::try_from(percent).unwrap_or(100)
    }

    /// How near the end.
    pub fn pressure(&self) -> Pressure {
        Pressure::of(self.percent())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rises_at_once_and_falls_when_it_is_well_below() {
        use Pressure::{Critical, Easy, High};
        let walk = [
            (89, Easy),
            (90, High),
            (86, High),
            (95, Critical),
            (91, Critical),
            (89, High),
            (85, High),
            (84, Easy),
            (89, Easy),
            (100, Critical),
            (0, Easy),
        ];
        let mut now = Easy;
        for (percent, then) in walk {
            now = now.then(percent);
            assert_eq!(now, then, "at {percent} %");
        }
    }

    #[test]
    fn no_room_at_all_is_full() {
        let percent = |needed_bytes, left_bytes| Room { needed_bytes, left_bytes }.percent();
        assert_eq!(percent(0, 0), 100);
        assert_eq!(percent(0, 1), 0);
        assert_eq!(percent(9, 1), 90);
        assert_eq!(percent(u64::MAX, u64::MAX), 50);
    }
}
