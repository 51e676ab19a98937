//! The document as it is written. Paths are relative to the file's folder.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::{Lane, RecordId, Slug};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Largest document, in bytes.
pub const DOCUMENT_BYTES_MAX: usize = 1 << 20;
/// The root key in the data directory, where the document names no other.
pub(crate) const KEY_FILE: &str = "root.key";
/// Most feeds.
pub const FEEDS_MAX: usize = 256;
/// Most destinations.
pub const DESTINATIONS_MAX: usize = 16;

/// The whole configuration of a gateway.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// The box itself.
    pub gateway: Gateway,
    /// The encrypted logs.
    #[serde(default)]
    pub spool: spool::Config,
    /// The local UI.
    #[serde(default)]
    pub web: web::Config,
    /// Health and metrics for machines.
    #[serde(default)]
    pub operations: Operations,
    /// The audit log's witnesses.
    #[serde(default)]
    pub audit: Audit,
    /// What comes in.
    #[serde(default, rename = "feed")]
    pub feeds: Vec<Feed>,
    /// Where it goes.
    #[serde(default, rename = "destination")]
    pub destinations: Vec<Destination>,
    /// Policies of this site, beside the built-in `treatment`, `safe-harbor`, `safe-harbor-linked` and
    /// `limited-data-set`.
    #[serde(default, rename = "policy")]
    pub policies: Vec<PolicyFile>,
}

impl Document {
    /// The files it names, but for the root key: what a gateway needs beside it to be the same again.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut copy = self.clone();
        let mut files: Vec<PathBuf> = copy.files_mut().into_iter().map(|path| path.clone()).collect();
        files.sort_unstable();
        files.dedup();
        files.retain(|path| *path != self.spool.key_file);
        files
    }

    /// Every path but those of the data directory and the root key.
    pub(crate) fn files_mut(&mut self) -> Vec<&mut PathBuf> {
        let mut files: Vec<&mut PathBuf> = Vec::new();
        files.extend(self.web.certificate.iter_mut().chain(&mut self.web.key));
        files.extend(self.policies.iter_mut().map(|policy| &mut policy.file));
        for feed in &mut self.feeds {
            if let Some(tls) = feed.mllp.as_mut().and_then(|m| m.tls.as_mut()) {
                files.extend(tls.files_mut());
            }
            files.extend(feed.fhir.iter_mut().flat_map(|fhir| fhir.files_mut()));
            if let Some(mqtt) = &mut feed.mqtt {
                let named = [&mut mqtt.password_file, &mut mqtt.ca, &mut mqtt.certificate, &mut mqtt.key];
                files.extend(named.into_iter().flatten());
            }
        }
        if let Some(Syslog { tls, .. }) = &mut self.audit.syslog {
            files.push(&mut tls.ca);
            files.extend(tls.certificate.iter_mut().chain(&mut tls.key));
        }
        for destination in &mut self.destinations {
            if let Some(lakehouse) = &mut destination.lakehouse {
                files.extend([&mut lakehouse.ca, &mut lakehouse.certificate, &mut lakehouse.key]);
            }
            if let Some(tls) = destination.mllp.as_mut().and_then(|m| m.tls.as_mut()) {
                files.push(&mut tls.ca);
                files.extend(tls.certificate.iter_mut().chain(&mut tls.key));
            }
        }
        files
    }
}

/// What of a document must be known before anything else can be read: who the box is, where its data and its key are.
#[derive(Debug, Clone)]
pub struct Essentials {
    /// The box.
    pub gateway: Gateway,
    /// Its logs.
    pub spool: spool::Config,
}

impl Essentials {
    /// Of a document whose other sections may name files that are not there yet. Relative paths are taken from `base`.
    ///
    /// # Errors
    /// What is wrong with `[gateway]` or `[spool]`, for a person.
    pub fn of(text: &str, base: &Path) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Sections {
            gateway: Gateway,
            #[serde(default)]
            spool: spool::Config,
        }
        let table: toml::Table = text.parse().map_err(|e: toml::de::Error| e.message().to_owned())?;
        let has_key = table.get("spool").is_some_and(|spool| spool.get("key_file").is_some());
        let sections: Sections = table.try_into().map_err(|e: toml::de::Error| e.message().to_owned())?;
        let Sections { mut gateway, mut spool } = sections;
        gateway.data_dir = base.join(&gateway.data_dir);
        spool.key_file = if has_key { base.join(&spool.key_file) } else { gateway.data_dir.join(KEY_FILE) };
        spool.check().map_err(|error| error.to_string())?;
        Ok(Self { gateway, spool })
    }
}

