//! SMART backend services, step by step and with every step wrong once.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use serde_json::{Value, json};

use super::support::*;

struct Client {
    key: EcdsaKeyPair,
    dir: tempfile::TempDir,
    id: &'static str,
}

impl Client {
    fn new(id: &'static str) -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let client = Self { key, dir, id };
        std::fs::write(client.jwks(), json!({"keys": [client.jwk()]}).to_string()).unwrap();
        client
    }

    fn jwks(&self) -> std::path::PathBuf {
        self.dir.path().join("jwks.json")
    }

    fn jwk(&self) -> Value {
        let point = self.key.public_key().as_ref();
        json!({"kty": "EC", "crv": "P-384", "kid": "k1", "use": "sig", "alg": "ES384",
            "x": BASE64.encode(&point[1..49]), "y": BASE64.encode(&point[49..])})
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| BASE64.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", BASE64.encode(signature))
    }

    fn claims(&self, jti: &str) -> Value {
        json!({"iss": self.id, "sub": self.id, "aud": "http://h:1/token", "exp": NOW_S + 240, "jti": jti})
    }

    fn assertion(&self, jti: &str) -> String {
        self.sign(&json!({"alg": "ES384", "kid": "k1", "typ": "JWT"}), &self.claims(jti))
    }

    fn config(&self, scopes: &str) -> String {
        let (id, jwks) = (self.id, self.jwks());
        format!(
            "url = \"http://h:1\"\n[[client]]\nid = \"{id}\"\njwks = \"{}\"\nscopes = {scopes}\n",
            jwks.display()
        )
    }
}

async fn token(bed: &Bed, assertion: &str, scope: &str) -> Answer {
    let kind = "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
    let form = format!(
        "grant_type=client_credentials&scope={}&client_assertion_type={kind}&client_assertion={assertion}",
        scope.replace(' ', "+").replace('/', "%2F").replace('*', "%2A")
    );
    bed.send("POST /token", "Content-Type: application/x-www-form-urlencoded\r\n", &form).await
}

async fn with(bed: &Bed, token: &str, line: &str, body: &str) -> Answer {
    let headers = format!("Content-Type: application/json\r\nAuthorization: Bearer {token}\r\n");
    bed.send(line, &headers, body).await
}

#[tokio::test]
async fn a_client_gets_a_token_and_writes_with_it() {
    let client = Client::new("lab-system");
    let bed = bed(&client.config("[\"system/*.write\"]")).await;
    assert_eq!(
        bed.post("POST /fhir/Patient", PATIENT).await.header("www-authenticate"),
        Some("Bearer realm=\"fhir\"")
    );
    let smart = bed.send("GET /fhir/.well-known/smart-configuration", "", "").await;
    assert_eq!(smart.json()["token_endpoint"], "http://h:1/token");
    let given = token(&bed, &client.assertion("1"), "system/*.write openid system/Patient.rs").await;
    assert_eq!(given.status, 200, "{}", given.body);
    assert_eq!(given.header("cache-control"), Some("no-store"));
    let given = given.json();
    assert_eq!((&given["scope"], &given["expires_in"]), (&json!("system/*.write"), &json!(300)));
    let answer = with(&bed, given["access_token"].as_str().unwrap(), "POST /fhir/Patient", PATIENT).await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (201, Some("http://h:1/fhir/Patient/clinical-1-1"))
    );
    assert_eq!(bed.memory.peers(), ["lab-system"]);
}

#[tokio::test]
async fn every_fault_of_an_assertion_is_refused() {
    let client = Client::new("lab-system");
    let stranger = Client::new("lab-system");
    let unknown = Client::new("nobody");
    let bed = bed(&client.config("[\"system/*.write\"]")).await;
    let header = json!({"alg": "ES384", "kid": "k1", "typ": "JWT"});
    let claims = |name: &str, value: Value| {
        let mut claims = client.claims("fault");
        claims[name] = value;
        client.sign(&header, &claims)
    };
    let headed = |header: Value| client.sign(&header, &client.claims("fault"));
    let good = client.assertion("good");
    let bare = |header: Value| {
        let text = headed(header);
        text.rsplit_once('.').unwrap().0.to_owned() + "."
    };
    let mut changed = good.clone();
    changed.replace_range(
        good.len() - 4..good.len() - 3,
        if good.as_bytes()[good.len() - 4] == b'A' { "B" } else { "A" },
    );
    let faults = [
        ("signed by another", stranger.assertion("1")),
        ("of somebody unknown", unknown.assertion("1")),
        ("changed", changed),
        ("unsigned", bare(json!({"alg": "none"}))),
        ("alg none with a signature", headed(json!({"alg": "none"}))),
        ("HMAC", headed(json!({"alg": "HS384", "kid": "k1"}))),
        ("another alg", headed(json!({"alg": "RS384", "kid": "k1"}))),
        ("an unknown key", headed(json!({"alg": "ES384", "kid": "k2"}))),
        ("a critical extension", headed(json!({"alg": "ES384", "kid": "k1", "crit": ["x"]}))),
        ("expired", claims("exp", json!(NOW_S - 61))),
        ("too long", claims("exp", json!(NOW_S + 361))),
        ("for ever", claims("exp", json!(1e300))),
        ("of the future", claims("nbf", json!(NOW_S + 61))),
        ("for another", claims("aud", json!("https://other/token"))),
        ("for nobody", claims("aud", json!([]))),
        ("of another subject", claims("sub", json!("other"))),
        ("without jti", claims("jti", json!(""))),
        ("no jti", claims("jti", Value::Null)),
        ("no JWT", "x".to_owned()),
        ("empty parts", "..".to_owned()),
        ("too big", format!("{}.{}.x", "a".repeat(9_000), "b")),
    ];
    for (name, assertion) in faults {
        let answer = token(&bed, &assertion, "system/*.write").await;
        let expected = (401, "invalid_client");
        assert_eq!((answer.status, answer.json()["error"].as_str().unwrap()), expected, "{name}");
    }
    // Within the skew, and addressed to several.
    let late = client.sign(&header, &json!({"iss": "lab-system", "sub": "lab-system", "aud": ["http://h:1/token"], "exp": NOW_S - 59, "jti": "late"}));
    assert_eq!(token(&bed, &late, "system/*.write").await.status, 200);
    assert_eq!(token(&bed, &good, "system/*.write").await.status, 200);
    let again = token(&bed, &good, "system/*.write").await;
    assert_eq!(
        (again.status, again.json()["error_description"].as_str()),
        (401, Some("this assertion was used before"))
    );
    for (form, error) in [
        ("grant_type=password", "unsupported_grant_type"),
        ("grant_type=client_credentials", "invalid_request"),
        ("grant_type=client_credentials&grant_type=client_credentials", "invalid_request"),
        ("", "unsupported_grant_type"),
    ] {
        let answer =
            bed.send("POST /token", "Content-Type: application/x-www-form-urlencoded\r\n", form).await;
        assert_eq!((answer.status, answer.json()["error"].as_str()), (400, Some(error)), "{form}");
    }
    assert!(bed.memory.stored().is_empty());
}

