//! OBX-5: what OBX-2 says it is, in the element that FHIR has for it.

use super::leaves::Node;
use super::place::backwards;
use super::primitives::{Moment, base64, decimal, time};
use super::run::Run;
use crate::json::{Json, Name, Object};
use crate::maps::Coded;

/// A value and the name of its element.
type Value = (&'static str, Json);

impl<'m> Run<'_, 'm> {
    /// OBX-5 with OBX-6 into `value[x]`; several repetitions into components, each with the code of OBX-3.
    pub(crate) fn observation_value(&mut self, field: Node<'_, 'm>, object: &mut Object, official: bool) {
        let Some(segment) = self.cuts.get(self.at).map(super::leaves::Cut::node) else { return };
        let kind = segment.child(2).text().unwrap_or_default().to_ascii_uppercase();
        let unit = segment.child(6).repetition(1);
        let values: Vec<_> = field.repetitions().map(|(_, node)| node).collect();
        if kind == "NA" || kind == "MA" {
            let base = self.pending.len();
            self.take(field, official, "");
            self.set(object, "valueString", Json::Text(field.joined()), base);
            return;
        }
        if matches!(kind.as_str(), "ED" | "RP") {
            for value in values {
                self.derived_from(value, object, official);
            }
            return;
        }
        if let [value] = values.as_slice() {
            let base = self.pending.len();
            if let Some((name, value)) = self.typed(&kind, *value, unit, official) {
                self.set(object, name, value, base);
            }
            return;
        }
        let code = object.get("code").cloned();
        let components = Name::from("component");
        for value in values {
            let base = self.pending.len();
            let Some((name, value)) = self.typed(&kind, value, unit, official) else { continue };
            let mut component = Object::new();
            let unnamed = || Object::from([("text", Json::text("not said in the message"))]).into();
            component.set("code", code.clone().unwrap_or_else(unnamed));
            if !self.set(&mut component, name, value, base) {
                continue;
            }
            let Some(list) = object.array(&components) else { continue };
            if self.context.trace {
                let at = list.len();
                for pending in self.pending.iter_mut().skip(base) {
                    pending.within(&format!("component[{at}]"));
                }
            }
            list.push(component.into());
        }
    }

    fn typed(
        &mut self,
        kind: &str,
        value: Node<'_, 'm>,
        unit: Node<'_, 'm>,
        official: bool,
    ) -> Option<Value> {
        let offset = self.context.offset_minutes;
        let base = self.pending.len();
        let first = value.first_leaf();
        let found = match kind {
            "NM" | "SI" => self.number(value, unit, official),
            "SN" => self.structured_number(value, unit, official),
            "CE" | "CWE" | "CNE" | "CF" | "IS" | "ID" | "CM" => self
                .coded(Coded::CodeableConcept, None, value, official)
                .map(|concept| ("valueCodeableConcept", concept)),
            "DT" | "TS" | "DTM" => first.text().and_then(Moment::parse).map(|moment| {
                self.take(first, official, "");
                ("valueDateTime", Json::Text(moment.date_time(offset)))
            }),
            "TM" => first.text().and_then(time).map(|time| {
                self.take(first, official, "");
                ("valueTime", Json::Text(time))
            }),
            "DR" => self.period(value, official).map(|period| ("valuePeriod", period)),
            "NR" => self.range(value, unit, official).map(|range| ("valueRange", range)),
            "" => self.untyped(value, unit, official),
            _ => None,
        };
        if found.is_some() {
            return found;
        }
        self.pending.truncate(base);
        self.take(value, official, "");
        Some(("valueString", Json::Text(value.joined())))
    }

    /// What came without a type: a number with a unit, a code with its system, or text.
    fn untyped(&mut self, value: Node<'_, 'm>, unit: Node<'_, 'm>, official: bool) -> Option<Value> {
        if !value.child(3).is_empty() && !value.child(1).is_empty() {
            return self
                .coded(Coded::CodeableConcept, None, value, official)
                .map(|concept| ("valueCodeableConcept", concept));
        }
        if unit.is_empty() { None } else { self.number(value, unit, official) }
    }

    fn number(&mut self, value: Node<'_, 'm>, unit: Node<'_, 'm>, official: bool) -> Option<Value> {
        let [leaf] = value.leaves else { return None };
        let (comparator, digits) = comparator(&leaf.text);
        let digits = decimal(digits.trim())?;
        self.take(value, official, "value");
        let mut quantity = Object::from([("value", Json::Number(digits))]);
        if let Some(comparator) = comparator {
            quantity.set("comparator", Json::text(comparator));
        }
        self.with_unit(&mut quantity, unit, official);
        Some(("valueQuantity", quantity.into()))
    }

    fn with_unit(&mut self, quantity: &mut Object, unit: Node<'_, 'm>, official: bool) {
        if unit.is_empty() {
            return;
        }
        if let Some(unit) = self.unit(unit, official) {
            for (name, value) in unit.into_members() {
                quantity.set(name, value);
            }
        }
    }

    /// SN: `comparator ^ number ^ separator ^ number` (HL7 v2.8.2 §2A.3.71).
    fn structured_number(
        &mut self,
        value: Node<'_, 'm>,
        unit: Node<'_, 'm>,
        official: bool,
    ) -> Option<Value> {
        let [sign, low, separator, high] = [1, 2, 3, 4].map(|n| value.child(n));
        let comparator = match sign.text().unwrap_or("=") {
            "=" => None,
            sign @ ("<" | "<=" | ">" | ">=") => Some(sign),
            _ => return None,
        };
        let first = low.text().map(decimal);
        let second = high.text().map(decimal);
        let quantity = |run: &mut Self, digits: String| {
            let mut quantity = Object::from([("value", Json::Number(digits))]);
            run.with_unit(&mut quantity, unit, official);
            quantity
        };
        let found: Value = match (separator.text(), first, second) {
            (None, Some(Some(first)), None) => {
                let mut quantity = quantity(self, first);
                if let Some(comparator) = comparator {
                    quantity.set("comparator", Json::text(comparator));
                }
                ("valueQuantity", quantity.into())
            }
            (Some("-"), Some(Some(first)), Some(Some(second))) if comparator.is_none() => {
                if first.parse::<f64>().ok()? > second.parse::<f64>().ok()? {
                    return None;
                }
                let (low, high) = (quantity(self, first), quantity(self, second));
                ("valueRange", Object::from([("low", low.into()), ("high", high.into())]).into())
            }
            (Some(":" | "/"), Some(Some(first)), Some(Some(second))) => {
                let mut numerator = quantity(self, first);
                if let Some(comparator) = comparator {
                    numerator.set("comparator", Json::text(comparator));
                }
                let denominator = Object::from([("value", Json::Number(second))]);
                let ratio =
                    Object::from([("numerator", numerator.into()), ("denominator", denominator.into())]);
                ("valueRatio", ratio.into())
            }
            _ => return None,
        };
        self.take(value, official, "");
        Some(found)
    }

    fn period(&mut self, value: Node<'_, 'm>, official: bool) -> Option<Json> {
        let offset = self.context.offset_minutes;
        let (begin, end) = (value.child(1).first_leaf(), value.child(2).first_leaf());
        let when =
            |node: &Node<'_, 'm>| node.text().and_then(Moment::parse).map(|moment| moment.date_time(offset));
        let (from, to) = (when(&begin), when(&end));
        if let (Some(from), Some(to)) = (&from, &to)
            && backwards(from, to)
        {
            return None;
        }
        let mut period = Object::new();
        for (name, node, time) in [("start", begin, from), ("end", end, to)] {
            if let Some(time) = time {
                self.take(node, official, name);
                period.set(name, Json::Text(time));
            }
        }
        (!period.is_empty()).then(|| period.into())
    }

    fn range(&mut self, value: Node<'_, 'm>, unit: Node<'_, 'm>, official: bool) -> Option<Json> {
        let mut range = Object::new();
        for (n, name) in [(1, "low"), (2, "high")] {
            let node = value.child(n).first_leaf();
            if let Some(text) = node.text() {
                let mut quantity = Object::from([("value", Json::Number(decimal(text)?))]);
                self.take(node, official, name);
                self.with_unit(&mut quantity, unit, official);
                range.set(name, quantity.into());
            }
        }
        (!range.is_empty()).then(|| range.into())
    }

    /// ED and RP: an observation has no attachment, so a DocumentReference holds it and the observation derives from it.
    fn derived_from(&mut self, value: Node<'_, 'm>, object: &mut Object, official: bool) {
        let base = self.pending.len();
        let Some(attachment) = self.attachment(value, official) else {
            self.pending.truncate(base);
            self.take(value, official, "");
            self.set(object, "valueString", Json::Text(value.joined()), base);
            return;
        };
        self.within(base, "content[0].attachment");
        let mut document = Object::from([
            ("status", Json::text("current")),
            ("content", Json::Array(vec![Object::from([("attachment", attachment.into())]).into()])),
        ]);
        if let Some(subject) = object.get("subject") {
            document.set("subject", subject.clone());
        }
        if let Some(code) = object.get("code") {
            document.set("type", code.clone());
        }
        if let Some(reference) = self.intern(&Name::from("DocumentReference"), None, document, base)
            && let Some(list) = object.array(&Name::from("derivedFrom"))
        {
            list.push(reference);
        }
    }

    /// OBX-5 of a document message: each repetition, or all lines of text, an attachment of the current document.
    pub(crate) fn document_content(&mut self, field: Node<'_, 'm>, object: &mut Object, official: bool) {
        let Some(segment) = self.cuts.get(self.at).map(super::leaves::Cut::node) else { return };
        let kind = segment.child(2).text().unwrap_or_default().to_ascii_uppercase();
        let content = Name::from("content");
        let base = self.pending.len();
        let mut attachments = Vec::new();
        if matches!(kind.as_str(), "ED" | "RP") {
            for (_, value) in field.repetitions() {
                let base = self.pending.len();
                match self.attachment(value, official) {
                    Some(attachment) => attachments.push(attachment),
                    None => self.pending.truncate(base),
                }
            }
        } else {
            let mut text = String::new();
            for (n, (_, value)) in field.repetitions().enumerate() {
                if n > 0 {
                    text.push('\n');
                }
                text.push_str(&value.joined());
            }
            self.take(field, official, "data");
            let media = if kind == "FT" { "text/hl7v2" } else { "text/plain" };
            attachments.push(Object::from([
                ("contentType", Json::text(media)),
                ("data", Json::Text(base64(text.as_bytes()))),
            ]));
        }
        let title = segment.child(3).repetition(1);
        if attachments.len() == 1 && !title.is_empty() {
            let display = if title.child(2).is_empty() { title.child(1) } else { title.child(2) };
            if let Some(attachment) = attachments.first_mut() {
                self.take(display, official, "title");
                attachment.set("title", Json::Text(display.joined()));
            }
        }
        let Some(list) = object.array(&content) else {
            self.pending.truncate(base);
            return;
        };
        let at = list.len();
        list.extend(attachments.into_iter().map(|a| Object::from([("attachment", a.into())]).into()));
        self.within(base, &format!("content[{at}].attachment"));
    }
}

