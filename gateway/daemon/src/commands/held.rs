//! `wardgate held`: what could not be released, and a person's decision about it.

use bytes::Bytes;
use hyper::Method;
use serde_json::Value;

use super::{held_path, print};
use crate::cli::{Config, Held};
use crate::client::Client;

pub(crate) async fn held(command: Held) -> anyhow::Result<()> {
    let path = held_path(&command);
    match command {
        Held::List { config, json } => list(&config, json).await,
        Held::Release { id, to, edited, config } => {
            let body = match edited {
                Some(file) => {
                    Bytes::from(std::fs::read(&file).map_err(|e| anyhow::anyhow!("{}: {e}", file.display()))?)
                }
                None => Bytes::new(),
            };
            let new = Client::of(&config.config)?.ask(Method::POST, &path.unwrap_or_default(), body).await?;
            let ids: Vec<&str> = new.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            print(&format!("{id} is on its way to {to} as {}\n", ids.join(", ")))
        }
        Held::Dismiss { id, to, config } => {
            Client::of(&config.config)?.ask(Method::POST, &path.unwrap_or_default(), Bytes::new()).await?;
            print(&format!("{id} will not go to {to}\n"))
        }
    }
}

async fn list(config: &Config, as_json: bool) -> anyhow::Result<()> {
    let items = Client::of(&config.config)?.ask(Method::GET, "/held", Bytes::new()).await?;
    if as_json {
        return print(&format!("{items}\n"));
    }
    let mut out = String::new();
    for item in items.as_array().into_iter().flatten() {
        let text = |key: &str| item.get(key).and_then(Value::as_str).unwrap_or("-").to_owned();
        out.push_str(&format!(
            "{:<20} {:<16} {:<12} {}\n",
            text("id"),
            text("destination"),
            text("reason"),
            text("why")
        ));
    }
    if out.is_empty() {
        out.push_str("nothing is held\n");
    }
    print(&out)
}
