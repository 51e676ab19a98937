use proptest::prelude::*;

use super::*;

fn why(text: &str) -> Option<Why> {
    Json::parse(text.as_bytes()).err().map(|f| f.why)
}

#[test]
fn what_is_json_and_what_is_not() {
    for good in ["{}", " [ ] ", "0", "-0.5e+10", "\"\\u00e4\\ud83d\\ude00\\n\"", "[1,2,[{}],null,true,false]"]
    {
        assert_eq!(why(good), None, "{good}");
    }
    for (bad, expected) in [
        ("", Why::Empty),
        (" \n", Why::Empty),
        ("{", Why::Truncated),
        ("{\"a\"", Why::Truncated),
        ("[1", Why::Truncated),
        ("\"a", Why::Truncated),
        ("1.", Why::Truncated),
        ("{}{}", Why::TrailingText),
        ("[1,]", Why::Unexpected),
        ("{\"a\":1,}", Why::Unexpected),
        ("{a:1}", Why::Unexpected),
        ("01", Why::Unexpected),
        ("+1", Why::Unexpected),
        ("NaN", Why::Unexpected),
        ("tru", Why::Unexpected),
        ("[1}", Why::Unexpected),
        ("'a'", Why::Unexpected),
        ("\"\t\"", Why::Control),
        ("\"\\x\"", Why::Escape),
        ("\"\\ud83d\"", Why::Escape),
        ("\"\\ude00\"", Why::Escape),
        ("\u{feff}{}", Why::ByteOrderMark),
    ] {
        assert_eq!(why(bad), Some(expected), "{bad}");
    }
    assert_eq!(Json::parse(b"\"\xC4\"").unwrap_err(), Fault { at: 1, why: Why::NotUtf8 });
}

#[test]
fn limits_hold() {
    let nested = |n: usize| "[".repeat(n) + &"]".repeat(n);
    assert_eq!(why(&nested(DEPTH_MAX)), None);
    assert_eq!(why(&nested(DEPTH_MAX + 1)), Some(Why::TooDeep));
    assert_eq!(why(&"[".repeat(1_000_000)), Some(Why::TooDeep));
    let values = |n: usize| format!("[{}1]", "1,".repeat(n - 2));
    assert_eq!(why(&values(NODES_MAX)), None);
    assert_eq!(why(&values(NODES_MAX + 1)), Some(Why::TooMany));
}

fn rebuild(json: &Json<'_>, n: usize) -> serde_json::Value {
    let node = json.node(n).unwrap();
    match node.kind {
        Kind::Object => serde_json::Value::Object(
            json.children(n).map(|(n, c)| (json.key(c).into_owned(), rebuild(json, n))).collect(),
        ),
        Kind::Array => json.children(n).map(|(n, _)| rebuild(json, n)).collect(),
        Kind::String | Kind::Escaped => json.string(node).unwrap().into_owned().into(),
        _ => serde_json::from_str(json.raw(node)).unwrap(),
    }
}

fn value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i32>().prop_map(Into::into),
        ".*".prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(5, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(serde_json::Value::from),
            prop::collection::vec((".*", inner), 0..6)
                .prop_map(|m| serde_json::Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(value in value()) {
        for text in [serde_json::to_string(&value).unwrap(), serde_json::to_string_pretty(&value).unwrap()] {
            let json = Json::parse(text.as_bytes()).unwrap();
            prop_assert_eq!(rebuild(&json, 0), value.clone());
        }
    }

    /// The same texts as another parser takes, but for its limit of depth and lone surrogates.
    #[test]
    fn as_strict_as_another(text in r#"[\[\]{}:,0-9.eE+\-"\\u tfn]{0,24}"#) {
        let ours = Json::parse(text.as_bytes()).is_ok();
        let theirs = serde_json::from_str::<serde::de::IgnoredAny>(&text);
        prop_assert_eq!(ours, theirs.is_ok(), "{}", text);
    }
}
