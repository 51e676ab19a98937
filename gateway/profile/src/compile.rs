//! From the document as written to a [`Profile`] whose decoder has nothing left to check but the bytes.

use std::ops::Range;

use toml::Spanned;

use crate::decode::{Bits, Effect, Layout, Part, Profile, Quantity, Rule, Test};
use crate::error::{CompileError, nearest};
use crate::language::{Condition, Document, Field, FrameKind, Numeric, Status};
use crate::{
    DOCUMENT_BYTES_MAX, FIELDS_MAX, FRAME_BYTES_MAX, LANGUAGE, NUMERICS_MAX, REPEAT_MAX, STATUSES_MAX,
};

/// Longest profile id, in bytes.
const ID_BYTES_MAX: usize = 63;
/// Longest title, source or meaning, in bytes.
const LINE_BYTES_MAX: usize = 200;
/// Longest reference id after `MDC_`, in bytes.
const REFERENCE_BYTES_MAX: usize = 60;
/// Longest UCUM unit, in bytes.
const UCUM_BYTES_MAX: usize = 32;

impl Profile {
    /// Compiles a profile document.
    ///
    /// # Errors
    /// [`CompileError`]: the first thing wrong, with its place.
    pub fn compile(document: &str) -> Result<Self, CompileError> {
        Compiler { document }.profile()
    }

    /// The JSON Schema of a profile document, for editors and documentation.
    pub fn json_schema() -> schemars::Schema {
        schemars::schema_for!(Document)
    }
}

struct Compiler<'d> {
    document: &'d str,
}

