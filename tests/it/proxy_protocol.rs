//! The PROXY protocol from trusted proxies: who calls is whom they name.

use std::{
    fs, io,
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use socket2::{Domain, Socket, Type};

use crate::{
    harness::{
        SOON,
        commands::CommandLine,
        gateway::{Gateway, deployment, free_address},
        http::{Client, ReadEnd, get},
        pair::HOST,
        upstream::Upstream,
        wait_until,
    },
    proxy_tls::{Certificate, by_tls_behind, client},
};

const V1: &[u8] = b"PROXY TCP4 192.0.2.7 192.0.2.1 56324 443\r\n";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
const UNSPEC: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\0\0\0";

/// IPv6, with a TLV behind the addresses.
fn v2() -> Vec<u8> {
    let caller = [[0x20, 1, 0xd, 0xb8].as_slice(), &[0; 11], &[7]].concat();
    [b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x29".as_slice(), &caller, &[0; 16], &[1, 0, 1, 1], b"\x04\0\x02ab"].concat()
}

/// Of which this machine is trusted, or not.
fn gateway(upstream: &Upstream, trusted: &str, more: &str) -> Gateway {
    let proxy = format!("[proxy]\ntrusted_proxies = [\"{trusted}\"]\nproxy_protocol = true\n{more}\n");
    Gateway::start(&format!("{proxy}{}", deployment("a", upstream.address, "protected = false")))
}

/// What a caller sends who would like to be somebody else.
fn forged(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: {HOST}\r\nx-forwarded-for: 203.0.113.9\r\nx-forwarded-proto: https\r\n\r\n")
        .into()
}

#[test]
fn the_caller_is_whom_a_trusted_proxy_names() {
    let upstream = Upstream::named("a");
    let gateway = gateway(&upstream, "127.0.0.0/8", "");
    for (path, preface, caller) in [
        ("/v1", V1.to_vec(), "192.0.2.7"),
        ("/v2", v2(), "2001:db8::7"),
        ("/local", LOCAL.to_vec(), "127.0.0.1"),
        ("/unknown", b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        ("/unspec", UNSPEC.to_vec(), "127.0.0.1"),
    ] {
        let mut connection = gateway.connect();
        connection.send([&preface[..], &forged(path)].concat());
        assert_eq!(connection.response(false).status, 200, "{path}");
        // The connection goes on to be that caller's.
        connection.send(forged(&format!("{path}/again")));
        assert_eq!(connection.response(false).status, 200, "{path}");
        for path in [path.to_owned(), format!("{path}/again")] {
            assert_eq!(gateway.access_line(&path)["client"], caller, "{path}");
            let seen = upstream.requests().into_iter().find(|request| request.target == path).unwrap();
            assert_eq!(seen.all("x-forwarded-for"), [caller], "{path}");
            assert_eq!(seen.header("x-forwarded-proto"), Some("http"), "{path}");
        }
    }
    // One that is itself a trusted proxy is believed as such.
    let mut connection = gateway.connect();
    connection.send([b"PROXY TCP4 127.0.0.9 127.0.0.1 1 2\r\n".as_slice(), &forged("/chain")].concat());
    assert_eq!(connection.response(false).status, 200);
    assert_eq!(gateway.access_line("/chain")["client"], "203.0.113.9");
}

#[test]
fn the_preface_comes_before_tls() {
    let (upstream, certificate) = (Upstream::named("a"), Certificate::new());
    let directory = tempfile::tempdir().unwrap();
    certificate.write(directory.path());
    let path = |name: &str| directory.path().join(name).display().to_string();
    let tls = format!("tls.certificate = \"{}\"\ntls.key = \"{}\"", path("cert.pem"), path("key.pem"));
    let gateway = gateway(&upstream, "127.0.0.1", &tls);
    for preface in [V1.to_vec(), v2()] {
        let mut connection = by_tls_behind(&preface, gateway.proxy, &client(&[&certificate], &["http/1.1"]));
        assert_eq!(connection.ask(get(HOST, "/by-tls", "unused")).status, 200);
    }
    let seen: Vec<String> =
        upstream.requests().iter().map(|request| request.header("x-forwarded-for").unwrap().to_owned()).collect();
    assert_eq!(seen, ["192.0.2.7", "2001:db8::7"]);
}

#[test]
fn a_trusted_proxy_without_a_preface_is_told_so() {
    let upstream = Upstream::named("a");
    let gateway = gateway(&upstream, "127.0.0.1", "limits.header_timeout = \"1s\"");
    for opening in [&b""[..], b"PROXY TCP4 192.0.2.7 192.0.2.1 1\r\n", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff"] {
        let mut connection = gateway.connect();
        connection.send([opening, &forged("/")].concat());
        let answer = connection.response(false);
        assert_eq!((answer.status, answer.code().as_str()), (400, "proxy_protocol"), "{opening:?}");
        assert!(answer.text().contains("has to begin with the PROXY protocol"), "{}", answer.text());
    }
    assert!(upstream.requests().is_empty());
    wait_until("each is in the request log", SOON, || {
        let lines = gateway.access_lines();
        let causes = lines.iter().filter(|line| line["reason"] == "proxy_protocol" && line["cause"].is_string());
        causes.count() == 3
    });
    gateway.await_said(&["did not begin with the PROXY protocol"]);
    // Who stops in the middle of one is not waited for, and one that only looks whether the port is open is not told of.
    let mut connection = gateway.connect();
    connection.send(&V1[..20]);
    assert!(matches!(connection.try_head(), Err(ReadEnd::Closed | ReadEnd::Reset)), "the header's time is over");
}

#[test]
fn others_are_served_as_always_and_announce_nobody() {
    let upstream = Upstream::named("a");
    let gateway = gateway(&upstream, "192.0.2.0/24", "");
    assert_eq!(gateway.ask(&get(HOST, "/plain", "unused")).status, 200);
    let mut connection = gateway.connect();
    connection.send([V1, &forged("/")].concat());
    let answer = connection.response(false);
    assert_eq!((answer.status, answer.code().as_str()), (400, "proxy_protocol"));
    assert_eq!(gateway.access_line("/plain")["client"], "127.0.0.1");
}

#[test]
fn it_needs_somebody_to_trust() {
    let commands = CommandLine::new();
    commands.write("gateway.toml", "[proxy]\nproxy_protocol = true\n");
    commands.refused(&["config", "check", "-c", "gateway.toml"], 78, &["proxy.proxy_protocol", "no proxy is trusted"]);
}

fn connected_from(source: &str, to: SocketAddr) -> io::Result<Client> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&source.parse::<SocketAddr>().unwrap().into())?;
    socket.connect(&to.into())?;
    socket.set_read_timeout(Some(SOON))?;
    Ok(Client::on(socket.into()))
}

struct Haproxy(Child);

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// It names whoever connects to it: here an address of this machine that is not its own.
#[test]
fn haproxy_names_its_callers() {
    let upstream = Upstream::named("a");
    let gateway = gateway(&upstream, "127.0.0.1", "");
    for send in ["send-proxy", "send-proxy-v2"] {
        let (directory, callers) = (tempfile::tempdir().unwrap(), free_address());
        let text = format!(
            "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1m\n  timeout server 1m\n\
             listen callers\n  bind {callers}\n  server gateway {} source 127.0.0.1 {send} check\n",
            gateway.proxy
        );
        fs::write(directory.path().join("haproxy.cfg"), text).unwrap();
        let mut command = Command::new("/usr/sbin/haproxy");
        command.args(["-db", "-f", "haproxy.cfg"]).current_dir(directory.path()).stdin(Stdio::null());
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let _haproxy = Haproxy(child.unwrap_or_else(|error| panic!("haproxy: {error}; scripts/test installs it")));
        let path = format!("/{send}");
        wait_until("HAProxy listens and forwards", SOON, || {
            let asked = connected_from("127.0.0.7:0", callers);
            asked.is_ok_and(|mut caller| {
                let sent = caller.try_send(&forged(&path)).is_ok();
                sent && caller.try_response(false).is_ok_and(|answer| answer.status == 200)
            })
        });
        let lines = || gateway.access_lines().into_iter().filter(|line| line["path"] == path).collect::<Vec<_>>();
        wait_until("the request is in the log", SOON, || !lines().is_empty());
        assert!(lines().iter().all(|line| line["client"] == "127.0.0.7"), "{send}: {:?}", lines());
    }
}
