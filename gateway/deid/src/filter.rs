//! The filter of `wardgate deid run --format hl7`: a file of messages in, releases out.

use hl7::Message;
use model::{Format, Provenance, Slug, Timestamp};

use crate::release::{Held, HeldWhy};
use crate::{Clinical, Context, Policy, TokenKey};

/// Cuts a file into messages (a message begins with `MSH` at the start of a line; segments end with CR, LF or
/// both) and releases each by the policy. Yields the message's index in the file, from 0, with the released
/// bytes, or why it is held. Segments of what the rules shaped end with CR; `treatment` gives every byte back
/// as it was. `at` stands for the time of arrival, `tokens` for the destination's key; a control id that the
/// policy replaces by the place in the stream becomes the index plus one.
pub fn hl7_filter<'a>(
    policy: &'a Policy,
    input: &'a [u8],
    at: Timestamp,
    tokens: Option<&'a TokenKey>,
) -> impl Iterator<Item = (usize, Result<Vec<u8>, Held>)> + 'a {
    hl7::split(input)
        .enumerate()
        .map(move |(index, bytes)| (index, release(policy, bytes, index, at, tokens)))
}

fn release(
    policy: &Policy,
    bytes: &[u8],
    index: usize,
    at: Timestamp,
    tokens: Option<&TokenKey>,
) -> Result<Vec<u8>, Held> {
    let not_a_message = Held::new(HeldWhy::NotAMessage);
    let message = Message::decode(bytes.to_vec(), None).map_err(|_| not_a_message)?;
    let feed = Slug::try_from("filter".to_owned()).map_err(|_| not_a_message)?;
    let provenance = Provenance {
        feed,
        peer: String::new(),
        channel: String::new(),
        received_at: at,
        format: Format::Hl7v2,
        origin: None,
    };
    let context = Context { seq: index as u64 + 1, provenance: &provenance, tokens };
    let release = policy.release(&Clinical::Hl7(message), &context)?;
    Ok(release.payload().to_vec())
}
