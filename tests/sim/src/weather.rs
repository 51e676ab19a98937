//! What happens to a running box: its disk fails, fills and slows down, its clock steps, its destinations are away, the landing restarts.

use std::sync::Arc;
use std::time::Duration;

use model::Slug;

use crate::life::Plan;
use crate::world::World;

const YEAR_MICROS: i64 = 365 * 86_400 * 1_000_000;

pub(crate) async fn change(world: Arc<World>, plan: Plan) {
    loop {
        let wait = world.dice(|d| d.within(300..=15_000 / (1 + plan.trouble)));
        tokio::time::sleep(Duration::from_millis(wait)).await;
        let (event, n) = world.dice(|d| (d.within(0..=8), d.next()));
        match event {
            0 if plan.trouble > 0 => {
                let operations = 1 + n % 6;
                world.say(format_args!("{operations} operations of the disk fail"));
                world.platter.weather(|w| w.failing = operations);
            }
            1 if plan.trouble > 0 => {
                let full = Duration::from_millis(n % 8_000);
                world.say(format_args!("the disk is full for {full:?}"));
                world.platter.weather(|w| w.is_full = true);
                tokio::time::sleep(full).await;
                world.platter.weather(|w| w.is_full = false);
                world.say(format_args!("the disk has room"));
            }
            2 => {
                let slowness = [100, 100, 1_000, 10_000][n as usize % 4];
                world.say(format_args!("a commit takes {slowness} percent of its time"));
                world.platter.weather(|w| w.slowness = slowness);
            }
            3 => {
                let micros = [-YEAR_MICROS, 10 * YEAR_MICROS, -3_600_000_000, 61_000_000, -1][n as usize % 5];
                world.say(format_args!("the clock steps by {} s", micros / 1_000_000));
                world.step_clock(micros);
            }
            4 | 5 if plan.trouble > 0 => {
                let destination: Slug =
                    plan.destinations[n as usize % plan.destinations.len()].0.parse().unwrap();
                let is_cut = !world.is_cut_off(&destination);
                world
                    .say(format_args!("{destination} is {}", if is_cut { "cut off" } else { "there again" }));
                world.cut_off(&destination, is_cut);
            }
            6 if plan.trouble > 0 => {
                world.say(format_args!("the landing restarts"));
                world.restart_landing();
            }
            _ => {}
        }
    }
}
