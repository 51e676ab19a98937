//! `wardgate hl7 route`: where a feed's routes lead messages, without a running gateway.

use std::path::Path;

use anyhow::{Context as _, bail};
use control::{Checked, Feed};
use hl7::{Charset, Message};
use model::Slug;
use serde_json::json;

use super::{checked, nothing_to_read, print};
use crate::exit;

/// One JSON object a message: the destinations that it goes to, and what each route says of it. Messages are read as
/// the feed would, or in `charset`.
pub(super) fn route(
    input: &[u8],
    charset: Option<Charset>,
    config: &Path,
    feed: Option<&Slug>,
) -> anyhow::Result<()> {
    let checked = checked(config)?;
    let feed = chosen(&checked, feed)?;
    let charset = charset.or_else(|| feed.mllp.as_ref().and_then(|mllp| mllp.charset()));
    let router = checked.routers.get(&feed.name);
    let all: Vec<&Slug> = checked.document.destinations.iter().map(|d| &d.name).collect();
    let named = |to: &Slug| match router {
        Some(router) => router.names(to),
        None => feed.destinations.as_ref().is_none_or(|listed| listed.contains(to)),
    };
    let (mut messages, mut faults) = (0, 0);
    for (index, bytes) in hl7::split(input).enumerate() {
        messages += 1;
        let parsed = Message::decode(bytes.to_vec(), charset);
        let to: Vec<&Slug> = all
            .iter()
            .copied()
            .filter(|to| match (&parsed, router) {
                (Ok(message), Some(router)) => router.leads(message, to),
                _ => named(to),
            })
            .collect();
        let line = match parsed {
            Ok(message) => {
                let routes = router.map(|r| r.explain(&message)).unwrap_or_default();
                json!({ "index": index, "destinations": to, "routes": routes })
            }
            Err(error) => {
                faults += 1;
                json!({ "index": index, "held_for": to, "error": error.to_string() })
            }
        };
        print(&format!("{line}\n"))?;
    }
    nothing_to_read(input, messages)?;
    if faults == 0 { Ok(()) } else { Err(exit::Printed.into()) }
}

fn chosen<'c>(checked: &'c Checked, name: Option<&Slug>) -> anyhow::Result<&'c Feed> {
    let mut of_hl7 = checked.document.feeds.iter().filter(|f| f.mllp.is_some());
    match name {
        Some(name) => {
            of_hl7.find(|f| &f.name == name).with_context(|| format!("there is no HL7 feed {name}"))
        }
        None => match (of_hl7.next(), of_hl7.next()) {
            (Some(only), None) => Ok(only),
            (None, _) => bail!("the configuration has no HL7 feed"),
            (Some(_), Some(_)) => bail!("there are several HL7 feeds; choose one with --feed"),
        },
    }
}
