//! Destinations: how they are reached, what they may have, and who is sent there.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use deid::Policy;
use toml::de::DeTable;

use super::{Checker, Section, at, did_you_mean, list};
use crate::document::{Destination, Feed, Gateway};

/// How old a list of patients who refuse may be, in hours.
const LIST_AGE_H: std::ops::RangeInclusive<u32> = 1..=8_760;

impl Checker<'_> {
    #[expect(
        clippy::too_many_arguments,
        reason = "one call, and each argument is another part of the document"
    )]
    pub(super) fn destination(
        &mut self,
        table: &DeTable<'_>,
        n: usize,
        destination: &Destination,
        span: &Range<usize>,
        base: &Path,
        gateway: Option<&Gateway>,
        own: &BTreeMap<String, PathBuf>,
        compiled: &mut HashMap<String, Arc<Policy>>,
    ) {
        let within = |keys: &[&str]| at(table, "destination", n, keys).unwrap_or_else(|| span.clone());
        let name = destination.policy.as_str();
        if !own.contains_key(name) {
            if let Some(policy) = Policy::builtin(name) {
                compiled.insert(name.to_owned(), Arc::new(policy));
            } else {
                let known: Vec<&str> =
                    deid::BUILTIN_POLICIES.into_iter().chain(own.keys().map(String::as_str)).collect();
                let (message, hint) = if name == "none" {
                    let hint = "`treatment` passes everything on, and says so in every batch";
                    ("`none` is not a policy".to_owned(), hint.to_owned())
                } else {
                    let hint = did_you_mean(name, &known).unwrap_or_else(|| list("policies", &known));
                    (format!("there is no policy `{name}`"), hint)
                };
                self.error(within(&["policy"]), message, Some(hint));
            }
        }
        let b = &destination.batch;
        let ranges = [
            ("records_max", b.records_max as u64, 1, 20_000),
            ("bytes_max", b.bytes_max as u64, 64 << 10, 16 << 20),
            ("linger_ms", b.linger_ms, 0, 60_000),
        ];
        for (key, value, min, max) in ranges {
            if !(min..=max).contains(&value) {
                self.error(within(&["batch", key]), format!("{key} is {min} to {max}"), None);
            }
        }
        let hours = destination.consent.as_ref().and_then(|consent| consent.list_age_h_max);
        if hours.is_some_and(|hours| !LIST_AGE_H.contains(&hours)) {
            let message = format!("list_age_h_max is {} to {}", LIST_AGE_H.start(), LIST_AGE_H.end());
            self.error(within(&["consent", "list_age_h_max"]), message, None);
        }
        match (&destination.lakehouse, &destination.mllp) {
            (Some(lakehouse), None) => self.lakehouse(lakehouse, within, base, gateway),
            (None, Some(mllp)) => self.receiver(mllp, within, base),
            (None, None) => self.error(
                span.clone(),
                format!("destination `{}` does not say how it is reached", destination.name),
                Some("add [destination.lakehouse] with url, ca, certificate and key below it, or [destination.mllp] with to".into()),
            ),
            (Some(_), Some(_)) => self.error(
                span.clone(),
                format!("destination `{}` has both lakehouse and mllp", destination.name),
                Some("make it two destinations".into()),
            ),
        }
    }

    fn lakehouse(
        &mut self,
        lakehouse: &forward::lakehouse::Config,
        within: impl Fn(&[&str]) -> Range<usize>,
        base: &Path,
        gateway: Option<&Gateway>,
    ) {
        if let Err(why) = lakehouse.check() {
            self.error(within(&["lakehouse", "url"]), why.to_string(), None);
        }
        if let Err(e) = tls::load_ca(&base.join(&lakehouse.ca)) {
            self.error(within(&["lakehouse", "ca"]), e.to_string(), None);
        }
        match tls::Identity::load(&base.join(&lakehouse.certificate), &base.join(&lakehouse.key)) {
            Err(e) => self.error(within(&["lakehouse", "certificate"]), e.to_string(), None),
            Ok(identity) => {
                if let Some(gateway) = gateway {
                    let named = tls::peer_gateway(identity.chain());
                    if named.as_ref().ok() != Some(&gateway.id) {
                        let message = match named {
                            Ok(other) => format!(
                                "the certificate names gateway `{other}`, the box is `{}`",
                                gateway.id
                            ),
                            Err(e) => e.to_string(),
                        };
                        let hint =
                            format!("the certificate needs the SAN URI {}", tls::gateway_uri(&gateway.id));
                        self.error(within(&["lakehouse", "certificate"]), message, Some(hint));
                    }
                }
                self.shown(within(&["lakehouse", "certificate"]), identity);
            }
        }
    }

    pub(super) fn receiver(
        &mut self,
        mllp: &forward::mllp::Config,
        within: impl Fn(&[&str]) -> Range<usize>,
        base: &Path,
    ) {
        use forward::mllp::BuildError;
        if let Err(why) = mllp.check() {
            let keys: &[&str] = match &why {
                BuildError::To { .. } => &["mllp", "to"],
                BuildError::Range { field, .. } => &["mllp", field],
                BuildError::ServerName { .. } => &["mllp", "tls", "server_name"],
                BuildError::HalfAnIdentity | BuildError::Tls(_) => &["mllp", "tls"],
            };
            self.error(within(keys), why.to_string(), None);
        }
        let Some(tls) = &mllp.tls else { return };
        if let Err(e) = tls::load_ca(&base.join(&tls.ca)) {
            self.error(within(&["mllp", "tls", "ca"]), e.to_string(), None);
        }
        if let (Some(certificate), Some(key)) = (&tls.certificate, &tls.key) {
            match tls::Identity::load(&base.join(certificate), &base.join(key)) {
                Err(e) => self.error(within(&["mllp", "tls", "certificate"]), e.to_string(), None),
                Ok(identity) => self.shown(within(&["mllp", "tls", "certificate"]), identity),
            }
        }
    }

    /// What is configured and comes to nothing: device values on their way to a receiver of HL7.
    pub(super) fn vain_routes(
        &mut self,
        table: &DeTable<'_>,
        feeds: &[Section<Feed>],
        destinations: &[Section<Destination>],
    ) {
        for Section { value: feed, index, .. } in feeds.iter().filter(|s| s.value.mllp.is_none()) {
            let Some(routes) = &feed.destinations else { continue };
            let span = at(table, "feed", *index, &["destinations"]).unwrap_or(0..0);
            for name in routes {
                let leads_to_hl7 =
                    destinations.iter().any(|d| &d.value.name == name && d.value.mllp.is_some());
                if leads_to_hl7 {
                    let message =
                        format!("feed `{}` brings no HL7 v2, and `{name}` takes nothing else", feed.name);
                    let hint = "its records are skipped there as not-routed; take the name off the list";
                    self.warn(span.clone(), &message, hint);
                }
            }
        }
    }
}
