//! What a resource must be to be valid, after all segments have spoken.

use super::run::Run;
use crate::json::{Json, Name, Object};

/// What stands where R4 requires something and the message says nothing.
const NOT_SAID: &str = "not said in the message";

impl Run<'_, '_> {
    pub(crate) fn finish(&mut self) {
        let all: Vec<Json> = (0..self.resources.len()).filter_map(|index| self.reference(index)).collect();
        let maps = self.maps;
        let recorded = self.context.recorded_at.to_string();
        for (index, resource) in self.resources.iter_mut().enumerate() {
            for (member, value) in maps.defaults.get(&*resource.kind).into_iter().flatten() {
                if resource.body.get(member).is_none()
                    && !super::place::excluded(&resource.body, member, value)
                {
                    resource.body.set(Name::clone(member), value.clone());
                }
            }
            if let Some(Json::Array(notes)) = resource.body.get_mut("note") {
                complete(notes, "text", &Json::text(NOT_SAID));
            }
            match &*resource.kind {
                "Observation" => observation(&mut resource.body),
                "Provenance" => {
                    if let Some(Json::Array(agents)) = resource.body.get_mut("agent") {
                        complete(agents, "who", &Object::from([("display", Json::text(NOT_SAID))]).into());
                    }
                    if resource.body.get("target").is_none() {
                        let own = all.get(index);
                        let others = all.iter().filter(|r| Some(*r) != own).cloned().collect();
                        resource.body.set("target", Json::Array(others));
                    }
                    if resource.body.get("recorded").is_none() {
                        resource.body.set("recorded", Json::Text(recorded.clone()));
                    }
                }
                "Organization" => organization(&mut resource.body),
                "Appointment" => appointment(&mut resource.body),
                "MessageHeader" => message_header(&mut resource.body),
                "MedicationAdministration" => when_given(&mut resource.body),
                "MedicationDispense" => {
                    if let Some(Json::Object(substitution)) = resource.body.get_mut("substitution")
                        && substitution.get("wasSubstituted").is_none()
                    {
                        substitution.set_first("wasSubstituted", Json::Bool(true));
                    }
                }
                _ => {}
            }
        }
    }
}

/// When a dose was given is required.
fn when_given(body: &mut Object) {
    if !body.members().any(|(name, _)| name.starts_with("effective")) {
        absent(body, "effectiveDateTime");
    }
}

/// Says of a required primitive that the message does not have it.
fn absent(body: &mut Object, member: &str) {
    let extension = Object::from([
        ("url", Json::text("http://hl7.org/fhir/StructureDefinition/data-absent-reason")),
        ("valueCode", Json::text("unknown")),
    ]);
    let element = Object::from([("extension", Json::Array(vec![extension.into()]))]);
    body.set(format!("_{member}"), element.into());
}

/// Source, endpoints and what is answered are required.
fn message_header(body: &mut Object) {
    if body.get("source").is_none() {
        body.set("source", Object::new().into());
    }
    let mut ends: Vec<&mut Object> = Vec::new();
    let mut response = None;
    for (name, value) in body.members_mut() {
        match (&**name, value) {
            ("source", Json::Object(source)) => ends.push(source),
            ("destination", Json::Array(all)) => ends.extend(all.iter_mut().filter_map(Json::as_object_mut)),
            ("response", Json::Object(found)) => response = Some(found),
            _ => {}
        }
    }
    for end in ends {
        if end.get("endpoint").is_none() {
            // Required, and seldom said: the application's name as a URI.
            let name = end.get("name").and_then(Json::as_str).unwrap_or("unknown");
            let endpoint = format!("urn:wardgate:application:{}", super::coded::percent(name));
            end.set("endpoint", Json::Text(endpoint));
        }
    }
    if let Some(response) = response {
        if response.get("identifier").is_none() {
            response.set("identifier", Json::text("unknown"));
        }
        if response.get("code").is_none() {
            absent(response, "code");
        }
    }
}

/// An organization has something to be known by (org-1).
fn organization(body: &mut Object) {
    if body.get("name").is_none() && body.get("identifier").is_none() {
        body.set("name", Json::text(NOT_SAID));
    }
}

/// A begin or an end alone is what was asked for, not what was agreed (app-2).
fn appointment(body: &mut Object) {
    let (begins, ends) = (body.get("start").is_some(), body.get("end").is_some());
    let member = match (begins, ends) {
        (true, false) => "start",
        (false, true) => "end",
        _ => return,
    };
    if let Some(time) = body.remove(member)
        && let Some(periods) = body.array(&Name::from("requestedPeriod"))
    {
        periods.push(Object::from([(member, time)]).into());
    }
}

/// Gives every element the member that R4 requires of it.
fn complete(elements: &mut [Json], member: &'static str, value: &Json) {
    for element in elements.iter_mut().filter_map(Json::as_object_mut) {
        if element.get(member).is_none() {
            element.set(member, value.clone());
        }
    }
}

/// A value and a reason for its absence exclude each other (obs-6).
fn observation(body: &mut Object) {
    let has_value = body.members().any(|(name, _)| name.starts_with("value"));
    if has_value {
        body.remove("dataAbsentReason");
    }
}
