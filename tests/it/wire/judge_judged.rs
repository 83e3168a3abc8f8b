//! The judge finds what is known to be bad, and only that.

use super::judge::{Authorised, Law, judge};

const GOOD: &str = "POST /x HTTP/1.1\r\nhost: a.test\r\n{}x-request-id: r\r\nx-forwarded-for: 127.0.0.1\r\n\
    x-forwarded-proto: http\r\nx-forwarded-host: a.test\r\nx-bento-gateway-deployment: a\r\n\
    x-bento-gateway-token-uid: u\r\n\r\n";

fn faults(bytes: &str) -> Vec<String> {
    let law = Law { deployment: "a", host: "a.test", token_uid: "u".to_owned() };
    let authorised = Authorised {
        method: "POST".to_owned(),
        target: "/x".to_owned(),
        body: "abc".to_owned(),
        ..Authorised::default()
    };
    judge(&[bytes.as_bytes()], &[authorised], false, &law)
}

fn with(fields: &str, body: &str) -> String {
    GOOD.replace("{}", fields) + body
}

#[test]
fn what_is_written_well_is_read_in_one_way() {
    for bytes in [
        with("content-length: 3\r\n", "abc"),
        with("transfer-encoding: chunked\r\n", "3\r\nabc\r\n0\r\n\r\n"),
        with("transfer-encoding: chunked\r\n", "1\r\na\r\n2\r\nbc\r\n0\r\nx-sum: 1\r\n\r\n"),
        with("te: trailers\r\nx-a: \u{e9}\r\ncontent-length: 3\r\n", "abc"),
    ] {
        assert_eq!(faults(&bytes), [""; 0], "{bytes}");
    }
}

