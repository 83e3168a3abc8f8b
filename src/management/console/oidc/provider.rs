//! What is known of the provider: its discovery document and its keys. They are read at the first sign-in, and again when
//! they are old or an ID token is signed with a key that is not among them; sign-ins at the same time read them once.

use std::{
    error::Error,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use openidconnect::{
    AsyncHttpClient, AuthType, Client, ClientId, ClientSecret, DiscoveryError, EmptyAdditionalClaims, EndpointMaybeSet,
    EndpointNotSet, EndpointSet, HttpRequest, HttpResponse, IssuerUrl, RedirectUrl, RequestTokenError,
    StandardErrorResponse,
    core::{
        CoreAuthDisplay, CoreAuthPrompt, CoreClientAuthMethod, CoreErrorResponseType, CoreGenderClaim, CoreJsonWebKey,
        CoreJweContentEncryptionAlgorithm, CoreProviderMetadata, CoreRevocableToken, CoreRevocationErrorResponse,
        CoreTokenIntrospectionResponse,
    },
};

use super::{FlowError, tokens::Tokens};
use crate::{
    config::OidcConfig,
    http::client::{self, ClientError},
    system::clock::ClockReading,
};

/// For one request to the provider.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How old what is known may get. A key that the provider has withdrawn is trusted for as long.
const MAX_AGE: Duration = Duration::from_secs(3600);
/// How soon another signature that no known key fits has it read again.
const MIN_AGE: Duration = Duration::from_secs(60);

/// The library's client, its endpoints as discovery leaves them.
pub type Provider = Client<
    EmptyAdditionalClaims,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    StandardErrorResponse<CoreErrorResponseType>,
    Tokens,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;
type TokenError = RequestTokenError<ClientError, StandardErrorResponse<CoreErrorResponseType>>;

/// The one provider of the configuration, as far as it is known.
#[derive(Default)]
pub struct Providers {
    state: tokio::sync::Mutex<State>,
    /// How often it was asked so far.
    asked: AtomicU64,
}

#[derive(Default)]
struct State {
    /// `None`: it has never been asked successfully.
    known: Option<Arc<Known>>,
    /// Why it said nothing when it was asked last. `None`: it did, or was not asked.
    failure: Option<FlowError>,
    /// When it was asked last because a key was missing.
    searched: Option<ClockReading>,
}

pub struct Known {
    config: OidcConfig,
    metadata: CoreProviderMetadata,
    /// Keeps its connections from one sign-in to the next.
    http: client::Outward,
    read_at: ClockReading,
}

/// Sends the library's requests, and knows for the log which was the last.
pub struct Asker {
    http: client::Outward,
    last: Mutex<String>,
}

impl Providers {
    /// # Errors
    /// The provider cannot be asked, or says what cannot be read.
    pub async fn get(&self, config: &OidcConfig, now: ClockReading) -> Result<Arc<Known>, FlowError> {
        self.read(config, now, None).await
    }

    /// For a signature that no key of `seen` fits: with other keys if there are any, or else `seen`.
    ///
    /// # Errors
    /// As above.
    pub async fn newer(&self, seen: &Arc<Known>, now: ClockReading) -> Result<Arc<Known>, FlowError> {
        self.read(&seen.config, now, Some(seen)).await
    }

    async fn read(
        &self,
        config: &OidcConfig,
        now: ClockReading,
        seen: Option<&Arc<Known>>,
    ) -> Result<Arc<Known>, FlowError> {
        let asked = self.asked.load(Relaxed);
        let mut state = self.state.lock().await;
        let asked_meanwhile = self.asked.load(Relaxed) != asked;
        match &state.known {
            Some(known) if known.config == *config && state.serves(known, now, seen) => return Ok(Arc::clone(known)),
            _ => {}
        }
        if let (true, Some(failure)) = (asked_meanwhile, &state.failure) {
            return Err(failure.clone());
        }
        if seen.is_some() {
            state.searched = Some(now);
        }
        let read = Known::read(config, now).await.map(Arc::new);
        self.asked.fetch_add(1, Relaxed);
        state.failure = read.as_ref().err().cloned();
        if let Ok(known) = &read {
            state.known = Some(Arc::clone(known));
        }
        read
    }
}

impl State {
    fn serves(&self, known: &Arc<Known>, now: ClockReading, seen: Option<&Arc<Known>>) -> bool {
        let younger = |than: Duration| move |at: ClockReading| now.since(at) < than;
        match seen {
            None => younger(MAX_AGE)(known.read_at),
            Some(seen) => !Arc::ptr_eq(known, seen) || self.searched.is_some_and(younger(MIN_AGE)),
        }
    }
}

impl Known {
    async fn read(config: &OidcConfig, now: ClockReading) -> Result<Self, FlowError> {
        let http = client::outward(TIMEOUT)
            .map_err(|error| FlowError::Provider(format!("this machine has no root certificates: {error}")))?;
        let metadata = discover(config, &Asker::new(http.clone())).await?;
        Ok(Self { config: config.clone(), metadata, http, read_at: now })
    }

    pub fn metadata(&self) -> &CoreProviderMetadata {
        &self.metadata
    }

    /// `client_secret`.
    pub fn secret(&self) -> Option<&str> {
        self.config.client_secret.as_ref().map(|secret| secret.expose())
    }

    pub fn asker(&self) -> Asker {
        Asker::new(self.http.clone())
    }

    /// The library's client, for browsers that come back to `redirect_uri`.
    ///
    /// # Errors
    /// That is no URL.
    pub fn client(&self, redirect_uri: &str) -> Result<Provider, FlowError> {
        let metadata = self.metadata.clone();
        let posts = metadata.token_endpoint_auth_methods_supported().is_some_and(|methods| {
            methods.contains(&CoreClientAuthMethod::ClientSecretPost)
                && !methods.contains(&CoreClientAuthMethod::ClientSecretBasic)
        });
        let config = &self.config;
        let secret = self.secret().map(|secret| ClientSecret::new(secret.to_owned()));
        let redirect_uri = RedirectUrl::new(redirect_uri.to_owned()).map_err(|error| FlowError::unusable(&error))?;
        let client = Client::from_provider_metadata(metadata, ClientId::new(config.client_id.clone()), secret);
        let auth = if posts { AuthType::RequestBody } else { AuthType::BasicAuth };
        Ok(client.set_redirect_uri(redirect_uri).set_auth_type(auth))
    }
}

async fn discover(config: &OidcConfig, asker: &Asker) -> Result<CoreProviderMetadata, FlowError> {
    let issuer = |text: String| IssuerUrl::new(text).map_err(|error| FlowError::unusable(&error));
    let discovered = match CoreProviderMetadata::discover_async(issuer(config.issuer.clone())?, asker).await {
        // It calls itself otherwise. A slash at the end is the one difference that people make.
        Err(DiscoveryError::Validation(_)) => {
            let other = match config.issuer.strip_suffix('/') {
                Some(bare) => bare.to_owned(),
                None => format!("{}/", config.issuer),
            };
            CoreProviderMetadata::discover_async(issuer(other)?, asker).await
        }
        discovered => discovered,
    };
    discovered.map_err(|error| asker.failed(&error))
}

impl Asker {
    fn new(http: client::Outward) -> Self {
        Self { http, last: Mutex::default() }
    }

    /// Why what was asked last has not worked.
    pub fn failed(&self, error: &(dyn Error + 'static)) -> FlowError {
        self.said(&with_causes(error))
    }

    /// The same for tokens, of which the log must not quote what was answered.
    pub fn refused(&self, error: TokenError) -> FlowError {
        match error {
            RequestTokenError::Parse(error, _) => self.said(&place(error.path(), error.inner())),
            error => self.failed(&error),
        }
    }

    /// What was asked last, and why that has not worked.
    pub fn said(&self, why: &str) -> FlowError {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        FlowError::Provider(if last.is_empty() { why.to_owned() } else { format!("{last}: {why}") })
    }
}

impl<'a> AsyncHttpClient<'a> for Asker {
    type Error = ClientError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, ClientError>> + Send + 'a>>;

    fn call(&'a self, request: HttpRequest) -> Self::Future {
        // Not the query: it is of no use for the log.
        let url = request.uri().to_string();
        let asked = format!("{} {}", request.method(), url.split('?').next().unwrap_or_default());
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = asked;
        Box::pin(async move { Ok(self.http.send(request).await?.map(Into::into)) })
    }
}

/// Where in an answer is what cannot be read, and not what it is.
fn place(path: &impl std::fmt::Display, error: &serde_json::Error) -> String {
    let kind = match error.classify() {
        serde_json::error::Category::Data => "is missing or not of the kind that it should be",
        _ => "is no JSON",
    };
    format!("the answer cannot be read: {path} {kind} (line {}, column {})", error.line(), error.column())
}

impl FlowError {
    pub fn unusable(error: &(dyn Error + 'static)) -> Self {
        Self::Provider(with_causes(error))
    }

    pub fn invalid(error: &(dyn Error + 'static)) -> Self {
        Self::Invalid(with_causes(error))
    }
}

/// The library's own text often says only that something failed.
fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize};

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// A provider that counts how often it is asked what it is.
    #[derive(Default)]
    struct Stub {
        discoveries: AtomicUsize,
        away: AtomicBool,
    }

    async fn start(stub: Arc<Stub>) -> OidcConfig {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let says = issuer.clone();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = [0; 2048];
                let read = stream.read(&mut head).await.unwrap();
                let body = if head[..read].starts_with(b"GET /keys ") {
                    "{\"keys\":[]}".to_owned()
                } else {
                    stub.discoveries.fetch_add(1, Relaxed);
                    format!(
                        "{{\"issuer\":\"{says}\",\"authorization_endpoint\":\"{says}/a\",\"token_endpoint\":\"{says}/t\",\
                         \"jwks_uri\":\"{says}/keys\",\"response_types_supported\":[\"code\"],\
                         \"subject_types_supported\":[\"public\"],\"id_token_signing_alg_values_supported\":[\"RS256\"]}}"
                    )
                };
                let status = if stub.away.load(Relaxed) { 503 } else { 200 };
                let head =
                    format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
                stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
            }
        });
        OidcConfig {
            issuer,
            client_id: "gateway".to_owned(),
            client_secret: None,
            label: String::new(),
            scopes: Vec::new(),
            role_claim: None,
            admin_values: Vec::new(),
            allowed_values: vec!["*".to_owned()],
            passwords: false,
            trust_email: false,
        }
    }

    #[tokio::test]
    async fn it_is_asked_when_what_it_said_is_old_or_lacks_a_key() {
        let stub = Arc::<Stub>::default();
        let asked = || stub.discoveries.load(Relaxed);
        let config = start(Arc::clone(&stub)).await;
        let (providers, now) = (Providers::default(), ClockReading::now());
        let both = tokio::join!(providers.get(&config, now), providers.get(&config, now));
        let (known, other) = (both.0.unwrap(), both.1.unwrap());
        assert!(Arc::ptr_eq(&known, &other) && asked() == 1);
        providers.get(&config, now.after(MAX_AGE - MIN_AGE)).await.unwrap();
        assert_eq!(asked(), 1);
        let known = providers.get(&config, now.after(MAX_AGE)).await.unwrap();
        assert_eq!(asked(), 2);

        let later = now.after(MAX_AGE + MIN_AGE);
        let newer = providers.newer(&known, later).await.unwrap();
        assert_eq!(asked(), 3);
        // Somebody else has seen the same as `known`, and one who has seen the newest comes too soon.
        for seen in [&known, &newer] {
            assert!(Arc::ptr_eq(&providers.newer(seen, later.after(MIN_AGE / 2)).await.unwrap(), &newer));
        }
        assert_eq!(asked(), 3);
        providers.newer(&newer, later.after(MIN_AGE)).await.unwrap();
        assert_eq!(asked(), 4);
        let changed = OidcConfig { client_id: "other".to_owned(), ..config };
        assert_eq!(providers.get(&changed, later).await.unwrap().config, changed);
        assert_eq!(asked(), 5);
    }

    #[tokio::test]
    async fn who_waits_for_a_failure_shares_it_and_who_comes_later_asks_again() {
        let stub = Arc::<Stub>::default();
        stub.away.store(true, Relaxed);
        let config = start(Arc::clone(&stub)).await;
        let (providers, now) = (Providers::default(), ClockReading::now());
        let both = tokio::join!(providers.get(&config, now), providers.get(&config, now));
        let text = both.0.err().unwrap().to_string();
        assert!(text.contains("/.well-known/openid-configuration: ") && text.contains("503"), "{text}");
        assert!(both.1.is_err() && stub.discoveries.load(Relaxed) == 1);
        stub.away.store(false, Relaxed);
        assert!(providers.get(&config, now).await.is_ok());
    }
}
