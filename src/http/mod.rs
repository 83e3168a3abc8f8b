//! How HTTP is read and answered on both listeners: the peer's address, forwarding fields, cookies, whether a page of ours
//! asks. The proxy and the management listener must not read one request in two ways, so neither has a reading of its own.

pub mod cookie;
pub mod forwarding;
pub mod peer;
pub mod same_origin;
