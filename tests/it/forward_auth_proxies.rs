//! `examples/forward-auth`, by the real proxies: each asks the gateway, and forwards itself what may pass.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::harness::{
    SOON,
    bentoml::python,
    gateway::{Gateway, Setup, Token, deployment, free_address},
    http::{Client, get, request},
    upstream::Upstream,
    wait_until,
};

/// Starting, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

struct Proxied {
    gateway: Gateway,
    upstream: Upstream,
    token: Token,
    callers: SocketAddr,
    process: Child,
    directory: tempfile::TempDir,
}

impl Drop for Proxied {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Proxied {
    /// `files` of the examples; `command` is handed the directory where they are.
    fn start(files: &[&str], command: impl FnOnce(&Path) -> Command) -> Self {
        let upstream = Upstream::named("service");
        let (asked, callers) = (free_address(), free_address());
        let config = format!(
            "{}{}",
            deployment("a", upstream.address, ""),
            deployment("public", upstream.address, "protected = false")
        );
        let gateway = Setup::new(&config).arguments(&["--forward-auth-listen", &asked.to_string()]).start();
        let token = gateway.token(&["deployment:a"]);
        let directory = tempfile::Builder::new().prefix("bgw-forward-auth-").tempdir().unwrap();
        for file in files {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/forward-auth").join(file);
            let text = fs::read_to_string(path).unwrap();
            let text = text.replace("summarization", "a");
            let text = text.replace("8000", &callers.port().to_string());
            let text = text.replace("127.0.0.1:8082", &asked.to_string());
            let text = text.replace("127.0.0.1:3000", &upstream.address.to_string());
            let text = text.replace("port_value: 8082", &format!("port_value: {}", asked.port()));
            let text = text.replace("port_value: 3000", &format!("port_value: {}", upstream.address.port()));
            fs::write(directory.path().join(file), text).unwrap();
        }
        let log = fs::File::create(directory.path().join("log")).unwrap();
        let mut command = command(directory.path());
        command.current_dir(directory.path()).stdout(log.try_clone().unwrap()).stderr(log).stdin(Stdio::null());
        let process = command.spawn().unwrap_or_else(|error| {
            panic!("{:?} cannot be run ({error}); scripts/test installs it", command.get_program())
        });
        let mut proxied = Self { gateway, upstream, token, callers, process, directory };
        wait_until("the proxy listens", PATIENCE, || {
            assert_eq!(proxied.process.try_wait().unwrap(), None, "{}", proxied.said());
            Client::try_connect(callers).is_ok()
        });
        proxied
    }

