//! From a record to what one destination gets of it: addressed? routed? readable? agreed to? its subject free? released?
//!
//! A function of the record and of versioned inputs, so that a range can be replayed. What is doubtful is held;
//! nothing is skipped without a reason.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use deid::{Clinical, Context, DestinationKeys, Policy, Release};
use fhir::lookup::Named;
use model::wire::RECORD_WIRE_BYTES_MAX;
use model::{Envelope, Format, Reason, RecordId, Slug};
use profile::Catalogue;
use spool::{Keys, Payload};

use crate::config::Feed;
use crate::consent::{self, Verdict};
use crate::held::{Held, Hold, Subject};
use crate::trial;
use crate::vault::{Desk, OnTrial};

/// What becomes of a record.
#[derive(Debug)]
pub(crate) enum Shaped {
    Release(Release),
    Skip(Reason),
    Hold(Hold),
}

/// What is known of a record before it is read.
enum Look<'a> {
    At(&'a Feed),
    Skip(Reason),
    Hold(&'static str),
}

/// Shapes the records of one destination.
#[derive(Debug)]
pub(crate) struct Shaper {
    pub(crate) destination: Slug,
    pub(crate) policy: Arc<Policy>,
    pub(crate) feeds: Arc<HashMap<Slug, Feed>>,
    pub(crate) profiles: Arc<Catalogue>,
    pub(crate) derived: DestinationKeys,
    pub(crate) vault: Desk,
    pub(crate) keys: Keys,
    pub(crate) held: Held,
    /// Where consent is asked for.
    pub(crate) consent: Option<consent::Gate>,
    /// The destination takes HL7 v2 and nothing else.
    pub(crate) hl7_only: bool,
}

impl Shaper {
    /// `held_now` are the subjects that records earlier in the same batch put on hold; it grows.
    pub(crate) fn shape(
        &self,
        id: RecordId,
        envelope: Envelope,
        payload: Bytes,
        held_now: &mut HashSet<Subject>,
    ) -> Shaped {
        let looked = self.look(id, &envelope);
        let provenance = &envelope.provenance;
        // What a record says of consent counts wherever it is routed; of a feed that is gone nothing can be read.
        let listened = match (&self.consent, &looked, self.feeds.get(&provenance.feed)) {
            (Some(gate), Look::Skip(_), Some(feed)) => Some((gate, feed)),
            _ => None,
        };
        if let Some((gate, feed)) = listened {
            let device = profile::device_from_topics(&feed.device_topics, &provenance.channel);
            if let Ok(clinical) = self.decode(feed.charset, &payload, device.as_deref(), &envelope) {
                gate.read(id, &envelope, &clinical, &feed.consent);
            }
        }
        let feed = match looked {
            Look::At(feed) => feed,
            Look::Skip(reason) => return Shaped::Skip(reason),
            Look::Hold(why) => return Shaped::Hold(hold(id, Reason::Held, why, None, envelope, payload)),
        };
        let device = profile::device_from_topics(&feed.device_topics, &provenance.channel);
        let clinical = match self.decode(feed.charset, &payload, device.as_deref(), &envelope) {
            Ok(clinical) => clinical,
            Err((reason, why)) => return Shaped::Hold(hold(id, reason, &why, None, envelope, payload)),
        };
        let verdict = self
            .consent
            .as_ref()
            .map_or(Verdict::Go, |gate| gate.read(id, &envelope, &clinical, &feed.consent));
        if let (Some(routes), Clinical::Hl7(message)) = (&feed.routes, &clinical)
            && !routes.leads(message, &self.destination)
        {
            return Shaped::Skip(Reason::NotRouted);
        }
        match verdict {
            Verdict::Go => {}
            Verdict::Withhold => return Shaped::Skip(Reason::ConsentWithdrawn),
            Verdict::Hold(why) => return Shaped::Hold(hold(id, Reason::Held, why, None, envelope, payload)),
        }
        let subject = self.subject(&clinical, device.as_deref());
        if let Some(subject) = subject
            && (held_now.contains(&subject)
                || self.held.blocks(&self.destination, subject, id, provenance.origin))
        {
            let why = "an earlier record of the same subject is held; it follows";
            let hold = hold(id, Reason::Held, why, Some(subject), envelope, payload);
            return Shaped::Hold(Hold { follows: true, ..hold });
        }
        let context = Context { seq: id.seq, provenance, keys: Some(&self.derived) };
        match self.policy.release(&clinical, &context) {
            Ok(release) => Shaped::Release(release),
            Err(refused) => {
                held_now.extend(subject);
                let why = refused.why.to_string();
                Shaped::Hold(hold(id, refused.reason, &why, subject, envelope, payload))
            }
        }
    }

    /// A record that is too large for any batch: held, where it is not for somebody else anyway. It is not read: whose it
    /// is, is not known, so it makes nothing wait.
    pub(crate) fn shape_object(&self, id: RecordId, envelope: Envelope, payload: Payload) -> Shaped {
        match self.look(id, &envelope) {
            Look::Skip(reason) => Shaped::Skip(reason),
            Look::Hold(why) => Shaped::Hold(hold(id, Reason::Held, why, None, envelope, payload)),
            Look::At(_) => {
                let why = format!(
                    "too large for the wire: it has {} bytes, and a batch carries records of at most \
                     {RECORD_WIRE_BYTES_MAX}",
                    payload.len()
                );
                Shaped::Hold(hold(id, Reason::Held, &why, None, envelope, payload))
            }
        }
    }

    /// For what is tried and goes nowhere: no token is given out.
    pub(crate) fn keys_on_trial(&self) -> DestinationKeys {
        self.derived.clone().with_vault(Arc::new(OnTrial(self.vault.clone())))
    }

    /// The record as the policy gets to see it, whatever was decided about it and whatever was said of consent; or why
    /// it does not get to see it.
    pub(crate) fn read(&self, envelope: &Envelope, payload: &Bytes) -> Result<Clinical, trial::Verdict> {
        let not_for_it = |reason| Err(trial::Verdict::NotForIt { reason });
        let feed = match self.addressed(envelope) {
            Look::At(feed) => feed,
            Look::Skip(reason) => return not_for_it(reason),
            Look::Hold(why) => return Err(trial::Verdict::Held { why: why.to_owned() }),
        };
        let device = profile::device_from_topics(&feed.device_topics, &envelope.provenance.channel);
        let clinical = self
            .decode(feed.charset, payload, device.as_deref(), envelope)
            .map_err(|(_, why)| trial::Verdict::Held { why })?;
        match (&feed.routes, &clinical) {
            (Some(routes), Clinical::Hl7(message)) if !routes.leads(message, &self.destination) => {
                not_for_it(Reason::NotRouted)
            }
            _ => Ok(clinical),
        }
    }

    /// What can be said of a record without reading it.
    fn look(&self, id: RecordId, envelope: &Envelope) -> Look<'_> {
        match self.addressed(envelope) {
            // A person decides, also where the policy or the destination would take it by now.
            Look::At(feed) => self.held.reason(&self.destination, id).map_or(Look::At(feed), Look::Skip),
            other => other,
        }
    }

    /// Whether it is for this destination at all.
    fn addressed(&self, envelope: &Envelope) -> Look<'_> {
        if envelope.only.as_ref().is_some_and(|only| !only.contains(&self.destination)) {
            return Look::Skip(Reason::NotAddressed);
        }
        let provenance = &envelope.provenance;
        let Some(feed) = self.feeds.get(&provenance.feed) else {
            return Look::Hold("its feed is no longer in the configuration, so nothing says who may have it");
        };
        if !feed.may_lead_to(&self.destination) {
            return Look::Skip(Reason::NotRouted);
        }
        let is_hl7 = match provenance.format {
            Format::Hl7v2 => true,
            // Of a device's feed it would have been a device's unit.
            Format::Unparsed => feed.device_topics.is_empty(),
            Format::Device(_) | Format::Fhir => false,
        };
        if self.hl7_only && !is_hl7 {
            return Look::Skip(Reason::NotRouted);
        }
        Look::At(feed)
    }

    /// A record that the policy lets go and the destination does not take.
    pub(crate) fn rejected(&self, id: RecordId, envelope: Envelope, payload: Bytes, why: &str) -> Hold {
        let provenance = &envelope.provenance;
        let feed = self.feeds.get(&provenance.feed);
        let topics = feed.map(|f| f.device_topics.as_slice()).unwrap_or_default();
        let charset = feed.and_then(|f| f.charset);
        let device = profile::device_from_topics(topics, &provenance.channel);
        let clinical = self.decode(charset, &payload, device.as_deref(), &envelope).ok();
        let subject = clinical.and_then(|c| self.subject(&c, device.as_deref()));
        hold(id, Reason::Held, why, subject, envelope, payload)
    }

    fn decode(
        &self,
        charset: Option<hl7::Charset>,
        payload: &Bytes,
        device: Option<&str>,
        envelope: &Envelope,
    ) -> Result<Clinical, (Reason, String)> {
        match &envelope.provenance.format {
            Format::Hl7v2 => hl7::Message::decode(payload.clone(), charset)
                .map(Clinical::Hl7)
                .map_err(|e| (Reason::Quarantined, e.to_string())),
            Format::Fhir => fhir::resource_type(payload)
                .map(|resource_type| Clinical::Fhir { resource_type, raw: payload.clone() })
                .ok_or_else(|| (Reason::Quarantined, "not a resource of FHIR R4 as JSON".to_owned())),
            Format::Unparsed => {
                let why = "kept as evidence, not a whole HL7 v2 message: it has no readable MSH segment, or lost its \
                           end (`wardgate faults` says which)";
                Err((Reason::Quarantined, why.to_owned()))
            }
            Format::Device(id) => {
                let profile = self
                    .profiles
                    .get(id)
                    .ok_or_else(|| (Reason::Held, format!("this build has no device profile {id}")))?;
                let values = profile
                    .decode(payload, device, envelope.provenance.received_at)
                    .map_err(|e| (Reason::Quarantined, e.to_string()))?;
                Ok(Clinical::Observations { values, raw: payload.clone() })
            }
        }
    }

    /// HL7: the first identifier of PID-3 with its assigning authority (PID-3.4). Devices: the device. FHIR: the first id by
    /// which a patient is named.
    fn subject(&self, clinical: &Clinical, device: Option<&str>) -> Option<Subject> {
        let mut name = Vec::new();
        match clinical {
            Clinical::Hl7(message) => {
                let pid = message.segments().find(|s| s.name() == b"PID")?;
                let first = pid.field(3)?.repetitions().next()?;
                for n in [1, 4] {
                    let part = first.component(n).map_or(&[][..], |c| c.raw());
                    name.extend_from_slice(part);
                    name.push(0);
                }
                if name.first() == Some(&0) {
                    return None;
                }
            }
            Clinical::Fhir { raw, .. } => {
                let mut first = None;
                fhir::lookup::names(&mut &raw[..], &mut |named, id| {
                    if named == Named::Patient && first.is_none() {
                        first = Some(id.to_owned());
                    }
                });
                name.extend_from_slice(b"Patient/");
                name.extend_from_slice(first?.as_bytes());
            }
            Clinical::Observations { .. } => name.extend_from_slice(device?.as_bytes()),
        }
        let mac = self.keys.mac("subject", &name);
        mac.first_chunk::<16>().copied()
    }
}

fn hold(
    id: RecordId,
    reason: Reason,
    why: &str,
    subject: Option<Subject>,
    envelope: Envelope,
    payload: impl Into<Payload>,
) -> Hold {
    Hold { id, reason, why: why.to_owned(), subject, follows: false, envelope, payload: payload.into() }
}
