//! What the router never sees of a connection, for the operator.

use std::{fmt, net::IpAddr};

use tracing::info;

use crate::http::{complaints::Complaints, opening::Opening};

/// Tells the operator of requests that the router never saw.
pub struct Unread<'a> {
    /// As the log calls it.
    pub listener: &'static str,
    pub peer: IpAddr,
    pub opening: Opening,
    /// Whether the connection has TLS.
    pub tls: bool,
    pub complaints: &'a Complaints,
}

impl Unread<'_> {
    /// `reason`: one of our own or of the library's fixed texts.
    pub fn tell(&self, reason: &dyn fmt::Display) {
        let reason = match self.opening {
            // Of that there is a message.
            Opening::ProxyProtocol(_) => return,
            Opening::Tls if !self.tls => "what came is TLS, which this listener does not have; was https:// used for \
                                          http://?"
                .to_owned(),
            Opening::Http2 => "what came is HTTP/2, which this listener does not speak".to_owned(),
            _ => reason.to_string(),
        };
        let Some(others) = self.complaints.next() else { return };
        info!(peer = %self.peer, listener = self.listener, reason, others, "a request could not be read");
    }
}