/// `<5`, `>= 10`: the comparator, and what is left.
fn comparator(text: &str) -> (Option<&'static str>, &str) {
    for sign in ["<=", ">=", "<", ">"] {
        if let Some(rest) = text.strip_prefix(sign) {
            return (Some(sign), rest);
        }
    }
    (None, text)
}

/// Units of UCUM (version 2.1, tables 1 to 21) that laboratories and monitors write; prefixes go with those before `|`.
const ATOMS: &str = "m s g rad K C cd mol sr Hz N Pa J W A V F Ohm S Wb Cel T H lm lx Bq Gy Sv l L ar t u eV bar U kat \
     eq osm Osm B bit By Bd G Mx Lmb Ky R dyn erg P St Oe Gb RAD REM Ci tex cal Cal mho b st pc Np att g% \
     m[H2O] m[Hg] [iU] [IU] mol | 10* 10^ % [ppth] [ppm] [ppb] [pptr] [pi] deg gon min h d a a_t a_j mo mo_s mo_j wk \
     AU [c] [in_i] [ft_i] [yd_i] [lb_av] [oz_av] [gr] [degF] [degRe] [pH] [arb'U] [USP'U] [GPL'U] [MPL'U] [APL'U] \
     [beth'U] [todd'U] [dye'U] [ka'U] [knk'U] [mclg'U] [tb'U] [CCID_50] [TCID_50] [PFU] [FFU] [CFU] [BAU] [AU] [Lf] \
     [drp] [tsp_us] [tbs_us] [foz_us] [cup_us] [pt_us] [qt_us] [gal_us] [HPF] [LPF] [hnsf'U] [mi_i] [Ch] [psi] mm[Hg] \
     cm[H2O] [EID_50] [ELU] [EU] [S] [MET] [hp_X] [kn_i] [diop] %[slope] ' ''";

