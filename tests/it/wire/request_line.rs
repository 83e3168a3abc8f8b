//! Methods, targets, versions, and the host that a target may name.

use super::case::{Case, Then, deny, forward, line, refuse};

pub fn cases() -> Vec<Case> {
    [methods(), shapes(), versions(), paths(), absolute(), hosts()].concat()
}

fn methods() -> Vec<Case> {
    let forwarded_methods =
        ["GET", "DELETE", "OPTIONS", "QUERY", "get", "gEt", "X-ODD", "M!#$%&'*+.^_`|~-9"].map(|method| {
            forward(&format!("method: {method}"), line(&format!("{method} /x HTTP/1.1")), (method, "/x", ""))
        });
    let head = forward("method: HEAD", line("HEAD /x HTTP/1.1"), ("HEAD", "/x", ""));
    let denied_methods = ["TRACE", "CONNECT"]
        .map(|method| deny(405, &format!("method: {method}"), line(&format!("{method} /x HTTP/1.1"))));
    let refused_methods = [
        ("nothing", " /x HTTP/1.1"),
        ("a colon", "GE:T /x HTTP/1.1"),
        ("parentheses", "(GET) /x HTTP/1.1"),
        ("quotes", "\"GET\" /x HTTP/1.1"),
        ("a slash", "GET/ /x HTTP/1.1"),
        ("a tab", "G\tET /x HTTP/1.1"),
        ("NUL", "G\0ET /x HTTP/1.1"),
        ("a control character", "G\u{1}ET /x HTTP/1.1"),
        ("a byte beyond ASCII", "G\u{c9}T /x HTTP/1.1"),
        ("a blank before", "\u{20}GET /x HTTP/1.1"),
        ("a bare carriage return before", "\rGET /x HTTP/1.1"),
        ("a comma", "GET, /x HTTP/1.1"),
    ]
    .map(|(name, text)| refuse(400, &format!("method: {name}"), line(text)));
    let connect =
        deny(405, "method: CONNECT of an authority", "CONNECT a.test:443 HTTP/1.1\r\nhost: a.test:443\r\n\r\n");
    forwarded_methods.into_iter().chain([head, connect]).chain(denied_methods).chain(refused_methods).collect()
}

fn shapes() -> Vec<Case> {
    let refused_lines = [
        ("two words", "GET /x"),
        ("one word", "GET"),
        ("four words", "GET /x y HTTP/1.1"),
        ("two spaces after the method", "GET  /x HTTP/1.1"),
        ("two spaces before the version", "GET /x  HTTP/1.1"),
        ("a tab after the method", "GET\t/x HTTP/1.1"),
        ("a tab before the version", "GET /x\tHTTP/1.1"),
        ("a space at the end", "GET /x HTTP/1.1 "),
        ("a tab at the end", "GET /x HTTP/1.1\t"),
        ("a carriage return after the method", "GET\r/x HTTP/1.1"),
        ("a carriage return before the version", "GET /x\rHTTP/1.1"),
        ("a carriage return at the end", "GET /x HTTP/1.1\r"),
        ("NUL at the end", "GET /x HTTP/1.1\0"),
        ("a vertical tab", "GET\u{b}/x HTTP/1.1"),
        ("a form feed", "GET\u{c}/x HTTP/1.1"),
        ("a space beyond ASCII", "GET\u{a0}/x HTTP/1.1"),
        ("a response", "HTTP/1.1 200 OK"),
        ("a field", "host: a.test"),
    ];
    let refused = refused_lines.map(|(name, text)| refuse(400, &format!("line: {name}"), line(text)));
    let forwarded = [("empty lines before", "\r\n\r\nGET /x HTTP/1.1"), ("line feeds before", "\n\nGET /x HTTP/1.1")]
        .map(|(name, text)| forward(&format!("line: {name}"), line(text), ("GET", "/x", "")));
    let feeds = line("GET /x HTTP/1.1").replace("\r\n", "\n");
    let feeds = forward("line: line feeds only", feeds, ("GET", "/x", ""));
    refused.into_iter().chain(forwarded).chain([feeds]).collect()
}

