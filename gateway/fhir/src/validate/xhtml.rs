//! Narrative: the limited XHTML that a `div` may hold (R4 "2.4 Narrative", txt-1, txt-2). No scripts, no forms, no
//! frames, no document types: what is shown to a clinician must be text and its layout.
//!
//! **Limit.** [`NESTED_MAX`] elements in each other.

/// Most elements in each other.
pub(crate) const NESTED_MAX: usize = 64;
const NAMESPACE: &str = "http://www.w3.org/1999/xhtml";

const ELEMENTS: &[&str] = &[
    "a",
    "abbr",
    "acronym",
    "b",
    "big",
    "blockquote",
    "br",
    "caption",
    "cite",
    "code",
    "col",
    "colgroup",
    "dd",
    "dfn",
    "div",
    "dl",
    "dt",
    "em",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "i",
    "img",
    "li",
    "ol",
    "p",
    "pre",
    "q",
    "samp",
    "small",
    "span",
    "strong",
    "sub",
    "sup",
    "table",
    "tbody",
    "td",
    "tfoot",
    "th",
    "thead",
    "tr",
    "tt",
    "ul",
    "var",
];
const ATTRIBUTES: &[&str] = &[
    "abbr",
    "accesskey",
    "align",
    "alt",
    "axis",
    "bgcolor",
    "border",
    "cellhalign",
    "cellpadding",
    "cellspacing",
    "cellvalign",
    "char",
    "charoff",
    "charset",
    "cite",
    "class",
    "colspan",
    "compact",
    "coords",
    "dir",
    "frame",
    "headers",
    "height",
    "href",
    "hreflang",
    "hspace",
    "id",
    "lang",
    "longdesc",
    "name",
    "nowrap",
    "rel",
    "rev",
    "rowspan",
    "rules",
    "scope",
    "shape",
    "span",
    "src",
    "start",
    "style",
    "summary",
    "tabindex",
    "title",
    "type",
    "valign",
    "value",
    "vspace",
    "width",
    "xml:lang",
    "xmlns",
];

/// What is wrong with it, if anything.
pub(crate) fn fault(text: &str) -> Option<&'static str> {
    let mut rest = text.trim();
    let mut open: Vec<&str> = Vec::new();
    let mut said_something = false;
    let mut first = true;
    loop {
        let Some(at) = rest.find('<') else {
            return if open.is_empty() && rest.is_empty() && !first {
                (!said_something).then_some("the narrative says nothing: neither text nor an image")
            } else {
                Some("the narrative must be one div, all of its elements closed")
            };
        };
        let (words, tag) = (rest.get(..at).unwrap_or_default(), rest.get(at..).unwrap_or_default());
        if open.is_empty() && (!first || !words.is_empty()) {
            return Some("the narrative must be one div and nothing else");
        }
        if !entities(words) {
            return Some("an & of the narrative is neither escaped nor an entity");
        }
        said_something |= !words.trim().is_empty();
        if let Some(comment) = tag.strip_prefix("<!--") {
            let Some((_, after)) = comment.split_once("-->") else {
                return Some("a comment of the narrative is not closed");
            };
            rest = after;
            continue;
        }
        let Some(end) = end_of(tag) else { return Some("a tag of the narrative is not closed") };
        let inner = tag.get(1..end).unwrap_or_default();
        rest = tag.get(end + 1..).unwrap_or_default();
        if let Some(name) = inner.strip_prefix('/') {
            if open.pop() != Some(name.trim_end()) {
                return Some("the elements of the narrative are not closed in order");
            }
            if open.is_empty() {
                rest = rest.trim_start();
            }
            continue;
        }
        let (inner, closed) = inner.strip_suffix('/').map_or((inner, false), |inner| (inner, true));
        let name = inner.split(|c: char| c.is_ascii_whitespace()).next().unwrap_or_default();
        if ELEMENTS.binary_search(&name).is_err() {
            return Some(
                "the narrative may hold formatting alone: no scripts, forms, frames or other elements",
            );
        }
        let attributes = inner.get(name.len()..).unwrap_or_default();
        match attributes_fault(attributes) {
            Err(why) => return Some(why),
            Ok(namespaced) if first && (name != "div" || !namespaced) => {
                return Some("the narrative must be a div with xmlns=\"http://www.w3.org/1999/xhtml\"");
            }
            Ok(_) => {}
        }
        first = false;
        said_something |= name == "img";
        if !closed {
            if open.len() >= NESTED_MAX {
                return Some("the elements of the narrative are nested too deeply: at most 64");
            }
            open.push(name);
        }
    }
}

