//! The console over plain HTTP: who gets in, and that nobody acts through somebody else's browser. What a real browser
//! makes of the pages is in `browser`.

use crate::harness::{
    SOON,
    console::{Browser, PASSWORD, create_user, csrf},
    gateway::{Gateway, Setup, deployment, free_address},
    http::Response,
    upstream::Upstream,
    wait_until,
};

const ADA: &str = "ada@example.com";
/// Every page for somebody who has signed in.
const PAGES: [&str; 11] = [
    "/",
    "/?range=day",
    "/api_tokens",
    "/api_tokens/new",
    "/deployments",
    "/deployments/new",
    "/users",
    "/usage",
    "/activity",
    "/activity/verify",
    "/account",
];

fn assert_secured(answer: &Response, path: &str) {
    let policy = answer.header("content-security-policy").unwrap_or_else(|| panic!("{path} has no policy"));
    for part in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"] {
        assert!(policy.contains(part), "{path}: {policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains("http"), "{path}: {policy}");
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
    assert_eq!(answer.header("x-frame-options"), Some("DENY"), "{path}");
    assert_eq!(answer.header("referrer-policy"), Some("same-origin"), "{path}");
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
    let text = answer.text();
    assert!(!text.contains("<style") && !text.contains(" style=") && !text.contains(" onclick="), "{path}");
    assert!(!text.contains("<script>"), "{path}");
}

#[test]
fn every_page_is_secured_and_for_somebody_who_has_signed_in() {
    let gateway = Gateway::start("");
    let mut ada = Browser::signed_in(&gateway, ADA, true);
    let mut nobody = Browser::new(gateway.management);
    assert_secured(&nobody.get("/sign-in"), "/sign-in");
    for path in PAGES {
        let page = ada.get(path);
        assert_eq!(page.status, 200, "{path}: {}", page.text());
        assert_secured(&page, path);
        let turned = nobody.get(path);
        assert_eq!(turned.status, 303, "{path}");
        assert!(turned.header("location").unwrap().starts_with("/sign-in?next="), "{path}");
    }
    for path in ["/api_tokens/x", "/deployments/x", "/api_tokens?code=x", "/open?at=http://x&nonce=x"] {
        let page = ada.get(path);
        assert!((400..500).contains(&page.status), "{path}: {}", page.status);
        assert_secured(&page, path);
    }
}

#[test]
fn a_session_is_a_cookie_of_this_host_alone() {
    let gateway = Gateway::start("");
    create_user(&gateway, ADA, true);
    let mut browser = Browser::new(gateway.management);
    // A session that somebody has planted.
    browser.cookies.insert("bgw-console".to_owned(), "0".repeat(40));
    let answer = browser.sign_in(ADA, PASSWORD);
    let set = answer.all("set-cookie").into_iter().find(|set| set.starts_with("bgw-console=")).unwrap().to_owned();
    assert!(set.contains("; HttpOnly; SameSite=Lax; Max-Age=43200") && set.contains("; Path=/;"), "{set}");
    assert!(!set.contains("Domain") && !set.contains(&"0".repeat(40)), "{set}");
    let mut other = Browser::new(gateway.management);
    other.cookies.insert("bgw-console".to_owned(), browser.cookies["bgw-console"].clone());
    assert_eq!(other.get("/account").status, 200);
    let account = browser.get("/account");
    assert_eq!(browser.submit(&account, "/sign-out", &[]).status, 303);
    assert_eq!(other.get("/account").status, 303, "a kept cookie is good for something");

    // Behind TLS the name itself keeps it to this host.
    let gateway = Setup::new("[management]\npublic_url = \"https://console.test\"\n").start();
    create_user(&gateway, ADA, true);
    let mut browser = Browser::new(gateway.management);
    browser.host = "console.test".to_owned();
    let page = browser.get("/sign-in");
    let fields = [("csrf", &*csrf(&page)), ("email", ADA), ("password", PASSWORD)];
    let answer = browser.post_from(&["origin: https://console.test"], "/sign-in", &fields);
    let set = answer.all("set-cookie").join("\n");
    assert!(set.contains("__Host-bgw-console=") && set.contains("; Secure"), "{set}");
}

#[test]
fn a_form_of_another_site_changes_nothing() {
    let gateway = Gateway::start("");
    let mut ada = Browser::signed_in(&gateway, ADA, true);
    let own = format!("origin: http://{}", gateway.management);
    let sibling = format!("origin: http://{}", gateway.proxy);
    let fields = |token: &str| -> Vec<(String, String)> {
        [("csrf", token), ("name", "forged"), ("developer", "1"), ("expires", "30")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec()
    };
    let token = csrf(&ada.get("/api_tokens/new"));
    let mut send = |head: &[&str], token: &str| {
        let fields = fields(token);
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        ada.post_from(head, "/api_tokens", &fields).status
    };
    for head in [
        &[][..],
        &["origin: null"],
        &["origin: http://evil.test"],
        &[&sibling],
        &["sec-fetch-site: cross-site", &own],
        &["sec-fetch-site: same-site", &own],
        &["sec-fetch-site: none", &own],
    ] {
        assert_eq!(send(head, &token), 403, "{head:?}");
    }
    for wrong in ["", "x", &"0".repeat(64)] {
        assert_eq!(send(&[&own], wrong), 403, "{wrong}");
    }
    // Another browser's.
    let others = csrf(&Browser::signed_in(&gateway, "eve@example.com", true).get("/account"));
    assert_eq!(send(&[&own], &others), 403);
    assert_eq!(gateway.cli(&["token", "list"])["total"], 0, "a token was made");
    assert_eq!(send(&["sec-fetch-site: same-origin"], &token), 200);
    assert_eq!(send(&[&own], &token), 409, "the name is taken: it was made before");

    // Nor can a browser be signed in as somebody else.
    let mut victim = Browser::new(gateway.management);
    let page = victim.get("/sign-in");
    let fields = [("csrf", &*csrf(&page)), ("email", ADA), ("password", PASSWORD)];
    assert_eq!(victim.post_from(&[&sibling], "/sign-in", &fields).status, 403);
    let fields = [("csrf", &*others), ("email", ADA), ("password", PASSWORD)];
    assert_eq!(victim.post_from(&[&own], "/sign-in", &fields).status, 403);
}

#[test]
fn an_unknown_user_is_told_the_same_as_a_wrong_password() {
    let gateway = Gateway::start("");
    create_user(&gateway, ADA, true);
    let mut answers = Vec::new();
    let mut work = [0; 2];
    for _ in 0..3 {
        for (at, email) in [ADA, "nobody@example.com"].into_iter().enumerate() {
            let mut browser = Browser::new(gateway.management);
            let page = browser.get("/sign-in");
            let before = gateway.processor_ticks();
            let answer = browser.submit(&page, "/sign-in", &[("email", email), ("password", "not the password")]);
            work[at] += gateway.processor_ticks() - before;
            assert_eq!(answer.status, 401);
            answers.push(answer.text().replace(email, "").replace(&csrf(&page), "").replace(&csrf(&answer), ""));
        }
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
    // Both have hashed: without it there is next to no work.
    assert!(work[0] > 0 && work[1] * 3 > work[0], "{work:?}");

    // One address may try some accounts, and not all of them.
    let elsewhere = Gateway::start("");
    let guess = |at: u32| Browser::new(elsewhere.management).sign_in(&format!("user-{at}@example.com"), "guess").status;
    let statuses: Vec<u16> = (0..25).map(guess).collect();
    assert!(statuses[..20].iter().all(|status| *status == 401) && statuses.contains(&429), "{statuses:?}");

    let mut browser = Browser::new(gateway.management);
    let limited = (0..30).any(|_| browser.sign_in(ADA, "guess").status == 429);
    assert!(limited, "an account can be guessed at for ever");
    assert_eq!(browser.sign_in(ADA, PASSWORD).status, 429, "the right guess among them is not told");
}

#[test]
fn the_set_up_link_makes_the_first_admin_once() {
    let gateway = Gateway::start("");
    wait_until("the link is shown", SOON, || gateway.stdout().iter().any(|line| line.contains("/welcome?code=")));
    let link = gateway.stdout().into_iter().find(|line| line.contains("/welcome?code=")).unwrap();
    let path = link.trim().strip_prefix(&format!("http://{}", gateway.management)).unwrap().to_owned();
    let code = path.split("code=").nth(1).unwrap().to_owned();
    let mut browser = Browser::new(gateway.management);
    let page = browser.get(&path);
    assert_eq!(page.status, 200);
    let accept = |browser: &mut Browser, page: &Response, email: &str, password: &str, again: &str| {
        let fields =
            [("code", &*code), ("name", "Ada"), ("email", email), ("password", password), ("password_again", again)];
        browser.submit(page, "/welcome", &fields)
    };
    for (email, password, again, part) in [
        (ADA, "short", "short", "at least 12"),
        (ADA, PASSWORD, "something else", "do not match"),
        ("no address", PASSWORD, PASSWORD, "e-mail"),
    ] {
        let refused = accept(&mut browser, &page, email, password, again);
        assert_eq!(refused.status, 400);
        assert!(refused.text().contains(part) && refused.text().contains("value=\"Ada\""), "{}", refused.text());
    }
    assert_eq!(accept(&mut browser, &page, ADA, PASSWORD, PASSWORD).status, 303);
    assert!(browser.get("/users").text().contains(ADA));
    assert_eq!(browser.get(&path).status, 410);
    assert_eq!(accept(&mut browser, &page, "eve@example.com", PASSWORD, PASSWORD).status, 410);

    // A lost password: the command line makes another link, which ends what was signed in.
    let link = gateway.cli(&["user", "invite", ADA])["link"].as_str().unwrap().to_owned();
    let path = link.strip_prefix(&format!("http://{}", gateway.management)).unwrap().to_owned();
    let mut other = Browser::new(gateway.management);
    let page = other.get(&path);
    let code = path.split("code=").nth(1).unwrap();
    let fields = [
        ("code", code),
        ("name", "Ada"),
        ("email", "eve@example.com"),
        ("password", "another long password"),
        ("password_again", "another long password"),
    ];
    assert_eq!(other.submit(&page, "/welcome", &fields).status, 303);
    assert_eq!(browser.get("/account").status, 303);
    // The address is not theirs to choose.
    assert_eq!(Browser::new(gateway.management).sign_in(ADA, "another long password").status, 303);
}

#[test]
fn nobody_is_sent_to_another_site() {
    let gateway = Gateway::start("");
    let mut ada = Browser::signed_in(&gateway, ADA, true);
    for next in ["https://evil.test", "//evil.test", "/\\evil.test"] {
        let path = format!("/sign-in?{}", serde_urlencoded::to_string([("next", next)]).unwrap());
        assert_eq!(ada.get(&path).header("location"), Some("/"), "{next}");
    }
    // A hand-over goes to the Deployment's own address, whatever is asked for.
    let nonce = "a".repeat(64);
    for at in ["https://evil.test", "http://127.0.0.1:1", &format!("http://{}.evil.test", gateway.proxy)] {
        let pairs = [("at", at), ("to", "/"), ("nonce", &*nonce)];
        let answer = ada.get(&format!("/open?{}", serde_urlencoded::to_string(pairs).unwrap()));
        assert_eq!(answer.status, 404, "{at}");
    }
}

#[test]
fn a_member_sees_and_changes_what_is_theirs() {
    let upstream = Upstream::named("a");
    let gateway = Gateway::start(&deployment("a", upstream.address, ""));
    gateway.cli(&["deployment", "add", "stored", "--upstream", &format!("http://{}", free_address())]);
    let mut bob = Browser::signed_in(&gateway, "bob@example.com", false);
    let admins = gateway.token(&["deployment:*"]);
    for path in ["/users", "/deployments/new", "/deployments/stored/edit", "/deployments/stored/remove"] {
        assert_eq!(bob.get(path).status, 403, "{path}");
    }
    let account = bob.get("/account");
    for path in
        ["/users", "/deployments", "/deployments/stored", "/deployments/stored/terminate", "/deployments/stored/remove"]
    {
        assert_eq!(bob.submit(&account, path, &[("name", "x")]).status, 403, "{path}");
    }
    for path in ["", "/edit", "/rotate", "/delete"] {
        assert_eq!(bob.get(&format!("/api_tokens/{}{path}", admins.uid)).status, 404, "{path}");
    }
    for path in ["", "/rotate", "/delete"] {
        assert_eq!(
            bob.submit(&account, &format!("/api_tokens/{}{path}", admins.uid), &[("overlap", "0s")]).status,
            404
        );
    }
    assert_eq!(gateway.code_of(&admins.text), "deployment_not_found", "the token lives");
    assert!(!bob.get("/api_tokens?owner=everybody").text().contains(&admins.uid));
    assert!(!bob.get("/deployments/a").text().contains(&admins.uid));
    assert!(!bob.get("/activity").text().contains(&admins.uid));
    // Where a service is reached around the gateway, and how it is handled, is for admins, as on the API.
    let mut ada = Browser::signed_in(&gateway, ADA, true);
    for path in ["/deployments", "/deployments/a"] {
        let address = upstream.address.to_string();
        assert!(ada.get(path).text().contains(&address), "{path}");
        assert!(!bob.get(path).text().contains(&address), "{path}");
    }
    assert!(ada.get("/deployments/a").text().contains("Allow pickle"));
    assert!(!bob.get("/deployments/a").text().contains("Allow pickle"));
}

#[test]
fn single_sign_on_that_fails_says_why_in_the_log() {
    let nobody = free_address();
    let config =
        format!("[management.oidc]\nissuer = \"http://{nobody}\"\nclient_id = \"gateway\"\nallowed_values = [\"*\"]\n");
    let gateway = Gateway::start(&config);
    let page = Browser::new(gateway.management).get("/sign-in/oidc");
    assert_eq!(page.status, 502, "{}", page.text());
    gateway.await_said(&["single sign-on failed", "Connection refused"]);
}
