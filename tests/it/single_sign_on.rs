//! Single sign-on with what real providers send: each row is an oddity of one of them, and what the gateway makes of it.

use serde_json::{Value, json};

use crate::harness::{
    SOON,
    console::{Browser, create_user},
    gateway::Gateway,
    provider::{Provider, ada, config, merged},
    wait_until,
};

/// The status of the end, and what the account's page says of the role.
fn sign_on(gateway: &Gateway, provider: &Provider) -> (u16, &'static str) {
    let mut browser = Browser::new(gateway.management);
    let status = provider.sign_on(&mut browser).status;
    let account = browser.get("/account").text();
    let role = ["admin", "member"].into_iter().find(|role| account.contains(&format!("<dd>{role}</dd>")));
    (status, role.unwrap_or("nobody"))
}

#[test]
fn what_providers_send_is_read_as_they_mean_it() {
    let provider = Provider::start();
    let slash = json!({ "issuer": format!("http://{}/", provider.address) });
    let post_only = json!({ "token_endpoint_auth_methods_supported": ["client_secret_post"] });
    let unsaid = json!({ "sub": "ada", "email": "root@example.com", "name": "Ada" });
    let told = |verified: Value, email: &str| json!({ "sub": "ada", "email": email, "email_verified": verified });
    let none = Value::Null;
    // What the ID token, userinfo and discovery say, whether an account with the address exists, and how it ends.
    for (what, id_token, userinfo, discovery, exists, status) in [
        ("plain", ada(json!({})), none.clone(), none.clone(), false, 303),
        (
            "Auth0: a date as text",
            ada(json!({ "updated_at": "2025-12-23T10:59:07.841Z" })),
            none.clone(),
            none.clone(),
            false,
            303,
        ),
        ("Cognito: true as text", ada(json!({ "email_verified": "true" })), none.clone(), none.clone(), false, 303),
        (
            "Cognito: false as text",
            merged(unsaid.clone(), &json!({ "email_verified": "false" })),
            none.clone(),
            none.clone(),
            true,
            403,
        ),
        (
            "Zitadel: further audiences",
            ada(json!({ "aud": ["gw", "3298"], "azp": "gw" })),
            none.clone(),
            none.clone(),
            false,
            303,
        ),
        (
            "another client's token",
            ada(json!({ "aud": ["gw", "3298"], "azp": "3298" })),
            none.clone(),
            none.clone(),
            false,
            502,
        ),
        ("audiences without azp", ada(json!({ "aud": ["gw", "3298"] })), none.clone(), none.clone(), false, 502),
        ("not our audience", ada(json!({ "aud": "3298" })), none.clone(), none.clone(), false, 502),
        ("another nonce", ada(json!({ "nonce": "x" })), none.clone(), none.clone(), false, 502),
        ("Auth0: a slash at the end", ada(json!({})), none.clone(), slash, false, 303),
        (
            "Okta: an ID token that says who, and no more",
            json!({ "sub": "ada" }),
            ada(json!({})),
            none.clone(),
            true,
            303,
        ),
        (
            "Google: claims of its own",
            ada(json!({ "hd": "example.com", "azp": "gw", "at_hash": "x", "picture": "https://g.test/p" })),
            none.clone(),
            none.clone(),
            true,
            303,
        ),
        (
            "Entra ID: no address, only a name to sign in with",
            json!({ "sub": "ada", "preferred_username": "ada@example.com", "tid": "t", "oid": "o", "ver": "2.0" }),
            json!({ "sub": "ada" }),
            none.clone(),
            false,
            403,
        ),
        (
            "Dex: claims of the connector",
            ada(json!({ "federated_claims": { "connector_id": "ldap", "user_id": "7" }, "c_hash": "x" })),
            none.clone(),
            none.clone(),
            false,
            303,
        ),
        ("only client_secret_post", ada(json!({})), none.clone(), post_only, false, 303),
        (
            "userinfo that cannot be read",
            json!({ "sub": "ada", "email": "a@example.com", "email_verified": true }),
            json!(["?"]),
            none.clone(),
            false,
            303,
        ),
        ("userinfo has verified it", unsaid.clone(), told(json!(true), "root@example.com"), none.clone(), true, 303),
        (
            "userinfo has verified another",
            unsaid.clone(),
            told(json!(true), "eve@example.com"),
            none.clone(),
            true,
            403,
        ),
        ("nobody says it is verified", unsaid.clone(), told(none.clone(), "root@example.com"), none.clone(), true, 403),
        // Whose it is would find a stranger in their account.
        ("nor of a new account", unsaid.clone(), json!({ "sub": "ada" }), none.clone(), false, 403),
        (
            "an unverified address of a new account",
            merged(unsaid.clone(), &json!({ "email_verified": false })),
            none.clone(),
            none.clone(),
            false,
            403,
        ),
    ] {
        let gateway = provider.gateway("allowed_values = [\"*\"]");
        if exists {
            for (email, name) in [("root@example.com", "Root"), ("ada@example.com", "Ada")] {
                gateway.cli(&["user", "create", "--email", email, "--name", name]);
            }
        }
        provider.says(id_token, userinfo, discovery.clone());
        assert_eq!(sign_on(&gateway, &provider).0, status, "{what}");
        for asked in provider.now().asked.iter().filter(|asked| asked.contains(" /token ")) {
            let (basic, posted) =
                (asked.to_lowercase().contains("authorization: basic"), asked.contains("client_secret="));
            assert_eq!(
                (basic, posted),
                if discovery["token_endpoint_auth_methods_supported"].is_null() {
                    (true, false)
                } else {
                    (false, true)
                },
                "{what}"
            );
        }
    }
}

