//! `bento-gateway healthcheck`: for container runtimes, in images that have no curl.

use std::time::Duration;

use tokio::runtime::Builder;

use super::{environment::Environment, error::CliError, exit::ExitStatus, output::Printer};
use crate::{
    domain::{origin::Origin, upstream_url::UpstreamUrl},
    http::client::{self, ClientError},
};

/// For everything together. Below the 3 s that the Dockerfile gives us.
const TIMEOUT: Duration = Duration::from_secs(2);

/// `url: None`: `/readyz` of the configured management listener.
pub fn run(url: Option<&UpstreamUrl>, environment: &Environment, printer: &mut Printer<'_>) -> Result<(), CliError> {
    let url = match url {
        Some(url) if url.base_path().is_empty() => format!("{url}/readyz"),
        Some(url) => url.to_string(),
        None => {
            let management = environment.load()?.management;
            format!("{}/readyz", Origin::of_listener(management.tls.is_some(), management.listen))
        }
    };
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let client = client::unverified(TIMEOUT).map_err(std::io::Error::other)?;
    let response = runtime.block_on(client.get(&url));
    // A name that is still being resolved is not waited for.
    runtime.shutdown_background();
    let failed = |why: String, hint: &str| Err(CliError::new(ExitStatus::Failure, format!("{url} {why}"), hint));
    match response {
        Ok(response) if response.status().is_success() => printer.line("ready"),
        Ok(response) => {
            let (status, body) = (response.status().as_u16(), String::from_utf8_lossy(response.body()));
            failed(format!("answered {status}: {:?}", body.trim()), "the gateway's log says why it is not ready")
        }
        Err(ClientError::NotHttp) => {
            failed("did not answer in HTTP".to_owned(), "give the management listener's address with --url")
        }
        Err(error) => {
            failed(format!("did not answer: {error}"), "is the gateway running, and is that its management listener?")
        }
    }
}
