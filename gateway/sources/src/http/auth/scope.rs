//! What a token permits: `system/*.write` (SMART v1) and `system/Patient.cu` (v2).

/// A scope that permits writing. Others mean nothing here: nothing can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope {
    /// The resource type; `None` for all.
    kind: Option<&'static str>,
    create: bool,
    update: bool,
}

impl Scope {
    /// Reads one; `None` for what permits nothing here, and for what is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, rights) = text.strip_prefix("system/")?.split_once('.')?;
        let kind = match kind {
            "*" => None,
            named => Some(fhir::definitions::definitions().resource(named)?.1.name),
        };
        let (create, update) = match rights {
            "write" | "*" => (true, true),
            // In this order, each at most once; no restriction by a search behind it.
            letters => {
                let known = "cruds";
                let mut rest = known;
                for letter in letters.chars() {
                    rest = rest.split_once(letter)?.1;
                }
                (letters.contains('c'), letters.contains('u'))
            }
        };
        (create || update).then_some(Self { kind, create, update })
    }

    /// Whether it permits creating (or else updating) a resource of this type.
    pub fn permits(&self, kind: &str, create: bool) -> bool {
        self.kind.is_none_or(|own| own == kind) && if create { self.create } else { self.update }
    }

    /// Whether everything that `other` permits is permitted by this one.
    pub fn covers(&self, other: &Self) -> bool {
        (self.kind.is_none() || self.kind == other.kind)
            && (self.create || !other.create)
            && (self.update || !other.update)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_permit_what_they_say() {
        for (text, kind, create, update) in [
            ("system/*.write", "Patient", true, true),
            ("system/*.*", "Patient", true, true),
            ("system/Patient.write", "Patient", true, true),
            ("system/Patient.write", "Group", false, false),
            ("system/Patient.c", "Patient", true, false),
            ("system/Patient.u", "Patient", false, true),
            ("system/Patient.cruds", "Patient", true, true),
            ("system/Patient.cu", "Patient", true, true),
        ] {
            let scope = Scope::parse(text).unwrap();
            assert_eq!((scope.permits(kind, true), scope.permits(kind, false)), (create, update), "{text}");
        }
        for none in [
            "",
            "system/*.read",
            "system/Patient.rs",
            "system/Patient.uc",
            "system/Patient.cc",
            "system/Patient.",
            "system/Patience.write",
            "patient/Patient.write",
            "user/*.write",
            "system/Patient.c?category=x",
            "openid",
        ] {
            assert_eq!(Scope::parse(none), None, "{none}");
        }
    }

    #[test]
    fn a_scope_covers_what_it_permits() {
        let covers = |a: &str, b: &str| Scope::parse(a).unwrap().covers(&Scope::parse(b).unwrap());
        assert!(covers("system/*.write", "system/Patient.c"));
        assert!(covers("system/Patient.cu", "system/Patient.write"));
        assert!(!covers("system/Patient.c", "system/Patient.cu"));
        assert!(!covers("system/Patient.write", "system/*.c"));
    }
}
