//! Says in the audit log when a log or the disk comes near the end of its room, and when that is over.
//!
//! **Promise.** Every change of [`Pressure`] is audited once; one that the audit log does not take is told again at the
//! next look. What each threshold does stands in [`spool::pressure`].

use std::collections::BTreeMap;

use model::{AuditAction, AuditEvent, Clock};
use spool::Spool;
use spool::pressure::{Pressure, Room};

/// What was last said of each log and of the disk.
#[derive(Debug, Default)]
pub(crate) struct Watch(BTreeMap<&'static str, Pressure>);

impl Watch {
    /// Looks at all of them. Waits for the audit log where there is something to say.
    pub(crate) fn look(&mut self, spool: &Spool, clock: &dyn Clock) {
        let logs = spool.logs().iter().map(|log| (log.name(), log.stat().room));
        for (name, room) in logs.chain([("disk", spool.disk())]) {
            let before = self.0.get(name).copied().unwrap_or_default();
            let now = before.then(room.percent());
            if now != before && say(spool, clock, name, now, room) {
                self.0.insert(name, now);
            }
        }
    }
}

fn say(spool: &Spool, clock: &dyn Clock, name: &str, now: Pressure, room: Room) -> bool {
    let percent = room.percent();
    if now == Pressure::Easy {
        tracing::info!(of = name, percent, "there is room again");
    } else {
        tracing::warn!(of = name, percent, left_bytes = room.left_bytes, pressure = %now, "room runs out");
    }
    let event = AuditEvent {
        at: clock.now(),
        actor: "system".to_owned(),
        action: AuditAction::StoragePressure,
        subject: name.to_owned(),
        detail: format!("{now}: {percent} % is used, {} bytes are left", room.left_bytes),
    };
    spool.audit().record(&event).is_ok()
}
