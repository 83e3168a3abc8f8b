//! The first use of a token in a process, which costs Argon2: by many at once, with wrong secrets, and where the hash
//! cannot be checked.

use std::{
    collections::BTreeMap,
    sync::Barrier,
    thread::scope,
    time::{Duration, Instant},
};

use crate::harness::{
    SOON,
    gateway::{Gateway, Setup, deployment},
    http::{Caller, get},
    stores::{Kind, insert_tokens, over_both_stores, with_another_secret},
    upstream::Upstream,
    wait_until,
};

over_both_stores!(many_bring_the_same_new_token, many_new_tokens_come_at_once);

fn many_bring_the_same_new_token(kind: Kind) {
    let upstream = Upstream::named("model");
    let gateway = kind.setup(&deployment("model", upstream.address, "")).start();
    for _ in 0..3 {
        let token = gateway.new_token(&["deployment:*"], &[]);
        // Known, and never shown to this process.
        gateway.token(&["deployment:*"]);
        let answers = all_at_once(&gateway, &vec![token.text.clone(); 64]);
        assert_eq!(answers, BTreeMap::from([((200, String::new()), 64)]));
    }
}

fn many_new_tokens_come_at_once(kind: Kind) {
    let upstream = Upstream::named("model");
    let gateway = kind.setup(&deployment("model", upstream.address, "")).start();
    let texts = insert_tokens(gateway.setting("STORE__URL"), 300);
    gateway.token(&["deployment:*"]);
    let mut answers = all_at_once(&gateway, &texts);
    let fine = answers.remove(&(200, String::new())).unwrap_or(0);
    let overloaded = answers.remove(&(503, "overloaded".to_owned())).unwrap_or(0);
    assert!(answers.is_empty(), "{answers:?}");
    assert_eq!(fine + overloaded, 300);
    assert!(fine > 0);
    for text in &texts {
        assert_eq!(gateway.ask(&get("model.test", "/", text)).status, 200, "later");
    }
}

