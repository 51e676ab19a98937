//! What devices measured: metric, unit and value are clinical; the device and the exact time are not.

use model::{Observation, TimeValue, Value};

use crate::Context;
use crate::codes;
use crate::envelope;
use crate::policy::{ObservationRules, TextRule, TimeRule};
use crate::release::{Held, HeldWhy};
use crate::tally::{Tally, Touch};
use crate::token::TokenKey;
use crate::units;

/// The kind of number that a device's token is made with.
const DEVICE: &[u8] = b"device";

/// Applies a policy's rules to decoded values. One whose metric, code or unit is no such thing is removed: a
/// profile would not write it, so it is not known where it comes from.
pub(crate) fn shape(
    values: &[Observation],
    rules: &ObservationRules,
    ages_capped: bool,
    context: &Context<'_>,
    tally: &mut Tally,
) -> Result<Vec<Observation>, Held> {
    let mut shaped = Vec::with_capacity(values.len());
    for (number, value) in values.iter().enumerate() {
        tally.enter(format_args!("observations[{number}]"), value.metric.as_bytes());
        if rules.device != TextRule::Keep && !is_clinical(value) {
            tally.count(Touch::ObservationRefused);
            tally.leave(b"");
            continue;
        }
        if ages_capped && tells_age_over_89(value) {
            tally.count(Touch::AgeOver89);
            tally.leave(b"");
            continue;
        }
        tally.enter(format_args!(".device"), value.device.as_deref().unwrap_or_default().as_bytes());
        let device = device(value.device.as_deref(), rules.device, context.tokens(), tally)?;
        tally.leave(device.as_deref().unwrap_or_default().as_bytes());
        shaped.push(Observation {
            device,
            device_time: value.device_time.and_then(|t| coarser(t, rules.times)),
            time: value.time.and_then(|t| coarser(t, rules.times)),
            ..value.clone()
        });
        tally.leave(value.metric.as_bytes());
    }
    Ok(shaped)
}

fn device(
    device: Option<&str>,
    rule: TextRule,
    key: Option<&TokenKey>,
    tally: &mut Tally,
) -> Result<Option<String>, Held> {
    let Some(device) = device else { return Ok(None) };
    match rule {
        TextRule::Keep => Ok(Some(device.to_owned())),
        TextRule::Remove => {
            tally.count(Touch::DeviceRemoved);
            Ok(None)
        }
        TextRule::Token => {
            let token = envelope::token(key, device.as_bytes(), b"", DEVICE)
                .ok_or(Held::new(HeldWhy::KeysMissing))?;
            tally.count(Touch::DeviceToken);
            Ok(Some(token))
        }
    }
}

fn coarser(time: TimeValue, rule: TimeRule) -> Option<TimeValue> {
    match (time, rule) {
        (_, TimeRule::Remove) => None,
        (TimeValue::Instant(at), rule) => envelope::time(rule, at),
        (TimeValue::Year(year), _) => Some(TimeValue::Year(year)),
    }
}

/// A number of years, or of another unit of time, that nothing but a person's age reaches.
fn tells_age_over_89(observation: &Observation) -> bool {
    let unit = observation.ucum.as_bytes();
    let limit = if units::is_year(unit) { Some(90.0) } else { units::ninety_years(unit) };
    match observation.value {
        Value::Number(number) => limit.is_some_and(|limit| number >= limit),
        Value::Absent(_) => false,
    }
}

fn is_clinical(value: &Observation) -> bool {
    let Observation { metric, loinc, ucum, .. } = value;
    codes::is_mdc_reference(metric.as_bytes())
        && loinc.as_ref().is_none_or(|code| codes::is_loinc(code.as_bytes()))
        && (ucum.is_empty() || units::is_unit(ucum.as_bytes()))
}
