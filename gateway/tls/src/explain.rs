//! Handshake failures in an operator's words: who refused whom, why, and what to do.

use std::error::Error as StdError;
use std::{fmt, io};

use model::Timestamp;
use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error as Tls, PeerIncompatible};

/// How deep a chain of causes is followed.
const CAUSES_MAX: usize = 16;

/// Why a link does not come about. Displays as `what; remedy`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// What happened, for a person.
    pub what: String,
    /// What to do next.
    pub remedy: String,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.what, self.remedy)
    }
}

fn because(what: impl Into<String>, remedy: impl Into<String>) -> Explanation {
    Explanation { what: what.into(), remedy: remedy.into() }
}

/// Explains a rustls error. `peer` is how the other side is called in the sentence, e.g. `the landing`.
pub fn explain(error: &Tls, peer: &str) -> Explanation {
    match error {
        Tls::InvalidCertificate(certificate) => explain_certificate(certificate, peer),
        Tls::AlertReceived(alert) => explain_alert(*alert, peer),
        Tls::NoCertificatesPresented => {
            because(format!("{peer} showed no certificate"), "give it one and let it present it")
        }
        Tls::PeerIncompatible(
            PeerIncompatible::SupportedVersionsExtensionRequired
            | PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled,
        ) => too_old(peer),
        Tls::PeerIncompatible(_) => because(
            format!("{peer} and this side have no TLS parameters in common"),
            format!("update {peer}"),
        ),
        Tls::NoApplicationProtocol => other_protocol(peer),
        Tls::InvalidMessage(_) => because(
            format!("{peer} does not answer with TLS"),
            "check the port, and that no proxy stands between",
        ),
        Tls::PeerMisbehaved(_) | Tls::DecryptError | Tls::PeerSentOversizedRecord => {
            because(format!("{peer} broke the TLS protocol"), "look for a device between that alters traffic")
        }
        other => because(format!("TLS with {peer} failed: {other}"), format!("look in the log of {peer}")),
    }
}

/// [`explain`] for what tokio-rustls gives: an `io::Error` that may wrap a rustls error.
pub fn explain_io(error: &io::Error, peer: &str) -> Explanation {
    if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<Tls>()) {
        return explain(tls, peer);
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused => because(
            format!("{peer} refused the connection: nothing listens on that port"),
            format!("check host and port, and that {peer} runs"),
        ),
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => {
            because(format!("{peer} broke the connection off"), "look in its log, and for a firewall between")
        }
        io::ErrorKind::UnexpectedEof => because(
            format!("{peer} closed the connection without a word"),
            "check the port, and look in its log",
        ),
        io::ErrorKind::TimedOut => {
            because(format!("{peer} did not answer in time"), "check the network and the firewalls")
        }
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable | io::ErrorKind::NetworkDown => {
            because(format!("there is no route to {peer}"), "check the network, its gateway and the VPN")
        }
        _ => because(
            format!("the connection to {peer} failed: {error}"),
            "check the network and the firewalls",
        ),
    }
}

