//! `bento-gateway healthcheck`: for container runtimes, in images that have no curl.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs},
    time::{Duration, Instant},
};

use super::{environment::Environment, error::CliError, exit::ExitStatus, output::Printer};
use crate::domain::deployment::UpstreamUrl;

/// For everything together. Below the 3 s that the Dockerfile gives us.
const TIMEOUT: Duration = Duration::from_secs(2);
const MAX_ANSWER: usize = 64 * 1024;

/// `url: None`: `/readyz` of the configured management listener.
pub fn run(url: Option<&UpstreamUrl>, environment: &Environment, printer: &mut Printer<'_>) -> Result<(), CliError> {
    let (host, port, path) = match url {
        Some(url) if url.base_path().is_empty() => (url.host().to_owned(), url.port(), "/readyz".to_owned()),
        Some(url) => (url.host().to_owned(), url.port(), url.base_path().to_owned()),
        None => {
            let listen = reachable(environment.load()?.management.listen);
            let host = if listen.is_ipv6() { format!("[{}]", listen.ip()) } else { listen.ip().to_string() };
            (host, listen.port(), "/readyz".to_owned())
        }
    };
    let shown = format!("http://{host}:{port}{path}");
    let failed = |why: String, hint: &str| CliError::new(ExitStatus::Failure, format!("{shown} {why}"), hint);
    let answer = ask(&host, port, &path).map_err(|error| {
        failed(format!("did not answer: {error}"), "is the gateway running, and is that its management listener?")
    })?;
    match status(&answer) {
        Some(200..=299) => printer.line("ready"),
        Some(status) => {
            let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body.trim());
            Err(failed(format!("answered {status}: {body:?}"), "the gateway's log says why it is not ready"))
        }
        None => Err(failed("did not answer in HTTP".to_owned(), "give the management listener's address with --url")),
    }
}

/// Where a listener on every interface is reached from here.
fn reachable(mut listen: SocketAddr) -> SocketAddr {
    match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => listen.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => listen.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    listen
}

fn ask(host: &str, port: u16, path: &str) -> io::Result<String> {
    let deadline = Instant::now() + TIMEOUT;
    let left = || {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::Error::from(io::ErrorKind::TimedOut)) } else { Ok(left) }
    };
    let mut connected = Err(io::Error::from(io::ErrorKind::NotFound));
    for address in (host.trim_matches(['[', ']']), port).to_socket_addrs()? {
        connected = TcpStream::connect_timeout(&address, left()?);
        if connected.is_ok() {
            break;
        }
    }
    let mut stream = connected?;
    stream.set_write_timeout(Some(left()?))?;
    // In one piece: servers that read once are not rare.
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
    while answer.len() < MAX_ANSWER {
        stream.set_read_timeout(Some(left()?))?;
        match stream.read(&mut buffer)? {
            0 => break,
            length => answer.extend_from_slice(&buffer[..length]),
        }
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn status(answer: &str) -> Option<u16> {
    answer.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.get(..3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_lines() {
        for (answer, expected) in [
            ("HTTP/1.1 200 OK\r\n\r\n", Some(200)),
            ("HTTP/1.0 503 Service Unavailable\r\n", Some(503)),
            ("HTTP/1.1 503\r\n", Some(503)),
            ("SSH-2.0-OpenSSH", None),
            ("", None),
        ] {
            assert_eq!(status(answer), expected, "{answer:?}");
        }
    }

    #[test]
    fn a_listener_on_every_interface_is_asked_on_this_one() {
        for (listen, asked) in [("0.0.0.0:8081", "127.0.0.1:8081"), ("[::]:1", "[::1]:1"), ("10.0.0.1:1", "10.0.0.1:1")]
        {
            assert_eq!(reachable(listen.parse().unwrap()).to_string(), asked);
        }
    }
}
