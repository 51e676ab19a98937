//! The demo's figures: while it runs from the gateway's status, at the end from the tables themselves.

use serde_json::{Value, json};

use crate::landed::Landed;

/// What the gateway says of itself, summed over its feeds and lanes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Frames that arrived.
    pub(crate) received: u64,
    /// Identical resends among them: answered, but no new record.
    pub(crate) duplicates: u64,
    /// New records on the disk since the gateway started.
    pub(crate) accepted: u64,
    /// Records in the logs.
    pub(crate) durable: u64,
    /// By destination.
    pub(crate) destinations: Vec<Destination>,
}

/// One destination's part of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Destination {
    pub(crate) name: String,
    /// Committed there since the gateway started.
    pub(crate) delivered: u64,
    /// Not settled yet.
    pub(crate) backlog: u64,
    /// Waiting in the held log.
    pub(crate) held: u64,
    /// What it is doing, where that is not just delivering.
    pub(crate) trouble: Option<String>,
}

impl Progress {
    /// Reads `/status`; what is missing counts as 0.
    pub(crate) fn read(status: &Value) -> Self {
        let list =
            |value: &Value, key: &str| value.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
        let number = |value: &Value, key: &str| value.get(key).and_then(Value::as_u64).unwrap_or(0);
        let sum = |values: &[Value], key: &str| values.iter().map(|value| number(value, key)).sum();
        let feeds = list(status, "feeds");
        let destination = |value: &Value| Destination {
            name: value.get("name").and_then(Value::as_str).unwrap_or_default().to_owned(),
            delivered: number(value, "delivered"),
            backlog: sum(&list(value, "lanes"), "backlog"),
            held: number(value, "held"),
            trouble: value
                .get("state")
                .and_then(|s| s.get("why"))
                .and_then(Value::as_str)
                .filter(|why| *why != "connecting")
                .map(str::to_owned),
        };
        Self {
            received: sum(&feeds, "received"),
            duplicates: sum(&feeds, "duplicates"),
            accepted: sum(&feeds, "accepted"),
            durable: sum(&list(status, "lanes"), "last_durable"),
            destinations: list(status, "destinations").iter().map(destination).collect(),
        }
    }

    /// Records that some destination does not have yet.
    pub(crate) fn backlog(&self) -> u64 {
        self.destinations.iter().map(|destination| destination.backlog).sum()
    }

    /// The destination of this name.
    pub(crate) fn destination(&self, name: &str) -> Destination {
        self.destinations.iter().find(|d| d.name == name).cloned().unwrap_or_default()
    }
}

/// What became of every record, for one destination.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Account {
    /// Rows that the ledger states.
    pub(crate) delivered: u64,
    /// Rows in `raw`.
    pub(crate) rows: u64,
    /// Skipped with a reason.
    pub(crate) skipped: u64,
    /// Durable, and neither a row nor skipped.
    pub(crate) lost: u64,
    /// Rows beyond one a record.
    pub(crate) duplicated: u64,
    /// Of the skipped, those that wait in the held log.
    pub(crate) held: u64,
}

impl Account {
    pub(crate) fn of(durable: u64, held: u64, landed: Landed) -> Self {
        Self {
            delivered: landed.ledger_rows,
            rows: landed.rows,
            skipped: landed.skipped,
            lost: durable.saturating_sub(landed.distinct + landed.skipped),
            duplicated: landed.rows.saturating_sub(landed.distinct),
            held,
        }
    }

    pub(crate) fn json(&self) -> Value {
        let Self { delivered, rows, skipped, lost, duplicated, held } = self;
        json!({
            "delivered": delivered, "rows": rows, "skipped": skipped,
            "lost": lost, "duplicated": duplicated, "held": held,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_neither_row_nor_skip_is_lost() {
        let landed = Landed { rows: 8, distinct: 7, ledger_rows: 7, skipped: 2 };
        let account = Account::of(10, 1, landed);
        assert_eq!((account.lost, account.duplicated, account.held), (1, 1, 1));
        assert_eq!(Account::of(9, 1, landed).lost, 0);
    }

    #[test]
    fn status_is_summed() {
        let status = json!({
            "feeds": [{"received": 3, "accepted": 2, "duplicates": 1}, {"received": 4, "accepted": 4}],
            "lanes": [{"last_durable": 5}, {"last_durable": 1}],
            "destinations": [
                {"name": "lake", "delivered": 5, "held": 2, "lanes": [{"backlog": 1}, {"backlog": 2}],
                 "state": {"name": "retrying", "why": "refused"}},
            ],
        });
        let progress = Progress::read(&status);
        assert_eq!((progress.received, progress.accepted, progress.duplicates), (7, 6, 1));
        assert_eq!((progress.durable, progress.backlog()), (6, 3));
        let lake = progress.destination("lake");
        assert_eq!((lake.delivered, lake.held, lake.trouble.as_deref()), (5, 2, Some("refused")));
        assert_eq!(progress.destination("elsewhere"), Destination::default());
    }
}
