//! A canary in every place that a message has: none is in a release under `safe-harbor`, none that is a
//! direct identifier in a limited data set. The rules alone must stop them, so a held message counts as a
//! failure here.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    reason = "a test fails by panicking and tells what it measured"
)]

mod support;

use std::collections::{BTreeMap, HashSet};

use deid::Policy;
use support::{lines, message, policy, release, serialised};

/// Fields beyond the end of each segment, components and subcomponents that get a canary.
const EXTRA_FIELDS: usize = 3;
const COMPONENTS: usize = 14;
const SUBCOMPONENTS: usize = 3;

/// Segments and their number of fields, read from the data file by the test itself.
fn segments() -> BTreeMap<String, usize> {
    let mut segments = BTreeMap::new();
    let mut current = String::new();
    for line in include_str!("../data/segments.txt").lines().filter(|l| !l.starts_with('#') && !l.is_empty())
    {
        let mut words = line.split_whitespace();
        if !line.starts_with(' ') {
            current = words.next().unwrap().to_owned();
        }
        *segments.entry(current.clone()).or_default() += words.count();
    }
    segments
}

/// A message with every segment, each field repeated twice, every component and subcomponent filled by
/// `canary`.
fn stuffed(mut canary: impl FnMut(usize) -> String) -> (String, Vec<String>) {
    let mut planted = Vec::new();
    let mut next = || {
        let value = canary(planted.len());
        planted.push(value.clone());
        value
    };
    let mut text = String::from("MSH|^~\\&|||||20261103||ORU^R01|1|P|2.5\r");
    for (name, fields) in segments().into_iter().chain([("ZPI".to_owned(), 9), ("QQQ".to_owned(), 9)]) {
        text.push_str(&name);
        let first = if ["MSH", "FHS", "BHS"].contains(&name.as_str()) {
            text.push_str("|^~\\&");
            3
        } else {
            1
        };
        for number in first..=fields + EXTRA_FIELDS {
            text.push('|');
            // OBX-2 decides what OBX-5 is: text here, the others below.
            if name == "OBX" && number == 2 {
                text.push_str("ST");
                continue;
            }
            let repetitions = (0..2).map(|_| {
                let components =
                    (0..COMPONENTS).map(|_| (0..SUBCOMPONENTS).map(|_| next()).collect::<Vec<_>>().join("&"));
                components.collect::<Vec<_>>().join("^")
            });
            text.push_str(&repetitions.collect::<Vec<_>>().join("~"));
        }
        text.push('\r');
    }
    (text, planted)
}

fn letters(mut n: usize) -> String {
    let mut out = String::new();
    for _ in 0..5 {
        out.push(char::from(b'A' + (n % 26) as u8));
        n /= 26;
    }
    out
}

/// Everything between punctuation, and between delimiters, for looking up thousands of canaries.
fn tokens(text: &str) -> HashSet<&str> {
    let words = text.split(|c: char| !c.is_alphanumeric());
    words.chain(text.split(|c: char| "|^~&\\\"".contains(c) || c.is_control())).collect()
}

fn assert_none_leaves(policy: &Policy, text: &str, planted: &[String], what: &str) {
    let release = release(policy, &message(text.as_bytes())).unwrap_or_else(|held| panic!("{what}: {held}"));
    let out = serialised(&release);
    let tokens = tokens(&out);
    for canary in planted {
        assert!(
            !tokens.contains(canary.as_str()),
            "{what}: {canary} of {} in\n{}",
            policy.reference().name,
            lines(&release)
        );
    }
}

