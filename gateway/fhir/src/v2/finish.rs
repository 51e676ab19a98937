//! What a resource must be to be valid, after all segments have spoken.

use super::run::Run;
use crate::json::{Json, Name, Object};

impl Run<'_, '_> {
    pub(crate) fn finish(&mut self) {
        let all: Vec<Json> = (0..self.resources.len()).filter_map(|index| self.reference(index)).collect();
        let maps = self.maps;
        let recorded = self.context.recorded_at.to_string();
        for (index, resource) in self.resources.iter_mut().enumerate() {
            for (member, value) in maps.defaults.get(&*resource.kind).into_iter().flatten() {
                let choice = member.strip_suffix("_x");
                let there = match choice {
                    Some(stem) => resource.body.members().any(|(name, _)| name.starts_with(stem)),
                    None => resource.body.get(member).is_some(),
                };
                if !there && choice.is_none() {
                    resource.body.set(Name::clone(member), value.clone());
                }
            }
            match &*resource.kind {
                "Observation" => observation(&mut resource.body),
                "Provenance" => {
                    if resource.body.get("target").is_none() {
                        let own = all.get(index);
                        let others = all.iter().filter(|r| Some(*r) != own).cloned().collect();
                        resource.body.set("target", Json::Array(others));
                    }
                    if resource.body.get("recorded").is_none() {
                        resource.body.set("recorded", Json::Text(recorded.clone()));
                    }
                }
                _ => {}
            }
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
