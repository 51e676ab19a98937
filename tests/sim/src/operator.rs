//! A person who decides about held records, and asks for some once more.

use std::sync::Arc;
use std::time::Duration;

use model::RecordId;
use pipeline::Handle;

use crate::hospital::{Kind, mended};
use crate::world::{World, control_id};

/// Most decisions of one life.
const DECISIONS_MAX: u32 = 6;

pub(crate) async fn decide(world: Arc<World>, handle: Handle, is_last: bool) {
    for _ in 0..DECISIONS_MAX {
        let wait = world.dice(|d| d.within(200..=8_000));
        tokio::time::sleep(Duration::from_millis(wait)).await;
        if is_last && world.hospital(|h| h.is_done()) {
            return;
        }
        let (roll, n) = world.dice(|d| (d.within(0..=9), d.next() as usize));
        let held = handle.held();
        if roll < 7 && !held.is_empty() {
            let item = &held[n % held.len()];
            let (destination, id) = (item.destination.clone(), item.id);
            if roll == 0 {
                world.say(format_args!("somebody dismisses {id} for {destination}"));
                let Some(number) = message_of(&handle, &destination, id).await else { continue };
                world.hospital(|h| h.dismiss(number, destination.as_str()));
                report(&world, "dismissed", handle.dismiss(&destination, id, "somebody").await);
                continue;
            }
            let number = message_of(&handle, &destination, id).await;
            let kind = number.and_then(|n| world.hospital(|h| h.message(n).map(|m| m.kind)));
            let edited = match (kind, number) {
                (Some(Kind::Broken | Kind::Ambiguous), Some(number)) if roll > 2 => Some(mended(number)),
                _ => None,
            };
            let how = if edited.is_some() { "mended" } else { "as it is" };
            world.say(format_args!("somebody releases {id} for {destination}, {how}"));
            report(&world, "released as", handle.release(&destination, id, edited, "somebody").await);
        } else if roll >= 8 {
            let known: Vec<RecordId> =
                world.hospital(|h| h.messages().filter_map(|(_, m)| m.receipt).collect());
            let names = world.configured.lock().unwrap().clone();
            if known.is_empty() {
                continue;
            }
            let (destination, id) = (&names[n % names.len()], known[n / 7 % known.len()]);
            world.say(format_args!("somebody asks for {id} once more for {destination}"));
            report(&world, "replayed as", handle.replay(destination, id, "somebody").await);
        }
    }
}

async fn message_of(handle: &Handle, destination: &model::Slug, id: RecordId) -> Option<u64> {
    let payload = handle.held_payload(destination, id, "somebody").await.ok()?;
    control_id(&String::from_utf8_lossy(&payload))
}

fn report<T: std::fmt::Debug>(world: &World, what: &str, done: Result<T, pipeline::Error>) {
    match done {
        Ok(done) => world.say(format_args!("… {what} {done:?}")),
        Err(error) => world.say(format_args!("… not: {error}")),
    }
}
