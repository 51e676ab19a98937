//! What is durable, what is a resend, and what happens under pressure.

use std::time::Duration;

use model::Refusal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use super::support::*;

const OTHER: &str = "{\"resourceType\":\"Patient\",\"id\":\"p1\",\"active\":false}\n";

#[tokio::test]
async fn no_answer_before_the_receipt() {
    let bed = bed("").await;
    bed.memory.gate.acquire().await.unwrap().forget();
    let mut stream = bed.connect().await;
    let head = format!(
        "POST /fhir/Patient HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        PATIENT.len()
    );
    stream.write_all((head + PATIENT).as_bytes()).await.unwrap();
    let mut byte = [0];
    assert!(timeout(Duration::from_millis(300), stream.read(&mut byte)).await.is_err(), "answered too early");
    bed.memory.gate.add_permits(1);
    assert_eq!(receive(&mut stream).await.status, 201);
    assert_eq!(bed.memory.stored(), [("create Patient".to_owned(), PATIENT.to_owned())]);
}

/// A record that may exist must be known to exist, or a resend would make a second one.
#[tokio::test]
async fn a_client_that_leaves_does_not_stop_what_is_being_stored() {
    let bed = bed("").await;
    bed.memory.gate.acquire().await.unwrap().forget();
    let mut stream = bed.connect().await;
    let head = "POST /fhir/Patient HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n";
    let text = format!("{head}Content-Length: {}\r\n\r\n{PATIENT}", PATIENT.len());
    stream.write_all(text.as_bytes()).await.unwrap();
    sleep(Duration::from_millis(200)).await;
    drop(stream);
    sleep(Duration::from_millis(200)).await;
    bed.memory.gate.add_permits(1);
    let stored = async {
        while bed.memory.stored().is_empty() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, stored).await.expect("it is stored");
    let again = bed.post("POST /fhir/Patient", PATIENT).await;
    assert_eq!(again.header("location"), Some("/fhir/Patient/clinical-1-1"));
    assert_eq!((bed.memory.stored().len(), bed.stats().duplicates), (1, 1));
}

#[tokio::test]
async fn a_resend_makes_no_second_record_and_gets_the_same_answer() {
    let bed = bed("").await;
    let first = bed.post("POST /fhir/Patient", PATIENT).await;
    let again = bed.post("POST /fhir/Patient", PATIENT).await;
    assert_eq!((first.status, first.header("location")), (201, Some("/fhir/Patient/clinical-1-1")));
    assert_eq!((&first.body, first.header("location")), (&again.body, again.header("location")));
    assert_eq!(first.json()["id"], "clinical-1-1");
    let transaction = bundle("transaction", &[("PUT", "Patient/p1", PATIENT), ("POST", "Patient", OTHER)]);
    let first = bed.post("POST /fhir", &transaction).await;
    assert_eq!(first.body, bed.post("POST /fhir", &transaction).await.body);
    assert_eq!(first.json()["entry"][1]["response"]["location"], "Patient/clinical-1-2.2");
    let batch = bundle(
        "batch",
        &[("PUT", "Patient/p1", PATIENT), ("POST", "Patient", OTHER), ("POST", "Patient", OTHER)],
    );
    let first = bed.post("POST /fhir", &batch).await;
    assert_eq!(first.body, bed.post("POST /fhir", &batch).await.body);
    assert_eq!(bed.memory.stored().len(), 5, "two entries that are alike are two");
    // Whoever wants two records of the same content says so.
    let keyed = "Content-Type: application/json\r\nIdempotency-Key: 1\r\n";
    for _ in 0..2 {
        let answer = bed.send("POST /fhir/Patient", keyed, PATIENT).await;
        assert_eq!(answer.header("location"), Some("/fhir/Patient/clinical-1-6"));
    }
}

