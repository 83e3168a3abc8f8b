//! The table of rejections, whole.

use std::{io, time::Duration};

use super::*;
use crate::domain::preset::Preset;

/// Every code once; the `match`es above say which there are.
fn all() -> Vec<Rejection> {
    use BadCredential::*;
    let targets = [
        BadTarget::Method,
        BadTarget::TooLong,
        BadTarget::Host,
        BadTarget::Authority,
        BadTarget::Scheme,
        BadTarget::Path,
        BadTarget::DotSegment,
        BadTarget::Token,
    ];
    let bad_requests = [
        BadRequest::HeaderTooLarge,
        BadRequest::TooManyFields,
        BadRequest::TransferEncoding,
        BadRequest::Connection,
        BadRequest::ConnectionOptions,
        BadRequest::Upgrade,
        BadRequest::Spelling,
        BadRequest::ServiceWorker,
        BadRequest::RouteOverride,
        BadRequest::Pickle,
        BadRequest::PayloadField,
        BadRequest::TooLarge,
        BadRequest::Body,
        BadRequest::BrokenOff,
        BadRequest::ProxyProtocol,
        BadRequest::NoProxyProtocol,
    ];
    let denied =
        [Denied::NoCredential, Denied::LoginElsewhere, Denied::InvalidToken, Denied::SessionOver, Denied::CrossSite];
    let credentials = [Several, NotBearer, NotAToken, Misplaced].map(Denied::Credential);
    let unavailable = [
        Unavailable::NeverLoaded,
        Unavailable::Stale,
        Unavailable::StoreAway,
        Unavailable::Overloaded,
        Unavailable::Internal,
    ];
    let timers = [
        Timer::Connect,
        Timer::FirstByte,
        Timer::UpstreamIdle,
        Timer::DownstreamIdle,
        Timer::KeptOthers,
        Timer::Vanished,
        Timer::Queue,
        Timer::Start,
    ];
    let cuts = timers.map(Cut::Timeout);
    let reasons = [
        Reason::Revoked,
        Reason::Expired,
        Reason::Rotated,
        Reason::OwnerDisabled,
        Reason::OutOfScope,
        Reason::RouteOutOfScope,
        Reason::NoSuchDeployment,
        Reason::RouteClosed(Preset::Vllm),
        Reason::Gone,
    ];
    let token = TokenUid(uuid::Uuid::nil());
    let questions = [
        BadQuestion::Path,
        BadQuestion::Deployment,
        BadQuestion::Field("X-Original-URI"),
        BadQuestion::Malformed("path"),
        BadQuestion::Body,
        BadQuestion::Message,
    ];
    let upstream = [
        UpstreamFailure::Connect(io::ErrorKind::ConnectionRefused),
        UpstreamFailure::Tls(TlsFault::Expired),
        UpstreamFailure::Closed(Closed::Reset),
        UpstreamFailure::Malformed(Malformed::StatusLine),
    ];
    let mut all: Vec<Rejection> = Vec::new();
    all.extend(targets.map(Rejection::from));
    all.extend(bad_requests.map(Rejection::from));
    all.extend(questions.map(Rejection::from));
    all.extend(denied.into_iter().chain(credentials).chain([Denied::Terminated]).map(Rejection::from));
    all.extend(unavailable.map(|reason| Rejection::from(Denied::Unavailable(reason))));
    all.extend(upstream.map(Rejection::from).into_iter().chain([
        Rejection::OutOfConnections,
        Rejection::QueueFull,
        Rejection::Starting,
    ]));
    let rate = "4/1s".parse().unwrap();
    let (budget, wait, period) =
        ("4 requests/day".parse().unwrap(), Duration::from_secs(1), Duration::from_secs(86_400));
    let exhausted = |of_token| Rejection::BudgetExhausted(Exhausted { budget, of_token, wait, period });
    all.extend([true, false].map(exhausted));
    all.push(Rejection::RateLimited(Left { rate, requests: 0, wait: Duration::from_secs(1) }));
    all.extend(
        cuts.into_iter()
            .chain([Cut::Drained])
            .chain(reasons.map(|reason| Cut::Token(Denied::Refused { reason, token })))
            .map(Rejection::from),
    );
    all
}

/// What is written by hand is what a library would write.
#[test]
fn every_body_is_json_and_every_sentence_plain() {
    for rejection in all() {
        for named_deployment in [None, Some("name")] {
            let other_routes = named_deployment.map(|_| "GET /x; of this Deployment it opens POST only");
            let about = About { named_deployment, other_routes };
            let context = ReplyContext { request_id: "a-b_c.d:e+f/g=", realm: "r \"x\\", about };
            let sentence = rejection.sentence(about);
            assert!(sentence.chars().all(|c| matches!(c, ' '..='~') && !"\"\\".contains(c)), "{sentence}");
            let response = rejection.respond(&context);
            let problem: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
            let status = rejection.status();
            let code = rejection.code();
            let error = serde_json::json!({
                "message": sentence, "type": problem["error"]["type"], "code": code,
            });
            let expected = serde_json::json!({
                "detail": sentence, "code": code, "status": status.as_u16(),
                "title": status.canonical_reason(), "type": format!("/-/errors#{code}"),
                "request_id": context.request_id, "error": error,
            });
            assert_eq!(problem, expected);
        }
    }
}

/// `docs/errors.md` lists each code with its status, in a chapter that says whose doing it is.
#[test]
fn the_documentation_has_this_table() {
    let text = include_str!("../../../docs/errors.md");
    let mut documented = Vec::new();
    let mut source = None;
    let mut heading = None;
    for line in text.lines() {
        source = match line.strip_prefix("## ") {
            Some("The request is at fault" | "The credential is at fault" | "The Deployment has enough to do") => {
                Some(Source::Downstream)
            }
            Some("The gateway is at fault" | "The operator stopped it") => Some(Source::Gateway),
            Some("The service is at fault") => Some(Source::Upstream),
            Some(_) => None,
            None => source,
        };
        // ### `code`, and below it **status.**
        if let Some(code) = line.strip_prefix("### `").and_then(|line| line.strip_suffix('`')) {
            heading = Some(code);
        } else if let (Some(source), Some(status)) = (source, line.strip_prefix("**"))
            && let Some(code) = heading.take()
        {
            documented.push((code.to_owned(), status[..3].parse().unwrap(), source));
        }
    }
    let row = |rejection: Rejection| {
        let Row { code, status, source, .. } = rejection.row();
        (code.to_owned(), status.as_u16(), source)
    };
    let mut coded: Vec<(String, u16, Source)> = all().into_iter().map(row).collect();
    for list in [&mut documented, &mut coded] {
        list.sort_by(|one, other| one.0.cmp(&other.0));
        list.dedup();
    }
    assert_eq!(documented, coded);
}
