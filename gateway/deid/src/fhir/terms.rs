//! Codes as FHIR names their systems: by address.
//!
//! A code passes where the policy allows its system and the system knows the code or gives it a syntax ([`codes`]), where a
//! value set of the R4 definitions or `data/fhir-codes.txt` lists it, or where the policy lists it for a system of the site.
//! Systems of HL7's own count as `HL7` in a policy.

use std::sync::LazyLock;

use fhir::definitions::definitions;

use crate::codes::System;
use crate::fnv::Map;
use crate::policy::Compiled;

/// Part of every policy's hash.
pub(crate) const SOURCE: &str = include_str!("../../data/fhir-codes.txt");
/// HL7's tables of version 2.
const V2_TABLES: &str = "http://terminology.hl7.org/CodeSystem/v2-";
/// Systems by their addresses, with the name by which their codes are judged.
const ADDRESSES: [(&str, System); 26] = [
    ("http://loinc.org", System::Loinc),
    ("http://snomed.info/sct", System::SnomedCt),
    ("http://unitsofmeasure.org", System::Ucum),
    ("http://hl7.org/fhir/sid/icd-9-cm", System::Icd9),
    ("http://hl7.org/fhir/sid/icd-10", System::Icd10),
    ("http://hl7.org/fhir/sid/icd-10-cm", System::Icd10),
    ("http://www.cms.gov/Medicare/Coding/ICD10", System::Icd10),
    ("http://hl7.org/fhir/sid/icd-o-3", System::IcdO),
    ("http://hl7.org/fhir/sid/cvx", System::Cvx),
    ("http://hl7.org/fhir/sid/mvx", System::Mvx),
    ("http://hl7.org/fhir/sid/ndc", System::Ndc),
    ("http://www.nlm.nih.gov/research/umls/rxnorm", System::RxNorm),
    ("http://www.ama-assn.org/go/cpt", System::Cpt),
    ("https://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets", System::Hcpcs),
    ("http://www.whocc.no/atc", System::Atc),
    ("urn:iso:std:iso:11073:10101", System::Mdc),
    ("http://dicom.nema.org/resources/ontology/DCM", System::Dicom),
    ("http://ncithesaurus-stage.nci.nih.gov", System::NciThesaurus),
    ("http://ncicb.nci.nih.gov/xml/owl/EVS/Thesaurus.owl", System::NciThesaurus),
    ("urn:oid:2.16.840.1.113883.6.238", System::CdcRec),
    ("urn:oid:2.16.840.1.113883.6.1", System::Loinc),
    ("urn:oid:2.16.840.1.113883.6.96", System::SnomedCt),
    ("urn:oid:2.16.840.1.113883.6.88", System::RxNorm),
    ("urn:iso:std:iso:3166", System::Iso3166),
    ("urn:iso:std:iso:3166:-2", System::Iso3166),
    ("urn:ietf:bcp:47", System::Iso639),
];

static BY_ADDRESS: LazyLock<Map<&'static str, System>> = LazyLock::new(|| ADDRESSES.into_iter().collect());

/// What `data/fhir-codes.txt` lists, by system.
static LISTED: LazyLock<Map<&'static str, Vec<&'static str>>> = LazyLock::new(|| {
    let lines = SOURCE.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once(' ')).map(|(s, codes)| (s, codes.split(' ').collect())).collect()
});

/// The coding system of this address.
pub(crate) fn system(address: &str) -> Option<System> {
    BY_ADDRESS.get(address).copied()
}

/// Whether somebody vouches for the code, so that it may pass.
pub(super) fn vouches(policy: &Compiled, system: &str, code: &str) -> bool {
    if system.is_empty() || code.is_empty() {
        return false;
    }
    if let Some(known) = BY_ADDRESS.get(system) {
        // `en-US` is a language and a country.
        let code = if *known == System::Iso639 { code.split('-').next().unwrap_or_default() } else { code };
        return policy.systems.contains(known)
            && (known.admits(code.as_bytes(), b"") || is_listed(system, code));
    }
    if let Some(codes) = policy.local_codes.get(system.as_bytes()) {
        return codes.contains(code.as_bytes());
    }
    policy.systems.contains(&System::Hl7Table) && is_of_hl7(system, code)
}

/// Whether the whole of a language tag is one: `en-US`, not `en-SMITH`.
pub(super) fn is_language(tag: &str) -> bool {
    let (language, country) = tag.split_once('-').unwrap_or((tag, ""));
    System::Iso639.admits(language.as_bytes(), b"")
        && (country.is_empty() || System::Iso3166.admits(country.as_bytes(), b""))
}

fn is_of_hl7(system: &str, code: &str) -> bool {
    let table = system.strip_prefix(V2_TABLES).map(|number| format!("HL7{number}"));
    table.is_some_and(|sent| System::Hl7Table.admits(code.as_bytes(), sent.as_bytes()))
        || definitions().knows(system, code)
        || is_listed(system, code)
}

fn is_listed(system: &str, code: &str) -> bool {
    LISTED.get(system).is_some_and(|codes| codes.iter().any(|listed| is_as_listed(code, listed)))
}

fn is_as_listed(code: &str, listed: &str) -> bool {
    code.len() == listed.len()
        && code.bytes().zip(listed.bytes()).all(|(b, l)| if l == b'9' { b.is_ascii_digit() } else { b == l })
}