/// To take A, B, A for A would leave B.
#[tokio::test]
async fn an_update_that_goes_back_is_no_resend() {
    let bed = bed("").await;
    for body in [PATIENT, PATIENT, OTHER, OTHER, PATIENT, PATIENT] {
        assert_eq!(bed.post("PUT /fhir/Patient/p1", body).await.status, 200);
    }
    let bodies: Vec<String> = bed.memory.stored().into_iter().map(|(_, body)| body).collect();
    assert_eq!(bodies, [PATIENT, OTHER, PATIENT]);
    // The same through transactions.
    for body in [OTHER, OTHER, PATIENT] {
        bed.post("POST /fhir", &bundle("transaction", &[("PUT", "Patient/p1", body)])).await;
    }
    assert_eq!(bed.memory.stored().len(), 5);
    bed.post("POST /fhir", &bundle("transaction", &[("PUT", "Patient/p1", OTHER)])).await;
    assert_eq!(bed.memory.stored().len(), 6);
}

#[tokio::test]
async fn full_stopping_and_broken_logs_are_told() {
    let bed = bed("").await;
    for (refusal, status, retry) in [
        (Refusal::Full, 507, Some("60")),
        (Refusal::Stopping, 503, Some("10")),
        (Refusal::Storage, 500, Some("60")),
    ] {
        bed.memory.refuse(0, Some(refusal));
        let answer = bed.post("POST /fhir/Patient", PATIENT).await;
        assert_eq!((answer.status, answer.header("retry-after")), (status, retry));
        assert!(answer.body.contains("nothing was stored"));
        let batch = bundle("batch", &[("POST", "Patient", PATIENT), ("POST", "Patient", OTHER)]);
        assert_eq!(bed.post("POST /fhir", &batch).await.status, status, "a batch of which nothing is stored");
    }
    bed.memory.refuse(1, Some(Refusal::Full));
    let batch = bundle("batch", &[("POST", "Patient", PATIENT), ("POST", "Patient", OTHER)]);
    let answer = bed.post("POST /fhir", &batch).await;
    let status = |n: usize| answer.json()["entry"][n]["response"]["status"].as_str().unwrap().to_owned();
    assert_eq!(
        (answer.status, status(0), status(1)),
        (200, "201 Created".into(), "507 Insufficient Storage".into())
    );
    bed.memory.refuse(0, None);
    // Sent again, what is stored is not stored again, and the rest is.
    let answer = bed.post("POST /fhir", &batch).await;
    assert_eq!(answer.json()["entry"][1]["response"]["status"], "201 Created");
    assert_eq!(bed.memory.stored().len(), 2);
}

#[tokio::test]
async fn slow_and_countless_clients_meet_limits() {
    let bed = bed("body_timeout_s = 1\nconnections_per_peer_max = 2\nrequests_per_minute_max = 12").await;
    let mut slow = bed.connect().await;
    slow.write_all(b"POST /fhir/Patient HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{").await.unwrap();
    let mut text = [0; 12];
    timeout(PATIENCE, slow.read_exact(&mut text)).await.unwrap().unwrap();
    assert_eq!(&text, b"HTTP/1.1 408");
    drop(slow);
    let (_a, _b) = (bed.connect().await, bed.connect().await);
    sleep(Duration::from_millis(100)).await;
    let mut third = bed.connect().await;
    assert_eq!(timeout(PATIENCE, third.read(&mut text)).await.unwrap().unwrap_or(0), 0, "no place");
    drop((_a, _b));
    sleep(Duration::from_millis(100)).await;
    let mut statuses = Vec::new();
    for _ in 0..12 {
        statuses.push(bed.post("POST /fhir/Patient", PATIENT).await);
    }
    let throttled = statuses.iter().find(|a| a.status == 429).expect("a quota");
    assert!(throttled.header("retry-after").is_some());
    assert!(bed.stats().throttled > 0 && bed.stats().connections_refused > 0);
}

#[tokio::test]
async fn a_stop_finishes_what_has_begun() {
    let bed = bed("").await;
    bed.memory.gate.acquire().await.unwrap().forget();
    let (memory, stop) = (bed.memory.clone(), bed.stop.clone());
    let stopping = async {
        sleep(Duration::from_millis(200)).await;
        stop.cancel();
        sleep(Duration::from_millis(200)).await;
        memory.gate.add_permits(1);
    };
    let (answer, ()) = tokio::join!(bed.post("POST /fhir/Patient", PATIENT), stopping);
    assert_eq!(answer.status, 201);
    timeout(PATIENCE, bed.running).await.expect("it stops").unwrap();
    assert_eq!(bed.memory.stored().len(), 1);
}
