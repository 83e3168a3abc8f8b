//! `bento-gateway explain`.

use std::{net::Ipv4Addr, sync::Arc};

use tokio::sync::watch;

use super::{
    args::ExplainArgs,
    deployment::note_elsewhere,
    environment::{Environment, OpenStore},
    error::CliError,
    output::{Printer, card},
    serve, stdin,
};
use crate::{
    app,
    domain::explanation::Question,
    gateway::Gateway,
    http::network::Network,
    index::follow::Follower,
    service::{
        deployments,
        explain::{self, ExplanationView, TokenOfRequest},
    },
};

pub fn run(args: &ExplainArgs, environment: &Environment, printer: &mut Printer<'_>) -> Result<(), CliError> {
    let store = environment.open_as_it_is()?;
    let context = store.context();
    let text = if args.token_stdin { Some(stdin::secret("token")?) } else { None };
    let token = match (&args.token, &text) {
        (Some(name), _) => TokenOfRequest::Called(name),
        (None, Some(text)) => TokenOfRequest::Text(text),
        (None, None) => TokenOfRequest::None,
    };
    let token = store.block_on(explain::token(&context, None, token))?;
    let gateway = gateway(&store)?;
    let at = args.at.unwrap_or(context.now);
    let question = Question { method: &args.method, url: &args.url, listener: args.listener, token, at };
    let here = Network::of(Ipv4Addr::LOCALHOST.into());
    let explanation = store.block_on((gateway.explain)(&gateway, question, here))?;
    let view = store.block_on(explain::view(&context, None, explanation, at))?;
    note_elsewhere(&store, &store.block_on(deployments::list(&context))?, printer)?;
    printer.answer(&view, || shown(&view))
}

/// A gateway that has read the store, and serves nothing.
fn gateway(store: &OpenStore) -> Result<Arc<Gateway>, CliError> {
    let config = &store.config;
    let gateway = store.runtime.block_on(async { app::gateway(config) }).map_err(serve::explained)?;
    let (_declared, declared) = watch::channel(config.declared.clone());
    let index = Arc::clone(&gateway.index);
    let follower = Follower::new(index, store.shared(), config.store.clone(), declared);
    store.block_on(follower.read_once())?;
    Ok(gateway)
}

fn shown(view: &ExplanationView) -> String {
    let answer = match (view.allowed, view.status) {
        (true, _) => "let through".to_owned(),
        (false, Some(status)) => format!("refused: {status} {}", view.code.unwrap_or_default()),
        (false, None) => "answered by the gateway".to_owned(),
    };
    let token = match (&view.token_name, view.token) {
        (Some(name), Some(uid)) => format!("{name} ({uid})"),
        (None, Some(uid)) => uid.to_string(),
        (_, None) => "-".to_owned(),
    };
    let none = || "-".to_owned();
    let by = match (view.routed_by, &view.listener) {
        (Some(by), Some(listener)) => format!("{by} {listener}"),
        (Some(by), None) => by.to_owned(),
        (None, _) => none(),
    };
    card(&[
        ("answer", answer),
        ("because", view.reason.clone()),
        ("deployment", view.deployment.clone().unwrap_or_else(none)),
        ("routed by", by),
        ("token", token),
        ("scope", view.scope.clone().unwrap_or_else(none)),
        ("at", view.at.clone()),
    ])
}
