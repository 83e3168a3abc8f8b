//! A PostgreSQL of our own: in a directory of its own, on a port of its own, as another user if the tests run as root.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        LazyLock, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread::sleep,
    time::{Duration, Instant},
};

use sqlx::{AssertSqlSafe, Connection, Decode, Executor, PgConnection, Postgres, Type};
use tokio::runtime::{Builder, Runtime};

use super::{SOON, relay::Relay, wait_until};

/// What the superuser `gateway` signs in with; a test looks for it in error texts.
pub const PASSWORD: &str = "hunter2-is-not-to-be-seen";

/// Starting takes about a second on an idle machine.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Ends when its standard input does, whatever became of the test process, and takes server and directory with it.
/// Immediate shutdown, so that servers which a test has stopped by SIGSTOP end, too.
const SUPERVISOR: &str = r#"
    directory=$1; shift
    trap '' HUP INT TERM
    server=
    while read -r command; do
        case $command in
            start) "$@" >>"$directory/log" 2>&1 </dev/null & server=$!; echo "$server" ;;
            wait) wait "$server"; server=; echo ended ;;
        esac
    done
    if [ -n "$server" ]; then kill -CONT "$server"; kill -QUIT "$server"; wait "$server"; fi
    rm -rf "$directory"
"#;

static SHARED: LazyLock<Cluster> = LazyLock::new(Cluster::start);

/// A server with its data.
pub struct Cluster {
    directory: PathBuf,
    port: u16,
    databases: AtomicU32,
    supervisor: Mutex<Supervisor>,
}

/// A connection in a transaction, which ends with it.
pub struct TableLock {
    _connection: PgConnection,
    _runtime: Runtime,
}

struct Supervisor {
    process: Child,
    /// `None`: told to end.
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    server: u32,
}