/// Looks for a TLS or I/O error among the causes of `error`; `None` where there is none.
pub fn explain_chain(error: &(dyn StdError + 'static), peer: &str) -> Option<Explanation> {
    let mut cause = Some(error);
    for _ in 0..CAUSES_MAX {
        let this = cause?;
        if let Some(tls) = this.downcast_ref::<Tls>() {
            return Some(explain(tls, peer));
        }
        if let Some(io) = this.downcast_ref::<io::Error>() {
            return Some(explain_io(io, peer));
        }
        cause = this.source();
    }
    None
}

fn too_old(peer: &str) -> Explanation {
    because(
        format!("{peer} does not speak TLS 1.3"),
        format!("update {peer}, or allow TLS 1.2 where a setting for it exists"),
    )
}

fn other_protocol(peer: &str) -> Explanation {
    because(format!("{peer} does not speak the protocol expected on this port"), "check the port")
}

fn explain_certificate(error: &CertificateError, peer: &str) -> Explanation {
    let clocks = "check the clocks of both machines";
    match error {
        CertificateError::UnknownIssuer => because(
            format!("{peer}'s certificate is signed by another authority than the pinned one"),
            "check the ca file, and that nothing between terminates TLS",
        ),
        CertificateError::BadSignature => because(
            format!("{peer}'s certificate names the pinned authority without bearing its signature"),
            "check that the ca file is the authority's present certificate",
        ),
        CertificateError::Expired => {
            because(format!("{peer}'s certificate has expired"), "renew it, and check this machine's clock")
        }
        CertificateError::ExpiredContext { not_after, .. } => because(
            format!("{peer}'s certificate expired on {}", date(*not_after)),
            "renew it, and check this machine's clock",
        ),
        CertificateError::NotValidYet => because(format!("{peer}'s certificate is not valid yet"), clocks),
        CertificateError::NotValidYetContext { not_before, .. } => {
            because(format!("{peer}'s certificate is valid only from {}", date(*not_before)), clocks)
        }
        CertificateError::Revoked => {
            because(format!("{peer}'s certificate has been revoked"), "have a new one issued")
        }
        CertificateError::UnknownRevocationStatus
        | CertificateError::ExpiredRevocationList
        | CertificateError::ExpiredRevocationListContext { .. } => because(
            format!("the revocation list for {peer}'s certificate is missing or out of date"),
            "renew the list",
        ),
        CertificateError::NotValidForName => because(
            format!("{peer}'s certificate is for another name than the one dialled"),
            "correct the url or server_name",
        ),
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names = if presented.is_empty() { "no name at all".to_owned() } else { presented.join(", ") };
            because(
                format!("{peer}'s certificate is not for {} but for {names}", expected.to_str()),
                "correct the url or server_name, or issue the certificate for that name",
            )
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => because(
            format!("{peer}'s certificate is not meant for its side of a connection (extended key usage)"),
            "issue it for servers or for clients, as it is used",
        ),
        other => because(format!("{peer}'s certificate is not acceptable: {other}"), "have a new one issued"),
    }
}

fn explain_alert(alert: AlertDescription, peer: &str) -> Explanation {
    let refused = |why: String| format!("{peer} refused our certificate: {why}");
    match alert {
        AlertDescription::UnknownCA => because(
            refused(format!("it is signed by an authority that {peer} does not know")),
            "have the certificate issued by the authority that it trusts, or add ours there",
        ),
        AlertDescription::CertificateExpired => because(
            refused(format!("it has expired, or is not valid yet, by the clock of {peer}")),
            "renew it, and check the clocks of both machines",
        ),
        AlertDescription::CertificateRevoked => {
            because(refused("it has been revoked".to_owned()), "have a new one issued")
        }
        AlertDescription::CertificateRequired => because(
            format!("{peer} requires a certificate and we showed none"),
            "configure certificate and key",
        ),
        AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnobtainable => because(
            refused("it is not of the kind taken there".to_owned()),
            "issue one for clients (extended key usage clientAuth) with the gateway's SAN URI",
        ),
        AlertDescription::AccessDenied => {
            because(refused("access is denied".to_owned()), format!("have this gateway admitted at {peer}"))
        }
        AlertDescription::ProtocolVersion => too_old(peer),
        AlertDescription::NoApplicationProtocol => other_protocol(peer),
        AlertDescription::UnrecognisedName => {
            because(format!("{peer} does not know the name dialled"), "correct the url or server_name")
        }
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => because(
            format!("{peer} has no TLS parameters in common with us, or refused our certificate"),
            "look in its log",
        ),
        AlertDescription::DecryptError => because(
            format!("{peer} could not verify our signature"),
            "check that certificate and key belong together",
        ),
        other => because(format!("{peer} ended the handshake with the alert {other:?}"), "look in its log"),
    }
}

fn date(at: UnixTime) -> Timestamp {
    let seconds = i64::try_from(at.as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_micros(seconds.saturating_mul(1_000_000))
}