fn versions() -> Vec<Case> {
    let versions = [
        "",
        "HTTP/0.9",
        "HTTP/1.2",
        "HTTP/1.9",
        "HTTP/1",
        "HTTP/1.",
        "HTTP/.1",
        "HTTP/1.10",
        "HTTP/01.1",
        "HTTP/1.01",
        "HTTP/2",
        "HTTP/2.0",
        "HTTP/3.0",
        "http/1.1",
        "Http/1.1",
        "HTTP/1.1x",
        "HTTP /1.1",
        "HTTP/ 1.1",
        "HTTP/1,1",
        "HTTP/-1.1",
        "HTTPS/1.1",
        "HTTP/1.\u{661}",
        "ICY/1.1",
        "RTSP/1.0",
        "HTTP\\1.1",
    ];
    let refused =
        versions.map(|version| refuse(400, &format!("version: {version:?}"), line(&format!("GET /x {version}"))));
    let old = forward("version: HTTP/1.0", line("GET /x HTTP/1.0"), ("GET", "/x", "")).then(Then::Closed);
    refused.into_iter().chain([old]).collect()
}

fn paths() -> Vec<Case> {
    let to = |target: &str| line(&format!("GET {target} HTTP/1.1"));
    let forwarded_targets = [
        "/",
        "//",
        "//x",
        "/a//b",
        "/x?",
        "/x?a=b",
        "/x??",
        "/x?/../y",
        "/x?%2e%2e",
        "/x?a=%00",
        "/x?a=%0d%0aset-cookie:x",
        "/%20",
        "/%41",
        "/a%2fb",
        "/a%2Fb",
        "/%252e%252e/x",
        "/%252f",
        "/...",
        "/..x",
        "/x..",
        "/.x",
        "/a;b=c/d",
        "/a:b",
        "/@",
        "/*",
        "/a|b",
        "/%e2%82%ac",
        "/%ff",
        "/%0d%0a",
        "/x&y",
        "/a'b",
        "/a,b",
        "/a=b",
        "/a+b",
        "/a~b",
        "/a!b$c(d)",
        "/%c0%ae%c0%ae/x",
    ];
    let forwarded_paths =
        forwarded_targets.map(|target| forward(&format!("target: {target}"), to(target), ("GET", target, "")));
    let denied_targets = [
        "/..",
        "/.",
        "/../",
        "/./",
        "/x/..",
        "/x/../y",
        "/x/./y",
        "/../../x",
        "/%2e",
        "/%2e%2e",
        "/%2E%2e/x",
        "/.%2e/x",
        "/%2e./x",
        "/x/%2e%2e/y",
        "/x%2f..",
        "/x%2f..%2fy",
        "/..%2fy",
        "/..%2Fy",
        "/x\\y",
        "/..\\x",
        "/x%5cy",
        "/x%5Cy",
        "/%5c..%5cx",
        "/..;/x",
        "/..;a=b/x",
        "/.;/x",
        "/..%3b/x",
        "/%2e%2e;/x",
        "/x%00",
        "/x%00.html",
        "/%",
        "/%2",
        "/%zz",
        "/x%2",
        "/%u002e%u002e/x",
        "/%-1",
        "/%+1",
        "*",
        "/deployments/a/../b/x",
        "/deployments/a/%2e%2e/b/x",
        "/deployments/a/..%2fb/x",
    ];
    let denied_paths =
        denied_targets.map(|target| deny(400, &format!("target: {target}"), to(target)).code("bad_path"));
    let refused_targets = [
        "",
        "x/y",
        "?x",
        "../x",
        "./x",
        "\\x",
        "#x",
        "/x<y>",
        "/x`y",
        "/x\0",
        "/x\u{1}",
        "/x\x7f",
        "/\0",
        "http:/x",
        "http://",
        "http:///x",
        "/x\u{b}",
        "%2fx",
    ];
    let refused_paths = refused_targets.map(|target| refuse(400, &format!("target: {target:?}"), to(target)));
    let odd = ["/x\u{e9}", "/x?\u{e9}"].map(|target| deny(400, &format!("target: {target:?}"), to(target)));
    let unusual = ["/x{y}", "/x\"y", "/x^y", "/[x]"]
        .map(|target| forward(&format!("target: {target:?}"), to(target), ("GET", target, "")));
    // The library takes the fragment away: nobody sees it, neither who decides nor the upstream.
    let fragments = [("/x#y", "/x"), ("/x?y#z", "/x?y"), ("/#", "/"), ("/x#/../y", "/x")]
        .map(|(target, seen)| forward(&format!("target: {target:?}"), to(target), ("GET", seen, "")).without("#"));
    // To the library these are an authority, as CONNECT has it.
    let bare =
        ["x", ";x", "http:", "a.test", "a.test:80"].map(|target| deny(400, &format!("target: {target:?}"), to(target)));
    let long = [(2047, 200), (2048, 414), (3000, 414)].map(|(length, status)| {
        let target = format!("/{}", "x".repeat(length));
        let name = format!("target: of {length}");
        if status == 200 { forward(&name, to(&target), ("GET", &target, "")) } else { deny(status, &name, to(&target)) }
    });
    let longer = line(&format!("GET /{} HTTP/1.1", "x".repeat(4000)));
    let longer = refuse(414, "target: of 4000", longer);
    let token = deny(400, "target: a token in the query", to("/x?token=$TOKEN"));
    let token_path = deny(400, "target: a token in the path", to("/$TOKEN"));
    let denied = [&denied_paths[..], &odd, &bare, &[longer, token, token_path]].concat();
    [&forwarded_paths[..], &denied, &refused_paths, &unusual, &fragments, &long].concat()
}

