pub mod config;
pub mod domain;
pub mod secret_hash;
pub mod store;
pub mod system;
