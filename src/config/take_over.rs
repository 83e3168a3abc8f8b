//! What a running process makes of a configuration that was read again.
//!
//! A setting is either fixed at the start or taken over, and every part of the program is handed the outcome: nobody sees a
//! value of which another part does not know. All fields are named here, so that a new one does not compile before it is
//! decided which of the two it is.

use super::{
    Config, ForwardAuthConfig, LimitConfig, ManagementConfig, ManagementLimitConfig, ProxyConfig, TelemetryConfig,
    TlsConfig, TokenConfig, own_listeners,
};
use crate::domain::routing::Declared;

/// Keys whose new value has to wait for a restart.
#[derive(Debug, Default)]
struct Kept(Vec<&'static str>);

impl Kept {
    /// The value that the process has started with.
    fn fixed<T: Clone + PartialEq>(&mut self, key: &'static str, running: &T, new: T) -> T {
        if *running != new {
            self.0.push(key);
        }
        running.clone()
    }

    /// Other files are taken over, but a listener does not turn from clear text to TLS or back.
    fn tls(&mut self, key: &'static str, running: &Option<TlsConfig>, new: Option<TlsConfig>) -> Option<TlsConfig> {
        if running.is_some() == new.is_some() { new } else { self.fixed(key, running, new) }
    }
}

impl Config {
    /// `new`, with what is fixed as it is in `self`, and the keys of fixed settings that are different in `new`.
    pub fn take_over(&self, new: Self) -> (Self, Vec<&'static str>) {
        let mut kept = Kept::default();
        let Self {
            organization,
            proxy,
            management,
            forward_auth,
            telemetry,
            store,
            tokens,
            usage,
            log,
            declared,
            upstream_files,
        } = new;
        let proxy = proxy_of(&self.proxy, proxy, &mut kept);
        let management = management_of(&self.management, management, &mut kept);
        let Declared { deployments, access, mut rules } = declared;
        let ForwardAuthConfig { listen } = forward_auth;
        let listen = kept.fixed("forward_auth.listen", &self.forward_auth.listen, listen);
        let forward_auth = ForwardAuthConfig { listen };
        let TelemetryConfig { listen } = telemetry;
        let telemetry = TelemetryConfig { listen: kept.fixed("telemetry.listen", &self.telemetry.listen, listen) };
        rules.listeners = own_listeners(&proxy, &management, &forward_auth, &telemetry);
        let config = Self {
            organization,
            proxy,
            management,
            forward_auth,
            telemetry,
            store: kept.fixed("store", &self.store, store),
            tokens: tokens_of(&self.tokens, tokens, &mut kept),
            usage,
            log: kept.fixed("log", &self.log, log),
            declared: Declared { deployments, access, rules },
            upstream_files,
        };
        (config, kept.0)
    }
}

fn proxy_of(running: &ProxyConfig, new: ProxyConfig, kept: &mut Kept) -> ProxyConfig {
    let ProxyConfig {
        listen,
        workers,
        base_domain,
        public_url,
        path_prefix,
        path_prefix_sessions,
        default_deployment,
        trusted_proxies,
        proxy_protocol,
        tls,
        http2,
        drain_timeout,
        upstream_keep_alive,
        session_lifetime,
        limits:
            LimitConfig {
                max_header_bytes,
                max_headers,
                max_uri_bytes,
                max_connections,
                header_timeout,
                keep_alive_timeout,
            },
        identity_fields,
        deployment_defaults,
    } = new;
    let fixed = &running.limits;
    ProxyConfig {
        listen: kept.fixed("proxy.listen", &running.listen, listen),
        workers: kept.fixed("proxy.workers", &running.workers, workers),
        base_domain,
        public_url,
        path_prefix,
        path_prefix_sessions,
        default_deployment,
        trusted_proxies,
        proxy_protocol,
        tls: kept.tls("proxy.tls", &running.tls, tls),
        http2,
        drain_timeout: kept.fixed("proxy.drain_timeout", &running.drain_timeout, drain_timeout),
        upstream_keep_alive,
        session_lifetime,
        limits: LimitConfig {
            max_header_bytes,
            max_headers,
            max_uri_bytes,
            max_connections: kept.fixed("proxy.limits.max_connections", &fixed.max_connections, max_connections),
            header_timeout,
            keep_alive_timeout,
        },
        identity_fields,
        deployment_defaults,
    }
}

fn management_of(running: &ManagementConfig, new: ManagementConfig, kept: &mut Kept) -> ManagementConfig {
    let ManagementConfig {
        listen,
        tls,
        limits: ManagementLimitConfig { max_connections, header_timeout, keep_alive_timeout },
        login_code_lifetime,
        public_url,
        session_lifetime,
        invitation_lifetime,
        oidc,
    } = new;
    let fixed = &running.limits;
    ManagementConfig {
        listen: kept.fixed("management.listen", &running.listen, listen),
        tls: kept.tls("management.tls", &running.tls, tls),
        limits: ManagementLimitConfig {
            max_connections: kept.fixed("management.limits.max_connections", &fixed.max_connections, max_connections),
            header_timeout,
            keep_alive_timeout,
        },
        login_code_lifetime,
        public_url,
        session_lifetime,
        invitation_lifetime,
        oidc,
    }
}

/// Whoever makes a secret and whoever verifies it need the same pepper and cost.
fn tokens_of(running: &TokenConfig, new: TokenConfig, kept: &mut Kept) -> TokenConfig {
    let TokenConfig {
        default_lifetime,
        max_lifetime,
        rotation_overlap,
        expiry_notice,
        usage_interval,
        pepper,
        argon2,
        first_token,
    } = new;
    TokenConfig {
        default_lifetime,
        max_lifetime,
        rotation_overlap,
        expiry_notice,
        usage_interval: kept.fixed("tokens.usage_interval", &running.usage_interval, usage_interval),
        pepper: kept.fixed("tokens.pepper", &running.pepper, pepper),
        argon2: kept.fixed("tokens.argon2", &running.argon2, argon2),
        first_token: kept.fixed("tokens.first_token", &running.first_token, first_token),
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs};

    use super::*;
    use crate::config::{Sources, load};

    /// Every setting with another value, and what keeps the old one. `None`: it is taken over.
    const CHANGED: [(&str, &str, Option<&str>); 79] = [
        ("organization", "\"other\"", None),
        ("proxy.listen", "\"127.0.0.1:9080\"", Some("proxy.listen")),
        ("proxy.workers", "63", Some("proxy.workers")),
        ("proxy.base_domain", "\"base.test\"", None),
        ("proxy.public_url", "\"http://proxy.test\"", None),
        ("proxy.path_prefix", "true", None),
        ("proxy.path_prefix_sessions", "true", None),
        ("proxy.default_deployment", "\"a\"", None),
        ("proxy.trusted_proxies", "[\"10.0.0.0/8\"]", None),
        ("proxy.proxy_protocol", "true", None),
        ("proxy.http2", "false", None),
        ("proxy.drain_timeout", "\"1s\"", Some("proxy.drain_timeout")),
        ("proxy.upstream_keep_alive", "\"1s\"", None),
        ("proxy.session_lifetime", "\"1h\"", None),
        ("proxy.tls.certificate", "\"cert.pem\"", Some("proxy.tls")),
        ("proxy.tls.key", "\"key.pem\"", Some("proxy.tls")),
        ("proxy.limits.max_header_bytes", "\"32 KiB\"", None),
        ("proxy.limits.max_headers", "50", None),
        ("proxy.limits.max_uri_bytes", "\"8 KiB\"", None),
        ("proxy.limits.max_connections", "7", Some("proxy.limits.max_connections")),
        ("proxy.limits.header_timeout", "\"7s\"", None),
        ("proxy.limits.keep_alive_timeout", "\"7s\"", None),
        ("proxy.identity_fields.drop", "[\"X-Corp-*\"]", None),
        ("proxy.identity_fields.allow", "[\"X-User-Id\"]", None),
        ("proxy.deployment_defaults.forward_authorization", "true", None),
        ("proxy.deployment_defaults.allow_pickle", "true", None),
        ("proxy.deployment_defaults.preset", "\"vllm\"", None),
        ("proxy.deployment_defaults.public_probes", "true", None),
        ("proxy.deployment_defaults.connect_timeout", "\"1s\"", None),
        ("proxy.deployment_defaults.first_byte_timeout", "\"1s\"", None),
        ("proxy.deployment_defaults.idle_timeout", "\"1s\"", None),
        ("proxy.deployment_defaults.max_body_bytes", "\"1 MiB\"", None),
        ("proxy.deployment_defaults.max_in_flight", "4", None),
        ("proxy.deployment_defaults.max_queue", "4", None),
        ("proxy.deployment_defaults.queue_timeout", "\"1s\"", None),
        ("proxy.deployment_defaults.rate_limit", "\"4/1s\"", None),
        ("proxy.deployment_defaults.budget", "\"4 requests/day\"", None),
        ("proxy.deployment_defaults.token_budget", "\"4 requests/day\"", None),
        ("proxy.deployment_defaults.count_llm_tokens", "true", None),
        ("proxy.deployment_defaults.enforce_from", "\"2099-01-01\"", None),
        ("proxy.deployment_defaults.probe_interval", "\"4s\"", None),
        ("proxy.deployment_defaults.probe_path", "\"/health\"", None),
        ("proxy.deployment_defaults.probe_timeout", "\"1s\"", None),
        ("proxy.deployment_defaults.probe_rise", "4", None),
        ("proxy.deployment_defaults.probe_fall", "4", None),
        ("proxy.deployment_defaults.slow_start", "\"1s\"", None),
        ("proxy.deployment_defaults.hold", "4", None),
        ("proxy.deployment_defaults.hold_timeout", "\"1s\"", None),
        ("proxy.deployment_defaults.wake_url", "\"http://scaler.test/\"", None),
        ("proxy.deployment_defaults.cors_origins", "[\"https://app.test\"]", None),
        ("management.listen", "\"127.0.0.1:9081\"", Some("management.listen")),
        ("management.login_code_lifetime", "\"1m\"", None),
        ("management.public_url", "\"http://console.test\"", None),
        ("management.session_lifetime", "\"1h\"", None),
        ("management.invitation_lifetime", "\"1h\"", None),
        ("management.tls.certificate", "\"cert.pem\"", Some("management.tls")),
        ("management.tls.key", "\"key.pem\"", Some("management.tls")),
        ("management.limits.max_connections", "7", Some("management.limits.max_connections")),
        ("management.limits.header_timeout", "\"7s\"", None),
        ("management.limits.keep_alive_timeout", "\"7s\"", None),
        ("forward_auth.listen", "\"127.0.0.1:9082\"", Some("forward_auth.listen")),
        ("telemetry.listen", "\"127.0.0.1:9465\"", Some("telemetry.listen")),
        ("store.url", "\"sqlite:other.db\"", Some("store")),
        ("store.max_connections", "7", Some("store")),
        ("store.acquire_timeout", "\"7s\"", Some("store")),
        ("store.poll_interval", "\"7s\"", Some("store")),
        ("store.max_staleness", "\"7s\"", Some("store")),
        ("tokens.default_lifetime", "\"1d\"", None),
        ("tokens.max_lifetime", "\"100d\"", None),
        ("tokens.rotation_overlap", "\"7s\"", None),
        ("tokens.expiry_notice", "\"3d\"", None),
        ("tokens.usage_interval", "\"7s\"", Some("tokens.usage_interval")),
        ("tokens.pepper", "\"pepper-of-thirty-two-bytes-or-more\"", Some("tokens.pepper")),
        ("tokens.first_token", "false", Some("tokens.first_token")),
        ("tokens.argon2.memory_kib", "128", Some("tokens.argon2")),
        ("tokens.argon2.iterations", "2", Some("tokens.argon2")),
        ("usage.retention", "\"7d\"", None),
        ("log.access", "false", Some("log")),
        ("log.filter", "\"debug\"", Some("log")),
    ];

    /// With these values in the file; a key that needs another has it, too.
    fn read(changed: &[(&str, &str)]) -> Config {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("gateway.toml");
        let line = |(key, value): &(&str, &str)| match key.strip_suffix(".certificate").or(key.strip_suffix(".key")) {
            Some(tls) => format!("{tls}.certificate = \"cert.pem\"\n{tls}.key = \"key.pem\"\n"),
            None if *key == "proxy.proxy_protocol" => {
                format!("proxy.trusted_proxies = [\"10.0.0.0/8\"]\n{key} = {value}\n")
            }
            None => format!("{key} = {value}\n"),
        };
        fs::write(&file, changed.iter().map(line).collect::<String>()).unwrap();
        load(&Sources { file: Some(file), env: BTreeMap::new(), ..Sources::default() }).unwrap()
    }

    #[test]
    fn every_setting_is_taken_over_as_a_whole_or_named() {
        let running = read(&[]);
        for (key, value, fixed) in CHANGED {
            let new = read(&[(key, value)]);
            assert_ne!(new, running, "{key}: the test's own mistake");
            let (taken, kept) = running.take_over(new.clone());
            assert_eq!(kept, Vec::from_iter(fixed), "{key}");
            assert_eq!(taken, if fixed.is_some() { running.clone() } else { new }, "{key}");
        }
    }

    #[test]
    fn files_of_a_listener_with_tls_are_taken_over() {
        let running = read(&[("proxy.tls.key", ""), ("management.tls.key", "")]);
        let mut new = running.clone();
        for tls in [&mut new.proxy.tls, &mut new.management.tls] {
            *tls = Some(TlsConfig { certificate: "new.pem".into(), key: "new-key.pem".into() });
        }
        assert_eq!(running.take_over(new.clone()), (new, Vec::new()));
    }

    /// Single sign-on has no default, and its keys need each other.
    #[test]
    fn the_rest_of_the_settings_is_taken_over_or_named() {
        let tested = CHANGED.map(|(key, ..)| key);
        let mut missing: Vec<String> = Vec::new();
        let mut section = String::new();
        for line in include_str!("../../config/default.toml").lines() {
            if let Some(name) = line.strip_prefix('[') {
                section = format!("{}.", name.trim_end_matches(']'));
            } else if let Some((key, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
                let key = format!("{section}{key}");
                if !tested.contains(&key.as_str()) {
                    missing.push(key);
                }
            }
        }
        missing.retain(|key| !key.starts_with("management.oidc."));
        assert_eq!(missing, ["tokens.argon2.parallelism", "log.format"]);
        let oidc = [
            ("management.oidc.issuer", "\"https://id.test\""),
            ("management.oidc.client_id", "\"gateway\""),
            ("management.oidc.client_secret", "\"secret\""),
            ("management.oidc.role_claim", "\"groups\""),
            ("management.oidc.allowed_values", "[\"*\"]"),
            ("management.oidc.passwords", "true"),
            ("management.oidc.trust_email", "true"),
        ];
        let new = read(&oidc);
        assert_eq!(read(&[]).take_over(new.clone()), (new, Vec::new()));
    }
}
