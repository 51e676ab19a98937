//! The command line. Exit codes: 0 fine, 1 finding, 2 usage, 3 not reachable.

mod consent;
mod keys;
mod people;
mod search;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use hl7::Charset;
use model::{FaultKind, RecordId, Slug};

pub(crate) use self::consent::{Consent, Patient};
pub(crate) use self::keys::{EscrowTo, Keys, Protect, Provider};
pub(crate) use self::people::{Account, Vault, Who};
pub(crate) use self::search::Search;

/// The edge gateway of a healthcare data platform.
#[derive(Debug, Parser)]
#[command(name = "wardgate", version, about, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Where the configuration is.
#[derive(Debug, Clone, Args)]
pub(crate) struct Config {
    /// The configuration document.
    #[arg(
        long,
        short,
        value_name = "FILE",
        default_value = "/etc/wardgate/gateway.toml",
        env = "WARDGATE_CONFIG"
    )]
    pub(crate) config: PathBuf,
}

/// TLS towards a receiver.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Tls {
    /// Speak TLS.
    #[arg(long, requires = "ca")]
    pub(crate) tls: bool,
    /// PEM file of the authority that the receiver's certificate must come from.
    #[arg(long, value_name = "FILE", requires = "tls")]
    pub(crate) ca: Option<PathBuf>,
    /// PEM file of the certificate to show, where the receiver asks for one.
    #[arg(long, value_name = "FILE", requires_all = ["tls", "key"])]
    pub(crate) certificate: Option<PathBuf>,
    /// PEM file of the certificate's key.
    #[arg(long, value_name = "FILE", requires = "certificate")]
    pub(crate) key: Option<PathBuf>,
    /// The name in the receiver's certificate, where it is not the host of --to.
    #[arg(long, value_name = "NAME", requires = "tls")]
    pub(crate) server_name: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the gateway.
    Run(Config),
    /// Check a configuration and say everything that is wrong with it.
    Check {
        /// The configuration document.
        #[arg(value_name = "FILE", required_unless_present = "schema")]
        file: Option<PathBuf>,
        /// Findings as JSON.
        #[arg(long)]
        json: bool,
        /// Print the JSON Schema of the document instead.
        #[arg(long)]
        schema: bool,
        /// Also try the way to every destination, step by step. Sends no record.
        #[arg(long, conflicts_with = "schema")]
        connect: bool,
    },
    /// Print the one-time code that claims a running gateway's web UI.
    ClaimCode(Config),
    /// Say what became of a record, from its arrival to its row.
    Trace {
        /// The record, such as clinical-1-42.
        id: RecordId,
        #[command(flatten)]
        config: Config,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Send a record that is still kept once more, to one destination.
    Replay {
        /// The record, such as clinical-1-42.
        id: RecordId,
        /// The destination.
        #[arg(long)]
        to: Slug,
        #[command(flatten)]
        config: Config,
    },
    /// The records that could not be released.
    #[command(subcommand)]
    Held(Held),
    /// What went wrong between senders and feeds, the newest first.
    Faults(Faults),
    /// Find the records of a patient, a visit, an order, a message, a device or a time. Audited.
    Search(Search),
    /// Whose data may be handed on to destinations that ask for consent. Audited.
    #[command(subcommand)]
    Consent(Consent),
    /// The accounts of this box: who may sign in, and do what.
    #[command(subcommand)]
    Account(Account),
    /// The vault's tokens, and what they are of. Takes two people, and is audited.
    #[command(subcommand)]
    Vault(Vault),
    /// The encrypted logs on the disk.
    #[command(subcommand)]
    Spool(Spool),
    /// The audit log: who did what, and whether anybody changed it.
    #[command(subcommand)]
    Audit(Audit),
    /// The root key, and the keys of each day that it wraps.
    #[command(subcommand)]
    Keys(Keys),
    /// Back up what cannot be had again: journal, held records, state, configuration, what is not delivered.
    #[command(long_about = crate::commands::BACKUP_HELP)]
    Backup {
        #[command(flatten)]
        config: Config,
        /// Where to, - for standard output; a file that is there already is never overwritten.
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
        /// Leave out the records that are not delivered yet.
        #[arg(long)]
        without_backlog: bool,
        /// The summary as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Put a box back together from a backup. The gateway must be stopped.
    #[command(long_about = crate::commands::RESTORE_HELP)]
    Restore {
        #[command(flatten)]
        config: Config,
        /// The backup.
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
        /// The root key or a recovery copy of it, where that is not where the configuration says, or there is none yet.
        #[arg(long, value_name = "FILE")]
        key_file: Option<PathBuf>,
        /// Only read the backup to its end and say what is in it.
        #[arg(long)]
        check: bool,
        /// Put aside the spool that is there.
        #[arg(long, conflicts_with = "check")]
        replace: bool,
        /// The summary as JSON.
        #[arg(long)]
        json: bool,
    },
    /// HL7 v2, as filters: standard input to standard output.
    #[command(subcommand)]
    Hl7(Hl7),
    /// De-identification: as a filter, explained, and tried on what is in the log.
    #[command(subcommand)]
    Deid(Deid),
    /// Send HL7 files over MLLP and wait for every acknowledgement.
    Send {
        /// Where to: host:port.
        #[arg(long, value_name = "HOST:PORT")]
        to: String,
        #[command(flatten)]
        tls: Tls,
        /// Files, folders, or - for standard input; every file is split into its messages.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Connections; the messages of one file stay in order on one of them.
        #[arg(long, default_value_t = 1)]
        connections: usize,
        /// Messages a second, over all connections; 0 for as fast as they are acknowledged.
        #[arg(long, default_value_t = 0.0)]
        rate: f64,
        /// How often a message that is not answered is sent again before it is given up.
        #[arg(long, default_value_t = 3)]
        retries: u32,
        /// Remember in this file what is settled, and leave out what it says is.
        #[arg(long, value_name = "FILE")]
        resume: Option<PathBuf>,
        /// Seconds to wait for an acknowledgement.
        #[arg(long, default_value_t = 30)]
        timeout_s: u64,
        /// The summary as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Play a hospital that sends HL7 over MLLP. Nobody's data.
    Simulate {
        /// Where to: host:port.
        #[arg(long, value_name = "HOST:PORT")]
        to: String,
        #[command(flatten)]
        tls: Tls,
        /// Messages a second, over all connections; 0 for as fast as they are acknowledged.
        #[arg(long, default_value_t = 50.0)]
        rate: f64,
        /// Connections.
        #[arg(long, default_value_t = 2)]
        connections: u32,
        /// The same seed makes the same hospital.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Stop after so many seconds.
        #[arg(long)]
        seconds: Option<u64>,
        /// Stop after so many messages.
        #[arg(long)]
        count: Option<u64>,
        /// The summary as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Prove on this machine that TLS, the log and de-identification work.
    SelfTest,
    /// Make throw-away certificates for a demo or a developer's machine.
    DevCertificates {
        /// Where to.
        #[arg(long)]
        dir: PathBuf,
        /// The gateway's id.
        #[arg(long)]
        gateway: Slug,
        /// Host names and addresses of the landing.
        #[arg(long = "landing-host", default_values_t = ["localhost".to_owned(), "127.0.0.1".to_owned()])]
        landing_hosts: Vec<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Faults {
    /// Of this feed.
    #[arg(long)]
    pub(crate) feed: Option<Slug>,
    /// Of this sender: an address, with or without its port.
    #[arg(long)]
    pub(crate) peer: Option<String>,
    /// Of this kind, such as cut-off, broken-off, junk, too-long, no-header, sequence-gap.
    #[arg(long)]
    pub(crate) kind: Option<FaultKind>,
    /// At this time or later, such as 2026-11-24T08:30:00Z.
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// At most so many.
    #[arg(long, default_value_t = 100)]
    pub(crate) limit: usize,
    #[command(flatten)]
    pub(crate) config: Config,
    /// As JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Held {
    /// List what is held and why.
    List {
        #[command(flatten)]
        config: Config,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Send a held record on its way again; the later held records of its subject follow.
    Release {
        /// The record.
        id: RecordId,
        /// The destination it is held for.
        #[arg(long)]
        to: Slug,
        /// Send these bytes instead: the corrected message.
        #[arg(long, value_name = "FILE")]
        edited: Option<PathBuf>,
        #[command(flatten)]
        config: Config,
    },
    /// Decide that the destination shall not have a held record.
    Dismiss {
        /// The record.
        id: RecordId,
        /// The destination it is held for.
        #[arg(long)]
        to: Slug,
        #[command(flatten)]
        config: Config,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Spool {
    /// Sizes and ranges of the logs.
    Stat {
        #[command(flatten)]
        config: Config,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Read everything and say what is damaged; with the key also what was tampered with.
    Verify {
        #[command(flatten)]
        config: Config,
        /// Check without the key: checksums only.
        #[arg(long)]
        without_key: bool,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

/// What an export looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// JSON lines; the last one is a signed checkpoint, and every entry has the proof that it is in it.
    Json,
    /// FHIR R4 AuditEvents, one a line.
    Fhir,
    /// The XML audit messages of DICOM PS3.15 A.5 (IHE ATNA), one a line.
    Atna,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Read the whole audit log and say which entry was changed, taken out or put in. With checkpoints of the landing
    /// also whether all of it was written anew, or set back. Works beside a running gateway.
    Verify {
        #[command(flatten)]
        config: Config,
        /// What the landing has receipted: the output of `wardgate-landing audit GATEWAY --json`, or one signed note.
        #[arg(long, value_name = "FILE")]
        checkpoints: Vec<PathBuf>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print the audit log.
    Export {
        #[command(flatten)]
        config: Config,
        /// The form.
        #[arg(long, value_enum, default_value_t = ExportFormat::Json)]
        format: ExportFormat,
        /// From this entry on, counted from 0.
        #[arg(long, value_name = "ENTRY", default_value_t = 0)]
        from: u64,
    },
    /// Print the key with which this gateway's checkpoints can be checked.
    Key {
        #[command(flatten)]
        config: Config,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Hl7 {
    /// Messages to JSON lines.
    #[command(long_about = crate::commands::HL7_PARSE_HELP)]
    Parse {
        #[command(flatten)]
        source: Source,
    },
    /// Messages to the acknowledgements they would get.
    Ack,
    /// Messages to FHIR R4 transaction Bundles, one a line, in order.
    Fhir {
        /// Where to account for every value, as JSON lines: counts, and what has no place in a map.
        #[arg(long, value_name = "FILE")]
        report: Option<PathBuf>,
        /// Account also for where every value went.
        #[arg(long, requires = "report")]
        trace: bool,
        #[command(flatten)]
        source: Source,
        /// The zone of times that name none.
        #[arg(long, value_name = "+HHMM", default_value = "+0000", allow_hyphen_values = true)]
        zone: String,
        /// A file of 32 bytes that keys the ids of resources; without it anybody can recompute them.
        #[arg(long, value_name = "FILE")]
        key_file: Option<PathBuf>,
    },
    /// Messages to the destinations that a feed's routes lead them to, and why.
    Route {
        #[command(flatten)]
        config: Config,
        /// The feed, where there are several.
        #[arg(long)]
        feed: Option<Slug>,
        #[command(flatten)]
        source: Source,
    },
}

/// What messages that come in as a file are known to be in.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Source {
    /// The character set of the input, whatever MSH-18 says: 8859/1, UNICODE UTF-8, WINDOWS-1252, GB 18030-2000, …
    #[arg(long, value_name = "NAME")]
    pub(crate) charset: Option<Charset>,
}

/// What a filter reads.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum FilterFormat {
    /// HL7 v2 as ER7 text.
    Hl7,
    /// Free text.
    Text,
    /// FHIR R4 as NDJSON: a resource or Bundle a line.
    Fhir,
}

/// For free text alone.
#[derive(Debug, Args)]
pub(crate) struct TextFilter {
    /// A message whose names and numbers the text may hold.
    #[arg(long, value_name = "FILE")]
    pub(crate) context: Option<PathBuf>,
    /// The places that were found, instead of the text without them.
    #[arg(long)]
    pub(crate) spans: bool,
    /// A text a line, as with --format text: {"text":…} in, the same with "spans" out; offsets count characters.
    #[arg(long)]
    pub(crate) json_lines: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Deid {
    /// De-identify standard input to standard output. Held messages are left out and listed in the report.
    Run(Box<Filter>),
    /// Say what becomes of each value and by which rule, without the values: of standard input, or of a record in the log.
    Explain(Box<Explain>),
    /// Show each value of standard input before and after. What it prints is patients' data.
    Preview {
        /// A built-in policy or the path of a policy file.
        #[arg(long)]
        policy: String,
        #[command(flatten)]
        records: Records,
    },
    /// Say where two policies part, place by place, without the values. Exit code 1 where they do.
    Diff(Box<Differ>),
}

/// A filter.
#[derive(Debug, Args)]
pub(crate) struct Filter {
    /// A built-in policy (treatment, safe-harbor, limited-data-set) or the path of a policy file.
    #[arg(long)]
    pub(crate) policy: String,
    /// What comes in.
    #[arg(value_enum, value_name = "FORMAT", required_unless_present = "format")]
    pub(crate) input: Option<FilterFormat>,
    /// The same as FORMAT; `--format text` reads and writes JSON lines unless it is told otherwise.
    #[arg(long, value_enum, conflicts_with = "input")]
    pub(crate) format: Option<FilterFormat>,
    #[command(flatten)]
    pub(crate) text: TextFilter,
    /// Where to list what was held, as JSON lines.
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Key of tokens and shifts, 32 bytes; without it they differ from run to run.
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
}

/// What is explained, and by which policy.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// A record in the log, as its destination's policy shapes it today.
    #[arg(requires = "to", conflicts_with = "policy")]
    pub(crate) record: Option<RecordId>,
    /// The destination.
    #[arg(long, value_name = "DESTINATION", requires = "record")]
    pub(crate) to: Option<Slug>,
    /// A built-in policy or the path of a policy file, for standard input.
    #[arg(long, required_unless_present = "record")]
    pub(crate) policy: Option<String>,
    #[command(flatten)]
    pub(crate) records: Records,
    #[command(flatten)]
    pub(crate) config: Config,
}

/// What is explained.
#[derive(Debug, Args)]
pub(crate) struct Records {
    /// What comes in.
    #[arg(long, value_enum, default_value = "hl7")]
    pub(crate) format: FilterFormat,
    /// Key of tokens and shifts, 32 bytes; without it they differ from run to run.
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// As JSON: of an explanation a line a record.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which policies are compared on what.
#[derive(Debug, Args)]
pub(crate) struct Differ {
    /// The first policy, for standard input; without it, that of --to.
    #[arg(long, required_unless_present = "to", conflicts_with = "to")]
    pub(crate) policy: Option<String>,
    /// The policy to compare with: a built-in one, or the path of a file.
    #[arg(long, value_name = "POLICY")]
    pub(crate) with: String,
    /// Compare with this destination's own policy, on the records for it that are in the log. Nothing is sent.
    #[arg(long, value_name = "DESTINATION")]
    pub(crate) to: Option<Slug>,
    /// With --to: the newest so many records of each lane.
    #[arg(long, default_value_t = 1000, requires = "to")]
    pub(crate) last: u64,
    #[command(flatten)]
    pub(crate) records: Records,
    #[command(flatten)]
    pub(crate) config: Config,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        super::Cli::command().debug_assert();
    }
}
