//! The life of a request, top to bottom.
//!
//! Each step takes what the one before has established. A request is forwarded by [`forward`] alone, which takes a
//! [`Permit`], which only [`permit`](super::permit) can make.

use std::{
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header, request::Parts};
use hyper::body::{Body, Incoming};

use super::{
    connection::Connection,
    cors::Cors,
    credential::{self, BadCredential, Credential},
    deadlines::{Cut, Deadline, Timer},
    headers::{self, BodyFraming, UpstreamRequest},
    pages,
    permit::{Gate, Permit},
    readyz_tarpit,
    record::Record,
    rejection::{BadRequest, Denied, Rejection, ReplyContext, UpstreamFailure},
    target::Target,
    upstream::{
        body::ResponseBody,
        exchange::{Exchange, Load},
        head::ResponseHead,
        pool,
        request_writer::RequestWriter,
    },
    websocket,
    worker::Worker,
};
use crate::{
    domain::deployment::DeploymentName,
    http::{forwarding::Forwarding, same_origin::Initiator},
    index::routes::{Route, RouteKey, Upstream},
    telemetry::access_log::RequestOutcome,
};

/// How much of a refused body is thrown away, bytes, and for how long, before its stream is reset.
const MAX_THROWN_AWAY: usize = 256 * 1024;
const THROW_AWAY_TIME: Duration = Duration::from_secs(1);

/// Answers one request; there is always an answer and always a record.
pub async fn handle(
    worker: Rc<Worker>,
    connection: Rc<Connection>,
    request: Request<Incoming>,
) -> Response<ResponseBody> {
    let (head, body) = request.into_parts();
    let id = headers::request_id(&head.headers, || worker.new_request_id()).into_owned();
    let mut record = worker.record(&connection);
    record.request(&id, &head.method, head.uri.path());

    let unread = !body.is_end_stream();
    let may_ask_for_ever = readyz_tarpit::applies_to(&head.method, head.uri.path());
    let mut body = Some(body);
    let answer = Received { worker: &worker, connection: &connection, id: &id }.pass(head, &mut body, record).await;
    let mut response = match answer {
        Ok(response) => response,
        Err(refused) => {
            let caller = refused.record.caller();
            if may_ask_for_ever && let Some(_held) = worker.tarpit.refused(caller, Instant::now()) {
                tokio::time::sleep(readyz_tarpit::DELAY).await;
            }
            if let Some(body) = body.filter(|_| unread && refused.version == Version::HTTP_2) {
                tokio::task::spawn_local(throw_away(body));
            }
            refused.respond(unread)
        }
    };
    if let Ok(id) = HeaderValue::try_from(id) {
        response.headers_mut().insert(headers::X_REQUEST_ID.clone(), id);
    }
    response
}

/// The reason in the access log of what is answered here and is no refusal.
const OWN: &str = "own_page";

/// Whose answer it is.
#[expect(clippy::large_enum_variant, reason = "the large one is every request's, which need not pay for a box")]
enum Answered {
    Upstream(ResponseHead, Exchange),
    Own(Response<Bytes>),
}

struct Received<'a> {
    worker: &'a Rc<Worker>,
    connection: &'a Connection,
    id: &'a str,
}

