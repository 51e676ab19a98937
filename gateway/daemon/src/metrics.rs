//! `/metrics` in the OpenMetrics text format: base units, names of feeds, destinations, lanes and reasons as labels,
//! so cardinality is bounded by the configuration. Nothing of a message gets here.

use std::fmt;
use std::sync::Arc;

use pipeline::DeliveryStatus;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use sources::mllp;
use spool::pressure::Room;
use web::{DestinationState, Product};

use crate::product::Gateway;

/// Media type of the answer.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Everything that is counted, at this moment.
pub(crate) fn render(gateway: &Arc<Gateway>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Snapshot(Arc::clone(gateway))));
    let mut out = String::new();
    text::encode(&mut out, &registry)?;
    Ok(out)
}

#[derive(Debug)]
struct Snapshot(Arc<Gateway>);

type Labels<'a> = [(&'a str, String)];

/// One of a listener's counters.
type Count = fn(&mllp::Stats) -> u64;

/// One metric family with its samples.
fn family<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    counter: bool,
    samples: impl Iterator<Item = (Vec<(&'a str, String)>, u64)>,
) -> fmt::Result {
    let zero = ConstCounter::new(0_u64);
    let kind = if counter { zero.metric_type() } else { ConstGauge::new(0_i64).metric_type() };
    let mut descriptor = encoder.encode_descriptor(name, help, None, kind)?;
    for (labels, value) in samples {
        let labels: &Labels<'_> = &labels;
        let labels: Vec<(String, String)> =
            labels.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
        if counter {
            let metric = ConstCounter::new(value);
            metric.encode(descriptor.encode_family(&labels)?)?;
        } else {
            let metric = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            metric.encode(descriptor.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let status = self.0.status();
        let deliveries: Vec<DeliveryStatus> = self.0.deliveries();
        let e = &mut encoder;
        let feed = |f: &web::FeedStatus| vec![("feed", f.name.to_string()), ("kind", f.kind.clone())];
        let feeds = || status.feeds.iter();
        family(
            e,
            "wardgate_received",
            "Messages that arrived",
            true,
            feeds().map(|f| (feed(f), f.received)),
        )?;
        family(
            e,
            "wardgate_accepted",
            "Records made durable and acknowledged",
            true,
            feeds().map(|f| (feed(f), f.accepted)),
        )?;
        family(
            e,
            "wardgate_duplicates",
            "Identical resends answered again",
            true,
            feeds().map(|f| (feed(f), f.duplicates)),
        )?;
        family(
            e,
            "wardgate_refused",
            "Messages answered negatively",
            true,
            feeds().map(|f| (feed(f), f.refused)),
        )?;
        family(
            e,
            "wardgate_connections",
            "Open connections",
            false,
            feeds().map(|f| (feed(f), f.connections)),
        )?;
        family(
            e,
            "wardgate_silent_seconds",
            "Time since the last message",
            false,
            feeds().filter_map(|f| Some((feed(f), f.silent_for_s?))),
        )?;
        family(
            e,
            "wardgate_faults",
            "Faults between senders and feeds, by kind",
            true,
            status.feeds.iter().flat_map(|f| {
                f.faults.iter().map(|(kind, count)| {
                    let labels = vec![("feed", f.name.to_string()), ("fault", kind.to_string())];
                    (labels, *count)
                })
            }),
        )?;
        let listeners: Vec<(String, mllp::Stats)> =
            self.0.feeds.iter().filter_map(|f| Some((f.name.to_string(), f.mllp()?))).collect();
        let closed: [(&str, Count); 3] = [
            ("limit", |s| s.connections_refused),
            ("not-allowed", |s| s.connections_denied),
            ("handshake", |s| s.handshakes_failed),
        ];
        family(
            e,
            "wardgate_connections_closed",
            "Connections closed before their first message, by reason",
            true,
            listeners.iter().flat_map(|(name, stats)| {
                closed.iter().map(|(reason, count)| {
                    (vec![("feed", name.clone()), ("reason", (*reason).to_owned())], count(stats))
                })
            }),
        )?;
        let by_feed = |count: Count| {
            listeners.iter().map(move |(name, stats)| (vec![("feed", name.clone())], count(stats)))
        };
        family(
            e,
            "wardgate_senders_denied",
            "Messages refused because of their sender",
            true,
            by_feed(|s| s.senders_denied),
        )?;
        family(
            e,
            "wardgate_paced_milliseconds",
            "Time that peers were held to their pace",
            true,
            by_feed(|s| s.paced_ms),
        )?;
        let lane = |l: &web::LaneStatus| vec![("lane", l.lane.to_string())];
        let lanes = || status.lanes.iter();
        family(
            e,
            "wardgate_log_last_seq",
            "Last durable number",
            false,
            lanes().map(|l| (lane(l), l.last_durable)),
        )?;
        family(e, "wardgate_log_bytes", "Disk used by the log", false, lanes().map(|l| (lane(l), l.bytes)))?;
        family(
            e,
            "wardgate_log_budget_bytes",
            "Disk the log may use",
            false,
            lanes().map(|l| (lane(l), l.budget_bytes)),
        )?;
        let spool = self.0.pipeline.spool();
        let rooms: Vec<(&str, Room)> = spool
            .logs()
            .iter()
            .map(|log| (log.name(), log.stat().room))
            .chain([("disk", spool.disk())])
            .collect();
        let of = |name: &str| vec![("of", name.to_owned())];
        family(
            e,
            "wardgate_room_needed_bytes",
            "Bytes that may not go, by log and of the disk",
            false,
            rooms.iter().map(|(name, room)| (of(name), room.needed_bytes)),
        )?;
        family(
            e,
            "wardgate_room_left_bytes",
            "Bytes that can still be taken in, by log and of the disk",
            false,
            rooms.iter().map(|(name, room)| (of(name), room.left_bytes)),
        )?;
        family(
            e,
            "wardgate_pressure",
            "0 while there is room, 1 from 90 % on, 2 from 95 % on",
            false,
            rooms.iter().map(|(name, room)| (of(name), room.pressure() as u64)),
        )?;
        let stream = |d: &DeliveryStatus| {
            vec![("destination", d.destination.to_string()), ("lane", d.lane.to_string())]
        };
        let each = || deliveries.iter();
        family(
            e,
            "wardgate_backlog_records",
            "Numbers not settled yet",
            false,
            each().map(|d| (stream(d), d.backlog)),
        )?;
        family(e, "wardgate_delivered", "Rows delivered", true, each().map(|d| (stream(d), d.delivered)))?;
        family(e, "wardgate_batches", "Batches committed", true, each().map(|d| (stream(d), d.batches)))?;
        family(
            e,
            "wardgate_sent_raw_bytes",
            "Bytes before compression",
            true,
            each().map(|d| (stream(d), d.bytes_raw)),
        )?;
        family(
            e,
            "wardgate_sent_wire_bytes",
            "Bytes on the wire",
            true,
            each().map(|d| (stream(d), d.bytes_wire)),
        )?;
        family(
            e,
            "wardgate_skipped",
            "Numbers without a row, by reason",
            true,
            each().flat_map(|d| {
                d.skipped.iter().map(|(reason, n)| {
                    let mut labels = stream(d);
                    labels.push(("reason", (*reason).to_owned()));
                    (labels, *n)
                })
            }),
        )?;
        let destinations = || status.destinations.iter();
        let name = |d: &web::DestinationStatus| vec![("destination", d.name.to_string())];
        family(
            e,
            "wardgate_held_records",
            "Records that wait for a person",
            false,
            destinations().map(|d| (name(d), d.held)),
        )?;
        family(
            e,
            "wardgate_destination_up",
            "1 while the destination is reached",
            false,
            destinations().map(|d| {
                let up = matches!(d.state, DestinationState::Delivering | DestinationState::Idle);
                (name(d), u64::from(up))
            }),
        )?;
        family(
            e,
            "wardgate_certificate_expiry_timestamp_seconds",
            "When the certificate shown to the destination ends",
            false,
            destinations().filter_map(|d| {
                let at = d.certificate_expires_at?.seconds();
                Some((name(d), u64::try_from(at).unwrap_or(0)))
            }),
        )?;
        family(
            e,
            "wardgate_listener_certificate_expiry_timestamp_seconds",
            "When the certificate shown to the feed's peers ends",
            false,
            self.0.feeds.iter().filter_map(|f| {
                let at = f.listening()?.identity().expires_at().seconds();
                Some((vec![("feed", f.name.to_string())], u64::try_from(at).unwrap_or(0)))
            }),
        )?;
        let witnessed = self.0.pipeline.witnessed();
        let witness = |w: &pipeline::Witnessed| vec![("destination", w.destination.to_string())];
        family(
            e,
            "wardgate_audit_witnessed_entries",
            "Entries of the audit log that the destination has a receipt of",
            false,
            witnessed.iter().map(|w| (witness(w), w.entries)),
        )?;
        family(
            e,
            "wardgate_audit_witness_up",
            "1 while the destination takes checkpoints of the audit log",
            false,
            witnessed.iter().map(|w| (witness(w), u64::from(w.failing.is_none()))),
        )?;
        let journal = spool.journal();
        let durable = *journal.durable().borrow();
        let needs = spool.audit_log().needs();
        family(
            e,
            "wardgate_journal_waits_records",
            "Records of the journal that wait for whoever is to vouch for the audit log or to have it",
            false,
            needs.iter().map(|n| (vec![("holder", n.who.clone())], durable.saturating_sub(n.behind))),
        )?;
        family(
            e,
            "wardgate_journal_freed_records",
            "Records of the journal that are no longer on this box",
            false,
            std::iter::once((Vec::new(), journal.oldest().saturating_sub(1))),
        )?;
        let vault = self.0.pipeline.vault();
        family(
            e,
            "wardgate_vault_identifiers",
            "Identifiers that have a token of the vault",
            false,
            vault.by_destination.iter().map(|(name, n)| (vec![("destination", name.to_string())], *n)),
        )?;
        family(
            e,
            "wardgate_vault_room_percent",
            "Room that is left in the vault",
            false,
            std::iter::once((Vec::new(), vault.room_percent())),
        )?;
        let syslog = self.0.syslog.as_ref().map(crate::syslog::Board::status);
        family(
            e,
            "wardgate_audit_syslog_up",
            "1 while the syslog server of the audit log is connected",
            false,
            syslog.iter().map(|s| (Vec::new(), u64::from(s.connected))),
        )?;
        family(
            e,
            "wardgate_audit_syslog_sent",
            "Entries of the audit log that were sent to the syslog server",
            true,
            syslog.iter().map(|s| (Vec::new(), s.sent)),
        )?;
        let one = |value: u64| std::iter::once((Vec::new(), value));
        family(
            e,
            "wardgate_disk_free_bytes",
            "Free space where the logs are",
            false,
            one(status.disk.free_bytes),
        )?;
        family(e, "wardgate_ready", "1 while records are taken in", false, one(u64::from(status.ready)))?;
        family(e, "wardgate_uptime_seconds", "Time since the start", false, one(status.uptime_s))
    }
}
