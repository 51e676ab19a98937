//! A hospital that is nobody's: patients, admissions and laboratory results from one seed, so that the same seed
//! sends the same messages.

use model::Timestamp;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

const FAMILIES: [&str; 24] = [
    "ABERNATHY",
    "BRANDVOLD",
    "CASTELLAN",
    "DUNMORE",
    "EIKENBERRY",
    "FAIRWEATHER",
    "GALLOWAY",
    "HOLLOWBROOK",
    "INGLEWOOD",
    "JERNIGAN",
    "KESTREL",
    "LINDQUIST",
    "MERRIWETHER",
    "NORTHCOTT",
    "OKONKWO",
    "PEMBERTON",
    "QUILLFEATHER",
    "RAVENSCROFT",
    "STOCKBRIDGE",
    "THISTLEWOOD",
    "UNDERHILL",
    "VALERIAN",
    "WINTERBOURNE",
    "YARDLEY",
];
const GIVEN: [&str; 16] = [
    "ADELINE",
    "BERTRAM",
    "CORDELIA",
    "DESMOND",
    "EUDORA",
    "FERGUS",
    "GWENDOLYN",
    "HORATIO",
    "ISADORA",
    "JOCELYN",
    "KIMATHI",
    "LEOCADIA",
    "MORTIMER",
    "NERISSA",
    "OCTAVIAN",
    "PHILIPPA",
];
const STREETS: [&str; 6] =
    ["ALDERGATE LANE", "BRIARWOOD DRIVE", "COPPICE ROW", "DOVECOTE STREET", "ELMBRIDGE ROAD", "FOXGLOVE WAY"];
const CITIES: [(&str, &str, &str); 4] = [
    ("LARKHAVEN", "OH", "44107"),
    ("STONEFORD", "VT", "05602"),
    ("MAPLETON", "IA", "51034"),
    ("HARBOR POINT", "ME", "04915"),
];
const WARDS: [&str; 5] = ["4WEST", "ICU", "ED", "MAT", "ONC"];
/// LOINC, name, UCUM, low, high, normal range.
const LABS: [(&str, &str, &str, f64, f64, &str); 6] = [
    ("2345-7", "Glucose [Mass/volume] in Serum or Plasma", "mg/dL", 60.0, 260.0, "70-99"),
    ("2160-0", "Creatinine [Mass/volume] in Serum or Plasma", "mg/dL", 0.4, 3.2, "0.6-1.2"),
    ("2951-2", "Sodium [Moles/volume] in Serum or Plasma", "mmol/L", 126.0, 152.0, "136-145"),
    ("2823-3", "Potassium [Moles/volume] in Serum or Plasma", "mmol/L", 2.8, 6.2, "3.5-5.1"),
    ("718-7", "Hemoglobin [Mass/volume] in Blood", "g/dL", 7.0, 18.0, "12.0-17.5"),
    ("6690-2", "Leukocytes [#/volume] in Blood", "10*3/uL", 2.0, 22.0, "4.5-11.0"),
];
/// Patients in the house.
const POPULATION: usize = 400;

struct Patient {
    mrn: u32,
    visit: u32,
    family: &'static str,
    given: &'static str,
    birth: String,
    sex: char,
    address: (usize, usize),
    phone: u32,
    ward: usize,
    bed: u32,
    admitted: bool,
}

/// Makes messages, for ever.
pub(crate) struct Hospital {
    rng: StdRng,
    patients: Vec<Patient>,
    run: u64,
    count: u64,
}

impl Hospital {
    /// `run` tells apart the control ids of two runs of one seed.
    pub(crate) fn new(seed: u64, run: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let patients = (0..POPULATION as u32).map(|n| Patient::new(&mut rng, n)).collect();
        Self { rng, patients, run, count: 0 }
    }

    /// The next message: ER7 with CR, HL7 v2.5.1.
    pub(crate) fn message(&mut self, now: Timestamp) -> Vec<u8> {
        self.count += 1;
        let control_id = format!("S{:X}-{}", self.run, self.count);
        let at = now.to_hl7();
        let n = self.rng.random_range(0..self.patients.len());
        let pick: u32 = self.rng.random_range(0..100);
        let Some(patient) = self.patients.get_mut(n) else { return Vec::new() };
        let lines = if !patient.admitted {
            patient.admitted = true;
            patient.visit += 1;
            adt("A01", &control_id, &at, patient)
        } else if pick < 8 {
            patient.admitted = false;
            adt("A03", &control_id, &at, patient)
        } else if pick < 20 {
            patient.ward = self.rng.random_range(0..WARDS.len());
            patient.bed = self.rng.random_range(1..40);
            adt("A02", &control_id, &at, patient)
        } else if pick < 40 {
            adt("A08", &control_id, &at, patient)
        } else {
            oru(&mut self.rng, &control_id, &at, patient)
        };
        let mut out = lines.join("\r");
        out.push('\r');
        out.into_bytes()
    }
}

