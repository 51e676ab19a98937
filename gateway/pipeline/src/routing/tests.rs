//! Rules against messages.

use super::*;

const MESSAGE: &str = "MSH|^~\\&|LAB|WEST|EHR|MAIN|20261124||ORU^R01^ORU_R01|C1|P|2.5.1\r\
    PID|1||100^^^WEST&1.2&ISO~200^^^EAST||KESTREL^ANNA||\"\"|F\r\
    OBR|1|||718-7^Hemoglobin^LN\r\
    OBR|2|||4544-3^A\\T\\B\\S\\C^LN|\r\
    OBX|1|NM|718-7^^LN||13.2\r\
    ZPI|x\r";

fn message(text: &str) -> Message {
    Message::parse(text.as_bytes().to_vec()).unwrap()
}

fn rules(text: &str) -> Vec<Rule> {
    #[derive(serde::Deserialize)]
    struct Document {
        route: Vec<Rule>,
    }
    toml::from_str::<Document>(text).unwrap_or_else(|e| panic!("{text}: {e}")).route
}

fn router(text: &str) -> Router {
    Router::compile(&rules(text)).unwrap_or_else(|m| panic!("{text}: {m:?}"))
}

fn to(name: &str) -> Slug {
    name.parse().unwrap()
}

fn holds(condition: &str, text: &str) -> bool {
    let router = router(&format!("[[route]]\ndestinations = [\"lake\"]\nwhen = [{{ {condition} }}]\n"));
    router.leads(&message(text), &to("lake"))
}

#[test]
fn conditions() {
    for (condition, expected) in [
        ("type = \"ORU^R01\"", true),
        ("type = \"ORU\"", true),
        ("type = \"ORU^*\"", true),
        ("type = \"*^R01\"", true),
        ("type = \"ADT^*\"", false),
        ("type = \"ORU^R0\"", false),
        ("type = [\"ADT^A01\", \"ORU^R01\"]", true),
        ("type = [\"ADT^A01\", \"ADT^A02\"]", false),
        ("type = \"ADT^*\", not = true", true),
        ("segment = \"ZPI\"", true),
        ("segment = \"PV1\"", false),
        ("segment = \"PV1\", not = true", true),
        ("segment = \"OBR[2]\"", true),
        ("segment = \"OBR[3]\"", false),
        ("path = \"MSH-4\", equals = \"WEST\"", true),
        ("path = \"MSH-1\", equals = \"|\"", true),
        ("path = \"MSH-2\", equals = \"^~\\\\&\"", true),
        // Any repetition and any segment, unless numbered.
        ("path = \"PID-3.4\", equals = \"EAST\"", true),
        ("path = \"PID-3[1].4\", equals = \"EAST\"", false),
        ("path = \"PID-3.1\", one_of = [\"300\", \"200\"]", true),
        ("path = \"OBR-4.1\", equals = \"4544-3\"", true),
        ("path = \"OBR[1]-4.1\", equals = \"4544-3\"", false),
        ("path = \"OBR-4.1\", equals = \"4544-3\", not = true", false),
        ("path = \"OBR-4.1\", one_of = [\"1\", \"2\"], not = true", true),
        // Components and subcomponents, escapes, a whole place.
        ("path = \"PID-3.4\", equals = \"WEST&1.2&ISO\"", true),
        ("path = \"PID-3.4.2\", equals = \"1.2\"", true),
        ("path = \"PID-3.4.1\", equals = \"WEST\"", true),
        ("path = \"OBR-4.2\", equals = \"A&B^C\"", true),
        ("path = \"OBX-3\", equals = \"718-7^^LN\"", true),
        ("path = \"PID-3[2]\", equals = \"200^^^EAST\"", true),
        // Patterns search; anchors bind.
        ("path = \"OBR-4.1\", matches = \"^718-\"", true),
        ("path = \"OBR-4.1\", matches = \"18\"", true),
        ("path = \"OBR-4.1\", matches = \"^18\"", false),
        ("path = \"PID-5.1\", matches = \"(?i)^kestrel$\"", true),
        // Presence: null is no value, nor is an empty or absent place.
        ("path = \"PID-8\", present = true", true),
        ("path = \"PID-7\", present = true", false),
        ("path = \"PID-7\", present = false", true),
        ("path = \"PID-6\", present = false", true),
        ("path = \"PID-40\", present = false", true),
        ("path = \"PV1-2\", present = false", true),
        ("path = \"PV1-2\", present = false, not = true", false),
        ("path = \"PV1-2\", equals = \"I\", not = true", true),
    ] {
        assert_eq!(holds(condition, MESSAGE), expected, "{condition}");
    }
}

#[test]
fn the_sender_s_delimiters_and_charset_do_not_matter() {
    let other = MESSAGE.replace('|', "#").replace('^', "*");
    assert!(holds("path = \"OBX-3\", equals = \"718-7^^LN\"", &other));
    assert!(holds("type = \"ORU^R01\"", &other));
    let latin = b"MSH|^~\\&|K\xf6ln|\rPID|1\r".to_vec();
    let routes =
        router("[[route]]\ndestinations = [\"lake\"]\nwhen = [{ path = \"MSH-3\", equals = \"Köln\" }]\n");
    assert!(routes.leads(&Message::decode(latin, None).unwrap(), &to("lake")));
    assert!(routes.leads(&message("MSH|^~\\&|Köln|\rPID|1\r"), &to("lake")));
}