/// Where the tag that `text` begins with ends: a `>` outside of quotes.
fn end_of(text: &str) -> Option<usize> {
    let mut quote = None;
    for (at, b) in text.bytes().enumerate() {
        match (quote, b) {
            (None, b'>') => return Some(at),
            (None, b'"' | b'\'') => quote = Some(b),
            (Some(q), b) if q == b => quote = None,
            _ => {}
        }
    }
    None
}

/// Whether the XHTML namespace is among them.
fn attributes_fault(text: &str) -> Result<bool, &'static str> {
    let mut namespaced = false;
    let mut rest = text.trim();
    while !rest.is_empty() {
        let shape = "an attribute of the narrative is not name=\"value\"";
        let (name, after) = rest.split_once('=').ok_or(shape)?;
        let (name, after) = (name.trim_end(), after.trim_start());
        let quote = after.chars().next().filter(|c| matches!(c, '"' | '\'')).ok_or(shape)?;
        let (value, after) = after.get(1..).and_then(|a| a.split_once(quote)).ok_or(shape)?;
        if !after.is_empty() && !after.starts_with(|c: char| c.is_ascii_whitespace()) {
            return Err(shape);
        }
        if ATTRIBUTES.binary_search(&name).is_err() {
            return Err(
                "an attribute of the narrative is not among the permitted ones: no events, no scripts",
            );
        }
        if value.contains('<') || !entities(value) {
            return Err("a value of the narrative's attributes is not escaped");
        }
        if matches!(name, "href" | "src" | "cite" | "longdesc") && active(value) {
            return Err("an address in the narrative would run a script");
        }
        namespaced |= name == "xmlns" && value == NAMESPACE;
        rest = after.trim_start();
    }
    Ok(namespaced)
}

/// Whether a browser would run it. Entities and blanks hide letters from us, not from the browser: an address with
/// either before its colon is refused with the scripts.
fn active(address: &str) -> bool {
    let Some((scheme, _)) = address.split_once(':') else { return address.trim_start().starts_with('&') };
    let plain = scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-./#?=_~%".contains(&b));
    !plain
        || ["javascript", "vbscript", "livescript"].iter().any(|s| scheme.eq_ignore_ascii_case(s))
        || (scheme.eq_ignore_ascii_case("data")
            && !address.get(..11).is_some_and(|d| d.eq_ignore_ascii_case("data:image/")))
}

/// Whether every `&` begins an entity.
fn entities(text: &str) -> bool {
    text.split('&').skip(1).all(|after| {
        after.split_once(';').is_some_and(|(name, _)| {
            let name = name.strip_prefix('#').unwrap_or(name);
            (1..=10).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn div(inner: &str) -> String {
        format!("<div xmlns=\"{NAMESPACE}\">{inner}</div>")
    }

    #[test]
    fn lists_are_sorted() {
        assert!(ELEMENTS.is_sorted() && ATTRIBUTES.is_sorted());
    }

    #[test]
    fn formatting_passes() {
        for inner in [
            "a",
            "<p>a &amp; b &#228;&nbsp;</p><br/><hr />",
            "<table class='x'><tbody><tr><td colspan=\"2\">1</td></tr></tbody></table>",
            "<img src=\"#i\" alt=\"\"/>",
            "<a href=\"https://example.org/?a=1&amp;b=2#c\">x</a>",
            "<!-- a > b --> x",
        ] {
            assert_eq!(fault(&div(inner)), None, "{inner}");
        }
    }

    #[test]
    fn the_rest_does_not() {
        for inner in [
            "",
            "  <p> </p>",
            "<script>alert(1)</script>",
            "<p onclick=\"x()\">a</p>",
            "<a href=\"javascript:x()\">a</a>",
            "<a href=\" JavaScript:x()\">a</a>",
            "<a href=\"java&#115;cript:x()\">a</a>",
            "<a href=\"&#106;avascript&#58;x()\">a</a>",
            "<img src=\"data:text/html,x\"/>",
            "<p>a",
            "<p><b>a</p></b>",
            "a & b",
            "<p class=x>a</p>",
            "<form>a</form>",
            "<P>a</P>",
            "<p class=\"a\"style=\"b\">a</p>",
            &("<b>".repeat(NESTED_MAX) + "a" + &"</b>".repeat(NESTED_MAX)),
        ] {
            assert!(fault(&div(inner)).is_some(), "{inner}");
        }
        for text in ["", "a", "<p>a</p>", "<div>a</div>", "<div xmlns=\"x\">a</div>", "<!DOCTYPE x><div/>"] {
            assert!(fault(text).is_some(), "{text}");
        }
        assert!(fault(&(div("a") + "b")).is_some());
        assert!(fault(&(div("a") + &div("b"))).is_some());
    }
}
