//! The envelope leaks too: times, names of peers, topics, files and numbers pass the policy like the payload.

use model::{Observation, Released, TimeValue, Timestamp};
use serde_bytes::ByteBuf;

use crate::Context;
use crate::policy::{Compiled, TextRule, TimeRule};
use crate::token::TokenKey;

/// What a policy's rules made of a record, before the gate.
#[derive(Debug, Default)]
pub(crate) struct Shape {
    pub(crate) message_type: Option<String>,
    /// As sent.
    pub(crate) control_id: Option<String>,
    pub(crate) observations: Vec<Observation>,
    /// What the payload is to be read in, of HL7 v2.
    pub(crate) charset: Option<String>,
    pub(crate) payload: Vec<u8>,
    pub(crate) rules: Vec<(String, u32)>,
    /// Text passed that was scrubbed.
    pub(crate) has_text: bool,
}

/// Puts an envelope around what the rules made. `None` where a token is due and there is no key.
pub(crate) fn enclose(shape: Shape, policy: &Compiled, context: &Context<'_>) -> Option<Released> {
    let Context { seq, provenance, keys: _ } = context;
    let rules = &policy.envelope;
    let text = |rule: TextRule, text: &str| match rule {
        TextRule::Keep if !text.is_empty() => Some(text.to_owned()),
        TextRule::Keep | TextRule::Remove | TextRule::Token => None,
    };
    let control_id = match (shape.control_id, rules.control_id) {
        (Some(id), TextRule::Keep) => Some(id),
        (Some(id), TextRule::Token) => Some(token(
            context.tokens(),
            id.as_bytes(),
            &policy.namespace(context).authority(&[]),
            crate::rules::CONTROL_ID,
        )?),
        (None, _) | (_, TextRule::Remove) => None,
    };
    Some(Released {
        seq: *seq,
        origin: provenance.origin,
        feed: provenance.feed.clone(),
        format: provenance.format.clone(),
        received_at: time(rules.received_at, provenance.received_at),
        peer: text(rules.peer, &provenance.peer),
        channel: text(rules.channel, &provenance.channel),
        message_type: shape.message_type,
        control_id,
        observations: shape.observations,
        charset: shape.charset,
        payload: ByteBuf::from(shape.payload),
        rules: shape.rules,
    })
}

/// A time in the precision that the rule lets through.
pub(crate) fn time(rule: TimeRule, at: Timestamp) -> Option<TimeValue> {
    match rule {
        TimeRule::Remove => None,
        TimeRule::Year => Some(TimeValue::Year(at.year())),
        TimeRule::Instant => Some(TimeValue::Instant(at)),
    }
}

/// The token of a text beside the payload; `None` without a key.
pub(crate) fn token(key: Option<&TokenKey>, id: &[u8], authority: &[u8], kind: &[u8]) -> Option<String> {
    String::from_utf8(key?.token(id, authority, kind)).ok()
}
