//! Putting a value at its place in a resource.

use crate::json::{Json, Name, Object};
use crate::maps::Step;
use crate::validate::after;

/// Elements that lines share by label: label, repetition, index in the array.
pub(crate) type Labels = Vec<(u16, u16, usize)>;

/// Sets `value` at `steps` below `object`. `false`, with nothing changed, where another value stands there already: a
/// value is never overwritten. Appends the path with its indices to `path`, where one is asked for.
pub(crate) fn place(
    object: &mut Object,
    steps: &[Step],
    with: &[(Vec<Step>, Json)],
    labels: &mut Labels,
    repetition: u16,
    value: Json,
    path: &mut Option<String>,
) -> bool {
    let Some((step, rest)) = steps.split_first() else {
        return match value {
            Json::Object(members) => merge(object, members),
            _ => false,
        };
    };
    match step {
        Step::Member(name) => {
            note(path, name, None);
            if rest.is_empty() {
                return set(object, name, value, with);
            }
            if object.get(name).is_none() {
                if excluded(object, name, &value) {
                    return false;
                }
                let mut inner = Object::new();
                let done = place(&mut inner, rest, with, labels, repetition, value, path);
                if done {
                    object.set(Name::clone(name), inner.into());
                }
                return done;
            }
            match object.get_mut(name) {
                Some(Json::Object(inner)) => place(inner, rest, with, labels, repetition, value, path),
                _ => false,
            }
        }
        Step::Append(name) => append(object, name, rest, with, value, path).is_some(),
        Step::Last(name) => {
            let (here, below) = split(rest, with);
            let Some(list) = object.array(name) else { return false };
            let at = list.len().saturating_sub(1);
            note(path, name, Some(at));
            let mut new = Object::new();
            let last = match list.last_mut() {
                Some(Json::Object(last)) => last,
                Some(_) => return false,
                None => &mut new,
            };
            let done = place(last, rest, below, labels, repetition, value, path);
            if done {
                constants(last, here);
            }
            if !new.is_empty() {
                list.push(new.into());
            }
            if list.is_empty() {
                object.remove(name);
            }
            done
        }
        Step::Extension(url) => {
            let name = Name::from("extension");
            let value = match rest.split_first() {
                Some((Step::Member(member), [])) => {
                    let mut extension = Object::from([("url", Json::text(&**url))]);
                    extension.set(Name::clone(member), value);
                    extension.into()
                }
                _ => return false,
            };
            append(object, &name, &[], with, value, path).is_some()
        }
        Step::Shared(name, label) => shared(object, name, (*label, 0), rest, with, labels, value, path),
        Step::SharedEach(name, label) => {
            shared(object, name, (*label, repetition), rest, with, labels, value, path)
        }
    }
}

fn note(path: &mut Option<String>, name: &str, index: Option<usize>) {
    if let Some(path) = path {
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(name);
        if let Some(index) = index {
            path.push_str(&format!("[{index}]"));
        }
    }
}

fn set(object: &mut Object, name: &Name, value: Json, with: &[(Vec<Step>, Json)]) -> bool {
    let value = match value {
        Json::Object(mut members) => {
            constants(&mut members, with);
            Json::Object(members)
        }
        other => other,
    };
    match (object.get_mut(name), value) {
        (None, value) => {
            if excluded(object, name, &value) {
                return false;
            }
            object.set(Name::clone(name), value);
            true
        }
        (Some(Json::Object(old)), Json::Object(new)) => merge(old, new),
        (Some(old), value) => *old == value,
    }
}

/// Elements of which R4 takes one type only.
const CHOICES: [&str; 26] = [
    "abatement",
    "additive",
    "allowed",
    "asNeeded",
    "bounds",
    "chargeable",
    "collected",
    "content",
    "deceased",
    "effective",
    "event",
    "fastingStatus",
    "item",
    "location",
    "medication",
    "multipleBirth",
    "occurrence",
    "onset",
    "performed",
    "product",
    "quantity",
    "reported",
    "serviced",
    "start",
    "statusReason",
    "value",
];

/// Whether a new member would stand beside another type of the same choice, or turn a period around.
pub(crate) fn excluded(object: &Object, name: &str, value: &Json) -> bool {
    let typed = |member: &str, stem: &str| {
        member.strip_prefix(stem).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()))
    };
    if CHOICES.iter().any(|stem| typed(name, stem) && object.members().any(|(other, _)| typed(other, stem))) {
        return true;
    }
    let other = |name: &str| object.get(name).and_then(Json::as_str);
    match (name, value.as_str()) {
        ("end", Some(end)) => other("start").is_some_and(|start| backwards(start, end)),
        ("start", Some(start)) => other("end").is_some_and(|end| backwards(start, end)),
        _ => false,
    }
}

/// Whether a period would end before it starts: as the validator sees it, and where one time is less precise than the
/// other, as far as both go; by the day alone where their zones differ.
pub(crate) fn backwards(start: &str, end: &str) -> bool {
    let zone = |time: &str| {
        time.get(10..)
            .and_then(|t| t.rfind(['Z', '+', '-']))
            .and_then(|at| time.get(10 + at..))
            .map(str::to_owned)
    };
    if after(start, end) {
        return true;
    }
    if start.contains('T') && end.contains('T') && zone(start) != zone(end) {
        return false;
    }
    let length = if zone(start) == zone(end) { 19 } else { 10 };
    let length = length.min(start.len()).min(end.len());
    match (start.get(..length), end.get(..length)) {
        (Some(start), Some(end)) => start > end,
        _ => false,
    }
}

