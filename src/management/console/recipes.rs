//! Commands and code to copy, for each way of using a token.

use super::visitor::SignedIn;
use crate::{
    domain::scope::{Scope, ScopeSet},
    management::error::ApiError,
    service::deployments,
};

pub struct Recipe {
    /// Of the tab.
    pub id: &'static str,
    pub title: &'static str,
    pub text: String,
    pub code: String,
}

/// The recipes that work with the token's scopes.
pub async fn recipes(visitor: &SignedIn, token: &str, scopes: &ScopeSet) -> Result<Vec<Recipe>, ApiError> {
    let mut recipes = Vec::new();
    let endpoint = scopes.iter().any(|scope| matches!(scope, Scope::Deployment(_)));
    if endpoint {
        let listed = deployments::list(&visitor.context()).await?;
        let reachable =
            listed.iter().filter(|listed| !listed.shadowed && scopes.opens_deployment(listed.spec.name.as_str()));
        let reach = deployments::reach(&visitor.context(), &visitor.config.proxy).await?;
        let url = reachable.filter_map(|listed| reach.deployment(&listed.spec, visitor.here())).next();
        let listener = || reach.listener(visitor.here()).into();
        recipes.extend(calls(token, &url.unwrap_or_else(listener).to_string()));
    }
    if scopes.iter().any(|scope| !matches!(scope, Scope::Deployment(_))) {
        recipes.push(Recipe {
            id: "cloud",
            title: "BentoML CLI",
            text: "Logs in the BentoML CLI, so that it manages this gateway.".to_owned(),
            code: format!("bentoml cloud login --api-token '{token}' --endpoint {}", visitor.console_url()),
        });
    }
    Ok(recipes)
}

/// Ways to call a Deployment.
pub fn calls(token: &str, url: &str) -> Vec<Recipe> {
    vec![
        Recipe {
            id: "curl",
            title: "curl",
            text: "Replace the path and the body with those of your service.".to_owned(),
            code: format!("curl {url}/readyz \\\n  -H 'Authorization: Bearer {token}'"),
        },
        Recipe {
            id: "python",
            title: "Python",
            text: "With the bentoml package.".to_owned(),
            code: format!(
                "import bentoml\n\nwith bentoml.SyncHTTPClient(\"{url}\", token=\"{token}\") as client:\n    \
                 print(client.endpoints)"
            ),
        },
        Recipe {
            id: "browser",
            title: "Browser",
            text: format!(
                "Open {url} and paste the token into the sign-in page. Alternatively, use a browser extension that sets this \
                 request header:"
            ),
            code: format!("Authorization: Bearer {token}"),
        },
    ]
}
