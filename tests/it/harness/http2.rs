//! A client that speaks HTTP/2.

use std::future::Future;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http2::SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{gateway::Gateway, pair::HOST};

pub type Connection = SendRequest<Full<Bytes>>;

pub fn run<F: Future>(test: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

pub async fn http2<S>(stream: S) -> Connection
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

pub async fn clear_text(gateway: &Gateway) -> Connection {
    http2(tokio::net::TcpStream::connect(gateway.proxy).await.unwrap()).await
}

pub fn plain(path: &str, token: &str) -> http::request::Builder {
    Request::get(format!("http://{HOST}{path}")).header("authorization", format!("Bearer {token}"))
}

pub fn no_body() -> Full<Bytes> {
    Full::default()
}

pub async fn send(connection: &mut Connection, request: http::Result<Request<Full<Bytes>>>) -> Response<Incoming> {
    connection.ready().await.unwrap();
    connection.send_request(request.unwrap()).await.unwrap()
}

pub async fn whole(answer: Response<Incoming>) -> Bytes {
    answer.into_body().collect().await.unwrap().to_bytes()
}
