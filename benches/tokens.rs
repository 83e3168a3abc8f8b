//! What tokens cost: `cargo bench --bench tokens`.
//!
//! Prints first verifications a second on one core, memory per token of an index of a million, what a look-up costs, and
//! how long the gateway takes from its start to its first 200 with 100,000 tokens in an SQLite store. No figure fails
//! anything; `docs/decisions/0003-hash-cost.md` quotes them.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark may stop at any surprise, and prints")]

use std::{
    hint::black_box,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use bento_gateway::{
    domain::{
        scope::ScopeSet,
        timestamp::Timestamp,
        token::{SecretRecord, TokenUid},
        token_text::{PresentedToken, TokenText},
        user::UserId,
    },
    http::network::Network,
    index::{token_writer::TokenWriter, tokens::TokenIndex, verify::Verifier},
    secret_hash::{Argon2Cost, SecretHasher},
    store::IndexedSecret,
    system,
};
use sqlx::{Connection, SqliteConnection, types::uuid::fmt::Hyphenated};

/// As in `config/default.toml`.
const COST: Argon2Cost = Argon2Cost { memory_kib: 64, iterations: 1, parallelism: 1 };
const INDEXED: usize = 1_000_000;
const STORED: usize = 100_000;

fn main() {
    first_verifications();
    index();
    start_up();
}

fn first_verifications() {
    let hasher = SecretHasher::for_tokens(COST, None).unwrap();
    let token = system::new_token_text().unwrap();
    let hash = hasher.hash_token(token.presented()).unwrap();
    let begun = Instant::now();
    let mut done = 0u32;
    while begun.elapsed() < Duration::from_secs(3) {
        for _ in 0..100 {
            assert!(hasher.verify_token(black_box(token.presented()), &hash).unwrap());
        }
        done += 100;
    }
    println!("first verifications per second and core: {:.0}", f64::from(done) / begun.elapsed().as_secs_f64());
}

fn index() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let hasher = SecretHasher::for_tokens(COST, None).unwrap();
    let verifier = Verifier::new(hasher.clone(), runtime.handle().clone(), 1).unwrap();
    let known = system::new_token_text().unwrap();
    // Every token has the same hash: making a million would take a minute, and the length is what counts.
    let hash = hasher.hash_token(known.presented()).unwrap();

    let before = resident_bytes();
    let (index, mut writer) = (TokenIndex::new(), TokenWriter::default());
    let mut left = INDEXED;
    while left > 0 {
        let page = left.min(50_000);
        let new = (0..page).map(|_| indexed(&system::new_token_text().unwrap(), &hash));
        index.replace(writer.entries(new).collect());
        left -= page;
    }
    println!("bytes per token in an index of {INDEXED}: {}", (resident_bytes() - before) / INDEXED as u64);

    index.replace(writer.entries([indexed(&known, &hash)]).collect());
    let from = Network::of(Ipv4Addr::LOCALHOST.into());
    runtime.block_on(verifier.prove(&index, known.presented(), from)).unwrap();
    let unknown = system::new_token_text().unwrap();
    let garbage = b"bgw_0123456789ab_0123456789abcdef0123456789abcdef0123456789a012345";
    nanoseconds("a proven token", || drop(black_box(verifier.look_up(&index, parse(known.expose())))));
    nanoseconds("an unknown token", || drop(black_box(verifier.look_up(&index, parse(unknown.expose())))));
    nanoseconds("a wrong checksum", || assert!(PresentedToken::parse(black_box(garbage)).is_err()));
}

fn parse(text: &str) -> PresentedToken<'_> {
    PresentedToken::parse(black_box(text).as_bytes()).unwrap()
}

fn nanoseconds(what: &str, work: impl Fn()) {
    const ROUNDS: u32 = 1_000_000;
    let begun = Instant::now();
    for _ in 0..ROUNDS {
        work();
    }
    println!("nanoseconds to look up {what}: {}", begun.elapsed().as_nanos() / u128::from(ROUNDS));
}

fn indexed(token: &TokenText, hash: &str) -> IndexedSecret {
    IndexedSecret {
        secret: SecretRecord {
            lookup_id: token.presented().lookup_id(),
            hash: hash.into(),
            retires_at: None,
            session: None,
        },
        uid: TokenUid(system::new_id(system::now()).unwrap()),
        owner: UserId(uuid::Uuid::nil()),
        scopes: Arc::new(ScopeSet::parse(["deployment:*"]).unwrap()),
        expires_at: Some(Timestamp::MAX),
        revoked_at: None,
    }
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

fn start_up() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("gateway.db");
    let ports = [free_port(), free_port()];
    start(&store, ports).stop();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(fill(&store));
    let mut times: Vec<Duration> = (0..5)
        .map(|_| {
            let begun = Instant::now();
            let gateway = start(&store, ports);
            let took = begun.elapsed();
            gateway.stop();
            took
        })
        .collect();
    times.sort();
    println!("from start to ready with {STORED} tokens in SQLite: {:?} (median of 5)", times[2]);
}

async fn fill(store: &Path) {
    let mut connection = SqliteConnection::connect(&format!("sqlite:{}", store.display())).await.unwrap();
    let owner: String = sqlx::query_scalar("SELECT id FROM users").fetch_one(&mut connection).await.unwrap();
    let hasher = SecretHasher::for_tokens(COST, None).unwrap();
    let hash = hasher.hash_token(system::new_token_text().unwrap().presented()).unwrap();
    let mut transaction = connection.begin().await.unwrap();
    for number in 0..STORED {
        let id = system::new_id(system::now()).unwrap();
        sqlx::query(
            "INSERT INTO api_tokens (id, owner_id, name, description, search_text, scopes, created_at)
             VALUES ($1, $2, $3, '', $3, '[\"deployment:*\"]', 0)",
        )
        .bind(Hyphenated::from_uuid(id))
        .bind(&owner)
        .bind(format!("token {number}"))
        .execute(&mut *transaction)
        .await
        .unwrap();
        sqlx::query("INSERT INTO token_secrets (lookup_id, token_id, hash, changed_seq) VALUES ($1, $2, $3, 1)")
            .bind(system::new_token_text().unwrap().presented().lookup_id().as_str())
            .bind(Hyphenated::from_uuid(id))
            .bind(&*hash)
            .execute(&mut *transaction)
            .await
            .unwrap();
    }
    transaction.commit().await.unwrap();
}

struct Running(Child);

impl Running {
    fn stop(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn start(store: &Path, [proxy, management]: [u16; 2]) -> Running {
    let child = Command::new(env!("CARGO_BIN_EXE_bento-gateway"))
        .args(["serve", "--deployment", "bench=http://127.0.0.1:9", "--store"])
        .arg(format!("sqlite:{}", store.display()))
        .args(["--listen", &format!("127.0.0.1:{proxy}"), "--management-listen", &format!("127.0.0.1:{management}")])
        .args(["--telemetry-listen", ""])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], management));
    while !is_ready(address).unwrap_or(false) {
        std::thread::sleep(Duration::from_millis(1));
    }
    Running(child)
}

fn is_ready(address: SocketAddr) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.starts_with("HTTP/1.1 200"))
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
