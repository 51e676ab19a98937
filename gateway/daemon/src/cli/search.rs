//! `wardgate search`.

use clap::Args;
use model::Slug;

use super::Config;

/// No `Debug` of its values: they name patients.
#[derive(Args)]
#[group(id = "asked", required = true, multiple = true)]
pub(crate) struct Search {
    /// An identifier of the patient: PID-3.1, Patient.identifier. `-`: from standard input, so that no list of processes
    /// shows it.
    #[arg(long, value_name = "ID", group = "asked")]
    pub(crate) mrn: Option<String>,
    /// The visit: PV1-19.1, Encounter.identifier. `-` as for --mrn.
    #[arg(long, value_name = "ID", group = "asked")]
    pub(crate) visit: Option<String>,
    /// The order, by its placer's or filler's number. `-` as for --mrn.
    #[arg(long, value_name = "ID", group = "asked")]
    pub(crate) order: Option<String>,
    /// The message's own id: MSH-10, Bundle.id. `-` as for --mrn.
    #[arg(long, value_name = "ID", group = "asked")]
    pub(crate) control_id: Option<String>,
    /// The device, as its topic names it. `-` as for --mrn.
    #[arg(long, value_name = "ID", group = "asked")]
    pub(crate) device: Option<String>,
    /// The type, such as ADT^A08, ADT, Observation, or the id of a device profile.
    #[arg(long = "type", value_name = "TYPE", group = "asked")]
    pub(crate) kind: Option<String>,
    /// Of this feed.
    #[arg(long, group = "asked")]
    pub(crate) feed: Option<Slug>,
    /// Stored at this time or later, such as 2026-11-24T08:30:00Z.
    #[arg(long, value_name = "TIME", group = "asked")]
    pub(crate) from: Option<String>,
    /// Stored before this time.
    #[arg(long, value_name = "TIME", group = "asked")]
    pub(crate) to: Option<String>,
    /// The newest so many, at most 1000.
    #[arg(long, default_value_t = 100)]
    pub(crate) limit: usize,
    #[command(flatten)]
    pub(crate) config: Config,
    /// As JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

impl std::fmt::Debug for Search {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Search(at most {})", self.limit)
    }
}
