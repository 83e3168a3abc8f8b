//! Makes a [`Config`] of its sources, or a list of every problem.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::PathBuf,
};

use config::{ConfigError, Value, ValueKind};

use super::{
    Config, ConfigProblems,
    layers::{self, Layer},
    print,
    problems::{Problem, SECRETS, Source, is_secret, shown},
    reader::{Section, Validation, source_of},
    sections,
    sources::Sources,
};
use crate::domain::clean;

/// Several Deployments that are given by flags have listeners at the proxy's port plus this, and at the ports after it.
const FIRST_DEPLOYMENT_PORT: u16 = 10;

/// A configuration, and the tree it was read from, which has the source of each value.
#[derive(Debug)]
pub struct Loaded {
    pub config: Config,
    tree: Value,
}

impl Loaded {
    /// Every value in effect as TOML, each with its source; secrets redacted.
    pub fn to_toml(&self) -> String {
        print::render(&self.tree)
    }

    /// Settings whose values are secret, and stand in the configuration file itself.
    pub fn secrets_in_file(&self) -> Vec<&'static str> {
        let in_file = |key: &&str| {
            let value = value_at(&self.tree, &key.split('.').collect::<Vec<_>>());
            value.is_some_and(|value| matches!(source_of(value), Source::File(_)) && is_secret(key, value))
        };
        SECRETS.into_iter().chain(["store.url"]).filter(in_file).collect()
    }
}

/// # Errors
/// [`ConfigProblems`] with every problem of every source.
pub fn load(sources: &Sources) -> Result<Config, ConfigProblems> {
    load_with_sources(sources).map(|loaded| loaded.config)
}

/// # Errors
/// As [`load`].
pub fn load_with_sources(sources: &Sources) -> Result<Loaded, ConfigProblems> {
    let mut problems = Vec::new();
    let tree = merge(sources, &mut problems).map_err(|error| {
        ConfigProblems(vec![Problem {
            key: String::new(),
            value: None,
            source: Source::Default,
            message: format!("cannot be merged: {error}"),
            fix: "this is a bug in bento-gateway; please report it".to_owned(),
        }])
    })?;
    let unclean = unclean(&tree);
    let validation = Validation { tree: &tree, problems: problems.into() };
    let config = sections::read(Section::root(&validation), &validation);
    // What else is wrong with a value that nobody sees whole follows from that.
    let mut problems = validation.problems.into_inner();
    problems.retain(|problem| !unclean.iter().any(|unclean| unclean.key == problem.key));
    problems.extend(unclean);
    match config {
        Some(config) if problems.is_empty() => Ok(Loaded { config, tree }),
        _ => Err(ConfigProblems(problems)),
    }
}

/// Values with characters that nobody sees, whatever source they are of.
fn unclean(tree: &Value) -> Vec<Problem> {
    fn walk(key: &str, value: &Value, out: &mut Vec<Problem>) {
        match &value.kind {
            ValueKind::Table(table) => table.iter().for_each(|(part, value)| {
                walk(&if key.is_empty() { part.clone() } else { format!("{key}.{part}") }, value, out);
            }),
            ValueKind::Array(items) => items.iter().for_each(|item| walk(key, item, out)),
            ValueKind::String(text) => {
                let Err(unclean) = clean::check(text) else { return };
                let (value, source, message) = (Some(shown(key, value)), source_of(value), unclean.to_string());
                let fix = "take it out; in a file, line ends after the value do no harm".to_owned();
                out.push(Problem { key: key.to_owned(), value, source, message, fix });
            }
            _ => {}
        }
    }
    let mut out = Vec::new();
    walk("", tree, &mut out);
    out.sort_by(|one, other| one.key.cmp(&other.key));
    out
}

/// The files that are read again when they change.
pub fn watched_files(config: &Config, sources: &Sources) -> Vec<PathBuf> {
    let tls = config
        .proxy
        .tls
        .iter()
        .chain(&config.management.tls)
        .flat_map(|tls| [tls.certificate.clone(), tls.key.clone()]);
    let of_upstreams = config.upstream_files.iter().cloned();
    sources.file.iter().cloned().chain(tls).chain(of_upstreams).collect()
}

