//! The gateway itself, if one runs with this configuration on this machine.

use std::time::Duration;

use super::Finding;
use crate::{
    config::Config,
    domain::origin::Origin,
    http::client::{self, ClientError},
};

const CHECK: &str = "gateway";
const TIMEOUT: Duration = Duration::from_secs(2);

pub async fn examine(config: &Config) -> Vec<Finding> {
    let management = &config.management;
    let url = format!("{}/readyz", Origin::of_listener(management.tls.is_some(), management.listen));
    let answer = match client::unverified(TIMEOUT) {
        Ok(client) => client.get(&url).await,
        Err(error) => Err(ClientError::Connection(error.to_string())),
    };
    let finding = match answer {
        Ok(response) if response.status().is_success() => Finding::ok(CHECK, format!("{url} says that it is ready")),
        Ok(response) => {
            let found = format!("{url} answered {}", response.status().as_u16());
            Finding::fail(CHECK, found, "the gateway's log says why it is not ready")
        }
        Err(ClientError::NotHttp) => {
            let found = format!("what listens at {url} does not speak HTTP");
            Finding::fail(CHECK, found, "stop the other program, or choose another management.listen")
        }
        Err(error) => {
            let found = format!("{url} did not answer: {error}");
            Finding::unknown(
                CHECK,
                found,
                "if a gateway should run here, see whether it does, and with this configuration",
            )
        }
    };
    vec![finding]
}
