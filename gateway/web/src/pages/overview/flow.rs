//! The way of a record in three steps: it arrives, it is kept, it leaves.

use maud::{Markup, html};

use crate::app::Snapshot;
use crate::chart::spark;
use crate::layout::{self, Tone};
use crate::{DestinationStatus, FeedStatus, format};

/// Samples across a chart: fifteen minutes.
const PLACES: usize = 60;

pub(super) fn show(snapshot: &Snapshot) -> Markup {
    let status = &snapshot.status;
    let accepted: u64 = status.feeds.iter().map(|feed: &FeedStatus| feed.accepted).sum();
    let delivered: u64 = status.destinations.iter().map(|d: &DestinationStatus| d.delivered).sum();
    let kept: u64 = status.lanes.iter().map(|lane| lane.bytes).sum();
    let budget: u64 = status.lanes.iter().map(|lane| lane.budget_bytes).sum();
    let share = format::percent(kept, budget);
    html! {
        ol {
            li {
                h2 { "Arriving" }
                (rate(&snapshot.trend.accepted_per_min))
                (spark(&snapshot.trend.accepted_per_min, PLACES, &in_words("Arriving", &snapshot.trend.accepted_per_min)))
                p.under {
                    (format::counted(accepted, "record", "records")) " acknowledged by "
                    (format::counted(status.feeds.len() as u64, "feed", "feeds"))
                }
            }
            li {
                h2 { "Kept here" }
                p.figure { (format::bytes(kept)) }
                div.kept { (layout::bar(share, if share >= 80 { Tone::Watch } else { Tone::Good })) }
                p.under { "encrypted, " (share) " % of the " (format::bytes(budget)) " set aside" }
            }
            li {
                h2 { "Leaving" }
                (rate(&snapshot.trend.delivered_per_min))
                (spark(&snapshot.trend.delivered_per_min, PLACES, &in_words("Leaving", &snapshot.trend.delivered_per_min)))
                p.under {
                    (format::counted(delivered, "record", "records")) " delivered to "
                    (format::counted(status.destinations.len() as u64, "destination", "destinations"))
                }
            }
        }
        p.since { "Charts: the last 15 minutes. Totals: since the start " (format::age(status.uptime_s / 60 * 60)) " ago." }
    }
}

fn rate(values: &[u64]) -> Markup {
    html! {
        p.figure {
            @match values.last() {
                Some(now) => { (format::count(*now)) span.unit { " per min" } },
                None => span.unit { "measuring" },
            }
        }
    }
}

fn in_words(what: &str, values: &[u64]) -> String {
    match (values.last(), values.iter().max()) {
        (Some(now), Some(most)) => {
            format!("{what} in the last 15 minutes: {now} per minute now, {most} at most")
        }
        _ => format!("{what}: not measured yet"),
    }
}