/// The box itself.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Gateway {
    /// Its name: the same as in the certificates with which it presents itself.
    pub id: Slug,
    /// Where everything is kept that must survive a restart.
    #[serde(default = "data_dir")]
    pub data_dir: PathBuf,
}

fn data_dir() -> PathBuf {
    PathBuf::from("/var/lib/wardgate")
}

/// Health and metrics for machines: `/healthz`, `/readyz`, `/metrics`, `/status`. No PHI, no authentication:
/// keep it on loopback.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Operations {
    /// Address and port.
    pub listen: SocketAddr,
}

impl Default for Operations {
    fn default() -> Self {
        Self { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9090)) }
    }
}

/// The audit log's witnesses. Every Wardgate landing keeps its checkpoints, without a line here.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Audit {
    /// A checkpoint leaves after so many new entries at once, 1 to 10,000.
    #[schemars(range(min = 1, max = 10_000))]
    pub checkpoint_entries: u64,
    /// Otherwise after so many seconds, where anything has changed, 1 to 86,400.
    #[schemars(range(min = 1, max = 86_400))]
    pub checkpoint_every_s: u64,
    /// A syslog server that gets every entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub syslog: Option<Syslog>,
}

impl Default for Audit {
    fn default() -> Self {
        let pace = pipeline::Pace::default();
        Self { checkpoint_entries: pace.entries, checkpoint_every_s: pace.every.as_secs(), syslog: None }
    }
}

/// A syslog server over TLS (RFC 5425), in the format of RFC 5424. It gets every entry of the audit log, oldest first; one
/// that is away holds up nothing, until the journal is full of what it has not got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Syslog {
    /// Where it listens: `host:port`. Port 6514 where none is given.
    pub to: String,
    /// TLS; there is no other way.
    pub tls: forward::mllp::Tls,
    /// What stands in a message.
    #[serde(default)]
    pub format: SyslogFormat,
}

/// What stands in a syslog message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SyslogFormat {
    /// A line of `wardgate audit export`.
    #[default]
    Json,
    /// The XML audit message of DICOM PS3.15 A.5, as IHE's ATNA wants it.
    Atna,
}

/// IANA's port of syslog over TLS.
const SYSLOG_PORT_DEFAULT: u16 = 6514;

impl Syslog {
    /// As the room that dials takes it: a host, a port and TLS.
    pub fn receiver(&self) -> forward::mllp::Config {
        let names_port = match self.to.strip_prefix('[') {
            Some(rest) => rest.contains("]:"),
            None => self.to.contains(':'),
        };
        let to = if names_port { self.to.clone() } else { format!("{}:{SYSLOG_PORT_DEFAULT}", self.to) };
        forward::mllp::Config { tls: Some(self.tls.clone()), ..forward::mllp::Config::to(&to) }
    }
}

impl Audit {
    /// As the pipeline takes it.
    pub fn pace(&self) -> pipeline::Pace {
        pipeline::Pace {
            entries: self.checkpoint_entries,
            every: Duration::from_secs(self.checkpoint_every_s),
        }
    }
}

/// What comes in: one source with a name. Exactly one of `mllp`, `mqtt` and `fhir`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Feed {
    /// Its name, as it appears in tables, metrics and the UI.
    pub name: Slug,
    /// Which log its records go to.
    #[serde(default)]
    pub lane: Lane,
    /// The destinations that get it; without this line all of them.
    #[serde(default)]
    pub destinations: Option<Vec<Slug>>,
    /// Which message goes to which destinations, in place of `destinations`; HL7 v2 alone.
    #[serde(default, rename = "route", skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<pipeline::routing::Rule>,
    /// Its own codes that are about consent; HL7 v2 alone.
    #[serde(default, skip_serializing_if = "ConsentCodes::is_default")]
    pub consent: ConsentCodes,
    /// HL7 v2 over MLLP.
    #[serde(default)]
    pub mllp: Option<sources::mllp::Config>,
    /// Devices over MQTT.
    #[serde(default)]
    pub mqtt: Option<sources::mqtt::Config>,
    /// FHIR R4 over HTTPS.
    #[serde(default)]
    pub fhir: Option<sources::http::Config>,
}

/// Codes of a feed that are about consent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ConsentCodes {
    /// CON-2: kinds of consent that are about handing data on. A form of no kind counts always.
    pub forms: Vec<String>,
    /// PV1-16: values that are no restriction, beside `N`, `NO` and `0`.
    pub open_vip: Vec<String>,
}

