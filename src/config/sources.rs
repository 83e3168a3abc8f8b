//! Where settings come from.

use std::{collections::BTreeMap, path::PathBuf};

/// `config/default.toml`, which is the reference and holds every key.
pub(super) const DEFAULTS: &str = include_str!("../../config/default.toml");

/// Before `SECTION__KEY`.
pub(super) const ENV_PREFIX: &str = "BENTO_GATEWAY__";
pub(super) const ENV_FILE_SUFFIX: &str = "_FILE";

/// Everything that settings are read from. The caller hands over the environment; nothing in this room reads it.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// `None`: no configuration file.
    pub file: Option<PathBuf>,
    pub overrides: Overrides,
    pub env: BTreeMap<String, String>,
}

impl Sources {
    /// Files that variables name: `BENTO_GATEWAY__STORE__URL_FILE` and the like.
    pub fn files_of_variables(&self) -> impl Iterator<Item = PathBuf> {
        let names_file = |name: &str| name.starts_with(ENV_PREFIX) && name.ends_with(ENV_FILE_SUFFIX);
        self.env.iter().filter(move |(name, _)| names_file(name)).map(|(_, path)| path.into())
    }
}

/// Values of flags as they were typed. They are checked together with everything else. `None`: the flag was not given.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `NAME=URL`.
    pub deployments: Vec<String>,
    pub listen: Option<String>,
    pub management_listen: Option<String>,
    pub forward_auth_listen: Option<String>,
    pub telemetry_listen: Option<String>,
    pub store: Option<String>,
    pub base_domain: Option<String>,
    pub log_format: Option<String>,
    pub tls_certificate: Option<String>,
    pub tls_key: Option<String>,
}
