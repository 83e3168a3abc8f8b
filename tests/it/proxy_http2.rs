//! HTTP/2 from callers, in clear text: the same decision, and streams that do not wait for each other.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;

use crate::harness::{
    Gate, SOON,
    gateway::{Gateway, deployment},
    http::ReadEnd,
    http2::{clear_text, no_body, plain, run, send, whole},
    pair::HOST,
    upstream::{CHUNKED, Upstream, response},
};

/// The connection on which this is awaited goes on meanwhile.
async fn one_is_closed(upstream: &Upstream) {
    let closed = async {
        while upstream.closed() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, closed).await.expect("the upstream was left");
}

/// The stable code of an answer of the gateway's own.
async fn code(answer: Response<Incoming>) -> (u16, String) {
    let status = answer.status().as_u16();
    let json: serde_json::Value = serde_json::from_slice(&whole(answer).await).unwrap();
    (status, json["code"].as_str().unwrap().to_owned())
}

#[test]
fn http_2_by_prior_knowledge_becomes_http_1_1_for_the_service() {
    let upstream = Upstream::answering(|_| response(200, &["connection: keep-alive", "x-a: 1"], b"hello"));
    let gateway = Gateway::start(&deployment("a", upstream.address, ""));
    let token = gateway.token(&["deployment:a"]);
    run(async {
        let mut connection = clear_text(&gateway).await;
        let request = plain("/x?y=1", &token.text)
            .header("cookie", "a=1")
            .header("cookie", "b=2")
            .header("te", "trailers")
            .header("x-forwarded-for", "spoof")
            .header("x_forwarded_for", "spoof");
        let answer = send(&mut connection, request.body(no_body())).await;
        assert_eq!((answer.status(), answer.version()), (StatusCode::OK, Version::HTTP_2));
        assert_eq!((answer.headers().get("connection"), &answer.headers()["x-a"]), (None, &"1".parse().unwrap()));
        assert_eq!(whole(answer).await, "hello");

        let posted =
            Request::post(format!("http://{HOST}/post")).header("authorization", format!("Bearer {}", token.text));
        let answer = send(&mut connection, posted.body(Full::from("abc"))).await;
        assert_eq!(whole(answer).await, "hello");
    });
    let requests = upstream.requests();
    let expected = format!(
        "GET /x?y=1 HTTP/1.1\r\nhost: {HOST}\r\ncookie: a=1; b=2\r\nte: trailers\r\nx-request-id: {}\r\n\
         x-forwarded-for: 127.0.0.1\r\nx-forwarded-proto: http\r\nx-forwarded-host: {HOST}\r\n\
         x-bento-gateway-deployment: a\r\nx-bento-gateway-token-uid: {}\r\n\r\n",
        requests[0].header("x-request-id").unwrap(),
        token.uid
    );
    assert_eq!(requests[0].head, expected);
    assert_eq!((requests[1].body.as_slice(), requests[1].header("content-length")), (b"abc".as_slice(), Some("3")));
}

#[test]
fn the_decision_is_the_same_in_http_2() {
    let (mine, other) = (Upstream::named("mine"), Upstream::named("other"));
    let config = format!(
        "[proxy]\nbase_domain = \"base.test\"\n{}{}",
        deployment("a", mine.address, ""),
        deployment("b", other.address, "")
    );
    let gateway = Gateway::start(&config);
    let token = gateway.token(&["deployment:a"]).text;
    let bearer = format!("Bearer {token}");
    let authority = |authority: &str| Request::get(format!("http://{authority}/")).header("authorization", &bearer);
    let cases = [
        (Request::get(format!("http://{HOST}/")), 401, "credential_missing"),
        (plain("/", &token).header("authorization", &bearer), 400, "credential_repeated"),
        (plain("/", "bgw_nonsense"), 401, "token_malformed"),
        (authority("b.test"), 403, "insufficient_scope"),
        (authority("B.Base.Test."), 403, "insufficient_scope"),
        (authority("user@a.test"), 400, "bad_host"),
        (authority("user:pass@a.test"), 400, "bad_host"),
        (plain("/", &token).header("host", "b.test"), 400, "bad_host"),
        (plain("/", &token).header("host", "a.test").header("host", "a.test"), 400, "bad_host"),
        (plain("/a/%2e%2e/b", &token), 400, "bad_path"),
        (plain("/", &token).header("content-type", "application/pickle"), 415, "pickle_refused"),
        (plain("/", &token).method("TRACE"), 405, "method_not_allowed"),
    ];
    run(async {
        let mut connection = clear_text(&gateway).await;
        for (request, status, expected) in cases {
            let request = request.body(no_body());
            let what = format!("{request:?}");
            assert_eq!(code(send(&mut connection, request).await).await, (status, expected.to_owned()), "{what}");
        }
        // A Host beside the authority may say the same.
        let answer = send(&mut connection, plain("/", &token).header("host", "A.test").body(no_body())).await;
        assert_eq!(whole(answer).await, "mine");
    });
    assert_eq!((mine.requests().len(), other.connections()), (1, 0));
}