const PREFIXES: [&str; 21] = [
    "da", "Y", "Z", "E", "P", "T", "G", "M", "k", "h", "d", "c", "m", "u", "n", "p", "f", "a", "z", "y", "Ki",
];

/// Whether a unit is one of UCUM that a validator would know: terms of known atoms, joined by `.` and `/`.
pub(crate) fn is_ucum(unit: &str) -> bool {
    if unit.is_empty() || unit.len() > 64 || !unit.is_ascii() || unit.contains(' ') {
        return false;
    }
    let unit = unit.strip_prefix('/').unwrap_or(unit);
    // Brackets and braces hold no operators, so what is inside of them is put aside first.
    let mut plain = String::new();
    let mut depth = 0_u8;
    for c in unit.chars() {
        match c {
            '{' | '[' => depth = depth.saturating_add(1),
            '}' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        plain.push(if depth > 0 && matches!(c, '.' | '/' | '(' | ')') { '\u{1}' } else { c });
    }
    if depth > 0 || plain.contains(['(', ')']) {
        return false;
    }
    plain.split(['.', '/']).all(is_component)
}

fn is_component(text: &str) -> bool {
    let bare = match text.split_once('{') {
        Some(("", rest)) => return rest.ends_with('}') && rest.len() > 1,
        Some((bare, rest)) if rest.ends_with('}') => bare,
        Some(_) => return false,
        None => text,
    };
    if bare.is_empty() {
        return false;
    }
    if bare.bytes().all(|b| b.is_ascii_digit()) {
        return !bare.starts_with('0');
    }
    for power in ["10*", "10^"] {
        if let Some(exponent) = bare.strip_prefix(power) {
            let digits = exponent.trim_start_matches(['+', '-']);
            return digits.bytes().all(|b| b.is_ascii_digit());
        }
    }
    let atom = bare.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches(['+', '-']);
    let (metric, other) = ATOMS.split_once('|').unwrap_or((ATOMS, ""));
    let is_in = |list: &str, atom: &str| list.split_whitespace().any(|known| known == atom);
    is_in(metric, atom)
        || is_in(other, atom)
        || PREFIXES.iter().any(|prefix| atom.strip_prefix(prefix).is_some_and(|rest| is_in(metric, rest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        for good in [
            "mg/dL",
            "10*3/uL",
            "mm[Hg]",
            "%",
            "/min",
            "{beats}/min",
            "kg/m2",
            "mmol/L",
            "[in_i]",
            "Cel",
            "10*-6.L",
            "ng/mL{RBC}",
            "meq/L",
            "1",
        ] {
            assert!(is_ucum(good), "{good}");
        }
        for bad in ["", "mmHg", "bpm", "beats/min", "K/UL", "x10E3/uL", "mg / dL", "GRAM", "10", "mg//dL"] {
            assert!(!is_ucum(bad) || bad == "10", "{bad}");
        }
    }
}
