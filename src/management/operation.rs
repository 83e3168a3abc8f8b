//! How an operation of the management API comes to be served: described, guarded and documented at once.
//!
//! [`Routes::add`] takes an [`Operation`] that says who may call it, and a handler that takes an [`ApiRequest`] by that very
//! kind of caller. There is no other way in, so an operation that nobody guards cannot be written, and one that is not
//! in the OpenAPI document cannot be served.

use std::{any::TypeId, marker::PhantomData, net::IpAddr, sync::Arc};

use axum::{
    Json, Router,
    extract::{RawPathParams, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
    routing::{MethodFilter, on},
};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};

use super::{
    Management,
    caller::{Anonymous, Caller, Principal},
    error::ApiError,
    limits::Limits,
    openapi::{Document, Empty, Entry},
};
use crate::{
    config::Config,
    domain::{audit::RequestKey, rights::Permission, timestamp::Timestamp},
    http::{lane::Lane, network::Network, single::Single},
    service::{Context, idempotency::earlier_result, receipt::Receipt},
    store::{Committed, Priority, SharedStore},
};

/// Longest `Idempotency-Key`, characters.
const MAX_REQUEST_KEY: usize = 128;

/// The field by which the stock client is known.
pub const CLIENT_VERSION: &str = "x-bentoml-version";

static IDEMPOTENCY_KEY: header::HeaderName = header::HeaderName::from_static("idempotency-key");

/// What is served where, and for whom.
pub struct Operation<P: Principal> {
    entry: Entry,
    requirement: P::Requirement,
    principal: PhantomData<fn() -> P>,
}

/// An operation before it is said who may call it.
pub struct OperationBuilder(Entry);

/// `path` may have one parameter, in braces. `id` is the name that generated clients give it.
pub fn operation(method: Method, path: &'static str, id: &'static str, summary: &'static str) -> OperationBuilder {
    OperationBuilder(Entry::new(method, path, id, summary))
}

impl OperationBuilder {
    /// For callers whose token has `permission`.
    pub fn requires(self, permission: Permission) -> Operation<Caller> {
        Operation { entry: self.0.requires(permission), requirement: permission, principal: PhantomData }
    }

    /// For everybody: no token is asked for. `lane`: of what strangers may ask for at once.
    pub fn anonymous(self, lane: fn(&Limits) -> &Lane<Network>) -> Operation<Anonymous> {
        Operation { entry: self.0, requirement: lane, principal: PhantomData }
    }

    /// What is asked for may contradict what exists.
    pub fn may_409(mut self) -> Self {
        self.0.may_409 = true;
        self
    }

    /// Its query or body may name something that does not exist.
    pub fn may_404(mut self) -> Self {
        self.0.may_404 = true;
        self
    }

    /// What is asked for can take a right away: what it reads does not wait for ordinary work either. Its verb makes an
    /// urgent change.
    pub fn urgent(mut self) -> Self {
        self.0.urgent = true;
        self
    }

    /// Its rate is limited by the client's address.
    pub fn limited(mut self) -> Self {
        self.0.limited = true;
        self
    }
}

/// A request that was read, and whose caller may make it.
pub struct ApiRequest<P, Q = Empty, B = Empty> {
    pub management: Arc<Management>,
    pub store: SharedStore,
    config: Arc<Config>,
    pub caller: P,
    /// The path's parameter; empty if it has none.
    pub param: String,
    pub query: Q,
    pub body: B,
    pub address: IpAddr,
    pub headers: HeaderMap,
    pub now: Timestamp,
    request: Option<RequestKey>,
}

