//! A feed's routes: compiled, and every mistake shown where it stands.

use std::ops::Range;
use std::sync::Arc;

use pipeline::routing::{Mistake, Router};
use toml::Spanned;
use toml::de::DeValue;

use super::{Checker, DeTable, did_you_mean, list};
use crate::document::Feed;

/// A step into a value.
enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

impl Checker<'_> {
    /// Compiles the routes of a feed; `None` where it has none, or they have mistakes.
    pub(super) fn routes(
        &mut self,
        table: &DeTable<'_>,
        n: usize,
        feed: &Feed,
        span: &Range<usize>,
        destinations: &[String],
    ) -> Option<Arc<Router>> {
        if feed.routes.is_empty() {
            return None;
        }
        let place = |steps: &[Step<'_>]| nearest(table, n, steps).unwrap_or_else(|| span.clone());
        if feed.destinations.is_some() {
            let hint = "destinations is the short form of one route without conditions: make it one";
            let span = place(&[Step::Key("destinations")]);
            self.error(
                span,
                format!("feed `{}` has both destinations and routes", feed.name),
                Some(hint.into()),
            );
        }
        if feed.mllp.is_none() {
            let hint = "their conditions are about HL7 v2; write destinations = [\"…\"] for this feed";
            let message = format!("feed `{}` has routes and takes no HL7 v2", feed.name);
            self.error(place(&[Step::Key("route")]), message, Some(hint.into()));
        }
        for (r, rule) in feed.routes.iter().enumerate() {
            for (d, name) in rule.destinations.iter().enumerate() {
                if !destinations.iter().any(|known| known == name.as_str()) {
                    let known: Vec<&str> = destinations.iter().map(String::as_str).collect();
                    let hint =
                        did_you_mean(name.as_str(), &known).unwrap_or_else(|| list("destinations", &known));
                    let span = place(&[
                        Step::Key("route"),
                        Step::Index(r),
                        Step::Key("destinations"),
                        Step::Index(d),
                    ]);
                    self.error(span, format!("there is no destination `{name}`"), Some(hint));
                }
            }
            if rule.name.is_some() && feed.routes.iter().take(r).any(|earlier| earlier.name == rule.name) {
                let span = place(&[Step::Key("route"), Step::Index(r), Step::Key("name")]);
                self.error(span, "a second route of this name", Some("give each a name of its own".into()));
            }
        }
        match Router::compile(&feed.routes) {
            Ok(router) => {
                if !router.is_total() {
                    self.warn(
                        place(&[Step::Key("route"), Step::Index(0)]),
                        &format!(
                            "feed `{}`: a message that fits no route is kept here and goes nowhere",
                            feed.name
                        ),
                        "add a [[feed.route]] with otherwise = true, unless that is what is meant",
                    );
                }
                Some(Arc::new(router))
            }
            Err(mistakes) => {
                for Mistake { rule, condition, key, message, hint } in mistakes {
                    let mut steps = vec![Step::Key("route"), Step::Index(rule)];
                    if let Some((list, at)) = condition {
                        steps.extend([Step::Key(list), Step::Index(at)]);
                    }
                    if !key.is_empty() {
                        steps.push(Step::Key(key));
                    }
                    self.error(place(&steps), message, hint);
                }
                None
            }
        }
    }
}

/// The span of the deepest of these steps into feed `n` that is written.
fn nearest(table: &DeTable<'_>, n: usize, steps: &[Step<'_>]) -> Option<Range<usize>> {
    let mut value: &Spanned<DeValue<'_>> = table.get("feed")?.get_ref().as_array()?.get(n)?;
    let mut deepest = None;
    for step in steps {
        let next = match step {
            Step::Key(key) => value.get_ref().as_table().and_then(|t| t.get(*key)),
            Step::Index(at) => value.get_ref().as_array().and_then(|a| a.get(*at)),
        };
        let Some(next) = next else { break };
        value = next;
        deepest = Some(value.span());
    }
    deepest
}
