//! Coding systems: which are known, what senders call them, and what their codes look like.
//!
//! A code passes where its system is allowed by the policy *and* the code has that system's syntax, check
//! digit included where there is one; so a name, a number of the patient or a sentence in a code's place does
//! not. Sources: HL7 table 0396 and the systems' own manuals.

use std::sync::LazyLock;

use crate::fnv::Map;
use crate::tables::TABLES;
use crate::units;

/// RxNorm has given out some 2,700,000 numbers in twenty years, the last hundred thousand in about one.
const RXCUI_MAX: u32 = 2_999_999;

/// A coding system. Closed: a new one gets its syntax here first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum System {
    /// LOINC.
    Loinc,
    /// SNOMED CT.
    SnomedCt,
    /// ICD-9-CM, diagnoses and procedures.
    Icd9,
    /// ICD-10, ICD-10-CM, ICD-10-PCS and national modifications.
    Icd10,
    /// ICD-O.
    IcdO,
    /// UCUM and its forerunners ISO+ and ANSI+.
    Ucum,
    /// CDC vaccines.
    Cvx,
    /// CDC manufacturers of vaccines.
    Mvx,
    /// RxNorm.
    RxNorm,
    /// National Drug Code.
    Ndc,
    /// CPT-4 and CPT-5.
    Cpt,
    /// HCPCS level II.
    Hcpcs,
    /// WHO Anatomical Therapeutic Chemical classification.
    Atc,
    /// ISO/IEEE 11073-10101 nomenclature.
    Mdc,
    /// DICOM controlled terminology.
    Dicom,
    /// NCI Thesaurus.
    NciThesaurus,
    /// Race and ethnicity, CDC.
    CdcRec,
    /// Countries.
    Iso3166,
    /// Languages.
    Iso639,
    /// Abbreviations of laboratory tests and vital signs that everybody uses, whatever system stands beside
    /// them.
    Mnemonic,
    /// The HL7 table of the number in the system's name: `HL70078`.
    Hl7Table,
}

/// Every system: its name in a policy, itself, and what senders call it (upper case).
const SYSTEMS: [(&str, System, &[&str]); 21] = [
    ("LN", System::Loinc, &["LN", "LOINC", "LNC", "2.16.840.1.113883.6.1", "HTTP://LOINC.ORG"]),
    (
        "SCT",
        System::SnomedCt,
        &["SCT", "SNOMED", "SNOMED-CT", "SNOMED CT", "SNOMEDCT", "SCT2", "2.16.840.1.113883.6.96"],
    ),
    (
        "I9",
        System::Icd9,
        &[
            "I9",
            "I9C",
            "I9CDX",
            "I9CP",
            "ICD9",
            "ICD-9",
            "ICD9CM",
            "ICD-9-CM",
            "ICD9-CM",
            "2.16.840.1.113883.6.103",
        ],
    ),
    (
        "I10",
        System::Icd10,
        &[
            "I10",
            "I10C",
            "I10P",
            "I10G",
            "ICD10",
            "ICD-10",
            "ICD10CM",
            "ICD-10-CM",
            "ICD10PCS",
            "ICD-10-PCS",
            "ICD10GM",
            "ICD10AM",
            "ICD10CA",
            "ICD10DUT",
            "2.16.840.1.113883.6.90",
            "2.16.840.1.113883.6.4",
        ],
    ),
    ("ICDO", System::IcdO, &["ICDO", "ICDO2", "ICDO3", "ICD-O-3"]),
    ("UCUM", System::Ucum, &["UCUM", "ISO+", "ISO", "ANS+", "ANSI+", "ISOUNIT", "2.16.840.1.113883.6.8"]),
    ("CVX", System::Cvx, &["CVX", "2.16.840.1.113883.12.292"]),
    ("MVX", System::Mvx, &["MVX", "2.16.840.1.113883.12.227"]),
    ("RXNORM", System::RxNorm, &["RXNORM", "RXN", "RXCUI", "2.16.840.1.113883.6.88"]),
    ("NDC", System::Ndc, &["NDC", "NDCA", "2.16.840.1.113883.6.69"]),
    ("C4", System::Cpt, &["C4", "C5", "CPT", "CPT4", "CPT-4", "CPTM", "2.16.840.1.113883.6.12"]),
    ("HCPCS", System::Hcpcs, &["HCPCS", "HPC", "HPCS", "HCPT"]),
    ("ATC", System::Atc, &["ATC", "WC"]),
    ("MDC", System::Mdc, &["MDC"]),
    ("DCM", System::Dicom, &["DCM"]),
    ("NCI", System::NciThesaurus, &["NCI", "NCIT"]),
    ("CDCREC", System::CdcRec, &["CDCREC", "2.16.840.1.113883.6.238"]),
    ("ISO3166", System::Iso3166, &["ISO3166", "ISO3166_1", "ISO3166_2", "ISO31661", "3166", "3166-1"]),
    ("ISO639", System::Iso639, &["ISO639", "ISO639-1", "ISO639-2", "ISO6391", "ISO6392"]),
    ("MNEMONIC", System::Mnemonic, &[]),
    ("HL7", System::Hl7Table, &[]),
];

