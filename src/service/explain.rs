//! Why a request is let through or refused, for whoever may know.

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    Context, Error, Result,
    lookup::{self, Viewer},
};
use crate::domain::{
    explanation::{AskedToken, Explanation, Refusal, Routed, Verdict},
    routing::RoutedBy,
    timestamp::Timestamp,
    token::TokenUid,
    token_text,
};

/// What the request shows, as people say it.
#[derive(Clone, Copy)]
pub enum TokenOfRequest<'a> {
    None,
    /// Its text.
    Text(&'a str),
    /// Its name, id or uid.
    Called(&'a str),
}

/// What would be decided about a request, and by which rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Explanation")]
pub struct ExplanationView {
    /// Whether the request is passed on to the Deployment. Limits on requests are not looked at.
    pub allowed: bool,
    /// What the gateway answers in the service's place. Null: the service answers.
    pub status: Option<u16>,
    /// Of docs/errors.md. Null: the request is not refused, and would not be if the Deployment were enforced already.
    pub code: Option<&'static str>,
    /// The rule that decides, in words.
    pub reason: String,
    /// Where the request leads; the Deployment need not exist. Null: the request names none, or is refused before.
    pub deployment: Option<String>,
    /// By what it leads there: listener, host, base_domain, path or default. Null: it is refused before.
    pub routed_by: Option<&'static str>,
    /// The Deployment's own listener, if it comes in there.
    pub listener: Option<String>,
    /// The uid of the token that is shown. Null: there is none, it is not known, or it is not needed.
    #[schemars(with = "Option<String>")]
    pub token: Option<TokenUid>,
    /// Null also if it is somebody else's.
    pub token_name: Option<String>,
    /// The token's scope that opens the Deployment.
    pub scope: Option<String>,
    /// The moment for which it is decided, by what is known now.
    pub at: String,
}

/// The token that is asked with. `viewer` of `None`: the operator.
///
/// # Errors
/// [`Error::Unknown`], also for a token of somebody else's; [`Error::AmbiguousToken`], [`Error::TextForName`].
pub async fn token<'a>(
    context: &Context<'_>,
    viewer: Option<Viewer>,
    token: TokenOfRequest<'a>,
) -> Result<AskedToken<'a>> {
    Ok(match token {
        TokenOfRequest::None => AskedToken::None,
        TokenOfRequest::Text(text) => AskedToken::Text(text.trim()),
        TokenOfRequest::Called(name) if token_text::is_within(name.as_bytes()) => return Err(Error::TextForName),
        TokenOfRequest::Called(name) => AskedToken::Of(match viewer {
            Some(viewer) => lookup::token(context, viewer, name).await?.uid,
            None => lookup::any_token(context, name).await?.uid,
        }),
    })
}

/// # Errors
/// The store's.
pub async fn view(
    context: &Context<'_>,
    viewer: Option<Viewer>,
    explanation: Explanation,
    at: Timestamp,
) -> Result<ExplanationView> {
    let Explanation { verdict, routed, token } = explanation;
    let record = match token {
        Some(uid) => context.store.token(uid).await?,
        None => None,
    };
    let theirs = record.filter(|record| viewer.is_none_or(|viewer| viewer.manages(record.owner)));
    // What a Deployment is set to is for admins.
    let reason = reason(&verdict, routed.as_ref(), viewer.is_none_or(Viewer::is_admin));
    let (allowed, scope, refusal) = match verdict {
        Verdict::Public | Verdict::PublicProbe => (true, None, None),
        Verdict::Allowed(scope) => (true, Some(scope.to_string()), None),
        Verdict::OwnPage => (false, None, None),
        Verdict::LetThrough(_, refusal) => (true, None, Some(refusal)),
        Verdict::Refused(refusal) => (false, None, Some(refusal)),
    };
    Ok(ExplanationView {
        allowed,
        status: refusal.as_ref().filter(|_| !allowed).map(|refusal| refusal.status),
        code: refusal.as_ref().map(|refusal| refusal.code),
        reason,
        deployment: routed.as_ref().and_then(|routed| Some(routed.deployment.as_ref()?.to_string())),
        routed_by: routed.as_ref().map(|routed| routed_by(routed.by)),
        listener: routed.and_then(|routed| Some(routed.listener?.to_string())),
        token,
        token_name: theirs.map(|record| record.name),
        scope,
        at: at.to_string(),
    })
}

fn reason(verdict: &Verdict, routed: Option<&Routed>, says_when: bool) -> String {
    let name = routed.and_then(|routed| routed.deployment.as_ref()).map_or("the Deployment", |name| name.as_str());
    match verdict {
        Verdict::Public => format!("{name} is public: no token is asked for, and one that is sent is not looked at"),
        Verdict::PublicProbe => format!("the path asks for the health of {name}, which takes no token (public_probes)"),
        Verdict::Allowed(scope) => format!("the token's scope {scope} opens {name}"),
        Verdict::OwnPage => "the path begins with /-/, where the gateway answers itself".to_owned(),
        Verdict::LetThrough(until, Refusal { sentence, .. }) => {
            let until = if says_when { format!("before {until}") } else { "yet".to_owned() };
            format!("{name} is not enforced {until}; from then on: {sentence}")
        }
        Verdict::Refused(Refusal { sentence, .. }) => sentence.clone(),
    }
}

fn routed_by(by: RoutedBy) -> &'static str {
    match by {
        RoutedBy::Listener => "listener",
        RoutedBy::Host => "host",
        RoutedBy::BaseDomain => "base_domain",
        RoutedBy::Path => "path",
        RoutedBy::Default => "default",
        RoutedBy::Question => "question",
    }
}
