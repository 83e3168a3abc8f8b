//! Every page and form of the console, as the console's own table lists them: what an anonymous visitor, a member and an
//! admin get, and what a form without its token changes.

use std::collections::BTreeSet;

use bento_gateway::management::{Audience, console_pages};

use crate::harness::{
    console::{Browser, PASSWORD, create_user, csrf},
    gateway::{Gateway, deployment, free_address},
};

const ADA: &str = "ada@example.com";
const BOB: &str = "bob@example.com";
const CAROL: &str = "carol@example.com";

use Audience::{Admin, Anonymous, SignedIn};

/// A page, for whom it is, and the statuses that a member and an admin get. An anonymous visitor of a page that is not for
/// them gets 303 to the sign-in page.
const PAGES: [(&str, Audience, u16, u16); 24] = [
    ("/", SignedIn, 200, 200),
    // They have signed in.
    ("/sign-in", Anonymous, 303, 303),
    // Not configured.
    ("/sign-in/oidc", Anonymous, 404, 404),
    ("/sign-in/oidc/callback", Anonymous, 404, 404),
    // Without its code.
    ("/welcome", Anonymous, 410, 410),
    ("/account", SignedIn, 200, 200),
    ("/api_tokens", SignedIn, 200, 200),
    ("/api_tokens/new", SignedIn, 200, 200),
    ("/api_tokens/{uid}", SignedIn, 200, 200),
    ("/api_tokens/{uid}/edit", SignedIn, 200, 200),
    ("/api_tokens/{uid}/rotate", SignedIn, 200, 200),
    ("/api_tokens/{uid}/delete", SignedIn, 200, 200),
    ("/deployments", SignedIn, 200, 200),
    ("/deployments/new", Admin, 403, 200),
    ("/deployments/{name}", SignedIn, 200, 200),
    ("/deployments/{name}/edit", Admin, 403, 200),
    ("/deployments/{name}/remove", Admin, 403, 200),
    // Without its nonce.
    ("/open", SignedIn, 400, 400),
    ("/users", Admin, 403, 200),
    ("/explain", SignedIn, 200, 200),
    ("/usage", SignedIn, 200, 200),
    ("/activity", SignedIn, 200, 200),
    ("/activity/verify", Admin, 403, 200),
    // A page that is not there.
    ("/nowhere", Anonymous, 404, 404),
];

/// A form, for whom it is, and the statuses that a member and an admin get who send it with its token and no other field.
/// In this order the later ones find what they need. An anonymous visitor of one that is not for them gets 401.
const FORMS: [(&str, Audience, u16, u16); 22] = [
    ("/sign-in", Anonymous, 401, 401),
    ("/welcome", Anonymous, 410, 410),
    // Without the link that leads back.
    ("/open/token", Anonymous, 400, 400),
    ("/account/password", SignedIn, 400, 400),
    ("/api_tokens", SignedIn, 400, 400),
    // Without its code.
    ("/api_tokens/approve", SignedIn, 409, 409),
    ("/api_tokens/{uid}", SignedIn, 400, 400),
    ("/api_tokens/{uid}/rotate", SignedIn, 400, 400),
    ("/api_tokens/{uid}/delete", SignedIn, 200, 200),
    ("/deployments", Admin, 403, 400),
    ("/deployments/{name}", Admin, 403, 400),
    ("/deployments/{name}/terminate", Admin, 403, 200),
    ("/deployments/{name}/start", Admin, 403, 200),
    ("/deployments/{name}/remove", Admin, 403, 200),
    // Without a URL.
    ("/explain", SignedIn, 400, 400),
    ("/users", Admin, 403, 400),
    ("/users/{id}/role", Admin, 403, 200),
    ("/users/{id}/link", Admin, 403, 200),
    ("/users/{id}/disable", Admin, 403, 200),
    ("/users/{id}/enable", Admin, 403, 200),
    ("/account/sign-out-everywhere", SignedIn, 303, 303),
    ("/sign-out", SignedIn, 303, 303),
];

/// A gateway with a Deployment of the store, a member's token, and somebody to do things to.
struct Scene {
    gateway: Gateway,
    uid: String,
    carol: String,
}

impl Scene {
    fn new() -> Self {
        let gateway = Gateway::start(&deployment("declared", free_address(), ""));
        gateway.cli(&["deployment", "add", "stored", "--upstream", &format!("http://{}", free_address())]);
        create_user(&gateway, ADA, true);
        create_user(&gateway, BOB, false);
        create_user(&gateway, CAROL, false);
        let uid = gateway.new_token(&["deployment:*"], &["--owner", BOB]).uid;
        let users = gateway.cli(&["user", "list"]);
        let carol = users.as_array().unwrap().iter().find(|user| user["email"] == CAROL).unwrap();
        let carol = carol["id"].as_str().unwrap().to_owned();
        Self { gateway, uid, carol }
    }

    fn path(&self, pattern: &str) -> String {
        pattern.replace("{uid}", &self.uid).replace("{name}", "stored").replace("{id}", &self.carol)
    }

    /// Signed in, and what the forms for that session carry.
    fn signed_in(&self, email: &str) -> (Browser, String) {
        let mut browser = Browser::new(self.gateway.management);
        let answer = browser.sign_in(email, PASSWORD);
        assert_eq!(answer.status, 303, "{email}: {}", answer.text());
        let token = csrf(&browser.get("/account"));
        (browser, token)
    }

