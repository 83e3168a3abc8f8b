//! Requests of HTTP/2: their frames, and the fields that begin with a colon.

use super::case::{Case, Fields, data, ended, fields, open, part, reset, stream};

const AUTHORIZATION: (&str, &str) = ("authorization", "Bearer $TOKEN");
const METHOD: (&str, &str) = (":method", "GET");
const POST: (&str, &str) = (":method", "POST");
const SCHEME: (&str, &str) = (":scheme", "http");
const AUTHORITY: (&str, &str) = (":authority", "a.test");
const PATH: (&str, &str) = (":path", "/x");

pub fn cases() -> Vec<Case> {
    [pseudo(), paths(), authorities(), schemes(), methods(), bodies(), trailers()].concat()
}

fn pseudo() -> Vec<Case> {
    let resets: [(&str, Fields<'_>); 15] = [
        ("no method", &[SCHEME, AUTHORITY, PATH, AUTHORIZATION]),
        ("no scheme", &[METHOD, AUTHORITY, PATH, AUTHORIZATION]),
        ("no path", &[METHOD, SCHEME, AUTHORITY, AUTHORIZATION]),
        ("nothing", &[]),
        ("only fields", &[AUTHORIZATION, ("host", "a.test")]),
        ("two methods", &[METHOD, METHOD, SCHEME, AUTHORITY, PATH, AUTHORIZATION]),
        ("two schemes", &[METHOD, SCHEME, SCHEME, AUTHORITY, PATH, AUTHORIZATION]),
        ("two authorities", &[METHOD, SCHEME, AUTHORITY, AUTHORITY, PATH, AUTHORIZATION]),
        ("two authorities that differ", &[METHOD, SCHEME, AUTHORITY, (":authority", "b.test"), PATH, AUTHORIZATION]),
        ("two paths", &[METHOD, SCHEME, AUTHORITY, PATH, PATH, AUTHORIZATION]),
        ("two paths that differ", &[METHOD, SCHEME, AUTHORITY, PATH, (":path", "/smuggled"), AUTHORIZATION]),
        ("one behind a field", &[METHOD, SCHEME, AUTHORITY, AUTHORIZATION, PATH]),
        ("one more behind a field", &[METHOD, SCHEME, AUTHORITY, PATH, AUTHORIZATION, (":path", "/smuggled")]),
        ("a status", &[METHOD, SCHEME, AUTHORITY, PATH, (":status", "200"), AUTHORIZATION]),
        ("a protocol", &[METHOD, SCHEME, AUTHORITY, PATH, (":protocol", "websocket"), AUTHORIZATION]),
    ];
    let resets = resets.map(|(name, list)| reset(&format!("pseudo: {name}"), &[fields(list)]));
    let orders: [(&str, Fields<'_>); 3] = [
        ("another order", &[PATH, AUTHORITY, SCHEME, METHOD, AUTHORIZATION]),
        ("the usual order", &[METHOD, SCHEME, AUTHORITY, PATH, AUTHORIZATION]),
        ("a host in place of the authority", &[METHOD, SCHEME, PATH, ("host", "a.test"), AUTHORIZATION]),
    ];
    let orders =
        orders.map(|(name, list)| stream(200, &format!("pseudo: {name}"), &[fields(list)]).arrives("GET", "/x", ""));
    let ends = [
        ended("pseudo: an unknown one", &[fields(&[METHOD, SCHEME, AUTHORITY, PATH, (":x", "1"), AUTHORIZATION])]),
        ended("pseudo: capitals", &[fields(&[(":Method", "GET"), SCHEME, AUTHORITY, PATH, AUTHORIZATION])]),
    ];
    resets.into_iter().chain(orders).chain(ends).collect()
}

fn get(path: &str) -> [super::case::Frame; 1] {
    [fields(&[METHOD, SCHEME, AUTHORITY, (":path", path), AUTHORIZATION])]
}

fn paths() -> Vec<Case> {
    let forwarded = [
        "/",
        "//x",
        "/x?y",
        "/x??",
        "/a%2fb",
        "/%252e%252e/x",
        "/x?/../y",
        "/x;a",
        "/a:b",
        "/x{y}",
        "//b.test:x/",
        "/%0d%0a",
    ]
    .map(|path| stream(200, &format!("path: {path}"), &get(path)).arrives("GET", path, ""));
    let denied = [
        "/..",
        "/x/../y",
        "/%2e%2e/x",
        "/x%2f..",
        "/x\\y",
        "/x%5cy",
        "/..;/x",
        "/x%00",
        "/%",
        "/%zz",
        "*",
        "/$TOKEN",
        "/x?token=$TOKEN",
        "?x",
        "/x\u{e9}",
    ];
    let denied = denied.map(|path| stream(400, &format!("path: {path}"), &get(path)));
    // The library takes the fragment away: nobody sees it, neither who decides nor the upstream.
    let fragments = [("/x#y", "/x"), ("/x?y#z", "/x?y"), ("#x", "/")]
        .map(|(path, seen)| stream(200, &format!("path: {path}"), &get(path)).arrives("GET", seen, "").without("#"));
    let resets = [
        "",
        "x",
        "/x y",
        "/x HTTP/1.1",
        "/x HTTP/1.1\r\nhost: b.test\r\n\r\nGET /smuggled",
        "/x\r\n",
        "/x\n",
        "/x\r",
        "/x\0",
        "/x\t",
        "/x\u{1}",
        "/x\u{7f}",
        " /x",
        "/x ",
        "http://a.test/x",
        "http://b.test/x",
        "../x",
        "\\x",
        "a.test:80",
    ];
    let resets = resets.map(|path| reset(&format!("path: {path:?}"), &get(path)));
    let long = [(2047, 200), (2048, 414), (9000, 414)].map(|(length, status)| {
        let path = format!("/{}", "x".repeat(length));
        let case = stream(status, &format!("path: of {length}"), &get(&path));
        if status == 200 { case.arrives("GET", &path, "") } else { case }
    });
    forwarded.into_iter().chain(denied).chain(fragments).chain(resets).chain(long).collect()
}

fn authorities() -> Vec<Case> {
    let to = |authority: &str| [fields(&[METHOD, SCHEME, (":authority", authority), PATH, AUTHORIZATION])];
    let forwarded = ["a.test", "A.Test", "a.test."]
        .map(|name| stream(200, &format!("authority: {name}"), &to(name)).arrives("GET", "/x", ""));
    let others = [(403, "b.test"), (403, "c.test"), (403, "127.0.0.1"), (403, "[::1]")]
        .map(|(status, name)| stream(status, &format!("authority: {name}"), &to(name)));
    let denied =
        ["user@a.test", "user:password@a.test", "a.test@b.test", "a.test:", "a.test:99999", "a..test", "*", "a.test.."]
            .map(|name| stream(400, &format!("authority: {name}"), &to(name)));
    let resets = [
        "",
        " ",
        " a.test",
        "a.test ",
        "a.test b.test",
        "a.test/x",
        "a.test?x",
        "a.test#x",
        "a.test\\x",
        "a.test\0",
        "a.test\r\nx: 1",
        "a.test\n",
        "http://a.test",
        "[::1",
        "\u{e9}.test",
        "a%2etest",
    ];
    let resets = resets.map(|name| reset(&format!("authority: {name:?}"), &to(name)));
    let beside = |host: &'static str| [fields(&[METHOD, SCHEME, AUTHORITY, PATH, AUTHORIZATION, ("host", host)])];
    let same = ["a.test", "A.TEST", "a.test."]
        .map(|host| stream(200, &format!("authority beside Host: {host}"), &beside(host)).arrives("GET", "/x", ""));
    let other = ["b.test", "a.test:80", "", "a.test, a.test", "user@a.test", " "]
        .map(|host| stream(400, &format!("authority beside Host: {host:?}"), &beside(host)));
    let two = [METHOD, SCHEME, PATH, AUTHORIZATION, ("host", "a.test"), ("host", "a.test")];
    let two = [
        stream(400, "authority: none, and two of Host", &[fields(&two)]),
        stream(400, "authority: none, and no Host", &[fields(&[METHOD, SCHEME, PATH, AUTHORIZATION])]),
    ];
    [&forwarded[..], &others, &denied, &resets, &same, &other, &two].concat()
}

fn schemes() -> Vec<Case> {
    let to = |scheme: &str| [fields(&[METHOD, (":scheme", scheme), AUTHORITY, PATH, AUTHORIZATION])];
    let forwarded = ["http", "https", "HTTP"]
        .map(|scheme| stream(200, &format!("scheme: {scheme}"), &to(scheme)).arrives("GET", "/x", ""));
    let denied =
        ["", "ftp", "x+y-z.1", "1", "-"].map(|scheme| stream(400, &format!("scheme: {scheme:?}"), &to(scheme)));
    let resets = [" ", "http:", "http://b.test/smuggled?", "ht tp", "http\r\n", "http\0", "\u{e9}"]
        .map(|scheme| reset(&format!("scheme: {scheme:?}"), &to(scheme)));
    forwarded.into_iter().chain(denied).chain(resets).collect()
}

fn methods() -> Vec<Case> {
    let by = |method: &str| [fields(&[(":method", method), SCHEME, AUTHORITY, PATH, AUTHORIZATION])];
    let forwarded = ["GET", "HEAD", "DELETE", "get", "X-ODD"]
        .map(|method| stream(200, &format!("method: {method}"), &by(method)).arrives(method, "/x", ""));
    let resets = [
        "",
        " ",
        "GET ",
        " GET",
        "G ET",
        "GET /smuggled HTTP/1.1\r\n",
        "GET\r\n",
        "GET\0",
        "GE:T",
        "G\u{e9}T",
        "(GET)",
    ]
    .map(|method| ended(&format!("method: {method:?}"), &by(method)));
    let connect = (":method", "CONNECT");
    let connects = [
        stream(405, "method: TRACE", &by("TRACE")),
        stream(405, "method: CONNECT", &[fields(&[connect, (":authority", "a.test:443"), AUTHORIZATION])]),
        reset("method: CONNECT with a path", &by("CONNECT")),
        ended(
            "method: CONNECT with a body",
            &[open(&[connect, (":authority", "a.test"), AUTHORIZATION, ("content-length", "1")]), data("x")],
        ),
        reset(
            "method: an extended CONNECT",
            &[fields(&[connect, (":protocol", "websocket"), SCHEME, AUTHORITY, PATH, AUTHORIZATION])],
        ),
    ];
    forwarded.into_iter().chain(resets).chain(connects).collect()
}

fn bodies() -> Vec<Case> {
    let with = |lines: Fields<'_>| open(&[&[POST, SCHEME, AUTHORITY, PATH, AUTHORIZATION], lines].concat());
    let length = |length| with(&[("content-length", length)]);
    let whole = [
        ("no length", vec![with(&[]), data("abc")], "abc"),
        ("its length", vec![length("3"), data("abc")], "abc"),
        ("its length with zeros", vec![length("003"), data("abc")], "abc"),
        ("several parts", vec![length("3"), part("a"), part("b"), data("c")], "abc"),
        ("an empty part", vec![with(&[]), part("a"), part(""), data("b")], "ab"),
        ("nothing", vec![with(&[]), data("")], ""),
        ("nothing, announced", vec![length("0"), data("")], ""),
        (
            "the end of chunks",
            vec![with(&[]), data("0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n")],
            "0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n",
        ),
        ("the same length twice", vec![with(&[("content-length", "3"), ("content-length", "3")]), data("abc")], "abc"),
    ];
    let whole =
        whole.map(|(name, frames, body)| stream(200, &format!("body: {name}"), &frames).arrives("POST", "/x", body));
    let resets = [
        ("more than its length", vec![length("2"), data("abc")]),
        ("less than its length", vec![length("4"), data("abc")]),
        ("more than nothing", vec![length("0"), data("abc")]),
        (
            "a length, and no body",
            vec![fields(&[POST, SCHEME, AUTHORITY, PATH, AUTHORIZATION, ("content-length", "3")])],
        ),
        ("a length of nothing", vec![length(""), data("abc")]),
        ("a length with a sign", vec![length("+3"), data("abc")]),
        ("a negative length", vec![length("-3"), data("abc")]),
        ("a list of lengths", vec![length("3, 3"), data("abc")]),
        ("a length in hexadecimal", vec![length("0x3"), data("abc")]),
        ("a length with a space", vec![length(" 3"), data("abc")]),
        ("a length too large", vec![length("99999999999999999999"), data("abc")]),
        ("two lengths", vec![with(&[("content-length", "3"), ("content-length", "4")]), data("abc")]),
    ];
    let resets = resets.map(|(name, frames)| reset(&format!("body: {name}"), &frames));
    let ends = [
        ended("body: DATA before HEADERS", &[data("abc")]),
        ended("body: DATA behind the end", &[fields(&[METHOD, SCHEME, AUTHORITY, PATH]), data("abc")]),
    ];
    whole.into_iter().chain(resets).chain(ends).collect()
}

fn trailers() -> Vec<Case> {
    let start = [open(&[POST, SCHEME, AUTHORITY, PATH, AUTHORIZATION]), part("abc")];
    let with = |list: Fields<'_>| [&start[..], &[fields(list)]].concat();
    let dropped = [
        ("content-length", "100"),
        ("host", "b.test"),
        ("authorization", "Bearer $TOKEN"),
        ("cookie", "a=gone"),
        ("x-forwarded-for", "6.6.6.6"),
        ("x_forwarded_for", "6.6.6.6"),
        ("x-bento-gateway-token-uid", "gone"),
        ("x-a", "$TOKEN"),
        ("content-type", "application/pickle"),
        ("payload-container", "gone"),
        ("expect", "100-continue"),
        ("trailer", "gone"),
    ];
    let dropped = dropped.map(|(name, value)| {
        let case = stream(200, &format!("trailer: {name}: {value}"), &with(&[(name, value)]));
        case.arrives("POST", "/x", "abc").without(&format!("{name}: {value}"))
    });
    let kept = stream(200, "trailer: one that passes", &with(&[("x-sum", "7")])).arrives("POST", "/x", "abc");
    let none = stream(200, "trailer: none", &with(&[])).arrives("POST", "/x", "abc");
    // The library takes them away.
    let pseudo = [(":path", "/smuggled"), (":method", "PUT"), (":status", "200")].map(|field| {
        let case = stream(200, &format!("trailer: {field:?}"), &with(&[field, ("x-sum", "7")]));
        case.arrives("POST", "/x", "abc").without(field.0)
    });
    let resets = [("transfer-encoding", "chunked"), ("connection", "close")]
        .map(|field| reset(&format!("trailer: {field:?}"), &with(&[field])));
    let ends = [("X-Sum", "7"), ("x-sum", "7\r\nx-b: 1"), ("x-sum", "\0"), ("x\r\ny", "7"), ("", "7")]
        .map(|field| ended(&format!("trailer: {field:?}"), &with(&[field])));
    let goes_on = [&start[..], &[open(&[("x-sum", "7")])]].concat();
    let goes_on = reset("trailer: behind which the stream goes on", &goes_on);
    dropped.into_iter().chain([kept, none, goes_on]).chain(pseudo).chain(resets).chain(ends).collect()
}
