//! `[deployments.NAME]`, and the defaults that they share.

use std::{
    collections::BTreeSet, net::SocketAddr, num::NonZeroU32, ops::RangeInclusive, path::PathBuf, sync::Arc,
    time::Duration,
};

use crate::{
    config::reader::{Invalid, Section, expect},
    domain::{
        clean,
        cors_origin::CorsOrigin,
        deployment::{DeploymentName, DeploymentSettings, DeploymentSpec, UpstreamUrl},
        host::HostName,
        rate::Rate,
        upstream_credential::{NotACredential, UpstreamCredential},
    },
};

const MILLISECOND: Duration = Duration::from_millis(1);
/// More than a gateway has connections for.
const IN_FLIGHT: RangeInclusive<u32> = 1..=1_000_000;
const QUEUED: RangeInclusive<u32> = 0..=1_000_000;
const UPSTREAM_EXAMPLE: &str = "write for example upstream = \"http://127.0.0.1:3000\"";

/// `[proxy.deployment_defaults]`.
pub fn defaults(section: Section<'_>) -> Option<DeploymentSettings> {
    let forward_authorization = section.boolean("forward_authorization");
    let allow_pickle = section.boolean("allow_pickle");
    let connect_timeout = section.duration("connect_timeout", MILLISECOND);
    let first_byte_timeout = section.duration("first_byte_timeout", MILLISECOND);
    let idle_timeout = section.duration("idle_timeout", MILLISECOND);
    let max_body_bytes = section.optional_size("max_body_bytes", 0..=u64::MAX);
    let cors_origins = section.list("cors_origins", origin);
    let max_in_flight = section.optional_integer("max_in_flight", IN_FLIGHT);
    let max_queue = section.integer("max_queue", QUEUED);
    let queue_timeout = section.duration("queue_timeout", MILLISECOND);
    let rate_limit = section.optional("rate_limit", rate);
    section.finish();
    Some(DeploymentSettings {
        forward_authorization: forward_authorization?,
        allow_pickle: allow_pickle?,
        connect_timeout: connect_timeout?,
        first_byte_timeout: first_byte_timeout?,
        idle_timeout: idle_timeout?,
        max_body_bytes: max_body_bytes?,
        cors_origins: BTreeSet::from_iter(cors_origins?),
        max_in_flight: max_in_flight?.and_then(NonZeroU32::new),
        max_queue: max_queue?,
        queue_timeout: queue_timeout?,
        rate_limit: rate_limit?,
    })
}

/// A declared Deployment. Even if parts of it are invalid, the others take part in the rules between Deployments.
pub struct Declared {
    /// As it is written, which may not be a valid name.
    pub key: String,
    pub hosts: Vec<HostName>,
    pub listen: Option<SocketAddr>,
    /// `None`: there is none, or it has a problem, which was reported.
    pub credential: Option<Arc<UpstreamCredential>>,
    /// The file that it is in. `None`: none was named.
    pub credential_file: Option<PathBuf>,
    /// `None`: it has a problem, which was reported.
    pub spec: Option<DeploymentSpec>,
}

pub fn read(section: &Section<'_>, defaults: &DeploymentSettings) -> Vec<Declared> {
    let names = section.names();
    names.into_iter().map(|key| one(section, key, defaults)).collect()
}

pub fn name(text: &str) -> Result<DeploymentName, Invalid> {
    text.parse().map_err(|_| Invalid {
        message: "is not a Deployment name".to_owned(),
        fix: "write 1 to 63 lower-case letters, digits and inner hyphens".to_owned(),
    })
}

fn one(parent: &Section<'_>, key: &str, defaults: &DeploymentSettings) -> Declared {
    let section = parent.section(key);
    let name = name(key).map_err(|invalid| parent.report(key, invalid.message, invalid.fix)).ok();
    let hosts = or(&section, "hosts", Vec::new(), || section.list("hosts", host));
    let listen =
        or(&section, "listen", None, || section.optional("listen", expect("an address with a port", "127.0.0.1:8090")));
    let upstreams = upstreams(&section, parent, key);
    let protected = or(&section, "protected", true, || section.boolean("protected"));
    let settings = settings(&section, defaults);
    let forwards = settings.as_ref().is_some_and(|settings| settings.forward_authorization);
    let (credential, credential_file) = credential(&section, forwards);
    section.finish();
    let (known_hosts, known_listen) = (hosts.clone().unwrap_or_default(), listen.flatten());
    let spec = || {
        Some(DeploymentSpec {
            name: name?,
            hosts: BTreeSet::from_iter(hosts?),
            listen: listen?,
            upstreams: upstreams?,
            protected: protected?,
            terminated: false,
            settings: settings?,
        })
    };
    let spec = spec();
    Declared { key: key.to_owned(), hosts: known_hosts, listen: known_listen, credential, credential_file, spec }
}

