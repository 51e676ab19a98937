//! The only way to a [`Release`].

use hl7::{Charset, Message};

use super::{Label, Policy, ScrubbedText, TextRule};
use crate::envelope::{self, Shape};
use crate::explain::{self, Explained, Step};
use crate::release::{Held, HeldWhy, Release};
use crate::tally::{Tally, Touch};
use crate::{Clinical, Context, fhir, gate, observations, rules, sensitive};

impl Policy {
    /// Shapes a record by this policy and reads the result again through the [`gate`]; what passes both is a
    /// release. The same record, context and policy give the same release.
    ///
    /// # Errors
    /// [`Held`], with the reason for the batch and a position for whoever looks at it.
    pub fn release(&self, clinical: &Clinical, context: &Context<'_>) -> Result<Release, Held> {
        let (shape, _) = self.shape(clinical, context, Tally::default(), ScrubbedText::Passes)?;
        let has_text = shape.has_text;
        let outcome = self.enclose(shape, clinical, context);
        if !(has_text && is_stopped(&outcome)) {
            return outcome;
        }
        // The text engine missed what the gate knows: the record goes without its texts, as it would by default.
        let (shape, _) = self.shape(clinical, context, Tally::default(), ScrubbedText::Withheld)?;
        self.enclose(shape, clinical, context)
    }

    /// Says of every value of a record what the rules make of it and where, and what [`Self::release`] comes to. It is
    /// for people who look at a policy and costs a copy of the record; nothing is sent by it.
    pub fn explain(&self, clinical: &Clinical, context: &Context<'_>) -> Explained {
        let mut scrubbed = ScrubbedText::Passes;
        loop {
            let (shape, mut steps) = match self.shape(clinical, context, Tally::traced(true), scrubbed) {
                Err(held) => return Explained { steps: Vec::new(), outcome: Err(held) },
                Ok(shaped) => shaped,
            };
            let (has_text, control_id) = (shape.has_text, shape.control_id.clone());
            let outcome = self.enclose(shape, clinical, context);
            // What is withheld is no text that passes: this comes once.
            if has_text && is_stopped(&outcome) && scrubbed == ScrubbedText::Passes {
                scrubbed = ScrubbedText::Withheld;
                continue;
            }
            if let Ok(release) = &outcome {
                steps.extend(explain::envelope(control_id.as_deref(), context, release.as_released()));
            }
            return Explained { steps, outcome };
        }
    }

    /// What the rules make of a record, before the gate.
    pub(crate) fn shape(
        &self,
        clinical: &Clinical,
        context: &Context<'_>,
        mut tally: Tally,
        scrubbed: ScrubbedText,
    ) -> Result<(Shape, Vec<Step>), Held> {
        if self.compiled.text.surrogates && context.keys.is_none() {
            return Err(Held::new(HeldWhy::KeysMissing));
        }
        if let Some(determination) = &self.compiled.determination
            && !determination.holds_at(context.provenance.received_at)
        {
            return Err(Held::new(HeldWhy::DeterminationExpired));
        }
        sensitive::look(clinical, &self.compiled, &mut tally)?;
        let shape = match clinical {
            Clinical::Hl7(message) if self.compiled.verbatim => {
                unchanged(&mut tally, message.payload());
                Shape {
                    message_type: header_text(message, 9),
                    control_id: control_id(message),
                    charset: message.charset().map(|charset| charset.to_string()),
                    payload: message.payload().to_vec(),
                    ..Shape::default()
                }
            }
            Clinical::Hl7(message) => {
                let shaped = rules::shape(message, &self.compiled, context, tally, scrubbed)?;
                tally = shaped.tally;
                Shape {
                    message_type: shaped.message_type,
                    control_id: control_id(message),
                    charset: Some(Charset::Utf8.to_string()),
                    payload: shaped.payload,
                    ..Shape::default()
                }
            }
            Clinical::Fhir { resource_type, raw } if self.compiled.verbatim => {
                unchanged(&mut tally, raw);
                let message_type = Some((*resource_type).to_owned());
                Shape { message_type, payload: raw.to_vec(), ..Shape::default() }
            }
            Clinical::Fhir { resource_type, raw } => {
                let rules = self.compiled.fhir.ok_or(Held::new(HeldWhy::FhirWithoutRules))?;
                let shaped = fhir::shape(raw, &self.compiled, rules, context, tally, scrubbed)?;
                tally = shaped.tally;
                let message_type = Some((*resource_type).to_owned());
                Shape { message_type, payload: shaped.payload, ..Shape::default() }
            }
            Clinical::Observations { values, raw } => {
                let rules = &self.compiled.observations;
                let observations =
                    observations::shape(values, rules, self.compiled.ages_capped, context, &mut tally)?;
                tally.enter(format_args!("raw"), raw);
                let payload = if rules.raw == TextRule::Keep {
                    tally.count(Touch::Verbatim);
                    raw.to_vec()
                } else {
                    tally.count(Touch::RawRemoved);
                    Vec::new()
                };
                tally.leave(&payload);
                Shape { observations, payload, ..Shape::default() }
            }
        };
        let steps = tally.take_steps();
        Ok((Shape { rules: tally.receipt(), has_text: tally.has_text(), ..shape }, steps))
    }

    /// Puts what the rules made into its envelope, and reads it again.
    fn enclose(&self, shape: Shape, clinical: &Clinical, context: &Context<'_>) -> Result<Release, Held> {
        let released =
            envelope::enclose(shape, &self.compiled, context).ok_or(Held::new(HeldWhy::KeysMissing))?;
        if self.label != Label::Treatment {
            gate::read(clinical, context.provenance, &released, self.scope)
                .map_err(|hit| Held::new(hit.into()))?;
        }
        Ok(Release::new(released))
    }
}

/// Whether the gate stopped it.
const fn is_stopped(outcome: &Result<Release, Held>) -> bool {
    matches!(outcome, Err(Held { why: HeldWhy::Gate(_), .. }))
}

/// A payload that goes on as it is.
fn unchanged(tally: &mut Tally, payload: &[u8]) {
    tally.enter(format_args!("payload"), payload);
    tally.count(Touch::Verbatim);
    tally.leave(payload);
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
