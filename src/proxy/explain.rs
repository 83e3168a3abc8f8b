//! What would be decided about a request that nobody makes, and why. It is read, routed and decided by what serves requests;
//! nothing is forwarded or counted, and nothing is said of it in the access log.

use std::{
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
};

use http::{HeaderMap, HeaderValue, Method, header::AUTHORIZATION};

use super::{
    credential,
    forward_auth::question,
    permit::{Denied, Gate, Ruling, other_routes},
    rejection::{About, Rejection},
    request::is_for_own_page,
    target::Target,
};
use crate::{
    domain::{
        deployment_scope::Routes,
        explanation::{AskedToken, Explanation, InvalidQuestion, Question, Refusal, Routed, Verdict},
        host::Authority,
        routing::RoutedBy,
        timestamp::Timestamp,
    },
    gateway::Gateway,
    http::network::Network,
    index::{
        entry::Entry,
        routes::{Route, RouteKey},
    },
};

/// As [`Explain`](crate::gateway::Explain). `from`: whose share of the first verifications it takes.
///
/// # Errors
/// [`InvalidQuestion`]: there is no such request.
pub fn explain<'a>(
    gateway: &'a Gateway,
    question: Question<'a>,
    from: Network,
) -> Pin<Box<dyn Future<Output = Result<Explanation, InvalidQuestion>> + Send + 'a>> {
    Box::pin(explained(gateway, question, from))
}

async fn explained(gateway: &Gateway, question: Question<'_>, from: Network) -> Result<Explanation, InvalidQuestion> {
    let method = Method::from_bytes(question.method.as_bytes()).map_err(|_| InvalidQuestion::Method)?;
    let url = with_path(question.url);
    let (host, target) = question::url(url.as_bytes(), "url").map_err(|_| InvalidQuestion::Url)?;
    let head = question::asked(method, target, host, fields(question.token)?);
    let settings = gateway.settings.load_full();
    let target = match Target::parse(&head, settings.limits.max_uri_bytes) {
        Ok(target) => target,
        Err(reason) => return Ok(refused(Rejection::from(reason), None, None)),
    };
    let listener = listener(gateway, question.listener, &target.authority)?;
    let (method, plain) = (Some(&head.method), target.query.is_none());
    let key = RouteKey { listener, forwarded_to: None, host: target.host(), path: target.path, method, plain };
    let mut route = gateway.index.route(key);
    if is_for_own_page(&route) {
        return Ok(Explanation { verdict: Verdict::OwnPage, routed: Some(routed(&route)), token: None });
    }
    let gate = Gate::of(gateway);
    let (ruled, named, others) = match question.token {
        AskedToken::Of(uid) => {
            let index = Arc::clone(&gateway.index);
            // It goes through all tokens.
            let entry = gateway.background.spawn_blocking(move || index.tokens.newest_of(uid)).await;
            let entry = entry.unwrap_or_default();
            let ruled = gate.explain_token(&route, entry.clone(), question.at);
            let entry = entry.filter(|_| ruled.as_ref().is_err_and(|denied| denied.is_for_its_route()));
            (ruled, Some(uid), entry.map(|entry| other_routes(&entry, &route)))
        }
        AskedToken::None | AskedToken::Text(_) => {
            let presented = credential::presented(&head.headers, false);
            let ruled = gate.explain(&mut route, presented, question.at, from).await;
            let for_its_route = ruled.as_ref().is_err_and(|denied| denied.is_for_its_route());
            let others = for_its_route.then(|| gate.other_routes(&route, presented)).flatten();
            (ruled, None, others)
        }
    };
    Ok(match ruled {
        Ok(Ruling { deployment, token }) => {
            let name = deployment.spec.name.as_str();
            let closed = if route.closed_by().is_some() { Routes::All } else { Routes::Open };
            let opening =
                |entry: &Arc<Entry>| entry.holder().scopes.opening(Some(name), closed, route.asked()).cloned();
            let scope = token.as_ref().and_then(opening);
            let public = if deployment.spec.protected { Verdict::PublicProbe } else { Verdict::Public };
            let verdict = scope.map_or(public, Verdict::Allowed);
            Explanation { verdict, routed: Some(routed(&route)), token: token.map(|entry| entry.uid) }
        }
        Err(reason) => {
            let rejection = Rejection::from(reason);
            let explanation = refused(rejection, Some(&route), others.as_deref());
            let verdict = match (explanation.verdict, let_through_until(reason, &route, question.at)) {
                (Verdict::Refused(refusal), Some(until)) => Verdict::LetThrough(until, refusal),
                (verdict, _) => verdict,
            };
            Explanation { verdict, token: rejection.token().or(named), ..explanation }
        }
    })
}

