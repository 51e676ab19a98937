//! The Bundle and the Provenance that leads back to the raw message.

use super::run::Run;
use crate::json::{Json, Name, Object};

impl Run<'_, '_> {
    pub(crate) fn bundle(mut self) -> Object {
        self.provenance();
        let mut bundle = Object::from([
            ("resourceType", Json::text("Bundle")),
            (
                "id",
                Json::Text(
                    self.identify(
                        "Bundle",
                        Some(format!("{}/{}", self.context.gateway, self.context.record)),
                        true,
                    )
                    .0,
                ),
            ),
        ]);
        if let Some(identifier) = self.bundle_members.remove("identifier") {
            bundle.set("identifier", identifier);
        }
        bundle.set("type", Json::text("transaction"));
        if let Some(timestamp) = self.bundle_members.remove("timestamp") {
            bundle.set("timestamp", timestamp);
        }
        let entries = self.resources.into_iter().map(|resource| {
            let url = format!("{}/{}", resource.kind, resource.id);
            let full = format!("urn:uuid:{}", resource.id);
            let mut body = resource.body;
            body.set_first("id", Json::Text(resource.id));
            body.set_first("resourceType", Json::text(&*resource.kind));
            let request = Object::from([("method", Json::text("PUT")), ("url", Json::Text(url))]);
            Object::from([
                ("fullUrl", Json::Text(full)),
                ("resource", body.into()),
                ("request", request.into()),
            ])
            .into()
        });
        bundle.set("entry", Json::Array(entries.collect()));
        bundle
    }

    /// One Provenance for all resources: made by this gateway from that record.
    fn provenance(&mut self) {
        let device = Name::from("Device");
        let gateway = self.context.gateway;
        let system = Json::text("urn:wardgate:gateway");
        let identifier = Object::from([("system", system), ("value", Json::text(gateway))]);
        let name =
            Object::from([("name", Json::text("Wardgate")), ("type", Json::text("manufacturer-name"))]);
        let body = Object::from([
            ("identifier", Json::Array(vec![identifier.into()])),
            ("deviceName", Json::Array(vec![name.into()])),
        ]);
        let targets: Vec<Json> =
            (0..self.resources.len()).filter_map(|index| self.reference(index)).collect();
        let (id, _) = self.identify("Device", Some(format!("gateway/{gateway}")), true);
        let device = self.push(&device, id, body);
        let Some(who) = self.reference(device) else { return };
        let coding = |system: &str, code: &str| -> Json {
            let coding = Object::from([("system", Json::text(system)), ("code", Json::text(code))]);
            Object::from([("coding", Json::Array(vec![coding.into()]))]).into()
        };
        let record = Object::from([
            ("system", Json::Text(format!("urn:wardgate:gateway:{gateway}:record"))),
            ("value", Json::text(self.context.record)),
        ]);
        let agent = Object::from([
            (
                "type",
                coding("http://terminology.hl7.org/CodeSystem/provenance-participant-type", "assembler"),
            ),
            ("who", who),
        ]);
        let entity = |identifier: Object| -> Json {
            Object::from([
                ("role", Json::text("source")),
                ("what", Object::from([("identifier", identifier.into())]).into()),
            ])
            .into()
        };
        let mut entities = vec![entity(record)];
        for (name, number) in std::mem::take(&mut self.segments_named) {
            let system = format!("urn:wardgate:gateway:{gateway}:record:{}:{name}", self.context.record);
            entities
                .push(entity(Object::from([("system", Json::Text(system)), ("value", Json::Text(number))])));
        }
        let body = Object::from([
            ("target", Json::Array(targets)),
            ("recorded", Json::Text(self.context.recorded_at.to_string())),
            ("activity", coding("urn:wardgate:activity", "v2-to-fhir")),
            ("agent", Json::Array(vec![agent.into()])),
            ("entity", Json::Array(entities)),
        ]);
        let key = format!("{gateway}/{}#provenance", self.context.record);
        let (id, _) = self.identify("Provenance", Some(key), true);
        self.push(&Name::from("Provenance"), id, body);
    }
}
