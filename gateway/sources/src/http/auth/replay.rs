//! Assertions that were used, until they expire.
//!
//! **Limits.** [`PER_CLIENT_MAX`] of a client, [`REMEMBERED_MAX`] in all. Full means refuse: to forget one would let
//! it be used again. Only assertions with a good signature get here, so that a stranger cannot fill it.

use std::collections::HashMap;

use aws_lc_rs::digest;

/// Most in all.
pub(crate) const REMEMBERED_MAX: usize = 50_000;
/// Most of one client: 300 s of validity, ten a second.
pub(crate) const PER_CLIENT_MAX: usize = 3_000;

#[derive(Debug, Default)]
pub(crate) struct Replay {
    clients: HashMap<usize, HashMap<[u8; 32], i64>>,
}

/// What is said of an assertion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    New,
    Before,
    Full,
}

impl Replay {
    /// Notes an assertion of a client.
    pub(crate) fn note(&mut self, client: usize, jti: &str, until: i64, now: i64) -> Seen {
        let total: usize = self.clients.values().map(HashMap::len).sum();
        let own = self.clients.entry(client).or_default();
        let mut key = [0; 32];
        key.copy_from_slice(
            digest::digest(&digest::SHA256, jti.as_bytes()).as_ref().first_chunk().unwrap_or(&[0; 32]),
        );
        if own.get(&key).is_some_and(|until| *until > now) {
            return Seen::Before;
        }
        if own.len() >= PER_CLIENT_MAX || total >= REMEMBERED_MAX {
            let before = own.len();
            own.retain(|_, until| *until > now);
            if own.len() >= PER_CLIENT_MAX || total - (before - own.len()) >= REMEMBERED_MAX {
                return Seen::Full;
            }
        }
        own.insert(key, until);
        Seen::New
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assertion_is_good_once_and_a_client_cannot_take_all_room() {
        let mut replay = Replay::default();
        assert_eq!(replay.note(0, "a", 100, 1), Seen::New);
        assert_eq!(replay.note(0, "a", 100, 99), Seen::Before);
        assert_eq!(replay.note(1, "a", 100, 1), Seen::New, "another client's");
        assert_eq!(replay.note(0, "a", 300, 100), Seen::New, "expired, so it was refused before it got here");
        for n in 0..PER_CLIENT_MAX - 1 {
            assert_eq!(replay.note(0, &format!("n{n}"), 300, 100), Seen::New);
        }
        assert_eq!(replay.note(0, "one more", 300, 100), Seen::Full);
        assert_eq!(replay.note(1, "b", 300, 100), Seen::New);
        assert_eq!(replay.note(0, "later", 600, 300), Seen::New);
    }
}
