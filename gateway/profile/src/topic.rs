//! Which device a topic names: MQTT topic filters (MQTT 3.1.1, section 4.7).

/// Whether a topic filter matches a topic: `+` is one level, a last `#` is all further levels and the one
/// before it. Topics that begin with `$` are matched by no leading wildcard.
pub fn topic_matches(filter: &str, topic: &str) -> bool {
    captures(filter, topic).is_some()
}

/// The device that a topic names under its filter: the levels that `+` matched, joined by `/` where the filter
/// has several. `None` where the filter does not match, or has no `+`.
///
/// ```
/// let device = profile::device_from_topic("ward3/oximeter/+/plx", "ward3/oximeter/bed-12/plx");
/// assert_eq!(device.as_deref(), Some("bed-12"));
/// ```
pub fn device_from_topic(filter: &str, topic: &str) -> Option<String> {
    let levels = captures(filter, topic)?;
    (!levels.is_empty()).then(|| levels.join("/"))
}

/// As [`device_from_topic`], by the first of the feed's filters that matches.
pub fn device_from_topics<F: AsRef<str>>(filters: &[F], topic: &str) -> Option<String> {
    let filter = filters.iter().find(|filter| topic_matches(filter.as_ref(), topic))?;
    device_from_topic(filter.as_ref(), topic)
}

/// The levels that `+` matched; `None` where the filter does not match.
fn captures<'t>(filter: &str, topic: &'t str) -> Option<Vec<&'t str>> {
    if topic.is_empty() || (topic.starts_with('$') && filter.starts_with(['+', '#'])) {
        return None;
    }
    let mut captured = Vec::new();
    let mut levels = topic.split('/');
    for wanted in filter.split('/') {
        if wanted == "#" {
            return Some(captured);
        }
        match (wanted, levels.next()?) {
            ("+", level) => captured.push(level),
            (wanted, level) if wanted == level => {}
            _ => return None,
        }
    }
    levels.next().is_none().then_some(captured)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn filters_match_as_the_standard_says() {
        // (filter, topic, matches): the examples of MQTT 3.1.1 section 4.7.1 and 4.7.2.
        let table = [
            ("sport/tennis/player1/#", "sport/tennis/player1", true),
            ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true),
            ("sport/#", "sport", true),
            ("#", "a/b", true),
            ("sport/tennis/+", "sport/tennis/player1", true),
            ("sport/tennis/+", "sport/tennis/player1/ranking", false),
            ("sport/+", "sport", false),
            ("sport/+", "sport/", true),
            ("+/+", "/finance", true),
            ("/+", "/finance", true),
            ("+", "/finance", false),
            ("#", "$SYS/uptime", false),
            ("+/monitor/Clients", "$SYS/monitor/Clients", false),
            ("$SYS/#", "$SYS/uptime", true),
            ("a/b", "a/b", true),
            ("a/b", "a/B", false),
            ("a/b", "a/b/c", false),
            ("a/b/c", "a/b", false),
        ];
        for (filter, topic, expected) in table {
            assert_eq!(topic_matches(filter, topic), expected, "{filter} {topic}");
        }
    }

    #[test]
    fn the_device_is_what_the_plus_matched() {
        assert_eq!(device_from_topic("w/+/x", "w/7/x").as_deref(), Some("7"));
        assert_eq!(device_from_topic("+/oximeter/+/#", "w3/oximeter/b7/plx").as_deref(), Some("w3/b7"));
        assert_eq!(device_from_topic("w/7/x", "w/7/x"), None);
        assert_eq!(device_from_topic("w/+/x", "w/7/y"), None);
        let filters = ["a/+", "b/+/c"];
        assert_eq!(device_from_topics(&filters, "b/9/c").as_deref(), Some("9"));
        assert_eq!(device_from_topics(&filters, "b/9/d"), None);
    }

    proptest! {
        #[test]
        fn a_topic_is_its_own_filter(topic in "[a-z/]{1,20}") {
            prop_assert!(topic_matches(&topic, &topic));
            prop_assert!(topic_matches("#", &topic));
        }

        #[test]
        fn never_panics(filter in ".*", topic in ".*") {
            prop_assert!(device_from_topic(&filter, &topic).is_none() || topic_matches(&filter, &topic));
        }
    }
}