    fn said(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    fn ask(&self, request: impl AsRef<[u8]>) -> crate::harness::http::Response {
        let mut client = Client::connect(self.callers);
        client.read_timeout(PATIENCE);
        client.ask(request)
    }

    /// What every proxy does with its example.
    fn does_as_it_is_told(&self) {
        let token = &self.token;
        // Some say that they listen before they do all that they were told.
        wait_until("it is ready", PATIENCE, || self.ask(get("a.test", "/warm", &token.text)).status == 200);
        let bare = |host: &str, fields: &str| self.ask(format!("GET /x HTTP/1.1\r\nhost: {host}\r\n{fields}\r\n"));
        let without = bare("a.test", "");
        assert_eq!(without.status, 401, "{}\n{}", without.text(), self.said());
        assert!(without.header("www-authenticate").unwrap().starts_with("Bearer realm="), "{without:?}");
        assert_eq!(self.ask(get("a.test", "/x", "nonsense")).status, 401);
        let other = self.gateway.token(&["deployment:public"]);
        assert_eq!(self.ask(get("a.test", "/x", &other.text)).status, 403);

        // What the service sees of a call is the gateway's word, whatever the caller says.
        let forged = [
            "x-bento-gateway-token-uid: forged",
            "x-bento-gateway-deployment: forged",
            "x-original-uri: /other",
            "x-original-method: GET",
            "x-forwarded-uri: /other",
            "x-forwarded-host: public.test",
            "content-length: 5",
        ];
        let called = self.ask(request("POST", "/call?a=b", "a.test", &token.text, &forged, b"hello"));
        assert_eq!(called.status, 200, "{}\n{}", called.text(), self.said());
        let seen = |target: &str| {
            let requests = self.upstream.requests();
            requests.into_iter().rfind(|request| request.target == target).unwrap_or_else(|| panic!("{target}"))
        };
        let call = seen("/call?a=b");
        assert_eq!((call.method.as_str(), call.body.as_slice()), ("POST", b"hello".as_slice()));
        assert_eq!(call.header("x-bento-gateway-token-uid"), Some(&*token.uid), "{}", call.head);
        assert_eq!(call.header("x-bento-gateway-deployment"), Some("a"), "{}", call.head);
        assert_eq!(call.header("authorization"), None, "the service gets the token");
        assert_eq!(bare("a.test", "x-forwarded-host: public.test\r\nx-original-uri: /\r\n").status, 401);
        // The service is that of one Deployment, whatever the request says of where it leads.
        assert_eq!(bare("public.test", "").status, 401);
        let absolute = "GET http://a.test/x HTTP/1.1\r\nhost: public.test\r\n\r\n";
        assert_eq!(self.ask(absolute).status / 100, 4);
        let elsewhere = self.ask(get("public.test", "/elsewhere", &token.text));
        assert_eq!(elsewhere.status, 200, "{}", self.said());
        assert_eq!(seen("/elsewhere").header("x-bento-gateway-deployment"), Some("a"));
        self.keeps_from_the_service_what_it_would_not_see();

        self.gateway.revoke(token);
        wait_until("the revocation arrives", SOON, || self.ask(get("a.test", "/x", &token.text)).status == 401);
    }

    /// As at the gateway's own listener.
    fn keeps_from_the_service_what_it_would_not_see(&self) {
        let bearer = format!("authorization: Bearer {}\r\n", self.token.text);
        let key = "sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\nsec-websocket-version: 13\r\n";
        let asked = |fields: &str| {
            let mut client = Client::connect(self.callers);
            client.read_timeout(PATIENCE);
            client.send(format!("GET /ws HTTP/1.1\r\nhost: a.test\r\nconnection: upgrade\r\n{fields}\r\n"));
            client.head().status
        };
        let switched = |fields: &str| {
            let before = self.upstream.requests().len();
            let status = asked(fields);
            let requests = self.upstream.requests();
            let upgrades = requests[before..].iter().filter(|request| request.header("upgrade").is_some()).count();
            (status, upgrades)
        };
        for fields in [format!("upgrade: h2c\r\n{bearer}"), format!("upgrade: websocket\r\n{bearer}")] {
            let (status, upgrades) = switched(&fields);
            assert_eq!(upgrades, 0, "{fields}{status}\n{}", self.said());
        }
        let (status, upgrades) = switched(&format!("upgrade: websocket\r\n{key}{bearer}"));
        assert_eq!((status, upgrades), (200, 1), "{}", self.said());

        let get = |fields: &str| {
            self.ask(format!("GET /kept HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n{bearer}{fields}\r\n")).status
        };
        let pickle = "content-type: application/vnd.bentoml+pickle\r\n";
        let misplaced = format!("x-api-key: {}\r\n", self.token.text);
        for fields in [pickle, "payload-container: NdarrayContainer\r\n", &misplaced] {
            assert_eq!(get(fields) / 100, 4, "{fields}\n{}", self.said());
        }
        assert!(!self.upstream.requests().iter().any(|request| request.target == "/kept"));
        // A Python service reads the underscore as a hyphen. Some proxies drop such fields.
        let status = get("x_bento_gateway_token_uid: forged\r\n");
        assert!(status == 200 || status / 100 == 4, "{status}");
        let requests = self.upstream.requests();
        let mut kept = requests.iter().filter(|request| request.target == "/kept");
        assert!(kept.all(|request| !request.head.contains("forged")), "{requests:?}");
    }
}

/// A program of `tests/proxies/requirements.txt`.
fn program(below: impl FnOnce(&Path) -> PathBuf) -> PathBuf {
    let python = PathBuf::from(python(&["--proxies"]));
    below(python.parent().unwrap().parent().unwrap())
}

fn envoy(file: &'static str) -> Proxied {
    let program = program(|environment| {
        let library = fs::read_dir(environment.join("lib")).unwrap().next().unwrap().unwrap().path();
        library.join("site-packages/envoy/_bin/envoy")
    });
    Proxied::start(&[file], move |_| {
        let mut command = Command::new(program);
        command.args(["-c", file, "--concurrency", "1", "--disable-hot-restart", "-l", "warning"]);
        command
    })
}

#[test]
fn nginx() {
    let proxied = Proxied::start(&["nginx.conf"], |directory| {
        let mut command = Command::new("/usr/sbin/nginx");
        let path = directory.to_str().unwrap();
        let global = format!("daemon off; master_process off; pid {path}/pid; error_log stderr;");
        command.args(["-p", path, "-e", "stderr", "-c", "nginx.conf", "-g", &global]);
        command
    });
    proxied.does_as_it_is_told();
}

#[test]
fn caddy() {
    let proxied = Proxied::start(&["Caddyfile"], |directory| {
        let mut command = Command::new("caddy");
        command.args(["run", "--config", "Caddyfile", "--adapter", "caddyfile"]);
        command.env("XDG_DATA_HOME", directory).env("XDG_CONFIG_HOME", directory);
        command
    });
    proxied.does_as_it_is_told();
}

#[test]
fn haproxy() {
    let proxied = Proxied::start(&["haproxy.cfg", "haproxy.lua"], |_| {
        let mut command = Command::new("/usr/sbin/haproxy");
        command.args(["-db", "-f", "haproxy.cfg"]);
        command
    });
    proxied.does_as_it_is_told();
}

#[test]
fn traefik() {
    let program = program(|environment| environment.join("bin/traefik"));
    let proxied = Proxied::start(&["traefik.yml", "traefik-routes.yml"], move |_| {
        let mut command = Command::new(program);
        command.args(["--configfile", "traefik.yml"]);
        command
    });
    proxied.does_as_it_is_told();
}

#[test]
fn envoy_by_grpc() {
    envoy("envoy-grpc.yaml").does_as_it_is_told();
}

#[test]
fn envoy_by_http() {
    envoy("envoy-http.yaml").does_as_it_is_told();
}
