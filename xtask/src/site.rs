//! A gateway and a landing on loopback, with certificates made on the spot: what demo and bench run.
//!
//! ```text
//! DIR/gateway.toml   DIR/landing.toml   DIR/certificates/   DIR/logs/
//! DIR/gateway/       the box's data: logs, state, key
//! DIR/tables/lake/   the tables of destination `lake`, policy `treatment`
//! DIR/tables/research/   those of `research`, policy `safe-harbor`
//! ```

use std::fs::{create_dir_all, write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::binaries::Binaries;
use crate::child::Child;
use crate::{http, shell};

/// The gateway's name.
pub(crate) const GATEWAY: &str = "demo-box";
/// The destinations, each with its policy. Summaries are about the first.
pub(crate) const DESTINATIONS: [(&str, &str); 2] = [("lake", "treatment"), ("research", "safe-harbor")];

/// How long a program may take to be ready.
const READY: Duration = Duration::from_secs(60);
/// How long a program may take to end.
const END: Duration = Duration::from_secs(60);

/// Ports on loopback: the base and those after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ports {
    /// MLLP in.
    pub(crate) mllp: u16,
    /// The local UI, HTTPS.
    pub(crate) ui: u16,
    /// Operations: health, metrics, status.
    pub(crate) operations: u16,
    /// The landing, mutual TLS.
    pub(crate) landing: u16,
}

impl Ports {
    /// How many a site takes.
    const COUNT: u16 = 4;
    /// Away from the product's own default ports, which may be in use.
    const BASE: u16 = 12_575;

    fn from_base(base: u16) -> Self {
        Self { mllp: base, ui: base + 1, operations: base + 2, landing: base + 3 }
    }

    fn all(self) -> [(u16, &'static str); Self::COUNT as usize] {
        [
            (self.mllp, "MLLP"),
            (self.ui, "the UI"),
            (self.operations, "operations"),
            (self.landing, "the landing"),
        ]
    }

    /// Those from `base` on, which must be free; without one, the first free row of ports.
    pub(crate) fn choose(base: Option<u16>) -> Result<Self> {
        if let Some(base) = base {
            if base == 0 || base > u16::MAX - Self::COUNT {
                bail!("--port-base is 1 to {}", u16::MAX - Self::COUNT);
            }
            let ports = Self::from_base(base);
            for (port, what) in ports.all() {
                if let Err(error) = free(port) {
                    bail!("port {port} ({what}) cannot be used: {error}; choose another --port-base");
                }
            }
            return Ok(ports);
        }
        (Self::BASE..Self::BASE + 1_000)
            .step_by(10)
            .map(Self::from_base)
            .find(|ports| ports.all().iter().all(|(port, _)| free(*port).is_ok()))
            .context("no free ports on loopback; choose some with --port-base")
    }
}

fn free(port: u16) -> std::io::Result<()> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map(drop)
}

/// Files and ports of a site that is not running yet.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) dir: PathBuf,
    pub(crate) ports: Ports,
    binaries: Binaries,
}

impl Site {
    /// Makes folders, certificates and configurations. Data of an earlier run in `dir` stays and goes on.
    pub(crate) fn prepare(dir: &Path, ports: Ports, binaries: Binaries) -> Result<Self> {
        create_dir_all(dir).with_context(|| format!("could not make {}", dir.display()))?;
        let dir = dir.canonicalize()?;
        create_dir_all(dir.join("logs"))?;
        let site = Self { dir, ports, binaries };
        let mut certificates = site.wardgate("dev-certificates");
        certificates.arg("--dir").arg(site.dir.join("certificates"));
        shell::output(certificates.args(["--gateway", GATEWAY, "--landing-host", "127.0.0.1"]))?;
        write(site.gateway_config(), site.gateway_toml())?;
        write(site.landing_config(), site.landing_toml())?;
        Ok(site)
    }

    /// `wardgate SUBCOMMAND`.
    pub(crate) fn wardgate(&self, subcommand: &str) -> Command {
        let mut command = Command::new(&self.binaries.wardgate);
        // As the unit file runs it.
        command.env("MALLOC_ARENA_MAX", "2");
        command.arg(subcommand).current_dir(&self.dir);
        command
    }

    /// `wardgate-landing SUBCOMMAND`.
    pub(crate) fn wardgate_landing(&self, subcommand: &str) -> Command {
        let mut command = Command::new(&self.binaries.landing);
        command.arg(subcommand).current_dir(&self.dir);
        command
    }

    pub(crate) fn gateway_config(&self) -> PathBuf {
        self.dir.join("gateway.toml")
    }

