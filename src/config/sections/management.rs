//! `[management]`, `[management.tls]`, `[management.limits]` and `[management.oidc]`.

use std::time::Duration;

use crate::{
    config::{
        ManagementConfig, ManagementLimitConfig, OidcConfig,
        reader::{Invalid, Section, expect},
    },
    domain::secret::Secret,
};

const SECOND: Duration = Duration::from_secs(1);

pub fn read(section: Section<'_>) -> Option<ManagementConfig> {
    let listen = section.parsed("listen", expect("an address with a port", "127.0.0.1:8081"));
    let login_code_lifetime = section.duration("login_code_lifetime", SECOND);
    let public_url = section.optional("public_url", super::proxy::public_url);
    let session_lifetime = section.duration("session_lifetime", SECOND);
    let invitation_lifetime = section.duration("invitation_lifetime", SECOND);
    let tls = super::proxy::tls(section.section("tls"), "management.tls");
    let limits = limits(section.section("limits"));
    let oidc = oidc(section.section("oidc"));
    section.finish();
    Some(ManagementConfig {
        listen: listen?,
        tls: tls?,
        limits: limits?,
        login_code_lifetime: login_code_lifetime?,
        public_url: public_url?,
        session_lifetime: session_lifetime?,
        invitation_lifetime: invitation_lifetime?,
        oidc: oidc?,
    })
}

fn limits(section: Section<'_>) -> Option<ManagementLimitConfig> {
    let max_connections = section.integer("max_connections", 1..=1_000_000_i64);
    let header_timeout = section.duration("header_timeout", SECOND);
    let keep_alive_timeout = section.duration("keep_alive_timeout", SECOND);
    section.finish();
    Some(ManagementLimitConfig {
        max_connections: usize::try_from(max_connections?).ok()?,
        header_timeout: header_timeout?,
        keep_alive_timeout: keep_alive_timeout?,
    })
}

/// `Some(None)`: no single sign-on.
fn oidc(section: Section<'_>) -> Option<Option<OidcConfig>> {
    let issuer = section.optional("issuer", issuer);
    let client_id = section.text("client_id");
    let client_secret = section.optional("client_secret", |text| Ok(Secret::new(text.to_owned())));
    let label = section.text("label");
    let text = |text: &str| Ok(text.to_owned());
    let scopes = section.list("scopes", text);
    let role_claim = section.optional("role_claim", text);
    let admin_values = section.list("admin_values", text);
    let allowed_values = section.list("allowed_values", text);
    let passwords = section.boolean("passwords");
    let trust_email = section.boolean("trust_email");
    let given = issuer.as_ref().is_some_and(Option::is_some);
    if given && client_id.as_ref().is_some_and(String::is_empty) {
        section.report("client_id", "is missing beside issuer", "write the id that the provider has for this gateway");
        return None;
    }
    if given && allowed_values.as_ref().is_some_and(Vec::is_empty) {
        let fix = "name values of role_claim, for example [\"ml\"], or write [\"*\"] to let in everybody whom the provider knows";
        section.report("allowed_values", "does not say who may sign in", fix);
        return None;
    }
    let needs_claim =
        |values: &Option<Vec<String>>| values.as_ref().is_some_and(|values| values.iter().any(|value| value != "*"));
    if given && role_claim == Some(None) && (needs_claim(&admin_values) || needs_claim(&allowed_values)) {
        let fix = "name the claim that holds these values, for example role_claim = \"groups\"";
        section.report("role_claim", "is missing beside admin_values or allowed_values", fix);
        return None;
    }
    section.finish();
    let oidc = OidcConfig {
        issuer: issuer?.unwrap_or_default(),
        client_id: client_id?,
        client_secret: client_secret?,
        label: label?,
        scopes: scopes?,
        role_claim: role_claim?,
        admin_values: admin_values?,
        allowed_values: allowed_values?,
        passwords: passwords?,
        trust_email: trust_email?,
    };
    Some(given.then_some(oidc))
}

/// Clear text only on this machine: who can change what the provider says can sign in as anybody.
fn issuer(text: &str) -> Result<String, Invalid> {
    let rest = text.strip_prefix("https://").or_else(|| {
        let rest = text.strip_prefix("http://")?;
        let host = rest.split([':', '/']).next();
        matches!(host, Some("127.0.0.1" | "localhost")).then_some(rest)
    });
    match rest {
        Some(rest) if !rest.is_empty() && !rest.contains(['?', '#', '@']) => Ok(text.to_owned()),
        _ => Err(Invalid {
            message: "is not an issuer".to_owned(),
            fix: "write https://HOST[/PATH], as the provider's discovery document has it".to_owned(),
        }),
    }
}
