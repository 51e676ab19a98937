//! A gateway and a landing in a folder of their own.
//!
//! ```text
//! DIR/gateway.toml      DIR/landing.toml      DIR/certificates/      DIR/logs/
//! DIR/gateway/          the box's data: logs, state, key
//! DIR/tables/NAME/      the table root of destination NAME
//! ```

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use model::{Slug, Timestamp};
use serde_json::Value;
use tls::throwaway::{Authority, Issued};

use crate::process::Process;
use crate::{http, peers, wait};

/// The gateway's name, unless a test chooses another.
pub const GATEWAY: &str = "ward-3";
const DAY: i64 = 86_400_000_000;

/// Ports are taken from here on: below those that the system gives to outgoing connections, so that no sender
/// takes the port of a program that was just killed.
const PORTS_FROM: u16 = 17_000;
const PORTS_COUNT: u16 = 14_000;

/// Ports of loopback.
#[derive(Debug, Clone, Copy)]
pub struct Ports {
    /// MLLP in.
    pub mllp: u16,
    /// The local UI.
    pub ui: u16,
    /// Health, metrics, status.
    pub operations: u16,
    /// The landing.
    pub landing: u16,
}

/// A port that nobody uses.
///
/// # Panics
/// When there is none.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test programs that run at once begin at different places.
    let offset = u16::try_from(std::process::id() % 140).unwrap() * 100;
    for _ in 0..PORTS_COUNT {
        let port = PORTS_FROM + (offset + NEXT.fetch_add(1, Ordering::SeqCst)) % PORTS_COUNT;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port on loopback");
}

/// A destination, on both sides.
#[derive(Debug, Clone)]
pub struct Destination {
    /// Its name.
    pub name: String,
    /// The policy at the gateway.
    pub policy: String,
    /// The label that the landing expects.
    pub label: String,
    /// `now`, `oldest` or a record.
    pub start: String,
    /// Another port than the landing's: a network that fails.
    pub port: Option<u16>,
    /// Lines of `[destination.consent]`.
    pub consent: Option<String>,
}

impl Destination {
    /// A destination that begins with the oldest record.
    pub fn new(name: &str, policy: &str) -> Self {
        Self {
            name: name.to_owned(),
            policy: policy.to_owned(),
            label: policy.to_owned(),
            start: "oldest".to_owned(),
            port: None,
            consent: None,
        }
    }
}

/// Files and ports of a gateway and a landing. Kept where a test fails.
#[derive(Debug)]
pub struct Site {
    /// The folder.
    pub dir: PathBuf,
    /// The ports.
    pub ports: Ports,
    /// The gateway's name in its configuration.
    pub gateway: String,
    /// The destinations of the gateway.
    pub destinations: Vec<Destination>,
    /// The destinations of the landing.
    pub roots: Vec<Destination>,
    /// Lines of `[spool]`.
    pub spool: String,
    /// Lines of the `mllp` feed.
    pub mllp: String,
    /// Further sections of the gateway's configuration.
    pub more: String,
    /// What both programs log, as `WARDGATE_LOG` says it.
    pub log_level: Option<String>,
    /// Environment of both programs, as `NAME=value`.
    pub environment: Vec<String>,
    authority: Authority,
    _dir: Option<tempfile::TempDir>,
}

