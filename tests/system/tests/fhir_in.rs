//! FHIR in, with clients of others: fhirpy and PyJWT, httpx, curl, HAPI. What they were told is in the tables.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking, with what it saw"
)]
#![allow(clippy::disallowed_methods, reason = "real programs take real time")]

use std::collections::HashMap;
use std::process::{Command, Stdio};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use system_tests::site::{self, Site, free_port};
use system_tests::{peers, readers};

/// Resources that are sent while the gateway is killed.
const OBSERVATIONS: usize = 600;
const KILLS: usize = 8;

/// A site with a FHIR feed that takes certificates and tokens.
fn site(destinations: Site, client: bool) -> (Site, u16) {
    let (mut site, port) = (destinations, free_port());
    let mut feed = format!(
        "[[feed]]\nname = \"ehr\"\n[feed.fhir]\nlisten = \"127.0.0.1:{port}\"\nurl = \"https://127.0.0.1:{port}\"\n\
         [feed.fhir.tls]\ncertificate = \"certificates/landing.pem\"\nkey = \"certificates/landing.key.pem\"\n\
         client_ca = \"certificates/ca.pem\"\n"
    );
    if client {
        feed.push_str("client_certificate = \"optional\"\n[[feed.fhir.client]]\nid = \"lab-system\"\njwks = \"jwks.json\"\n");
    }
    site.more = feed;
    site.certificate_of("ehr-1");
    (site, port)
}

