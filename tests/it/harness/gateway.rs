//! The gateway as a person would start it: the real binary, a configuration file, a store and ports of its own.

use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
    sync::{
        Arc,
        atomic::{AtomicU16, AtomicUsize, Ordering::Relaxed},
    },
    thread::{JoinHandle, sleep},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use super::{
    SOON,
    disk::Disk,
    http::{Client, Response},
    process::{BINARY, Output, command, spawn},
    wait_for, wait_until,
};

/// Migrating a store and starting, in a debug build on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// A running gateway; killed when dropped. A test that fails prints what the gateway said.
pub struct Gateway {
    pub proxy: SocketAddr,
    pub management: SocketAddr,
    pub telemetry: SocketAddr,
    binary: PathBuf,
    directory: TempDir,
    env: BTreeMap<String, String>,
    arguments: Vec<String>,
    child: Child,
    output: Arc<Output>,
    readers: Vec<JoinHandle<()>>,
    tokens: AtomicUsize,
    disk: Option<Disk>,
}

/// What a gateway is started with.
pub struct Setup {
    config: String,
    binary: PathBuf,
    env: BTreeMap<String, String>,
    arguments: Vec<String>,
    /// What the shell's `ulimit` is told first.
    ulimit: Option<&'static str>,
    directory: TempDir,
    /// Where the store is, if not on the machine's.
    pub(super) disk: Option<Disk>,
}

/// A token that works.
#[derive(Clone)]
pub struct Token {
    pub text: String,
    pub uid: String,
}

impl Setup {
    /// `config` is the text of the configuration file. Listeners and store are the harness's; one worker, so that idle
    /// connections to an upstream are all in one pool, and a store that is looked at often.
    pub fn new(config: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = format!("sqlite:{}", directory.path().join("gateway.db").display());
        let env = [
            ("PROXY__LISTEN", free_address().to_string()),
            ("MANAGEMENT__LISTEN", free_address().to_string()),
            ("TELEMETRY__LISTEN", free_address().to_string()),
            ("PROXY__WORKERS", "1".to_owned()),
            ("STORE__URL", store),
            ("STORE__POLL_INTERVAL", "20ms".to_owned()),
            ("TOKENS__FIRST_TOKEN", "false".to_owned()),
            ("LOG__FORMAT", "json".to_owned()),
        ];
        let env = env.into_iter().map(|(key, value)| (format!("BENTO_GATEWAY__{key}"), value)).collect();
        let (config, binary) = (config.to_owned(), BINARY.into());
        Self { config, binary, env, arguments: Vec::new(), ulimit: None, directory, disk: None }
    }

    /// Of another release.
    pub fn binary(mut self, binary: &Path) -> Self {
        binary.clone_into(&mut self.binary);
        self
    }

    /// `key` as in `PROXY__WORKERS`.
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.env.insert(format!("BENTO_GATEWAY__{key}"), value.to_owned());
        self
    }

    /// A variable that is none of the gateway's settings.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }

    /// With other limits than the tests' own, as the shell's `ulimit` takes them: `-n 128`.
    pub fn ulimit(mut self, ulimit: &'static str) -> Self {
        self.ulimit = Some(ulimit);
        self
    }

    /// Where the gateway will live: certificates can be put there first.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn start(self) -> Gateway {
        let mut gateway = self.spawn();
        gateway.becomes_ready();
        gateway
    }

    /// Starts it without waiting until it is ready, which it may never be.
    pub fn spawn(self) -> Gateway {
        fs::write(self.directory.path().join("gateway.toml"), &self.config).unwrap();
        let address = |key: &str| self.env[&format!("BENTO_GATEWAY__{key}")].parse().unwrap();
        let (proxy, management) = (address("PROXY__LISTEN"), address("MANAGEMENT__LISTEN"));
        let telemetry = address("TELEMETRY__LISTEN");
        let output = Arc::<Output>::default();
        let command = command(&self.binary, self.directory.path(), &self.env, self.disk.as_ref(), self.ulimit);
        let (child, readers) = spawn(command, &self.arguments, &output);
        Gateway {
            proxy,
            management,
            telemetry,
            binary: self.binary,
            directory: self.directory,
            env: self.env,
            arguments: self.arguments,
            child,
            output,
            readers,
            tokens: AtomicUsize::new(0),
            disk: self.disk,
        }
    }
}

impl Gateway {
    pub fn start(config: &str) -> Self {
        Setup::new(config).start()
    }

