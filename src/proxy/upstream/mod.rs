//! Our side of an upstream connection: HTTP/1.1 over TCP or TLS, one exchange at a time.
//!
//! It is our own because two promises need it. BentoML's client decodes each chunk by itself, so a chunk must leave as
//! it came, and no client library says where one ended. And one task drives both directions, so that dropping the response
//! drops the connection: the upstream notices at once when a caller leaves. `docs/decisions/0005-upstream-client.md`.
//!
//! [`exchange`] is where to start; [`head_reader`], [`head`] and [`chunked`] read what comes in
//! [`pieces`], [`request_writer`] writes, [`connect`] opens connections, [`stream`] is one, with or without TLS, [`pool`] keeps
//! what is idle.

pub mod body;
pub mod chunked;
pub mod connect;
pub mod exchange;
pub mod head;
pub mod head_reader;
pub mod pieces;
pub mod pool;
pub mod request_writer;
pub mod stream;