fn absolute() -> Vec<Case> {
    let to = |target: &str| line(&format!("GET {target} HTTP/1.1"));
    let forwarded_targets = [
        ("http://a.test/x", "/x"),
        ("http://a.test", "/"),
        ("http://a.test/", "/"),
        ("http://a.test?q", "/?q"),
        ("http://A.TEST/x", "/x"),
        ("HTTP://a.test/x", "/x"),
        ("https://a.test/x", "/x"),
        ("http://a.test./x", "/x"),
        ("http://a.test//x", "//x"),
        ("http://a.test/x#y", "/x"),
        ("http://a.test/http://b.test/", "/http://b.test/"),
    ];
    let forwarded =
        forwarded_targets.map(|(target, path)| forward(&format!("absolute: {target}"), to(target), ("GET", path, "")));
    let denied_targets = [
        "http://b.test/x",
        "http://a.test:80/x",
        "http://a.test:/x",
        "http://user@a.test/x",
        "http://user:password@a.test/x",
        "http://a.test@b.test/x",
        "http://b.test@a.test/x",
        "http://a.test/../x",
        "http://a.test/%2e%2e/x",
        "http://[::1]/x",
        "http://127.0.0.1/x",
        "http://a.test,b.test/x",
        "http://a.test:x/",
        "http://a.test:99999/",
        "ftp://a.test/x",
        "ws://a.test/x",
        "file://a.test/x",
        "://a.test/x",
    ];
    let denied = denied_targets.map(|target| deny(400, &format!("absolute: {target}"), to(target)));
    let refused_targets = [
        "http://a.test\\x",
        "http:a.test/x",
        "http:\\\\a.test/x",
        "http://a.test%00/x",
        "http://a%2etest/x",
        "http://a.test b.test/x",
        "http://[::1/x",
    ];
    let refused = refused_targets.map(|target| refuse(400, &format!("absolute: {target}"), to(target)));
    forwarded.into_iter().chain(denied).chain(refused).collect()
}