impl Received<'_> {
    /// Takes the body where it is forwarded.
    async fn pass(
        self,
        head: Parts,
        body: &mut Option<Incoming>,
        mut record: Record,
    ) -> Result<Response<ResponseBody>, Box<Refused>> {
        let gateway = &self.worker.gateway;
        let settings = gateway.settings.load();
        let mut named_deployment: Option<DeploymentName> = None;
        let mut cors = Cors::default();
        let mut navigation = None;
        let version = head.version;
        let outcome = async {
            // 1. What was asked, read once, and refused where two parsers could differ.
            let target = Target::parse(&head, settings.limits.max_uri_bytes)?;
            record.host(target.host());
            headers::check_message(&head.headers)?;
            let has_body = body.as_ref().is_some_and(|body| !body.is_end_stream());
            let websocket = headers::asks_for_websocket(&head, has_body)?;
            let forwarding = Forwarding::read(&head.headers, self.connection.peer, &settings.trusted_proxies);
            record.client(forwarding.client);

            // 2. Where it would go. Nobody is told yet whether anything is there.
            let routes = gateway.index.routes.load();
            let key = RouteKey { listener: self.connection.listener, host: target.host(), path: target.path };
            let route = routes.find(key);
            // What an answer may name: what the caller named itself, if it is a name, or whose listener it came in by.
            named_deployment = match &route.deployment {
                Some(deployment) if self.connection.listener.is_some() => Some(deployment.spec.name.clone()),
                _ => route.named_deployment.and_then(|name| name.parse().ok()),
            };

            // 3. What is answered here: the pages under our own prefix, and what browsers ask before a call from a page.
            cors = Cors::of(&head, &route);
            let gate = Gate { index: &gateway.index, verifier: &gateway.verifier, usage: &gateway.usage };
            let own_page = pages::OwnPage {
                gateway,
                settings: &settings,
                gate,
                head: &head,
                target: &target,
                route: &route,
                forwarding: &forwarding,
                named_deployment: named_deployment.as_ref().map(DeploymentName::as_str),
            };
            if target.path[route.prefix_len..].starts_with(pages::PREFIX) {
                // Rare and large: boxed, so that it is no part of every request.
                return Ok(Answered::Own(Box::pin(pages::respond(&own_page, body.take())).await));
            }
            if pages::navigates(&head) {
                navigation = Some(pages::Navigation::of(&own_page));
            }
            if let Some(own) = cors.preflight(&head) {
                return Ok(Answered::Own(own));
            }

            // 4. Whether it may: the only maker of a permit.
            let credential = self.credential(&head, &target, &route, &forwarding, websocket)?;
            let permit = own_page.gate.admit(&route, credential).await?;
            record.deployment(permit.spec().name.as_str());
            record.token(permit.token_uid());

            // 5. What its Deployment takes.
            headers::check_pickle(&head.headers, &permit)?;
            let framing = framing(&head, body.as_ref());
            check_length(framing, &permit)?;

            // 6. Forwarded, with the caller's credential removed and our fields set last.
            let (forwarding, target) = (&forwarding, &target);
            let outgoing = UpstreamRequest {
                head: &head,
                target,
                permit: &permit,
                forwarding,
                request_id: self.id,
                framing,
                websocket,
            };
            let deadline = self.worker.sweep.register(permit.clone(), self.connection.downstream());
            let (mut answer, exchange) = forward(self.worker, deadline, &outgoing, body.take(), &mut record).await?;
            headers::strip_response(&mut answer.headers);
            if permit.is_of_session() {
                headers::keep_private(&mut answer.headers);
            }
            cors.replace(&mut answer.headers);
            Ok(Answered::Upstream(answer, exchange))
        }
        .await;
        match outcome {
            Ok(Answered::Upstream(answer, exchange)) if answer.status == StatusCode::SWITCHING_PROTOCOLS => {
                Ok(websocket::tunnel(head, answer, exchange, record))
            }
            Ok(Answered::Upstream(answer, exchange)) => Ok(answered(answer, exchange, record)),
            Ok(Answered::Own(mut own)) => {
                cors.apply(own.headers_mut());
                record.responded(own.status().as_u16(), OWN);
                if record.is_for_head() || own.body().is_empty() {
                    // The library never asks for the body.
                    record.ended(RequestOutcome::Complete);
                }
                Ok(own.map(|bytes| ResponseBody::own(bytes, record, RequestOutcome::Complete)))
            }
            Err(failure) => {
                let realm = settings.realm.clone();
                Err(Box::new(Refused { failure, record, realm, named_deployment, version, navigation, cors }))
            }
        }
    }

    /// What the caller shows: a token, or else the session of a browser whose own pages ask.
    fn credential<'h>(
        &self,
        head: &'h Parts,
        target: &Target<'_>,
        route: &Route<'_>,
        forwarding: &Forwarding,
        websocket: bool,
    ) -> Result<Result<Option<Credential<'h>>, BadCredential>, Denied> {
        let presented = credential::presented(&head.headers, websocket);
        let (Ok(None), Some(deployment)) = (presented, &route.deployment) else {
            return Ok(presented.map(|token| token.map(Credential::Token)));
        };
        let initiator = || Initiator::read(&head.headers, |origin| forwarding.goes_to(origin, &target.authority));
        let safe = matches!(head.method, Method::GET | Method::HEAD) && !websocket;
        match credential::session(&head.headers, forwarding.https, &deployment.spec.name) {
            Some(_) if deployment.spec.protected && !initiator().may(safe) => Err(Denied::CrossSite),
            session => Ok(Ok(session.map(Credential::Session))),
        }
    }
}

