//! What `[deployments.NAME]` says of how its upstreams are reached: what they are shown, and whom they must be.

use std::{path::PathBuf, sync::Arc};

use rustls_pki_types::ServerName;

use crate::{
    config::reader::{Invalid, Section},
    domain::{
        clean,
        upstream_access::{UpstreamAccess, UpstreamTls},
        upstream_credential::{NotACredential, UpstreamCredential},
        upstream_url,
    },
    http::upstream_tls,
};

/// With the files that it stands in. `forwards`: the caller's `Authorization` is passed on. `by_tls`: there is an upstream with
/// https.
pub fn read(section: &Section<'_>, forwards: bool, by_tls: bool) -> (UpstreamAccess, Vec<PathBuf>) {
    let mut files = Vec::new();
    let credential = credential(section, forwards, &mut files).map(Arc::new);
    let tls = tls(section, by_tls, &mut files).map(Arc::new);
    (UpstreamAccess { credential, tls }, files)
}

fn credential(section: &Section<'_>, forwards: bool, files: &mut Vec<PathBuf>) -> Option<UpstreamCredential> {
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
        return None;
    }
    let path = section.text(FILE).map(PathBuf::from)?;
    files.push(path.clone());
    let header = header?;
    if forwards && header.eq_ignore_ascii_case("authorization") {
        let fix = format!("turn forward_authorization off, or send the credential in another field by {HEADER}");
        section.report(FILE, "and forward_authorization both set Authorization", fix);
        return None;
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
            return None;
        }
    };
    let (key, message, fix) = match UpstreamCredential::new(&header, &text) {
        Ok(credential) => return Some(credential),
        Err(error @ NotACredential::Header) => (HEADER, error.to_string(), "write for example \"X-API-Key\""),
        Err(error) => {
            (FILE, format!("names a file whose content {error}"), "write the credential into it, as its only line")
        }
    };
    section.report(key, message, fix);
    None
}

/// `[deployments.NAME.upstream_tls]`.
fn tls(parent: &Section<'_>, by_tls: bool, files: &mut Vec<PathBuf>) -> Option<UpstreamTls> {
    const SECTION: &str = "upstream_tls";
    let section = parent.section(SECTION);
    let mut file = |key| {
        let path = if section.has(key) { section.optional(key, |text| Ok(PathBuf::from(text)))? } else { None };
        files.extend(path.clone());
        Some(path)
    };
    let (ca, certificate, key) = (file("ca_file"), file("certificate_file"), file("key_file"));
    let server_name =
        if section.has("server_name") { section.optional("server_name", server_name) } else { Some(None) };
    section.finish();
    let (ca, certificate, key, server_name) = (ca?, certificate?, key?, server_name?);
    if !parent.has(SECTION) {
        return None;
    }
    if !by_tls {
        parent.report(SECTION, "is given, but no upstream is reached by TLS", "write https:// in the upstream's URL");
        return None;
    }
    let identity = match (&certificate, &key) {
        (Some(certificate), Some(key)) => Some((&**certificate, &**key)),
        (None, None) => None,
        _ => {
            parent.report(
                SECTION,
                "has one of certificate_file and key_file without the other",
                "name the files of the gateway's certificate and of its key, or neither",
            );
            return None;
        }
    };
    match upstream_tls::load(ca.as_deref(), identity, server_name) {
        Ok(tls) => Some(tls),
        Err(error) => {
            parent.report(SECTION, format!("cannot be used: {error}"), "correct the file, or name another one");
            None
        }
    }
}

fn server_name(text: &str) -> Result<ServerName<'static>, Invalid> {
    upstream_url::server_name(text).ok_or_else(|| Invalid {
        message: "is no name that a certificate can have".to_owned(),
        fix: "write a host name or an IP address, for example \"bento.internal\"".to_owned(),
    })
}
