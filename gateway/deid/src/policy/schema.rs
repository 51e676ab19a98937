//! The JSON Schema of the policy language, for editors and whoever writes policies by program. The compiler knows more: a policy
//! that fits the schema may still not compile.

use serde_json::{Map, Value, json};

use super::section::{LIST_LENGTH_MAX, LISTED_BYTES_MAX};
use super::text::ACKNOWLEDGED;
use super::{Label, floor};
use crate::codes::System;
use crate::rules::Rule;
use crate::sensitive::Category;
use crate::tables::{TABLES, TypeId};

/// A field of HL7 v2, as in `PID-3`.
const FIELD: &str = "^[A-Z][A-Z0-9]{2}-[1-9][0-9]*$";
const TIMES: [&str; 3] = ["remove", "year", "instant"];
const TEXTS: [&str; 2] = ["remove", "keep"];
const TEXTS_OR_TOKENS: [&str; 3] = ["remove", "keep", "token"];
const MODES: [&str; 3] = ["block", "coded-only", "scrub"];
const MODES_OF_PROSE: [&str; 2] = ["block", "scrub"];

/// The schema (draft 2020-12) of a policy, as published in `docs/policy.schema.json`.
pub fn policy_schema() -> Value {
    let labels = Label::ALL.map(Label::as_str);
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Policy",
        "description": "What a destination may have. The language is described in docs/policies.md.",
        "type": "object",
        "additionalProperties": false,
        "required": ["language", "label", "payload", "envelope", "observations"],
        "properties": {
            "language": { "const": 1 },
            "label": { "description": "What the policy claims to be.", "enum": labels },
            "determination": of_determination(),
            "payload": section(&[("hl7", one_of(&["rules", "verbatim"]))], &["hl7"], "What becomes of HL7 v2."),
            "types": of_types(),
            "fields": {
                "description": "Rules for single fields, which go before those of their types.",
                "type": "object",
                "patternProperties": { FIELD: one_of(&Rule::NAMED.map(|(name, _)| name)) },
                "additionalProperties": false,
            },
            "listed": {
                "description": "Values that a field keeps, word for word.",
                "type": "object",
                "patternProperties": { FIELD: list() },
                "additionalProperties": false,
            },
            "codes": section(
                &[
                    ("systems", json!({ "type": "array", "items": { "enum": System::names().collect::<Vec<_>>() } })),
                    ("local", json!({ "type": "object", "additionalProperties": list() })),
                ],
                &[],
                "Codes that pass.",
            ),
            "authorities": {
                "description": "Names of one assigning authority.",
                "type": "object",
                "additionalProperties": list(),
            },
            "ages": section(&[("over_89", one_of(&["cap", "keep"]))], &["over_89"], "Ages over 89."),
            "fhir": section(
                &[
                    ("dates", one_of(&["remove", "year", "date-shift", "keep"])),
                    ("patients", one_of(&["identifier", "id"])),
                    ("addresses", one_of(&["remove", "state-zip3", "city-state-zip"])),
                    ("identifiers", one_of(&["remove", "token", "vault"])),
                    ("ids", one_of(&["number", "token", "vault"])),
                ],
                &["dates", "addresses", "identifiers", "ids"],
                "What becomes of FHIR; without this section it is held.",
            ),
            "text": section(
                &[
                    ("results", one_of(&MODES)),
                    ("notes", one_of(&MODES)),
                    ("strings", one_of(&MODES)),
                    ("narratives", one_of(&MODES_OF_PROSE)),
                    ("documents", one_of(&MODES_OF_PROSE)),
                    ("replace_by", one_of(&["tag", "surrogate"])),
                    ("acknowledged", json!({ "const": ACKNOWLEDGED })),
                    (
                        "fields",
                        json!({
                            "type": "object",
                            "patternProperties": { FIELD: one_of(&MODES) },
                            "additionalProperties": false,
                        }),
                    ),
                ],
                &[],
                "What becomes of free text; without this section it is removed.",
            ),
            "sensitive": section(
                &Category::ALL.map(|(name, ..)| (name, one_of(&["pass", "tag", "hold"]))),
                &[],
                "What becomes of records whose codes are of a sensitive category.",
            ),
            "envelope": section(
                &[
                    ("received_at", one_of(&TIMES)),
                    ("peer", one_of(&TEXTS)),
                    ("channel", one_of(&TEXTS)),
                    ("control_id", one_of(&TEXTS_OR_TOKENS)),
                ],
                &["received_at", "peer", "channel", "control_id"],
                "What becomes of what stands beside the payload.",
            ),
            "observations": section(
                &[("device", one_of(&TEXTS_OR_TOKENS)), ("times", one_of(&TIMES)), ("raw", one_of(&TEXTS))],
                &["device", "times", "raw"],
                "What becomes of values of devices.",
            ),
        },
        "allOf": Label::ALL.map(of_label),
    })
}

/// What a label forbids and asks for.
fn of_label(label: Label) -> Value {
    let forbidden: Vec<_> = Rule::NAMED
        .iter()
        .filter(|(_, rule)| floor::forbids(label, *rule).is_some())
        .map(|(name, _)| name)
        .collect();
    let mut sections = Map::new();
    if !forbidden.is_empty() {
        let none = json!({ "additionalProperties": { "not": { "enum": forbidden } } });
        sections.insert("types".to_owned(), none.clone());
        sections.insert("fields".to_owned(), none);
    }
    if label == Label::SafeHarbor {
        sections.insert("ages".to_owned(), json!({ "properties": { "over_89": { "const": "cap" } } }));
    }
    let is_expert = label == Label::ExpertDetermination;
    if !is_expert {
        sections.insert("determination".to_owned(), json!(false));
    }
    let required: &[&str] = if is_expert { &["determination"] } else { &[] };
    json!({
        "if": { "properties": { "label": { "const": label.as_str() } } },
        "then": { "properties": sections, "required": required },
    })
}

