//! The layers of settings: defaults, `DATABASE_URL`, file, environment, flags; each overrides those before it. Each value
//! keeps its source.

use std::{collections::BTreeMap, fs, path::Path};

use config::{ConfigError, File, FileFormat, Map, Source as _, Value, ValueKind};

use super::{
    problems::{Problem, Source, nearest, shown},
    sources::{DEFAULTS, ENV_FILE_SUFFIX, ENV_PREFIX, Sources},
};
use crate::domain::clean;

/// Keys that `[deployments.NAME]` has in addition to those of `[proxy.deployment_defaults]`.
const DEPLOYMENT_KEYS: [&str; 11] = [
    "hosts",
    "listen",
    "upstream",
    "upstreams",
    "protected",
    "upstream_credential_file",
    "upstream_credential_header",
    "upstream_tls.ca_file",
    "upstream_tls.certificate_file",
    "upstream_tls.key_file",
    "upstream_tls.server_name",
];

/// Values of one source, as the `config` crate takes them.
#[derive(Clone, Debug, Default)]
pub(super) struct Layer(Map<String, Value>);

impl config::Source for Layer {
    fn clone_into_box(&self) -> Box<dyn config::Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.0.clone())
    }
}

impl Layer {
    pub fn defaults() -> Result<Self, ConfigError> {
        Self::parse(DEFAULTS, &Source::Default)
    }

    /// # Errors
    /// The file cannot be read, or is not TOML.
    pub fn file(path: &Path) -> Result<Self, Box<Problem>> {
        let source = Source::File(path.to_owned());
        let about_file = |message: String, fix: &str| {
            let (source, fix) = (source.clone(), fix.to_owned());
            Box::new(Problem { key: String::new(), value: None, source, message, fix })
        };
        let bytes = fs::read(path).map_err(|error| {
            about_file(format!("cannot be read: {error}"), "check the path given by --config or BENTO_GATEWAY_CONFIG")
        })?;
        let text =
            clean::text_of(&bytes).map_err(|reason| about_file(format!("is no text: {reason}"), "save it as UTF-8"))?;
        Self::parse(text, &source).map_err(|error| {
            about_file(format!("is not TOML: {}", without_source_lines(&error.to_string())), "correct the line")
        })
    }

    fn parse(text: &str, source: &Source) -> Result<Self, ConfigError> {
        let values = File::from_str(text, FileFormat::Toml).collect()?;
        let source = source.to_string();
        Ok(Self(values.into_iter().map(|(key, value)| (key, stamped(value, &source))).collect()))
    }

    pub fn database_url(env: &BTreeMap<String, String>) -> Self {
        let mut layer = Self::default();
        if let Some(url) = env.get("DATABASE_URL") {
            layer.put(&["store", "url"], url.as_str(), &Source::Env("DATABASE_URL".to_owned()));
        }
        layer
    }

    /// Variables with the prefix [`ENV_PREFIX`]. A variable that names no setting is a problem, as is a `…_FILE` that cannot
    /// be read.
    pub fn environment(env: &BTreeMap<String, String>, defaults: &Value, problems: &mut Vec<Problem>) -> Self {
        let known = known_paths(defaults);
        let mut layer = Self::default();
        for (name, value) in env {
            let Some(rest) = name.strip_prefix(ENV_PREFIX) else { continue };
            let direct = path_of(rest).filter(|path| is_known(path, &known));
            let from_file =
                || rest.strip_suffix(ENV_FILE_SUFFIX).and_then(path_of).filter(|path| is_known(path, &known));
            let mut note = |key: String, message: String, fix: String| {
                problems.push(Problem { key, value: None, source: Source::Env(name.clone()), message, fix });
            };
            if let Some(path) = direct {
                layer.put_path(&path, value.as_str(), &Source::Env(name.clone()));
            } else if let Some(path) = from_file() {
                let plain = name.strip_suffix(ENV_FILE_SUFFIX).unwrap_or(name);
                if env.contains_key(plain) {
                    let fix = format!("unset {name} or {plain}");
                    note(path.join("."), format!("is given twice, by {plain} too"), fix);
                    continue;
                }
                let read = fs::read(value).map_err(|error| error.to_string());
                let text = read.as_ref().map_err(String::clone);
                match text.and_then(|bytes| clean::value_of(bytes).map_err(|reason| reason.to_string())) {
                    Ok(text) => layer.put_path(&path, text, &Source::Env(name.clone())),
                    Err(error) => {
                        let message = format!("names the file {value:?}, which cannot be read: {error}");
                        note(path.join("."), message, format!("make the file readable, or unset {name}"));
                    }
                }
            } else {
                note(String::new(), "is not a setting".to_owned(), suggestion(rest, &known));
            }
        }
        layer
    }

