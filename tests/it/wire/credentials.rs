//! Where a token may stand, and where it does not count.

use super::case::{Case, TOKEN, Then, answer, deny, forward, refuse};

const SEEN: (&str, &str, &str) = ("GET", "/x", "");

pub fn cases() -> Vec<Case> {
    [bearer(), elsewhere(), beside()].concat()
}

/// Without a token.
fn get(lines: &str) -> String {
    let end = if lines.is_empty() { "" } else { "\r\n" };
    format!("GET /x HTTP/1.1\r\nhost: a.test\r\n{lines}{end}\r\n")
}

fn bearer() -> Vec<Case> {
    let forwarded_fields = [
        "authorization: Bearer $TOKEN",
        "Authorization: bearer $TOKEN",
        "AUTHORIZATION: BEARER $TOKEN",
        "authorization:Bearer $TOKEN",
        "authorization: Bearer   $TOKEN",
        "authorization:  \tBearer $TOKEN\t ",
    ];
    let forwarded = forwarded_fields.map(|line| forward(line, get(line), SEEN).without("bgw_"));
    let denied_fields = [
        (400, "authorization:"),
        (400, "authorization: $TOKEN"),
        (400, "authorization: Bearer"),
        (400, "authorization: Bearer$TOKEN"),
        (400, "authorization: Bearer\t$TOKEN"),
        (400, "authorization: Bearer \t$TOKEN"),
        (400, "authorization: Bearer $TOKEN x"),
        (401, "authorization: Bearer $TOKEN,"),
        (400, "authorization: Bearer $TOKEN, Bearer $TOKEN"),
        (401, "authorization: Bearer \"$TOKEN\""),
        (401, "authorization: Bearer token=$TOKEN"),
        (400, "authorization: Bearer: $TOKEN"),
        (400, "authorization: Bearer=$TOKEN"),
        (401, "authorization: Bearer $TOKENx"),
        (401, "authorization: Bearer x$TOKEN"),
        (400, "authorization: Basic $TOKEN"),
        (400, "authorization: Basic Yjp4"),
        (400, "authorization: Token $TOKEN"),
        (400, "authorization: Digest $TOKEN"),
        (400, "authorization: Basic Yjp4, Bearer $TOKEN"),
        (400, "authorization: Bearer $TOKEN\u{e9}"),
        (401, "authorization: Bearer bgw_x"),
        (400, "authorization: Bearer $TOKEN\r\nauthorization: Bearer $TOKEN"),
        (400, "authorization: Bearer $TOKEN\r\nAuthorization: Basic Yjp4"),
        (400, "authorization: Basic Yjp4\r\nauthorization: Bearer $TOKEN"),
        (400, "authorization: Bearer $TOKEN\r\nauthorization:"),
        (400, "authorization:\r\nauthorization: Bearer $TOKEN"),
    ];
    let denied = denied_fields.map(|(status, line)| deny(status, line, get(line)));
    let refused = [
        "authorization : Bearer $TOKEN",
        " authorization: Bearer $TOKEN",
        "authorization\0: Bearer $TOKEN",
        "authorization: Bearer $TOKEN\0",
        "authorization: \0Bearer $TOKEN",
        "authorization: Bearer\r\n $TOKEN",
        "authorization:\r\n Bearer $TOKEN",
        "x-a: 1\r\n authorization: Bearer $TOKEN",
        "x-a: 1\rauthorization: Bearer $TOKEN",
        "authorization Bearer $TOKEN",
    ]
    .map(|line| refuse(400, line, get(line)));
    forwarded.into_iter().chain(denied).chain(refused).collect()
}

/// It is refused, and nothing says to a service what it was.
fn elsewhere() -> Vec<Case> {
    let denied_fields = [
        "author_ization: Bearer $TOKEN",
        "authorization_: Bearer $TOKEN",
        "http-authorization: Bearer $TOKEN",
        "http_authorization: Bearer $TOKEN",
        "x-authorization: Bearer $TOKEN",
        "proxy-authorization: Bearer $TOKEN",
        "x-api-key: $TOKEN",
        "x-yatai-api-token: $TOKEN",
        "cookie: token=$TOKEN",
        "cookie: authorization=Bearer $TOKEN",
        "cookie: bento-gateway-session-a=$TOKEN",
        "sec-websocket-protocol: bento-gateway, bento-gateway.bearer.$TOKEN",
        "x-forwarded-authorization: Bearer $TOKEN",
        "x-original-authorization: Bearer $TOKEN",
        "www-authenticate: Bearer $TOKEN",
        "referer: http://a.test/?token=$TOKEN",
        "user-agent: $TOKEN",
        "connection: authorization",
    ];
    let denied_cases = denied_fields.map(|line| {
        let status = if line.starts_with("connection") { 400 } else { 401 };
        deny(status, line, get(line))
    });
    let targets = ["/x?access_token=$TOKEN", "/x?token=$TOKEN", "/$TOKEN", "/x;token=$TOKEN"]
        .map(|target| deny(400, &format!("in the target: {target}"), get("").replace("/x", target)));
    let post = |lines: &str, body: &str| get(lines).replace("GET", "POST") + body;
    let trailer = "1\r\nx\r\n0\r\nauthorization: Bearer $TOKEN\r\n\r\n";
    let extension = "1;authorization=\"Bearer $TOKEN\"\r\nx\r\n0\r\n\r\n";
    let unread = [
        refuse(401, "in a trailer", post("transfer-encoding: chunked", trailer)),
        refuse(401, "in an extension of a chunk", post("transfer-encoding: chunked", extension)),
        // The rest of it is no request.
        answer(
            &[401, 400],
            "in a body",
            post("content-type: application/x-www-form-urlencoded\r\ncontent-length: 13", "token=$TOKEN&\r\n\r\n"),
        )
        .then(Then::Closed),
    ];
    denied_cases.into_iter().chain(targets).chain(unread).collect()
}

/// Besides the one that counts, whatever else holds a token is not for a service.
fn beside() -> Vec<Case> {
    let lines = [
        "proxy-authorization: Bearer $TOKEN",
        "x-api-key: $TOKEN",
        "x-a: before $TOKEN behind",
        "cookie: a=$TOKEN",
        "author_ization: Bearer $TOKEN",
        "x-yatai-api-token: $TOKEN",
        "referer: http://a.test/?token=$TOKEN",
        "sec-websocket-protocol: bento-gateway.bearer.$TOKEN",
        "x-request-id: $TOKEN",
    ];
    let dropped = lines.map(|line| {
        let request = get(&format!("authorization: Bearer {TOKEN}\r\n{line}"));
        forward(&format!("beside: {line}"), request, SEEN).without("bgw_")
    });
    let cookies = get(&format!("authorization: Bearer {TOKEN}\r\ncookie: a=1; b={TOKEN}; c=3\r\ncookie: d=4"));
    let cookies = forward("beside: one of several cookies", cookies, SEEN).with("cookie: a=1; c=3; d=4");
    let public = answer(
        &[403],
        "beside: a host that is nobody's",
        get("authorization: Bearer $TOKEN").replace("a.test", "c.test"),
    );
    dropped.into_iter().chain([cookies, public]).collect()
}
