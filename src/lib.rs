//! `bento-gateway`: an authenticating reverse proxy for self-hosted BentoML services.
//!
//! The rooms, from the inside out; each uses only what stands above it:
//!
//! - [`domain`]: values and the decision, without I/O, clock or async. Read [`domain::decision`] first.
//! - [`http`]: how HTTP is read on both listeners.
//! - [`config`], [`system`], [`secret_hash`]: settings as plain data; time and chance; Argon2.
//! - [`store`]: SQLite and PostgreSQL behind one set of traits.
//! - [`index`]: tokens and routes in memory, kept like the store by one task.
//! - [`telemetry`]: logs, one line per request, and what is counted.
//! - [`service`]: what people do with a gateway, one verb a file.
//! - [`gateway`]: what both listeners share.
//! - [`metrics`]: the listener for Prometheus.
//! - [`proxy`]: the path of a request. Read [`proxy::pipeline`] top to bottom.
//! - [`management`]: the listener for operators.
//! - [`app`]: the composition root.
//! - [`doctor`]: looks for what keeps a gateway from working.
//! - [`cli`]: the command line, which is all that `main` calls.

pub mod app;
pub mod cli;
pub mod config;
pub mod doctor;
pub mod domain;
pub mod gateway;
pub mod http;
pub mod index;
pub mod management;
pub mod metrics;
pub mod proxy;
pub mod secret_hash;
pub mod service;
pub mod store;
pub mod system;
pub mod telemetry;