impl<P: Principal, Q, B> ApiRequest<P, Q, B> {
    /// For the verbs of [`service`](crate::service), on behalf of the caller.
    pub fn context(&self) -> Context<'_> {
        Context {
            store: &self.store,
            tokens: &self.config.tokens,
            declared: &self.config.declared,
            sign_on: self.config.management.single_sign_on(),
            actor: self.caller.actor(),
            grantor: self.caller.grantor(),
            system: &*self.management.system,
            request: self.request.as_ref(),
            now: self.now,
        }
    }

    /// Opens what was committed once every replica decides by it, with its receipt. It takes the request, and with it the
    /// store: what the answer needs besides is read before the change, since no error may deny it.
    pub async fn settle<T>(self, committed: Committed<T>) -> (T, Option<Receipt>) {
        self.management.gateway.settle(&self.store, committed).await
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The key of limits.
    pub fn network(&self) -> Network {
        Network::of(self.address)
    }

    /// The client's `User-Agent`.
    pub fn client(&self) -> &str {
        self.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

impl<B> ApiRequest<Caller, Empty, B> {
    fn without_body(&self) -> ApiRequest<Caller> {
        ApiRequest {
            management: Arc::clone(&self.management),
            store: self.store.clone(),
            config: Arc::clone(&self.config),
            caller: self.caller.clone(),
            param: self.param.clone(),
            query: Empty {},
            body: Empty {},
            address: self.address,
            headers: self.headers.clone(),
            now: self.now,
            request: self.request.clone(),
        }
    }
}

pub struct Routes {
    router: Router<Arc<Management>>,
    document: Document,
}

impl Routes {
    pub fn new() -> Self {
        Self { router: Router::new(), document: Document::default() }
    }

    pub fn add<P, Q, B, A, F, H>(mut self, operation: Operation<P>, handler: H) -> Self
    where
        P: Principal,
        Q: DeserializeOwned + JsonSchema + Send + 'static,
        B: DeserializeOwned + JsonSchema + Send + 'static,
        A: Serialize + JsonSchema + 'static,
        F: Future<Output = Result<A, ApiError>> + Send + 'static,
        H: Fn(ApiRequest<P, Q, B>) -> F + Clone + Send + Sync + 'static,
    {
        let Operation { entry, requirement, .. } = operation;
        let filter = MethodFilter::try_from(entry.method.clone()).unwrap_or(MethodFilter::GET);
        let (idempotent, urgent) = (entry.idempotent, entry.urgent);
        let (method, template) = (entry.method.clone(), entry.path);
        let serve = move |State(management): State<Arc<Management>>, path: RawPathParams, request: Request| {
            let (handler, method) = (handler.clone(), method.clone());
            async move {
                let answered = async {
                    let priority = if urgent { Priority::Urgent } else { Priority::Ordinary };
                    let store = management.store()?.at(priority);
                    let call = read::<P, Q, B>(management, store, &path, request, requirement, idempotent).await?;
                    let (management, by, from) = (Arc::clone(&call.management), call.caller.actor(), call.address);
                    let answered = handler(call).await;
                    answered.inspect_err(|error| management.refused_change(&method, template, by, from, error))
                };
                answered.await.map_or_else(IntoResponse::into_response, |answer| succeeded(&answer))
            }
        };
        self.router = self.router.route(entry.path, on(filter, serve));
        self.document.add::<Q, B, A>(entry);
        self
    }

    /// An operation that creates something. Its requests may carry an `Idempotency-Key`: of those with the same key `create`
    /// does the first, and `created_before` answers the others, given the uid or name of what the first has created.
    pub fn add_idempotent<B, A, C, E, CF, EF>(self, operation: Operation<Caller>, create: C, created_before: E) -> Self
    where
        B: DeserializeOwned + JsonSchema + Send + 'static,
        A: Serialize + JsonSchema + Send + 'static,
        C: Fn(ApiRequest<Caller, Empty, B>) -> CF + Clone + Send + Sync + 'static,
        CF: Future<Output = Result<A, ApiError>> + Send + 'static,
        E: Fn(ApiRequest<Caller>, String) -> EF + Clone + Send + Sync + 'static,
        EF: Future<Output = Result<A, ApiError>> + Send + 'static,
    {
        let operation = Operation { entry: operation.entry.idempotent(), ..operation };
        self.add(operation, move |call| {
            let (create, created_before) = (create.clone(), created_before.clone());
            async move { once(call, create, created_before).await }
        })
    }

    pub fn finish(self) -> (Router<Arc<Management>>, Document) {
        (self.router, self.document)
    }
}

async fn once<B, A, CF, EF>(
    call: ApiRequest<Caller, Empty, B>,
    create: impl FnOnce(ApiRequest<Caller, Empty, B>) -> CF,
    created_before: impl FnOnce(ApiRequest<Caller>, String) -> EF,
) -> Result<A, ApiError>
where
    CF: Future<Output = Result<A, ApiError>>,
    EF: Future<Output = Result<A, ApiError>>,
{
    if call.request.is_none() {
        return create(call).await;
    }
    let again = call.without_body();
    if let Some(target) = earlier_result(&again.context()).await? {
        return created_before(again, target).await;
    }
    match create(call).await {
        // The same request may have come at the same time, and been faster.
        Err(conflict) if conflict.status() == StatusCode::CONFLICT => match earlier_result(&again.context()).await? {
            Some(target) => created_before(again, target).await,
            None => Err(conflict),
        },
        created => created,
    }
}

/// The only status of success is 200: any other one is an error to the `bentoml` CLI.
fn succeeded<A: Serialize>(answer: &A) -> Response {
    let mut response = (StatusCode::OK, Json(answer)).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Authorizes first: of a request whose caller may not do this, nothing else is read.
async fn read<P, Q, B>(
    management: Arc<Management>,
    store: SharedStore,
    path: &RawPathParams,
    request: Request,
    requirement: P::Requirement,
    idempotent: bool,
) -> Result<ApiRequest<P, Q, B>, ApiError>
where
    P: Principal,
    Q: DeserializeOwned,
    B: DeserializeOwned + 'static,
{
    let (head, body) = request.into_parts();
    let checked = P::check(&management, &store, &head, requirement).await?;
    let address = management.forwarding(&head).client;
    let query = read_query(head.uri.query().unwrap_or_default())?;
    let bytes = if TypeId::of::<B>() == TypeId::of::<Empty>() {
        b"{}".as_slice().into()
    } else {
        check_content_type(&head.headers)?;
        super::body::read(body).await?
    };
    let body = serde_json::from_slice(&bytes)
        .map_err(|error| ApiError::invalid(format!("the request body is not valid: {error}")))?;
    let caller = P::enter(checked, &management, address)?;
    let store = store.read_by(caller.reader());
    let request = if idempotent { request_key(&head, &bytes)? } else { None };
    let param = path.iter().next().map(|(_, value)| value.to_owned()).unwrap_or_default();
    let config = management.config.load_full();
    let now = management.system.now();
    Ok(ApiRequest {
        management,
        store,
        config,
        caller,
        param,
        query,
        body,
        address,
        headers: head.headers,
        now,
        request,
    })
}

/// The `bentoml` client sends parameters without a value (`?count=&q=`); they count as left out.
fn read_query<Q: DeserializeOwned>(text: &str) -> Result<Q, ApiError> {
    let unreadable =
        |error: &dyn std::fmt::Display| ApiError::invalid(format!("the query string is not valid: {error}"));
    let mut pairs: Vec<(String, String)> = serde_urlencoded::from_str(text).map_err(|error| unreadable(&error))?;
    pairs.retain(|(_, value)| !value.is_empty());
    let text = serde_urlencoded::to_string(pairs).map_err(|error| unreadable(&error))?;
    serde_urlencoded::from_str(&text).map_err(|error| unreadable(&error))
}

fn check_content_type(headers: &HeaderMap) -> Result<(), ApiError> {
    let value = match Single::read(headers, header::CONTENT_TYPE) {
        Single::Absent => return Ok(()),
        field => field.value().unwrap_or_default(),
    };
    let essence = value.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let text = "the request body must be JSON, sent with Content-Type: application/json";
    Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json", text))
}

/// `None`: the request has no `Idempotency-Key`.
fn request_key(head: &Parts, body: &[u8]) -> Result<Option<RequestKey>, ApiError> {
    let field = match Single::read(&head.headers, &IDEMPOTENCY_KEY) {
        Single::Absent => return Ok(None),
        field => field.value(),
    };
    let key = field.filter(|key| (1..=MAX_REQUEST_KEY).contains(&key.len()));
    let key = key.ok_or_else(|| {
        ApiError::invalid(format!(
            "there must be one Idempotency-Key, of 1 to {MAX_REQUEST_KEY} visible ASCII characters"
        ))
    })?;
    let mut hasher = blake3::Hasher::new();
    hasher.update(head.method.as_str().as_bytes()).update(head.uri.path().as_bytes()).update(b"\n").update(body);
    Ok(Some(RequestKey { key: key.to_owned(), hash: hasher.finalize().to_hex().to_string() }))
}

/// Tells a null (`Some(None)`) from a field that is left out (`None`).
pub fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Page {
        count: Option<u32>,
        q: Option<String>,
    }

    #[test]
    fn an_empty_value_is_none() {
        let read = |text| read_query::<Page>(text).map_err(|error| error.text().to_owned());
        let nothing = Page { count: None, q: None };
        assert_eq!(read("").unwrap(), nothing);
        assert_eq!(read("count=&q=&cluster=x").unwrap(), nothing);
        assert_eq!(read("count=7&q=a+b").unwrap(), Page { count: Some(7), q: Some("a b".to_owned()) });
        assert!(read("count=x").unwrap_err().contains("not valid"));
    }
}
