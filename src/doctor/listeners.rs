//! Listeners that others than this machine reach, and what travels on them in clear text.

use std::net::{IpAddr, SocketAddr};

use super::{Finding, store::Stored};
use crate::{
    config::{Config, TlsConfig},
    domain::origin::Origin,
};

const CHECK: &str = "listener";

pub fn examine(config: &Config, stored: &Stored) -> Vec<Finding> {
    let (proxy, declared) = (&config.proxy, &config.declared);
    let stored = stored.as_deref().unwrap_or_default().iter().filter(|spec| !declared.declares(&spec.name));
    let own = declared.deployments.iter().chain(stored).filter_map(|spec| spec.listen);
    let mut findings: Vec<Finding> = [proxy.listen]
        .into_iter()
        .chain(own)
        .map(|address| listener("proxy", address, proxy.tls.as_ref(), proxy.public_url.as_ref(), "tokens"))
        .collect();
    let management = &config.management;
    let (tls, public_url) = (management.tls.as_ref(), management.public_url.as_ref());
    findings.push(listener("management", management.listen, tls, public_url, "tokens and passwords"));
    findings.extend(config.forward_auth.listen.map(forward_auth));
    findings
}

/// `section`: of its settings. `secrets`: what travels on it.
fn listener(
    section: &str,
    address: SocketAddr,
    tls: Option<&TlsConfig>,
    public_url: Option<&Origin>,
    secrets: &str,
) -> Finding {
    let ends_in_front = public_url.is_some_and(Origin::is_https);
    if tls.is_some() {
        Finding::ok(CHECK, format!("the {section} listener at {address} has TLS"))
    } else if address.ip().is_loopback() {
        Finding::ok(CHECK, format!("only this machine reaches the {section} listener at {address}"))
    } else if ends_in_front {
        let found =
            format!("the {section} listener at {address} has no TLS: by {section}.public_url, it ends in front of it");
        Finding::ok(CHECK, found)
    } else {
        let found = format!("the {section} listener at {address} has no TLS: {secrets} travel to it in clear text");
        let advice = format!(
            "name a certificate in [{section}.tls]; or put a proxy with TLS in front, and its address into \
             {section}.public_url; or listen on 127.0.0.1"
        );
        Finding::warn(CHECK, found, advice)
    }
}

fn forward_auth(address: SocketAddr) -> Finding {
    if reaches_anyone(address.ip()) {
        let found =
            format!("the forward-auth listener at {address} takes questions from whoever reaches it, in clear text");
        return Finding::warn(CHECK, found, "listen on an address that only the asking proxy reaches");
    }
    Finding::ok(CHECK, format!("the forward-auth listener is at {address}"))
}

/// Whether it is no address of a network of one's own.
fn reaches_anyone(ip: IpAddr) -> bool {
    ip.is_unspecified() || !is_private(ip)
}

/// Of this machine, or of a network that the Internet does not route to (RFC 1918, 3927, 4193, 4291, 6598).
pub(super) fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let shared = ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64;
            ip.is_loopback() || ip.is_private() || ip.is_link_local() || shared
        }
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;

    #[test]
    fn clear_text_is_for_this_machine_or_behind_tls() {
        let (tls, https) = (TlsConfig { certificate: "c".into(), key: "k".into() }, "https://a.test".parse().unwrap());
        for (address, tls, url, status) in [
            ("127.0.0.1:80", None, None, Status::Ok),
            ("[::1]:80", None, None, Status::Ok),
            ("0.0.0.0:80", None, None, Status::Warn),
            ("10.0.0.1:80", None, None, Status::Warn),
            ("0.0.0.0:80", Some(&tls), None, Status::Ok),
            ("0.0.0.0:80", None, Some(&https), Status::Ok),
            ("0.0.0.0:80", None, Some(&"http://a.test".parse().unwrap()), Status::Warn),
        ] {
            assert_eq!(listener("proxy", address.parse().unwrap(), tls, url, "tokens").status, status, "{address}");
        }
        for (address, status) in [
            ("127.0.0.1:1", Status::Ok),
            ("10.1.2.3:1", Status::Ok),
            ("[fd00::1]:1", Status::Ok),
            ("0.0.0.0:1", Status::Warn),
            ("8.8.8.8:1", Status::Warn),
        ] {
            assert_eq!(forward_auth(address.parse().unwrap()).status, status, "{address}");
        }
    }
}
