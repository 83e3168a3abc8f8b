//! What the claims of a provider mean: whose an ID token is, who may sign in, and what role they have.

use std::collections::HashMap;

use serde_json::Value;

use crate::{config::OidcConfig, domain::user::Role};

/// In `allowed_values`: everybody whom the provider knows may sign in.
const EVERYBODY: &str = "*";

/// Whether an ID token whose audiences include `client` was issued to it (OpenID Connect Core 1.0 § 3.1.3.7, steps 3 to 5).
/// With further audiences, `azp` has to say so: otherwise another of them may be passing on a token of its own.
pub fn issued_to(client: &str, audiences: usize, azp: Option<&str>) -> bool {
    azp.map_or(audiences == 1, |azp| azp == client)
}

/// `None`: they may not sign in. `Some(None)`: the provider says nothing about roles, and the role stays as it is.
pub fn role(config: &OidcConfig, claims: &HashMap<String, Value>) -> Option<Option<Role>> {
    let everybody = config.allowed_values.iter().any(|value| value == EVERYBODY);
    let Some(claim) = &config.role_claim else { return everybody.then_some(None) };
    let Some(values) = values(claims, claim) else {
        tracing::warn!(claim, "the provider sent no readable role claim; the role stays as it is");
        return everybody.then_some(None);
    };
    let has = |wanted: &[String]| wanted.iter().any(|wanted| values.contains(&wanted.as_str()));
    let admin = has(&config.admin_values);
    if !admin && !everybody && !has(&config.allowed_values) {
        return None;
    }
    if config.admin_values.is_empty() { Some(None) } else { Some(Some(if admin { Role::Admin } else { Role::Member })) }
}

/// The texts of a claim: of that very name, or else below the path that its dots make (Keycloak's `realm_access.roles`).
/// `None`: it is missing or of another kind, which states nothing. An empty list states that there is none.
pub fn values<'a>(claims: &'a HashMap<String, Value>, claim: &str) -> Option<Vec<&'a str>> {
    let nested = || {
        let mut path = claim.split('.');
        let first = claims.get(path.next()?)?;
        path.try_fold(first, |value, name| value.get(name))
    };
    match claims.get(claim).or_else(nested)? {
        Value::String(value) => Some(vec![value]),
        Value::Array(values) => Some(values.iter().filter_map(Value::as_str).collect()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(role_claim: Option<&str>, admin: &[&str], allowed: &[&str]) -> OidcConfig {
        let texts = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
        OidcConfig {
            issuer: "https://id.test".to_owned(),
            client_id: "gateway".to_owned(),
            client_secret: None,
            label: String::new(),
            scopes: Vec::new(),
            role_claim: role_claim.map(str::to_owned),
            admin_values: texts(admin),
            allowed_values: texts(allowed),
            passwords: false,
            trust_email: false,
        }
    }

    #[test]
    fn roles_follow_the_claim_and_its_absence_states_nothing() {
        let claims = |value: Value| HashMap::from([("groups".to_owned(), value)]);
        let both = config(Some("groups"), &["ops"], &["ml"]);
        assert_eq!(role(&both, &claims(serde_json::json!(["ml", "ops"]))), Some(Some(Role::Admin)));
        assert_eq!(role(&both, &claims(serde_json::json!("ml"))), Some(Some(Role::Member)));
        assert_eq!(role(&both, &claims(serde_json::json!(["sales"]))), None);
        assert_eq!(role(&both, &HashMap::new()), None);
        assert_eq!(role(&config(None, &[], &["*"]), &HashMap::new()), Some(None));
        let anybody = config(Some("groups"), &["ops"], &["*"]);
        assert_eq!(role(&anybody, &HashMap::new()), Some(None));
        assert_eq!(role(&anybody, &claims(serde_json::json!(null))), Some(None));
        assert_eq!(role(&anybody, &claims(serde_json::json!([]))), Some(Some(Role::Member)));
        assert_eq!(role(&config(Some("groups"), &[], &["ml"]), &claims(serde_json::json!("ml"))), Some(None));
    }

    #[test]
    fn a_literal_name_comes_before_a_path() {
        let nested = serde_json::json!({ "roles": ["ops"] });
        let mut claims = HashMap::from([("realm_access".to_owned(), nested)]);
        assert_eq!(values(&claims, "realm_access.roles"), Some(vec!["ops"]));
        assert_eq!(values(&claims, "realm_access.groups"), None);
        claims.insert("realm_access.roles".to_owned(), serde_json::json!("literal"));
        assert_eq!(values(&claims, "realm_access.roles"), Some(vec!["literal"]));
    }

    #[test]
    fn a_token_of_several_audiences_says_to_whom_it_was_issued() {
        assert!(issued_to("gw", 1, None) && issued_to("gw", 2, Some("gw")));
        assert!(!issued_to("gw", 2, None) && !issued_to("gw", 1, Some("app")) && !issued_to("gw", 2, Some("app")));
    }
}