#[test]
fn no_canary_leaves_from_any_place() {
    type Canary = fn(usize) -> String;
    let kinds: [(&str, Canary); 9] = [
        ("words", |n| format!("ZQX{}", letters(n))),
        ("capitalised words", |n| format!("Zqx{}", letters(n).to_lowercase())),
        ("numbers of nine digits", |n| format!("{}", 700_000_000 + n * 7)),
        ("numbers of ten digits", |n| format!("{}", 6_175_000_000_usize + n * 13)),
        ("telephone numbers", |n| format!("617-{:03}-{:04}", 200 + n / 10_000, n % 10_000)),
        ("addresses of mail", |n| format!("z{n}q@example.org")),
        ("numbers of eleven digits", |n| format!("{}", 16_175_000_000_usize + n * 13)),
        ("names and numbers", |n| format!("MRN{n:07}")),
        ("dates", |n| format!("{:04}{:02}{:02}", 1937 + n % 80, 1 + n % 12, 1 + n % 28)),
    ];
    let scrubbing = "\n[text]\nresults = \"scrub\"\nnotes = \"scrub\"\ndocuments = \"scrub\"\n\
                     acknowledged = \"scrubbed text may keep identifiers\"\n";
    let strict = include_str!("../policies/safe-harbor.toml");
    let scrubbing = Policy::compile("own", &format!("{strict}{scrubbing}"), support::now()).unwrap();
    for (name, policy) in [
        ("safe-harbor", policy("safe-harbor")),
        ("safe-harbor that scrubs texts", scrubbing),
        ("limited-data-set", policy("limited-data-set")),
    ] {
        for (what, canary) in kinds {
            let (text, planted) = stuffed(canary);
            assert!(planted.len() > 100_000);
            let limited = name == "limited-data-set";
            // Dates may stay in a limited data set, and words may be cities there.
            if limited && matches!(what, "dates" | "words" | "capitalised words") {
                continue;
            }
            assert_none_leaves(&policy, &text, &planted, what);
        }
    }
}

#[test]
fn a_limited_data_set_lets_cities_through_and_no_other_word() {
    let (text, planted) = stuffed(|n| format!("ZQX{}", letters(n)));
    let release = release(&policy("limited-data-set"), &message(text.as_bytes())).unwrap();
    let out = lines(&release);
    let planted: HashSet<&str> = planted.iter().map(String::as_str).collect();
    let mut cities = 0;
    for field in out.split(['\n', '|', '~']) {
        for (n, component) in (1..).zip(field.split('^')) {
            if component.split('&').any(|part| planted.contains(part)) {
                assert_eq!(n, 3, "{field}");
                cities += 1;
            }
        }
    }
    assert!(cities > 10);
}

/// A value of OBX-5 under every value type there is.
#[test]
fn no_canary_leaves_from_an_observation_of_any_type() {
    let types = "AD AUI CCD CCP CD CE CF CK CN CNE CP CQ CSU CWE CX DDI DIN DLD DLN DLT DR DT DTM DTN ED EI EIP ELD ERL FC \
         FT GTS HD ICD ID IS JCC LA1 MA MO MOC MOP MSG NA NDL NM NR OCD OSD OSP PCF PI PIP PL PLN PN PPN PRL PT PTA QIP QSC RCD RFR RI \
         RMC RP RPT SAD SCV SI SN SPD SPS SRT ST TM TN TQ TS TX UVC VH VID VR WVI WVS XAD XCN XON XPN XTN ZZZ nm";
    let mut planted = Vec::new();
    let mut text = String::from("MSH|^~\\&|||||20261103||ORU^R01|1|P|2.5\r");
    for (n, value_type) in types.split_whitespace().enumerate() {
        let canaries: Vec<String> = (0..12).map(|c| format!("ZQX{}", letters(n * 12 + c))).collect();
        let subs = canaries.join("&");
        text.push_str(&format!("OBX|{n}|{value_type}|718-7^^LN||{}~{subs}^{subs}|\r", canaries.join("^")));
        planted.extend(canaries);
    }
    assert!(planted.len() > 96);
    assert_none_leaves(&policy("safe-harbor"), &text, &planted, "observations");
}

