//! Whether those whose `X-Forwarded-*` is believed can be the proxies in front.

use ipnet::IpNet;

use super::{Finding, listeners::is_private};
use crate::{config::Config, domain::origin::Origin};

const CHECK: &str = "trusted_proxies";
/// A public network of more addresses is no proxy's: a /16 of IPv4, a /32 of IPv6.
const WIDEST: [u8; 2] = [16, 32];

pub fn examine(config: &Config) -> Vec<Finding> {
    let trusted = &config.proxy.trusted_proxies;
    let mut findings: Vec<Finding> = trusted.iter().filter_map(wide).collect();
    findings.extend(unreachable(config));
    findings.extend(untold(config));
    findings.extend(asking(config));
    if findings.is_empty() {
        let found = match trusted.len() {
            0 => "nobody's X-Forwarded-* is believed".to_owned(),
            _ => format!("{} are believed", trusted.iter().map(IpNet::to_string).collect::<Vec<_>>().join(", ")),
        };
        findings.push(Finding::ok(CHECK, found));
    }
    findings
}

fn wide(network: &IpNet) -> Option<Finding> {
    let [widest_v4, widest_v6] = WIDEST;
    let widest = if matches!(network, IpNet::V4(_)) { widest_v4 } else { widest_v6 };
    let advice = "name the addresses of the proxies in front in proxy.trusted_proxies, and nothing else";
    if network.prefix_len() == 0 {
        let found = format!(
            "{network} is everybody: each caller says themselves from where they call, so that limits by address and the \
             addresses in logs mean nothing"
        );
        return Some(Finding::fail(CHECK, found, advice));
    }
    let public = !is_private(network.network()) || !is_private(network.broadcast());
    (public && network.prefix_len() <= widest).then(|| {
        let found = format!("{network} is a large public network: whoever calls from it says themselves from where");
        Finding::warn(CHECK, found, advice)
    })
}

/// Only this machine reaches the listener, and nobody on it is trusted.
fn unreachable(config: &Config) -> Option<Finding> {
    let (listen, trusted) = (config.proxy.listen, &config.proxy.trusted_proxies);
    let useless =
        listen.ip().is_loopback() && !trusted.is_empty() && !trusted.iter().any(|it| it.contains(&listen.ip()));
    useless.then(|| {
        let found =
            format!("only this machine reaches the proxy listener at {listen}, and no address of it is trusted");
        let advice = format!("if the proxy in front is on this machine, add {} to proxy.trusted_proxies", listen.ip());
        Finding::warn(CHECK, found, advice)
    })
}

/// Somebody must stand in front, and is taken for the caller.
fn untold(config: &Config) -> Option<Finding> {
    let (proxy, management) = (&config.proxy, &config.management);
    let in_front = |tls: bool, url: &Option<Origin>| url.clone().filter(|url| url.is_https() && !tls);
    let url = in_front(proxy.tls.is_some(), &proxy.public_url)
        .or_else(|| in_front(management.tls.is_some(), &management.public_url))?;
    proxy.trusted_proxies.is_empty().then(|| {
        let found = format!(
            "TLS of {url} ends in front of the gateway, and no proxy is trusted: all callers look like that proxy"
        );
        Finding::warn(
            CHECK,
            found,
            "name its address in proxy.trusted_proxies, so that limits and logs know the callers",
        )
    })
}

/// Other proxies ask, and none of them is believed whose request it is.
fn asking(config: &Config) -> Option<Finding> {
    let listen = config.forward_auth.listen?;
    config.proxy.trusted_proxies.is_empty().then(|| {
        let found = format!(
            "other proxies ask at {listen}, and none is trusted: all their callers look like the proxy that asks"
        );
        let advice = "name its address in proxy.trusted_proxies, so that limits and logs know the callers";
        Finding::warn(CHECK, found, advice)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{Sources, load},
        doctor::Status,
    };

    #[test]
    fn what_does_not_fit_is_told() {
        let said = |settings: &[(&str, &str)]| {
            let env =
                settings.iter().map(|(key, value)| (format!("BENTO_GATEWAY__{key}"), (*value).to_owned())).collect();
            let config = load(&Sources { env, ..Sources::default() }).unwrap();
            examine(&config).into_iter().map(|finding| (finding.status, finding.found)).collect::<Vec<_>>()
        };
        let (listen, trusted) = (("PROXY__LISTEN", "0.0.0.0:8080"), "PROXY__TRUSTED_PROXIES");
        let url = ("PROXY__PUBLIC_URL", "https://a.test");
        for (settings, status, text) in [
            (&[][..], Status::Ok, "nobody's"),
            (&[listen, (trusted, "10.0.0.0/8,192.0.2.7")], Status::Ok, "10.0.0.0/8, 192.0.2.7/32 are believed"),
            (&[(trusted, "127.0.0.1")], Status::Ok, "127.0.0.1/32 are believed"),
            (&[(trusted, "10.0.0.7")], Status::Warn, "no address of it is trusted"),
            (&[listen, (trusted, "0.0.0.0/0")], Status::Fail, "0.0.0.0/0 is everybody"),
            (&[listen, (trusted, "::/0")], Status::Fail, "::/0 is everybody"),
            (&[listen, (trusted, "8.0.0.0/8")], Status::Warn, "large public network"),
            (&[listen, (trusted, "8.8.8.0/24")], Status::Ok, "8.8.8.0/24 are believed"),
            (&[listen, (trusted, "8.0.0.0/5")], Status::Warn, "large public network"),
            (&[("FORWARD_AUTH__LISTEN", "127.0.0.1:8082")], Status::Warn, "other proxies ask at 127.0.0.1:8082"),
            (&[("FORWARD_AUTH__LISTEN", "127.0.0.1:8082"), (trusted, "127.0.0.1")], Status::Ok, "are believed"),
            (&[url], Status::Warn, "TLS of https://a.test ends in front"),
            (&[url, (trusted, "127.0.0.1")], Status::Ok, "are believed"),
        ] {
            let found = said(settings);
            assert!(found.len() == 1 && found[0].0 == status && found[0].1.contains(text), "{settings:?}: {found:?}");
        }
    }
}
