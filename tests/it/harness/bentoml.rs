//! The real thing: BentoML in the Python environments of `scripts/python-env`, and the service of
//! `examples/summarization`.

use std::{
    fs::{self, File},
    net::SocketAddr,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Output, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use super::gateway::{free_address, readyz};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Importing BentoML on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(90);
const STOP_TIMEOUT: Duration = Duration::from_secs(15);

/// Runs its arguments until standard input ends, which it also does if the test dies without dropping anything.
const SUPERVISOR: &str = r#""$@" </dev/null & server=$!; read -r _; kill -TERM "$server" 2>/dev/null; wait "$server""#;

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
        while readyz(address) != Some(200) {
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

pub fn both_streams(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
