//! Who gets in, whose messages are taken, and how fast.

use std::sync::Arc;
use std::time::Duration;

use model::{FaultKind, Timestamp};
use tls::throwaway::{Authority, Issued};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::support::{Memory, PATIENCE, Peer, Ward, framed, message};
use crate::access::Allow;
use crate::listener::Tls;
use crate::mllp::{Config, Sender};

const FROM: Timestamp = Timestamp::from_micros(0);
const TO: Timestamp = Timestamp::from_micros(4_000_000_000_000_000);

/// An authority, and a folder with a listener's files.
struct Site {
    authority: Authority,
    dir: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let site = Self {
            authority: Authority::new("hospital", FROM, TO).unwrap(),
            dir: tempfile::tempdir().unwrap(),
        };
        site.authority.write(&site.dir.path().join("ca.pem")).unwrap();
        site.renew();
        site
    }

    /// A new certificate for the listener.
    fn renew(&self) -> String {
        let issued = self.authority.server(&["127.0.0.1"], FROM, TO).unwrap();
        issued.write(&self.dir.path().join("s.pem"), &self.dir.path().join("s.key")).unwrap();
        issued.identity().unwrap().fingerprint_sha256().to_owned()
    }

    fn tls(&self, text: &str) -> Tls {
        let mut tls: Tls =
            toml::from_str(&format!("certificate = \"s.pem\"\nkey = \"s.key\"\n{text}")).unwrap();
        tls.files_mut().for_each(|f| *f = self.dir.path().join(&*f));
        tls
    }

    fn ward(&self, text: &str, adjust: impl FnOnce(&mut Config)) -> Ward {
        Ward::with(Memory::new(), |c| {
            c.tls = Some(self.tls(text));
            adjust(c);
        })
    }

    fn sender(&self, name: &str, uris: &[&str]) -> Issued {
        self.authority.client(name, uris, FROM, TO).unwrap()
    }

    async fn dial(&self, ward: &Ward, shown: Option<&Issued>) -> std::io::Result<Peer<TlsStream<TcpStream>>> {
        let identity = shown.map(|s| s.identity().unwrap().into());
        let connector =
            TlsConnector::from(tls::client_config(&self.authority.ca().unwrap(), identity, &[]).unwrap());
        let stream = TcpStream::connect(ward.handle.local_addr()).await?;
        let stream = timeout(PATIENCE, connector.connect("127.0.0.1".try_into().unwrap(), stream)).await??;
        Ok(Peer::over(stream))
    }
}

fn allow(text: &str) -> Allow {
    toml::from_str(text).unwrap()
}

#[tokio::test]
async fn a_sender_with_a_certificate_is_answered_and_named_in_the_record() {
    let site = Site::new();
    let ward = site.ward("client_ca = \"ca.pem\"", |_| {});
    let mut peer = site.dial(&ward, Some(&site.sender("LAB01", &["urn:lab:1"]))).await.unwrap();
    peer.write(framed(&message("A1"))).await;
    assert_eq!(peer.msa().await, "MSA|AA|A1");
    let stored = ward.memory.stored();
    let local = peer.stream.get_ref().0.local_addr().unwrap();
    assert_eq!(stored[0].provenance.peer, format!("urn:lab:1 ({local})"));
    drop(peer);
    assert_eq!(ward.close().await.connections_total, 1);
}

#[tokio::test]
async fn who_shows_no_certificate_or_another_s_is_refused_and_stores_nothing() {
    let site = Site::new();
    let ward = site.ward("client_ca = \"ca.pem\"", |c| c.allow = allow("certificates = [\"cn:LAB01\"]"));
    // TLS 1.3: the client learns of it with its first read.
    for shown in
        [None, Some(Authority::new("stranger", FROM, TO).unwrap().client("LAB01", &[], FROM, TO).unwrap())]
    {
        if let Ok(mut peer) = site.dial(&ward, shown.as_ref()).await {
            let frame = framed(&message("X"));
            drop(peer.stream.write_all(&frame).await);
            assert_eq!(peer.answer().await, None);
        }
    }
    ward.until("two handshakes fail", |s| s.handshakes_failed == 2).await;
    // One of ours, and still not the one that is listed.
    let mut peer = site.dial(&ward, Some(&site.sender("LAB02", &[]))).await.unwrap();
    drop(peer.stream.write_all(&framed(&message("X"))).await);
    assert_eq!(peer.answer().await, None);
    ward.until("it is not let in", |s| s.connections_denied == 1).await;
    let mut peer = site.dial(&ward, Some(&site.sender("LAB01", &[]))).await.unwrap();
    peer.write(framed(&message("A1"))).await;
    assert_eq!(peer.msa().await, "MSA|AA|A1");
    assert_eq!(ward.memory.payloads(), [message("A1")]);
    let faults = ward.memory.faults();
    let kinds: Vec<_> = faults.iter().map(|f| f.kind).collect();
    assert_eq!(kinds, [FaultKind::TlsFailed, FaultKind::TlsFailed, FaultKind::NotAllowed]);
    assert!(faults.iter().all(|f| f.host() == "127.0.0.1"), "{faults:?}");
    assert!(faults[2].peer.starts_with("LAB02 (127.0.0.1:"), "{faults:?}");
    drop(peer);
    ward.close().await;
}

