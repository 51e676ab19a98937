//! Telling a resent update from one that goes back to what was before.
//!
//! An update that is identical to an earlier one is a resend only if nothing else was written to that address in
//! between: to take A, B, A for A, B would leave the wrong state. So the identity of an update holds a number that
//! changes whenever something else is written to its address. It begins anew with each start of the gateway, and when
//! an address has been forgotten: then an update that is resent makes a second record of the same content, which is
//! harmless, and never none.
//!
//! **Limit.** [`REMEMBERED_MAX`] addresses; the oldest are forgotten first.

use std::collections::{HashMap, VecDeque};

/// Most addresses that are remembered.
pub(super) const REMEMBERED_MAX: usize = 50_000;

/// A digest.
pub(super) type Digest = [u8; 16];

#[derive(Debug, Default)]
pub(super) struct Latest {
    written: HashMap<Digest, (Digest, u64)>,
    order: VecDeque<Digest>,
    count: u64,
}

impl Latest {
    /// The number for writing this content to this address: the same as before while it is the latest.
    pub(super) fn number(&mut self, address: Digest, content: Digest) -> u64 {
        if let Some((latest, number)) = self.written.get_mut(&address) {
            if *latest != content {
                self.count += 1;
                (*latest, *number) = (content, self.count);
            }
            return *number;
        }
        if self.written.len() >= REMEMBERED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.written.remove(&oldest);
        }
        self.count += 1;
        self.written.insert(address, (content, self.count));
        self.order.push_back(address);
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn going_back_is_not_a_resend() {
        let mut latest = Latest::default();
        let mut write = |address: u8, content: u8| latest.number([address; 16], [content; 16]);
        let first = write(1, b'a');
        assert_eq!(write(1, b'a'), first, "a resend");
        assert_ne!(write(2, b'a'), first, "another address");
        let other = write(1, b'b');
        assert_ne!(other, first);
        let again = write(1, b'a');
        assert!(again != first && again != other);
        assert_eq!(write(1, b'a'), again);
    }

    #[test]
    fn what_is_forgotten_begins_anew() {
        let mut latest = Latest::default();
        let address = |n: usize| {
            let mut digest = [0; 16];
            digest[..8].copy_from_slice(&n.to_be_bytes());
            digest
        };
        let first = latest.number(address(0), [1; 16]);
        for n in 1..=REMEMBERED_MAX {
            latest.number(address(n), [1; 16]);
        }
        assert_eq!(latest.written.len(), REMEMBERED_MAX);
        assert_ne!(latest.number(address(0), [1; 16]), first);
    }
}
