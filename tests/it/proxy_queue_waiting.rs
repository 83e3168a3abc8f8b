//! Who waits for a slot is decided about when their turn has come, is there, and is kept waiting by nobody who is slow or who
//! has filled the queue.

use std::{thread::sleep, time::Duration};

use serde_json::json;

use crate::{
    harness::{
        SOON, api,
        gateway::Gateway,
        http::{Client, ReadEnd, get, request},
        pair::{HOST, Pair},
        upstream::{Upstream, response},
        wait_until,
    },
    proxy_queue::{A_WHILE, holding, service, waiting},
};

/// A request that waits is decided about when its turn has come, and not when it came.
#[test]
fn what_was_changed_while_a_request_waited_holds_for_it() {
    let other = Upstream::named("other");
    let url = |upstream: &Upstream| json!([format!("http://{}", upstream.address)]);
    let settings = |more: serde_json::Value| {
        let mut settings = json!({ "max_in_flight": 1 });
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "settings": settings })
    };
    for (change, of_anybody, expected) in [
        (json!({ "upstreams": url(&other) }), false, "200 other"),
        (json!({ "protected": true }), true, "401 credential_missing"),
        (settings(json!({ "max_body_bytes": 1 })), false, "413 body_too_large"),
        (settings(json!({ "max_in_flight": null })), false, "200 done"),
        (json!("terminate"), false, "503 deployment_terminated"),
        (json!("delete"), false, "404 deployment_not_found"),
    ] {
        let (upstream, _) = service(Duration::ZERO);
        let gateway = Gateway::start("");
        let admin = gateway.token(&["api"]).text;
        let new = json!({
            "name": "a", "upstreams": url(&upstream), "hosts": [HOST], "protected": !of_anybody,
            "settings": { "max_in_flight": 1 }
        });
        let (status, made) = api::post(&gateway, &admin, "/api/v2/deployments", new);
        assert_eq!(status, 200, "{made}");
        let token = gateway.token(&["deployment:*"]);
        let ask = |path: &str, body: &[u8]| {
            let mut client = gateway.connect();
            let credential = format!("authorization: Bearer {}\r\n", token.text);
            let credential = if of_anybody { "" } else { &credential };
            let length = body.len();
            client
                .send(format!("POST {path} HTTP/1.1\r\nhost: {HOST}\r\n{credential}content-length: {length}\r\n\r\n"));
            client.send(body);
            client
        };
        let holding = ask("/hold", b"");
        upstream.await_requests(1);
        let mut waits = ask("/waits", if of_anybody { b"" } else { b"body" });
        waits.read_timeout(A_WHILE);
        assert_eq!(waits.try_head().map(|answer| answer.status), Err(ReadEnd::TimedOut), "it has to wait");
        waits.read_timeout(SOON);
        let (method, path, body) = match change.as_str() {
            Some("terminate") => ("POST", "/api/v2/deployments/a/terminate", None),
            Some(_) => ("DELETE", "/api/v2/deployments/a", None),
            None => ("PATCH", "/api/v2/deployments/a", Some(&change)),
        };
        let (status, answer) = api::ask(&gateway, &admin, method, path, body);
        assert!((200..300).contains(&status), "{change}: {status} {answer}");
        drop(holding);
        let answer = waits.response(false);
        let said = if answer.status == 200 { answer.text().to_owned() } else { answer.code() };
        assert_eq!(format!("{} {said}", answer.status), expected, "{change}");
        let reached = upstream.requests().iter().any(|request| request.target == "/waits");
        assert_eq!(reached, expected == "200 done", "{change}: what the Deployment was before got it");
    }
}

