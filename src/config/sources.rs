//! Where settings come from.

use std::{collections::BTreeMap, path::PathBuf};

/// `config/default.toml`, which is the reference and holds every key.
pub(super) const DEFAULTS: &str = include_str!("../../config/default.toml");

/// Everything that settings are read from. The caller hands over the environment; nothing in this room reads it.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// `None`: no configuration file.
    pub file: Option<PathBuf>,
    pub overrides: Overrides,
    pub env: BTreeMap<String, String>,
}

/// Values of flags as they were typed. They are checked together with everything else. `None`: the flag was not given.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `NAME=URL`.
    pub deployments: Vec<String>,
    pub listen: Option<String>,
    pub management_listen: Option<String>,
    pub telemetry_listen: Option<String>,
    pub store: Option<String>,
    pub base_domain: Option<String>,
    pub log_format: Option<String>,
    pub tls_certificate: Option<String>,
    pub tls_key: Option<String>,
}