impl Site {
    /// Destinations `lake` with policy `treatment` and `research` with `safe-harbor`.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn new() -> Self {
        Self::with(vec![Destination::new("lake", "treatment"), Destination::new("research", "safe-harbor")])
    }

    /// The destination `lake` with policy `treatment`.
    pub fn small() -> Self {
        Self::with(vec![Destination::new("lake", "treatment")])
    }

    /// These destinations.
    pub fn with(destinations: Vec<Destination>) -> Self {
        let dir = tempfile::Builder::new().prefix("wardgate-system-").tempdir().unwrap();
        let (from, to) = (days_from_now(-1), days_from_now(30));
        let site = Self {
            dir: dir.path().to_owned(),
            ports: Ports {
                mllp: free_port(),
                ui: free_port(),
                operations: free_port(),
                landing: free_port(),
            },
            gateway: GATEWAY.to_owned(),
            roots: destinations.clone(),
            destinations,
            spool: String::new(),
            mllp: String::new(),
            more: String::new(),
            log_level: None,
            environment: Vec::new(),
            authority: Authority::new("system tests", from, to).unwrap(),
            _dir: Some(dir),
        };
        std::fs::create_dir_all(site.dir.join("certificates")).unwrap();
        site.authority.write(&site.certificate("ca.pem")).unwrap();
        site.gateway_certificate(from, to);
        site.landing_certificate(from, to);
        site
    }

    /// Gives the gateway another name, in its certificate too.
    pub fn rename(&mut self, gateway: &str) {
        self.gateway = gateway.to_owned();
        self.gateway_certificate(days_from_now(-1), days_from_now(30));
    }

    /// A file of the certificates' folder.
    pub fn certificate(&self, name: &str) -> PathBuf {
        self.dir.join("certificates").join(name)
    }

    /// Issues the gateway's certificate, in place of the one before.
    pub fn gateway_certificate(&self, from: Timestamp, to: Timestamp) {
        let id: Slug = self.gateway.parse().unwrap();
        self.put(&self.authority.gateway(&id, from, to).unwrap(), "gateway");
    }

    /// Issues the landing's certificate, in place of the one before.
    pub fn landing_certificate(&self, from: Timestamp, to: Timestamp) {
        self.put(&self.authority.server(&["127.0.0.1", "localhost"], from, to).unwrap(), "landing");
    }

    /// A certificate of the site's own authority for another gateway, as `NAME.pem` and `NAME.key.pem`.
    pub fn certificate_of(&self, name: &str) {
        let id: Slug = name.parse().unwrap();
        let issued = self.authority.gateway(&id, days_from_now(-1), days_from_now(30)).unwrap();
        self.put(&issued, name);
    }

    /// A gateway's certificate by an authority that nobody here knows, in place of the gateway's own.
    pub fn stranger_certificate(&self) {
        let (from, to) = (days_from_now(-1), days_from_now(30));
        let stranger = Authority::new("somebody else", from, to).unwrap();
        self.put(&stranger.gateway(&self.gateway.parse().unwrap(), from, to).unwrap(), "gateway");
    }

    /// A landing's certificate by an authority that nobody here knows, in place of the landing's own.
    pub fn stranger_landing(&self) {
        let (from, to) = (days_from_now(-1), days_from_now(30));
        let stranger = Authority::new("somebody else", from, to).unwrap();
        self.put(&stranger.server(&["127.0.0.1"], from, to).unwrap(), "landing");
    }

    fn put(&self, issued: &Issued, name: &str) {
        let key = self.certificate(&format!("{name}.key.pem"));
        issued.write(&self.certificate(&format!("{name}.pem")), &key).unwrap();
    }

    /// Writes both configurations.
    pub fn write(&self) {
        std::fs::write(self.dir.join("gateway.toml"), self.gateway_toml()).unwrap();
        std::fs::write(self.dir.join("landing.toml"), self.landing_toml()).unwrap();
    }

    /// The gateway's configuration as [`Site::write`] writes it.
    pub fn gateway_toml(&self) -> String {
        let Ports { mllp, ui, operations, landing } = self.ports;
        let (id, spool, listener, more) = (&self.gateway, &self.spool, &self.mllp, &self.more);
        let mut text = format!(
            "[gateway]\nid = \"{id}\"\ndata_dir = \"gateway\"\n\n\
             [spool]\nkey_file = \"root.key\"\n{spool}\n\
             [web]\nlisten = \"127.0.0.1:{ui}\"\n\n\
             [operations]\nlisten = \"127.0.0.1:{operations}\"\n\n\
             [[feed]]\nname = \"adt\"\n[feed.mllp]\nlisten = \"127.0.0.1:{mllp}\"\n{listener}\n{more}\n"
        );
        for d in &self.destinations {
            let port = d.port.unwrap_or(landing);
            write!(
                text,
                "[[destination]]\nname = \"{}\"\npolicy = \"{}\"\nstart = \"{}\"\n\
                 [destination.lakehouse]\nurl = \"https://127.0.0.1:{port}\"\nca = \"certificates/ca.pem\"\n\
                 certificate = \"certificates/gateway.pem\"\nkey = \"certificates/gateway.key.pem\"\n\n",
                d.name, d.policy, d.start
            )
            .unwrap();
            if let Some(consent) = &d.consent {
                writeln!(text, "[destination.consent]\n{consent}").unwrap();
            }
        }
        text
    }

    fn landing_toml(&self) -> String {
        let mut text = format!(
            "listen = \"127.0.0.1:{}\"\n\
             certificate = \"certificates/landing.pem\"\n\
             key = \"certificates/landing.key.pem\"\n\
             client_ca = \"certificates/ca.pem\"\n",
            self.ports.landing
        );
        for d in &self.roots {
            write!(
                text,
                "\n[[destination]]\nname = \"{}\"\npolicy = \"{}\"\nroot = \"tables/{}\"\n",
                d.name, d.label, d.name
            )
            .unwrap();
        }
        text
    }

    /// Where the tables of a destination stand.
    pub fn root(&self, destination: &str) -> PathBuf {
        self.dir.join("tables").join(destination)
    }

    /// The box's data directory.
    pub fn data(&self) -> PathBuf {
        self.dir.join("gateway")
    }

    /// Where the programs log to.
    pub fn logs(&self) -> PathBuf {
        self.dir.join("logs")
    }

    /// Writes the configurations and starts both programs.
    pub fn start(&self) -> (Process, Process) {
        self.write();
        let landing = self.start_landing();
        let gateway = self.start_gateway();
        (gateway, landing)
    }

    /// Starts the landing and waits until it listens.
    #[track_caller]
    pub fn start_landing(&self) -> Process {
        let mut landing = self.launch_landing();
        self.landing_listens(&mut landing);
        landing
    }

    /// Starts the landing.
    pub fn launch_landing(&self) -> Process {
        self.launch("landing", &peers::landing())
    }

    /// Waits until the landing listens.
    #[track_caller]
    pub fn landing_listens(&self, landing: &mut Process) {
        wait::until("the landing", || {
            landing.still_runs();
            std::net::TcpStream::connect(("127.0.0.1", self.ports.landing)).ok()
        });
    }

    /// Starts the gateway and waits until it takes messages in.
    #[track_caller]
    pub fn start_gateway(&self) -> Process {
        let mut gateway = self.launch_gateway();
        self.gateway_ready(&mut gateway);
        gateway
    }

    /// Starts the gateway.
    pub fn launch_gateway(&self) -> Process {
        self.launch("gateway", &peers::wardgate())
    }

    fn launch(&self, name: &str, program: &Path) -> Process {
        let file = format!("{name}.toml");
        let mut arguments = vec!["run", "--config", &file];
        let mut program = program.to_owned();
        let mut set = self.environment.clone();
        set.extend(self.log_level.as_ref().map(|level| format!("WARDGATE_LOG={level}")));
        if !set.is_empty() {
            set.push(program.to_str().unwrap().to_owned());
            arguments.splice(0..0, set.iter().map(String::as_str));
            program = "/usr/bin/env".into();
        }
        Process::start(name, &program, &arguments, &self.dir, &self.logs())
    }

    /// Waits until `/readyz` says yes.
    #[track_caller]
    pub fn gateway_ready(&self, gateway: &mut Process) {
        wait::until("the gateway to be ready", || {
            gateway.still_runs();
            http::get(self.ports.operations, "/readyz").filter(|(status, _)| *status == 200)
        });
    }

    /// What the gateway says of itself; `None` while it does not run.
    pub fn status(&self) -> Option<Value> {
        let (code, body) = http::get(self.ports.operations, "/status")?;
        assert_eq!(code, 200, "{body}");
        Some(serde_json::from_str(&body).unwrap())
    }

    /// What the gateway says of a destination.
    pub fn destination(&self, name: &str) -> Option<Value> {
        let status = self.status()?;
        let destinations = status["destinations"].as_array()?;
        destinations.iter().find(|d| d["name"] == name).cloned()
    }

    /// Waits until the destination is in this state; the reason that it gives.
    #[track_caller]
    pub fn in_state(&self, destination: &str, state: &str) -> String {
        wait::until(&format!("{destination} to be {state}"), || {
            let now = self.destination(destination)?["state"].clone();
            (now["name"] == state).then(|| now["why"].as_str().unwrap_or_default().to_owned())
        })
    }

    /// Waits until the destination gives a reason with this word for not delivering; the whole reason.
    #[track_caller]
    pub fn complaint(&self, destination: &str, word: &str) -> String {
        wait::until(&format!("{destination} to complain of `{word}`"), || {
            let state = self.destination(destination)?["state"].clone();
            state["why"].as_str().filter(|why| why.contains(word)).map(str::to_owned)
        })
    }

    /// Waits until every destination has everything.
    #[track_caller]
    pub fn drained(&self) {
        self.drained_within(wait::PATIENCE);
    }

    /// Waits at most so long until every destination has everything.
    ///
    /// # Panics
    /// When it is over, with what the gateway says.
    #[track_caller]
    pub fn drained_within(&self, patience: Duration) {
        let end = SystemTime::now() + patience;
        loop {
            let status = self.status();
            if status.as_ref().is_some_and(|s| backlog(s) == 0) {
                return;
            }
            assert!(SystemTime::now() < end, "not drained: {status:#?}");
            std::thread::sleep(Duration::from_millis(25));
        }
    }

    /// Runs `wardgate` with these arguments, and no input.
    pub fn wardgate(&self, arguments: &[&str]) -> Output {
        run(&peers::wardgate(), arguments, &self.dir)
    }

    /// Runs `wardgate-landing` with these arguments.
    pub fn landing(&self, arguments: &[&str]) -> Output {
        run(&peers::landing(), arguments, &self.dir)
    }

    /// Runs `wardgate`, expects exit code 0 and JSON.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let out = self.wardgate(arguments);
        assert_eq!(out.status.code(), Some(0), "{arguments:?}: {}", shown(&out));
        serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{arguments:?}: {e}: {}", shown(&out)))
    }

    /// Both sides' own checks find nothing.
    #[track_caller]
    pub fn nothing_to_find(&self) {
        let out = self.wardgate(&["spool", "verify", "--config", "gateway.toml", "--json"]);
        assert_eq!(out.status.code(), Some(0), "spool verify: {}", shown(&out));
        for root in &self.roots {
            let out = self.landing(&["verify", "--root", self.root(&root.name).to_str().unwrap(), "--json"]);
            assert_eq!(out.status.code(), Some(0), "landing verify {}: {}", root.name, shown(&out));
        }
    }
}

