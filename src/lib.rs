pub mod config;
pub mod domain;
pub mod secret_hash;
pub mod service;
pub mod store;
pub mod system;
