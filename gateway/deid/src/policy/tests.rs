use super::*;

/// A complete policy of the label, with `extra` in place of `[fields]` and its neighbours.
fn text(label: &str, extra: &str) -> String {
    let (age, at, id) =
        if label == "safe-harbor" { ("cap", "year", "remove") } else { ("keep", "instant", "token") };
    format!(
        "language = 1\nlabel = \"{label}\"\n[payload]\nhl7 = \"rules\"\n{extra}\n[ages]\nover_89 = \"{age}\"\n[envelope]\n\
         received_at = \"{at}\"\npeer = \"remove\"\nchannel = \"remove\"\ncontrol_id = \"{id}\"\n[observations]\n\
         device = \"remove\"\ntimes = \"{at}\"\nraw = \"remove\"\n"
    )
}

fn now() -> Timestamp {
    "2026-11-24T08:30:00Z".parse().unwrap()
}

fn error(policy: &str) -> String {
    Policy::compile("lake", policy, now()).map(|_| ()).unwrap_err().to_string()
}

#[test]
fn the_built_in_policies_compile() {
    for name in BUILTIN_POLICIES {
        let policy = Policy::builtin(name).unwrap_or_else(|| panic!("{name} does not compile"));
        let label = if name == "safe-harbor-linked" { "safe-harbor" } else { name };
        assert_eq!(policy.label().as_str(), label);
        assert_eq!((policy.reference().name.as_str(), policy.reference().label.as_str()), (name, label));
        assert_eq!(policy.reference().sha256.len(), 64);
        assert_eq!(policy.needs_keys(), name == "limited-data-set");
        assert_eq!(policy.needs_vault(), name == "safe-harbor-linked");
    }
    assert!(Policy::builtin("none").is_none());
}

#[test]
fn the_hash_names_what_the_policy_does() {
    let hash = |text: &str| Policy::compile("lake", text, now()).unwrap().reference().sha256.clone();
    let base = text("safe-harbor", "[types]\nNM = \"number\"\nSI = \"number\"");
    assert_eq!(hash(&base), hash(&base));
    assert_eq!(
        hash(&base),
        hash(&text("safe-harbor", "# A remark.\n[types]\nSI = \"number\"\nNM = \"number\""))
    );
    let others = [
        text("limited-data-set", "[types]\nNM = \"number\"\nSI = \"number\""),
        text("safe-harbor", "[types]\nNM = \"number\""),
        text("safe-harbor", "[types]\nNM = \"number\"\nSI = \"number\"\n[fields]\n\"MSH-13\" = \"remove\""),
        text("safe-harbor", "[types]\nNM = \"number\"\nSI = \"number\"\n[codes]\nsystems = [\"LN\"]"),
        text("safe-harbor", "[types]\nNM = \"number\"\nSI = \"number\"\n[listed]\n\"MSH-3\" = [\"LAB\"]"),
        text("safe-harbor", "[types]\nNM = \"number\"\nSI = \"number\"\n[codes.local]\nL = [\"GLU\"]"),
    ];
    // MSH-13 is a number: removing it is another policy.
    for (n, other) in others.iter().enumerate() {
        assert_ne!(hash(&base), hash(other), "{n}");
    }
}

#[test]
fn safe_harbor_derives_nothing_from_the_person() {
    for rule in ["token", "ff1", "mask-but-4", "date-shift", "date", "city-state-zip"] {
        let place = match rule {
            "token" | "ff1" | "mask-but-4" => "CX",
            "city-state-zip" => "XAD",
            _ => "DTM",
        };
        let error = error(&text("safe-harbor", &format!("[types]\n{place} = \"{rule}\"")));
        let mistake =
            error.lines().find(|line| line.contains("45 CFR 164.514")).unwrap_or_else(|| panic!("{error}"));
        assert!(mistake.starts_with("lake:6:"), "{error}");
    }
    let policy = text("safe-harbor", "").replace("control_id = \"remove\"", "control_id = \"token\"");
    assert!(error(&policy).contains("164.514(c)"));
    let policy = text("safe-harbor", "").replace("device = \"remove\"", "device = \"token\"");
    assert!(error(&policy).contains("164.514(c)"));
}