#[test]
fn a_missing_role_claim_takes_no_role_and_an_empty_one_does() {
    let provider = Provider::start();
    let gateway =
        provider.gateway("role_claim = \"realm_access.roles\"\nadmin_values = [\"ops\"]\nallowed_values = [\"*\"]");
    create_user(&gateway, "root@example.com", true);
    let roles = |roles: Value| json!({ "realm_access": { "roles": roles } });
    for (what, extra, role) in [
        ("Keycloak: nested", roles(json!(["ops", "x"])), "admin"),
        ("missing", json!({}), "admin"),
        ("Entra ID: overage", json!({ "_claim_names": { "groups": "src1" }, "hasgroups": true }), "admin"),
        ("null", roles(Value::Null), "admin"),
        ("of another kind", roles(json!([7, { "name": "x" }])), "admin"),
        ("literal name first", json!({ "realm_access.roles": "x", "realm_access": { "roles": ["ops"] } }), "member"),
        ("one text", roles(json!("ops")), "admin"),
        ("an empty list", roles(json!([])), "member"),
    ] {
        provider.says(ada(extra), json!({ "sub": "ada" }), Value::Null);
        assert_eq!(sign_on(&gateway, &provider), (303, role), "{what}");
    }
    gateway.await_said(&["realm_access.roles"]);
}

