//! The files beside the pages: one style sheet, one script, one icon. Compiled in; nothing is fetched from
//! anywhere else. Their names carry a digest, so browsers may keep them for ever.

use std::sync::OnceLock;

use axum::extract::Path;
use axum::http::header::{self, HeaderValue};
use axum::response::{IntoResponse as _, Response};

use crate::pages::error::Failure;

/// How browsers keep an asset.
pub(crate) const KEEP: &str = "public, max-age=31536000, immutable";

struct Asset {
    stem: &'static str,
    extension: &'static str,
    media_type: &'static str,
    body: &'static str,
}

static STYLE: Asset = Asset {
    stem: "app",
    extension: "css",
    media_type: "text/css; charset=utf-8",
    body: include_str!("assets/app.css"),
};
static SCRIPT: Asset = Asset {
    stem: "app",
    extension: "js",
    media_type: "text/javascript; charset=utf-8",
    body: include_str!("assets/app.js"),
};
static ICON: Asset = Asset {
    stem: "icon",
    extension: "svg",
    media_type: "image/svg+xml",
    body: include_str!("assets/icon.svg"),
};

/// Paths of the assets as pages name them.
#[derive(Debug)]
pub(crate) struct Paths {
    pub(crate) style: String,
    pub(crate) script: String,
    pub(crate) icon: String,
}

/// The paths, worked out once.
pub(crate) fn paths() -> &'static Paths {
    static PATHS: OnceLock<Paths> = OnceLock::new();
    PATHS.get_or_init(|| Paths { style: STYLE.path(), script: SCRIPT.path(), icon: ICON.path() })
}

impl Asset {
    fn path(&self) -> String {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, self.body.as_bytes());
        let short: String = hex::encode(digest).chars().take(12).collect();
        format!("/assets/{}.{short}.{}", self.stem, self.extension)
    }
}

/// `GET /assets/{file}`.
pub(crate) async fn show(Path(file): Path<String>) -> Response {
    let asked = format!("/assets/{file}");
    let paths = paths();
    let found = [(&paths.style, &STYLE), (&paths.script, &SCRIPT), (&paths.icon, &ICON)]
        .into_iter()
        .find(|(path, _)| **path == asked);
    let Some((_, asset)) = found else { return Failure::not_found().into_response() };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(asset.media_type)),
        (header::CACHE_CONTROL, HeaderValue::from_static(KEEP)),
    ];
    (headers, asset.body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_and_self_contained() {
        assert!(SCRIPT.body.len() <= 3 << 10, "{} bytes", SCRIPT.body.len());
        assert!(STYLE.body.len() <= 24 << 10, "{} bytes", STYLE.body.len());
        for asset in [&STYLE, &SCRIPT] {
            assert!(
                !asset.body.contains("http://") && !asset.body.contains("https://"),
                "{}",
                asset.extension
            );
            assert!(!asset.body.contains("@import"), "{}", asset.extension);
        }
        for banned in ["eval(", "Function(", ".style.", "localStorage", "sessionStorage", "document.cookie"] {
            assert!(!SCRIPT.body.contains(banned), "{banned}");
        }
    }
}
