//! The rest: values that no map line takes, in one `QuestionnaireResponse`, so that nothing is lost and everybody can
//! see what a map lacks.
//!
//! A segment of HL7 v2 is a form with numbered blanks, and this is R4's element for answers to the blanks of a form.
//! An item for each segment, in it an item for each place, `linkId` being the place as HL7 names it: `PV1-3.5`.

use super::report::{Report, Unmapped, Way};
use super::run::Run;
use crate::json::{Json, Name, Object};

/// How a rest is known from other answers.
pub(crate) const REST: &str = "urn:wardgate:hl7v2:rest";

const NO_MAP: &str = "no map for this segment";
const NO_LINE: &str = "no map line takes it, or it cannot validly stand where the line puts it";

impl Run<'_, '_> {
    pub(crate) fn rest(&mut self, report: &mut Report) {
        let mut items = Vec::new();
        let mut seen: Vec<(&str, usize)> = Vec::new();
        for cut in self.cuts {
            let nth = match seen.iter_mut().find(|(name, _)| *name == cut.name) {
                Some((_, nth)) => {
                    *nth += 1;
                    *nth
                }
                None => {
                    seen.push((&cut.name, 1));
                    1
                }
            };
            let known = self.maps.segments.contains_key(cut.name.as_ref());
            let mut places: Vec<Json> = Vec::new();
            for leaf in &cut.leaves {
                let Some(way @ None) = self.ways.get_mut(leaf.number) else { continue };
                *way = Some(Way::Rest);
                let mut place = format!("{}-{}", cut.name, leaf.field);
                if leaf.component > 1 || leaf.subcomponent > 1 {
                    place.push_str(&format!(".{}", leaf.component));
                }
                if leaf.subcomponent > 1 {
                    place.push_str(&format!(".{}", leaf.subcomponent));
                }
                let answer: Json = Object::from([("valueString", Json::text(&*leaf.text))]).into();
                let same = places
                    .iter_mut()
                    .filter_map(Json::as_object_mut)
                    .find(|item| item.get("linkId").and_then(Json::as_str) == Some(&place));
                match same.and_then(|item| item.array(&Name::from("answer"))) {
                    Some(answers) => answers.push(answer),
                    None => places.push(
                        Object::from([("linkId", Json::Text(place)), ("answer", Json::Array(vec![answer]))])
                            .into(),
                    ),
                }
                report.unmapped.push(Unmapped {
                    from: super::pending::path_of(cut, nth, leaf),
                    reason: if known { NO_LINE } else { NO_MAP },
                });
            }
            if !places.is_empty() {
                items.push(
                    Object::from([
                        ("linkId", Json::Text(format!("{}[{nth}]", cut.name))),
                        ("item", Json::Array(places)),
                    ])
                    .into(),
                );
            }
        }
        if items.is_empty() {
            return;
        }
        let tag =
            Object::from([("system", Json::text("urn:wardgate:tag")), ("code", Json::text("hl7v2-rest"))]);
        let mut body = Object::from([
            ("meta", Object::from([("tag", Json::Array(vec![tag.into()]))]).into()),
            (
                "identifier",
                Object::from([("system", Json::text(REST)), ("value", Json::text(self.context.record))])
                    .into(),
            ),
            ("status", Json::text("completed")),
        ]);
        for (member, kind) in [("subject", "Patient"), ("encounter", "Encounter")] {
            if let Some(reference) = self.first_of(kind) {
                body.set(member, reference);
            }
        }
        body.set("authored", Json::Text(self.context.recorded_at.to_string()));
        body.set("item", Json::Array(items));
        let key = format!("{}/{}#rest", self.context.gateway, self.context.record);
        let (id, _) = self.identify("QuestionnaireResponse", Some(key), true);
        self.push(&Name::from("QuestionnaireResponse"), id, body);
    }

    fn first_of(&self, kind: &str) -> Option<Json> {
        let index = self.resources.iter().position(|r| &*r.kind == kind)?;
        self.reference(index)
    }
}
