//! The listener where other proxies ask whether a request that they have may pass. They forward it themselves.
//!
//! [`question`] reads what they tell of that request, [`ext_authz`] what Envoy does by gRPC. What they ask about then goes
//! through the same stages as a request that came here itself, up to its permit and its rate; so the answer is the same.

mod ext_authz;
pub mod question;

use std::rc::Rc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, header::TRANSFER_ENCODING, request::Parts};
use hyper::body::{Body, Incoming};
use uuid::fmt::Hyphenated;

use self::question::{Dialect, Question};
use super::{
    cors,
    credential::BadCredential,
    expiry_field::say_end,
    headers,
    permit::{Denied, Gate, Permit},
    rate_fields::say_rate,
    record::Record,
    rejection::{BadRequest, Rejection, ReplyContext},
    reply,
    request::{Received, Request, Routed},
    request_id::{self, Digits, X_REQUEST_ID},
    state::{Connection, Worker},
    upstream::{body::ResponseBody, request_writer::BodyFraming},
    upstream_request::UpstreamRequest,
};
use crate::{
    http::network::Network,
    index::rate::Left,
    telemetry::line::{FORWARD_AUTH, RequestOutcome},
};

static DEPLOYMENT: HeaderName = HeaderName::from_static("x-bento-gateway-deployment");
static TOKEN_UID: HeaderName = HeaderName::from_static("x-bento-gateway-token-uid");
/// The code of a rejection, for proxies that do not pass its body on.
static REASON: HeaderName = HeaderName::from_static("x-bento-gateway-reason");

/// What the asker is told, before it is said in its words.
struct Answer {
    /// If the request may pass, its fields are for the service. Else this is for the caller.
    response: Response<Bytes>,
    /// The caller's fields that are not for the service. Empty if the request may not pass.
    kept_back: Vec<HeaderName>,
}

/// Responds to one question; as for each request, there is always a response, and always a record.
pub async fn handle(
    worker: Rc<Worker>,
    connection: Rc<Connection>,
    stream: Option<u32>,
    request: http::Request<Incoming>,
) -> Response<ResponseBody> {
    let (head, body) = request.into_parts();
    let has_body = !body.is_end_stream();
    let mut record = worker.record(&connection, stream, !has_body || head.headers.contains_key(TRANSFER_ENCODING));
    record.persistent(headers::is_persistent(&head));
    let by_grpc = ext_authz::is_asked(&head);
    let asked_at = Dialect::of(head.uri.path());
    let dialect = asked_at.as_ref().map(|(dialect, _)| *dialect);
    let question = if by_grpc { ext_authz::read(body).await } else { Question::read(&head, asked_at, has_body) };
    if by_grpc || !has_body {
        record.request_ended();
    }
    let asked = question.as_ref().map_or(&head, |question| &question.head);
    let mut digits = Digits::default();
    let id = request_id::of_request(&asked.headers, || worker.next_request_number(), &mut digits);
    record.request(id, &asked.method, asked.uri.path());
    let settings = worker.gateway.settings.load();
    let forwarded_to = question.as_ref().ok().map(|question| question.deployment.as_str());
    let received =
        Received { id, head: asked, has_body: false, forwarded_to, connection: &connection, settings: &settings };
    let mut answer = match &question {
        Ok(question) => decide(&worker, question, received, &mut record).await,
        Err(reason) => reject(&worker, Rejection::from(*reason), &received.reply_context(), asked, &mut record),
    };
    if let Ok(id) = HeaderValue::from_str(id) {
        answer.response.headers_mut().insert(X_REQUEST_ID.clone(), id);
    }
    match question {
        Ok(Question { dialect: Dialect::Grpc, .. }) => ext_authz::answer(answer, record),
        Err(reason) if by_grpc => ext_authz::fail(reason, record),
        question => {
            let mut response = answer.response;
            if let Some(dialect) = dialect {
                dialect.fold(&mut response);
            }
            if question.is_err() && has_body {
                // Its rest must not be read as the next question.
                response.headers_mut().insert(http::header::CONNECTION, HeaderValue::from_static("close"));
            }
            reply::with_body(response, record, RequestOutcome::Complete)
        }
    }
}

async fn decide(worker: &Worker, question: &Question, received: Received<'_>, record: &mut Record) -> Answer {
    let request = match read(question, received, record) {
        Ok(request) => request,
        Err(rejection) => return reject(worker, rejection, &received.reply_context(), received.head, record),
    };
    let mut routed = request.route(&worker.gateway.index);
    match permit(worker, &mut routed, record).await {
        Ok(answer) => answer,
        Err(rejection) => {
            let other_routes = routed.other_routes(&Gate::of(&worker.gateway), rejection);
            reject(worker, rejection, &routed.reply_context(other_routes.as_deref()), received.head, record)
        }
    }
}

/// Refuses, too, what the gateway would have kept from the service and the proxy does not.
fn read<'a>(question: &Question, received: Received<'a>, record: &mut Record) -> Result<Request<'a>, Rejection> {
    let request = received.read(record)?;
    if question.switches_elsewhere(request.websocket) {
        return Err(BadRequest::Upgrade.into());
    }
    if question.passes_for_ours {
        return Err(BadRequest::Spelling.into());
    }
    if question.token_elsewhere {
        return Err(Denied::Credential(BadCredential::Misplaced).into());
    }
    Ok(request)
}

async fn permit(worker: &Worker, routed: &mut Routed<'_>, record: &mut Record) -> Result<Answer, Rejection> {
    let permit = routed.admit(&Gate::of(&worker.gateway)).await?;
    record.permitted(&permit);
    let request = UpstreamRequest::new(routed.request, &permit, BodyFraming::None)?;
    permit.check_budgets().map_err(Rejection::BudgetExhausted)?;
    let left = permit.count(Network::of(record.client_address())).map_err(Rejection::RateLimited)?;
    let mut response = permitted(&permit, left);
    let notice = routed.request.received.settings.expiry_notice;
    say_end(response.headers_mut(), &permit, notice, record.began());
    record.responded(response.status().as_u16(), FORWARD_AUTH);
    Ok(Answer { response, kept_back: request.kept_back() })
}

/// Says to the service what it would be told if the gateway had forwarded the request.
fn permitted(permit: &Permit, left: Option<Left>) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    let headers: &mut HeaderMap = response.headers_mut();
    if let Ok(name) = HeaderValue::from_str(permit.spec().name.as_str()) {
        headers.insert(&DEPLOYMENT, name);
    }
    // Empty at a public Deployment: a proxy that is told nothing might leave what the caller says.
    let mut uid = [0; Hyphenated::LENGTH];
    let uid = permit.token_uid().map_or("", |token| token.0.hyphenated().encode_lower(&mut uid));
    if let Ok(uid) = HeaderValue::from_str(uid) {
        headers.insert(&TOKEN_UID, uid);
    }
    if let Some(left) = left {
        say_rate(headers, &left);
    }
    response
}

fn reject(
    worker: &Worker,
    rejection: Rejection,
    context: &ReplyContext<'_>,
    asked: &Parts,
    record: &mut Record,
) -> Answer {
    let mut response = worker.prepared.respond(rejection, context);
    cors::readable(&mut response, asked);
    response.headers_mut().insert(&REASON, HeaderValue::from_static(rejection.code()));
    record.rejected(response.status(), rejection);
    Answer { response, kept_back: Vec::new() }
}
