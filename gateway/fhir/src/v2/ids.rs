//! Ids that are the same whenever the same thing is told of, so that a replay changes nothing.

use aws_lc_rs::hmac;

/// What an id is made from.
#[derive(Clone, Copy)]
pub struct Identity<'a> {
    /// The resource type.
    pub resource: &'a str,
    /// What names the thing: identifier and assigning authority, or the record and the place in it.
    pub key: &'a str,
}

impl std::fmt::Debug for Identity<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({}, {} bytes)", self.resource, self.key.len())
    }
}

/// Makes ids. Under `safe-harbor` they come from the vault; elsewhere [`Keyed`] does.
pub trait Ids {
    /// 16 bytes that are the same for the same identity, and tell nothing of it without the key.
    fn id(&self, identity: Identity<'_>) -> [u8; 16];
}

/// HMAC-SHA-256 of resource type and key, cut to 128 bits.
pub struct Keyed(hmac::Key);

impl Keyed {
    /// A site's ids. Whoever holds the key can recompute an id from an identifier.
    pub fn new(key: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// Ids that everybody can recompute: for filters and tests, never for data that leaves under a policy.
    pub fn public() -> Self {
        Self::new(b"wardgate: ids that anyone can ma")
    }
}

impl Ids for Keyed {
    fn id(&self, identity: Identity<'_>) -> [u8; 16] {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(identity.resource.as_bytes());
        context.update(b"\0");
        context.update(identity.key.as_bytes());
        let tag = context.sign();
        let mut id = [0; 16];
        for (to, from) in id.iter_mut().zip(tag.as_ref()) {
            *to = *from;
        }
        id
    }
}

impl std::fmt::Debug for Keyed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keyed(redacted)")
    }
}

/// As a UUID of version 8 (RFC 9562 §5.8: the bits mean what their maker says).
pub(crate) fn uuid(mut id: [u8; 16]) -> String {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let [_, _, _, _, _, _, version, _, variant, ..] = &mut id;
    *version = (*version & 0x0f) | 0x80;
    *variant = (*variant & 0x3f) | 0x80;
    let mut out = String::with_capacity(36);
    for (n, byte) in id.into_iter().enumerate() {
        if matches!(n, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        for digit in [byte >> 4, byte & 15] {
            out.push(char::from(HEX.get(usize::from(digit)).copied().unwrap_or(b'0')));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_stable_and_keyed() {
        let identity = Identity { resource: "Patient", key: "1|HOSPITAL" };
        let id = uuid(Keyed::public().id(identity));
        assert_eq!(id, uuid(Keyed::public().id(identity)));
        assert_ne!(id, uuid(Keyed::new(&[7; 32]).id(identity)));
        assert_eq!(id.len(), 36);
        assert_eq!(id.as_bytes()[14], b'8');
        assert!(matches!(id.as_bytes()[19], b'8' | b'9' | b'a' | b'b'));
    }
}