#[test]
fn many_streams_on_one_connection_do_not_wait_for_each_other() {
    let gate = Gate::default();
    let slow = gate.clone();
    let upstream = Upstream::start(move |peer| {
        while let Some(request) = peer.request() {
            if request.target == "/slow" {
                slow.pass();
            }
            peer.send(response(200, &[], request.target.as_bytes()));
        }
    });
    let gateway = Gateway::start(&deployment("a", upstream.address, ""));
    let token = gateway.token(&["deployment:a"]).text;
    run(async {
        let mut connection = clear_text(&gateway).await;
        let mut second = connection.clone();
        let slow = tokio::spawn(connection.send_request(plain("/slow", &token).body(no_body()).unwrap()));
        for n in 0..20 {
            let path = format!("/{n}");
            assert_eq!(whole(send(&mut second, plain(&path, &token).body(no_body())).await).await, path);
        }
        gate.open();
        assert_eq!(whole(slow.await.unwrap().unwrap()).await, "/slow");
    });
}

#[test]
fn streams_of_http_2_flow_end_with_trailers_and_are_cut() {
    let upstream = Upstream::start(|peer| {
        while let Some(request) = peer.request() {
            peer.send(CHUNKED);
            peer.send_chunk("abc");
            match request.target.as_str() {
                "/trailers" => peer.send("0\r\nx-sum: 7\r\n\r\n"),
                _ => {
                    std::thread::sleep(Duration::from_millis(50));
                    peer.close();
                }
            }
        }
    });
    let gateway = Gateway::start(&deployment("a", upstream.address, ""));
    let token = gateway.token(&["deployment:a"]).text;
    run(async {
        let mut connection = clear_text(&gateway).await;
        let answer = send(&mut connection, plain("/trailers", &token).body(no_body())).await;
        assert_eq!(answer.headers().get("transfer-encoding"), None);
        let collected = answer.into_body().collect().await.unwrap();
        assert_eq!(collected.trailers().unwrap()["x-sum"], "7");
        assert_eq!(collected.to_bytes(), "abc");

        let answer = send(&mut connection, plain("/cut", &token).body(no_body())).await;
        assert!(answer.into_body().collect().await.is_err(), "a cut looks like an end");
        // The connection is not to blame.
        assert_eq!(send(&mut connection, plain("/trailers", &token).body(no_body())).await.status(), 200);
    });
}

#[test]
fn a_reset_stream_leaves_the_upstream_at_once_and_the_others_alone() {
    let gate = Gate::default();
    let kept = gate.clone();
    let upstream = Upstream::start(move |peer| {
        let Some(request) = peer.request() else { return };
        peer.send(CHUNKED);
        peer.send_chunk("first");
        if request.target == "/kept" {
            kept.pass();
            peer.send_chunk("second");
            peer.send("0\r\n\r\n");
        }
        peer.await_close();
    });
    let gateway = Gateway::start(&deployment("a", upstream.address, ""));
    let token = gateway.token(&["deployment:a"]).text;
    run(async {
        let mut connection = clear_text(&gateway).await;
        let kept = send(&mut connection, plain("/kept", &token).body(no_body())).await;
        let mut left = send(&mut connection, plain("/left", &token).body(no_body())).await;
        assert_eq!(left.body_mut().frame().await.unwrap().unwrap().into_data().unwrap(), "first");
        drop(left);
        one_is_closed(&upstream).await;
        gate.open();
        assert_eq!(whole(kept).await, "firstsecond");
    });
    assert_eq!(gateway.access_line("/left")["end"], "caller_left");
    assert_eq!(gateway.access_line("/kept")["end"], "complete");
}

/// Flow control holds in both directions for more than any window.
#[test]
fn large_bodies_by_http_2() {
    let upstream = Upstream::answering(|request| response(200, &[], &request.body));
    let gateway = Gateway::start(&deployment("a", upstream.address, ""));
    let token = gateway.token(&["deployment:a"]).text;
    let data: Bytes = (0..8 << 20).map(|at: u32| (at / 7) as u8).collect::<Vec<_>>().into();
    run(async {
        let mut connection = clear_text(&gateway).await;
        let request = plain("/", &token).method("POST").body(Full::from(data.clone()));
        assert!(whole(send(&mut connection, request).await).await == data);
        // Refused while it is sent: the answer is readable, and the connection goes on.
        let request = Request::post(format!("http://{HOST}/")).body(Full::from(data.clone()));
        assert_eq!(code(send(&mut connection, request).await).await, (401, "credential_missing".to_owned()));
        let answer = send(&mut connection, plain("/", &token).body(no_body())).await;
        assert_eq!(answer.status(), 200);
    });
    assert_eq!(upstream.requests().len(), 2);
}