    /// All that a form could change.
    fn state(&self) -> [String; 3] {
        [&["token", "list"][..], &["deployment", "list"], &["user", "list"]]
            .map(|arguments| self.gateway.cli(arguments).to_string())
    }
}

/// Whether visitors of `rank` may see what is for `audience`.
fn admits(audience: Audience, rank: Audience) -> bool {
    match audience {
        Anonymous => true,
        SignedIn => rank != Anonymous,
        Admin => rank == Admin,
    }
}

#[test]
fn the_tables_here_are_the_console_s_own() {
    let served = console_pages().into_iter().map(|page| format!("{} {} {:?}", page.method, page.path, page.audience));
    let pages = PAGES.iter().filter(|row| row.0 != "/nowhere").map(|row| format!("GET {} {:?}", row.0, row.1));
    let forms = FORMS.iter().map(|row| format!("POST {} {:?}", row.0, row.1));
    assert_eq!(served.collect::<BTreeSet<_>>(), pages.chain(forms).collect());
}

#[test]
fn every_page_is_for_those_whom_the_table_names() {
    let scene = Scene::new();
    let (mut ada, _) = scene.signed_in(ADA);
    let (mut bob, _) = scene.signed_in(BOB);
    let mut guest = Browser::new(scene.gateway.management);
    for (pattern, audience, member, admin) in PAGES {
        let path = scene.path(pattern);
        assert_eq!(bob.get(&path).status, member, "a member at {pattern}");
        assert_eq!(ada.get(&path).status, admin, "an admin at {pattern}");
        let answer = guest.get(&path);
        if admits(audience, Anonymous) {
            assert!(!answer.header("location").unwrap_or_default().starts_with("/sign-in?"), "{pattern}");
        } else {
            assert_eq!(answer.status, 303, "an anonymous visitor at {pattern}");
            let wanted = serde_urlencoded::to_string([("next", &path)]).unwrap();
            assert_eq!(answer.header("location"), Some(&*format!("/sign-in?{wanted}")), "{pattern}");
        }
    }
    // What is not in the table is not there: a page takes no form, a form shows no page.
    let methods = |path: &str| (PAGES.iter().any(|row| row.0 == path), FORMS.iter().any(|row| row.0 == path));
    for path in PAGES.iter().chain(&FORMS).map(|row| row.0).filter(|path| *path != "/nowhere") {
        let (is_page, is_form) = methods(path);
        if !is_page {
            assert_eq!(ada.get(&scene.path(path)).status, 405, "{path}");
        }
        if !is_form {
            assert_eq!(ada.post(&scene.path(path), &[]).status, 405, "{path}");
        }
    }
}

#[test]
fn no_form_changes_anything_without_its_token() {
    let scene = Scene::new();
    let (mut ada, ada_token) = scene.signed_in(ADA);
    let (mut bob, bob_token) = scene.signed_in(BOB);
    let mut guest = Browser::new(scene.gateway.management);
    let guest_token = csrf(&guest.get("/sign-in"));
    let before = scene.state();
    for (pattern, audience, ..) in FORMS {
        let path = scene.path(pattern);
        // Without one, with somebody else's, with one that is none.
        for token in ["", "0", &"0".repeat(64), &ada_token] {
            let expected = if admits(audience, Anonymous) { 403 } else { 401 };
            assert_eq!(guest.post(&path, &[("csrf", token)]).status, expected, "an anonymous visitor at {pattern}");
            assert_eq!(bob.post(&path, &[("csrf", token)]).status, 403, "a member at {pattern}");
        }
        for token in ["", "0", &"0".repeat(64), &bob_token, &guest_token] {
            assert_eq!(ada.post(&path, &[("csrf", token)]).status, 403, "an admin at {pattern}");
        }
        assert_eq!(ada.post(&path, &[]).status, 403, "{pattern}");
        // The right one, from a page of another site.
        for head in [&["origin: http://evil.test"][..], &["sec-fetch-site: same-site"], &[]] {
            assert_eq!(ada.post_from(head, &path, &[("csrf", &ada_token)]).status, 403, "{head:?} {pattern}");
        }
    }
    assert_eq!(scene.state(), before);
    assert_eq!((ada.get("/account").status, bob.get("/account").status), (200, 200), "the sessions live");
}

#[test]
fn every_form_is_for_those_whom_the_table_names() {
    let mut scene = Scene::new();
    for (email, rank) in [(BOB, SignedIn), (ADA, Admin)] {
        scene.uid = scene.gateway.new_token(&["deployment:*"], &["--owner", email]).uid;
        // The forms for anonymous visitors are tied to the browser, not to the session.
        let mut browser = Browser::new(scene.gateway.management);
        let anonymous_token = csrf(&browser.get("/sign-in"));
        assert_eq!(browser.sign_in(email, PASSWORD).status, 303);
        let mut token = csrf(&browser.get("/account"));
        for (pattern, audience, member, admin) in FORMS {
            let path = scene.path(pattern);
            let expected = if rank == Admin { admin } else { member };
            let sent = if audience == Anonymous { &anonymous_token } else { &token };
            let answer = browser.post(&path, &[("csrf", sent)]);
            assert_eq!(answer.status, expected, "{email} at {pattern}: {}", answer.text());
            assert_eq!(answer.status == 403, !admits(audience, rank), "{email} at {pattern}");
            if pattern == "/account/sign-out-everywhere" {
                assert_eq!(browser.post(&path, &[("csrf", &token)]).status, 401, "the session has ended");
                (browser, token) = scene.signed_in(email);
            }
        }
        assert_eq!(browser.get("/account").status, 303, "signed out");
    }
}