/// Wrong slots and disguises: each of these stands in a place that a rule keeps something of.
#[test]
fn no_identifier_leaves_in_disguise() {
    let cases = [
        ("PID-8", "PID|1|||||||ZQXAAAAA"),
        ("PID-8 lower case", "PID|1|||||||fred"),
        ("PID-10 name as code", "PID|1|||||||||ZQXAAAAA^ZQXAAAAB^CDCREC"),
        ("PID-11 name as state", "PID|1||||||||||^^^ZQXAAAAA^^ZQXAAAAB^ZQXAAAAC"),
        ("PID-11 telephone as ZIP", "PID|1||||||||||^^^MA^6175550143"),
        ("PID-11 country of elsewhere", "PID|1||||||||||^^^^75008^FRA"),
        ("PID-7 name as date", "PID|1||||||ZQXAAAAA"),
        ("PID-7 social security number as date", "PID|1||||||195712345"),
        ("PID-15 mail", "PID|1||||||||||||||zqxa@example.org"),
        ("OBX-3 name as LOINC", "OBX|1|NM|ZQXAAAAA^x^LN||1"),
        ("OBX-3 social security number as LOINC", "OBX|1|NM|123-45-6789^x^LN||1"),
        ("OBX-3 telephone as SNOMED CT", "OBX|1|NM|6175550143^x^SCT||1"),
        ("OBX-3 date as SNOMED CT", "OBX|1|NM|19620210^x^SCT||1"),
        ("OBX-3 system of one's own", "OBX|1|NM|718-7^x^ZQXAAAAA||1"),
        ("OBX-4 address of a host", "OBX|1|NM|718-7^^LN|10.1.2.3|1"),
        ("OBX-5 social security number", "OBX|1|NM|718-7^^LN||123456789"),
        ("OBX-5 hyphens", "OBX|1|NM|718-7^^LN||123-45-6789"),
        ("OBX-5 date", "OBX|1|NM|718-7^^LN||19620210"),
        ("OBX-5 escape", "OBX|1|NM|718-7^^LN||\\X5A5158\\"),
        ("OBX-5 no type", "OBX|1||718-7^^LN||ZQXAAAAA"),
        ("OBX-5 first name by LOINC", "OBX|1|NM|45392-8^^LN||1234567"),
        ("OBX-5 first name by second code", "OBX|1|NM|X^^L^45392-8^^LN||1234567"),
        ("OBX-6 name as unit", "OBX|1|NM|718-7^^LN||1|ZQXAAAAA"),
        ("OBX-6 name as UCUM", "OBX|1|NM|718-7^^LN||1|ZQXAAAAA^^UCUM"),
        ("OBX-6 annotation", "OBX|1|NM|718-7^^LN||1|{ZQXAAAAA}/min"),
        ("OBX-7 telephone", "OBX|1|NM|718-7^^LN||1||555-0143"),
        ("OBX-7 text", "OBX|1|NM|718-7^^LN||1||ZQXAAAAA"),
        ("OBX-8 text", "OBX|1|NM|718-7^^LN||1|||ZQXAAAAA"),
        ("AL1-3 text", "AL1|1|DA|7980^ZQXAAAAA^RXNORM^^ZQXAAAAB^L^^^ZQXAAAAC"),
        ("DG1-3 code beside its system", "DG1|1||ZQXAAAAA^^I10C"),
        ("MSH-11", "EVN|ZQX|20261103|||"),
        ("set id", "OBX|ZQXAAAAA|NM|718-7^^LN||1"),
        ("long set id", "OBX|123456789|NM|718-7^^LN||1"),
        ("null and more", "PID|1|||||||\"\"ZQXAAAAA"),
        ("a segment's name", "ZQXAAAAA|1"),
        ("a known segment's name and more", "PIDZQXAAAAA|1"),
        ("no field separator", "PID^ZQXAAAAA"),
        ("text in brackets", "NTE|1|L|ZQXAAAAA 617-555-0143"),
        ("base64", "OBX|1|ED|18842-5^^LN||^TEXT^^Base64^WlFYQUFBQUE="),
        ("birth date of 94 years", "PID|1||||||19311230"),
        ("age of 94 years", "OBX|1|NM|30525-0^^LN||94|a"),
        ("age of 94 years without a name", "OBX|1|NM|AGE^^L||94|yr"),
        ("age of 94 years without a unit", "OBX|1|NM|30525-0^^LN||94"),
        ("age of 94 years in months", "OBX|1|NM|30525-0^^LN||1128|mo"),
        ("age in a unit of one's own", "OBX|1|NM|30525-0^^LN||1128|moons"),
        ("age of 94 years as a structured number", "OBX|1|SN|30525-0^^LN||>=^94|a"),
        ("age as a quantity", "OBX|1|CQ|AGE^^L||94^a"),
        ("age by a word of the site's code", "OBX|1|NM|PT_AGE^^L||94"),
        ("age by a word of the text", "OBX|1|NM|X^Patient age^L||94"),
        ("age with its unit as a text", "OBX|1|NM|X^^L||94|^years"),
        ("age with its unit spelt out", "OBX|1|NM|X^^L||94|Yrs. old"),
        ("age without a name, in months", "OBX|1|NM|X^^L||1128|mo"),
        ("age behind a comparator", "OBX|1|NM|30525-0^^LN||>94|a"),
        ("age by a code and a subcomponent", "OBX|1|NM|30525-0&x^^LN||94"),
        ("age as a quantity with a subcomponent", "SPM||||||||||||94&^A"),
        ("age as a quantity of months", "OBX|1|CQ|X^^L||1128^mo"),
        ("chart number by a word", "OBX|1|NM|MRN^^L||55501"),
        ("social security number by words", "OBX|1|NM|X^Last four of social security^L||6789"),
        ("birth year by a word", "OBX|1|NM|X^Birth year^L||1931"),
        ("telephone without area", "OBX|1|NM|X^^L||5550143"),
        ("telephone as a charge", "FT1|1|||20261103||CG|||||5550143^USD"),
        ("telephone as a birth order", "PID|1||||||||||||||||||||||||5550143"),
        ("telephone as a structured number", "OBX|1|SN|X^^L||^617^-^5550143"),
        ("social security number as a structured number", "OBX|1|SN|X^^L||^12345^-^6789"),
        ("ZIP code as a number", "OBX|1|NM|X^^L||06175"),
        ("ZIP code as a range", "OBX|1|NM|718-7^^LN||1||06175-4307"),
        ("social security number as a sub-id", "OBX|1|NM|718-7^^LN|123.45.6789|1"),
        ("telephone as a sub-id", "OBX|1|NM|718-7^^LN|617.555.0143|1"),
        ("telephone as a group", "OBX|1|NM|718-7^^LN|617^555^0143|1"),
        ("birth date as a version", "OBX|1|NM|718-7^^LN^^^^620210^196202||1"),
        ("name as a version", "OBX|1|NM|718-7^^LN^^^^2ZQX||1"),
        ("number in a unit", "OBX|1|NM|718-7^^LN||1|55501m"),
        ("name as the end of a diagnosis", "DG1|1||E11.ZQAB^^I10C"),
    ];
    let mut report = String::new();
    for (what, segment) in cases {
        let text = format!("MSH|^~\\&|||||20261103||ORU^R01|1|P|2.5\r{segment}\r");
        let release = release(&policy("safe-harbor"), &message(text.as_bytes())).unwrap();
        let out = lines(&release);
        for canary in [
            "ZQX", "zqx", "fred", "617", "555", "1234567", "6789", "19620210", "6202", "94", "1128", "1931",
            "75008", "10.1.2.3", "WlFY",
        ] {
            assert!(!out.contains(canary), "{what}: {canary} in {out}");
        }
        let rest = out.split_once('\n').map_or("", |(_, rest)| rest.trim_end());
        report.push_str(&format!("{what}\n  {segment}\n  {rest}\n"));
    }
    insta::assert_snapshot!(report);
}