impl Default for ConsentCodes {
    fn default() -> Self {
        let pipeline::consent::Codes { forms, open_vip } = pipeline::consent::Codes::default();
        Self { forms, open_vip }
    }
}

impl ConsentCodes {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// As the pipeline takes them.
    pub fn codes(&self) -> pipeline::consent::Codes {
        pipeline::consent::Codes { forms: self.forms.clone(), open_vip: self.open_vip.clone() }
    }
}

/// Consent is asked for: nothing of a patient who refuses goes to this destination.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Consent {
    /// What counts for a patient of whom nothing is known: `permit` where people opt out, `deny` where they opt in.
    pub unknown: pipeline::consent::Unknown,
    /// How old the imported list of patients who refuse may be, 1 to 8,760 hours; beyond, and where there is none, delivery
    /// waits. Without this line a list of any age will do, and none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 8_760))]
    pub list_age_h_max: Option<u32>,
}

impl Consent {
    /// As the pipeline takes it.
    pub fn asked(&self) -> pipeline::consent::Asked {
        pipeline::consent::Asked { unknown: self.unknown, list_age_h_max: self.list_age_h_max }
    }
}

/// Where records go, and what of them. Exactly one of `lakehouse` and `mllp`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Destination {
    /// Its name; of a lakehouse as the landing knows it too.
    pub name: Slug,
    /// The policy that decides what it may have. `treatment` passes everything on.
    pub policy: String,
    /// Where a new destination begins.
    #[serde(default)]
    pub start: Start,
    /// Whether consent is asked for; without this section it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consent: Option<Consent>,
    /// When a batch goes out.
    #[serde(default)]
    pub batch: Batch,
    /// A Wardgate landing.
    #[serde(default)]
    pub lakehouse: Option<forward::lakehouse::Config>,
    /// Another HL7 v2 receiver, over MLLP: an interface engine, a RIS, a laboratory system.
    #[serde(default)]
    pub mllp: Option<forward::mllp::Config>,
}

impl Destination {
    /// Its kind; `None` of a document that [`crate::check()`] would refuse.
    pub fn kind(&self) -> Option<forward::Config> {
        match (&self.lakehouse, &self.mllp) {
            (Some(lakehouse), None) => Some(forward::Config::Lakehouse(lakehouse.clone())),
            (None, Some(mllp)) => Some(forward::Config::Mllp(mllp.clone())),
            _ => None,
        }
    }
}

/// Where a new destination begins: `now`, `oldest`, or a record's name such as `clinical-1-42`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Start(pub pipeline::Start);

impl TryFrom<String> for Start {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "now" => Ok(Self(pipeline::Start::Now)),
            "oldest" => Ok(Self(pipeline::Start::Oldest)),
            other => other.parse::<RecordId>().map(|id| Self(pipeline::Start::At(id))).map_err(|_| {
                "start is \"now\", \"oldest\" or a record's name such as \"clinical-1-42\"".to_owned()
            }),
        }
    }
}

impl From<Start> for String {
    fn from(start: Start) -> Self {
        match start.0 {
            pipeline::Start::Now => "now".to_owned(),
            pipeline::Start::Oldest => "oldest".to_owned(),
            pipeline::Start::At(id) => id.to_string(),
        }
    }
}

/// When a batch goes out: when it is full, or when the log has nothing more and `linger_ms` is over.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Batch {
    /// Most records, 1 to 20,000.
    #[schemars(range(min = 1, max = 20_000))]
    pub records_max: usize,
    /// Most payload bytes before compression, 64 KiB to 16 MiB; a larger record goes alone.
    #[schemars(range(min = 65_536, max = 16_777_216))]
    pub bytes_max: usize,
    /// How long a batch that is not full waits for more, 0 to 60,000 ms. The urgent lane never waits.
    #[schemars(range(max = 60_000))]
    pub linger_ms: u64,
}

impl Default for Batch {
    fn default() -> Self {
        let limits = pipeline::BatchLimits::default();
        Self {
            records_max: limits.records_max,
            bytes_max: limits.bytes_max,
            linger_ms: u64::try_from(limits.linger.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

impl Batch {
    /// As the pipeline takes it.
    pub fn limits(&self) -> pipeline::BatchLimits {
        pipeline::BatchLimits {
            records_max: self.records_max,
            bytes_max: self.bytes_max,
            linger: Duration::from_millis(self.linger_ms),
        }
    }
}

/// A policy of this site.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyFile {
    /// Its name, for `policy = "…"` of a destination.
    pub name: Slug,
    /// The policy, as TOML; its language is described in `docs/policies.md`.
    pub file: PathBuf,
}
