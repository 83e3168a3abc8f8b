//! Asking an upstream once whether it is ready.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, StatusCode, Uri, header};
use tower::Service;

use super::{
    client::{self, ClientError},
    resolver,
};
use crate::domain::{
    probing::ProbePath, upstream_access::TlsPeer, upstream_credential::UpstreamCredential, upstream_url::UpstreamUrl,
};

pub struct Question<'a> {
    pub url: &'a UpstreamUrl,
    /// As [`upstream_tls::peer`](super::upstream_tls::peer) says.
    pub tls: Option<&'a TlsPeer>,
    /// What it is shown. `None`: nothing.
    pub credential: Option<&'a UpstreamCredential>,
    pub path: &'a ProbePath,
    /// For connection and answer together.
    pub timeout: Duration,
}

/// Why an upstream does not count as ready.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    #[error("it answered {}", .0.as_u16())]
    Answer(StatusCode),
    #[error("there is no connection: {0}")]
    NoConnection(String),
    #[error("{0}")]
    NoAnswer(ClientError),
    #[error("there are no root certificates to verify it by")]
    NoRoots,
    #[error("{0}")]
    Request(#[from] http::Error),
}

/// Whether the upstream takes a connection within `timeout`, the look-up of its name included. Nothing is sent on it.
pub async fn takes_connection(url: &UpstreamUrl, timeout: Duration) -> bool {
    let Ok(uri) = url.to_string().parse::<Uri>() else { return false };
    let connected = tokio::time::timeout(timeout, resolver::below_tls().call(uri)).await;
    matches!(connected, Ok(Ok(_)))
}

impl Question<'_> {
    /// On a connection of its own: whether the upstream takes one is part of the question.
    ///
    /// # Errors
    /// [`NotReady`].
    pub async fn ask(&self) -> Result<(), NotReady> {
        let request = self.request()?;
        let answer = match self.tls {
            None => client::plain(self.timeout).send(request).await,
            Some(peer) => client::with_tls(self.timeout, peer).ok_or(NotReady::NoRoots)?.send(request).await,
        };
        match answer {
            Ok(response) if response.status().is_success() => Ok(()),
            Ok(response) => Err(NotReady::Answer(response.status())),
            Err(ClientError::Connection(error)) => Err(NotReady::NoConnection(error)),
            Err(error) => Err(NotReady::NoAnswer(error)),
        }
    }

    fn request(&self) -> Result<Request<Bytes>, http::Error> {
        let url = format!("{}{}", self.url, self.path);
        let mut request = Request::get(url).header(header::CONNECTION, "close").body(Bytes::new())?;
        if let Some(credential) = self.credential {
            let mut value = HeaderValue::from_str(credential.expose())?;
            value.set_sensitive(true);
            request.headers_mut().insert(HeaderName::from_bytes(credential.header().as_bytes())?, value);
        }
        Ok(request)
    }
}
