//! What a claim says of somebody's role, and whether they may sign in.

use std::borrow::Cow;

use serde_json::Value;

use super::claims::Said;
use crate::{config::OidcConfig, domain::user::Role};

/// In `allowed_values`: everybody whom the provider knows may sign in.
const EVERYBODY: &str = "*";

/// `sources`: what the provider has said, in the order in which it counts. `None`: they may not sign in. `Some(None)`: the
/// provider says nothing about roles, and the role stays as it is.
pub fn role(config: &OidcConfig, sources: &[Said]) -> Option<Option<Role>> {
    let everybody = config.allowed_values.iter().any(|value| value == EVERYBODY);
    let Some(claim) = &config.role_claim else { return everybody.then_some(None) };
    let Some(values) = sources.iter().find_map(|said| values(config, said, claim)) else {
        tracing::warn!(claim, "the provider sent no readable role claim; the role stays as it is");
        return everybody.then_some(None);
    };
    let has = |wanted: &[String]| wanted.iter().any(|wanted| values.iter().any(|value| value == wanted));
    let admin = has(&config.admin_values);
    if !admin && !everybody && !has(&config.allowed_values) {
        return None;
    }
    if config.admin_values.is_empty() { Some(None) } else { Some(Some(if admin { Role::Admin } else { Role::Member })) }
}

/// Whether it says nothing readable of roles that are asked for.
pub fn lacks_role(config: &OidcConfig, said: &Said) -> bool {
    config.role_claim.as_ref().is_some_and(|claim| values(config, said, claim).is_none())
}

/// The texts of a claim: of that very name, or else below the path that its dots make (Keycloak's `realm_access.roles`).
/// Numbers count as texts where a configured value is a number; elsewhere no group has such a name. `None`: it is missing or of
/// another kind, which states nothing. An empty list states that there is none.
fn values<'a>(config: &OidcConfig, said: &'a Said, claim: &str) -> Option<Vec<Cow<'a, str>>> {
    let nested = || {
        let mut path = claim.split('.');
        let first = said.get(path.next()?)?;
        path.try_fold(first, |value, name| value.get(name))
    };
    let mut configured = config.admin_values.iter().chain(&config.allowed_values);
    let numbers = configured.any(|value| value.parse::<serde_json::Number>().is_ok());
    let one = |value: &'a Value| match value {
        Value::String(text) => Some(Cow::from(text)),
        Value::Number(number) if numbers => Some(number.to_string().into()),
        _ => None,
    };
    let read = |value: &'a Value| match value {
        Value::Array(all) => {
            let read: Vec<_> = all.iter().filter_map(one).collect();
            (all.is_empty() || !read.is_empty()).then_some(read)
        }
        value => one(value).map(|value| vec![value]),
    };
    said.get(claim).and_then(read).or_else(|| nested().and_then(read))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::claims::tests::said, *};

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
        let claims = |value: Value| [said(json!({ "groups": value }))];
        let both = config(Some("groups"), &["ops"], &["ml"]);
        assert_eq!(role(&both, &claims(json!(["ml", "ops"]))), Some(Some(Role::Admin)));
        assert_eq!(role(&both, &claims(json!("ml"))), Some(Some(Role::Member)));
        assert_eq!(role(&both, &claims(json!(["sales"]))), None);
        assert_eq!(role(&both, &[]), None);
        assert_eq!(role(&config(None, &[], &["*"]), &[]), Some(None));
        let anybody = config(Some("groups"), &["ops"], &["*"]);
        assert_eq!(role(&anybody, &[]), Some(None));
        assert_eq!(role(&anybody, &claims(json!([]))), Some(Some(Role::Member)));
        for nothing in
            [json!(null), json!(true), json!({ "name": "ops" }), json!([{ "name": "ops" }]), json!([7]), json!(7)]
        {
            assert_eq!(role(&anybody, &claims(nothing.clone())), Some(None), "{nothing}");
        }
        assert_eq!(role(&config(Some("groups"), &[], &["ml"]), &claims(json!("ml"))), Some(None));
        let numbered = config(Some("groups"), &["7"], &["*"]);
        assert_eq!(role(&numbered, &claims(json!([7]))), Some(Some(Role::Admin)));
        assert_eq!(role(&numbered, &claims(json!([8]))), Some(Some(Role::Member)));
    }

    #[test]
    fn what_cannot_be_read_hides_nothing_that_can() {
        let anybody = config(Some("realm.groups"), &["ops"], &["*"]);
        let ops = || said(json!({ "realm": { "groups": ["ops"] } }));
        for hidden in [json!(null), json!({}), json!(7), json!([7]), json!([{ "name": "ops" }])] {
            for first in [json!({ "realm": { "groups": hidden } }), json!({ "realm.groups": hidden }), json!({})] {
                assert_eq!(role(&anybody, &[said(first.clone()), ops()]), Some(Some(Role::Admin)), "{first}");
            }
            let both = said(json!({ "realm.groups": hidden, "realm": { "groups": ["ops"] } }));
            assert_eq!(role(&anybody, &[both]), Some(Some(Role::Admin)), "{hidden}");
        }
        let none = said(json!({ "realm": { "groups": [] } }));
        assert_eq!(role(&anybody, &[none, ops()]), Some(Some(Role::Member)), "an empty list says that there is none");
    }

    #[test]
    fn a_literal_name_comes_before_a_path() {
        let mut claims = said(json!({ "realm_access": { "roles": ["ops"] } }));
        assert_eq!(values(&config(None, &[], &[]), &claims, "realm_access.roles"), Some(vec!["ops".into()]));
        assert_eq!(values(&config(None, &[], &[]), &claims, "realm_access.groups"), None);
        claims.insert("realm_access.roles".to_owned(), json!("literal"));
        assert_eq!(values(&config(None, &[], &[]), &claims, "realm_access.roles"), Some(vec!["literal".into()]));
    }
}