fn merge(sources: &Sources, problems: &mut Vec<Problem>) -> Result<Value, ConfigError> {
    let defaults = Layer::defaults()?;
    let default_tree = layers::merged(std::slice::from_ref(&defaults))?;
    let file = match &sources.file {
        None => Layer::default(),
        Some(path) => Layer::file(path).unwrap_or_else(|problem| {
            problems.push(*problem);
            Layer::default()
        }),
    };
    let environment = Layer::environment(&sources.env, &default_tree, problems);
    let mut flags = layers::flags(sources);
    let names = put_deployments(&mut flags, &sources.overrides.deployments, problems);
    flags.note_deployments_also_in(&file, problems);

    let mut all = vec![defaults, Layer::database_url(&sources.env), file, environment, flags];
    let derived = derived(&layers::merged(&all)?, &names, &sources.env);
    all.push(derived);
    layers::merged(&all)
}

/// Puts `--deployment NAME=URL` into the flags' layer. Returns the names in the order of the flags.
fn put_deployments(flags: &mut Layer, given: &[String], problems: &mut Vec<Problem>) -> Vec<String> {
    let (mut names, mut seen) = (Vec::new(), BTreeSet::new());
    for text in given {
        let Some((name, url)) = text.split_once('=').filter(|(name, url)| !name.is_empty() && !url.is_empty()) else {
            let fix = "write --deployment NAME=URL, for example summarization=http://127.0.0.1:3000".to_owned();
            problems.push(layers::invalid_deployment_flag(text, "is not NAME=URL", fix));
            continue;
        };
        if !seen.insert(name) {
            let fix = format!("several upstreams go into a file: [deployments.{name}] upstreams = [\"…\", \"…\"]");
            problems.push(layers::invalid_deployment_flag(text, "repeats a name", fix));
            continue;
        }
        flags.put_flag(&["deployments", name, "upstream"], Some(url), "--deployment");
        names.push(name.to_owned());
    }
    names
}

/// Values that are not given and follow from other values.
fn derived(tree: &Value, flag_deployments: &[String], env: &BTreeMap<String, String>) -> Layer {
    let mut layer = Layer::default();
    if text_at(tree, &["store", "url"]).is_some_and(str::is_empty) {
        let path = default_database(env);
        layer.put(&["store", "url"], format!("sqlite:{}", path.display()), &Source::Default);
    }
    let flag = Source::Flag("--deployment".to_owned());
    match flag_deployments {
        [] => {}
        [only] => {
            if text_at(tree, &["proxy", "default_deployment"]).is_some_and(str::is_empty) {
                layer.put(&["proxy", "default_deployment"], only.as_str(), &flag);
            }
        }
        several => {
            let listen = text_at(tree, &["proxy", "listen"]).and_then(|text| text.parse::<SocketAddr>().ok());
            let no_base_domain = text_at(tree, &["proxy", "base_domain"]).is_some_and(str::is_empty);
            let Some(mut listen) = listen.filter(|_| no_base_domain) else { return layer };
            // Port 0, "any", stays 0. Above 65535 the clash of two listeners says what to do.
            let step = |port: u16, by: u16| if port == 0 { 0 } else { port.saturating_add(by) };
            listen.set_port(step(listen.port(), FIRST_DEPLOYMENT_PORT));
            for name in several {
                if text_at(tree, &["deployments", name, "listen"]).is_none() {
                    layer.put(&["deployments", name, "listen"], listen.to_string(), &flag);
                }
                listen.set_port(step(listen.port(), 1));
            }
        }
    }
    layer
}

/// In the user's data directory, as the XDG base directory specification has it: relative and empty values are ignored.
fn default_database(env: &BTreeMap<String, String>) -> PathBuf {
    let absolute = |name: &str| env.get(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
        .map_or_else(|| PathBuf::from("bento-gateway.db"), |data| data.join("bento-gateway/bento-gateway.db"))
}

fn value_at<'a>(tree: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(tree, |value, part| match &value.kind {
        ValueKind::Table(table) => table.get(*part),
        _ => None,
    })
}

fn text_at<'a>(tree: &'a Value, path: &[&str]) -> Option<&'a str> {
    match &value_at(tree, path)?.kind {
        ValueKind::String(text) => Some(text),
        _ => None,
    }
}
