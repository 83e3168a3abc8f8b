//! The stock `bentoml` SDK, driven through the gateway against the real service of `examples/summarization`.
//!
//! `tests/sdk/contract.py` says what must hold; this module starts what it needs: the service in the Python environment
//! of `scripts/python-env`, and the gateway as a person would start it.

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Output, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const GATEWAY: &str = env!("CARGO_BIN_EXE_bento-gateway");

/// Importing BentoML on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(90);
const STOP_TIMEOUT: Duration = Duration::from_secs(15);

/// Runs its arguments until standard input ends, which it also does if the test dies without dropping anything.
const SUPERVISOR: &str = r#""$@" </dev/null & server=$!; read -r _; kill -TERM "$server" 2>/dev/null; wait "$server""#;

#[test]
fn the_stock_sdk_works_through_the_gateway() {
    let python = python(&[]);
    let directory = tempfile::tempdir().unwrap();
    let (proxy, management) = (free_address(), free_address());

    let service = Service::start();

    let mut serve = gateway(directory.path());
    serve
        .args(["serve", "--deployment"])
        .arg(format!("summarization=http://{}", service.address))
        .arg("--listen")
        .arg(proxy.to_string())
        .arg("--management-listen")
        .arg(management.to_string());
    let gateway_log = directory.path().join("gateway.log");
    let _gateway = Server::start(&serve, management, &gateway_log);

    let good = create_token(directory.path(), "sdk", "deployment:summarization");
    let refused = create_token(directory.path(), "manager", "api");
    wait_until("the new token takes effect", || get_readyz(proxy, Some(&good)) == Some(200));

    let contract = Command::new(&python)
        .arg("-B")
        .arg(Path::new(ROOT).join("tests/sdk/contract.py"))
        .args(["--url", &format!("http://{proxy}"), "--direct-url", &format!("http://{}", service.address)])
        .args(["--token", &good, "--refused-token", &refused])
        .env("BENTOML_HOME", directory.path().join("bentoml-client"))
        .output()
        .unwrap();
    assert!(
        contract.status.success(),
        "the contract with the SDK is broken:\n{}\nThe gateway's log:\n{}",
        both_streams(&contract),
        fs::read_to_string(&gateway_log).unwrap_or_default()
    );
    // A contract of nothing would hold too.
    assert!(String::from_utf8_lossy(&contract.stdout).lines().filter(|line| line.starts_with("ok ")).count() >= 20);
}

/// The real service of `examples/summarization`.
pub struct Service {
    pub address: SocketAddr,
    _server: Server,
    _directory: tempfile::TempDir,
}

impl Service {
    pub fn start() -> Self {
        let (address, directory) = (free_address(), tempfile::tempdir().unwrap());
        let mut serve = Command::new(python(&[]));
        serve
            .args(["-B", "-m", "bentoml", "serve", "service:Summarization", "--host", "127.0.0.1", "--port"])
            .arg(address.port().to_string())
            .current_dir(Path::new(ROOT).join("examples/summarization"))
            .env("BENTOML_HOME", directory.path().join("bentoml"))
            .env("BENTOML_DO_NOT_TRACK", "True");
        let server = Server::start(&serve, address, &directory.path().join("service.log"));
        Self { address, _server: server, _directory: directory }
    }
}

/// The interpreter of an environment of `scripts/python-env`. Its absence is a failure: nothing else here tests the real
/// client.
pub fn python(environment: &[&str]) -> String {
    let output = Command::new(Path::new(ROOT).join("scripts/python-env")).args(environment).output().unwrap();
    assert!(
        output.status.success(),
        "this test needs Python with BentoML, and scripts/python-env could not provide it:\n{}",
        both_streams(&output)
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The gateway's program, with nothing of this process' environment that could configure it.
fn gateway(directory: &Path) -> Command {
    let mut command = Command::new(GATEWAY);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("BENTO_GATEWAY__") {
            command.env_remove(name);
        }
    }
    command
        .env_remove("DATABASE_URL")
        .env("BENTO_GATEWAY__STORE__URL", format!("sqlite:{}", directory.join("gateway.db").display()))
        .env("BENTO_GATEWAY__TOKENS__FIRST_TOKEN", "false")
        .current_dir(directory);
    command
}

fn create_token(directory: &Path, name: &str, scope: &str) -> String {
    let output = gateway(directory).args(["token", "create", name, "--scope", scope, "-o", "json"]).output().unwrap();
    assert!(output.status.success(), "token create: {}", String::from_utf8_lossy(&output.stderr));
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    answer["token"].as_str().expect("the answer has a member `token`").to_owned()
}

/// A program that serves until this is dropped.
struct Server {
    supervisor: Child,
}

impl Server {
    /// Returns when `http://{address}/readyz` answers 200.
    fn start(command: &Command, address: SocketAddr, log: &Path) -> Self {
        let file = File::create(log).unwrap();
        let mut supervisor = Command::new("sh");
        supervisor.args(["-c", SUPERVISOR, "supervisor"]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => supervisor.env(name, value),
                None => supervisor.env_remove(name),
            };
        }
        if let Some(directory) = command.get_current_dir() {
            supervisor.current_dir(directory);
        }
        // A group of its own, which can be ended without knowing what the program has started itself.
        let supervisor = supervisor
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        let server = Self { supervisor };

        let deadline = Instant::now() + START_TIMEOUT;
        while get_readyz(address, None) != Some(200) {
            let said = || fs::read_to_string(log).unwrap_or_default();
            assert!(Instant::now() < deadline, "{:?} did not become ready:\n{}", command.get_program(), said());
            sleep(Duration::from_millis(100));
        }
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.supervisor.stdin.take());
        let deadline = Instant::now() + STOP_TIMEOUT;
        while self.supervisor.try_wait().is_ok_and(|status| status.is_none()) {
            if Instant::now() > deadline {
                let group = format!("-{}", self.supervisor.id());
                let _ = Command::new("sh").args(["-c", "kill -s KILL -- \"$1\"", "kill", &group]).status();
                let _ = self.supervisor.wait();
                return;
            }
            sleep(Duration::from_millis(20));
        }
    }
}

/// The status of `GET /readyz`. `None`: nobody answered.
fn get_readyz(address: SocketAddr, token: Option<&str>) -> Option<u16> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    write!(stream, "GET /readyz HTTP/1.1\r\nHost: {address}\r\n{authorization}Connection: close\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    // What came before an error counts.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !condition() {
        assert!(Instant::now() < deadline, "not within 5 s: {what}");
        sleep(Duration::from_millis(20));
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

fn both_streams(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