#[test]
fn no_direct_identifier_leaves_a_limited_data_set_in_disguise() {
    for segment in [
        "PID|1||||||||||^^^MA^6175550143",
        "PID|1||||||||||^^^^6175550143^DEU",
        "PID|1||||||||||^^^MA^MRN55501",
        "PID|1||||||||||^^^^MRN55501^DEU",
        "PID|1||||||||||^^Larkspur Lane^MA",
        "PID|1||||||||||^^c/o Larkspur^MA",
        "PID|1||||||||||^^Mrs Larkspur^MA",
        "PID|1||555-01-6789^^^SSA^SS",
        "PID|1||^^^55501^MR",
        "OBX|1|NM|MRN^^L||55501",
        "OBX|1|NM|X^^L||5550143",
        "OBX|1|CX|X^^L||55501^^^H^MR",
        "OBX|1|XTN|X^^L||555-0143",
        "OBX|1|NM|X^^L|55.501.6789|1",
        "OBX|1|NM|718-7^^LN^^^^55501||1",
    ] {
        let text = format!("MSH|^~\\&|||||20261103||ORU^R01|1|P|2.5\r{segment}\r");
        let release = release(&policy("limited-data-set"), &message(text.as_bytes())).unwrap();
        let out = lines(&release);
        let (_, body) = out.split_once('\n').unwrap();
        for canary in ["555", "617", "6789", "Larkspur"] {
            assert!(!body.contains(canary), "{segment}: {out}");
        }
    }
}

/// A box whose clock was lost believes that it is 1970, and nobody is over 89.
#[test]
fn a_lost_clock_tells_no_age() {
    let provenance =
        model::Provenance { received_at: model::Timestamp::from_micros(0), ..support::provenance() };
    for sent in ["", "1970", "19700101"] {
        let text = format!("MSH|^~\\&|||||{sent}||ADT^A01|1|P|2.5\rNK1|1|||||||||||||||19310207\r");
        let context = deid::Context { seq: 1, provenance: &provenance, keys: None };
        let release = policy("safe-harbor").release(&message(text.as_bytes()), &context).unwrap();
        assert!(!lines(&release).contains("1931"), "{}", lines(&release));
    }
    // Nor does a sender's clock that runs far ahead take every year away.
    let text = "MSH|^~\\&|||||21991231||ADT^A01|1|P|2.5\rPID|1||||||19620210\r";
    assert!(lines(&release(&policy("safe-harbor"), &message(text.as_bytes())).unwrap()).contains("|1962"));
}

