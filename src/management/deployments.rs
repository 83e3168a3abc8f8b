//! `/api/v2/deployments`: what `bentoml deployment` and `bentoml.deployment` use, and more.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Management,
    caller::Caller,
    deployment_settings::{Settings, settings},
    error::{ApiError, invalid_value},
    openapi::Empty,
    operation::{ApiRequest, CLIENT_VERSION, given},
    views::{self, Changed, DeploymentParts, DeploymentView, List},
};
use crate::{
    domain::{
        deployment::{DeploymentName, DeploymentSpec},
        host::HostName,
        timestamp::Timestamp,
        user::User,
        weighted_url::WeightedUrl,
    },
    service::{
        deployments::{self, Listed, Placed, Predecessor, Source, UpdateDeployment, address::Reach},
        lookup,
        receipt::Receipt,
    },
    store::{Committed, Organization, TouchedToken},
};

/// The answer to whatever would need the gateway to run a Bento.
pub const NO_BENTO: &str = "bento-gateway runs no Bento: start it yourself with `bentoml serve`, then add where it \
                            listens on the console's page Deployments, or by POST /api/v2/deployments";

#[derive(Deserialize, JsonSchema)]
pub struct ListDeployments {
    /// How many to skip.
    start: Option<u32>,
    /// How many to return at most; all if not given.
    count: Option<u32>,
    /// A part of the name.
    search: Option<String>,
    /// As the `bentoml` client sends it. There are no labels here, so a query for one matches nothing.
    q: Option<String>,
    /// As the `bentoml` client sends it. There is one cluster, `default`.
    cluster: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
pub struct InCluster {
    /// As the `bentoml` client sends it. There is one cluster, `default`.
    cluster: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
pub struct NewDeployment {
    /// Lowercase letters, digits and inner hyphens, at most 63.
    #[serde(default)]
    #[schemars(required)]
    name: Option<String>,
    /// Where the Bento listens, for example `http://127.0.0.1:3000`; several for replicas. `#weight=3` behind a URL gives it three
    /// times the requests of one without, `#weight=0` none.
    #[serde(default)]
    upstreams: Vec<String>,
    /// Custom hostnames.
    #[serde(default)]
    hosts: Vec<String>,
    /// A dedicated listener, IP:PORT.
    listen: Option<String>,
    /// Whether callers need a token. Null: yes.
    protected: Option<bool>,
    settings: Option<Settings>,
    /// What the `bentoml` client sends: the Bento to deploy, which is refused.
    #[serde(default)]
    #[schemars(skip)]
    bento: Option<serde_json::Value>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangedDeployment {
    /// As for a new one.
    upstreams: Option<Vec<String>>,
    hosts: Option<Vec<String>>,
    /// A dedicated listener, IP:PORT; null: none.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Option<String>")]
    listen: Option<Option<String>>,
    protected: Option<bool>,
    settings: Option<Settings>,
}

/// `bentoml deployment start` sends the Deployment's configuration, which is ignored; a Bento is refused.
#[derive(Deserialize, JsonSchema)]
pub struct Start {
    #[serde(default)]
    #[schemars(skip)]
    bento: Option<serde_json::Value>,
}

/// A Deployment that was removed, and the tokens that this has changed.
#[derive(Serialize, JsonSchema)]
pub struct RemovedView {
    #[serde(flatten)]
    deployment: DeploymentView,
    /// Tokens that lost their scope for it.
    tokens: Vec<TouchedView>,
    /// Null: the gateway could not learn it. The change was made.
    receipt: Option<Receipt>,
}

#[derive(Serialize, JsonSchema)]
pub struct TouchedView {
    uid: String,
    name: String,
    /// It was revoked, because it had no other scope.
    revoked: bool,
}

pub async fn list(call: ApiRequest<Caller, ListDeployments>) -> Result<List<DeploymentView>, ApiError> {
    let ListDeployments { start, count, search, q, cluster } = &call.query;
    let labelled = q.as_deref().is_some_and(|q| q.contains("label:"));
    let mut all = if labelled || elsewhere(cluster.as_deref()) { Vec::new() } else { served(&call).await? };
    if let Some(search) = search {
        all.retain(|listed| listed.spec.name.as_str().contains(search.as_str()));
    }
    let total = all.len() as u64;
    let (start, count) = (start.unwrap_or(0), count.unwrap_or(u32::MAX));
    let page: Vec<Listed> = all.into_iter().skip(start as usize).take(count as usize).collect();
    let items = ViewContext::read(&call).await?.views(page).await;
    Ok(List { start: start.into(), count: items.len() as u64, total, items })
}

pub async fn get(call: ApiRequest<Caller, InCluster>) -> Result<DeploymentView, ApiError> {
    if elsewhere(call.query.cluster.as_deref()) {
        return Err(unknown(&call.param));
    }
    view_of(&call, &call.param).await
}

pub async fn create(call: ApiRequest<Caller, Empty, NewDeployment>) -> Result<Changed<DeploymentView>, ApiError> {
    let body = &call.body;
    // The stock client creates Deployments only from Bentos.
    if body.bento.is_some() || call.headers.contains_key(CLIENT_VERSION) {
        return Err(ApiError::unsupported(NO_BENTO));
    }
    let name = body.name.as_deref().ok_or_else(|| ApiError::invalid("name: is required"))?;
    let name: DeploymentName = name.parse().map_err(invalid_value("name"))?;
    let spec = DeploymentSpec {
        hosts: hosts(&body.hosts)?,
        upstreams: upstreams(&body.upstreams)?,
        listen: listen(body.listen.as_deref())?,
        protected: body.protected.unwrap_or(true),
        terminated: false,
        settings: settings(body.settings.as_ref())?.apply(call.config().proxy.deployment_defaults.clone()),
        name,
    };
    let (context, now) = (ViewContext::read(&call).await?, call.now);
    let added = deployments::add(&call.context(), &spec, Predecessor::None).await?;
    Ok(changed(call, context, Some(now), added).await)
}

pub async fn created_before(call: ApiRequest<Caller>, name: String) -> Result<Changed<DeploymentView>, ApiError> {
    let view = view_of(&call, &name).await?;
    let before = call.store.committed_before(view).await?;
    let (view, receipt) = call.settle(before).await;
    Ok(Changed { view, receipt })
}

pub async fn update(call: ApiRequest<Caller, Empty, ChangedDeployment>) -> Result<Changed<DeploymentView>, ApiError> {
    let listed = find(&call, &call.param).await?;
    let body = &call.body;
    let update = UpdateDeployment {
        hosts: body.hosts.as_deref().map(hosts).transpose()?,
        upstreams: body.upstreams.as_deref().map(upstreams).transpose()?,
        listen: body.listen.as_ref().map(|given| listen(given.as_deref())).transpose()?,
        protected: body.protected,
        settings: settings(body.settings.as_ref())?,
        // Only what is given is written, so nothing that others have changed meanwhile is lost.
        seen: None,
    };
    let context = ViewContext::read(&call).await?;
    let updated = deployments::update(&call.context(), &listed.spec.name, update).await?;
    Ok(changed(call, context, listed.created_at, updated).await)
}

pub async fn terminate(call: ApiRequest<Caller, InCluster>) -> Result<Changed<DeploymentView>, ApiError> {
    let listed = find(&call, &call.param).await?;
    let context = ViewContext::read(&call).await?;
    let terminated = deployments::terminate(&call.context(), &listed.spec.name).await?;
    Ok(changed(call, context, listed.created_at, terminated).await)
}

/// `PUT`, as `bentoml deployment start` does it.
pub async fn start(call: ApiRequest<Caller, InCluster, Start>) -> Result<Changed<DeploymentView>, ApiError> {
    let listed = find(&call, &call.param).await?;
    // `start` is sent to a terminated one only; the same request to another one is a new Bento or configuration.
    if call.body.bento.is_some() && !listed.spec.terminated {
        return Err(ApiError::unsupported(NO_BENTO));
    }
    let context = ViewContext::read(&call).await?;
    let started = deployments::start(&call.context(), &listed.spec.name).await?;
    Ok(changed(call, context, listed.created_at, started).await)
}

/// Answers with the Deployment, which the `bentoml` client reads.
pub async fn delete(call: ApiRequest<Caller, InCluster>) -> Result<RemovedView, ApiError> {
    let listed = find(&call, &call.param).await?;
    let deployment = ViewContext::read(&call).await?.view(&listed).await;
    let removed = deployments::remove(&call.context(), &listed.spec.name).await?;
    let (touched, receipt) = call.settle(removed).await;
    let tokens = touched.into_iter().map(|TouchedToken { uid, name, revoked }| TouchedView {
        uid: uid.to_string(),
        name,
        revoked,
    });
    Ok(RemovedView { deployment, tokens: tokens.collect(), receipt })
}

/// Always empty.
pub async fn no_secrets(_: ApiRequest<Caller>) -> Result<List<Empty>, ApiError> {
    Ok(List { start: 0, count: 0, total: 0, items: Vec::new() })
}

/// Always empty.
pub async fn no_instance_types(_: ApiRequest<Caller>) -> Result<Vec<Empty>, ApiError> {
    Ok(Vec::new())
}

/// Without the Deployments of the store that a declared one hides.
async fn served<Q, B>(call: &ApiRequest<Caller, Q, B>) -> Result<Vec<Listed>, ApiError> {
    let mut all = deployments::list(&call.context()).await?;
    all.retain(|listed| !listed.shadowed);
    Ok(all)
}

async fn find<Q, B>(call: &ApiRequest<Caller, Q, B>, name: &str) -> Result<Listed, ApiError> {
    Ok(lookup::deployment(&call.context(), name).await?)
}

/// What Deployments are shown with. That of one which is to change is read before, as that of a token is.
struct ViewContext {
    management: Arc<Management>,
    reach: Reach,
    organization: Organization,
    viewer: User,
}

impl ViewContext {
    async fn read<Q, B>(call: &ApiRequest<Caller, Q, B>) -> Result<Self, ApiError> {
        Ok(Self {
            management: Arc::clone(&call.management),
            reach: deployments::reach(&call.context(), &call.config().proxy).await?,
            organization: super::organization(&call.store).await?,
            viewer: call.caller.user().clone(),
        })
    }