fn of_determination() -> Value {
    let words = json!({ "type": "string", "minLength": 1, "maxLength": LISTED_BYTES_MAX });
    let day = |what: &str| json!({ "description": what, "format": "date" });
    section(
        &[
            ("by", words.clone()),
            ("on", day("The day of the determination, as a date of TOML.")),
            ("reference", words),
            ("expires", day("The last day on which it holds, as a date of TOML.")),
        ],
        &["by", "on", "reference", "expires"],
        "What the label expert-determination rests on (45 CFR 164.514(b)(1)).",
    )
}

/// For each data type the rules that fit it.
fn of_types() -> Value {
    let fitting = |id: TypeId| {
        let fits = Rule::NAMED.iter().filter(|(_, rule)| rule.fits_type(id)).map(|(name, _)| *name);
        one_of(&fits.collect::<Vec<_>>())
    };
    let types: Map<String, Value> =
        (0..).zip(&TABLES.types).map(|(id, t)| (t.name.to_owned(), fitting(id))).collect();
    json!({
        "description": "A rule for each data type of HL7 v2; types that are not listed are removed.",
        "type": "object",
        "properties": types,
        "additionalProperties": false,
    })
}

fn section(keys: &[(&str, Value)], required: &[&str], what: &str) -> Value {
    let keys: Map<String, Value> =
        keys.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    json!({
        "description": what,
        "type": "object",
        "properties": keys,
        "required": required,
        "additionalProperties": false,
    })
}

fn one_of(names: &[&str]) -> Value {
    json!({ "enum": names })
}

fn list() -> Value {
    json!({
        "type": "array",
        "maxItems": LIST_LENGTH_MAX,
        "items": { "type": "string", "minLength": 1, "maxLength": LISTED_BYTES_MAX },
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::Policy;

    /// The published schema is the one that the code means. `UPDATE=1 cargo test -p wardgate-deid schema` writes it.
    #[test]
    fn the_published_schema_is_current() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/policy.schema.json");
        let current = format!("{}\n", serde_json::to_string_pretty(&policy_schema()).unwrap());
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &current).unwrap();
        }
        let published = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(published == current, "run UPDATE=1 cargo test -p wardgate-deid schema");
    }

    /// Of every key of the schema, what the compiler says of this value: by path and message.
    fn said(section: &str, key: &str, value: &str) -> Vec<(String, String)> {
        let label = if section == "determination" { "expert-determination" } else { "treatment" };
        // Of patients something is said only where their dates move.
        let beside = if key == "patients" { "dates = \"date-shift\"\n" } else { "" };
        let policy = format!("language = 1\nlabel = \"{label}\"\n[{section}]\n{beside}{key} = {value}\n");
        let error = Policy::compile("x", &policy, model::Timestamp::default()).unwrap_err();
        error.mistakes.into_iter().map(|mistake| (mistake.path, mistake.message)).collect()
    }

    #[test]
    fn keys_and_values_are_those_that_the_compiler_takes() {
        let schema = policy_schema();
        let properties = schema["properties"].as_object().unwrap();
        assert_eq!(
            properties.keys().map(String::as_str).collect::<std::collections::BTreeSet<_>>(),
            crate::policy::compile::KEYS.into_iter().collect()
        );
        let mut values = 0;
        for (section, of_section) in properties {
            let Some(keys) = of_section["properties"].as_object() else { continue };
            assert!(
                section == "types" || said(section, "zzz", "1").iter().any(|(_, m)| m == "unknown key"),
                "{section} takes any key"
            );
            for (key, of_key) in keys {
                let path = format!("{section}.{key}");
                let unknown = |(at, message): &(String, String)| *at == path && message.contains("unknown");
                assert!(!said(section, key, "\"\"").iter().any(unknown), "{path} is unknown");
                let Some(names) = of_key["enum"].as_array() else { continue };
                let refused = |(at, message): &(String, String)| {
                    let why = ["not one of its values", "no rule"].iter().any(|why| message.contains(why));
                    *at == path && why
                };
                for name in names {
                    values += 1;
                    assert!(!said(section, key, &name.to_string()).iter().any(refused), "{path} = {name}");
                }
                assert!(said(section, key, "\"zzz\"").iter().any(refused), "{path} takes anything");
            }
        }
        assert!(values > 150, "{values}");
    }

    /// What ships fits, as far as names and their values go.
    #[test]
    fn the_shipped_policies_fit() {
        let schema = policy_schema();
        for text in [
            include_str!("../../policies/treatment.toml"),
            include_str!("../../policies/safe-harbor.toml"),
            include_str!("../../policies/limited-data-set.toml"),
            include_str!("../../policies/expert-determination.toml"),
        ] {
            let policy: Map<String, Value> = toml::from_str(text).unwrap();
            for (section, value) in &policy {
                let of_section = &schema["properties"][section];
                assert!(of_section.is_object(), "{section}");
                for (key, value) in value.as_object().into_iter().flatten() {
                    let of_key =
                        of_section["properties"].get(key).or(of_section["patternProperties"].get(FIELD));
                    let of_key = of_key.unwrap_or_else(|| panic!("{section}.{key}"));
                    let names = of_key["enum"].as_array();
                    assert!(names.is_none_or(|names| names.contains(value)), "{section}.{key} = {value}");
                }
            }
            for required in schema["required"].as_array().unwrap() {
                assert!(policy.contains_key(required.as_str().unwrap()), "{required}");
            }
        }
    }
}