#[test]
fn errors_say_where_and_what_to_write() {
    let sh = |extra: &str| text("safe-harbor", extra);
    let cases = [
        ("a derived token", sh("[types]\nCX = \"token\"")),
        ("a shifted date", sh("[types]\nDTM = \"date-shift\"")),
        ("an enciphered number", sh("[types]\nCX = \"ff1\"")),
        ("an enciphered number for treatment", text("treatment", "[types]\nEI = \"ff1\"")),
        ("the end of a number", text("limited-data-set", "[types]\nEI = \"mask-but-4\"")),
        ("a masked date", sh("[types]\nDTM = \"mask\"")),
        ("a shifted date for treatment", text("treatment", "[types]\nDTM = \"date-shift\"")),
        (
            "true dates beside shifted ones",
            text("limited-data-set", "[types]\nDTM = \"date-shift\"\nDT = \"date\"\nTM = \"date\""),
        ),
        ("a determination of another label", text("limited-data-set", "[determination]\nby = \"A. B.\"")),
        ("no determination", text("expert-determination", "")),
        (
            "an empty determination",
            text("expert-determination", DETERMINATION).replace("A. Statistician", " "),
        ),
        (
            "an expired determination",
            text("expert-determination", DETERMINATION).replace("2028-03", "2026-04"),
        ),
        (
            "a determination to come",
            text("expert-determination", DETERMINATION).replace("2026-03-01", "2027-03-01"),
        ),
        (
            "a determination without days",
            text("expert-determination", DETERMINATION)
                .replace("2026-03-01", "\"2026-03-01\"")
                .replace("2028-03-01", "2028-03-01T08:00:00Z"),
        ),
        ("authorities in two places", text("limited-data-set", "[authorities]\nA = [\"X\"]\nB = [\"X\"]")),
        (
            "patients without a shift",
            text(
                "limited-data-set",
                "[fhir]\ndates = \"keep\"\npatients = \"id\"\naddresses = \"remove\"\nidentifiers = \"remove\"\nids = \"number\"",
            ),
        ),
        ("a whole date", sh("[fields]\n\"PID-7\" = \"date\"")),
        ("a misspelled rule", sh("[types]\nCWE = \"cod\"")),
        ("an unknown rule", sh("[types]\nCWE = \"pseudonymise\"")),
        ("a rule that is no text", sh("[types]\nCWE = 7")),
        ("an unknown type", sh("[types]\nXPNN = \"remove\"")),
        ("a rule that does not fit its type", sh("[types]\nXPN = \"code\"")),
        ("a rule that does not fit its field", sh("[fields]\n\"PID-3\" = \"range\"")),
        ("no field", sh("[fields]\n\"PID.3\" = \"remove\"")),
        ("a field in another spelling", sh("[fields]\n\"PID-03\" = \"remove\"")),
        ("a field of nothing", sh("[fields]\n\"ZPI-3\" = \"remove\"")),
        ("a field beyond the end", sh("[fields]\n\"PID-99\" = \"remove\"")),
        ("the delimiters", sh("[fields]\n\"MSH-2\" = \"remove\"")),
        ("a field twice", sh("[fields]\n\"MSH-3\" = \"remove\"\n[listed]\n\"MSH-3\" = [\"LAB\"]")),
        ("a list of patients", sh("[listed]\n\"PID-5\" = [\"DOE^JANE\"]")),
        ("a list of providers", sh("[listed]\n\"OBR-16\" = [\"77\"]")),
        ("a list that is none", sh("[listed]\n\"MSH-3\" = \"LAB\"")),
        ("an unknown system", sh("[codes]\nsystems = [\"LOINC\"]")),
        ("a known system as a local one", sh("[codes.local]\nLN = [\"718-7\"]")),
        ("an unknown key", sh("[kodes]\nsystems = []")),
        ("no TOML", "label = ".into()),
        ("no language", "label = \"safe-harbor\"".into()),
        ("another language", "language = 2".into()),
        ("no label", "language = 1".into()),
        ("an unknown label", "language = 1\nlabel = \"none\"".into()),
        ("a section missing", "language = 1\nlabel = \"safe-harbor\"".into()),
        ("a payload unchanged", sh("").replace("\"rules\"", "\"verbatim\"")),
        ("ages kept", sh("").replace("\"cap\"", "\"keep\"")),
        ("a peer kept", sh("").replace("peer = \"remove\"", "peer = \"keep\"")),
        ("a token of a peer", text("limited-data-set", "").replace("peer = \"remove\"", "peer = \"token\"")),
        ("an exact time", sh("").replace("received_at = \"year\"", "received_at = \"instant\"")),
        (
            "rules without effect",
            include_str!("../../policies/treatment.toml").to_owned() + "[types]\nNM = \"number\"\n",
        ),
    ];
    let report: String = cases
        .iter()
        .map(|(what, policy)| format!("{what}\n  {}\n", error(policy).replace('\n', "\n  ")))
        .collect();
    insta::assert_snapshot!(report);
}