/// Takes over members that are not there yet or are the same; all or nothing.
pub(crate) fn merge(old: &mut Object, new: Object) -> bool {
    let fits = new.members().all(|(name, value)| match (old.get(name), value) {
        (None, value) => !excluded(old, name, value),
        (Some(Json::Array(_)), Json::Array(_)) => true,
        (Some(there), value) => there == value,
    });
    if !fits {
        return false;
    }
    for (name, value) in new.into_members() {
        match (old.get_mut(&name), value) {
            (Some(Json::Array(there)), Json::Array(more)) => {
                for element in more {
                    if !there.contains(&element) {
                        there.push(element);
                    }
                }
            }
            (Some(_), _) => {}
            (None, value) => old.set(name, value),
        }
    }
    true
}

type Constants<'a> = &'a [(Vec<Step>, Json)];

/// Constants go to the inmost array element of a path: here, or further below.
fn split<'a>(rest: &[Step], with: Constants<'a>) -> (Constants<'a>, Constants<'a>) {
    let further = rest.iter().any(|step| !matches!(step, Step::Member(_)));
    if further { (&[], with) } else { (with, &[]) }
}

fn constants(object: &mut Object, with: &[(Vec<Step>, Json)]) {
    for (steps, value) in with {
        place(object, steps, &[], &mut Labels::new(), 0, value.clone(), &mut None);
    }
}

fn append(
    object: &mut Object,
    name: &Name,
    rest: &[Step],
    with: &[(Vec<Step>, Json)],
    value: Json,
    path: &mut Option<String>,
) -> Option<usize> {
    let at = object.array(name)?.len();
    note(path, name, Some(at));
    let mut elements = Vec::new();
    if rest.is_empty() {
        match value {
            Json::Array(values) => elements = values,
            value => elements.push(value),
        }
        for element in &mut elements {
            if let Json::Object(members) = element {
                constants(members, with);
            }
        }
    } else {
        let mut inner = Object::new();
        let (here, below) = split(rest, with);
        if place(&mut inner, rest, below, &mut Labels::new(), 0, value, path) {
            constants(&mut inner, here);
            elements.push(inner.into());
        }
    }
    let list = object.array(name)?;
    let done = !elements.is_empty();
    // The same once more says nothing more.
    if let [one] = elements.as_slice()
        && let Some(there) = list.iter().position(|element| element == one)
    {
        return Some(there);
    }
    list.append(&mut elements);
    if list.is_empty() {
        object.remove(name);
    }
    done.then_some(at)
}

#[expect(clippy::too_many_arguments, reason = "one step of `place`, which has them all")]
fn shared(
    object: &mut Object,
    name: &Name,
    (label, repetition): (u16, u16),
    rest: &[Step],
    with: &[(Vec<Step>, Json)],
    labels: &mut Labels,
    value: Json,
    path: &mut Option<String>,
) -> bool {
    let known = labels.iter().find(|(l, r, _)| (*l, *r) == (label, repetition)).map(|(.., at)| *at);
    match known {
        Some(at) => {
            note(path, name, Some(at));
            let Some(Json::Object(inner)) = object.array(name).and_then(|list| list.get_mut(at)) else {
                return false;
            };
            let (here, below) = split(rest, with);
            let done = place(inner, rest, below, labels, repetition, value, path);
            if done {
                constants(inner, here);
            }
            done
        }
        None if rest.is_empty() => match append(object, name, rest, with, value, path) {
            Some(at) => {
                labels.push((label, repetition, at));
                true
            }
            None => false,
        },
        None => {
            let Some(list) = object.array(name) else { return false };
            let at = list.len();
            note(path, name, Some(at));
            let mut inner = Object::new();
            let (here, below) = split(rest, with);
            let done = place(&mut inner, rest, below, labels, repetition, value, path);
            if done {
                constants(&mut inner, here);
                list.push(inner.into());
                labels.push((label, repetition, at));
            } else if list.is_empty() {
                object.remove(name);
            }
            done
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_that_run_backwards_are_noticed() {
        for (start, end, expected) in [
            ("2024-01-02", "2024-01-01", true),
            ("2024-01-01", "2024-01-01T10:30:00Z", false),
            ("2024", "2024-01-01", false),
            // The clocks run forwards and the moments do not: a zone beside one that the receiver supplied.
            ("2024-01-01T12:00:00-05:00", "2024-01-01T12:00:00Z", true),
            ("2024-03-01T00:30:00+02:00", "2024-02-29T23:00:00Z", false),
            ("2024-01-01T12:00:00.5Z", "2024-01-01T12:00:00.25Z", true),
        ] {
            assert_eq!(backwards(start, end), expected, "{start} {end}");
        }
    }

    #[test]
    fn halves_of_a_period_that_do_not_fit_stay_apart() {
        let half = |name: &'static str, time: &'static str| Object::from([(name, Json::text(time))]);
        let mut period = half("start", "2024-01-02");
        assert!(!merge(&mut period, half("end", "2024-01-01")));
        assert!(merge(&mut period, half("end", "2024-01-03")));
    }
}
