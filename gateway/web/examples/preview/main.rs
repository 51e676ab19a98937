//! The pages with made-up data: `cargo run -p wardgate-web --example preview -- [SCENE] [PORT] [DIR]`.
//! SCENE is `well`, `trouble`, `quiet` or `empty`. Prints one line of JSON when it listens.

mod fake;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fake::{CODE, Fake, Scene};
use model::{Clock, Timestamp};
use tokio_util::sync::CancellationToken;

/// Samples taken before anybody looks, so that the charts have something to show.
const PAST_SAMPLES: u64 = 60;
const SAMPLE_S: u64 = 15;

#[derive(Debug)]
struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        now()
    }
}

#[expect(clippy::disallowed_methods, reason = "a program of its own, with no daemon to bring the time")]
fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let scene = match arguments.next().as_deref() {
        None | Some("well") => Scene::Well,
        Some("trouble") => Scene::Trouble,
        Some("quiet") => Scene::Quiet,
        Some("empty") => Scene::Empty,
        Some(other) => return Err(format!("no scene {other}: well, trouble, quiet or empty").into()),
    };
    let port: u16 = arguments.next().map_or(Ok(8443), |port| port.parse())?;
    let dir = arguments.next().map_or_else(|| std::env::temp_dir().join("wardgate-preview"), PathBuf::from);
    let config =
        web::Config { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, port)), ..web::Config::default() };
    let product = Arc::new(Fake::new(scene, now));
    let server = web::Server::bind(&config, &dir, Arc::new(SystemClock), product).await?;
    let (address, fingerprint) = (server.local_addr(), server.fingerprint());
    let stop = CancellationToken::new();
    let running = server.run(stop.clone());
    tokio::pin!(running);
    for _ in 0..PAST_SAMPLES {
        tokio::select! {
            () = &mut running => return Ok(()),
            () = tokio::time::sleep(Duration::from_secs(SAMPLE_S)) => {}
        }
    }
    tokio::time::resume();
    #[expect(clippy::print_stdout, reason = "what a person or the browser test needs to begin")]
    {
        println!(r#"{{"url":"https://{address}","code":"{CODE}","fingerprint":"{fingerprint}"}}"#);
    }
    running.await;
    Ok(())
}
