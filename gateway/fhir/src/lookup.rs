//! The ids by which a person looks for a resource, read from a stream.
//!
//! **Promise.** Memory holds the ids alone, whatever else the resource holds; what is not FHIR gives fewer ids and never an
//! error of its own. Values are given as they are written.
//!
//! What counts (FHIR R4): of a Patient its `identifier` and `id`; of an Encounter the same, as a visit; of every resource
//! the `Patient/…` and `Encounter/…` that its `subject`, `patient`, `encounter` and `context` refer to, by id and by
//! identifier; of requests, reports, results and specimens `identifier`, `requisition`, `accessionIdentifier` and
//! `basedOn` as an order; of a Bundle and a MessageHeader `id` and `identifier` as the message's id; every
//! `resourceType`, and a MessageHeader's event. Resources in a Bundle and contained ones count as their own.

use std::fmt;
use std::io::{BufReader, Read};
use std::marker::PhantomData;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// What an id names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Named {
    /// A patient.
    Patient,
    /// A visit: Encounter.
    Visit,
    /// An order or what was made of it.
    Order,
    /// A message: Bundle or MessageHeader.
    Message,
    /// No id: a type of resource, or the event of a message.
    Type,
}

/// Resources whose own identifiers are those of an order, its filler or its specimen.
const OF_ORDERS: [&str; 12] = [
    "DeviceRequest",
    "DiagnosticReport",
    "ImagingStudy",
    "MedicationAdministration",
    "MedicationDispense",
    "MedicationRequest",
    "NutritionOrder",
    "Observation",
    "Procedure",
    "ServiceRequest",
    "Specimen",
    "Task",
];

/// Says every id of the resource that is read. `false`: it could not be read to its end as JSON.
pub fn names(json: impl Read, say: &mut dyn FnMut(Named, &str)) -> bool {
    // It is read byte by byte.
    match serde_json::from_reader::<_, One<Resource>>(BufReader::new(json)) {
        Ok(One(Some(resource))) => {
            resource.say(say);
            true
        }
        Ok(One(None)) => true,
        Err(_) => false,
    }
}

#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Resource {
    resource_type: Text,
    id: Text,
    identifier: Many<Identifier>,
    subject: Many<Reference>,
    patient: Many<Reference>,
    encounter: Many<Reference>,
    context: Many<Reference>,
    based_on: Many<Reference>,
    requisition: Many<Identifier>,
    accession_identifier: Many<Identifier>,
    event_coding: Many<Coding>,
    contained: Many<Resource>,
    entry: Many<Entry>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Entry {
    resource: Many<Resource>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Identifier {
    value: Text,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Coding {
    code: Text,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Reference {
    reference: Text,
    identifier: Many<Identifier>,
}

impl Resource {
    fn say(&self, say: &mut dyn FnMut(Named, &str)) {
        let kind = self.resource_type.0.as_deref().unwrap_or_default();
        self.resource_type.say(Named::Type, say);
        let own = match kind {
            "Patient" => Some(Named::Patient),
            "Encounter" => Some(Named::Visit),
            "Bundle" | "MessageHeader" => Some(Named::Message),
            _ => None,
        };
        if let Some(own) = own {
            self.id.say(own, say);
        }
        if let Some(own) = own.or_else(|| OF_ORDERS.contains(&kind).then_some(Named::Order)) {
            self.identifier.0.iter().for_each(|identifier| identifier.value.say(own, say));
        }
        let orders = self.requisition.0.iter().chain(&self.accession_identifier.0);
        orders.for_each(|identifier| identifier.value.say(Named::Order, say));
        self.event_coding.0.iter().for_each(|coding| coding.code.say(Named::Type, say));
        for reference in self.subject.0.iter().chain(&self.patient.0) {
            reference.say(&["Patient"], Named::Patient, say);
        }
        for reference in self.encounter.0.iter().chain(&self.context.0) {
            reference.say(&["Encounter"], Named::Visit, say);
        }
        self.based_on.0.iter().for_each(|reference| reference.say(&OF_ORDERS, Named::Order, say));
        let inner = self.entry.0.iter().flat_map(|entry| &entry.resource.0);
        inner.chain(&self.contained.0).for_each(|resource| resource.say(say));
    }
}

impl Reference {
    /// `Patient/7`, `https://server/fhir/Patient/7/_history/2`; a reference within a Bundle or to something contained
    /// leads to a resource that speaks for itself.
    fn say(&self, kinds: &[&str], named: Named, say: &mut dyn FnMut(Named, &str)) {
        self.identifier.0.iter().for_each(|identifier| identifier.value.say(named, say));
        let mut parts = self.reference.0.as_deref().unwrap_or_default().rsplit('/').peekable();
        while let Some(id) = parts.next() {
            if parts.peek().is_some_and(|kind| kinds.contains(kind)) {
                return say(named, id);
            }
        }
    }
}

/// A string; anything else is none.
#[derive(Default)]
struct Text(Option<String>);

impl Text {
    fn say(&self, named: Named, say: &mut dyn FnMut(Named, &str)) {
        if let Some(text) = &self.0 {
            say(named, text);
        }
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Lenient::<Self>(PhantomData))
    }
}

/// An object, or the objects of an array; anything else is none.
struct Many<T>(Vec<T>);

impl<T> Default for Many<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Many<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Lenient::<Self>(PhantomData))
    }
}