/// Sends the request where its permit allows, and returns when the head of the answer is here.
///
/// An upstream that takes no connection is passed over: nothing was sent to it. A request that met an idle connection as
/// it was being closed is sent once more, if it can do no harm twice.
///
/// # Errors
/// Any [`Rejection`] but a denial.
async fn forward(
    worker: &Rc<Worker>,
    mut deadline: Deadline,
    outgoing: &UpstreamRequest<'_>,
    mut body: Option<Incoming>,
    record: &mut Record,
) -> Result<(ResponseHead, Exchange), Rejection> {
    let permit = outgoing.permit;
    let max_body = permit.spec().settings.max_body_bytes;
    let method = &outgoing.head.method;
    let mut may_reuse = true;
    loop {
        let (connection, upstream) = connect(worker, permit, &deadline, may_reuse).await?;
        let head = outgoing.write(upstream.url.base_path());
        let writer = RequestWriter::new(head, body.take(), outgoing.framing, max_body);
        let load = Load::on(&upstream);
        let mut exchange = Exchange::new(connection, writer, deadline, load, Rc::clone(&worker.pool));
        match exchange.head(method).await {
            Ok(answer) if answer.status == StatusCode::SWITCHING_PROTOCOLS => {
                // Only the answer to our own upgrade makes a tunnel.
                let expected = outgoing.websocket && answer.websocket;
                return if expected { Ok((answer, exchange)) } else { Err(UpstreamFailure::Malformed.into()) };
            }
            Ok(answer) => return Ok((answer, exchange)),
            Err(failure) if exchange.may_be_sent_again(failure, method) => {
                may_reuse = false;
                let writer;
                (writer, deadline) = exchange.into_writer_and_deadline();
                body = writer.into_body();
            }
            Err(failure) => {
                record.received(exchange.received());
                return Err(failure);
            }
        }
    }
}

/// A connection to the least loaded upstream that takes one: an idle one if there is one.
async fn connect(
    worker: &Worker,
    permit: &Permit,
    deadline: &Deadline,
    may_reuse: bool,
) -> Result<(pool::Connection, Arc<Upstream>), Rejection> {
    let keep_alive = worker.gateway.settings.load().upstream_keep_alive;
    let mut failure = Rejection::Upstream(UpstreamFailure::Connect);
    for upstream in permit.upstreams() {
        if may_reuse && let Some(connection) = worker.pool.take(upstream, keep_alive) {
            return Ok((connection, Arc::clone(upstream)));
        }
        deadline.arm(Timer::Connect, permit.spec().settings.connect_timeout);
        match deadline.guard(pool::connect(&upstream.url)).await {
            Ok(Ok(connection)) => return Ok((connection, Arc::clone(upstream))),
            Ok(Err(error)) => {
                tracing::debug!(upstream = %upstream.url, %error, "an upstream takes no connection");
                failure = UpstreamFailure::Connect.into();
            }
            Err(cut @ Cut::Timeout(_)) => {
                deadline.clear();
                failure = cut.into();
            }
            Err(cut) => return Err(cut.into()),
        }
    }
    Err(failure)
}