#[test]
fn a_claim_that_nobody_uses_may_be_of_any_kind() {
    let provider = Provider::start();
    let gateway = || provider.gateway("allowed_values = [\"*\"]");
    let odd = [
        ("updated_at", json!("2025-12-23 10:59:07")),
        ("updated_at", json!("2025-12-23")),
        ("updated_at", json!("1700000000")),
        ("updated_at", json!("")),
        ("auth_time", json!("1700000000")),
        ("iat", json!("1700000000")),
        ("iat", json!({})),
        ("exp", json!("9999999999")),
        ("exp", json!("2286-11-20T17:46:39Z")),
        ("phone_number_verified", json!("True")),
        ("phone_number", json!(4_930_123)),
        ("locale", json!({ "language": "de" })),
        ("address", json!("1 High Street")),
        ("address", json!({ "formatted": ["1 High Street"] })),
        ("picture", json!({ "data": { "url": "https://p.test" } })),
        ("zoneinfo", json!(1)),
        ("birthdate", json!(1815)),
        ("name", json!(7)),
        ("profile", json!(7)),
        ("website", json!(["https://ada.test"])),
        ("gender", json!({})),
        ("given_name", json!(["Ada"])),
        ("acr", json!(1)),
        ("amr", json!("pwd")),
        ("at_hash", json!(false)),
    ];
    // One network may sign in 20 times a minute at each gateway.
    for odd in odd.chunks(8) {
        let gateway = gateway();
        for (claim, value) in odd {
            let extra = json!({ *claim: value });
            // In the ID token, and in userinfo behind one that says who, and no more.
            provider.says(ada(extra.clone()), json!({ "sub": "ada" }), Value::Null);
            assert_eq!(sign_on(&gateway, &provider).0, 303, "{extra}");
            if !["exp", "iat"].contains(claim) {
                provider.says(json!({ "sub": "ada" }), ada(extra.clone()), Value::Null);
                assert_eq!(sign_on(&gateway, &provider).0, 303, "userinfo: {extra}");
            }
        }
    }
    let seven = json!({ "sub": 7, "email": "seven@example.com", "email_verified": true });
    provider.says(seven, json!({ "sub": "7", "name": "S" }), Value::Null);
    assert_eq!(sign_on(&gateway(), &provider).0, 303, "a subject that is a number");
}

/// An account is theirs only if the provider says that the address is.
#[test]
fn a_claim_that_decides_is_read_as_it_is_meant_or_named_in_the_log() {
    let provider = Provider::start();
    let named = |gateway: &Gateway, claim: &str| {
        let what = format!("the claim {claim} ");
        wait_until(&what, SOON, || gateway.stderr().iter().any(|line| line.contains(&what)));
    };
    for (verified, status) in [
        (json!("True"), 303),
        (json!(1), 303),
        (json!("FALSE"), 403),
        (json!(0), 403),
        (json!(""), 403),
        (json!(["true"]), 403),
    ] {
        for in_userinfo in [false, true] {
            let gateway = provider.gateway("allowed_values = [\"*\"]");
            gateway.cli(&["user", "create", "--email", "ada@example.com", "--name", "Ada"]);
            let said = ada(json!({ "email_verified": verified, "updated_at": "2025-12-23 10:59:07" }));
            let (id_token, userinfo) =
                if in_userinfo { (json!({ "sub": "ada" }), said) } else { (said, json!({ "sub": "ada" })) };
            provider.says(id_token, userinfo, Value::Null);
            assert_eq!(sign_on(&gateway, &provider).0, status, "{verified}, in userinfo: {in_userinfo}");
            if !verified.is_number() && status == 403 && verified != json!("FALSE") {
                named(&gateway, "email_verified");
            }
        }
    }
    let gateway = provider.gateway("allowed_values = [\"*\"]");
    for (claim, value) in [
        ("sub", json!(["ada"])),
        ("sub", json!("")),
        ("sub", json!("a\u{0}")),
        ("aud", json!(7)),
        ("exp", json!("soon")),
        ("exp", json!("1")),
        ("iss", json!(null)),
        ("azp", json!(["gw"])),
        ("nonce", json!(7)),
    ] {
        provider.says(ada(json!({ claim: value })), Value::Null, Value::Null);
        assert_eq!(sign_on(&gateway, &provider).0, 502, "{claim} {value}");
        named(&gateway, claim);
    }
}

#[test]
fn the_last_admin_stays_one_and_signs_in() {
    let provider = Provider::start();
    let gateway = provider.gateway("role_claim = \"groups\"\nadmin_values = [\"ops\"]\nallowed_values = [\"*\"]");
    provider.says(ada(json!({ "groups": ["ops"] })), json!({ "sub": "ada" }), Value::Null);
    assert_eq!(sign_on(&gateway, &provider), (303, "admin"));
    // Nobody has ever signed in as admin@localhost.
    provider.says(ada(json!({ "groups": [] })), json!({ "sub": "ada" }), Value::Null);
    assert_eq!(sign_on(&gateway, &provider), (303, "admin"));
}

