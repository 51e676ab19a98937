//! Handshake failures in an operator's words: who refused whom, why, and what to do.

use std::error::Error as StdError;
use std::io;

use model::Timestamp;
use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error as Tls, PeerIncompatible};

/// How deep a chain of causes is followed.
const CAUSES_MAX: usize = 16;

/// One sentence for an operator. `peer` is how the other side is called in it, e.g. `the landing`.
pub fn explain(error: &Tls, peer: &str) -> String {
    match error {
        Tls::InvalidCertificate(certificate) => explain_certificate(certificate, peer),
        Tls::AlertReceived(alert) => explain_alert(*alert, peer),
        Tls::NoCertificatesPresented => {
            format!("{peer} showed no certificate; give it one and let it present it")
        }
        Tls::PeerIncompatible(
            PeerIncompatible::SupportedVersionsExtensionRequired
            | PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::Tls13RequiredForQuic,
        ) => format!("{peer} does not speak TLS 1.3; update it, or allow TLS 1.2 where the setting exists"),
        Tls::PeerIncompatible(_) => {
            format!("{peer} and this side have no TLS parameters in common; update it")
        }
        Tls::NoApplicationProtocol => {
            format!("{peer} does not speak the protocol expected on this port; check the port")
        }
        Tls::InvalidMessage(_) => {
            format!("{peer} does not answer with TLS; check the port, and for a proxy between")
        }
        Tls::PeerMisbehaved(_) | Tls::DecryptError | Tls::PeerSentOversizedRecord => {
            format!("{peer} broke the TLS protocol; check for a device between that alters traffic")
        }
        other => format!("TLS with {peer} failed: {other}"),
    }
}

/// [`explain`] for what tokio-rustls gives: an `io::Error` that may wrap a rustls error.
pub fn explain_io(error: &io::Error, peer: &str) -> String {
    if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<Tls>()) {
        return explain(tls, peer);
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            format!(
                "{peer} refused the connection: nothing listens on that port; check host, port and that it runs"
            )
        }
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => {
            format!("{peer} broke the connection off; look in its log")
        }
        io::ErrorKind::UnexpectedEof => {
            format!("{peer} closed the connection without a word; check the port, and look in its log")
        }
        io::ErrorKind::TimedOut => format!("{peer} did not answer in time; check the network and firewalls"),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable | io::ErrorKind::NetworkDown => {
            format!("there is no route to {peer}; check the network, gateway and VPN")
        }
        _ => format!("the connection to {peer} failed: {error}"),
    }
}

/// Looks for a TLS or I/O error among the causes of `error`; `None` where there is none.
pub fn explain_chain(error: &(dyn StdError + 'static), peer: &str) -> Option<String> {
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

fn explain_certificate(error: &CertificateError, peer: &str) -> String {
    match error {
        CertificateError::UnknownIssuer => format!(
            "{peer}'s certificate is signed by another authority than the pinned one; check the ca file, and that \
             nothing between terminates TLS"
        ),
        CertificateError::BadSignature => format!(
            "{peer}'s certificate carries the name of the pinned authority and not its signature; check the ca file"
        ),
        CertificateError::Expired => {
            format!("{peer}'s certificate has expired; renew it, and check this clock")
        }
        CertificateError::ExpiredContext { not_after, .. } => {
            format!(
                "{peer}'s certificate expired on {}; renew it, and check this machine's clock",
                date(*not_after)
            )
        }
        CertificateError::NotValidYet => {
            format!("{peer}'s certificate is not valid yet; check the clocks of both machines")
        }
        CertificateError::NotValidYetContext { not_before, .. } => format!(
            "{peer}'s certificate is valid only from {}; check the clocks of both machines",
            date(*not_before)
        ),
        CertificateError::Revoked => format!("{peer}'s certificate has been revoked; issue a new one"),
        CertificateError::UnknownRevocationStatus
        | CertificateError::ExpiredRevocationList
        | CertificateError::ExpiredRevocationListContext { .. } => {
            format!("the revocation list for {peer}'s certificate is out of date or missing; renew the list")
        }
        CertificateError::NotValidForName => {
            format!(
                "{peer}'s certificate is for another name than the one dialled; correct the url or server_name"
            )
        }
        CertificateError::NotValidForNameContext { expected, presented } => format!(
            "{peer}'s certificate is not for {} but for {}; correct the url or server_name, or issue it for that name",
            expected.to_str(),
            if presented.is_empty() { "no name at all".to_owned() } else { presented.join(", ") }
        ),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => format!(
            "{peer}'s certificate is not meant for this side of a connection (extended key usage); issue it for \
             servers or clients as needed"
        ),
        other => format!("{peer}'s certificate is not acceptable: {other}; issue a new one"),
    }
}

fn explain_alert(alert: AlertDescription, peer: &str) -> String {
    let refused = format!("{peer} refused our certificate");
    match alert {
        AlertDescription::UnknownCA => {
            format!(
                "{refused}: it is signed by an authority that {peer} does not know; check both sides' authorities"
            )
        }
        AlertDescription::CertificateExpired => format!(
            "{refused}: it is expired or not valid yet by {peer}'s clock; renew it, and check the clocks"
        ),
        AlertDescription::CertificateRevoked => format!("{refused}: it has been revoked; enrol again"),
        AlertDescription::CertificateRequired => {
            format!("{peer} requires a certificate and we showed none; configure certificate and key")
        }
        AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnobtainable => {
            format!(
                "{refused}: it is not of the kind {peer} takes (expired, no client usage, or damaged); issue a new one"
            )
        }
        AlertDescription::AccessDenied => format!("{refused}: access is denied; have this gateway admitted"),
        AlertDescription::ProtocolVersion => {
            format!("{peer} does not speak TLS 1.3; update it, or allow TLS 1.2 where the setting exists")
        }
        AlertDescription::NoApplicationProtocol => {
            format!("{peer} does not speak the protocol expected on this port; check the port")
        }
        AlertDescription::UnrecognisedName => {
            format!("{peer} does not know the name we dialled; correct the url or server_name")
        }
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => {
            format!(
                "{peer} and this side have no TLS parameters in common, or it refused our certificate; look in its log"
            )
        }
        AlertDescription::DecryptError => {
            format!("{peer} could not verify our signature; check that certificate and key belong together")
        }
        other => format!("{peer} ended the handshake with the alert {other:?}; look in its log"),
    }
}

fn date(at: UnixTime) -> Timestamp {
    let seconds = i64::try_from(at.as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_micros(seconds.saturating_mul(1_000_000))
}