/// An object, or nothing.
struct One<T>(Option<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for One<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Lenient::<Self>(PhantomData))
    }
}

/// Takes any JSON; what is not of the right kind is read over.
struct Lenient<T>(PhantomData<T>);

macro_rules! scalars_are_none {
    ($none:expr) => {
        fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
            Ok($none)
        }
        fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
            Ok($none)
        }
        fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
            Ok($none)
        }
        fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
            Ok($none)
        }
        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok($none)
        }
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("JSON")
        }
    };
}

impl<'de> Visitor<'de> for Lenient<Text> {
    type Value = Text;

    scalars_are_none!(Text(None));

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Text(Some(text.to_owned())))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        IgnoredAny::deserialize(MapAccessDeserializer::new(map)).map(|_| Text(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        IgnoredAny::deserialize(SeqAccessDeserializer::new(seq)).map(|_| Text(None))
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Lenient<Many<T>> {
    type Value = Many<T>;

    scalars_are_none!(Many(Vec::new()));

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(Many(Vec::new()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(|one| Many(vec![one]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut all = Vec::new();
        while let Some(One(one)) = seq.next_element()? {
            all.extend(one);
        }
        Ok(Many(all))
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Lenient<One<T>> {
    type Value = One<T>;

    scalars_are_none!(One(None));

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(One(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(|one| One(Some(one)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        IgnoredAny::deserialize(SeqAccessDeserializer::new(seq)).map(|_| One(None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(json: &str) -> Vec<(Named, String)> {
        let mut all = Vec::new();
        names(json.as_bytes(), &mut |named, id| all.push((named, id.to_owned())));
        all
    }

    #[test]
    fn ids_are_found_wherever_they_stand() {
        use Named::{Message, Order, Patient, Type, Visit};
        let bundle = r#"{"entry":[
            {"resource":{"identifier":[{"system":"a","value":"700"},{"value":"701"}],"id":"p1","resourceType":"Patient","name":[{"family":"NO"}]}},
            {"resource":{"resourceType":"Encounter","identifier":[{"value":"V9"}],"subject":{"reference":"Patient/p1"}}},
            {"fullUrl":"urn:uuid:1","resource":{"resourceType":"ServiceRequest","requisition":{"value":"R1"},"identifier":[{"value":"O1"}],
              "subject":{"identifier":{"value":"700"}},"encounter":{"reference":"http://x/fhir/Encounter/e7/_history/2"}}},
            {"resource":{"resourceType":"Observation","basedOn":[{"reference":"ServiceRequest/s3"}],
              "contained":[{"resourceType":"Patient","identifier":[{"value":"702"}]}]}},
            {"resource":{"resourceType":"Practitioner","identifier":[{"value":"staff"}]}}],
            "resourceType":"Bundle","id":"b5"}"#;
        let want: Vec<(Named, &str)> = vec![
            (Type, "Bundle"),
            (Message, "b5"),
            (Type, "Patient"),
            (Patient, "p1"),
            (Patient, "700"),
            (Patient, "701"),
            (Type, "Encounter"),
            (Visit, "V9"),
            (Patient, "p1"),
            (Type, "ServiceRequest"),
            (Order, "O1"),
            (Order, "R1"),
            (Patient, "700"),
            (Visit, "e7"),
            (Type, "Observation"),
            (Order, "s3"),
            (Type, "Patient"),
            (Patient, "702"),
            (Type, "Practitioner"),
        ];
        assert_eq!(of(bundle), want.into_iter().map(|(n, id)| (n, id.to_owned())).collect::<Vec<_>>());
        assert_eq!(
            of(r#"{"resourceType":"MessageHeader","id":"m","eventCoding":{"code":"admit"}}"#),
            [(Type, "MessageHeader".to_owned()), (Message, "m".to_owned()), (Type, "admit".to_owned())]
        );
    }

    #[test]
    fn what_is_of_another_kind_is_read_over() {
        let odd = r#"{"resourceType":"Patient","id":7,"identifier":["a",{"value":{"a":[1]}},[{"value":"x"}],null,{"value":"k"}],
            "subject":"Patient/3","entry":{"resource":[{"resourceType":["x"],"id":"q"}]},"contained":true}"#;
        assert_eq!(of(odd), [(Named::Type, "Patient".to_owned()), (Named::Patient, "k".to_owned())]);
        for (json, is_whole) in
            [("[1]", true), ("\"x\"", true), ("null", true), ("", false), ("{\"id\":", false)]
        {
            assert_eq!(names(json.as_bytes(), &mut |_, _| panic!("{json}")), is_whole, "{json}");
        }
    }
}
