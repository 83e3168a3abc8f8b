//! What the commands that work on the store have in common: settings, store, runtime.

use std::{collections::BTreeMap, future::Future, sync::Arc};

use tokio::runtime::{Builder, Runtime};

use super::{args::GlobalArgs, error::CliError};
use crate::{
    config::{self, Config, Overrides, Sources, StoreConfig},
    domain::{audit::Actor, rights::Grantor},
    service::{
        Context,
        deployments::{self, address::Addresses},
        moving,
    },
    store::{self, SharedStore},
    system::System,
};

/// Names the configuration file where `--config` does not.
const CONFIG_VARIABLE: &str = "BENTO_GATEWAY_CONFIG";

/// What the commands get from the process.
pub struct Environment {
    pub env: BTreeMap<String, String>,
    pub global: GlobalArgs,
    pub system: Arc<dyn System>,
}

/// An open store.
pub struct OpenStore {
    pub config: Config,
    store: SharedStore,
    system: Arc<dyn System>,
    pub(super) runtime: Runtime,
}

impl Environment {
    /// `overrides` is completed by the flags that every command has.
    pub fn sources(&self, overrides: Overrides) -> Sources {
        let from_env = || self.env.get(CONFIG_VARIABLE).filter(|path| !path.is_empty()).map(Into::into);
        Sources {
            file: self.global.config.clone().or_else(from_env),
            overrides: Overrides { store: self.global.store.clone(), ..overrides },
            env: self.env.clone(),
        }
    }

    pub fn load(&self) -> Result<Config, CliError> {
        Ok(config::load(&self.sources(Overrides::default()))?)
    }

    pub fn open(&self) -> Result<OpenStore, CliError> {
        self.open_by(async |config| Ok(store::open(config).await?))
    }

    /// To look only: nothing is made or migrated.
    pub fn open_as_it_is(&self) -> Result<OpenStore, CliError> {
        self.open_by(async |config| Ok(moving::source(config).await?))
    }

    fn open_by(
        &self,
        open: impl AsyncFnOnce(&StoreConfig) -> Result<SharedStore, CliError>,
    ) -> Result<OpenStore, CliError> {
        let config = self.load()?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let store = runtime.block_on(open(&config.store))?;
        Ok(OpenStore { config, store, system: Arc::clone(&self.system), runtime })
    }
}

impl OpenStore {
    pub fn context(&self) -> Context<'_> {
        Context {
            store: self.store.as_ref(),
            tokens: &self.config.tokens,
            declared: &self.config.declared,
            sign_on: self.config.management.single_sign_on(),
            actor: Actor::Cli,
            grantor: Grantor::Operator,
            request: None,
            system: &*self.system,
            now: self.system.now(),
        }
    }

    pub fn shared(&self) -> SharedStore {
        self.store.clone()
    }

    /// Where the running gateway is reached, which may have another configuration than this command. With none on this
    /// store, by the configuration of the command.
    pub fn addresses(&self) -> Result<Addresses, CliError> {
        if let Some(addresses) = self.said_addresses()? {
            return Ok(addresses);
        }
        let reach = self.block_on(deployments::reach(&self.context(), &self.config.proxy))?;
        Ok(Addresses::new(&self.config, reach.default_deployment))
    }

    /// Where the running gateway says that it is reached. `None`: none says so.
    pub fn said_addresses(&self) -> Result<Option<Addresses>, CliError> {
        let said = self.block_on(self.context().store.addresses())?;
        Ok(said.and_then(|json| serde_json::from_str(&json).ok()))
    }

    pub fn block_on<T, E: Into<CliError>>(&self, work: impl Future<Output = Result<T, E>>) -> Result<T, CliError> {
        self.runtime.block_on(work).map_err(Into::into)
    }
}