#[tokio::test]
async fn plain_text_at_a_tls_port_and_tls_at_a_plain_port_are_closed_and_counted() {
    let site = Site::new();
    let ward = site.ward("", |_| {});
    let mut peer = ward.peer().await;
    peer.write(framed(&message("A1"))).await;
    peer.closed().await;
    assert_eq!(ward.stats().handshakes_failed, 1);
    assert_eq!(ward.close().await.frames, 0);

    let ward = Ward::open(Memory::new());
    // A ClientHello with VTs in its random: no frame may begin there.
    let mut hello = vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    hello.extend([0x0b; 32]);
    let mut peer = ward.peer().await;
    peer.write(hello).await;
    peer.closed().await;
    ward.until("it is counted", |s| s.handshakes_failed == 1 && s.connections == 0).await;
    assert!(site.dial(&ward, None).await.is_err());
    let stats = ward.close().await;
    assert_eq!((stats.handshakes_failed, stats.cut_off, stats.junk_bytes), (2, 0, 0));
}

#[tokio::test]
async fn a_handshake_that_hangs_gives_its_place_back() {
    let site = Site::new();
    let ward = site.ward("handshake_timeout_s = 1", |c| c.connections_max = 2);
    let begun = Instant::now();
    let mut silent = ward.peer().await;
    let mut slow = ward.peer().await;
    slow.write([0x16, 3, 1]).await;
    ward.until("both places are taken", |s| s.connections == 2).await;
    ward.peer().await.closed().await;
    silent.closed().await;
    slow.closed().await;
    assert!(begun.elapsed() >= Duration::from_secs(1));
    let mut peer = site.dial(&ward, None).await.unwrap();
    peer.write(framed(&message("A1"))).await;
    assert_eq!(peer.msa().await, "MSA|AA|A1");
    let stats = ward.stats();
    assert_eq!((stats.handshakes_failed, stats.connections_refused), (2, 1));
    drop(peer);
    ward.close().await;
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_to_new_connections_and_old_ones_live_on() {
    let site = Site::new();
    let ward = site.ward("", |_| {});
    let shown = |peer: &Peer<TlsStream<TcpStream>>| {
        let names = tls::PeerNames::read(peer.stream.get_ref().1.peer_certificates().unwrap()).unwrap();
        names.fingerprint_sha256().to_owned()
    };
    let mut before = site.dial(&ward, None).await.unwrap();
    let renewed = site.renew();
    assert_ne!(shown(&before), renewed);
    let listening = Arc::clone(ward.handle.listening().unwrap());
    assert_eq!(listening.reload_if_changed().unwrap(), tls::Reloaded::Swapped);
    let after = site.dial(&ward, None).await.unwrap();
    assert_eq!(shown(&after), renewed);
    before.write(framed(&message("A1"))).await;
    assert_eq!(before.msa().await, "MSA|AA|A1");
    drop((before, after));
    ward.close().await;
}

#[tokio::test]
async fn only_peers_of_the_networks_are_let_in() {
    let ward = Ward::with(Memory::new(), |c| c.allow = allow("networks = [\"127.0.0.2/31\"]"));
    for refused in ["127.0.0.1", "127.0.0.4"] {
        ward.peer_from(refused).await.closed().await;
    }
    for taken in ["127.0.0.2", "127.0.0.3"] {
        let mut peer = ward.peer_from(taken).await;
        peer.write(framed(&message(taken))).await;
        assert_eq!(peer.msa().await, format!("MSA|AA|{taken}"));
    }
    let faults = ward.memory.faults();
    assert_eq!(
        faults.iter().map(|f| (f.kind, f.host())).collect::<Vec<_>>(),
        [(FaultKind::NotAllowed, "127.0.0.1"), (FaultKind::NotAllowed, "127.0.0.4"),]
    );
    let stats = ward.close().await;
    assert_eq!((stats.connections_denied, stats.connections_total, stats.accepted), (2, 2, 2));
}

#[tokio::test]
async fn a_message_of_another_sender_is_told_so_and_the_connection_lives_on() {
    let ward = Ward::with(Memory::new(), |c| {
        c.senders = Some(vec![Sender { application: Some("LAB".into()), facility: Some("WEST".into()) }]);
    });
    let mut peer = ward.peer().await;
    peer.write(framed(&message("A1").replace("|LAB|WEST|", "|LAB|EAST|"))).await;
    let answer = peer.answer().await.unwrap();
    let answer: Vec<&str> = answer.split('\r').skip(1).collect();
    insta::assert_snapshot!(answer.join("\n"), @r"
    MSA|AR|A1|Not stored: this feed does not take messages of this sending application and facility (MSH-3, MSH-4). Send it to the feed that does, or have the sender admitted here.
    ERR||MSH^1^3|103^Table value not found^HL70357|E||||Not stored: this feed does not take messages of this sending application and facility (MSH-3, MSH-4). Send it to the feed that does, or have the sender admitted here.
    ");
    peer.write(framed(&message("A2"))).await;
    assert_eq!(peer.msa().await, "MSA|AA|A2");
    // The same bytes again: no stored answer stands in the way once the sender is admitted, nor a false one now.
    peer.write(framed(&message("A1").replace("|LAB|WEST|", "|LAB|EAST|"))).await;
    assert!(peer.msa().await.starts_with("MSA|AR|A1|Not stored"));
    assert_eq!(ward.memory.payloads(), [message("A2")]);
    drop(peer);
    let stats = ward.close().await;
    assert_eq!((stats.senders_denied, stats.refused, stats.accepted, stats.frames), (2, 2, 1, 3));
}

#[tokio::test]
async fn a_flooding_peer_is_held_to_its_pace_and_loses_nothing_and_others_wait_for_nobody() {
    let ward = Ward::with(Memory::new(), |c| c.peer_messages_per_s_max = 50);
    let mut flood = ward.peer_from("127.0.0.2").await;
    let begun = Instant::now();
    let frames: Vec<u8> = (0..150).flat_map(|n| framed(&message(&format!("F{n}")))).collect();
    flood.write(&frames).await;
    let mut other = ward.peer_from("127.0.0.3").await;
    for n in 0..20 {
        other.write(framed(&message(&format!("O{n}")))).await;
        assert_eq!(other.msa().await, format!("MSA|AA|O{n}"));
    }
    let others_done = begun.elapsed();
    for n in 0..150 {
        assert_eq!(flood.msa().await, format!("MSA|AA|F{n}"), "late, in order, and none is missing");
    }
    // 150 at 50 a second, the first second's worth at once.
    assert!(begun.elapsed() >= Duration::from_millis(1_900), "{:?}", begun.elapsed());
    assert!(others_done < begun.elapsed());
    drop((flood, other));
    let faults = ward.memory.faults();
    assert_eq!(
        faults.iter().map(|f| (f.kind, f.host())).collect::<Vec<_>>(),
        [(FaultKind::OverQuota, "127.0.0.2")]
    );
    let stats = ward.close().await;
    assert_eq!((stats.accepted, stats.cut_off, stats.refused), (170, 0, 0));
    assert!(stats.paced_ms > 0, "{stats:?}");
}

#[tokio::test]
async fn a_pace_in_bytes_is_not_the_sender_s_delay_and_holds_up_no_stop() {
    let ward = Ward::with(Memory::new(), |c| {
        c.peer_bytes_per_s_max = 100_000;
        c.frame_timeout_s = 1;
    });
    let mut peer = ward.peer().await;
    // Three seconds' worth: longer than a frame may take by itself.
    let long = format!("{}{}\r", message("BIG"), "x".repeat(300_000));
    let begun = Instant::now();
    let frame = framed(&long);
    peer.write(&frame).await;
    assert_eq!(peer.msa().await, "MSA|AA|BIG");
    assert!(begun.elapsed() >= Duration::from_millis(1_500), "{:?}", begun.elapsed());
    drop(peer.stream.write_all(&frame).await);
    let memory = ward.memory.clone();
    let stopping = Instant::now();
    let stats = timeout(PATIENCE, ward.close()).await.unwrap();
    assert!(stopping.elapsed() < Duration::from_secs(8));
    assert_eq!((stats.accepted, memory.payloads()), (1, vec![long]), "what was not answered was not stored");
}