/// A slot is for the service's work: a caller that is slow keeps it from others for half of what they would wait, at most.
#[test]
fn who_keeps_others_waiting_by_being_slow_loses_the_slot() {
    let upstream = Upstream::start(|peer| {
        while let Some(request) = peer.head() {
            peer.note(&request);
            match request.target.as_str() {
                "/slow" => drop(peer.await_close()),
                "/large" => {
                    peer.send("HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n");
                    let _ = peer.try_send(vec![b'x'; 100_000_000]);
                    peer.await_close();
                }
                "/socket" => {
                    peer.send("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
                    peer.await_close();
                }
                "/work" => {
                    sleep(Duration::from_millis(2_500));
                    peer.send(response(200, &[], b"worked"));
                }
                _ => peer.send(response(200, &[], b"done")),
            }
        }
    });
    let pair = Pair::new(upstream, "max_in_flight = 1\nqueue_timeout = \"4s\"");
    let websocket = format!(
        "{}connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
        pair.start("GET /socket HTTP/1.1")
    );
    let slow = request("POST", "/slow", HOST, &pair.token.text, &["content-length: 100"], b"a");
    let large = get(HOST, "/large", &pair.token.text).into_bytes();
    for (what, begins, status) in
        [("body", slow, Some(408)), ("response", large, None), ("tunnel", websocket.into_bytes(), Some(101))]
    {
        let before = pair.upstream.requests().len();
        let mut keeps = pair.gateway.connect();
        keeps.send(begins);
        pair.upstream.await_requests(before + 1);
        if what == "tunnel" {
            assert_eq!(Some(keeps.head().status), status);
        }
        // While nobody waits, it may be as slow as it likes.
        sleep(Duration::from_millis(2_500));
        assert_eq!(pair.get("/next").response(false).status, 200, "{what}");
        match what {
            "body" => {
                let answer = keeps.response(false);
                assert_eq!((Some(answer.status), &*answer.code()), (status, "kept_others_waiting"));
            }
            _ => assert_ne!(keeps.rest().1, ReadEnd::TimedOut, "{what}"),
        }
    }
    // The service's own time is not the caller's.
    let before = pair.upstream.requests().len();
    let mut works = pair.get("/work");
    pair.upstream.await_requests(before + 1);
    assert_eq!(pair.get("/next").response(false).status, 200);
    assert_eq!(works.response(false).text(), "worked");
}

#[test]
fn a_full_queue_is_full_only_for_those_who_fill_it() {
    let (upstream, _) = service(Duration::ZERO);
    let pair = Pair::new(upstream, "max_in_flight = 1\nmax_queue = 4");
    let other = pair.gateway.token(&["deployment:a"]);
    let holding = holding(&pair);
    let mut many: Vec<Client> = (0..4).map(|_| waiting(&pair)).collect();
    assert_eq!(pair.get("/").response(false).code(), "queue_full");
    let begin = || {
        let mut client = pair.gateway.connect();
        client.send(get(HOST, "/other", &other.text));
        client
    };
    let mut few: Vec<Client> = (0..2).map(|_| begin()).collect();
    for last in [3, 2] {
        let refused = many[last].response(false);
        assert_eq!((refused.status, &*refused.code()), (429, "queue_full"));
    }
    assert_eq!(begin().response(false).code(), "queue_full", "each has half");
    drop(holding);
    for served in few.iter_mut().chain(&mut many[..2]) {
        assert_eq!(served.response(false).status, 200);
    }
}

/// What came behind their request hides nobody's leaving: neither one byte nor a whole further request.
#[test]
fn who_has_left_with_bytes_behind_the_request_is_noticed() {
    let (upstream, _) = service(Duration::ZERO);
    let pair = Pair::new(upstream, "max_in_flight = 1\nmax_queue = 1");
    let get = |path: &str| format!("{}\r\n", pair.start(&format!("GET {path} HTTP/1.1")));
    let post = |body: &str| format!("{}content-length: 3\r\n\r\n{body}", pair.start("POST /gone HTTP/1.1"));
    let cases = [
        get("/gone") + "G",
        get("/gone") + &get("/gone"),
        post("abc") + "\r\n",
        post("abc") + &get("/gone"),
        post("a"),
    ];
    // With the service: its connection is closed, too.
    for (closed, sent) in cases.iter().enumerate() {
        for ends in [Client::leave, Client::reset] {
            let mut client = pair.gateway.connect();
            client.send(sent.replace("/gone", "/hold"));
            wait_until("it is at the service", SOON, || pair.upstream.closed() + 1 == pair.upstream.connections());
            ends(client);
            wait_until(&format!("case {closed} is noticed"), SOON, || {
                pair.upstream.closed() == pair.upstream.connections()
            });
        }
    }
    // In the queue.
    let _holding = holding(&pair);
    for sent in &cases {
        for ends in [Client::leave, Client::reset] {
            let mut client = pair.gateway.connect();
            client.send(sent);
            wait_until("it waits", SOON, || pair.get("/").try_response(false).is_ok_and(|answer| answer.status == 429));
            ends(client);
            wait_until(&format!("the place of {sent:?} is free"), SOON, || {
                let mut client = pair.get("/free");
                client.read_timeout(Duration::from_millis(50));
                client.try_head().is_err_and(|end| end == ReadEnd::TimedOut)
            });
        }
    }
    assert!(pair.upstream.requests().iter().all(|request| request.target != "/gone"));
}