/// Entra ID never says whether it has verified an address.
#[test]
fn an_address_is_trusted_only_where_the_setting_says_so() {
    let provider = Provider::start();
    let said =
        |verified: Value| json!({ "sub": "ada", "email": "ada@example.com", "name": "A", "email_verified": verified });
    for (trust, verified, status) in [
        ("false", Value::Null, 403),
        ("true", Value::Null, 303),
        ("true", json!(false), 403),
        ("true", json!("false"), 403),
    ] {
        let gateway = provider.gateway(&format!("allowed_values = [\"*\"]\ntrust_email = {trust}"));
        gateway.cli(&["user", "create", "--email", "ada@example.com", "--name", "Ada"]);
        provider.says(said(verified.clone()), json!({ "sub": "ada" }), Value::Null);
        assert_eq!(sign_on(&gateway, &provider).0, status, "{trust} {verified}");
    }
}

#[test]
fn an_issuer_is_found_below_its_path() {
    let provider = Provider::start();
    for (what, set, calls_itself) in [
        ("Keycloak", "/realms/x", "/realms/x"),
        ("Entra ID", "/tenant/v2.0", "/tenant/v2.0"),
        ("Cognito", "/eu-west-1_pool", "/eu-west-1_pool"),
        ("Dex", "/dex", "/dex"),
        ("Authentik", "/application/o/gw/", "/application/o/gw/"),
        ("Authentik, without the slash", "/application/o/gw", "/application/o/gw/"),
        ("Keycloak, with a slash", "/realms/x/", "/realms/x"),
    ] {
        let issuer = |path: &str| format!("http://{}{path}", provider.address);
        let gateway = Gateway::start(&config(&issuer(set), "allowed_values = [\"*\"]"));
        provider.says(ada(json!({})), Value::Null, json!({ "issuer": issuer(calls_itself) }));
        assert_eq!(sign_on(&gateway, &provider).0, 303, "{what}");
    }
}

#[test]
fn each_provider_has_its_claim_for_roles() {
    let provider = Provider::start();
    for (what, claim, id_token, userinfo) in [
        ("Auth0", "https://example.com/roles", json!({ "https://example.com/roles": ["ops"] }), json!({})),
        ("Entra ID", "roles", json!({ "roles": ["ops"], "wids": ["x"] }), json!({})),
        ("Okta: in userinfo only", "groups", json!({}), json!({ "groups": ["Everyone", "ops"] })),
        (
            "Keycloak, of a client",
            "resource_access.gw.roles",
            json!({ "resource_access": { "gw": { "roles": ["ops"] } } }),
            json!({}),
        ),
        ("Authentik", "groups", json!({ "groups": ["authentik Admins", "ops"] }), json!({})),
        (
            "Zitadel, by an Action",
            "groups",
            json!({ "groups": ["ops"], "urn:zitadel:iam:org:project:roles": {} }),
            json!({}),
        ),
        ("Cognito", "cognito:groups", json!({ "cognito:groups": ["ops"], "cognito:username": "ada" }), json!({})),
        ("Dex", "groups", json!({ "groups": ["org:team", "ops"] }), json!({})),
        ("unreadable in the ID token", "groups", json!({ "groups": { "ops": true } }), json!({ "groups": ["ops"] })),
        ("null in the ID token", "a.groups", json!({ "a": { "groups": null } }), json!({ "a": { "groups": "ops" } })),
    ] {
        let settings = format!("role_claim = \"{claim}\"\nadmin_values = [\"ops\"]\nallowed_values = [\"ml\"]");
        let gateway = provider.gateway(&settings);
        provider.says(ada(id_token), merged(json!({ "sub": "ada" }), &userinfo), Value::Null);
        assert_eq!(sign_on(&gateway, &provider), (303, "admin"), "{what}");
    }
}
