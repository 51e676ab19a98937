//! Whose a record is: one number and who gave it, the same in HL7 v2 and in FHIR.
//!
//! **The number.** Of the identifiers that a record gives its patient, the one of the first kind of [`KINDS`] (table 0203,
//! CX-5 or `Identifier.type`); of several of that kind the first in the order of authority and number, so that the order in
//! which a sender lists them does not count. Case counts, blanks at both ends do not. Numbers of visits, accounts, states and
//! insurers name no patient.
//!
//! **The authority.** The universal id of an HD as a URI (`urn:oid:…`), else its namespace; `Identifier.system`; and where
//! neither is said the feed, as `feed NAME`: the patient 4711 of one feed is not that of another. `[authorities]` of a policy
//! says which of these are one.

use std::borrow::Cow;
use std::collections::BTreeMap;

use hl7::{Message, Repetition};

/// Kinds of number that name a patient, the most telling first.
const KINDS: [&[u8]; 11] = [b"MR", b"MRN", b"PI", b"PT", b"EPI", b"PATID", b"PE", b"MRT", b"ANON", b"U", b""];

/// From so many digits on that are all the same, a number is what is typed where none is known.
const FILLER_DIGITS_MIN: usize = 4;

/// Names of authorities, by their other names.
pub(crate) type Authorities = BTreeMap<Vec<u8>, Vec<u8>>;

/// A patient, as far as one record tells.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Patient {
    authority: Vec<u8>,
    id: Vec<u8>,
}

impl Patient {
    #[cfg(test)]
    pub(crate) const fn new(authority: Vec<u8>, id: Vec<u8>) -> Self {
        Self { authority, id }
    }

    /// Who has this id of a Patient on a server of FHIR.
    pub(crate) fn of_server(server: Vec<u8>, id: &str) -> Self {
        Self { authority: server, id: format!("Patient/{id}").into_bytes() }
    }

    pub(crate) fn authority(&self) -> &[u8] {
        &self.authority
    }

    pub(crate) fn id(&self) -> &[u8] {
        &self.id
    }
}

/// Sizes alone.
impl std::fmt::Debug for Patient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Patient({} bytes)", self.id.len())
    }
}

/// Who gives numbers, for one record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Namespace<'a> {
    pub(crate) known: &'a Authorities,
    /// Stands for the authority where none is said.
    pub(crate) feed: &'a str,
}

impl Namespace<'_> {
    /// One name for an authority: of `names`, which are names of one, the first that the policy lists, else the first at
    /// all; the feed where all are empty.
    pub(crate) fn authority(&self, names: &[&[u8]]) -> Vec<u8> {
        let feed = format!("feed {}", self.feed).into_bytes();
        let said = || names.iter().map(|name| name.trim_ascii()).filter(|name| !name.is_empty());
        let names: Vec<&[u8]> = if said().next().is_some() { said().collect() } else { vec![&feed] };
        let listed = names.iter().find_map(|name| self.known.get(*name));
        listed.cloned().or_else(|| names.first().map(|name| name.to_vec())).unwrap_or_default()
    }

    /// The authority that an HD names (HL7 v2.8.2 §2A.2.36).
    pub(crate) fn of_hd(&self, namespace: &[u8], universal: &[u8], kind: &[u8]) -> Vec<u8> {
        self.authority(&[&uri(universal.trim_ascii(), kind.trim_ascii()), namespace])
    }

    /// The patient of these numbers, each with kind and authority.
    pub(crate) fn patient(
        &self,
        numbers: impl Iterator<Item = (Vec<u8>, Vec<u8>, Vec<u8>)>,
    ) -> Option<Patient> {
        let ranked = numbers.filter_map(|(kind, authority, id)| {
            let id = id.trim_ascii().to_vec();
            let kind = kind.trim_ascii().to_ascii_uppercase();
            let rank = KINDS.iter().position(|known| *known == kind)?;
            (!is_filler(&id)).then_some((rank, Patient { authority, id }))
        });
        ranked.min().map(|(_, patient)| patient)
    }

    /// The patient of a PID segment: PID-3, and PID-2 where that is empty.
    fn of_pid(&self, pid: &hl7::Segment<'_>) -> Option<Patient> {
        let of_field = |number: usize| {
            let field = pid.field(number)?;
            self.patient(field.repetitions().map(|repetition| self.of_cx(&repetition)))
        };
        of_field(3).or_else(|| of_field(2))
    }

    fn of_cx(&self, cx: &Repetition<'_>) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
        let part = |component: usize, sub: usize| -> Cow<'_, [u8]> {
            let component = cx.component(component);
            component.and_then(|c| c.subcomponent(sub)).map(|s| s.unescaped()).unwrap_or_default()
        };
        let authority = self.of_hd(&part(4, 1), &part(4, 2), &part(4, 3));
        (part(5, 1).into_owned(), authority, part(1, 1).into_owned())
    }

    /// Whose each segment of a message is: from a PID on, that PID's. What stands between a header and the first PID is
    /// everybody's: of the patient of all PIDs up to the next header, if they are one.
    pub(crate) fn of_segments(&self, message: &Message) -> Vec<Option<Patient>> {
        let said: Vec<Said> = message
            .segments()
            .map(|segment| match segment.name() {
                _ if segment.is_header() => Said::Header,
                b"PID" => Said::Pid(self.of_pid(&segment)),
                _ => Said::Nothing,
            })
            .collect();
        let mut whose = Vec::with_capacity(said.len());
        for part in said.chunk_by(|_, next| !matches!(next, Said::Header)) {
            let pids = || part.iter().filter_map(Said::patient);
            let first = pids().next().and_then(Option::as_ref);
            let mut current = first.filter(|first| pids().all(|pid| pid.as_ref() == Some(first)));
            for segment in part {
                current = segment.patient().map_or(current, Option::as_ref);
                whose.push(current.cloned());
            }
        }
        whose
    }
}

