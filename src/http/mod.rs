//! How HTTP is read and answered on both listeners: TLS, the peer's address and network, the forwarded chain, the host,
//! credentials, cookies, which page asks, forms, pages. The proxy and the management listener must not read one request in
//! two ways, so neither has a reading of its own. Beside them are the listener that serves a router, limits of how often,
//! and the client for what the gateway itself asks with the resolver for names.

pub mod authority;
pub mod bearer;
pub mod certificate;
pub mod client;
pub mod complaints;
pub mod cookie;
pub mod egress;
pub mod form;
pub mod forwarding;
pub mod hook;
pub mod keepalive;
pub mod lane;
pub mod limit;
pub mod list;
pub mod listener;
pub mod network;
pub mod opening;
pub mod page;
pub mod peer;
pub mod proxy_protocol;
pub mod readiness;
pub mod request_line;
pub mod resolver;
pub mod same_origin;
pub mod single;
pub mod tls;
pub mod upstream_tls;