/// How many got which status and code.
fn all_at_once(gateway: &Gateway, tokens: &[String]) -> BTreeMap<(u16, String), usize> {
    let barrier = Barrier::new(tokens.len());
    let answers: Vec<_> = scope(|scope| {
        let ask = |token: &'_ String| {
            let (barrier, request) = (&barrier, get("model.test", "/", token));
            scope.spawn(move || {
                let mut caller = gateway.connect();
                barrier.wait();
                let answer = caller.ask(request);
                (answer.status, answer.code())
            })
        };
        let threads: Vec<_> = tokens.iter().map(ask).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let mut counted = BTreeMap::new();
    answers.into_iter().for_each(|answer| *counted.entry(answer).or_default() += 1);
    counted
}

#[test]
fn a_wrong_secret_is_refused_before_and_after() {
    let upstream = Upstream::named("model");
    let gateway = Gateway::start(&deployment("model", upstream.address, ""));
    let token = gateway.new_token(&["deployment:*"], &[]);
    gateway.token(&["deployment:*"]);
    let ask = |text: &str| {
        let answer = gateway.ask(&get("model.test", "/", text));
        (answer.status, answer.code())
    };
    let refused = (401, "token_invalid".to_owned());
    for _ in 0..3 {
        assert_eq!(ask(&with_another_secret(&token.text)), refused, "before the first verification");
    }
    assert_eq!(ask(&token.text).0, 200, "the wrong ones did it no harm");
    for _ in 0..3 {
        assert_eq!(ask(&with_another_secret(&token.text)), refused, "after it");
    }
    assert_eq!(ask(&token.text).0, 200);
    // Both at once.
    let token = gateway.new_token(&["deployment:*"], &[]);
    gateway.token(&["deployment:*"]);
    let mixed: Vec<String> =
        (0..40).map(|n| if n % 2 == 0 { token.text.clone() } else { with_another_secret(&token.text) }).collect();
    let answers = all_at_once(&gateway, &mixed);
    assert_eq!(answers, BTreeMap::from([((200, String::new()), 20), (refused, 20)]));
}

/// More than may wait: the rest is told to come back, and those who wait are served.
#[test]
fn those_who_cannot_wait_are_told_to_come_back() {
    let upstream = Upstream::named("model");
    let slow = "[tokens.argon2]\nmemory_kib = 65536\niterations = 20\n";
    let gateway = Gateway::start(&(slow.to_owned() + &deployment("model", upstream.address, "")));
    let known = insert_tokens(gateway.setting("STORE__URL"), 1).remove(0);
    wait_until("it is known", SOON, || gateway.ask(&get("model.test", "/", &known)).status == 200);

    let dear = gateway.new_token(&["deployment:*"], &[]);
    // Changes come in order. This one is cheap to prove.
    let later = insert_tokens(gateway.setting("STORE__URL"), 1).remove(0);
    wait_until("it is known", SOON, || gateway.ask(&get("model.test", "/", &later)).status == 200);
    let callers: Vec<Caller> = (0..1200)
        .map(|_| {
            let mut caller = gateway.connect();
            caller.send(get("model.test", "/", &dear.text));
            caller
        })
        .collect();
    // A proven token does not queue behind them.
    let started = Instant::now();
    assert_eq!(gateway.ask(&get("model.test", "/", &known)).status, 200);
    let known_took = started.elapsed();
    let mut counted: BTreeMap<(u16, String), usize> = BTreeMap::new();
    for mut caller in callers {
        caller.read_timeout(Duration::from_secs(30));
        let answer = caller.answer(false);
        if answer.status == 503 {
            assert_eq!(answer.header("retry-after"), Some("1"));
        }
        *counted.entry((answer.status, answer.code())).or_default() += 1;
    }
    let fine = counted.remove(&(200, String::new())).unwrap_or(0);
    let overloaded = counted.remove(&(503, "overloaded".to_owned())).unwrap_or(0);
    assert!(counted.is_empty(), "{counted:?}");
    assert_eq!(fine + overloaded, 1200);
    assert!(fine >= 1024, "those who wait are served: {fine}");
    println!(
        "1200 callers with one slow token: {fine} served, {overloaded} told to come back; another's {known_took:?}"
    );
    assert!(overloaded > 0, "the hash was not slow enough for the test");
}

/// The operator's mistake, not the caller's.
#[test]
fn another_pepper_is_our_trouble() {
    let upstream = Upstream::named("model");
    let setup = Setup::new(&deployment("model", upstream.address, ""));
    let mut gateway = setup.env("TOKENS__PEPPER", "the-old-pepper").start();
    let token = gateway.token(&["deployment:*"]);
    assert_eq!(gateway.ask(&get("model.test", "/", &token.text)).status, 200);
    assert!(gateway.terminate().success());
    for pepper in ["the-new-pepper", ""] {
        gateway.set("TOKENS__PEPPER", pepper);
        gateway.launch_again();
        gateway.becomes_ready();
        for text in [&token.text, &token.text, &with_another_secret(&token.text)] {
            let answer = gateway.ask(&get("model.test", "/", text));
            assert_eq!((answer.status, answer.code().as_str()), (500, "internal_error"));
            assert_eq!(answer.header("www-authenticate"), None);
            let body = answer.text();
            assert!(!body.contains("pepper") && !body.contains("argon2"), "{body}");
        }
        let lines = gateway.stderr();
        let line =
            lines.iter().rfind(|line| line.contains("a token could not be verified")).expect("a line in the log");
        assert!(line.contains("tokens.pepper"), "it says what is wrong: {line}");
        assert!(!line.contains("the-old-pepper") && !line.contains("the-new-pepper"), "{line}");
        assert!(gateway.terminate().success());
    }
    // Nothing was spoilt.
    gateway.set("TOKENS__PEPPER", "the-old-pepper");
    gateway.launch_again();
    gateway.becomes_ready();
    assert_eq!(gateway.ask(&get("model.test", "/", &token.text)).status, 200);
}
