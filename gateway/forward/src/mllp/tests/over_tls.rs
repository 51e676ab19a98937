//! TLS and mutual TLS, and what an operator reads when it does not come about.

use std::path::Path;

use tls::throwaway::Authority;
use tls::{ClientAuth, Versions, server_config_accepting};
use tokio_rustls::TlsAcceptor;

use super::receiver::Receiver;
use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn authority(name: &str) -> Authority {
    Authority::new(name, at("2020-01-01T00:00:00Z"), at("2090-01-01T00:00:00Z")).unwrap()
}

struct Site {
    hospital: Authority,
    dir: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let hospital = authority("hospital");
        let dir = tempfile::tempdir().unwrap();
        hospital.write(&dir.path().join("ca.pem")).unwrap();
        Self { hospital, dir }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    async fn receiver(&self, mutual: bool) -> Receiver {
        let issued =
            self.hospital.server(&["127.0.0.1"], at("2020-01-01T00:00:00Z"), at("2090-01-01T00:00:00Z"));
        let ca = self.hospital.ca().unwrap();
        let identity = issued.unwrap().identity().unwrap();
        let client = if mutual { ClientAuth::Required(&ca) } else { ClientAuth::Nothing };
        let config = server_config_accepting(Versions::From12, identity, client, &[]).unwrap();
        Receiver::over_tls([], TlsAcceptor::from(config)).await
    }

    /// Writes `ours.pem` and `ours.key`, signed by `authority`.
    fn ours(&self, authority: &Authority) {
        let issued = authority
            .client(
                "ward-3",
                &["urn:wardgate:gateway:ward-3"],
                at("2020-01-01T00:00:00Z"),
                at("2090-01-01T00:00:00Z"),
            )
            .unwrap();
        issued.write(&self.path().join("ours.pem"), &self.path().join("ours.key")).unwrap();
    }

    fn sender(&self, to: &str, more: &str) -> Sender {
        let dir = self.path().display();
        sender(to, &format!("[tls]\nca = '{dir}/ca.pem'\n{}", more.replace("DIR", &dir.to_string())))
    }
}

const OURS: &str = "certificate = 'DIR/ours.pem'\nkey = 'DIR/ours.key'";

#[tokio::test]
async fn messages_travel_over_tls_with_and_without_a_certificate_of_ours() {
    let site = Site::new();
    site.ours(&site.hospital);
    for (mutual, more) in [(false, ""), (false, "min_version = '1.2'"), (true, OURS)] {
        let receiver = site.receiver(mutual).await;
        let sender = site.sender(&receiver.address, more);
        for (seq, id) in [(1, "M1"), (2, "M2")] {
            sender.send(&batch(seq, &message(id))).await.unwrap();
        }
        sender.send(&batch(3, &asking("M3", "NE", "NE"))).await.unwrap();
        assert_eq!(receiver.payloads().len(), 3);
        assert_eq!(receiver.connections(), 1, "{more}");
        let report = sender.test().await;
        assert!(report.passed() && report.to_string().contains("TLS 1.3"), "{report}");
        assert_eq!(report.to_string().contains("mutual"), mutual);
    }
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_on_a_new_connection() {
    let site = Site::new();
    site.ours(&site.hospital);
    let receiver = site.receiver(true).await;
    let sender = site.sender(&receiver.address, OURS);
    sender.send(&batch(1, &message("M1"))).await.unwrap();
    site.ours(&site.hospital);
    sender.rotating().unwrap().reload().unwrap();
    sender.send(&batch(2, &message("M2"))).await.unwrap();
    assert_eq!(receiver.connections(), 2);
}

#[tokio::test]
async fn strangers_are_refused_on_both_sides_and_said_who_by() {
    let site = Site::new();
    site.ours(&authority("somebody else"));
    // Ours is a stranger's: judged after the handshake, so found out by listening on.
    let receiver = site.receiver(true).await;
    for more in [OURS, ""] {
        let sender = site.sender(&receiver.address, more);
        let shown = sender.test().await.to_string();
        assert!(shown.contains("tls            FAILED"), "{shown}");
        let error = sender.send(&batch(1, &message("M1"))).await.unwrap_err();
        assert!(matches!(error, SendError::Unknown { .. } | SendError::Unreachable { .. }), "{error}");
        assert!(receiver.payloads().is_empty());
    }
    // Theirs is.
    let other = Site::new();
    let sender = other.sender(&receiver.address, "");
    let Err(SendError::Unreachable { why }) = sender.send(&batch(1, &message("M1"))).await else { panic!() };
    assert!(why.contains("the pinned authority"), "{why}");
    let named = site.sender(&receiver.address, "server_name = 'ris.hospital.example'");
    let Err(SendError::Unreachable { why }) = named.send(&batch(1, &message("M1"))).await else { panic!() };
    assert!(why.contains("name"), "{why}");
}

#[tokio::test]
async fn tls_where_none_is_spoken_and_none_where_it_is() {
    let site = Site::new();
    let plain = Receiver::start([]).await;
    let Err(SendError::Unreachable { why }) =
        site.sender(&plain.address, "").send(&batch(1, &message("M1"))).await
    else {
        panic!()
    };
    assert!(!why.is_empty());
    let over_tls = site.receiver(false).await;
    let error = sender(&over_tls.address, "").send(&batch(1, &message("M1"))).await.unwrap_err();
    assert!(matches!(error, SendError::Unknown { .. }), "{error}");
    assert!(over_tls.payloads().is_empty());
}