    async fn view(&self, listed: &Listed) -> DeploymentView {
        let statuses = self.management.statuses(std::slice::from_ref(&listed.spec)).await;
        self.with_status(listed, statuses.first().copied().unwrap_or("unknown"))
    }

    /// All are asked for their status at once.
    async fn views(&self, all: Vec<Listed>) -> Vec<DeploymentView> {
        let specs: Vec<DeploymentSpec> = all.iter().map(|listed| listed.spec.clone()).collect();
        let statuses = self.management.statuses(&specs).await;
        all.iter().zip(statuses).map(|(listed, status)| self.with_status(listed, status)).collect()
    }

    fn with_status(&self, listed: &Listed, status: &'static str) -> DeploymentView {
        views::deployment(DeploymentParts {
            spec: &listed.spec,
            source: listed.source,
            created_at: listed.created_at.unwrap_or(self.organization.created_at),
            status,
            url: self.reach.deployment(&listed.spec, None).map(|url| url.to_string()),
            organization: &self.organization,
            creator: &views::user(&self.viewer),
            role: self.viewer.role,
        })
    }
}

/// The Deployment after the change, once every replica decides by it. `context` is what was before.
async fn changed<Q, B>(
    call: ApiRequest<Caller, Q, B>,
    mut context: ViewContext,
    created_at: Option<Timestamp>,
    committed: Committed<Placed>,
) -> Changed<DeploymentView> {
    let (Placed { spec, default_deployment }, receipt) = call.settle(committed).await;
    let lost = context.reach.lost_default(default_deployment.as_ref(), &spec.name).map(|lost| {
        format!(
            "{lost} was reached at {} as the only Deployment, and is no longer: PATCH it with hosts or with a listener of \
             its own, or set proxy.default_deployment = {lost} in the gateway's configuration",
            context.reach.common(None)
        )
    });
    context.reach.default_deployment = default_deployment;
    let mut view = context.view(&Listed { source: Source::Store, shadowed: false, created_at, spec }).await;
    view.notice = view.notice.into_iter().chain(lost).reduce(|notice, lost| format!("{notice}; {lost}"));
    Changed { view, receipt }
}

async fn view_of<Q, B>(call: &ApiRequest<Caller, Q, B>, name: &str) -> Result<DeploymentView, ApiError> {
    let listed = find(call, name).await?;
    Ok(ViewContext::read(call).await?.view(&listed).await)
}

fn elsewhere(cluster: Option<&str>) -> bool {
    cluster.is_some_and(|cluster| cluster != "default")
}

fn unknown(name: &str) -> ApiError {
    lookup::unknown_deployment(name).into()
}

fn hosts(texts: &[String]) -> Result<BTreeSet<HostName>, ApiError> {
    texts.iter().map(|text| text.parse().map_err(invalid_value("hosts"))).collect()
}

fn listen(text: Option<&str>) -> Result<Option<SocketAddr>, ApiError> {
    text.map(str::parse).transpose().map_err(invalid_value("listen"))
}

fn upstreams(texts: &[String]) -> Result<Vec<WeightedUrl>, ApiError> {
    texts.iter().map(|text| text.parse().map_err(invalid_value("upstreams"))).collect()
}