    fn landing_config(&self) -> PathBuf {
        self.dir.join("landing.toml")
    }

    /// Where the tables of a destination stand.
    pub(crate) fn tables(&self, destination: &str) -> PathBuf {
        self.dir.join("tables").join(destination)
    }

    /// The box's data.
    pub(crate) fn gateway_data(&self) -> PathBuf {
        self.dir.join("gateway")
    }

    /// Starts landing and gateway and waits until they are ready.
    pub(crate) fn start(&self) -> Result<Running<'_>> {
        let logs = self.dir.join("logs");
        let mut landing = self.wardgate_landing("run");
        landing.arg("--config").arg(self.landing_config());
        let mut gateway = self.wardgate("run");
        gateway.arg("--config").arg(self.gateway_config());
        let landing = Child::start("landing", &landing, &logs)?;
        let gateway = Child::start("gateway", &gateway, &logs)?;
        let mut running = Running { site: self, gateway, landing };
        running.wait_ready()?;
        Ok(running)
    }

    fn gateway_toml(&self) -> String {
        let Ports { mllp, ui, operations, landing } = self.ports;
        let mut text = format!(
            "# Written by cargo xtask demo. Throw-away certificates, key in a file: not for patients' data.\n\
             [gateway]\n\
             id = \"{GATEWAY}\"\n\
             data_dir = \"gateway\"\n\n\
             [spool]\n\
             key_file = \"gateway/root.key\"\n\n\
             [web]\n\
             listen = \"127.0.0.1:{ui}\"\n\n\
             [operations]\n\
             listen = \"127.0.0.1:{operations}\"\n\n\
             [[feed]]\n\
             name = \"adt\"\n\
             mllp = {{ listen = \"127.0.0.1:{mllp}\" }}\n"
        );
        for (name, policy) in DESTINATIONS {
            text.push_str(&format!(
                "\n[[destination]]\n\
                 name = \"{name}\"\n\
                 policy = \"{policy}\"\n\
                 start = \"oldest\"\n\
                 [destination.lakehouse]\n\
                 url = \"https://127.0.0.1:{landing}\"\n\
                 ca = \"certificates/ca.pem\"\n\
                 certificate = \"certificates/gateway.pem\"\n\
                 key = \"certificates/gateway.key.pem\"\n"
            ));
        }
        text
    }

    fn landing_toml(&self) -> String {
        let mut text = format!(
            "# Written by cargo xtask demo.\n\
             listen = \"127.0.0.1:{}\"\n\
             certificate = \"certificates/landing.pem\"\n\
             key = \"certificates/landing.key.pem\"\n\
             client_ca = \"certificates/ca.pem\"\n",
            self.ports.landing
        );
        for (name, policy) in DESTINATIONS {
            text.push_str(&format!(
                "\n[[destination]]\n\
                 name = \"{name}\"\n\
                 policy = \"{policy}\"\n\
                 root = \"tables/{name}\"\n"
            ));
        }
        text
    }
}

/// A site that runs; dropping it ends its programs.
#[derive(Debug)]
pub(crate) struct Running<'a> {
    site: &'a Site,
    // Dropped in this order: the gateway first, so that it does not complain about a landing that is gone.
    gateway: Child,
    landing: Child,
}

impl Running<'_> {
    /// The gateway's process id.
    pub(crate) fn gateway_id(&self) -> u32 {
        self.gateway.id()
    }

    /// An error with the end of its log, if one has ended.
    pub(crate) fn still_runs(&mut self) -> Result<()> {
        self.landing.still_runs()?;
        self.gateway.still_runs()
    }

    /// What the gateway says of itself. On a machine that is very busy it gets a second chance to say it.
    pub(crate) fn status(&self) -> Result<Value> {
        let ask = || http::json(self.site.ports.operations, "/status");
        ask().or_else(|_| ask())
    }

    /// Ends both in order, each orderly.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.gateway.stop(END)?;
        self.landing.stop(END)
    }

    fn wait_ready(&mut self) -> Result<()> {
        let until = Instant::now() + READY;
        loop {
            self.still_runs()?;
            let ready = self.status().ok().and_then(|status| status.get("ready")?.as_bool());
            if ready == Some(true) {
                return Ok(());
            }
            if Instant::now() > until {
                bail!("the gateway is not ready after {} s; {}", READY.as_secs(), self.gateway.tail());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_named() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = Ports::choose(Some(port.min(u16::MAX - Ports::COUNT))).unwrap_err().to_string();
        assert!(error.contains("--port-base"), "{error}");
        assert!(Ports::choose(Some(0)).is_err());
        assert!(Ports::choose(Some(u16::MAX)).is_err());
    }
}
