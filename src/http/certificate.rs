//! When certificates begin and end.

use std::{path::Path, time::Duration};

use x509_cert::{Certificate, der::Decode};

use super::tls::{self, TlsError};
use crate::domain::timestamp::Timestamp;

/// The time in which a certificate is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    pub from: Timestamp,
    pub until: Timestamp,
}

/// Of each certificate in a PEM file, in its order; at least one.
///
/// # Errors
/// [`TlsError::File`]: there is none, or it cannot be read.
pub fn validities(path: &Path) -> Result<Vec<Validity>, TlsError> {
    let certificates = tls::certificates(path, tls::CHAIN)?;
    let validity = |der: &[u8]| {
        let certificate = Certificate::from_der(der).map_err(|error| tls::file_error(path, &error, tls::CHAIN))?;
        let validity = certificate.tbs_certificate().validity();
        let [from, until] = [validity.not_before, validity.not_after].map(|time| moment(time.to_unix_duration()));
        Ok(Validity { from, until })
    };
    certificates.iter().map(|certificate| validity(certificate)).collect()
}

fn moment(since_1970: Duration) -> Timestamp {
    Timestamp::from_millis(0).saturating_add(since_1970)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_says_of_each_certificate_when_it_ends() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("chain.pem");
        let made = |year: i32| {
            let mut parameters = rcgen::CertificateParams::new(["gateway.test".to_owned()]).unwrap();
            (parameters.not_before, parameters.not_after) =
                (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(year, 2, 3));
            parameters.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem()
        };
        // Beyond 2049 the spelling is another one (RFC 5280 § 4.1.2.5).
        std::fs::write(&path, made(2026) + &made(2051)).unwrap();
        let ends: Vec<String> = validities(&path).unwrap().iter().map(|validity| validity.until.to_string()).collect();
        assert_eq!(ends, ["2026-02-03T00:00:00.000Z", "2051-02-03T00:00:00.000Z"]);
        std::fs::write(&path, "no certificate").unwrap();
        assert!(validities(&path).unwrap_err().to_string().contains("chain.pem"));
    }
}