/// Bytes that some server reads otherwise than another, and what the judge must say of them at least.
#[test]
fn what_is_known_to_be_bad_is_found() {
    let length = "content-length: 3\r\n";
    let chunked = "transfer-encoding: chunked\r\n";
    let chunks = "3\r\nabc\r\n0\r\n\r\n";
    let smuggled = "GET /smuggled HTTP/1.1\r\nhost: b.test\r\n\r\n";
    let rows = [
        ("a second request", with(length, &format!("abc{smuggled}")), "finds"),
        ("half a second request", with(length, "abcGET /smug"), "not complete"),
        ("a shorter body", with(length, "ab"), "not complete"),
        ("another body", with(length, "abd"), "finds"),
        ("both framings", with(&format!("{length}{chunked}"), chunks), "a length comes before a coding: finds"),
        (
            "two lengths",
            with("content-length: 3\r\ncontent-length: 5\r\n", "abc"),
            "the last length counts: not complete",
        ),
        ("a list of lengths", with("content-length: 3, 5\r\n", "abc"), "strict: a length is no number"),
        ("a length with a sign", with("content-length: +3\r\n", "abc"), "strict: a length is no number"),
        ("a length with zeros", with("content-length: 010\r\n", "abcdefghij"), "as C guesses their base: not complete"),
        (
            "a coding of two",
            with(&format!("{length}transfer-encoding: gzip, chunked\r\n"), "abc"),
            "the last coding counts: finds",
        ),
        (
            "a coding of another word",
            with(&format!("{length}transfer-encoding: xchunked\r\n"), "abc"),
            "part of a coding counts: finds",
        ),
        (
            "a coding that comes first",
            with(&format!("{length}transfer-encoding: chunked, x\r\n"), "abc"),
            "any coding counts: finds",
        ),
        (
            "a coding with a space",
            with(&format!("{length}transfer-encoding : chunked\r\n"), "abc"),
            "names are trimmed: finds",
        ),
        (
            "a coding with an underscore",
            with(&format!("{length}transfer_encoding: chunked\r\n"), "abc"),
            "CGI's names: finds",
        ),
        (
            "a coding behind a line feed",
            with(&format!("{length}x: 1\n{chunked}"), "abc"),
            "a line feed ends a line: finds",
        ),
        (
            "a coding behind a carriage return",
            with(&format!("{length}x: 1\r{chunked}"), "abc"),
            "a carriage return ends a line: finds",
        ),
        (
            "a coding behind NUL",
            with(&format!("{length}transfer-encoding: chunked\0x\r\n"), "abc"),
            "NUL ends a value: finds",
        ),
        (
            "a coding in a fold",
            with(&format!("{length}transfer-encoding:\r\n chunked\r\n"), "abc"),
            "folds are joined: finds",
        ),
        ("a chunk of C's", with(chunked, "0x3\r\nabc\r\n0\r\n\r\n"), "strict: a chunk's size is no number"),
        ("a chunk that is longer", with(chunked, "2\r\nabc\r\n0\r\n\r\n"), "a chunk is longer than its size"),
        ("a second host", with(&format!("{length}host: b.test\r\n"), "abc"), "host is"),
        ("another host", with(length, "abc").replace("host: a.test\r\nc", "host: b.test\r\nc"), "host is"),
        (
            "another Deployment",
            with(length, "abc").replace("deployment: a", "deployment: b"),
            "x-bento-gateway-deployment is",
        ),
        ("another token", with(length, "abc").replace("uid: u", "uid: v"), "x-bento-gateway-token-uid is"),
        (
            "a claimed address",
            with(&format!("{length}x_forwarded_for: 6.6.6.6\r\n"), "abc"),
            "CGI's names: x-forwarded-for is",
        ),
        ("a claimed user", with(&format!("{length}remote-user: x\r\n"), "abc"), "remote-user is not for the service"),
        ("a credential", with(&format!("{length}authorization: x\r\n"), "abc"), "authorization is not for the service"),
        ("a token", with(&format!("{length}x: bgw_x\r\n"), "abc"), "a token is there"),
        ("a token in a trailer", with(chunked, "3\r\nabc\r\n0\r\nx: bgw_\r\n\r\n"), "a token is there"),
        ("a hop-by-hop field", with(&format!("{length}connection: close\r\n"), "abc"), "connection is not"),
        ("an upgrade", with(&format!("{length}upgrade: websocket\r\n"), "abc"), "upgrade is not"),
        ("another TE", with(&format!("{length}te: gzip\r\n"), "abc"), "te is not"),
        (
            "a length for a trailer",
            with(chunked, "3\r\nabc\r\n0\r\ncontent-length: 1\r\n\r\n"),
            "content-length is no trailer",
        ),
        ("an odd name", with(&format!("{length}x a: 1\r\n"), "abc"), "\"x a\" is an odd name"),
        ("an odd value", with(&format!("{length}x: \u{1}\r\n"), "abc"), "x has an odd value"),
        ("an odd target", with(length, "abc").replace("/x ", "/x#y "), "an odd request line"),
        ("four words", with(length, "abc").replace("/x ", "/x y "), "not three words"),
        ("another method", with(length, "abc").replace("POST", "post"), "finds"),
    ];
    let missed: Vec<String> = rows
        .into_iter()
        .filter_map(|(name, bytes, fault)| {
            let faults = faults(&bytes);
            let says = |said: &String| fault.split(": ").all(|part| said.contains(part));
            (!faults.iter().any(says)).then(|| format!("{name}: {fault:?} is not among {faults:#?}\n{bytes}"))
        })
        .collect();
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn what_breaks_off_is_judged_as_far_as_it_goes() {
    let law = Law { deployment: "a", host: "a.test", token_uid: "u".to_owned() };
    let judge = |bytes: &str| judge(&[bytes.as_bytes()], &[], true, &law);
    assert_eq!(judge(&with("content-length: 3\r\n", "ab")), [""; 0]);
    assert_eq!(judge(&with("transfer-encoding: chunked\r\n", "3\r\nabc\r\n0\r\n")), [""; 0]);
    assert_ne!(judge(&with("content-length: 3\r\n", "abc")), [""; 0], "it is whole");
    assert_ne!(judge(&with("content-length: 3\r\nremote-user: x\r\n", "ab")), [""; 0]);
}