fn python(arguments: &[&str]) -> Vec<Value> {
    let out = readers::reader("send_fhir.py", arguments);
    assert!(out.status.success(), "send_fhir.py: {}", site::shown(&out));
    String::from_utf8(out.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Rows of `raw` that are FHIR: record and payload.
fn landed(site: &Site) -> HashMap<String, Vec<u8>> {
    let rows = readers::rows(&site.root("lake"), "raw");
    let fhir = rows.iter().filter(|row| row["format"] == "fhir");
    fhir.map(|row| {
        let payload = hex::decode(row["payload"].as_str().unwrap()).unwrap();
        (row["record_id"].as_str().unwrap().to_owned(), payload)
    })
    .collect()
}

#[test]
fn clients_of_others_write_by_tokens_and_every_answer_is_a_row() {
    let (site, port) = site(Site::new(), true);
    let dir = site.dir.to_str().unwrap().to_owned();
    python(&["keys", &dir]);
    let (mut gateway, mut landing) = site.start();
    let ca = site.certificate("ca.pem");
    let url = format!("https://127.0.0.1:{port}");
    let told = python(&["smart", &url, ca.to_str().unwrap(), &dir, "lab-system"]);
    assert_eq!(told.len(), 2, "RS384 and ES384");
    site.drained();
    let rows = landed(&site);
    for line in &told {
        assert_eq!(line["refused"], "code-invalid");
        let created = line["created"].as_str().unwrap();
        let patient: Value = serde_json::from_slice(&rows[created]).unwrap();
        assert_eq!((&patient["resourceType"], &patient["active"]), (&json!("Patient"), &json!(true)));
        assert_eq!(line["created"], line["updated"], "an update keeps its id");
        let places = line["transaction"].as_array().unwrap();
        assert_eq!(places.len(), 3);
        let record = places[0].as_str().unwrap().strip_prefix("Basic/").unwrap().strip_suffix(".1").unwrap();
        let bundle: Value = serde_json::from_slice(&rows[record]).unwrap();
        assert_eq!((&bundle["type"], bundle["entry"].as_array().unwrap().len()), (&json!("transaction"), 3));
    }
    assert_eq!(rows.len(), 2 * 3, "a create, an update and a transaction each");
    // The research tables have the same rows, and nobody in them.
    let research = readers::rows(&site.root("research"), "raw");
    assert_eq!(research.iter().filter(|row| row["format"] == "fhir").count(), rows.len());
    for payload in readers::payloads(&site.root("research")) {
        let payload = String::from_utf8(payload).unwrap();
        assert!(payload.starts_with("{\"resourceType\":"), "{payload}");
        assert!(!payload.contains("Test "), "{payload}");
    }
    readers::sums(&site.root("lake"));
    gateway.stop();
    landing.stop();
    for entry in std::fs::read_dir(site.logs()).unwrap() {
        let log = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        for word in ["Test rsa", "Test ec", "/fhir/Patient/", "eyJ", "client_assertion"] {
            assert!(!log.contains(word), "a log holds {word}");
        }
    }
}

/// curl with a certificate, over HTTP/1.1 and HTTP/2; and without.
#[test]
fn a_certificate_lets_in_and_nothing_does_not() {
    let (site, port) = site(Site::small(), true);
    python(&["keys", site.dir.to_str().unwrap()]);
    let (mut gateway, mut landing) = site.start();
    let curl = |arguments: &[&str], path: &str| {
        let out = Command::new("curl")
            .current_dir(&site.dir)
            .args(["-sS", "--cacert", "certificates/ca.pem", "-w", "\n%{http_code} %{http_version}"])
            .args(arguments)
            .arg(format!("https://127.0.0.1:{port}{path}"))
            .output()
            .unwrap();
        eprintln!("curl {arguments:?}: {}", String::from_utf8_lossy(&out.stderr).trim());
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        text.rsplit_once('\n').map_or((text.clone(), String::new()), |(b, s)| (b.to_owned(), s.to_owned()))
    };
    let certificate = ["--cert", "certificates/ehr-1.pem", "--key", "certificates/ehr-1.key.pem"];
    let json = ["-H", "Content-Type: application/fhir+json", "-d"];
    for (version, name, n) in [("--http1.1", "1.1", 1), ("--http2", "2", 2)] {
        let body = format!("{{\"resourceType\":\"Basic\",\"code\":{{\"text\":\"{n}\"}}}}");
        let all: Vec<&str> =
            [version].into_iter().chain(certificate).chain(json).chain([body.as_str()]).collect();
        assert_eq!(curl(&all, "/fhir/Basic").1, format!("201 {name}"));
        let without: Vec<&str> = [version].into_iter().chain(json).chain([body.as_str()]).collect();
        let (outcome, status) = curl(&without, "/fhir/Basic");
        assert_eq!(status, format!("401 {name}"));
        assert!(outcome.contains("\"OperationOutcome\"") && outcome.contains("\"login\""), "{outcome}");
    }
    let (statement, status) = curl(&["--http2"], "/fhir/metadata");
    assert_eq!(status, "200 2");
    assert!(statement.contains("SMART-on-FHIR") && statement.contains("Certificates"));
    // A certificate of somebody else ends the handshake.
    site.stranger_certificate();
    let stranger = ["--cert", "certificates/gateway.pem", "--key", "certificates/gateway.key.pem"];
    assert_eq!(curl(&stranger, "/fhir/metadata").1, "000 0");
    site.gateway_certificate(site::days_from_now(-1), site::days_from_now(30));
    site.drained();
    assert_eq!(landed(&site).len(), 2);
    // Who was refused is found by the command, without a word of what was sent.
    let wrong: Vec<&str> = certificate.into_iter().chain(json).chain(["{ZQNAME7"]).collect();
    assert_eq!(curl(&wrong, "/fhir/Basic").1, "400 2");
    let faults = |kind: &str| {
        let arguments = ["faults", "--config", "gateway.toml", "--json", "--feed", "ehr", "--kind", kind];
        site.json(&arguments).as_array().unwrap().clone()
    };
    assert_eq!(faults("unauthorised").len(), 2);
    let [wrong, stranger] = ["bad-request", "tls-failed"].map(|kind| faults(kind).pop().unwrap());
    assert!(wrong["peer"].as_str().unwrap().starts_with("urn:wardgate:gateway:ehr-1 (127.0.0.1:"), "{wrong}");
    assert!(stranger["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{stranger}");
    assert!(!wrong.to_string().contains("ZQNAME7"));
    gateway.stop();
    landing.stop();
}

/// HAPI's generic client, over mutual TLS: it reads the statement first, and understands every refusal.
#[test]
fn hapi_s_client_is_understood_and_understands_the_answers() {
    let (site, port) = site(Site::small(), false);
    let (mut gateway, mut landing) = site.start();
    let url = format!("https://127.0.0.1:{port}");
    let certificate = ["certificates/ca.pem", "certificates/ehr-1.pem", "certificates/ehr-1.key.pem"];
    let out = peers::hapi_fhir_client(&[&[url.as_str()], &certificate[..]].concat(), &site.dir);
    assert!(out.status.success(), "{}", site::shown(&out));
    let told: HashMap<String, Value> = String::from_utf8(out.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|line| (line["did"].as_str().unwrap().to_owned(), line))
        .collect();
    site.drained();
    let rows = landed(&site);
    assert_eq!(rows.len(), 3, "{told:?}");
    let created = told["create"]["id"].as_str().unwrap();
    let patient: Value = serde_json::from_slice(&rows[created]).unwrap();
    assert_eq!((&patient["active"], &told["create"]["created"]), (&json!(true), &json!(true)));
    assert_eq!((&told["update"]["id"], &told["update"]["created"]), (&json!("hapi-1"), &json!(false)));
    let places: Vec<&str> = told["transaction"]["id"].as_str().unwrap().split(' ').collect();
    let [new, known] = places[..] else { panic!("{places:?}") };
    assert!(rows.contains_key(new.strip_prefix("Patient/").unwrap().strip_suffix(".1").unwrap()), "{new}");
    assert_eq!(known, "Patient/hapi-1");
    assert_eq!(told["validate"]["id"], "informational");
    assert_eq!(told["validate-instance"]["id"], "informational");
    assert_eq!(told["capabilities"]["id"], "4.0.1");
    for (did, status, issue) in [
        ("invalid", 422, "required"),
        ("if-none-exist", 501, "not-supported"),
        ("read", 501, "not-supported"),
    ] {
        assert_eq!((&told[did]["status"], &told[did]["issue"]), (&json!(status), &json!(issue)), "{told:?}");
    }
    gateway.stop();
    landing.stop();
}

/// What was answered 201 is one row with the bytes that were sent, however often the gateway was killed.
#[test]
fn what_was_answered_under_kills_is_there_once() {
    let (site, port) = site(Site::small(), false);
    let (mut gateway, mut landing) = site.start();
    let program = peers::repository().join("tests/readers/send_fhir.py");
    let mut client = Command::new(peers::python())
        .current_dir(&site.dir)
        .arg(program)
        .args(["load", &format!("https://127.0.0.1:{port}"), "certificates/ca.pem"])
        .args(["certificates/ehr-1.pem", "certificates/ehr-1.key.pem", &OBSERVATIONS.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let seed = site::days_from_now(0).micros() as u64;
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut kills = 0;
    while kills < KILLS && client.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(rng.random_range(20..200)));
        gateway.kill();
        gateway = site.start_gateway();
        kills += 1;
    }
    let out = client.wait_with_output().unwrap();
    assert!(out.status.success());
    assert!(kills > 2, "only {kills} kills");
    let told: Vec<Value> =
        String::from_utf8(out.stdout).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(told.len(), OBSERVATIONS);
    site.drained();
    let rows = landed(&site);
    for line in &told {
        let payload = hex::encode(&rows[line["id"].as_str().unwrap()]);
        assert_eq!(payload, line["body"].as_str().unwrap(), "{}", line["id"]);
    }
    assert_eq!(rows.len(), OBSERVATIONS, "a resend made a second record");
    println!("{kills} kills, {OBSERVATIONS} answered, {} rows", rows.len());
    gateway.stop();
    landing.stop();
}