impl Default for Site {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let (true, Some(dir)) = (std::thread::panicking(), self._dir.take()) {
            eprintln!("what the failed test left is kept in {}", dir.keep().display());
        }
    }
}

/// Records that some destination does not have yet.
pub fn backlog(status: &Value) -> u64 {
    let destinations = status["destinations"].as_array().unwrap();
    destinations
        .iter()
        .flat_map(|d| d["lanes"].as_array().unwrap())
        .map(|l| l["backlog"].as_u64().unwrap())
        .sum()
}

/// Now, moved by so many days.
pub fn days_from_now(days: i64) -> Timestamp {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
    Timestamp::from_micros(i64::try_from(now).unwrap() + days * DAY)
}

/// Runs a program to its end, without input.
pub fn run(program: &Path, arguments: &[&str], dir: &Path) -> Output {
    Command::new(program).args(arguments).current_dir(dir).stdin(Stdio::null()).output().unwrap()
}

/// Runs a program to its end with this input.
pub fn filter(program: &Path, arguments: &[&str], input: &[u8]) -> Output {
    use std::io::Write as _;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writing = std::thread::spawn(move || stdin.write_all(&input));
    let out = child.wait_with_output().unwrap();
    // Who did not read to the end has closed the pipe; its exit code says more.
    writing.join().unwrap().ok();
    out
}

/// All that a program said.
pub fn shown(out: &Output) -> String {
    format!(
        "{}\n{}{}",
        out.status,
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    )
}
