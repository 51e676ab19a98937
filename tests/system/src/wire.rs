//! Somebody who speaks the gateway's side of the protocol and is not our gateway: `tests/readers/wire.py`.

use serde_json::{Value, json};

use crate::site::{self, Site};
use crate::{peers, wait};

/// A client with the certificate `certificates/NAME.pem`; an empty name shows none.
#[derive(Debug)]
pub struct Client<'s> {
    site: &'s Site,
    certificate: String,
}

impl<'s> Client<'s> {
    /// A client of the site's landing.
    pub fn new(site: &'s Site, certificate: &str) -> Self {
        Self { site, certificate: certificate.to_owned() }
    }

    /// Takes the steps; the answers.
    ///
    /// # Panics
    /// When the client itself fails.
    #[track_caller]
    pub fn take(&self, steps: &[Value]) -> Vec<Value> {
        let steps: Vec<Value> = steps
            .iter()
            .map(|step| {
                let mut step = step.clone();
                let object = step.as_object_mut().unwrap();
                for (name, value) in [
                    ("gateway", json!(self.site.gateway)),
                    ("destination", json!("lake")),
                    ("lane", json!("bulk")),
                ] {
                    object.entry(name).or_insert(value);
                }
                step
            })
            .collect();
        let file = |suffix: &str| match self.certificate.as_str() {
            "" => String::new(),
            name => self.site.certificate(&format!("{name}{suffix}")).to_str().unwrap().to_owned(),
        };
        let program = peers::repository().join("tests/readers/wire.py");
        let (port, ca) = (self.site.ports.landing.to_string(), self.site.certificate("ca.pem"));
        let (pem, key) = (file(".pem"), file(".key.pem"));
        let arguments = [program.to_str().unwrap(), "127.0.0.1", &port, ca.to_str().unwrap(), &pem, &key];
        let out = site::filter(&peers::python(), &arguments, json!(steps).to_string().as_bytes());
        assert!(out.status.success(), "wire.py: {}", site::shown(&out));
        serde_json::from_slice(&out.stdout).unwrap()
    }

    /// Takes one step.
    #[track_caller]
    pub fn step(&self, step: Value) -> Value {
        self.take(&[step]).remove(0)
    }

    /// Asks until there is an answer.
    #[track_caller]
    pub fn answered(&self, step: &Value) -> Value {
        wait::until("an answer of the landing", || {
            Some(self.step(step.clone())).filter(|answer| answer.get("error").is_none())
        })
    }
}

/// A request for an epoch of a new log.
pub fn epoch(incarnation: u8, proposed: u64, resume_after: u64) -> Value {
    let incarnation = format!("{incarnation:02x}").repeat(16);
    json!({"do": "epoch", "incarnation": incarnation, "proposed": proposed, "resume_after": resume_after})
}

/// A batch of these payloads.
pub fn put(epoch: u64, first: u64, payloads: &[&str]) -> Value {
    json!({"do": "put", "epoch": epoch, "first": first, "batch": {"payloads": payloads}})
}

/// The kind of problem in an answer.
pub fn kind(answer: &Value) -> (u64, String) {
    let status = answer["status"].as_u64().unwrap_or(0);
    (status, answer["body"]["kind"].as_str().unwrap_or_default().to_owned())
}
