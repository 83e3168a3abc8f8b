//! The first stages of a request: received, read, routed. Each is made by the one before only, and holds what is known by
//! then.

use bytes::Bytes;
use http::{Method, Response, request::Parts};

use super::{
    cors::Cors,
    credential::{self, BadCredential, Presented},
    headers,
    own_paths::OWN_PAGES,
    permit::{Denied, Gate, Permit},
    record::Record,
    rejection::{About, Rejection, ReplyContext},
    state::Connection,
    target::Target,
};
use crate::{
    domain::deployment::DeploymentName,
    gateway::Settings,
    http::{forwarding::Forwarding, network::Network, same_origin::Initiator},
    index::{
        follow::Index,
        routes::{Route, RouteKey},
    },
};

/// Whether what leads there is for the gateway itself.
pub fn is_for_own_page(route: &Route<'_>) -> bool {
    route.path_below().starts_with(OWN_PAGES)
}

/// A request as hyper hands it over, the connection that it came on, and the settings that are in force for it.
#[derive(Clone, Copy)]
pub struct Received<'a> {
    /// The caller's own if it is harmless, else a new one.
    pub id: &'a str,
    pub head: &'a Parts,
    /// Whether any of its body is still to come.
    pub has_body: bool,
    /// The Deployment that another proxy forwards it to. `None`: it came here by itself.
    pub forwarded_to: Option<&'a str>,
    pub connection: &'a Connection,
    pub settings: &'a Settings,
}

/// A request that can be read in one way only.
pub struct Request<'a> {
    pub received: Received<'a>,
    pub target: Target<'a>,
    pub forwarding: Forwarding,
    /// The caller's fields that `Connection` takes away.
    pub named_by_connection: Vec<&'a str>,
    /// Whether it asks for a WebSocket.
    pub websocket: bool,
}

/// A request with the Deployment that it leads to, if it leads to any. Nobody has asked yet whether it may go there.
pub struct Routed<'r> {
    pub request: &'r Request<'r>,
    route: Route<'r>,
}

impl<'a> Received<'a> {
    /// Reads the request, and refuses it where two parsers could differ.
    ///
    /// # Errors
    /// [`Rejection`]: the caller sent what the gateway does not forward.
    pub fn read(self, record: &mut Record) -> Result<Request<'a>, Rejection> {
        headers::check_size(self.head, &self.settings.limits)?;
        let target = Target::parse(self.head, self.settings.limits.max_uri_bytes)?;
        record.host(target.host());
        let named_by_connection = headers::check_message(&self.head.headers, &self.settings.identity_fields)?;
        let websocket = headers::asks_for_websocket(self.head, self.has_body)?;
        let forwarding = Forwarding::read(&self.head.headers, &self.connection.peer, &self.settings.trusted_proxies);
        record.client(forwarding.client);
        Ok(Request { received: self, target, forwarding, named_by_connection, websocket })
    }

    /// What a rejection may say before the request was routed: nothing of any Deployment.
    pub fn reply_context(self) -> ReplyContext<'a> {
        ReplyContext { request_id: self.id, realm: &self.settings.realm, about: About::default() }
    }
}

impl Request<'_> {
    pub fn route(&self, index: &Index) -> Routed<'_> {
        let listener = self.received.connection.entrance.own();
        let Self { received: Received { head, has_body, forwarded_to, .. }, target, websocket, .. } = self;
        // A proxy that asks does not say whether there is a body.
        let plain = target.query.is_none() && !has_body && !websocket && forwarded_to.is_none();
        let (forwarded_to, method) = (*forwarded_to, Some(&head.method));
        let key = RouteKey { listener, forwarded_to, host: target.host(), path: target.path, method, plain };
        Routed { request: self, route: index.route(key) }
    }
}

impl<'r> Routed<'r> {
    pub fn head(&self) -> &'r Parts {
        self.request.received.head
    }

    pub fn route(&self) -> &Route<'r> {
        &self.route
    }

    /// Whether its path belongs to the gateway, at whatever Deployment's address.
    pub fn is_for_own_page(&self) -> bool {
        is_for_own_page(&self.route)
    }

    /// The response to a preflight of a page that may call. `None`: this is none.
    pub fn preflight(&self) -> Option<Response<Bytes>> {
        if self.head().method == Method::OPTIONS { self.cors().preflight(self.head()) } else { None }
    }

    /// Which pages of other origins may read the response.
    pub fn cors(&self) -> Cors {
        Cors::of(self.head(), &self.route)
    }

    /// What the caller shows: a token, or else the session of a browser at this Deployment. Which it is depends on the request
    /// alone.
    pub fn presented(&self) -> Presented<'r> {
        let Request { received, target, forwarding, websocket, .. } = self.request;
        let headers = &received.head.headers;
        let presented = credential::presented(headers, *websocket);
        let shared_origin = self.route.prefix_len > 0 && !received.settings.browser.path_prefix_sessions;
        if !matches!(presented, Presented::Nothing) {
            return presented;
        }
        let deployment = self.route.deployment.as_ref().map(|deployment| &deployment.spec.name);
        let session = || credential::session(headers, forwarding.https, deployment);
        match (!shared_origin).then(session).flatten() {
            Some(session) => {
                let public = received.settings.browser.public_url.as_ref();
                let is_own = |origin: &_| forwarding.goes_to(origin, &target.authority, public);
                let initiator = Initiator::read(headers, is_own);
                let safe = matches!(received.head.method, Method::GET | Method::HEAD) && !*websocket;
                Presented::Session { session, cross_site: !initiator.may(safe) }
            }
            None if credential::is_misplaced(headers) => Presented::Bad(BadCredential::Misplaced),
            None => Presented::Nothing,
        }
    }

    /// The only way on: a permit for this request. If its token had to be verified first, the request is routed anew.
    ///
    /// # Errors
    /// [`Denied`].
    pub async fn admit(&mut self, gate: &Gate<'_>) -> Result<Permit, Denied> {
        let presented = self.presented();
        let from = Network::of(self.request.forwarding.client);
        gate.admit_or_let_through(&mut self.route, presented, from).await
    }

    /// Looks up once more where it leads: it has waited, and what holds now counts.
    pub fn route_again(&mut self, index: &Index) {
        self.route = index.route(self.route.key);
    }

    /// What a rejection may say: it names the Deployment only if the request itself does, or came in by its listener. So
    /// nobody learns by trying which Deployments exist.
    ///
    /// `other_routes`: as [`Routed::other_routes`] has them.
    pub fn reply_context<'c>(&'c self, other_routes: Option<&'c str>) -> ReplyContext<'c> {
        let about = About { named_deployment: self.named_deployment(), other_routes };
        ReplyContext { about, ..self.request.received.reply_context() }
    }

    /// What a token that does not open this route opens in its place, in words. `None`: that is not why it was refused.
    pub fn other_routes(&self, gate: &Gate<'_>, rejection: Rejection) -> Option<Box<str>> {
        match rejection {
            Rejection::Denied(denied) if denied.is_for_its_route() => gate.other_routes(&self.route, self.presented()),
            _ => None,
        }
    }

    fn named_deployment(&self) -> Option<&str> {
        match &self.route.deployment {
            Some(deployment) if self.route.key.listener.is_some() => Some(deployment.spec.name.as_str()),
            // Only what is a name is repeated: the text goes into a header field.
            _ => self.route.named_deployment.filter(|name| name.parse::<DeploymentName>().is_ok()),
        }
    }
}