impl Patient {
    fn new(rng: &mut StdRng, n: u32) -> Self {
        let year = rng.random_range(1928..2024);
        Self {
            mrn: 7_100_000 + n * 37,
            visit: 4_400_000 + n * 101,
            family: FAMILIES.choose(rng).copied().unwrap_or("DOE"),
            given: GIVEN.choose(rng).copied().unwrap_or("JAN"),
            birth: format!("{year}{:02}{:02}", rng.random_range(1..13), rng.random_range(1..29)),
            sex: if rng.random() { 'F' } else { 'M' },
            address: (rng.random_range(0..STREETS.len()), rng.random_range(0..CITIES.len())),
            phone: rng.random_range(2_000_000..9_999_999),
            ward: rng.random_range(0..WARDS.len()),
            bed: rng.random_range(1..40),
            admitted: false,
        }
    }

    fn pid(&self) -> String {
        let street = STREETS.get(self.address.0).copied().unwrap_or_default();
        let (city, state, zip) = CITIES.get(self.address.1).copied().unwrap_or_default();
        format!(
            "PID|1||{mrn}^^^LARKHAVEN^MR||{family}^{given}^Q||{birth}|{sex}|||{no} {street}^^{city}^{state}^{zip}^USA||(555){p1:03}-{p2:04}|||||{visit}",
            mrn = self.mrn,
            family = self.family,
            given = self.given,
            birth = self.birth,
            sex = self.sex,
            no = 100 + self.mrn % 800,
            p1 = self.phone / 10_000,
            p2 = self.phone % 10_000,
            visit = self.visit,
        )
    }

    fn pv1(&self, at: &str) -> String {
        let ward = WARDS.get(self.ward).copied().unwrap_or_default();
        format!(
            "PV1|1|I|{ward}^{:02}^A^LARKHAVEN||||1184^HOLLOWAY^PERSEPHONE^^^DR||||||||||||{}|||||||||||||||||||||||||{at}",
            self.bed, self.visit
        )
    }
}

fn msh(kind: &str, structure: &str, control_id: &str, at: &str) -> String {
    let (app, trigger) = kind.split_once('^').unwrap_or((kind, ""));
    let sender = if app == "ORU" { "LAB" } else { "ADT1" };
    format!(
        "MSH|^~\\&|{sender}|LARKHAVEN|WARDGATE|EDGE|{at}||{app}^{trigger}^{structure}|{control_id}|P|2.5.1"
    )
}

fn adt(trigger: &str, control_id: &str, at: &str, patient: &Patient) -> Vec<String> {
    // A08 and A01 share the structure ADT_A01; A02 and A03 have their own (HL7 v2.5.1, chapter 3).
    let structure = match trigger {
        "A02" => "ADT_A02",
        "A03" => "ADT_A03",
        _ => "ADT_A01",
    };
    vec![
        msh(&format!("ADT^{trigger}"), structure, control_id, at),
        format!("EVN|{trigger}|{at}"),
        patient.pid(),
        format!(
            "NK1|1|{}^ROSALIND|SPO^Spouse^HL70063||(555)210-{:04}",
            patient.family,
            patient.phone % 10_000
        ),
        patient.pv1(at),
    ]
}

fn oru(rng: &mut StdRng, control_id: &str, at: &str, patient: &Patient) -> Vec<String> {
    let order: u32 = rng.random_range(100_000..999_999);
    let mut lines = vec![
        msh("ORU^R01", "ORU_R01", control_id, at),
        patient.pid(),
        patient.pv1(at),
        format!("ORC|RE|ORD{order}|FIL{order}||CM"),
        format!(
            "OBR|1|ORD{order}|FIL{order}|24323-8^Comprehensive metabolic panel^LN|||{at}|||||||||1184^HOLLOWAY^PERSEPHONE"
        ),
    ];
    for (n, (code, name, unit, low, high, range)) in LABS.iter().enumerate() {
        let value = rng.random_range(*low..*high);
        lines.push(format!("OBX|{}|NM|{code}^{name}^LN||{value:.1}|{unit}^^UCUM|{range}||||F|||{at}", n + 1));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_is_one_hospital_and_every_message_parses() {
        let at = Timestamp::from_micros(1_790_000_000_000_000);
        let (mut one, mut two, mut other) = (Hospital::new(7, 1), Hospital::new(7, 1), Hospital::new(8, 1));
        let mut differs = false;
        for _ in 0..500 {
            let message = one.message(at);
            assert_eq!(message, two.message(at));
            differs |= message != other.message(at);
            let parsed = hl7::Message::parse(message).unwrap();
            assert!(parsed.control_id().is_some());
        }
        assert!(differs);
    }
}