    pub fn becomes_ready(&mut self) {
        let deadline = Instant::now() + START_TIMEOUT;
        while self.readyz() != Some(200) {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < deadline, "the gateway did not become ready: {ended:?}");
            sleep(Duration::from_millis(10));
        }
    }

    /// The status of `/readyz`. `None`: nobody answered.
    pub fn readyz(&self) -> Option<u16> {
        readyz(self.management)
    }

    /// A connection to the proxy.
    pub fn connect(&self) -> Client {
        Client::connect(self.proxy)
    }

    /// One request on a connection of its own, and its whole answer. `request` needs its blank line.
    pub fn ask(&self, request: &str) -> Response {
        self.connect().ask(request)
    }

    /// Runs a verb of the CLI on this gateway's store; its answer. With 7 it has done its work, too: a gateway that a
    /// test has killed or stopped is behind. It waits for the store for longer than a gateway that is to notice an outage.
    pub fn cli(&self, arguments: &[&str]) -> Value {
        let mut command = self.command();
        command.env("BENTO_GATEWAY__STORE__ACQUIRE_TIMEOUT", "30s");
        let output = command.args(arguments).args(["-o", "json"]).output().unwrap();
        let done = matches!(output.status.code(), Some(0 | 7));
        assert!(done, "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
    }

    /// A new token, made by the CLI, once the gateway knows it.
    pub fn token(&self, scopes: &[&str]) -> Token {
        let token = self.new_token(scopes, &[]);
        self.await_token(&token);
        token
    }

    /// The same with further arguments, and without waiting.
    pub fn new_token(&self, scopes: &[&str], arguments: &[&str]) -> Token {
        let name = format!("test-{}", self.tokens.fetch_add(1, Relaxed));
        let mut all = vec!["token", "create", &name];
        for scope in scopes {
            all.extend(["--scope", scope]);
        }
        all.extend(arguments);
        let answer = self.cli(&all);
        Token { text: answer["token"].as_str().unwrap().to_owned(), uid: answer["uid"].as_str().unwrap().to_owned() }
    }

    /// Asks something that is refused after the credential was looked at, whatever it is: nothing reaches an upstream.
    pub fn code_of(&self, token: &str) -> String {
        let request = format!(
            "POST /probe HTTP/1.1\r\nhost: probe.invalid\r\nauthorization: Bearer {token}\r\n\
             content-type: application/pickle\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        );
        self.ask(&request).code()
    }

    pub fn await_token(&self, token: &Token) {
        wait_for("the gateway knows the new token", SOON, || {
            (self.code_of(&token.text) != "token_invalid").then_some(())
        });
    }

    pub fn revoke(&self, token: &Token) {
        self.cli(&["token", "revoke", &token.uid]);
    }

    /// As the CLI runs it, for a test that looks at the process itself.
    pub fn cli_command(&self, arguments: &[&str]) -> Command {
        let mut command = self.command();
        command.args(arguments);
        command
    }

    fn command(&self) -> Command {
        command(&self.binary, self.directory.path(), &self.env, self.disk.as_ref(), None)
    }

    /// # Panics
    /// If it has none of its own.
    pub fn disk(&self) -> &Disk {
        self.disk.as_ref().unwrap()
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// On the same store, after it has ended.
    pub fn start_again(&mut self) {
        self.begin_again();
        self.becomes_ready();
    }

    /// What is started from now on, instead of what runs.
    pub fn install(&mut self, binary: &Path) {
        binary.clone_into(&mut self.binary);
    }

    /// As [`Self::start_again`], without waiting until it is ready.
    pub fn begin_again(&mut self) {
        let (child, readers) = spawn(self.command(), &self.arguments, &self.output);
        self.child = child;
        self.readers.extend(readers);
    }

    /// Replaces the configuration file as an editor does.
    pub fn write_config(&self, config: &str) {
        let new = self.path("new.toml");
        fs::write(&new, config).unwrap();
        fs::rename(new, self.path("gateway.toml")).unwrap();
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.pid().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// `None`: it still runs.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// SIGTERM; how it ended.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait()
    }

    pub fn wait(&mut self) -> ExitStatus {
        let child = &mut self.child;
        let status = wait_for("the gateway ends", Duration::from_secs(30), || child.try_wait().unwrap());
        // Whatever it said last is to be seen.
        self.readers.drain(..).for_each(|reader| reader.join().unwrap());
        status
    }

    pub fn stdout(&self) -> Vec<String> {
        self.output.stdout.lock().unwrap().clone()
    }

    pub fn stderr(&self) -> Vec<String> {
        self.output.stderr.lock().unwrap().clone()
    }

    /// Waits for a line of the log with all of `parts`. What a caller sees comes before what the log's thread writes of it.
    pub fn await_said(&self, parts: &[&str]) {
        let found = |line: &String| parts.iter().all(|part| line.contains(part));
        wait_until(&format!("{parts:?} in the log"), SOON, || self.stderr().iter().any(found));
    }

    /// The access log so far.
    pub fn access_lines(&self) -> Vec<Value> {
        let lines = self.stderr();
        let parsed = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        parsed.filter(|line| line["message"] == "request").collect()
    }

    /// The line of the request with this path, once it is there; there must be no second one.
    pub fn access_line(&self, path: &str) -> Value {
        let lines = || self.access_lines().into_iter().filter(|line| line["path"] == path).collect::<Vec<_>>();
        let line = wait_for(&format!("an access line for {path}"), SOON, || lines().into_iter().next());
        assert_eq!(lines().len(), 1, "{:?}", lines());
        line
    }

    /// A value of `/proc/PID/status` in bytes, for example `RssAnon`.
    pub fn memory(&self, key: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with(&format!("{key}:"))).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    /// What it has worked so far, on all processors, in the system's clock ticks (10 ms).
    pub fn processor_ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        // proc_pid_stat(5): utime and stime are the 14th and 15th field; the name, the 2nd, may hold anything.
        let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.readers.drain(..).for_each(|reader| drop(reader.join()));
        if std::thread::panicking() {
            println!("--- the gateway's stderr ---\n{}\n---", self.stderr().join("\n"));
        }
    }
}

/// The status of `GET /readyz` at an address. `None`: nobody answered.
pub fn readyz(address: SocketAddr) -> Option<u16> {
    let mut client = Client::try_connect(address).ok()?;
    client.try_send(b"GET /readyz HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n").ok()?;
    client.try_head().ok().map(|head| head.status)
}

/// An address of this machine that nobody listens on. Below the ports that the system gives to outgoing connections,
/// one of which could otherwise have it by the time it is used.
pub fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let start = u16::try_from(std::process::id() % 60).unwrap() * 200;
        let port = 20_000 + (start + NEXT.fetch_add(1, Relaxed)) % 12_000;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// A Deployment in the configuration file, reached by the host `NAME.test`.
pub fn deployment(name: &str, upstream: SocketAddr, settings: &str) -> String {
    format!("[deployments.{name}]\nupstream = \"http://{upstream}\"\nhosts = [\"{name}.test\"]\n{settings}\n")
}
