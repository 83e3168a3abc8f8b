pub mod config;
pub mod domain;
pub mod index;
pub mod proxy;
pub mod secret_hash;
pub mod store;
pub mod system;
pub mod telemetry;
