//! NATS JetStream: a server of its own with an encrypted file store that syncs every message, and its Rust client.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use async_nats::jetstream::{self, Context, stream};
use bytes::Bytes;
use futures_util::future::try_join_all;
use tokio::runtime::Runtime;
use tokio::time::{Instant, sleep};

use super::child::Store;

const SUBJECT: &str = "records";
const START: Duration = Duration::from_secs(10);

pub(super) struct JetStream {
    runtime: Runtime,
    context: Context,
    server: Child,
}

impl JetStream {
    pub(super) fn open(dir: &Path, program: &str) -> Result<Self, String> {
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| Ok(listener.local_addr()?.port()))
            .map_err(|e| e.to_string())?;
        let store = dir.join("store");
        let file = dir.join("nats.conf");
        let text = format!(
            "listen: \"127.0.0.1:{port}\"\n\
             jetstream {{ store_dir: \"{}\", sync_interval: always, cipher: chachapoly, key: \"a key of the benchmark\" }}\n",
            store.display()
        );
        std::fs::write(&file, text).map_err(|e| e.to_string())?;
        let server = Command::new(program)
            .arg("--config")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| format!("{program}: {e}"))?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(|e| e.to_string())?;
        let connected = runtime.block_on(connect(port));
        let mut this = match connected {
            Ok(context) => Self { runtime, context, server },
            Err(why) => {
                let mut server = server;
                server.kill().ok();
                server.wait().ok();
                return Err(why);
            }
        };
        this.make_stream()?;
        Ok(this)
    }

    fn make_stream(&mut self) -> Result<(), String> {
        let config = stream::Config {
            name: SUBJECT.to_owned(),
            subjects: vec![SUBJECT.to_owned()],
            storage: stream::StorageType::File,
            ..stream::Config::default()
        };
        self.runtime.block_on(self.context.create_stream(config)).map(drop).map_err(|e| e.to_string())
    }
}

async fn connect(port: u16) -> Result<Context, String> {
    let begun = Instant::now();
    loop {
        match async_nats::connect(format!("127.0.0.1:{port}")).await {
            Ok(client) => return Ok(jetstream::new(client)),
            Err(error) if begun.elapsed() > START => return Err(error.to_string()),
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
}

impl Store for JetStream {
    fn commit(&mut self, records: &[Vec<u8>]) -> Result<(), String> {
        let context = &self.context;
        self.runtime.block_on(async {
            let mut acknowledged = Vec::with_capacity(records.len());
            for record in records {
                let sent = context.publish(SUBJECT, Bytes::copy_from_slice(record)).await;
                acknowledged.push(sent.map_err(|e| e.to_string())?.into_future());
            }
            try_join_all(acknowledged).await.map(drop).map_err(|e| e.to_string())
        })
    }

    fn process(&self) -> String {
        self.server.id().to_string()
    }
}

impl Drop for JetStream {
    fn drop(&mut self) {
        self.server.kill().ok();
        self.server.wait().ok();
    }
}