/// One framing towards the upstream, whatever came: a length if one was announced, else chunks if there is a body.
fn framing(head: &Parts, body: Option<&Incoming>) -> BodyFraming {
    let Some(body) = body else { return BodyFraming::None };
    match body.size_hint().exact() {
        // A method that usually has a body says that it has none.
        Some(0) if matches!(head.method, Method::POST | Method::PUT | Method::PATCH) => BodyFraming::Length(0),
        Some(0) => BodyFraming::None,
        Some(length) => BodyFraming::Length(length),
        None if body.is_end_stream() => BodyFraming::None,
        None => BodyFraming::Chunked,
    }
}

/// Reads what a refused caller of HTTP/2 is still sending. Otherwise its stream would be reset right behind the answer,
/// which is legal, but some callers (curl 7.88) overlook an answer that comes so before they have sent all.
async fn throw_away(mut body: Incoming) {
    let all = async {
        let mut left = MAX_THROWN_AWAY;
        while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                return;
            }
        }
    };
    // Whoever is slower than that has had the answer for long.
    let _ = tokio::time::timeout(THROW_AWAY_TIME, all).await;
}

fn check_length(framing: BodyFraming, permit: &Permit) -> Result<(), BadRequest> {
    match (framing, permit.spec().settings.max_body_bytes) {
        (BodyFraming::Length(length), Some(limit)) if length > limit => Err(BadRequest::TooLarge),
        _ => Ok(()),
    }
}

/// The upstream's answer, without what concerned its connection only.
fn answered(answer: ResponseHead, exchange: Exchange, mut record: Record) -> Response<ResponseBody> {
    record.responded(answer.status.as_u16(), "");
    record.first_byte();
    let mut response = Response::new(ResponseBody::streamed(exchange, record));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    response
}

/// A request that gets an answer of ours.
struct Refused {
    failure: Rejection,
    record: Record,
    realm: String,
    named_deployment: Option<DeploymentName>,
    version: Version,
    /// `None`: nobody looks at the answer.
    navigation: Option<pages::Navigation>,
    cors: Cors,
}

impl Refused {
    /// `unread`: a part of the body has not been read. It cannot become the next request: the connection is closed.
    fn respond(mut self, unread: bool) -> Response<ResponseBody> {
        let to = ReplyContext {
            request_id: self.record.request_id(),
            realm: &self.realm,
            named_deployment: self.named_deployment.as_ref().map(DeploymentName::as_str),
        };
        let mut response = self.failure.respond(&to);
        if let Some(navigation) = self.navigation.as_ref().filter(|_| self.failure.asks_to_sign_in()) {
            let sentence = self.failure.sentence(to.named_deployment);
            let nothing_sent = self.failure == Rejection::Denied(Denied::NoCredential);
            navigation.instead(&mut response, Some(&*sentence).filter(|_| !nothing_sent));
        }
        self.cors.apply(response.headers_mut());
        if let Rejection::Upstream(_) | Rejection::Cut(_) = self.failure {
            tracing::debug!(
                reason = self.failure.code(),
                request_id = self.record.request_id(),
                "not answered by its upstream"
            );
        }
        self.record.responded(response.status().as_u16(), self.failure.code());
        if let Some(uid) = self.failure.token() {
            self.record.token(Some(uid));
        }
        // Nobody reads the answer of a request that broke off.
        let broke_off = self.failure == Rejection::BadRequest(BadRequest::BrokenOff);
        let end = if broke_off { RequestOutcome::CallerLeft } else { RequestOutcome::Complete };
        if self.record.is_for_head() {
            // The library never asks for the body of the answer.
            self.record.ended(end);
        }
        let mut response = response.map(|bytes| ResponseBody::own(bytes, self.record, end));
        if unread && self.version < Version::HTTP_2 {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}
