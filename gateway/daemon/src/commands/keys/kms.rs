//! A customer's key in the cloud, for the recovery copy alone: the AWS KMS API, `Encrypt` and `Decrypt`.
//!
//! The root key (32 bytes) is encrypted by the service under the customer's key, with an encryption context that names
//! the key; the service's answer is stored. Requests are signed with Signature Version 4 (AWS, *Signing AWS API
//! requests*); who signs stands in `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and, for a role, `AWS_SESSION_TOKEN`, as
//! every tool of that cloud has it. The gateway's service has none of them and never calls this: a person does, twice in
//! the life of a box.
//!
//! Own code, because the service's SDK is larger than the gateway: two requests and eighty lines of signing, tested
//! against moto, which verifies signatures, and against botocore's.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, StatusCode, Uri};
use model::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use zeroize::Zeroizing;

use crate::client::exchange;
use crate::exit::NotReachable;

const ANSWER_BYTES_MAX: usize = 64 << 10;
/// So much of a refusal is shown.
const REFUSAL_CHARS_MAX: usize = 400;
const WITHIN: Duration = Duration::from_secs(30);
const CONTENT_TYPE: &str = "application/x-amz-json-1.1";
/// What distributions call the bundle of public authorities.
const PUBLIC_CA: [&str; 2] = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];

/// A customer's key and how it is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kms {
    /// Id, ARN or alias of the key.
    pub(super) key: String,
    /// Its region.
    pub(super) region: String,
    /// Where the service is, when it is not where the region says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) endpoint: Option<String>,
    /// PEM file of the authority of the service's certificate, when it is no public one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ca: Option<PathBuf>,
}

/// Who signs.
struct Signer {
    access_key: String,
    secret_key: Zeroizing<String>,
    session_token: Option<Zeroizing<String>>,
}

impl Signer {
    fn from_environment() -> anyhow::Result<Self> {
        let of = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let needed = |name: &str| {
            of(name).ok_or_else(|| anyhow!("{name} is not set: who may use the key signs with it"))
        };
        Ok(Self {
            access_key: needed("AWS_ACCESS_KEY_ID")?,
            secret_key: needed("AWS_SECRET_ACCESS_KEY")?.into(),
            session_token: of("AWS_SESSION_TOKEN").map(Zeroizing::new),
        })
    }

    /// The value of `Authorization` for a POST of `body` to `/`. `headers` are sorted, in lower case.
    fn sign(&self, region: &str, at: &str, headers: &[(&str, &str)], body: &[u8]) -> String {
        let day = at.get(..8).unwrap_or_default();
        let scope = format!("{day}/{region}/kms/aws4_request");
        let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let lines: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let request = format!("POST\n/\n\n{lines}\n{names}\n{}", sha256_hex(body));
        let to_sign = format!("AWS4-HMAC-SHA256\n{at}\n{scope}\n{}", sha256_hex(request.as_bytes()));
        let first = Zeroizing::new(format!("AWS4{}", self.secret_key.as_str()));
        let key = [day, region, "kms", "aws4_request"]
            .iter()
            .fold(Zeroizing::new(first.as_bytes().to_vec()), |key, part| hmac_sha256(&key, part));
        let signature = hex::encode(hmac_sha256(&key, &to_sign).as_slice());
        format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
            self.access_key
        )
    }
}

fn hmac_sha256(key: &[u8], text: &str) -> Zeroizing<Vec<u8>> {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes());
    Zeroizing::new(tag.as_ref().to_vec())
}

fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA256, bytes))
}

impl Kms {
    /// Encrypts a root key; the service's own ciphertext comes back.
    pub(super) async fn encrypt(
        &self,
        secret: &[u8; 32],
        key_id: &str,
        now: Timestamp,
    ) -> anyhow::Result<Vec<u8>> {
        // Written by hand, so that no copy of the key stays in a tree of values.
        let plain = Zeroizing::new(STANDARD.encode(secret));
        let (key, context) = (json!(self.key), context(key_id));
        let body = Zeroizing::new(format!(
            r#"{{"KeyId":{key},"Plaintext":"{}","EncryptionContext":{context}}}"#,
            plain.as_str()
        ));
        let answer = self.ask("Encrypt", &body, now).await?;
        blob(&answer, "CiphertextBlob")
    }

    /// The way back.
    pub(super) async fn decrypt(
        &self,
        sealed: &[u8],
        key_id: &str,
        now: Timestamp,
    ) -> anyhow::Result<Zeroizing<[u8; 32]>> {
        let body = json!({
            "KeyId": self.key, "CiphertextBlob": STANDARD.encode(sealed), "EncryptionContext": context(key_id),
        });
        let answer = self.ask("Decrypt", &body.to_string(), now).await?;
        let plain = Zeroizing::new(blob(&answer, "Plaintext")?);
        let mut secret = Zeroizing::new([0; 32]);
        if plain.len() != secret.len() {
            bail!("what the service decrypted is no root key");
        }
        secret.copy_from_slice(&plain);
        Ok(secret)
    }