impl Cluster {
    /// The one that all tests of this process share. Do not stop it.
    pub fn shared() -> &'static Self {
        &SHARED
    }

    /// One more, to be stopped, paused and killed. Ends when dropped.
    pub fn start() -> Self {
        let cluster = Self::prepare();
        cluster.initialise();
        cluster.start_again();
        cluster
    }

    /// A server of its own that follows this one by `replication`, which leads here, and takes readers: a hot standby.
    pub fn standby(&self, replication: &Relay) -> Self {
        let standby = Self::prepare();
        let mut backup = Command::new(binaries().join("pg_basebackup"));
        backup.args([
            "--host=127.0.0.1",
            "--username=gateway",
            "--checkpoint=fast",
            "--wal-method=stream",
            "--no-sync",
            "--write-recovery-conf",
        ]);
        backup
            .arg(format!("--port={}", replication.address.port()))
            .arg("--pgdata")
            .arg(standby.directory.join("data"));
        let output = run_as(backup.env("PGPASSWORD", PASSWORD), other_account(), &standby.directory).output().unwrap();
        assert!(output.status.success(), "pg_basebackup failed: {}", String::from_utf8_lossy(&output.stderr));
        standby.start_again();
        standby
    }

    /// Waits until a standby of this server has replayed all that this one has written by now.
    pub fn awaits(&self, standby: &Self) {
        let written: String = self.ask("SELECT pg_current_wal_lsn()::text");
        let replayed = format!("SELECT pg_last_wal_replay_lsn() >= '{written}'::pg_lsn");
        wait_until("the standby has caught up", SOON, || standby.ask(&replayed));
    }

    /// Makes a standby a server that takes writers. What it has received and not replayed it replays first.
    pub fn promote(&self) {
        assert!(self.ask::<bool>("SELECT pg_promote()"), "the standby was not promoted");
    }

    /// Everything but the data.
    fn prepare() -> Self {
        let binaries = binaries();
        let account = other_account();
        let directory = tempfile::Builder::new().prefix("bgw-pg-").tempdir().unwrap().keep();
        if let Some((uid, gid)) = account {
            chown(&directory, Some(uid), Some(gid)).unwrap();
        }
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();
        let port = free_port();

        let mut supervisor = Command::new("sh");
        supervisor.args(["-c", SUPERVISOR, "postgres-supervisor"]).arg(&directory);
        supervisor.arg(binaries.join("postgres")).arg("-D").arg(directory.join("data"));
        for setting in [
            format!("port={port}"),
            "listen_addresses=127.0.0.1".to_owned(),
            format!("unix_socket_directories={}", directory.display()),
            "fsync=off".to_owned(),
            "full_page_writes=off".to_owned(),
            "shared_buffers=32MB".to_owned(),
            "max_connections=300".to_owned(),
        ] {
            supervisor.args(["-c", &setting]);
        }
        // A group of its own: Ctrl-C at the terminal ends the tests, and their end ends it.
        let mut process = run_as(&mut supervisor, account, &directory)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let commands = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().unwrap());
        let supervisor = Mutex::new(Supervisor { process, commands, answers, server: 0 });
        Self { directory, port, databases: AtomicU32::new(0), supervisor }
    }

    fn initialise(&self) {
        let (binaries, account) = (binaries(), other_account());
        let password_file = self.directory.join("password");
        fs::write(&password_file, PASSWORD).unwrap();
        if let Some((uid, gid)) = account {
            chown(&password_file, Some(uid), Some(gid)).unwrap();
        }
        let mut initdb = Command::new(binaries.join("initdb"));
        initdb.args(["--no-sync", "--encoding=UTF8", "--locale=C", "--username=gateway", "--auth=scram-sha-256"]);
        initdb.arg("--pgdata").arg(self.directory.join("data")).arg("--pwfile").arg(&password_file);
        let output = run_as(&mut initdb, account, &self.directory).output().unwrap();
        assert!(output.status.success(), "initdb failed: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// After [`Cluster::stop`] or [`Cluster::kill`]; returns when it takes connections.
    pub fn start_again(&self) {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            let server = self.tell("start").parse().unwrap();
            self.supervisor.lock().unwrap().server = server;
            if self.becomes_ready(server, deadline) {
                return;
            }
            let log = fs::read_to_string(self.directory.join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "PostgreSQL did not start:\n{log}");
            // Somebody else had the port for a moment.
            self.tell("wait");
            sleep(Duration::from_millis(100));
        }
    }

    /// `false`: it ended instead.
    fn becomes_ready(&self, server: u32, deadline: Instant) -> bool {
        let status_file = self.directory.join("data/postmaster.pid");
        while Instant::now() < deadline {
            let status = fs::read_to_string(&status_file).unwrap_or_default();
            let lines: Vec<&str> = status.lines().map(str::trim).collect();
            if lines.first() == Some(&server.to_string().as_str()) && lines.get(7) == Some(&"ready") {
                return true;
            }
            if !is_running(server) {
                return false;
            }
            sleep(Duration::from_millis(20));
        }
        false
    }

    /// An orderly end; connections are told.
    pub fn stop(&self) {
        signal("INT", &[self.server()]);
        self.tell("wait");
    }

    /// What a power failure does: all processes at once, without a word.
    pub fn kill(&self) {
        signal("KILL", &self.processes());
        self.tell("wait");
    }

    /// Connections stay, answers do not come, until [`Cluster::resume`].
    pub fn pause(&self) {
        signal("STOP", &self.processes());
    }

    pub fn resume(&self) {
        signal("CONT", &self.processes());
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// By TCP.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://gateway:{PASSWORD}@127.0.0.1:{}/{database}", self.port)
    }

    /// By the Unix socket.
    pub fn socket_url(&self, database: &str) -> String {
        let directory = self.directory.display().to_string().replace('/', "%2F");
        format!("postgres://gateway:{PASSWORD}@{directory}:{}/{database}", self.port)
    }

    /// How many connections to that database wait for notifications.
    pub fn listeners(&self, url: &str) -> i64 {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'";
        ask(url, sql)
    }

    /// Nobody reads or writes the table of that database until the answer is dropped.
    pub fn lock(url: &str, table: &str) -> TableLock {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let connection = runtime.block_on(async {
            let mut connection = PgConnection::connect(url).await.unwrap();
            let sql = format!("BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE");
            connection.execute(AssertSqlSafe(sql)).await.unwrap();
            connection
        });
        TableLock { _connection: connection, _runtime: runtime }
    }

    /// How many connections to that database wait for a lock.
    pub fn waiting(url: &str) -> i64 {
        let sql =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        ask(url, sql)
    }

    /// What a statement answers: one value.
    fn ask<T>(&self, sql: &str) -> T
    where
        T: for<'r> Decode<'r, Postgres> + Type<Postgres> + Send + Unpin,
    {
        ask(&self.url("postgres"), sql)
    }

    /// The URL of a new database, for tests that are not async.
    pub fn database_url(&self) -> String {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        self.url(&runtime.block_on(self.create_database()))
    }

    /// A new, empty database; its name. It sorts text like English, where it can (PostgreSQL 15), so that whoever
    /// relies on the order of bytes without saying so is found out.
    pub async fn create_database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let mut connection = PgConnection::connect(&self.url("postgres")).await.unwrap();
        let version: i32 = sqlx::query_scalar("SELECT current_setting('server_version_num')::int")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        let locale = if version >= 150_000 { "LOCALE_PROVIDER icu ICU_LOCALE 'en-US'" } else { "" };
        let create = format!("CREATE DATABASE {name} TEMPLATE template0 {locale}");
        connection.execute(AssertSqlSafe(create)).await.unwrap();
        connection.close().await.unwrap();
        name
    }

    fn tell(&self, command: &str) -> String {
        let mut supervisor = self.supervisor.lock().unwrap();
        writeln!(supervisor.commands.as_mut().unwrap(), "{command}").unwrap();
        let mut answer = String::new();
        supervisor.answers.read_line(&mut answer).unwrap();
        answer.trim().to_owned()
    }

    fn server(&self) -> u32 {
        self.supervisor.lock().unwrap().server
    }

    /// The postmaster and its children, each of which is its own process group.
    fn processes(&self) -> Vec<u32> {
        let server = self.server();
        let all = fs::read_dir("/proc").unwrap().flatten();
        let ids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        ids.filter(|&id| id == server || stat(id).is_some_and(|(_, parent)| parent == server)).collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let supervisor = self.supervisor.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner());
        supervisor.commands = None;
        supervisor.process.wait().unwrap();
    }
}