#[test]
fn none_is_not_a_policy() {
    let error = Policy::compile("none", &text("safe-harbor", ""), now()).map(|_| ()).unwrap_err();
    let [mistake] = error.mistakes.as_slice() else { panic!("{error}") };
    assert!(mistake.message.contains("not a policy") && mistake.remedy.contains("treatment"));
}

/// Whatever is wrong is said in one go, each with its key and what to do.
#[test]
fn all_mistakes_are_said_at_once() {
    let extra =
        "[types]\nCX = \"token\"\nXPNN = \"remove\"\nDTM = \"date-shift\"\n[fields]\n\"PID-99\" = \"remove\"";
    let policy = text("safe-harbor", extra)
        .replace("\"cap\"", "\"keep\"")
        .replace("peer = \"remove\"", "peer = \"kep\"")
        .replace("raw = \"remove\"\n", "");
    let error = Policy::compile("lake", &policy, now()).map(|_| ()).unwrap_err();
    let paths: Vec<&str> = error.mistakes.iter().map(|mistake| mistake.path.as_str()).collect();
    let wrong = [
        "types.CX",
        "types.XPNN",
        "types.DTM",
        "fields.PID-99",
        "ages.over_89",
        "envelope.peer",
        "observations.raw",
    ];
    assert_eq!(paths, wrong, "{error}");
    assert!(error.mistakes.iter().all(|m| m.line > 0 && !m.message.is_empty() && !m.remedy.is_empty()));
    assert_eq!(error.to_string().lines().count(), paths.len());
}

const DETERMINATION: &str = "[determination]\nby = \"A. Statistician\"\non = 2026-03-01\nreference = \"ED-7\"\n\
                             expires = 2028-03-01";

#[test]
fn an_expert_determination_is_named_and_in_force() {
    let compile = |extra: &str, at: &str| {
        let policy = Policy::compile("lake", &text("expert-determination", extra), at.parse().unwrap());
        policy.map(|policy| policy.reference().clone())
    };
    let reference = compile(DETERMINATION, "2028-03-01T23:59:59Z").unwrap();
    assert_eq!(reference.label, "expert-determination");
    assert!(compile(DETERMINATION, "2028-03-02T00:00:00Z").is_err(), "the day after its last");
    let renewed = compile(&DETERMINATION.replace("2028", "2029"), "2026-11-24T08:30:00Z").unwrap();
    assert_ne!(renewed.sha256, reference.sha256, "a policy is named with what it rests on");
    for line in DETERMINATION.lines().skip(1) {
        let without = DETERMINATION.replace(&format!("\n{line}"), "");
        let error = compile(&without, "2026-11-24T08:30:00Z").unwrap_err();
        let [mistake] = error.mistakes.as_slice() else { panic!("{error}") };
        let key = line.split(' ').next().unwrap();
        assert_eq!(
            (mistake.path.as_str(), mistake.message.as_str()),
            (&*format!("determination.{key}"), "missing")
        );
    }
}