/// What the service is shown, and the file that it stands in. `forwards`: the caller's `Authorization` is passed on.
fn credential(section: &Section<'_>, forwards: bool) -> (Option<Arc<UpstreamCredential>>, Option<PathBuf>) {
    const FILE: &str = "upstream_credential_file";
    const HEADER: &str = "upstream_credential_header";
    // `has` asks for both, so that both are known keys.
    let header = if section.has(HEADER) { section.text(HEADER) } else { Some("Authorization".to_owned()) };
    if !section.has(FILE) {
        if section.has(HEADER) {
            section.report(
                HEADER,
                format!("is given without {FILE}"),
                format!("name the file with the credential in {FILE}"),
            );
        }
        return (None, None);
    }
    let file = section.text(FILE).map(PathBuf::from);
    let (Some(header), Some(path)) = (header, file.clone()) else { return (None, file) };
    if forwards && header.eq_ignore_ascii_case("authorization") {
        let fix = format!("turn forward_authorization off, or send the credential in another field by {HEADER}");
        section.report(FILE, "and forward_authorization both set Authorization", fix);
        return (None, file);
    }
    let read = std::fs::read(&path).map_err(|error| format!("names a file that cannot be read: {error}"));
    let text = read.and_then(|bytes| match clean::value_of(&bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(reason) => Err(format!("names a file that is no text: {reason}")),
    });
    let text = match text {
        Ok(text) => text,
        Err(message) => {
            section.report(FILE, message, "make it readable for the gateway, with the credential as its only line");
            return (None, file);
        }
    };
    let (key, message, fix) = match UpstreamCredential::new(&header, &text) {
        Ok(credential) => return (Some(Arc::new(credential)), file),
        Err(error @ NotACredential::Header) => (HEADER, error.to_string(), "write for example \"X-API-Key\""),
        Err(error) => {
            (FILE, format!("names a file whose content {error}"), "write the credential into it, as its only line")
        }
    };
    section.report(key, message, fix);
    (None, file)
}

fn upstreams(section: &Section<'_>, parent: &Section<'_>, key: &str) -> Option<Vec<UpstreamUrl>> {
    let url = |text: &str| {
        text.parse()
            .map_err(|error| Invalid { message: format!("is refused: {error}"), fix: UPSTREAM_EXAMPLE.to_owned() })
    };
    // `has` asks for both, so that both are known keys.
    match (section.has("upstream"), section.has("upstreams")) {
        (true, true) => {
            section.report("upstream", "is given beside upstreams", "keep one of them");
            None
        }
        (true, false) => section.parsed("upstream", url).map(|url| vec![url]),
        (false, true) => {
            let urls = section.list("upstreams", url)?;
            if urls.is_empty() {
                section.report("upstreams", "is empty", UPSTREAM_EXAMPLE);
                return None;
            }
            Some(urls)
        }
        (false, false) => {
            parent.report(key, "has no upstream", UPSTREAM_EXAMPLE);
            None
        }
    }
}

fn settings(section: &Section<'_>, defaults: &DeploymentSettings) -> Option<DeploymentSettings> {
    let boolean = |key, default| or(section, key, default, || section.boolean(key));
    let duration = |key, default| or(section, key, default, || section.duration(key, MILLISECOND));
    let forward_authorization = boolean("forward_authorization", defaults.forward_authorization);
    let allow_pickle = boolean("allow_pickle", defaults.allow_pickle);
    let connect_timeout = duration("connect_timeout", defaults.connect_timeout);
    let first_byte_timeout = duration("first_byte_timeout", defaults.first_byte_timeout);
    let idle_timeout = duration("idle_timeout", defaults.idle_timeout);
    let max_body_bytes = or(section, "max_body_bytes", defaults.max_body_bytes, || {
        section.optional_size("max_body_bytes", 0..=u64::MAX)
    });
    let cors_origins = or(section, "cors_origins", Vec::from_iter(defaults.cors_origins.clone()), || {
        section.list("cors_origins", origin)
    });
    let max_in_flight = or(section, "max_in_flight", defaults.max_in_flight.map(NonZeroU32::get), || {
        section.optional_integer("max_in_flight", IN_FLIGHT)
    });
    let max_queue = or(section, "max_queue", defaults.max_queue, || section.integer("max_queue", QUEUED));
    let queue_timeout = duration("queue_timeout", defaults.queue_timeout);
    let rate_limit = or(section, "rate_limit", defaults.rate_limit, || section.optional("rate_limit", rate));
    Some(DeploymentSettings {
        forward_authorization: forward_authorization?,
        allow_pickle: allow_pickle?,
        connect_timeout: connect_timeout?,
        first_byte_timeout: first_byte_timeout?,
        idle_timeout: idle_timeout?,
        max_body_bytes: max_body_bytes?,
        cors_origins: BTreeSet::from_iter(cors_origins?),
        max_in_flight: max_in_flight?.and_then(NonZeroU32::new),
        max_queue: max_queue?,
        queue_timeout: queue_timeout?,
        rate_limit: rate_limit?,
    })
}

fn rate(text: &str) -> Result<Rate, Invalid> {
    text.parse().map_err(|_| Invalid {
        message: "is not a rate".to_owned(),
        fix: "write REQUESTS/PERIOD of 1 s to 1 day, for example rate_limit = \"600/1m\"".to_owned(),
    })
}

fn origin(text: &str) -> Result<CorsOrigin, Invalid> {
    text.parse().map_err(|error| Invalid {
        message: format!("is refused: {error}"),
        fix: "write for example cors_origins = [\"https://app.example.com\"]".to_owned(),
    })
}

fn host(text: &str) -> Result<HostName, Invalid> {
    text.parse().map_err(|error| Invalid {
        message: format!("holds {text:?}, which is {error}"),
        fix: "write for example hosts = [\"bento.example.com\"]".to_owned(),
    })
}

/// The default where the key is not written.
fn or<T>(section: &Section<'_>, key: &str, default: T, read: impl FnOnce() -> Option<T>) -> Option<T> {
    if section.has(key) { read() } else { Some(default) }
}