fn ask<T>(url: &str, sql: &str) -> T
where
    T: for<'r> Decode<'r, Postgres> + Type<Postgres> + Send + Unpin,
{
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut connection = PgConnection::connect(url).await.unwrap();
        sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(&mut connection).await.unwrap()
    })
}

/// The newest installed server's programs.
pub(super) fn binaries() -> PathBuf {
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let mut candidates: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .map(|versions| versions.flatten().map(|version| version.path().join("bin")).collect())
        .unwrap_or_default();
    let version = |bin: &PathBuf| bin.parent().and_then(|path| path.file_name()?.to_str()?.parse::<u32>().ok());
    candidates.sort_by_key(|bin| std::cmp::Reverse(version(bin)));
    candidates.extend(std::env::split_paths(&on_path));
    let complete = |bin: &PathBuf| bin.join("initdb").is_file() && bin.join("postgres").is_file();
    candidates.into_iter().find(complete).expect(
        "these tests start a PostgreSQL server of their own: install it, on Debian with `apt install postgresql`",
    )
}

/// The server refuses to run as root. `None`: we are not.
pub(super) fn other_account() -> Option<(u32, u32)> {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return None;
    }
    let accounts = fs::read_to_string("/etc/passwd").unwrap();
    let ids = |name: &str| {
        let line = accounts.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut ids = line.split(':').skip(2).map_while(|field| field.parse::<u32>().ok());
        Some((ids.next()?, ids.next()?))
    };
    Some(ids("postgres").or_else(|| ids("nobody")).expect("an account `postgres` or `nobody` to run PostgreSQL as"))
}

pub(super) fn run_as<'a>(command: &'a mut Command, account: Option<(u32, u32)>, directory: &Path) -> &'a mut Command {
    if let Some((uid, gid)) = account {
        command.uid(uid).gid(gid);
    }
    command.current_dir(directory).env("LC_ALL", "C").env_remove("PGDATA").env_remove("PGPORT")
}

pub(super) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn is_running(process: u32) -> bool {
    stat(process).is_some_and(|(state, _)| state != 'Z')
}

/// State and parent.
fn stat(process: u32) -> Option<(char, u32)> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name before it is in parentheses and may hold anything.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

fn signal(name: &str, processes: &[u32]) {
    let ids = processes.iter().map(u32::to_string);
    // A child may have ended by itself since it was listed: what `kill` says is of no interest.
    Command::new("sh").args(["-c", "kill \"$@\" 2>/dev/null", "kill", "-s", name]).args(ids).status().unwrap();
}