/// What a segment says of whom it is about.
enum Said {
    Header,
    Pid(Option<Patient>),
    Nothing,
}

impl Said {
    const fn patient(&self) -> Option<&Option<Patient>> {
        match self {
            Self::Pid(patient) => Some(patient),
            Self::Header | Self::Nothing => None,
        }
    }
}

/// A universal id as a URI, as FHIR writes systems.
fn uri(universal: &[u8], kind: &[u8]) -> Vec<u8> {
    let is_oid = universal.first().is_some_and(|b| matches!(b, b'0'..=b'2'))
        && universal.contains(&b'.')
        && universal.iter().all(|b| b.is_ascii_digit() || *b == b'.');
    match kind.to_ascii_uppercase().as_slice() {
        b"UUID" | b"GUID" => [b"urn:uuid:", universal.to_ascii_lowercase().as_slice()].concat(),
        _ if is_oid => [b"urn:oid:", universal].concat(),
        _ => universal.to_vec(),
    }
}

/// No number at all: nothing, `""`, zeros, and one digit again and again: `9999`.
fn is_filler(id: &[u8]) -> bool {
    let is_one_digit = id.first().is_some_and(u8::is_ascii_digit) && id.iter().all(|b| Some(b) == id.first());
    id.is_empty() || id == b"\"\"" || is_one_digit && (id.len() >= FILLER_DIGITS_MIN || id.starts_with(b"0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(known: &Authorities) -> Namespace<'_> {
        Namespace { known, feed: "adt" }
    }

    /// Whose the segments are, as `authority id`; `-` for nobody's.
    fn whose(known: &Authorities, message: &str) -> Vec<String> {
        let message = Message::parse(message.replace('\n', "\r").into_bytes()).unwrap();
        let shown = |patient: Option<Patient>| {
            patient.map_or_else(
                || "-".to_owned(),
                |p| format!("{} {}", String::from_utf8_lossy(p.authority()), String::from_utf8_lossy(p.id())),
            )
        };
        namespace(known).of_segments(&message).into_iter().map(shown).collect()
    }

    fn of_pid(pid: &str) -> String {
        whose(&Authorities::new(), &format!("MSH|^~\\&|\nPID|{pid}\n")).remove(1)
    }

    #[test]
    fn a_patient_is_the_most_telling_number_in_whatever_order() {
        for (pid, patient) in [
            ("1||7^^^H^MR", "H 7"),
            ("1||9^^^SSA^SS~7^^^H^MR~3^^^H^PI", "H 7"),
            ("1||3^^^H^PI~7^^^H^MR~9^^^SSA^SS", "H 7"),
            ("1||8^^^K^MR~7^^^H^MR", "H 7"),
            ("1||7^^^H^MR~8^^^K^MR", "H 7"),
            ("1|| 7 ^^^H^mr", "H 7"),
            ("1||7a^^^H^MR", "H 7a"),
            ("1||7^^^H&1.2.3&ISO^MR", "urn:oid:1.2.3 7"),
            ("1||7^^^&1.2.3^MR", "urn:oid:1.2.3 7"),
            ("1||7^^^&0B9D&UUID^MR", "urn:uuid:0b9d 7"),
            ("1||7", "feed adt 7"),
            ("1|7^^^H", "H 7"),
            ("1||9^^^SSA^SS", "-"),
            ("1||V1^^^H^VN", "-"),
            ("1||0000^^^H^MR", "-"),
            ("1||\"\"^^^H^MR", "-"),
            ("1", "-"),
        ] {
            assert_eq!(of_pid(pid), patient, "{pid}");
        }
    }

    #[test]
    fn a_policy_says_which_authorities_are_one() {
        let known: Authorities = [("H", "X"), ("urn:oid:1.2.3", "X"), ("feed adt", "X")]
            .into_iter()
            .map(|(name, one)| (name.into(), one.into()))
            .collect();
        for cx in ["7^^^H^MR", "7^^^OTHER&1.2.3&ISO^MR", "7^^^H&9.9.9&ISO^MR", "7"] {
            let message = format!("MSH|^~\\&|\nPID|1||{cx}\n");
            assert_eq!(whose(&known, &message)[1], "X 7", "{cx}");
        }
    }

    #[test]
    fn segments_are_of_the_patient_before_them_and_headers_of_the_only_one() {
        let known = Authorities::new();
        let one = "MSH|^~\\&|\nEVN|\nPID|1||7^^^H\nPV1|1\n";
        assert_eq!(whose(&known, one), ["H 7"; 4]);
        let two = "MSH|^~\\&|\nPID|1||7^^^H\nOBX|1\nPID|1||8^^^H\nOBX|1\nPID|1\nOBX|1\n";
        assert_eq!(whose(&known, two), ["-", "H 7", "H 7", "H 8", "H 8", "-", "-"]);
        let joined = format!("{one}{two}MSH|^~\\&|\nMFI|1\n");
        let all = whose(&known, &joined);
        assert_eq!(all[3..6], ["H 7", "-", "H 7"]);
        assert_eq!(all[11..], ["-", "-"]);
    }
}
