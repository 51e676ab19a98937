//! FHIR R4 AuditEvent (`hl7.org/fhir/R4/auditevent.html`).

use serde_json::{Map, Value, json};

use super::{Exported, codes, name};

const DCM: &str = "http://dicom.nema.org/resources/ontology/DCM";
const ACTION_SYSTEM: &str = "urn:wardgate:audit:action";
const USER_SYSTEM: &str = "urn:wardgate:audit:actor";
const GATEWAY_SYSTEM: &str = "urn:wardgate:gateway";
const SOURCE_TYPES: &str = "http://terminology.hl7.org/CodeSystem/security-source-type";
const OBJECT_TYPES: &str = "http://terminology.hl7.org/CodeSystem/audit-entity-type";

/// One AuditEvent. Its id is the entry's number; the leaf's hash is among the details, so that it can be proven.
pub fn audit_event(exported: &Exported<'_>) -> Value {
    let Exported { gateway, index, leaf, entry } = exported;
    let event = &entry.event;
    let codes = codes(event.action);
    let mut subtype = Vec::new();
    if let Some(kind) = codes.kind {
        subtype.push(json!({"system": DCM, "code": kind.code, "display": kind.meaning}));
    }
    subtype.push(json!({"system": ACTION_SYSTEM, "code": name(event.action)}));
    let mut details = Vec::new();
    // A value of FHIR is never empty.
    for (kind, value) in [
        ("detail", event.detail.clone()),
        ("leaf-index", index.to_string()),
        ("leaf-sha256", leaf.to_string()),
    ] {
        if !value.trim().is_empty() {
            details.push(json!({"type": kind, "valueString": value}));
        }
    }
    let entity_type = if codes.is_record { ("4", "Other") } else { ("2", "System Object") };
    let mut entity = Map::new();
    entity.insert(
        "type".to_owned(),
        json!({"system": OBJECT_TYPES, "code": entity_type.0, "display": entity_type.1}),
    );
    if !event.subject.trim().is_empty() {
        entity.insert("name".to_owned(), json!(event.subject));
    }
    entity.insert("detail".to_owned(), Value::Array(details));
    let actor = if event.actor.trim().is_empty() { "unknown" } else { event.actor.as_str() };
    let mut resource = json!({
        "resourceType": "AuditEvent",
        "id": format!("{gateway}-{index}"),
        "type": {"system": DCM, "code": codes.event.code, "display": codes.event.meaning},
        "subtype": subtype,
        "action": codes.action.to_string(),
        "recorded": event.at.to_string(),
        "outcome": codes.outcome.to_string(),
        "agent": [{
            "who": {"identifier": {"system": USER_SYSTEM, "value": actor}, "display": actor},
            "name": actor,
            "requestor": true,
        }],
        "source": {
            "observer": {
                "identifier": {"system": GATEWAY_SYSTEM, "value": gateway.as_str()},
                "display": gateway.as_str(),
            },
            "type": [{"system": SOURCE_TYPES, "code": "4", "display": "Application Server"}],
        },
        "entity": [entity],
    });
    if codes.outcome != 0
        && !event.detail.trim().is_empty()
        && let Some(resource) = resource.as_object_mut()
    {
        resource.insert("outcomeDesc".to_owned(), json!(event.detail));
    }
    resource
}