    async fn ask(&self, action: &str, body: &str, now: Timestamp) -> anyhow::Result<Value> {
        let signer = Signer::from_environment()?;
        let default = format!("https://kms.{}.amazonaws.com", self.region);
        let uri: Uri = self.endpoint.as_deref().unwrap_or(&default).parse().context("--kms-endpoint")?;
        let host = uri.host().context("--kms-endpoint names no host")?;
        let is_tls = uri.scheme_str() == Some("https");
        let is_here = matches!(host, "127.0.0.1" | "localhost" | "[::1]");
        if !is_tls && !is_here {
            bail!("the key would cross the network in the clear: --kms-endpoint begins with https://");
        }
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let authority = uri.authority().map_or(host, |authority| authority.as_str()).to_owned();
        // 2026-11-24T08:30:00.000000Z as 20261124T083000Z.
        let at: String = now.to_string().chars().take(19).filter(|c| !matches!(c, '-' | ':')).collect();
        let at = format!("{at}Z");
        let target = format!("TrentService.{action}");
        let mut headers =
            vec![("content-type", CONTENT_TYPE), ("host", authority.as_str()), ("x-amz-date", at.as_str())];
        if let Some(token) = &signer.session_token {
            headers.push(("x-amz-security-token", token.as_str()));
        }
        headers.push(("x-amz-target", target.as_str()));
        let authorization = signer.sign(&self.region, &at, &headers, body.as_bytes());
        let mut request = Request::post("/").header("authorization", authorization);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(Bytes::copy_from_slice(body.as_bytes())))?;
        let place = format!("{host}:{port}");
        let exchange = async {
            let stream = TcpStream::connect((host.trim_matches(['[', ']']), port)).await?;
            if is_tls {
                exchange(self.tls(host, stream).await?, request, ANSWER_BYTES_MAX).await
            } else {
                exchange(stream, request, ANSWER_BYTES_MAX).await
            }
        };
        let answered = tokio::time::timeout(WITHIN, exchange)
            .await
            .map_err(|_| NotReachable(format!("{place} does not answer")))?;
        let (status, answer) = answered.map_err(|e| NotReachable(format!("{place}: {e:#}")))?;
        if status != StatusCode::OK {
            // JSON from the service; whatever stands before it answers as it likes.
            let text: String = String::from_utf8_lossy(&answer).chars().take(REFUSAL_CHARS_MAX).collect();
            bail!("the service refused {action} with {status}: {text}");
        }
        serde_json::from_slice(&answer).context("the service answered something else than JSON")
    }

    async fn tls(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> anyhow::Result<impl AsyncRead + AsyncWrite + Unpin + use<>> {
        let bundle = match &self.ca {
            Some(ca) => ca.clone(),
            None => PUBLIC_CA
                .iter()
                .map(PathBuf::from)
                .find(|path| path.exists())
                .context("this machine has no bundle of public authorities: --kms-ca names one")?,
        };
        let ca = tls::load_ca(&bundle)?;
        let config = tls::client_config_accepting(tls::Versions::From12, &ca, None, &[])?;
        let name = host.to_owned().try_into().context("--kms-endpoint names no host")?;
        Ok(tokio_rustls::TlsConnector::from(Arc::clone(&config)).connect(name, stream).await?)
    }
}

/// How ciphertext stands in a file.
pub(super) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

pub(super) fn unbase64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

fn context(key_id: &str) -> Value {
    json!({ "wardgate": "recovery of a root key", "key": key_id })
}

fn blob(answer: &Value, field: &str) -> anyhow::Result<Vec<u8>> {
    let text = answer.get(field).and_then(Value::as_str).unwrap_or_default();
    STANDARD
        .decode(text)
        .ok()
        .filter(|b| !b.is_empty())
        .ok_or_else(|| anyhow!("the service answered no {field}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_what_botocore_computes() {
        // botocore.auth.SigV4Auth over the same request: SigV4Auth(credentials, "kms", "eu-central-1").add_auth(request).
        let signer = |token: Option<&str>| Signer {
            access_key: "AKIDEXAMPLE".to_owned(),
            secret_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned().into(),
            session_token: token.map(|t| t.to_owned().into()),
        };
        let headers = [
            ("content-type", CONTENT_TYPE),
            ("host", "kms.eu-central-1.amazonaws.com"),
            ("x-amz-date", "20261124T083000Z"),
            ("x-amz-target", "TrentService.Encrypt"),
        ];
        let signed = signer(None).sign("eu-central-1", "20261124T083000Z", &headers, br#"{"KeyId":"x"}"#);
        assert_eq!(
            signed,
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261124/eu-central-1/kms/aws4_request, \
             SignedHeaders=content-type;host;x-amz-date;x-amz-target, \
             Signature=ae6deabb2199b32dada1e60de1d08dfc2efdf861976a938b722ed836437ca9ce"
        );
    }
}