/// `None`: it does not pass.
fn let_through_until(reason: Denied, route: &Route<'_>, at: Timestamp) -> Option<Timestamp> {
    let deployment = route.deployment.as_ref()?;
    let passes = reason.is_let_through() && !deployment.spec.terminated && deployment.enforcement.would_let_through(at);
    deployment.spec.settings.enforce_from.filter(|_| passes && route.closed_by().is_none())
}

/// The field that the caller would send.
fn fields(token: AskedToken<'_>) -> Result<HeaderMap, InvalidQuestion> {
    let mut fields = HeaderMap::new();
    if let AskedToken::Text(text) = token {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(InvalidQuestion::Token);
        }
        let mut value = HeaderValue::try_from(format!("Bearer {text}")).map_err(|_| InvalidQuestion::Token)?;
        value.set_sensitive(true);
        fields.insert(AUTHORIZATION, value);
    }
    Ok(fields)
}

/// People leave the slash behind a host out, and so do the browsers that they copy it from.
fn with_path(url: &str) -> String {
    let (scheme, rest) = url.split_at(url.find("://").map_or(0, |at| at + "://".len()));
    match rest.find(['/', '?', '#']) {
        Some(at) if rest[at..].starts_with('/') => url.to_owned(),
        at => {
            let (host, rest) = rest.split_at(at.unwrap_or(rest.len()));
            format!("{scheme}{host}/{rest}")
        }
    }
}

/// Where the request comes in. `None`: at the common listener.
fn listener(
    gateway: &Gateway,
    asked: Option<SocketAddr>,
    authority: &Authority<'_>,
) -> Result<Option<SocketAddr>, InvalidQuestion> {
    let routes = gateway.index.routes.load();
    let mut listeners = routes.listeners();
    if let Some(asked) = asked {
        return listeners.find(|listener| *listener == asked).map(Some).ok_or(InvalidQuestion::Listener(asked));
    }
    let Some(port) = authority.port else { return Ok(None) };
    let address: Option<IpAddr> = authority.host.trim_matches(['[', ']']).parse().ok();
    // A name may be that of any of the machine's addresses.
    let takes = |listener: &SocketAddr| address.is_none_or(|of| listener.ip() == of || listener.ip().is_unspecified());
    let mut on_port = listeners.filter(|listener| listener.port() == port && takes(listener));
    match (on_port.next(), on_port.next()) {
        (Some(_), Some(_)) => Err(InvalidQuestion::Listeners(port)),
        (only, _) => Ok(only),
    }
}

fn routed(route: &Route<'_>) -> Routed {
    let named = || route.named_deployment.and_then(|name| name.parse().ok());
    let deployment = route.deployment.as_ref().map(|deployment| deployment.spec.name.clone());
    let listener = route.key.listener.filter(|_| route.by == RoutedBy::Listener);
    Routed { by: route.by, listener, deployment: deployment.or_else(named) }
}

fn refused(rejection: Rejection, route: Option<&Route<'_>>, other_routes: Option<&str>) -> Explanation {
    let routed = route.map(routed);
    let named_deployment = routed.as_ref().and_then(|routed| routed.deployment.as_ref()).map(|name| name.as_str());
    let verdict = Verdict::Refused(Refusal {
        status: rejection.status().as_u16(),
        code: rejection.code(),
        sentence: rejection.sentence(About { named_deployment, other_routes }).into_owned(),
    });
    Explanation { verdict, routed, token: None }
}
