//! Pages of other origins: what the gateway says to them itself, and in place of the service.

use crate::{
    browser_session::ProtectedSite,
    harness::{
        console::Browser,
        gateway::{Gateway, deployment},
        upstream::{Upstream, response},
    },
};

#[test]
fn preflights_are_answered_for_configured_origins() {
    let site = ProtectedSite::new();
    let app = "origin: https://app.test";
    let asks = ["access-control-request-method: POST", "access-control-request-headers: authorization,content-type"];
    let preflight =
        |host: &str, origin: &str| site.browser(host).ask("OPTIONS", "/summarize", &[origin, asks[0], asks[1]], "");
    for host in ["b.test", "open.test"] {
        let allowed = preflight(host, app);
        assert_eq!(allowed.status, 204, "{host}");
        assert_eq!(allowed.header("access-control-allow-origin"), Some("https://app.test"));
        assert_eq!(allowed.header("access-control-allow-headers"), Some("authorization,content-type"));
        assert!(allowed.header("access-control-allow-methods").unwrap().contains("POST"));
        assert_eq!(allowed.header("access-control-allow-credentials"), None);
        assert_eq!(allowed.header("vary"), Some("origin"));
    }
    assert_eq!(site.upstream.requests().len(), 0);
    let other = preflight("b.test", "origin: https://evil.test");
    assert_eq!((other.status, other.header("access-control-allow-origin")), (401, None));
    let not_configured = preflight("a.test", app);
    assert_eq!((not_configured.status, not_configured.header("access-control-allow-origin")), (401, None));

    // Our own refusals can be read, and so can what the service says.
    let mut browser = site.browser("b.test");
    let refused = browser.ask("POST", "/summarize", &[app, "authorization: Bearer bgw_wrong"], "");
    assert_eq!((refused.status, refused.header("access-control-allow-origin")), (401, Some("https://app.test")));
    assert_eq!(refused.header("access-control-expose-headers"), Some("*"));
    let narrow = site.gateway.token(&["deployment:a"]);
    let forbidden = browser.ask("POST", "/x", &[app, &format!("authorization: Bearer {}", narrow.text)], "");
    assert_eq!((forbidden.status, forbidden.header("access-control-allow-origin")), (403, Some("https://app.test")));
    let bearer = format!("authorization: Bearer {}", site.token.text);
    let answered = browser.ask("POST", "/x", &[app, &bearer], "");
    assert_eq!((answered.status, answered.header("access-control-allow-origin")), (200, Some("https://app.test")));
    let unasked = browser.ask("POST", "/x", &[&bearer], "");
    assert_eq!((unasked.status, unasked.header("access-control-allow-origin")), (200, None));
    assert_eq!(unasked.header("vary"), Some("origin"));
}

#[test]
fn the_gateways_word_on_other_origins_replaces_the_services() {
    let upstream = Upstream::answering(|_| {
        response(
            200,
            &["access-control-allow-origin: *", "access-control-allow-credentials: true", "vary: accept"],
            b"",
        )
    });
    let config = format!(
        "{}{}",
        deployment("a", upstream.address, "cors_origins = [\"https://app.test\"]"),
        deployment("b", upstream.address, "")
    );
    let gateway = Gateway::start(&config);
    let token = gateway.token(&["deployment:*"]);
    let bearer = format!("authorization: Bearer {}", token.text);
    let ask = |host: &str, origin: &str| {
        let mut browser = Browser::new(gateway.proxy);
        browser.host = host.to_owned();
        let answer = browser.ask("GET", "/", &[&bearer, &format!("origin: {origin}")], "");
        ["access-control-allow-origin", "access-control-allow-credentials"]
            .map(|name| answer.header(name).map(str::to_owned))
    };
    assert_eq!(ask("a.test", "https://app.test"), [Some("https://app.test".to_owned()), None]);
    assert_eq!(ask("a.test", "https://evil.test"), [None, None]);
    assert_eq!(ask("b.test", "https://evil.test"), [Some("*".to_owned()), Some("true".to_owned())]);
}