#[test]
fn every_rule_that_fits_counts_and_otherwise_takes_the_rest() {
    let router = router(
        "[[route]]\nname = \"labs\"\ndestinations = [\"lake\", \"research\"]\n\
         when = [{ type = \"ORU^*\" }, { segment = \"OBX\" }]\n\
         [[route]]\ndestinations = [\"registry\"]\n\
         when_any = [{ type = \"ADT^A01\" }, { path = \"PID-8\", equals = \"F\" }]\n\
         [[route]]\ndestinations = [\"archive\"]\n\
         [[route]]\nname = \"rest\"\ndestinations = [\"lake\", \"desk\"]\notherwise = true\n",
    );
    let went = |text: &str| {
        let message = message(text);
        ["lake", "research", "registry", "archive", "desk", "nobody"]
            .into_iter()
            .filter(|d| router.leads(&message, &to(d)))
            .collect::<Vec<_>>()
    };
    assert_eq!(went(MESSAGE), ["lake", "research", "registry", "archive"]);
    assert_eq!(went("MSH|^~\\&|||||||ORU^R01\rPID|1\r"), ["lake", "archive", "desk"]);
    assert_eq!(went("MSH|^~\\&|||||||ADT^A01\rPID|1\r"), ["registry", "archive"]);
    assert_eq!(went("MSH|^~\\&|||||||SIU^S12\rPID|1\r"), ["lake", "archive", "desk"]);
    assert!(router.names(&to("desk")) && !router.names(&to("nobody")) && router.is_total());

    let said: Vec<String> = router
        .explain(&message("MSH|^~\\&|||||||ORU^R01\rPID|1\r"))
        .into_iter()
        .map(|v| format!("{} {}: {}", v.route, if v.fits { "fits" } else { "does not fit" }, v.because))
        .collect();
    assert_eq!(
        said,
        [
            "labs does not fit: it does not hold that there is a segment OBX",
            "route 2 does not fit: none of when_any holds",
            "route 3 fits: it has no conditions",
            "rest fits: no other route fits",
        ]
    );
}

#[test]
fn an_explanation_holds_no_value() {
    let router = router(
        "[[route]]\ndestinations = [\"lake\"]\nwhen = [{ path = \"PID-5.1\", equals = \"KESTREL\" }, \
         { path = \"PID-3.1\", one_of = [\"100\", \"200\"] }, { path = \"PID-8\", matches = \"SECRET\" }]\n\
         when_any = [{ path = \"PID-5.2\", equals = \"ANNA\" }]\n",
    );
    for text in [MESSAGE, "MSH|^~\\&|\rPID|1\r"] {
        let said = format!("{:?}", router.explain(&message(text)));
        for value in ["KESTREL", "ANNA", "100", "200", "SECRET"] {
            assert!(!said.contains(value), "{said}");
        }
    }
}

#[test]
fn every_mistake_is_found_with_its_place() {
    let text = r#"
        [[route]]
        destinations = []
        when = [{ type = "adt a01" }, { }, { path = "PID3", equals = "x" }, { path = "PID-3" }]
        [[route]]
        destinations = ["lake"]
        otherwise = true
        when_any = [
            { path = "PID-3", equals = "" },
            { path = "PID-3", one_of = [] },
            { path = "PID-3", matches = "(" },
            { path = "PID-3", matches = "a{1000}{1000}" },
            { path = "PID-3", equals = "x", present = true },
            { path = "PID", equals = "x" },
            { segment = "PID-3" },
            { segment = "ZPI", equals = "x" },
            { segment = "ZPI", type = "ADT^A01" },
            { equals = "x" },
            { type = [] },
        ]
    "#;
    let mistakes: Vec<String> = Router::compile(&rules(text))
        .unwrap_err()
        .into_iter()
        .map(|m| {
            let place = m.condition.map_or_else(String::new, |(list, n)| format!(" {list}[{n}]"));
            format!("{}{place} {}: {} = {}", m.rule, m.key, m.message, m.hint.unwrap_or_default())
        })
        .collect();
    insta::assert_snapshot!(mistakes.join("\n"));
    assert!(toml::from_str::<Condition>("typ = \"ADT\"").is_err());
    let many = format!("[[route]]\ndestinations = [\"lake\"]\n{}", "").repeat(RULES_MAX + 1);
    assert_eq!(Router::compile(&rules(&many)).unwrap_err().len(), 1);
}

/// Whatever comes in, a router answers, and as its explanation says.
#[test]
fn answer_and_explanation_agree_on_anything() {
    use proptest::prelude::*;
    let router = router(
        "[[route]]\ndestinations = [\"a\"]\nwhen = [{ type = \"ADT^*\" }, { path = \"PID-3.1\", matches = \"^[0-9]\" }]\n\
         [[route]]\ndestinations = [\"b\"]\nwhen_any = [{ segment = \"OBX[2]\" }, { path = \"PID-3[2].4.2\", present = true }]\n\
         [[route]]\ndestinations = [\"c\"]\notherwise = true\n",
    );
    proptest!(|(body in "(PID|OBX|MSH|[A-Z|^~&\\\\0-9\r\u{e9}]){0,60}", event in "ADT\\^A0[1-9]|ORU|\\^|")| {
        let message = message(&format!("MSH|^~\\&|||||||{event}\r{body}\r"));
        let said = router.explain(&message);
        for name in ["a", "b", "c"] {
            let by_explanation = said.iter().any(|v| v.fits && v.destinations.contains(&to(name)));
            prop_assert_eq!(router.leads(&message, &to(name)), by_explanation);
        }
        prop_assert!(said.iter().any(|v| v.fits));
    });
}