    /// The value of a flag. `None`: the flag was not given.
    pub fn put_flag(&mut self, path: &[&str], value: Option<&str>, flag: &str) {
        if let Some(value) = value {
            self.put(path, value, &Source::Flag(flag.to_owned()));
        }
    }

    pub fn put(&mut self, path: &[&str], value: impl Into<ValueKind>, source: &Source) {
        let source = source.to_string();
        let (Some((last, parents)), mut table) = (path.split_last(), &mut self.0) else { return };
        for parent in parents {
            let entry = table
                .entry((*parent).to_owned())
                .or_insert_with(|| Value::new(Some(&source), ValueKind::Table(Map::new())));
            match &mut entry.kind {
                ValueKind::Table(inner) => table = inner,
                _ => return,
            }
        }
        table.insert((*last).to_owned(), Value::new(Some(&source), value));
    }

    fn put_path(&mut self, path: &[String], value: &str, source: &Source) {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        self.put(&path, value, source);
    }

    /// Reports each Deployment that is in this layer (flags) and in `below`, because it is not clear which one is meant.
    pub fn note_deployments_also_in(&self, below: &Self, problems: &mut Vec<Problem>) {
        let (Some(mine), Some(theirs)) = (self.deployments(), below.deployments()) else { return };
        for (name, value) in mine.iter().filter(|(name, _)| theirs.contains_key(*name)) {
            problems.push(Problem {
                key: format!("deployments.{name}"),
                value: None,
                source: Source::from_text(value.origin()),
                message: "is declared twice: by --deployment and in the configuration file".to_owned(),
                fix: format!("leave out --deployment {name}=…, or [deployments.{name}]"),
            });
        }
    }

    pub fn deployments(&self) -> Option<&Map<String, Value>> {
        match self.0.get("deployments").map(|value| &value.kind) {
            Some(ValueKind::Table(table)) => Some(table),
            _ => None,
        }
    }
}

/// # Errors
/// Only if the `config` crate rejects a layer, which it has no reason to do once the layer is parsed.
pub(super) fn merged(layers: &[Layer]) -> Result<Value, ConfigError> {
    let builder = layers.iter().fold(config::Config::builder(), |builder, layer| builder.add_source(layer.clone()));
    Ok(builder.build()?.cache)
}

/// The flags that stand for one key each. The caller reads `--deployment`, because several of them depend on each other.
pub(super) fn flags(sources: &Sources) -> Layer {
    let given = &sources.overrides;
    let mut layer = Layer::default();
    layer.put_flag(&["proxy", "listen"], given.listen.as_deref(), "--listen");
    layer.put_flag(&["proxy", "base_domain"], given.base_domain.as_deref(), "--base-domain");
    layer.put_flag(&["proxy", "tls", "certificate"], given.tls_certificate.as_deref(), "--tls-certificate");
    layer.put_flag(&["proxy", "tls", "key"], given.tls_key.as_deref(), "--tls-key");
    layer.put_flag(&["management", "listen"], given.management_listen.as_deref(), "--management-listen");
    layer.put_flag(&["forward_auth", "listen"], given.forward_auth_listen.as_deref(), "--forward-auth-listen");
    layer.put_flag(&["telemetry", "listen"], given.telemetry_listen.as_deref(), "--telemetry-listen");
    layer.put_flag(&["store", "url"], given.store.as_deref(), "--store");
    layer.put_flag(&["log", "format"], given.log_format.as_deref(), "--log-format");
    layer
}

