//! Certificates that the document names: whether they can be used, and until when.

use std::ops::Range;
use std::path::Path;

use model::Timestamp;
use tls::Identity;

use super::{Checker, DeTable, at};
use crate::finding::Finding;

/// From when on the end of a certificate is worth a word.
const WARN_DAYS: i64 = 30;
const DAY_MICROS: i64 = 86_400_000_000;

/// A certificate that the gateway will show, and its place in the document.
#[derive(Debug)]
pub(crate) struct Shown {
    place: Finding,
    identity: Identity,
}

impl Shown {
    /// What there is to say about its dates: it has ended, ends soon, or has not begun. Peers will refuse it, and
    /// everything else goes on: a warning.
    pub(super) fn warning(&self, now: Timestamp) -> Option<Finding> {
        let ends = self.identity.expires_at();
        let days = ends.micros_since(now).div_euclid(DAY_MICROS);
        let (message, hint) = match self.identity.check_validity(now) {
            Err(e) => (e.to_string(), None),
            Ok(()) if days < WARN_DAYS => {
                let hint = "exchange the files when a renewed one is there; no restart is needed";
                (format!("the certificate ends on {ends}, in {days} days"), Some(hint.to_owned()))
            }
            Ok(()) => return None,
        };
        let mut finding = self.place.clone();
        (finding.message, finding.hint) = (message, hint);
        Some(finding)
    }
}

impl Checker<'_> {
    /// Remembers a certificate, so that its dates can be looked at.
    pub(super) fn shown(&mut self, span: Range<usize>, identity: Identity) {
        let place = Finding::at(self.file, self.text, span, "", None);
        self.shown.push(Shown { place, identity });
    }

    /// An MLLP listener: its settings, each mistake at its place, and its files.
    pub(super) fn mllp(
        &mut self,
        table: &DeTable<'_>,
        n: usize,
        mllp: &sources::mllp::Config,
        base: &Path,
        span: &Range<usize>,
    ) {
        let place = |keys: &[&str]| nearest(table, n, "mllp", keys).unwrap_or_else(|| span.clone());
        if let Err(error) = mllp.check() {
            self.error(place(&error.place()), error.to_string(), None);
        }
        if let Some(tls) = &mllp.tls {
            self.tls(tls, base, place);
        }
    }

    /// A FHIR endpoint: its settings, its files, and its clients' keys.
    pub(super) fn fhir(
        &mut self,
        table: &DeTable<'_>,
        n: usize,
        fhir: &sources::http::Config,
        base: &Path,
        span: &Range<usize>,
    ) {
        let place = |keys: &[&str]| nearest(table, n, "fhir", keys).unwrap_or_else(|| span.clone());
        if let Err(error) = fhir.check() {
            let setting =
                if let sources::http::Error::Setting { setting, .. } = &error { setting } else { "" };
            self.error(place(&[setting]), error.to_string(), None);
        }
        if let Err(error) = fhir.check_keys(base) {
            self.error(place(&["client"]), error.to_string(), None);
        }
        if let Some(tls) = &fhir.tls {
            self.tls(tls, base, place);
        }
    }

    /// The files of a listener. `place` finds a setting below the feed's kind.
    fn tls(&mut self, tls: &sources::listener::Tls, base: &Path, place: impl Fn(&[&str]) -> Range<usize>) {
        match tls.load(base, &[]) {
            Ok(listening) => self.shown(place(&["tls", "certificate"]), listening.identity()),
            Err(error) => {
                let key = match &error {
                    tls::Error::File { what, .. } | tls::Error::Parse { what, .. } => match what {
                        tls::What::Certificate => "certificate",
                        tls::What::Key => "key",
                        tls::What::Authority => "client_ca",
                        tls::What::Revocations => "client_revocations",
                    },
                    tls::Error::Mismatch { .. } => "key",
                    _ => "certificate",
                };
                self.error(place(&["tls", key]), error.to_string(), None);
            }
        }
    }
}

/// The nearest that is written below a feed's kind: a setting left out has no place of its own.
fn nearest(table: &DeTable<'_>, n: usize, kind: &str, keys: &[&str]) -> Option<Range<usize>> {
    (0..=keys.len()).rev().find_map(|depth| {
        let keys: Vec<&str> = [kind].into_iter().chain(keys.iter().take(depth).copied()).collect();
        at(table, "feed", n, &keys)
    })
}
