//! The binary, killed with SIGKILL under load, again and again: what it answered is there once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and its tasks end with its runtime"
)]

use std::io::BufRead as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::SendRequest;
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use landing::clock::SystemClock;
use landing::inspect::stat::stat;
use landing::inspect::verify::verify;
use model::wire::{BATCH_MEDIA_TYPE, EpochGrant, MANIFEST_HEADER, Problem, ProblemKind};
use model::{
    Batch, Clock as _, Format, Lane, PolicyRef, Reason, Released, Skip, Slug, StreamEpoch, StreamId,
    Timestamp, codec,
};
use serde_bytes::ByteBuf;
use tls::throwaway::Authority;

const ROUNDS: u64 = 12;
const GATEWAYS: u64 = 3;
/// The landing lives between these many milliseconds after it listens.
const LIFE_MS: std::ops::Range<u64> = 20..400;

/// How long a landing may take to listen.
const PATIENCE: Duration = Duration::from_secs(60);

struct Landing {
    child: Child,
    address: SocketAddr,
}

impl Landing {
    fn start(config: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_wardgate-landing"))
            .args(["run", "--config"])
            .arg(config)
            .env("WARDGATE_LOG", "landing=info,wardgate_landing=info")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = std::io::BufReader::new(child.stderr.take().unwrap()).lines();
        let (tell, told) = std::sync::mpsc::channel();
        // It reads on to the end, so that the landing never waits for us.
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let line: serde_json::Value = serde_json::from_str(&line).unwrap();
                if let Some(listen) = line.pointer("/listen").and_then(|l| l.as_str()) {
                    tell.send(listen.parse().unwrap()).ok();
                }
            }
        });
        let address = told.recv_timeout(PATIENCE).unwrap_or_else(|error| {
            child.kill().ok();
            panic!("it does not say where it listens: {error}")
        });
        Self { child, address }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// A gateway that sends, forgets nothing that was answered, and asks again what was not.
struct Gateway {
    name: Slug,
    tls: Arc<rustls::ClientConfig>,
    /// The last number that was answered.
    settled: u64,
    /// Where the batch under way ends.
    under_way: Option<u64>,
}

impl Gateway {
    async fn connect(&self, address: SocketAddr) -> Option<SendRequest<Full<Bytes>>> {
        let tcp = tokio::net::TcpStream::connect(address).await.ok()?;
        let host = rustls::pki_types::ServerName::try_from("localhost").unwrap();
        let stream = tokio_rustls::TlsConnector::from(Arc::clone(&self.tls)).connect(host, tcp).await.ok()?;
        let io = TokioIo::new(stream);
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.ok()?;
        tokio::spawn(connection);
        Some(sender)
    }

    fn batch(&self, first: u64, last: u64) -> Batch<Released> {
        let stream = StreamId {
            gateway: self.name.clone(),
            destination: "lake".parse().unwrap(),
            lane: Lane::Clinical,
            epoch: StreamEpoch::FIRST,
        };
        let policy =
            PolicyRef { name: "treatment".into(), label: "treatment".into(), sha256: "0".repeat(64) };
        let (mut records, mut skipped) = (Vec::new(), Vec::new());
        for seq in first..=last {
            if seq % 11 == 0 {
                skipped.push(Skip { first: seq, last: seq, reason: Reason::NotRouted });
                continue;
            }
            let payload = format!("MSH|^~\\&|A|B|C|D|2026||ORU^R01|{seq}|P|2.5\rOBX|1|NM|X||{seq}\r");
            records.push(Released {
                seq,
                origin: None,
                feed: "adt".parse().unwrap(),
                format: Format::Hl7v2,
                received_at: None,
                peer: None,
                channel: None,
                message_type: None,
                control_id: None,
                observations: Vec::new(),
                charset: None,
                payload: ByteBuf::from(payload),
                rules: Vec::new(),
            });
        }
        Batch { stream, first, last, policy, records, skipped }
    }

