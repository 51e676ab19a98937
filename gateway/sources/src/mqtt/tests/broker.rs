//! mosquitto in a private folder, on a free port of the loopback, and a publisher for it.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rumqttc::{AsyncClient, Event, EventLoop, Incoming, MqttOptions, Publish, QoS};
use tempfile::TempDir;

pub(super) struct Mosquitto {
    pub(super) port: u16,
    folder: TempDir,
    child: Option<Child>,
}

/// The binary: distributions put it beside the daemons, out of a user's path.
fn binary() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    folders
        .map(|folder: PathBuf| folder.join("mosquitto"))
        .find(|binary| binary.is_file())
        .expect("mosquitto is not installed; `cargo xtask test` installs what the tests need")
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Mosquitto {
    pub(super) async fn start() -> Self {
        Self::start_with("").await
    }

    /// With further lines of configuration for its one listener.
    pub(super) async fn start_with(extra: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let place = folder.path().display();
        // As root it would give up its rights, and with them the folder. Changes are saved at once, as a
        // broker's host may lose power.
        let settings = format!(
            "user root\npersistence true\npersistence_location {place}/\nautosave_on_changes true\n\
             autosave_interval 1\nmax_queued_messages 10000\nlistener {port} 127.0.0.1\nallow_anonymous true\n{extra}\n"
        );
        std::fs::write(folder.path().join("mosquitto.conf"), settings).unwrap();
        let mut broker = Self { port, folder, child: None };
        broker.up().await;
        broker
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(super) async fn up(&mut self) {
        let log = std::fs::File::create(self.folder.path().join("log")).unwrap();
        let child = Command::new(binary())
            .arg("-c")
            .arg(self.folder.path().join("mosquitto.conf"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        super::eventually("mosquitto listens", async || {
            tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.is_ok()
        })
        .await;
    }

    /// In order: it saves its sessions.
    pub(super) fn down(&mut self) {
        if let Some(mut child) = self.child.take() {
            let pid = child.id().to_string();
            assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
            child.wait().unwrap();
        }
    }

    /// Without its memory, as a broker that does not persist.
    pub(super) fn forget(&mut self) {
        self.down();
        std::fs::remove_file(self.folder.path().join("mosquitto.db")).unwrap();
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

/// An ordinary MQTT client, as a device's bridge or as a second pair of eyes.
pub(super) struct Peer {
    client: AsyncClient,
    eventloop: EventLoop,
}

impl Peer {
    pub(super) async fn connect(port: u16, client_id: &str, clean: bool) -> Self {
        let mut options = MqttOptions::new(client_id, "127.0.0.1", port);
        options.set_clean_session(clean).set_manual_acks(true).set_max_packet_size(1 << 28, 1 << 28);
        let (client, mut eventloop) = AsyncClient::new(options, 100);
        assert!(matches!(eventloop.poll().await.unwrap(), Event::Incoming(Incoming::ConnAck(_))));
        Self { client, eventloop }
    }

    pub(super) async fn device(port: u16) -> Self {
        Self::connect(port, "bridge", true).await
    }

    /// Publishes, and waits until the broker has taken it.
    pub(super) async fn publish(&mut self, topic: &str, qos: QoS, retain: bool, payload: &[u8]) {
        self.client.publish(topic, qos, retain, payload).await.unwrap();
        loop {
            match self.eventloop.poll().await.unwrap() {
                Event::Incoming(Incoming::PubAck(_)) => return,
                Event::Outgoing(rumqttc::Outgoing::Publish(0)) => return,
                _ => {}
            }
        }
    }

    pub(super) async fn send(&mut self, payload: &[u8]) {
        self.publish("ward3/oximeter/bed-12/plx", QoS::AtLeastOnce, false, payload).await;
    }

    /// What the broker still has for this session, until it is silent.
    pub(super) async fn pending(&mut self) -> Vec<Publish> {
        let mut pending = Vec::new();
        while let Ok(event) = tokio::time::timeout(Duration::from_millis(500), self.eventloop.poll()).await {
            if let Event::Incoming(Incoming::Publish(publish)) = event.unwrap() {
                pending.push(publish);
            }
        }
        pending
    }
}

/// What the broker still keeps for the gateway's session.
pub(super) async fn kept_for_gateway(port: u16) -> Vec<Publish> {
    Peer::connect(port, "wardgate-test", false).await.pending().await
}
