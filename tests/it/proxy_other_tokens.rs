//! A token of ours that stands where none is read never reaches the service; and which fields pass as the operator says.

use crate::harness::{
    SOON,
    gateway::{Setup, deployment},
    http::request,
    pair::{HOST, Pair},
    token_text,
    upstream::Upstream,
    wait_until,
};

#[test]
fn a_token_in_another_field_stays_here() {
    for settings in ["", "protected = false", "forward_authorization = true"] {
        let pair = Pair::new(Upstream::named("a"), settings);
        let (own, other, session) = (&pair.token.text, token_text::unknown_token(), token_text::session(3));
        let fields = [
            format!("x-api-key: {own}"),
            format!("api-key: {other}"),
            format!("openai-api-key: Bearer {own}"),
            format!("proxy-authorization: Bearer {own}"),
            format!("x-goog-api-key: {own}"),
            format!("referer: http://a.test/?token={own}"),
            format!("x-note: before{session}after"),
            format!("cookie: theme=dark; token={own}; lang=de; other={other}"),
            format!("sec-websocket-protocol: chat, x.{own}"),
            "x-key: sk-another-key-of-the-services-own-that-is-at-least-as-long-as-a-token-of-ours".to_owned(),
            format!("x-broken: {}", &own[..own.len() - 1]),
            "transfer-encoding: chunked".to_owned(),
        ];
        let body = format!("3\r\nabc\r\n0\r\nx-sum: 1\r\nx-key: {own}\r\n\r\n");
        let lines: Vec<&str> = fields.iter().map(String::as_str).collect();
        let answer = pair.gateway.connect().ask(request("POST", "/x", HOST, own, &lines, body.as_bytes()));
        assert_eq!(answer.status, 200, "{settings}: {}", answer.text());

        let seen = pair.upstream.only_request();
        let forwarded = seen.all("authorization").len();
        assert_eq!(forwarded, usize::from(settings.starts_with("forward")));
        assert_eq!(seen.head.matches(own.as_str()).count(), forwarded, "{}", seen.head);
        assert!(!seen.head.contains(&other) && !seen.head.contains(&session), "{}", seen.head);
        assert_eq!(seen.header("cookie"), Some("theme=dark; lang=de"));
        assert!(seen.header("x-key").unwrap().starts_with("sk-"));
        // Without its last character it is no token.
        assert!(seen.header("x-broken").is_some());
        assert_eq!(seen.trailers, ["x-sum: 1"]);
    }
}

#[test]
fn a_token_in_the_target_is_refused_and_one_in_the_body_does_not_count() {
    let upstream = Upstream::named("a");
    let public = deployment("open", upstream.address, "protected = false");
    let gateway = Setup::new(&format!("{}{public}", deployment("a", upstream.address, ""))).start();
    let token = gateway.token(&["deployment:*"]).text;
    let credential = format!("authorization: Bearer {token}\r\n");
    for target in [
        format!("/?access_token={token}"),
        format!("/?token={token}"),
        format!("/?api_key={}", token_text::unknown_token()),
        format!("/?Authorization=Bearer%20{token}"),
        format!("/{token}"),
        format!("/?k={}", token.replace('_', "%5F")),
        format!("/x/{}", token.replacen('_', "%5f", 1)),
        format!("/x/{}/y", token.replace('b', "%62")),
    ] {
        for (host, credential) in
            ["a.test", "open.test", "nowhere.test"].iter().flat_map(|host| [(host, ""), (host, credential.as_str())])
        {
            let answer = gateway.ask(&format!("GET {target} HTTP/1.1\r\nhost: {host}\r\n{credential}\r\n"));
            assert_eq!((answer.status, answer.code().as_str()), (400, "token_in_target"), "{target} at {host}");
            assert!(answer.text().contains("Authorization: Bearer TOKEN"), "{}", answer.text());
        }
    }
    // Twice encoded it is no token to a service that decodes once.
    let twice = token.replace('_', "%255F");
    let answer = gateway.ask(&format!("GET /{twice} HTTP/1.1\r\nhost: {HOST}\r\n\r\n"));
    assert_eq!((answer.status, answer.code().as_str()), (401, "credential_missing"));
    let logged = |path: &str| gateway.access_lines().iter().any(|line| line["path"] == path);
    for path in ["/bgw_[redacted]", "/x/bgw_[redacted]", "/x/bgw_[redacted]/y"] {
        wait_until("it is logged without the token", SOON, || logged(path));
    }
    assert_eq!(gateway.access_lines().iter().filter(|line| line.to_string().contains(&token[10..])).count(), 0);
    let form = format!("access_token={token}");
    let answer = gateway.ask(&format!(
        "POST / HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
        form.len()
    ));
    assert_eq!((answer.status, answer.code().as_str()), (401, "credential_missing"));
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn the_operator_adds_fields_and_lets_fields_through() {
    let upstream = Upstream::named("a");
    let section = |allowed: &str| {
        format!(
            "[proxy.identity_fields]\ndrop = [\"X-Corp-*\"]\nallow = [\"{allowed}\", \"X-Corp-Public\"]\n{}",
            deployment("a", upstream.address, "")
        )
    };
    let gateway = Setup::new(&section("X-User-Id")).start();
    let token = gateway.token(&["deployment:a"]).text;
    let fields = ["X-Corp-User: ada", "X-Corp-Public: 1", "x-user-id: 7", "Remote-User: eve", "x-free: 2"];
    let chunked = [&fields[..], &["transfer-encoding: chunked"]].concat();
    let body = b"0\r\nX-Corp-User: ada\r\nX-User-Id: 7\r\nx-free: 2\r\n\r\n";
    assert_eq!(gateway.connect().ask(request("POST", "/x", HOST, &token, &chunked, body)).status, 200);
    let seen = upstream.only_request();
    let values = ["x-corp-user", "x-corp-public", "x-user-id", "remote-user", "x-free"].map(|name| seen.header(name));
    assert_eq!(values, [None, Some("1"), Some("7"), None, Some("2")]);
    assert_eq!(seen.trailers, ["x-user-id: 7", "x-free: 2"]);

    // Nobody takes away what is dropped or is to arrive.
    for name in ["x-corp-user", "x-user-id"] {
        let named = format!("connection: {name}");
        let answer = gateway.connect().ask(request("GET", "/x", HOST, &token, &[&named], b""));
        assert_eq!((answer.status, answer.code().as_str()), (400, "bad_connection"), "{name}");
    }

    // A reload takes it over.
    gateway.write_config(&section("Remote-User"));
    wait_until("the other field arrives", SOON, || {
        assert_eq!(gateway.connect().ask(request("GET", "/x", HOST, &token, &fields, b"")).status, 200);
        let requests = upstream.requests();
        let seen = requests.last().unwrap();
        seen.header("remote-user") == Some("eve") && seen.header("x-user-id").is_none()
    });
}