/// The problem of an invalid `--deployment`; `given` is its value.
pub(super) fn invalid_deployment_flag(given: &str, message: &str, fix: String) -> Problem {
    Problem {
        key: "--deployment".to_owned(),
        value: Some(shown("", &Value::new(None, given))),
        source: Source::Flag("--deployment".to_owned()),
        message: message.to_owned(),
        fix,
    }
}

fn stamped(value: Value, source: &String) -> Value {
    let kind = match value.kind {
        ValueKind::Table(table) => {
            ValueKind::Table(table.into_iter().map(|(key, value)| (key, stamped(value, source))).collect())
        }
        ValueKind::Array(items) => ValueKind::Array(items.into_iter().map(|item| stamped(item, source)).collect()),
        plain => plain,
    };
    Value::new(Some(source), kind)
}

/// The parser's message without the lines it quotes, which may hold a secret.
fn without_source_lines(message: &str) -> String {
    let quotes =
        |line: &str| line.trim_start_matches([' ', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']).starts_with('|');
    let lines: Vec<&str> = message.lines().filter(|line| !quotes(line) && !line.trim().is_empty()).collect();
    lines.join(": ")
}

/// `proxy.listen` and the like for every key there is, `deployments.*.KEY` for those of a Deployment.
fn known_paths(defaults: &Value) -> Vec<Vec<String>> {
    fn walk(value: &Value, path: &mut Vec<String>, out: &mut Vec<Vec<String>>) {
        match &value.kind {
            ValueKind::Table(table) => {
                for (key, value) in table {
                    path.push(key.clone());
                    walk(value, path, out);
                    path.pop();
                }
            }
            _ => out.push(path.clone()),
        }
    }
    let mut out = Vec::new();
    walk(defaults, &mut Vec::new(), &mut out);
    let of_deployments =
        |key: &str| ["deployments", "*"].into_iter().chain(key.split('.')).map(str::to_owned).collect();
    let settings: Vec<Vec<String>> = out
        .iter()
        .filter(|path| path.iter().any(|part| part == "deployment_defaults"))
        .filter_map(|path| path.last().map(|key| of_deployments(key)))
        .collect();
    out.extend(settings);
    out.extend(DEPLOYMENT_KEYS.map(of_deployments));
    out
}

/// `PROXY__LISTEN` → `proxy.listen`. `None` if a part is empty.
fn path_of(rest: &str) -> Option<Vec<String>> {
    let mut path: Vec<String> = rest.split("__").map(str::to_ascii_lowercase).collect();
    if let [section, name, _, ..] = path.as_mut_slice()
        && section == "deployments"
    {
        *name = name.replace('_', "-");
    }
    path.iter().all(|part| !part.is_empty()).then_some(path)
}

fn is_known(path: &[String], known: &[Vec<String>]) -> bool {
    known.iter().any(|known| {
        known.len() == path.len() && known.iter().zip(path).all(|(known, part)| known == "*" || known == part)
    })
}

fn suggestion(rest: &str, known: &[Vec<String>]) -> String {
    let names: Vec<String> = known.iter().map(|path| path.join("__").to_ascii_uppercase()).collect();
    let wanted = rest.strip_suffix(ENV_FILE_SUFFIX).unwrap_or(rest).to_ascii_uppercase();
    match nearest(&wanted, names.iter().map(String::as_str)) {
        Some(near) => format!("did you mean {ENV_PREFIX}{near}?"),
        None => "unset it; `bento-gateway config print` shows the settings there are".to_owned(),
    }
}
