//! Values and decisions. No I/O, no async, no clock, no randomness: whatever a rule needs is handed to it.
//!
//! Start with [`decision`], the one place that says who may pass; the other files are the words it is written in.

mod as_text;
pub mod audit;
pub mod audit_chain;
pub mod budget;
pub mod clean;
pub mod code;
pub mod cors_origin;
pub mod decision;
pub mod deployment;
pub mod deployment_scope;
pub mod device_login;
pub mod explanation;
pub mod fair_queue;
pub mod host;
pub mod identity_fields;
pub mod let_through;
pub mod narrowing;
pub mod origin;
pub mod password;
pub mod percent;
pub mod preset;
pub mod probing;
pub mod quoted;
pub mod rate;
pub mod request_path;
pub mod rights;
pub mod routing;
pub mod scope;
pub mod secret;
pub mod session;
pub mod timestamp;
pub mod token;
pub mod token_search;
pub mod token_text;
pub mod units;
pub mod upstream_access;
pub mod upstream_credential;
pub mod upstream_url;
pub mod usage;
pub mod user;
pub mod wake_url;
pub mod weighted_url;