#[test]
fn a_slow_reader_of_http_2_does_not_fill_the_memory() {
    let upstream = Upstream::start(|peer| {
        if peer.request().is_none() {
            return;
        }
        peer.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", 64 << 20));
        for _ in 0..1024 {
            if peer.try_send(vec![b'x'; 64 * 1024]).is_err() {
                return;
            }
        }
    });
    let gateway = Gateway::start(&deployment("a", upstream.address, ""));
    let token = gateway.token(&["deployment:a"]).text;
    let before = gateway.memory("VmHWM");
    run(async {
        let mut connection = clear_text(&gateway).await;
        let answer = send(&mut connection, plain("/", &token).body(no_body())).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        let mut body = answer.into_body();
        let mut total = 0;
        while let Some(frame) = body.frame().await {
            total += frame.unwrap().into_data().unwrap().len();
        }
        assert_eq!(total, 64 << 20);
    });
    let growth = gateway.memory("VmHWM").saturating_sub(before);
    assert!(growth < 16 << 20, "grew by {growth} bytes");
}

/// One stream that nobody reads ends with its token; the others of its connection go on.
#[test]
fn a_revoked_token_ends_a_stream_that_nobody_reads_and_no_other() {
    let gate = Gate::default();
    let kept_stream = gate.clone();
    let upstream = Upstream::start(move |peer| {
        let Some(request) = peer.request() else { return };
        peer.send(CHUNKED);
        if request.target == "/flood" {
            while peer.try_send(format!("10000\r\n{}\r\n", "x".repeat(65536))).is_ok() {}
        } else {
            peer.send_chunk("before ");
            kept_stream.pass();
            peer.send_chunk("and after");
            peer.send("0\r\n\r\n");
        }
        peer.await_close();
    });
    let gateway = Gateway::start(&deployment("a", upstream.address, ""));
    let (revoked, kept) = (gateway.token(&["deployment:a"]), gateway.token(&["deployment:a"]));
    run(async {
        let mut connection = clear_text(&gateway).await;
        let unread = send(&mut connection, plain("/flood", &revoked.text).body(no_body())).await;
        let read = send(&mut connection, plain("/kept", &kept.text).body(no_body())).await;
        let reading = tokio::spawn(whole(read));
        tokio::time::sleep(Duration::from_millis(500)).await;
        gateway.revoke(&revoked);
        one_is_closed(&upstream).await;
        gate.open();
        assert_eq!(reading.await.unwrap(), "before and after");
        assert!(unread.into_body().collect().await.is_err(), "a cut looks like an end");
    });
    assert_eq!(gateway.access_line("/flood")["end"], "token_ended");
}

#[test]
fn http_2_can_be_switched_off() {
    let upstream = Upstream::named("a");
    let gateway =
        Gateway::start(&format!("[proxy]\nhttp2 = false\n{}", deployment("a", upstream.address, "protected = false")));
    let mut caller = gateway.connect();
    caller.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    let (bytes, stop) = caller.rest();
    assert_ne!(stop, ReadEnd::TimedOut);
    assert!(bytes.is_empty() || bytes.starts_with(b"HTTP/1.1 400"), "{}", String::from_utf8_lossy(&bytes));
    assert_eq!(gateway.ask("GET / HTTP/1.1\r\nhost: a.test\r\n\r\n").status, 200);
    assert_eq!(upstream.requests().len(), 1);
}

/// hyper counts fields on HTTP/1 only, and the library refuses what is too large without a word to anybody.
#[test]
fn the_limits_of_the_header_hold_and_are_logged() {
    let upstream = Upstream::named("a");
    let limits = "[proxy.limits]\nmax_header_bytes = \"8 KiB\"\nmax_headers = 20\nmax_uri_bytes = \"4 KiB\"";
    let gateway = Gateway::start(&format!("{limits}\n{}", deployment("a", upstream.address, "protected = false")));
    run(async {
        let mut connection = clear_text(&gateway).await;
        let many = (0..21).fold(Request::get(format!("http://{HOST}/many")), |request, _| request.header("x-a", "1"));
        let large =
            Request::get(format!("http://{HOST}/large")).header("x-a", "x".repeat(8000)).header("x-b", "x".repeat(300));
        // Beyond that the library answers.
        for length in [5 << 10, 15 << 10] {
            let long = Request::get(format!("http://{HOST}/{}", "x".repeat(length)));
            let answer = send(&mut connection, long.body(no_body())).await;
            assert_eq!(code(answer).await, (414, "uri_too_long".to_owned()), "{length}");
        }
        for request in [many, large] {
            let answer = send(&mut connection, request.body(no_body())).await;
            assert_eq!(code(answer).await, (431, "header_too_large".to_owned()));
        }
        // Cookies are one field, in however many they come.
        let cookies = (0..40).fold(Request::get(format!("http://{HOST}/cookies")), |request, n| {
            request.header("cookie", format!("c{n}=1"))
        });
        let answer = send(&mut connection, cookies.body(no_body())).await;
        assert_eq!(answer.status(), StatusCode::OK);
    });
    for path in ["/many", "/large"] {
        assert_eq!(gateway.access_line(path)["reason"], "header_too_large");
    }
    assert_eq!(upstream.only_request().target, "/cookies");
}