#[tokio::test]
async fn a_token_permits_what_its_scopes_say() {
    let client = Client::new("lab-system");
    let bed = bed(&client.config("[\"system/Patient.write\", \"system/Basic.c\"]")).await;
    let wide = token(&bed, &client.assertion("1"), "system/*.write").await;
    assert_eq!((wide.status, wide.json()["error"].as_str()), (400, Some("invalid_scope")));
    let given = token(&bed, &client.assertion("2"), "system/Patient.u system/Basic.write system/Basic.c")
        .await
        .json();
    assert_eq!(given["scope"], "system/Patient.u system/Basic.c");
    let token = given["access_token"].as_str().unwrap();
    let basic = r#"{"resourceType":"Basic","id":"b","code":{"text":"x"}}"#;
    for (line, body, status) in [
        ("PUT /fhir/Patient/p1", PATIENT, 200),
        ("POST /fhir/Patient", PATIENT, 403),
        ("POST /fhir/Basic", basic, 201),
        ("PUT /fhir/Basic/b", basic, 403),
        (
            "POST /fhir",
            &bundle("transaction", &[("PUT", "Patient/p1", PATIENT), ("POST", "Patient", PATIENT)]),
            403,
        ),
        (
            "POST /fhir",
            &bundle("transaction", &[("PUT", "Patient/p1", PATIENT), ("POST", "Basic", basic)]),
            200,
        ),
        ("POST /fhir/Patient/$validate", PATIENT, 200),
    ] {
        assert_eq!(with(&bed, token, line, body).await.status, status, "{line}");
    }
    let batch = bundle("batch", &[("POST", "Patient", PATIENT), ("POST", "Basic", basic)]);
    let answer = with(&bed, token, "POST /fhir", &batch).await.json();
    let statuses = [&answer["entry"][0]["response"]["status"], &answer["entry"][1]["response"]["status"]];
    assert_eq!(statuses, ["403 Forbidden", "201 Created"]);
}

/// Between two looks at the file nothing changes; a file that cannot be used changes nothing.
#[tokio::test]
async fn keys_are_exchanged_while_it_runs() {
    let (old, new) = (Client::new("lab-system"), Client::new("lab-system"));
    let bed = bed(&old.config("[\"system/*.write\"]")).await;
    std::fs::write(old.jwks(), "{").unwrap();
    assert_eq!(token(&bed, &old.assertion("1"), "system/*.write").await.status, 200);
    std::fs::write(
        old.jwks(),
        json!({"keys": [new.jwk(), {"kty": "oct"}, {"kty": "RSA", "n": "AQAB", "e": "AQAB"}]}).to_string(),
    )
    .unwrap();
    tokio::time::pause();
    tokio::time::advance(std::time::Duration::from_secs(11)).await;
    tokio::time::resume();
    let mut status = 0;
    for n in 0..50 {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        status = token(&bed, &new.assertion(&n.to_string()), "system/*.write").await.status;
        if status == 200 {
            break;
        }
    }
    assert_eq!(status, 200);
    assert_eq!(token(&bed, &old.assertion("2"), "system/*.write").await.status, 401);
}

#[test]
fn files_of_keys_that_cannot_be_meant_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("k.json");
    for (text, words) in [
        ("", "no JSON Web Key Set"),
        ("{\"keys\": []}", "no key that can be used"),
        ("{\"keys\": [{\"kty\": \"EC\", \"d\": \"x\"}]}", "private or secret key"),
        ("{\"keys\": [{\"kty\": \"oct\", \"k\": \"x\"}]}", "private or secret key"),
        (
            "{\"keys\": [{\"kty\": \"EC\", \"crv\": \"P-256\", \"x\": \"AA\", \"y\": \"AA\"}]}",
            "no key that can be used",
        ),
    ] {
        std::fs::write(&path, text).unwrap();
        let error = crate::http::auth::check_keys(&path).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    assert!(crate::http::auth::check_keys(&dir.path().join("absent")).is_err());
}
