//! Assertions: JSON Web Tokens (RFC 7519, RFC 7523) as SMART asks for them, and no more of JOSE than that.
//!
//! **Limits.** [`ASSERTION_BYTES_MAX`] bytes, good for [`ASSERTION_S_MAX`] seconds at most, clocks apart by
//! [`CLOCK_SKEW_S`] at most. **Invariants.** The header chooses between the two algorithms that are configured here
//! and nothing else; nothing that the token says is used before its signature was found good, but the name of the
//! client whose keys are tried.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::jwks::{Algorithm, Keys};

/// Longest assertion, in bytes.
pub(crate) const ASSERTION_BYTES_MAX: usize = 8 << 10;
/// SMART: an assertion ends no more than five minutes in the future.
pub(crate) const ASSERTION_S_MAX: i64 = 300;
/// How far the clocks of client and gateway may be apart, in seconds.
pub(crate) const CLOCK_SKEW_S: i64 = 60;
/// Longest `jti`.
const JTI_BYTES_MAX: usize = 256;

#[derive(Deserialize)]
struct Header {
    alg: String,
    typ: Option<String>,
    kid: Option<String>,
    crit: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    exp: f64,
    nbf: Option<f64>,
    iat: Option<f64>,
    jti: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

/// An assertion that is good.
#[derive(Debug)]
pub(crate) struct Assertion {
    pub(crate) jti: String,
    /// Until when it must be remembered, in seconds since 1970.
    pub(crate) until: i64,
}

/// An assertion before it is judged.
pub(crate) struct Unverified<'t> {
    signed: &'t str,
    header: Header,
    claims: Claims,
    signature: Vec<u8>,
}

impl<'t> Unverified<'t> {
    /// Takes one apart.
    pub(crate) fn parse(text: &'t str) -> Result<Self, &'static str> {
        if text.len() > ASSERTION_BYTES_MAX {
            return Err("the assertion is too long");
        }
        let (signed, signature) = text.rsplit_once('.').ok_or("the assertion is no signed JWT")?;
        let (header, claims) = signed.split_once('.').ok_or("the assertion is no signed JWT")?;
        let decode =
            |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| "the assertion is no signed JWT");
        let header: Header = serde_json::from_slice(&decode(header)?)
            .map_err(|_| "the assertion's header is not as it must be")?;
        let claims: Claims = serde_json::from_slice(&decode(claims)?)
            .map_err(|_| "the assertion lacks one of the claims iss, sub, aud, exp, jti")?;
        Ok(Self { signed, header, claims, signature: decode(signature)? })
    }

    /// Who it says it is from; not to be believed yet.
    pub(crate) fn client(&self) -> &str {
        &self.claims.iss
    }

    /// Judges it by the keys of that client. `now` in seconds since 1970.
    pub(crate) fn verify(self, keys: &Keys, audience: &str, now: i64) -> Result<Assertion, &'static str> {
        let Self { signed, header, claims, signature } = self;
        let algorithm = match &*header.alg {
            "RS384" => Algorithm::Rs384,
            "ES384" => Algorithm::Es384,
            _ => return Err("the assertion must be signed by RS384 or ES384"),
        };
        if header.crit.is_some() || header.typ.is_some_and(|typ| !typ.eq_ignore_ascii_case("JWT")) {
            return Err("the assertion's header asks for what is not supported");
        }
        if !keys.verify(algorithm, header.kid.as_deref(), signed.as_bytes(), &signature) {
            return Err("the assertion's signature is by none of the client's keys");
        }
        if claims.iss != claims.sub {
            return Err("iss and sub of the assertion must both be the client's id");
        }
        let addressed = match &claims.aud {
            Audience::One(aud) => aud == audience,
            Audience::Several(all) => all.iter().any(|aud| aud == audience),
        };
        if !addressed {
            return Err("aud of the assertion must be the address of this token endpoint");
        }
        // JSON has no numbers that are none.
        let (now, skew) = (now as f64, CLOCK_SKEW_S as f64);
        if claims.exp <= now - skew {
            return Err("the assertion has expired; compare the clocks");
        }
        if claims.exp > now + ASSERTION_S_MAX as f64 + skew {
            return Err("the assertion ends more than five minutes in the future; compare the clocks");
        }
        if [claims.nbf, claims.iat].into_iter().flatten().any(|at| at > now + skew) {
            return Err("the assertion is of the future; compare the clocks");
        }
        if claims.jti.is_empty() || claims.jti.len() > JTI_BYTES_MAX {
            return Err("jti of the assertion must have 1 to 256 bytes");
        }
        // In range by the checks above.
        Ok(Assertion { jti: claims.jti, until: claims.exp as i64 + CLOCK_SKEW_S + 1 })
    }
}