/// Longest of the names that senders use.
const ALIAS_BYTES_MAX: usize = 40;

/// Systems by what senders call them.
static ALIASES: LazyLock<Map<&'static [u8], System>> = LazyLock::new(|| {
    let aliases = |(_, system, names): &(_, System, &'static [&'static str])| {
        let system = *system;
        names.iter().map(move |name| (name.as_bytes(), system))
    };
    SYSTEMS.iter().flat_map(aliases).collect()
});

impl System {
    /// The system of this name in a policy.
    pub fn named(name: &str) -> Option<Self> {
        SYSTEMS.iter().find(|(n, ..)| *n == name).map(|(_, system, _)| *system)
    }

    /// The name in a policy.
    pub fn name(self) -> &'static str {
        SYSTEMS.iter().find(|(_, system, _)| *system == self).map_or("", |(name, ..)| name)
    }

    /// All names, for a policy's author.
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        SYSTEMS.iter().map(|(name, ..)| *name)
    }

    /// The system that a sender calls so.
    pub fn of(sent: &[u8]) -> Option<Self> {
        let sent = sent.trim_ascii();
        if hl7_table(sent).is_some() {
            return Some(Self::Hl7Table);
        }
        let known = |sent: &[u8]| ALIASES.get(sent).copied();
        known(sent).or_else(|| {
            let is_lower = sent.len() <= ALIAS_BYTES_MAX && sent.iter().any(u8::is_ascii_lowercase);
            is_lower.then(|| known(&sent.to_ascii_uppercase())).flatten()
        })
    }

    /// Whether the code has the syntax of this system. `sent` is the system's name as it was sent.
    pub fn admits(self, code: &[u8], sent: &[u8]) -> bool {
        let listed = |table: &str, code: &[u8]| TABLES.table(table).is_some_and(|t| TABLES.lists(t, code));
        match self {
            Self::Loinc => is_loinc(code),
            Self::SnomedCt => is_sctid(code),
            Self::Icd9 => is_icd9(code),
            Self::Icd10 => is_icd10(code) || is_icd10_pcs(code),
            Self::IcdO => {
                matches(code, b"C99.9")
                    || matches(code, b"C99")
                    || matches(code, b"9999/9")
                    || matches(code, b"C999")
            }
            Self::Ucum => units::is_unit(code),
            Self::Cvx => all(code, 1..=3, u8::is_ascii_digit),
            Self::Mvx => listed("0227", code),
            Self::RxNorm => is_rxnorm(code),
            Self::Ndc => is_ndc(code),
            Self::Cpt => is_cpt(code),
            Self::Hcpcs => code
                .split_first()
                .is_some_and(|(a, rest)| (b'A'..=b'V').contains(a) && matches(rest, b"9999")),
            Self::Atc => {
                ["A", "A99", "A99A", "A99AA", "A99AA99"].iter().any(|shape| matches(code, shape.as_bytes()))
            }
            Self::Mdc => all(code, 1..=6, u8::is_ascii_digit) || is_mdc_reference(code),
            Self::Dicom => matches(code, b"999999"),
            Self::NciThesaurus => {
                code.split_first().is_some_and(|(c, rest)| *c == b'C' && all(rest, 3..=6, u8::is_ascii_digit))
            }
            Self::CdcRec => matches(code, b"9999-9"),
            Self::Iso3166 => listed("iso3166", code),
            Self::Iso639 => listed("iso639", code),
            Self::Mnemonic => listed("mnemonic", code),
            Self::Hl7Table => hl7_table(sent).is_some_and(|table| listed(table, code)),
        }
    }
}

