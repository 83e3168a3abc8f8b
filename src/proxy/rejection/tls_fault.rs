//! Why there is no TLS connection to an upstream, in words for the operator.

use std::{error::Error, io};

use tokio_rustls::rustls::{self, AlertDescription, CertificateError};

/// Of what kind the fault is. The text continues "the upstream: …", and has nothing in it that the upstream has sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsFault {
    #[error("its certificate is signed by nobody whom the gateway trusts; ca_file in upstream_tls says whom it does")]
    UnknownIssuer,
    #[error("its certificate names another host than its URL, or than server_name in upstream_tls")]
    WrongName,
    #[error("its certificate has expired")]
    Expired,
    #[error("its certificate is not valid yet; compare the clocks")]
    NotValidYet,
    #[error("its certificate cannot be used")]
    BadCertificate,
    #[error("what it sent is not TLS; look at scheme and port of its URL")]
    NotTls,
    #[error("it has no version or cipher of TLS in common with the gateway, or wants a certificate of the gateway")]
    NothingInCommon,
    #[error("it wants a certificate of the gateway; certificate_file in upstream_tls names one")]
    CertificateWanted,
    #[error("it refuses the certificate that the gateway shows it")]
    CertificateRefused,
    #[error("it has no service of that name (SNI); server_name in upstream_tls can ask for another")]
    UnknownName,
    #[error("it ended the handshake")]
    Ended,
    #[error("the root certificates of the gateway's machine cannot be read; the gateway's log says why")]
    NoRoots,
    #[error("its TLS is at fault")]
    Other,
}

impl TlsFault {
    /// What ended a handshake.
    pub fn of_handshake(error: &io::Error) -> Self {
        Self::within(error).unwrap_or(Self::Ended)
    }

    /// `None`: the error is none of TLS.
    pub fn within(error: &io::Error) -> Option<Self> {
        let inner: &(dyn Error + 'static) = error.get_ref()?;
        match inner.downcast_ref::<Self>() {
            Some(fault) => Some(*fault),
            None => inner.downcast_ref().map(Self::of),
        }
    }

    fn of(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(error) => Self::of_certificate(error),
            rustls::Error::AlertReceived(alert) => Self::of_alert(*alert),
            rustls::Error::InvalidMessage(_) => Self::NotTls,
            rustls::Error::PeerIncompatible(_) => Self::NothingInCommon,
            _ => Self::Other,
        }
    }

    fn of_certificate(error: &CertificateError) -> Self {
        match error {
            CertificateError::UnknownIssuer => Self::UnknownIssuer,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Self::WrongName,
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotValidYet,
            _ => Self::BadCertificate,
        }
    }

    /// RFC 8446 § 6.2.
    fn of_alert(alert: AlertDescription) -> Self {
        match alert {
            AlertDescription::CertificateRequired => Self::CertificateWanted,
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied => Self::CertificateRefused,
            AlertDescription::HandshakeFailure
            | AlertDescription::ProtocolVersion
            | AlertDescription::InsufficientSecurity
            | AlertDescription::NoApplicationProtocol => Self::NothingInCommon,
            AlertDescription::UnrecognisedName => Self::UnknownName,
            _ => Self::Ended,
        }
    }
}