impl Compiler<'_> {
    fn error(&self, span: Range<usize>, message: impl Into<String>) -> CompileError {
        CompileError::at(self.document, span, message)
    }

    fn profile(&self) -> Result<Profile, CompileError> {
        if self.document.len() > DOCUMENT_BYTES_MAX {
            let message = format!("the document has more than {DOCUMENT_BYTES_MAX} bytes");
            return Err(self.error(0..0, message));
        }
        let written: Document =
            toml::from_str(self.document).map_err(|e| CompileError::from_toml(self.document, &e))?;

        if *written.language.get_ref() != LANGUAGE {
            return Err(self
                .error(written.language.span(), "a version of the profile language that is not known here")
                .hint(format!("this gateway compiles language = {LANGUAGE}")));
        }
        let head = &written.profile;
        self.id(&head.id)?;
        if *head.version.get_ref() == 0 {
            return Err(self.error(head.version.span(), "versions are counted from 1"));
        }
        self.matches(
            &head.family,
            "a family is lower-case words joined by `-`, such as `pulse-oximeter`",
            |b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-',
        )?;
        self.line(&head.title)?;
        self.line(&head.source)?;

        let layout = self.layout(&written)?;
        let quantities = self.quantities(&written, &layout)?;
        let rules = self.rules(&written, &layout)?;
        Ok(Profile {
            id: head.id.get_ref().clone(),
            version: *head.version.get_ref(),
            family: head.family.get_ref().clone(),
            title: head.title.get_ref().clone(),
            source: head.source.get_ref().clone(),
            layout,
            quantities,
            rules,
        })
    }

    fn id(&self, id: &Spanned<String>) -> Result<(), CompileError> {
        let text = id.get_ref();
        let part = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        };
        let fits = text.len() <= ID_BYTES_MAX
            && text.contains('.')
            && text.split('.').all(part)
            && text.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
        if fits {
            return Ok(());
        }
        Err(self
            .error(id.span(), "not a profile id")
            .hint("vendor and model in a-z and 0-9, joined by dots: `bluetooth.plx`"))
    }

    fn matches(
        &self,
        text: &Spanned<String>,
        rule: &str,
        permitted: impl Fn(u8) -> bool,
    ) -> Result<(), CompileError> {
        let value = text.get_ref();
        if !value.is_empty() && value.len() <= LINE_BYTES_MAX && value.bytes().all(permitted) {
            Ok(())
        } else {
            Err(self.error(text.span(), rule))
        }
    }

    fn line(&self, text: &Spanned<String>) -> Result<(), CompileError> {
        let value = text.get_ref();
        if !value.trim().is_empty() && value.len() <= LINE_BYTES_MAX && !value.chars().any(|c| c.is_control())
        {
            Ok(())
        } else {
            Err(self.error(text.span(), format!("one line of 1 to {LINE_BYTES_MAX} bytes is needed here")))
        }
    }

    fn layout(&self, written: &Document) -> Result<Layout, CompileError> {
        let FrameKind::Message = written.frame.kind;
        let bytes_max = *written.frame.bytes_max.get_ref();
        if !(1..=FRAME_BYTES_MAX).contains(&bytes_max) {
            let message = format!("a frame has 1 to {FRAME_BYTES_MAX} bytes");
            return Err(self.error(written.frame.bytes_max.span(), message));
        }
        self.count("[[field]]", written.fields.len(), FIELDS_MAX)?;
        let mut layout = Layout { parts: Vec::new(), names: Vec::new(), bytes_max, trailing_if: None };
        let mut widest = 0_usize;
        let last = written.fields.len().saturating_sub(1);
        for (index, field) in written.fields.iter().enumerate() {
            let part = self.part(field, &layout, index == last)?;
            widest = widest.saturating_add(part.kind.width() * part.repeat_max.unwrap_or(1));
            if widest > bytes_max {
                return Err(self.error(
                    field.name.span(),
                    format!("with this field a frame may have {widest} bytes, but bytes_max is {bytes_max}"),
                ));
            }
            layout.names.push(field.name.get_ref().clone());
            layout.parts.push(part);
        }
        if let Some(condition) = &written.frame.trailing_if {
            layout.trailing_if = Some(self.test(condition, &layout)?);
        }
        Ok(layout)
    }

    fn part(&self, field: &Field, before: &Layout, is_last: bool) -> Result<Part, CompileError> {
        let rule = "a field's name is a letter and then letters, digits and `_`, all lower case";
        self.matches(&field.name, rule, |b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')?;
        if !field.name.get_ref().starts_with(|c: char| c.is_ascii_lowercase()) {
            return Err(self.error(field.name.span(), rule));
        }
        if before.names.contains(field.name.get_ref()) {
            return Err(self.error(field.name.span(), "a field of this name stands above already"));
        }
        let repeat_max = match &field.repeat_max {
            None => None,
            Some(max) if !(1..=REPEAT_MAX).contains(max.get_ref()) => {
                return Err(self.error(max.span(), format!("a field repeats 1 to {REPEAT_MAX} times")));
            }
            Some(max) if !is_last => {
                return Err(self.error(max.span(), "only the last field can repeat: to the end of the frame"));
            }
            Some(max) => Some(*max.get_ref()),
        };
        let when = field.when.as_ref().map(|condition| self.test(condition, before)).transpose()?;
        Ok(Part { kind: field.kind, when, repeat_max })
    }

    fn test(&self, condition: &Condition, layout: &Layout) -> Result<Test, CompileError> {
        let field = self.field(&condition.field, layout)?;
        let Some(part) = layout.parts.get(field) else {
            return Err(self.error(condition.field.span(), "there is no field of this name"));
        };
        if !part.kind.has_bits() || part.repeat_max.is_some() {
            return Err(self
                .error(condition.field.span(), "its bits cannot be tested")
                .hint("conditions test an unsigned integer that does not repeat"));
        }
        let width = 8 * part.kind.width();
        let within = |bits: u32| u64::from(bits) < 1_u64 << width;
        let bits = match (&condition.bit, &condition.mask, &condition.value) {
            (Some(bit), None, None) => match 1_u32.checked_shl(*bit.get_ref()) {
                Some(mask) if within(mask) => Bits { mask, value: None },
                _ => return Err(self.error(bit.span(), format!("the field has bits 0 to {}", width - 1))),
            },
            (None, Some(mask), value) => {
                if *mask.get_ref() == 0 || !within(*mask.get_ref()) {
                    let message =
                        format!("a mask selects at least one of the field's {width} bits, and no others");
                    return Err(self.error(mask.span(), message));
                }
                if let Some(value) = value.as_ref().filter(|v| v.get_ref() & !mask.get_ref() != 0) {
                    return Err(self
                        .error(value.span(), "this can never hold: the value has bits that the mask lacks"));
                }
                Bits { mask: *mask.get_ref(), value: value.as_ref().map(|v| *v.get_ref()) }
            }
            _ => {
                return Err(self
                    .error(condition.field.span(), "a condition names either a bit or a mask")
                    .hint("write `bit = 3`, `mask = 0x06` or `mask = 0x06, value = 0x04`"));
            }
        };
        Ok(Test { field, bits })
    }

    fn field(&self, name: &Spanned<String>, layout: &Layout) -> Result<usize, CompileError> {
        let known = || layout.names.iter().map(String::as_str);
        known().position(|known| known == name.get_ref()).ok_or_else(|| {
            let error = self.error(name.span(), format!("there is no field `{}` above", name.get_ref()));
            match nearest(name.get_ref(), known()) {
                Some(hint) => error.hint(hint),
                None => error,
            }
        })
    }

    fn quantities(&self, written: &Document, layout: &Layout) -> Result<Vec<Quantity>, CompileError> {
        self.count("[[numeric]]", written.numerics.len(), NUMERICS_MAX)?;
        let mut quantities: Vec<Quantity> = Vec::new();
        for numeric in &written.numerics {
            let quantity = self.quantity(numeric, layout)?;
            if quantities.iter().any(|q| q.field == quantity.field && q.metric == quantity.metric) {
                return Err(self.error(numeric.metric.span(), "this field is this metric already"));
            }
            quantities.push(quantity);
        }
        Ok(quantities)
    }

    fn quantity(&self, numeric: &Numeric, layout: &Layout) -> Result<Quantity, CompileError> {
        let field = self.field(&numeric.field, layout)?;
        self.reference_id(&numeric.metric)?;
        let metric = match &numeric.modality {
            Some(modality) => {
                self.reference_id(modality)?;
                format!("{}/{}", numeric.metric.get_ref(), modality.get_ref())
            }
            None => numeric.metric.get_ref().clone(),
        };
        if let Some(loinc) = &numeric.loinc
            && !is_loinc(loinc.get_ref())
        {
            return Err(self
                .error(loinc.span(), "not a LOINC code")
                .hint("digits, `-` and the check digit, such as `59408-5`; compare it with loinc.org"));
        }
        let ucum = numeric.ucum.get_ref();
        if ucum.is_empty() || ucum.len() > UCUM_BYTES_MAX || !ucum.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(self
                .error(numeric.ucum.span(), "not a UCUM unit")
                .hint("such as `%`, `/min`, `mm[Hg]`; a number without unit is `1`"));
        }
        let scale = match &numeric.scale {
            None => None,
            Some(scale) => {
                let [numerator, denominator] = *scale.get_ref();
                let exact = |n: i64| n != 0 && n.unsigned_abs() <= 1 << 53;
                if !exact(numerator) || !exact(denominator) {
                    return Err(self.error(scale.span(), "a scale is two whole numbers, neither of them 0"));
                }
                #[expect(clippy::cast_precision_loss, reason = "at most 2^53: exact")]
                Some((numerator as f64, denominator as f64))
            }
        };
        let range = match &numeric.range {
            None => None,
            Some(range) => {
                let [low, high] = *range.get_ref();
                if !(low.is_finite() && high.is_finite() && low < high) {
                    return Err(self.error(range.span(), "a range is [smallest, largest]"));
                }
                Some((low, high))
            }
        };
        let loinc = numeric.loinc.as_ref().map(|l| l.get_ref().clone());
        Ok(Quantity { field, metric, loinc, ucum: ucum.clone(), scale, range })
    }

    fn reference_id(&self, id: &Spanned<String>) -> Result<(), CompileError> {
        let permitted = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
        let fits =
            |rest: &str| !rest.is_empty() && rest.len() <= REFERENCE_BYTES_MAX && rest.bytes().all(permitted);
        if id.get_ref().strip_prefix("MDC_").is_some_and(fits) {
            return Ok(());
        }
        Err(self
            .error(id.span(), "not a reference id of ISO/IEEE 11073-10101")
            .hint("such as `MDC_PULS_OXIM_SAT_O2`"))
    }

    fn rules(&self, written: &Document, layout: &Layout) -> Result<Vec<Rule>, CompileError> {
        if written.statuses.len() > STATUSES_MAX {
            self.count("[[status]]", written.statuses.len(), STATUSES_MAX)?;
        }
        written.statuses.iter().map(|status| self.rule(status, layout)).collect()
    }

    fn rule(&self, status: &Status, layout: &Layout) -> Result<Rule, CompileError> {
        self.line(&status.meaning)?;
        let effect = match (status.absent, status.explains, status.quality) {
            (Some(reason), None, None) => Effect::Absent(reason),
            (None, Some(reason), None) => Effect::Explains(reason),
            (None, None, Some(quality)) => Effect::Quality(quality),
            _ => {
                return Err(self
                    .error(status.meaning.span(), "a status rule has exactly one effect")
                    .hint("`absent`, `explains` or `quality`"));
            }
        };
        Ok(Rule { when: self.test(&status.when, layout)?, effect })
    }

    fn count(&self, table: &str, count: usize, max: usize) -> Result<(), CompileError> {
        if (1..=max).contains(&count) {
            return Ok(());
        }
        Err(self.error(0..0, format!("{count} of {table}, but 1 to {max} are needed")))
    }
}

/// Digits, `-`, and the check digit by the modulus-10 algorithm of the LOINC Users' Guide, appendix C.
fn is_loinc(code: &str) -> bool {
    let Some((digits, check)) = code.split_once('-') else { return false };
    let all_digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    if !all_digits(digits) || digits.len() > 7 || check.len() != 1 || !all_digits(check) {
        return false;
    }
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(place, byte)| {
            let digit = u32::from(byte - b'0');
            let weighed = if place % 2 == 0 { 2 * digit } else { digit };
            weighed / 10 + weighed % 10
        })
        .sum();
    check.bytes().next().is_some_and(|byte| u32::from(byte - b'0') == (10 - sum % 10) % 10)
}

#[cfg(test)]
mod tests;
