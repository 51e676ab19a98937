//! What the endpoint says of itself.

use fhir::definitions::definitions;
use serde_json::{Value, json};

/// When what is said here changed last.
const CHANGED: &str = "2026-11-25";
const SECURITY_SERVICES: &str = "http://terminology.hl7.org/CodeSystem/restful-security-service";
const VALIDATE: &str = "http://hl7.org/fhir/OperationDefinition/Resource-validate";

/// The CapabilityStatement (R4 "5.2").
pub(super) fn statement(url: Option<&str>, tokens: bool, certificates: bool) -> String {
    let resource = |name: &str| {
        json!({
            "type": name,
            "interaction": [{"code": "create"}, {"code": "update"}],
            "versioning": "no-version",
            "readHistory": false,
            "updateCreate": true,
            "conditionalCreate": false,
            "conditionalUpdate": false,
            "operation": [{"name": "validate", "definition": VALIDATE}],
        })
    };
    let mut services = Vec::new();
    if tokens {
        services.push(json!({"coding": [{"system": SECURITY_SERVICES, "code": "SMART-on-FHIR"}]}));
    }
    if certificates {
        services.push(json!({"coding": [{"system": SECURITY_SERVICES, "code": "Certificates"}]}));
    }
    let mut security = json!({
        "cors": false,
        "description": "Mutual TLS, or SMART backend services: see .well-known/smart-configuration.",
    });
    if !services.is_empty() {
        set(&mut security, "service", services.into());
    }
    let mut implementation =
        json!({"description": "A Wardgate gateway: takes in, and answers when it is durable."});
    if let Some(url) = url {
        set(&mut implementation, "url", format!("{url}/fhir").into());
    }
    let resources: Vec<Value> = definitions().resources().map(resource).collect();
    json!({
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": CHANGED,
        "kind": "instance",
        "software": {"name": "Wardgate", "version": env!("CARGO_PKG_VERSION")},
        "implementation": implementation,
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json", "json"],
        "rest": [{
            "mode": "server",
            "documentation": "Nothing can be read here. A positive status means that the bytes are on the disk, synced.",
            "security": security,
            "resource": resources,
            "interaction": [{"code": "transaction"}, {"code": "batch"}],
            "operation": [{"name": "validate", "definition": VALIDATE}],
        }],
    })
    .to_string()
}

/// SMART's configuration (SMART App Launch 2.2, "Conformance").
pub(super) fn smart(token_endpoint: &str) -> String {
    json!({
        "token_endpoint": token_endpoint,
        "grant_types_supported": ["client_credentials"],
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": ["RS384", "ES384"],
        "scopes_supported": ["system/*.write", "system/*.cu"],
        "capabilities": ["client-confidential-asymmetric", "permission-v1", "permission-v2"],
    })
    .to_string()
}

fn set(object: &mut Value, name: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(name.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Scope;

    #[test]
    fn the_statement_is_a_valid_resource() {
        for (url, tokens, certificates) in [(None, false, false), (Some("https://h:8444"), true, true)] {
            let text = statement(url, tokens, certificates);
            let report = fhir::validate::validate(text.as_bytes());
            assert!(report.issues.is_empty(), "{:?}", report.issues);
            assert_eq!(report.resource_type, Some("CapabilityStatement"));
        }
    }

    #[test]
    fn the_scopes_that_are_named_can_be_had() {
        let smart: Value = serde_json::from_str(&smart("https://h/token")).unwrap();
        for scope in smart["scopes_supported"].as_array().unwrap() {
            assert!(Scope::parse(scope.as_str().unwrap()).is_some());
        }
    }
}
