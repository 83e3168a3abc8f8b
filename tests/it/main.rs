//! The one integration binary: each module tests one promise through the public interface, `harness` has what they
//! share. A module of its own per promise, not a binary: linking is what takes the time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking and reports what it measured, in its helpers, too"
)]

mod access_log;
mod addresses;
mod answers_after_commit;
mod architecture;
mod audit;
mod before_decision;
mod bento;
mod both_listeners;
mod browser;
mod browser_cors;
mod browser_session;
mod browser_session_bounds;
mod browser_session_store;
mod budgets;
mod chart;
mod cli;
mod cli_scan;
mod cli_settle;
mod cloud;
mod cold_start;
mod cold_start_hook;
mod config;
mod console;
mod console_members;
mod console_recipes;
mod console_routes;
mod doctor;
mod enforcement;
mod errors_page;
mod expiry_notice;
mod explain;
mod faults;
mod feed_model;
mod first_hour;
mod forward_auth;
mod forward_auth_proxies;
mod free_texts;
mod fuzz_corpus;
mod harness;
mod lifecycle;
mod lost_updates;
mod management;
mod management_fuzz;
mod management_idempotency;
mod management_limits;
mod management_listener;
mod management_urgent;
mod narrow_rights;
mod narrow_scopes;
mod narrow_scopes_granted;
mod presets;
mod project;
mod prometheus;
mod proxy_connections;
mod proxy_curl;
mod proxy_decision;
mod proxy_descriptors;
mod proxy_first_verification;
mod proxy_framing;
mod proxy_framing_responses;
mod proxy_headers;
mod proxy_http2;
mod proxy_http2_end;
mod proxy_http2_slow;
mod proxy_listeners;
mod proxy_other_tokens;
mod proxy_probes;
mod proxy_protocol;
mod proxy_queue;
mod proxy_queue_waiting;
mod proxy_rate;
mod proxy_readyz_tarpit;
mod proxy_rest;
mod proxy_routing;
mod proxy_streaming;
mod proxy_timers;
mod proxy_tls;
mod proxy_upstreams;
mod proxy_vanished;
mod proxy_websocket;
mod proxy_websocket_end;
mod quick_start;
mod receipts;
mod rights_that_lapse;
mod second_start;
mod secrecy;
mod shutdown;
mod single_sign_on;
mod single_sign_on_passwords;
mod single_sign_on_provider;
mod store;
mod store_copy;
mod store_failover;
mod store_faults;
mod store_migration;
mod telemetry;
mod telemetry_counts;
mod telemetry_values;
mod token_names;
mod upstream_credential;
mod upstream_names;
mod upstream_tls;
mod upstream_tls_faults;
mod usage;
mod whole_answers;
mod wire;
