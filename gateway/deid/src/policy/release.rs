//! The only way to a [`Release`].

use hl7::{Charset, Message};

use super::{Label, Policy, TextRule};
use crate::envelope::{self, Shape};
use crate::release::{Held, HeldWhy, Release};
use crate::tally::{Tally, Touch};
use crate::{Clinical, Context, fhir, gate, observations, rules};

impl Policy {
    /// Shapes a record by this policy and reads the result again through the [`gate`]; what passes both is a
    /// release. The same record, context and policy give the same release.
    ///
    /// # Errors
    /// [`Held`], with the reason for the batch and a position for whoever looks at it.
    pub fn release(&self, clinical: &Clinical, context: &Context<'_>) -> Result<Release, Held> {
        let shape = match clinical {
            Clinical::Hl7(message) if self.compiled.verbatim => verbatim(message),
            Clinical::Hl7(message) => {
                let shaped = rules::shape(message, &self.compiled, context)?;
                Shape {
                    message_type: shaped.message_type,
                    control_id: control_id(message),
                    charset: Some(Charset::Utf8.to_string()),
                    payload: shaped.payload,
                    rules: shaped.tally.receipt(),
                    observations: Vec::new(),
                }
            }
            Clinical::Fhir { resource_type, raw } if self.compiled.verbatim => {
                let mut tally = Tally::default();
                tally.count(Touch::Verbatim);
                Shape {
                    message_type: Some((*resource_type).to_owned()),
                    payload: raw.to_vec(),
                    rules: tally.receipt(),
                    ..Shape::default()
                }
            }
            Clinical::Fhir { resource_type, raw } => {
                let rules = self.compiled.fhir.ok_or(Held::new(HeldWhy::FhirWithoutRules))?;
                let shaped = fhir::shape(raw, &self.compiled, rules, context)?;
                Shape {
                    message_type: Some((*resource_type).to_owned()),
                    payload: shaped.payload,
                    rules: shaped.tally.receipt(),
                    ..Shape::default()
                }
            }
            Clinical::Observations { values, raw } => {
                let mut tally = Tally::default();
                let rules = &self.compiled.observations;
                let values =
                    observations::shape(values, rules, self.compiled.ages_capped, context, &mut tally)?;
                let payload = if rules.raw == TextRule::Keep {
                    tally.count(Touch::Verbatim);
                    raw.to_vec()
                } else {
                    tally.count(Touch::RawRemoved);
                    Vec::new()
                };
                Shape { observations: values, payload, rules: tally.receipt(), ..Shape::default() }
            }
        };
        let released =
            envelope::enclose(shape, &self.compiled, context).ok_or(Held::new(HeldWhy::TokenKeyMissing))?;
        if self.label != Label::Treatment {
            gate::read(clinical, context.provenance, &released, self.label)
                .map_err(|hit| Held::new(hit.into()))?;
        }
        Ok(Release::new(released))
    }
}

fn verbatim(message: &Message) -> Shape {
    let mut tally = Tally::default();
    tally.count(Touch::Verbatim);
    Shape {
        message_type: header_text(message, 9),
        control_id: control_id(message),
        charset: message.charset().map(|charset| charset.to_string()),
        payload: message.payload().to_vec(),
        rules: tally.receipt(),
        observations: Vec::new(),
    }
}

fn control_id(message: &Message) -> Option<String> {
    header_text(message, 10)
}

/// A field of MSH as text; none where it is empty.
fn header_text(message: &Message, number: usize) -> Option<String> {
    let field = message.msh()?.field(number)?;
    let text = String::from_utf8_lossy(field.raw()).into_owned();
    (!text.is_empty()).then_some(text)
}