    /// Sends until the landing is gone. Panics where an answer contradicts an earlier one.
    async fn send(&mut self, address: SocketAddr) {
        let Some(mut sender) = self.connect(address).await else { return };
        let body = format!("{{\"incarnation\":\"{}\",\"proposed\":1,\"resume_after\":0}}", "a".repeat(32));
        let post = Request::post("https://localhost/v1/lake/clinical/epoch").body(Full::from(body)).unwrap();
        let Some((status, body)) = exchange(&mut sender, post).await else { return };
        assert_eq!(status, StatusCode::OK, "{body:?}");
        let grant: EpochGrant = serde_json::from_slice(&body).unwrap();
        let possible = self.under_way.unwrap_or(self.settled);
        assert!(
            grant.watermark == self.settled || grant.watermark == possible,
            "{}: {} was answered, {possible} may have been committed, the landing has {}",
            self.name,
            self.settled,
            grant.watermark
        );
        self.settled = grant.watermark;
        loop {
            let first = self.settled + 1;
            let last = first + first % 50;
            self.under_way = Some(last);
            let raw = codec::encode(&self.batch(first, last)).unwrap();
            let sha = hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &raw));
            let put = Request::put(format!("https://localhost/v1/lake/clinical/1/{first}"))
                .header("content-type", BATCH_MEDIA_TYPE)
                .header("content-encoding", "zstd")
                .header(MANIFEST_HEADER, sha)
                .body(Full::from(zstd::bulk::compress(&raw, 1).unwrap()))
                .unwrap();
            match exchange(&mut sender, put).await {
                Some((StatusCode::OK, _)) => self.settled = last,
                Some((_, body)) => {
                    let problem: Problem = serde_json::from_slice(&body).unwrap();
                    assert_eq!(problem.kind, ProblemKind::Unavailable, "{}", problem.title);
                    return;
                }
                None => return,
            }
        }
    }
}

async fn exchange(
    sender: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> Option<(StatusCode, Bytes)> {
    sender.ready().await.ok()?;
    let response = sender.send_request(request).await.ok()?;
    let (head, body) = response.into_parts();
    Some((head.status, body.collect().await.ok()?.to_bytes()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_survives_kills() {
    let dir = tempfile::tempdir().unwrap();
    let day = |n: i64| Timestamp::from_micros(SystemClock.now().micros() + n * 86_400_000_000);
    let authority = Authority::new("kill", day(-1), day(1)).unwrap();
    authority.write(&dir.path().join("ca.pem")).unwrap();
    let server = authority.server(&["localhost"], day(-1), day(1)).unwrap();
    server.write(&dir.path().join("landing.pem"), &dir.path().join("landing.key")).unwrap();
    let config = dir.path().join("landing.toml");
    let text = "listen = \"127.0.0.1:0\"\ncertificate = \"landing.pem\"\nkey = \"landing.key\"\nclient_ca = \"ca.pem\"\n\
                [[destination]]\nname = \"lake\"\nroot = \"lake\"\npolicy = \"treatment\"\n";
    std::fs::write(&config, text).unwrap();
    let mut gateways: Vec<Gateway> = (0..GATEWAYS)
        .map(|n| {
            let name: Slug = format!("ward-{n}").parse().unwrap();
            let shown = authority.gateway(&name, day(-1), day(1)).unwrap().identity().unwrap();
            let tls = tls::client_config(&authority.ca().unwrap(), Some(shown.into()), &["h2"]).unwrap();
            Gateway { name, tls, settled: 0, under_way: None }
        })
        .collect();
    // Times to live that hit different moments, the same in every run.
    let mut life = 17_u64;
    for round in 0..=ROUNDS {
        let landing = Landing::start(&config);
        let address = landing.address;
        let sending = futures_util::future::join_all(gateways.iter_mut().map(|g| g.send(address)));
        let killing = async {
            life = life.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let ms = LIFE_MS.start + (life >> 33) % (LIFE_MS.end - LIFE_MS.start);
            tokio::time::sleep(Duration::from_millis(if round == ROUNDS { 1500 } else { ms })).await;
            landing.kill();
        };
        tokio::join!(sending, killing);
    }
    // Once more in peace, so that what was half done is finished.
    let mut landing = Landing::start(&config);
    let term = Command::new("kill").arg(landing.child.id().to_string()).status().unwrap();
    assert!(term.success() && landing.child.wait().unwrap().success());
    let root = dir.path().join("lake");
    let verdict = verify(&root).await.unwrap();
    assert!(verdict.ok, "{:#?}", verdict.findings);
    let stat = stat(&root).await.unwrap();
    assert!(stat.rows > 500 && stat.rows == stat.distinct, "{} rows", stat.rows);
    for gateway in &gateways {
        let stream = stat.streams.iter().find(|s| s.stream.gateway == gateway.name).unwrap();
        assert!(stream.first == 1 && stream.last >= gateway.settled, "{stream:?} {}", gateway.settled);
    }
}