/// The table's number in `HL70078`.
fn hl7_table(sent: &[u8]) -> Option<&str> {
    let number = sent.strip_prefix(b"HL7").or_else(|| sent.strip_prefix(b"hl7"))?;
    let number = number.strip_prefix(b"-").unwrap_or(number);
    std::str::from_utf8(number).ok().filter(|n| n.len() == 4 && n.bytes().all(|b| b.is_ascii_digit()))
}

fn all(code: &[u8], length: std::ops::RangeInclusive<usize>, fits: impl Fn(&u8) -> bool) -> bool {
    length.contains(&code.len()) && code.iter().all(fits)
}

/// A shape in which `9` stands for any digit and `A` for any upper-case letter.
fn matches(code: &[u8], shape: &[u8]) -> bool {
    code.len() == shape.len()
        && code.iter().zip(shape).all(|(byte, shape)| match shape {
            b'9' => byte.is_ascii_digit(),
            b'A' => byte.is_ascii_uppercase(),
            literal => byte == literal,
        })
}

/// `NNNNNN-N`, also `LP` and `LA`. The check digit is not looked at: laboratories mistype it, and their
/// results would be lost.
pub fn is_loinc(code: &[u8]) -> bool {
    let part = code.strip_prefix(b"LP").or_else(|| code.strip_prefix(b"LA")).unwrap_or(code);
    matches!(part, [number @ .., b'-', check] if all(number, 1..=6, u8::is_ascii_digit) && check.is_ascii_digit())
}

/// An SCTID: 6 to 18 digits, a partition of a concept, description or relationship, a Verhoeff check digit
/// (SNOMED CT Editorial Guide, "SCTID").
fn is_sctid(code: &[u8]) -> bool {
    let partition = code.len().checked_sub(3).and_then(|at| code.get(at..at + 2));
    all(code, 6..=18, u8::is_ascii_digit)
        && matches!(partition, Some([b'0' | b'1', b'0' | b'1' | b'2']))
        && code.first() != Some(&b'0')
        && verhoeff(code)
}