/// What the disguises must not cost.
#[test]
fn numbers_of_the_ward_and_the_laboratory_stay() {
    for segment in [
        "OBX|94|NM|30525-0^^LN||50|a",
        "OBX|1|NM|30525-0^^LN||89|a",
        "OBX|1|NM|||1250000|{copies}/mL",
        "OBX|1|NM|20447-9^^LN||1234567",
        "OBX|1|NM|||250000",
        "OBX|1|NM|718-7^^LN||<0.5|mg/dL|[ 3.5 - 5.0 ]",
        "OBX|1|SN|718-7^^LN||^10000^-^50000",
        "OBX|1|SN|718-7^^LN||^1^:^128",
        "OBX|1|NM|147842^^MDC|1.1.2.147842|80|264864^^MDC",
        "OBX|1|NM|718-7^^LN|1^1^3|1",
        "OBX|1|NM|MDC_PULS_OXIM_SAT_O2/MDC_MODALITY_FAST^^MDC||97|%",
        "OBX|1|NM|59576-9^^LN||97|%",
        "OBX|1|NM|718-7^^LN^^^^2.61||1",
        "OBX|1|NM|||95|/min",
        "DG1|1||S72.XXXA^^I10C",
        "IN1|1||||||||||||||||||||||||||||||||||||123456.78",
    ] {
        let text = format!("MSH|^~\\&|||||20261103||ORU^R01|1|P|2.5\r{segment}\r");
        let release = release(&policy("safe-harbor"), &message(text.as_bytes())).unwrap();
        assert_eq!(lines(&release).lines().nth(1), Some(segment));
    }
}

#[test]
fn a_second_message_in_the_payload_is_judged_by_its_own_delimiters() {
    let text = "MSH|^~\\&|||||20261103||ADT^A01|1|P|2.5\rPID|1||||ZQXAAAAA^ZQXAAAAB\rMSH#*~\\&#ZQXAAAAC####20261103##ADT*A08#2#P#2.5\r\
                PID#1####ZQXAAAAD*ZQXAAAAE##19620210#F\rFHS|^~\\&|ZQXAAAAF||||20261103||ZQXAAAAG.hl7|ZQXAAAAH|ZQXAAAAJ\r\
                BHS|^~\\&|ZQXAAAAK||||20261103||ZQXAAAAL|ZQXAAAAM|ZQXAAAAN\rBTS|1|ZQXAAAAP\rFTS|1|ZQXAAAAQ\r";
    let release = release(&policy("safe-harbor"), &message(text.as_bytes())).unwrap();
    assert!(!serialised(&release).contains("ZQX"));
    insta::assert_snapshot!(lines(&release));
}

#[test]
fn bytes_that_do_not_decode_do_not_leave() {
    let text = b"MSH|^~\\&|||||20261103||ADT^A01|1|P|2.5||||||8859/1\rPID|1||||M\xfcller^J\xf6rg||19620210|F|||Stra\xdfe 1^^K\xf6ln^NW^50667\
        \rOBX|1|NM|718-7^^LN||7\xb74|mg/\xb5L\rPV1|1|\xff\xfe\r";
    let at = text.windows(6).position(|w| w == b"8859/1").unwrap();
    let wrong = [&text[..at], b"UTF-8", &text[at + 6..]].concat();
    for name in ["safe-harbor", "limited-data-set"] {
        let release = release(&policy(name), &message(&wrong)).unwrap();
        assert!(release.payload().is_ascii() && !lines(&release).contains("\\X"), "{}", lines(&release));
        // As what they are, they decode: the unit is one, the rest goes.
        let release = support::release(&policy(name), &message(text)).unwrap();
        assert!(lines(&release).contains("|mg/µL"), "{}", lines(&release));
        // Of a limited data set a town may be part.
        let rest = lines(&release).replace("^Köln^", "");
        assert_eq!(rest.chars().filter(|c| !c.is_ascii()).collect::<String>(), "µ");
    }
}
