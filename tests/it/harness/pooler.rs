//! A PgBouncer of our own before a PostgreSQL of the tests.

use std::{
    fs,
    net::TcpStream,
    os::unix::fs::{PermissionsExt, chown},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use super::postgres::{Cluster, PASSWORD, free_port, other_account, run_as};

/// Ends when dropped.
pub struct Pooler {
    process: Child,
    port: u16,
    directory: tempfile::TempDir,
}

impl Pooler {
    /// `mode`: PgBouncer's `pool_mode`.
    pub fn start(cluster: &Cluster, mode: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("bgw-pooler-").tempdir().unwrap();
        let port = free_port();
        let path = directory.path();
        let users = path.join("users");
        let settings = path.join("settings.ini");
        fs::write(&users, format!("\"gateway\" \"{PASSWORD}\"\n")).unwrap();
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = plain\nauth_file = {}\npool_mode = {mode}\n",
            cluster.port(),
            users.display(),
        );
        fs::write(&settings, text).unwrap();
        let account = other_account();
        if let Some((uid, gid)) = account {
            for owned in [path, &users, &settings] {
                chown(owned, Some(uid), Some(gid)).unwrap();
            }
        }
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
        let mut command = Command::new(program());
        let log = fs::File::create(path.join("log")).unwrap();
        command.arg(&settings).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let process = run_as(&mut command, account, path).spawn().unwrap();
        let pooler = Self { process, port, directory };
        pooler.wait();
        pooler
    }

    pub fn url(&self, database: &str) -> String {
        format!("postgres://gateway:{PASSWORD}@127.0.0.1:{}/{database}", self.port)
    }

    fn wait(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let log = fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "PgBouncer did not start:\n{log}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Debian has it where only root's `PATH` leads.
fn program() -> &'static Path {
    let debian = Path::new("/usr/sbin/pgbouncer");
    if debian.is_file() { debian } else { Path::new("pgbouncer") }
}