fn hosts() -> Vec<Case> {
    let with = |lines: &str| format!("GET /x HTTP/1.1\r\n{lines}authorization: Bearer $TOKEN\r\n\r\n");
    let forwarded_hosts = ["a.test", "A.TEST", "a.test.", "\ta.test\t", "  a.test  "]
        .map(|host| forward(&format!("host: {host:?}"), with(&format!("host: {host}\r\n")), ("GET", "/x", "")));
    let denied_lines = [
        ("none", ""),
        ("nothing", "host:\r\n"),
        ("blanks", "host:  \t\r\n"),
        ("twice", "host: a.test\r\nhost: a.test\r\n"),
        ("twice in two cases", "host: a.test\r\nHOST: a.test\r\n"),
        ("two that differ", "host: a.test\r\nhost: b.test\r\n"),
        ("nothing and one", "host:\r\nhost: a.test\r\n"),
        ("a list", "host: a.test, b.test\r\n"),
        ("a list without spaces", "host: a.test,b.test\r\n"),
        ("two words", "host: a.test b.test\r\n"),
        ("a tab within", "host: a.test\tb.test\r\n"),
        ("a user", "host: user@a.test\r\n"),
        ("a path", "host: a.test/x\r\n"),
        ("a query", "host: a.test?x\r\n"),
        ("a fragment", "host: a.test#x\r\n"),
        ("a backslash", "host: a.test\\x\r\n"),
        ("a scheme", "host: http://a.test\r\n"),
        ("an empty port", "host: a.test:\r\n"),
        ("a port of letters", "host: a.test:x\r\n"),
        ("a port with a sign", "host: a.test:+80\r\n"),
        ("a port with a space", "host: a.test: 80\r\n"),
        ("two ports", "host: a.test:80:80\r\n"),
        ("a port beyond all", "host: a.test:65536\r\n"),
        ("two dots at the end", "host: a.test..\r\n"),
        ("a dot before", "host: .a.test\r\n"),
        ("two dots within", "host: a..test\r\n"),
        ("percent-encoding", "host: a%2etest\r\n"),
        ("a byte beyond ASCII", "host: \u{e0}.test\r\n"),
        ("a full-width dot", "host: a\u{ff0e}test\r\n"),
        ("quotes", "host: \"a.test\"\r\n"),
        ("half an IPv6 address", "host: [::1\r\n"),
        ("an IPv6 address without brackets", "host: ::1\r\n"),
        ("a zone", "host: [fe80::1%25eth0]\r\n"),
        ("a star", "host: *\r\n"),
        ("a semicolon", "host: a.test;b.test\r\n"),
        ("an underscore for its hyphen", "ho_st: a.test\r\n"),
    ];
    let denied_hosts =
        denied_lines.map(|(name, lines)| deny(400, &format!("host: {name}"), with(lines)).code("bad_host"));
    let refused_hosts = [
        ("a space before the colon", "host : a.test\r\n"),
        ("NUL", "host: a.test\0b.test\r\n"),
        ("a fold", "host:\r\n a.test\r\n"),
        ("a fold behind", "host: a.test\r\n b.test\r\n"),
        ("a bare carriage return", "host: a.test\rhost: b.test\r\n"),
        ("a space before the name", " host: a.test\r\n"),
        ("a vertical tab", "host: a.test\u{b}\r\n"),
    ]
    .map(|(name, lines)| refuse(400, &format!("host: {name}"), with(lines)));
    let elsewhere = [
        (403, "another Deployment", "host: b.test\r\n"),
        (403, "nobody's", "host: nobody.test\r\n"),
        (403, "the name with another end", "host: a.test.b.test\r\n"),
        (403, "an address", "host: 127.0.0.1\r\n"),
    ]
    .map(|(status, name, lines)| deny(status, &format!("host: {name}"), with(lines)));
    forwarded_hosts.into_iter().chain(denied_hosts).chain(refused_hosts).chain(elsewhere).collect()
}
