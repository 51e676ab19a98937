//! How many rows a second land, over real TLS, in one process.
//!
//!     cargo run -p wardgate-landing --example throughput -- [STREAMS] [ROWS_PER_BATCH] [BATCHES] [DIR]
//!
//! Each stream is a gateway of its own that sends its batches one after the other. Prints one JSON object;
//! `WARDGATE_LOG=landing=info` shows each commit.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods, reason = "an example")]

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper_util::rt::{TokioExecutor, TokioIo};
use landing::clock::SystemClock;
use landing::config::Config;
use landing::server::Server;
use model::wire::{BATCH_MEDIA_TYPE, MANIFEST_HEADER};
use model::{
    Batch, Clock as _, Format, Lane, PolicyRef, Released, Slug, StreamEpoch, StreamId, TimeValue, Timestamp,
    codec,
};
use serde_bytes::ByteBuf;
use tls::throwaway::Authority;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

fn record(seq: u64) -> Released {
    let mut payload = format!(
        "MSH|^~\\&|LAB|WARD 3|EHR|CENTRAL|20261124083000+0100||ORU^R01^ORU_R01|C{seq}|P|2.5.1\r\
         PID|1||{seq}^^^HOSP^MR||TESTCASE^{seq}||19700101|F|||1 EXAMPLE ST^^TOWN^^12345\rPV1|1|I|W3^{seq}\r\
         OBR|1|{seq}|{seq}|55231-5^Panel^LN|||20261124083000\r"
    );
    for n in 1..=4 {
        payload += &format!("OBX|{n}|NM|8867-4^Heart rate^LN||{}|/min^^UCUM|60-100|N|||F\r", seq % 90 + n);
    }
    Released {
        seq,
        origin: None,
        feed: "adt".parse().unwrap(),
        format: Format::Hl7v2,
        received_at: Some(TimeValue::Instant(SystemClock.now())),
        peer: Some("10.0.0.1:5000".into()),
        channel: None,
        message_type: Some("ORU^R01^ORU_R01".into()),
        control_id: Some(format!("C{seq}")),
        observations: Vec::new(),
        charset: None,
        payload: ByteBuf::from(payload),
        rules: vec![("treatment".into(), 1)],
    }
}

async fn gateway(
    address: std::net::SocketAddr,
    tls: Arc<rustls::ClientConfig>,
    name: Slug,
    rows: u64,
    batches: u64,
) -> (u64, Vec<u64>) {
    let tcp = tokio::net::TcpStream::connect(address).await.unwrap();
    let host = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let stream = tokio_rustls::TlsConnector::from(tls).connect(host, tcp).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let post = Request::post("https://localhost/v1/lake/clinical/epoch")
        .body(Full::new(Bytes::from(format!(
            "{{\"incarnation\":\"{:032x}\",\"proposed\":1,\"resume_after\":0}}",
            7
        ))))
        .unwrap();
    assert!(sender.send_request(post).await.unwrap().status().is_success());
    let stream = StreamId {
        gateway: name,
        destination: "lake".parse().unwrap(),
        lane: Lane::Clinical,
        epoch: StreamEpoch::FIRST,
    };
    let (mut bytes, mut latencies) = (0, Vec::new());
    for n in 0..batches {
        let (first, last) = (n * rows + 1, (n + 1) * rows);
        let policy =
            PolicyRef { name: "treatment".into(), label: "treatment".into(), sha256: "00".repeat(32) };
        let records = (first..=last).map(record).collect();
        let batch = Batch { stream: stream.clone(), first, last, policy, records, skipped: Vec::new() };
        let raw = codec::encode(&batch).unwrap();
        bytes += raw.len() as u64;
        let put = Request::put(format!("https://localhost/v1/lake/clinical/1/{first}"))
            .header("content-type", BATCH_MEDIA_TYPE)
            .header("content-encoding", "zstd")
            .header(MANIFEST_HEADER, hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &raw)))
            .body(Full::new(Bytes::from(zstd::bulk::compress(&raw, 1).unwrap())))
            .unwrap();
        let sent = Instant::now();
        let answer = sender.send_request(put).await.unwrap();
        assert!(answer.status().is_success(), "{:?}", answer.into_body().collect().await.unwrap().to_bytes());
        latencies.push(u64::try_from(sent.elapsed().as_millis()).unwrap());
    }
    (bytes, latencies)
}

#[tokio::main]
async fn main() {
    let filter = tracing_subscriber::EnvFilter::from_env("WARDGATE_LOG");
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |n: usize, default| arguments.get(n).map_or(default, |a| a.parse().unwrap());
    let (streams, rows, batches) = (number(0, 1), number(1, 500), number(2, 40));
    let temporary = tempfile::tempdir().unwrap();
    let dir = arguments.get(3).map_or(temporary.path().to_owned(), Into::into);
    let day = |n: i64| Timestamp::from_micros(SystemClock.now().micros() + n * 86_400_000_000);
    let authority = Authority::new("throughput", day(-1), day(1)).unwrap();
    authority.write(&dir.join("ca.pem")).unwrap();
    let server = authority.server(&["localhost"], day(-1), day(1)).unwrap();
    server.write(&dir.join("landing.pem"), &dir.join("landing.key")).unwrap();
    let text = "listen = \"127.0.0.1:0\"\ncertificate = \"landing.pem\"\nkey = \"landing.key\"\nclient_ca = \"ca.pem\"\n\
                [[destination]]\nname = \"lake\"\nroot = \"lake\"\npolicy = \"treatment\"\n";
    let config = Config::parse(text, &dir.join("landing.toml")).unwrap();
    let server = Server::bind(&config, Arc::new(SystemClock)).await.unwrap();
    let address = server.local_addr();
    let stop = CancellationToken::new();
    let running = tokio::spawn(server.run(stop.clone()));
    let begun = Instant::now();
    let mut gateways = Vec::new();
    for n in 0..streams {
        let name: Slug = format!("ward-{n}").parse().unwrap();
        let shown = authority.gateway(&name, day(-1), day(1)).unwrap().identity().unwrap();
        let tls = tls::client_config(&authority.ca().unwrap(), Some(shown.into()), &["h2"]).unwrap();
        gateways.push(tokio::spawn(gateway(address, tls, name, rows, batches)));
    }
    let (mut bytes, mut latencies) = (0, Vec::new());
    for gateway in gateways {
        let (sent, took) = gateway.await.unwrap();
        bytes += sent;
        latencies.extend(took);
    }
    let seconds = begun.elapsed().as_secs_f64();
    stop.cancel();
    running.await.unwrap();
    latencies.sort_unstable();
    let at = |q: usize| latencies.get(latencies.len() * q / 100).copied().unwrap_or_default();
    let landed = streams * rows * batches;
    println!(
        "{{\"rows\":{landed},\"rows_per_s\":{:.0},\"mb_per_s\":{:.1},\"p50_ms\":{},\"p99_ms\":{}}}",
        landed as f64 / seconds,
        bytes as f64 / seconds / 1e6,
        at(50),
        at(99)
    );
}
