//! `bento-gateway serve`.

use std::sync::Arc;

use super::{args::ServeArgs, environment::Environment, error::CliError, exit::ExitStatus};
use crate::{
    app::{self, ServeError},
    config::{self, Overrides},
};

pub fn run(args: ServeArgs, environment: &Environment) -> Result<(), CliError> {
    let sources = environment.sources(overrides(args));
    let config = config::load(&sources)?;
    app::serve(config, sources, Arc::clone(&environment.system)).map_err(explained)
}

/// What is given as flags.
pub fn overrides(args: ServeArgs) -> Overrides {
    Overrides {
        deployments: args.deployments,
        listen: args.listen,
        management_listen: args.management_listen,
        forward_auth_listen: args.forward_auth_listen,
        telemetry_listen: args.telemetry_listen,
        // From the flag that every command has.
        store: None,
        base_domain: args.base_domain,
        log_format: args.log_format,
        tls_certificate: args.tls_certificate,
        tls_key: args.tls_key,
    }
}

pub fn explained(error: ServeError) -> CliError {
    let message = error.to_string();
    match error {
        ServeError::Store(error) => error.into(),
        ServeError::Bootstrap(error) => error.into(),
        ServeError::Hash(error) => error.into(),
        ServeError::NoEntropy(error) => error.into(),
        ServeError::Bind { flag, address, .. } => {
            let hint = format!(
                "is this gateway running already? Otherwise stop the program that listens there, or choose another \
                 address: {flag} {}:PORT",
                address.ip()
            );
            CliError::new(ExitStatus::Failure, message, hint)
        }
        ServeError::Tls(_) | ServeError::LogFilter(_) => CliError::new(
            ExitStatus::Configuration,
            message,
            "`bento-gateway config print` shows the settings in effect",
        ),
        ServeError::System(_) => CliError::Failed { message, hint: None, status: ExitStatus::Failure },
    }
}