fn verhoeff(digits: &[u8]) -> bool {
    // Products of the dihedral group of order ten; a digit at place n is first permuted n times.
    let product = |a: u8, b: u8| match (a < 5, b < 5) {
        (true, true) => (a + b) % 5,
        (true, false) => (a + b - 5) % 5 + 5,
        (false, true) => (a - 5 + 5 - b) % 5 + 5,
        (false, false) => (a + 5 - b) % 5,
    };
    const PERMUTATION: [u8; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
    let mut check = 0;
    for (place, digit) in digits.iter().rev().enumerate() {
        let mut value = digit.wrapping_sub(b'0');
        for _ in 0..place % 8 {
            value = PERMUTATION.get(usize::from(value)).copied().unwrap_or_default();
        }
        check = product(check, value);
    }
    check == 0
}

fn is_icd9(code: &[u8]) -> bool {
    let (head, tail) = match code.iter().position(|b| *b == b'.') {
        Some(at) => (code.get(..at).unwrap_or_default(), code.get(at + 1..).unwrap_or_default()),
        None => match code.first() {
            Some(b'E') => code.split_at_checked(4).unwrap_or((code, b"")),
            _ => code.split_at_checked(3).unwrap_or((code, b"")),
        },
    };
    let head_fits = ["999", "V99", "E999", "99"].iter().any(|shape| matches(head, shape.as_bytes()));
    head_fits && all(tail, 0..=2, u8::is_ascii_digit)
}

fn is_icd10(code: &[u8]) -> bool {
    let Some((head, tail)) = code.split_at_checked(3) else { return false };
    let tail = tail.strip_prefix(b".").unwrap_or(tail);
    let head_fits = matches!(head, [letter, digit, last]
        if letter.is_ascii_uppercase() && digit.is_ascii_digit() && (last.is_ascii_digit() || matches!(last, b'A' | b'B')));
    // X holds a place; of other letters the longest tails have two.
    let letters = tail.iter().filter(|b| b.is_ascii_uppercase() && **b != b'X').count();
    head_fits && letters <= 2 && all(tail, 0..=4, |b| b.is_ascii_digit() || b.is_ascii_uppercase())
}

/// Seven characters without I and O, two digits at least: no name.
fn is_icd10_pcs(code: &[u8]) -> bool {
    all(code, 7..=7, |b| b.is_ascii_digit() || b.is_ascii_uppercase() && !matches!(b, b'I' | b'O'))
        && code.iter().filter(|b| b.is_ascii_digit()).count() >= 2
        && !code.iter().all(u8::is_ascii_digit)
}

/// An RXCUI: a number that counts up, from two digits to [`RXCUI_MAX`], without zeros before it (RxNorm Technical
/// Documentation, "RXCUI"). A medical record number of seven digits has three chances in ten.
fn is_rxnorm(code: &[u8]) -> bool {
    all(code, 2..=7, u8::is_ascii_digit) && code.first() != Some(&b'0') && number(code) <= RXCUI_MAX
}

/// Where the codes of category I stand (CPT, sections of the tabular list): anaesthesia, surgery, radiology, laboratory,
/// medicine with evaluation and management.
const CPT_SECTIONS: [(u32, u32); 6] =
    [(100, 1_999), (10_004, 69_990), (70_010, 79_999), (80_047, 89_398), (90_281, 99_499), (99_500, 99_607)];

/// Category I by its sections; II (`F`), III (`T`), laboratory analyses (`U`) and administrative ones (`M`) by their letter and
/// how far each has got.
fn is_cpt(code: &[u8]) -> bool {
    if matches(code, b"99999") {
        return CPT_SECTIONS.iter().any(|(first, last)| (*first..=*last).contains(&number(code)));
    }
    let Some((letter, head)) = code.split_last().filter(|(_, head)| matches(head, b"9999")) else {
        return false;
    };
    match (letter, number(head)) {
        (b'F', n) => (1..=9_007).contains(&n),
        (b'T', n) => (1..=1_999).contains(&n),
        (b'U', n) => (1..=999).contains(&n),
        (b'M', n) => (1..=99).contains(&n),
        _ => false,
    }
}

/// Digits alone, few enough for a `u32`.
fn number(digits: &[u8]) -> u32 {
    digits.iter().fold(0, |n: u32, d| n.saturating_mul(10).saturating_add(u32::from(d.wrapping_sub(b'0'))))
}

fn is_ndc(code: &[u8]) -> bool {
    [
        "9999-9999-99",
        "99999-999-99",
        "99999-9999-9",
        "99999-9999-99",
        "99999999999",
        "9999-9999",
        "99999-999",
        "99999-9999",
        // Ten digits without hyphens are also a telephone number; but no area begins with 0.
        "0999999999",
    ]
    .iter()
    .any(|shape| matches(code, shape.as_bytes()))
}

/// `MDC_PULS_OXIM_SAT_O2`, also qualified by one supplemental type: `MDC_PULS_OXIM_SAT_O2/MDC_MODALITY_FAST`.
pub(crate) fn is_mdc_reference(code: &[u8]) -> bool {
    let one = |code: &[u8]| {
        code.strip_prefix(b"MDC_").is_some_and(|rest| {
            all(rest, 3..=60, |b| b.is_ascii_uppercase() || b.is_ascii_digit() || *b == b'_')
                && rest.iter().filter(|b| b.is_ascii_digit()).count() <= 4
        })
    };
    let mut parts = code.splitn(2, |b| *b == b'/');
    parts.next().is_some_and(one) && parts.next().is_none_or(one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_the_syntax_of_their_system() {
        for (system, good) in [
            ("LN", "718-7 30525-0 LP6464-4 104867-5"),
            ("SCT", "22298006 73211009 38341003 271649006 44054006 195967001 900000000000207008"),
            ("I9", "250.00 V70.0 E812.0 25000 401.9 99.29"),
            ("I10", "E11.9 I10 S72.001A J45.909 E119 0FT44ZZ C7A.00 S72.XXXA M80.0AXA"),
            ("UCUM", "mg/dL mm[Hg]"),
            ("CVX", "08 141"),
            ("MVX", "MSD PMC"),
            ("RXNORM", "161 197361 1049221 2605948"),
            ("NDC", "0002-1433-80 00002143380"),
            ("C4", "00100 99213 80053 36415 0001F 9007F 0042T 0240U 0004M"),
            ("HCPCS", "J1885"),
            ("ATC", "A10BA02"),
            ("MDC", "150456 MDC_PULS_OXIM_SAT_O2 MDC_PULS_OXIM_SAT_O2/MDC_MODALITY_FAST"),
            ("CDCREC", "2106-3"),
            ("ISO3166", "US USA"),
            ("ISO639", "en eng"),
        ] {
            let known = System::of(system.as_bytes()).unwrap();
            assert_eq!(System::named(system), Some(known));
            for code in good.split(' ') {
                assert!(known.admits(code.as_bytes(), system.as_bytes()), "{system} {code}");
            }
            for bad in [
                "SMITH",
                "JOHN",
                "Doe",
                "555-12-3456",
                "555-555-1234",
                "19620210",
                "A1234567",
                "MRN00123",
                "",
                "a@b.c",
                "A12SMIT",
                "MDC_PULS_OXIM_SAT_O2/SMITH",
                "MDC_PULS_OXIM_SAT_O2/MDC_MODALITY_FAST/MDC_MODALITY_SLOW",
            ] {
                assert!(!known.admits(bad.as_bytes(), system.as_bytes()), "{system} {bad}");
            }
        }
        assert!(System::Hl7Table.admits(b"H", b"HL70078") && !System::Hl7Table.admits(b"SMITH", b"HL70078"));
        assert_eq!(System::of(b"HL70078"), Some(System::Hl7Table));
        assert_eq!(System::of(b"L"), None);
        assert_eq!(System::of(b"99LAB"), None);
    }

    /// Record numbers, postal codes and numbers with zeros before them.
    #[test]
    fn numbers_of_something_else_are_no_drugs_and_no_procedures() {
        for (system, bad) in [
            ("RXNORM", "0 7 0044521 044521 3000000 7700123 5553125 12345678 1e5"),
            (
                "C4",
                "00000 00099 02139 05401 10001 69991 70001 80001 89999 90210 99608 99999 9008F 0000T 1000U 0100M 0001X 1234",
            ),
        ] {
            let known = System::named(system).unwrap();
            for code in bad.split(' ') {
                assert!(!known.admits(code.as_bytes(), b""), "{system} {code}");
            }
        }
    }

    #[test]
    fn a_wrong_check_digit_is_noticed() {
        let right = b"22298006";
        for wrong in b'0'..=b'9' {
            let mut code = right.to_vec();
            code[7] = wrong;
            assert_eq!(is_sctid(&code), wrong == b'6', "{wrong}");
        }
    }

    #[test]
    fn no_alias_is_longer_than_any_may_be() {
        assert!(ALIASES.keys().all(|alias| alias.len() <= ALIAS_BYTES_MAX));
        assert_eq!(System::of(b" snomed ct "), Some(System::SnomedCt));
    }

    #[test]
    fn every_system_has_one_name() {
        for name in System::names() {
            assert_eq!(System::named(name).map(System::name), Some(name));
        }
    }
}
