//! What pages cost: `cargo bench --bench console`.
//!
//! Starts the gateway on a store with 10,000 tokens, SQLite or the empty PostgreSQL database that `STORE` names
//! (`postgres://…`), and asks for each page of the console as somebody who has signed in. Prints median and longest time of the server, which is what a request on an open connection takes here. No
//! figure fails anything.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark may stop at any surprise, and prints")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use sqlx::{Connection, PgConnection, SqliteConnection};

const TOKENS: u32 = 10_000;
const ROUNDS: usize = 50;
const PASSWORD: &str = "correct horse battery staple";
const PAGES: [&str; 8] = [
    "/",
    "/api_tokens",
    "/api_tokens?owner=everybody",
    "/api_tokens?owner=everybody&sort=used&page=200",
    "/api_tokens?owner=everybody&q=batch-77",
    "/deployments",
    "/deployments/summarization",
    "/activity",
];

struct Gateway(Child);

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn main() {
    let directory = tempfile::tempdir().unwrap();
    let (proxy, management) = (free_address(), free_address());
    let store =
        std::env::var("STORE").unwrap_or_else(|_| format!("sqlite:{}", directory.path().join("gateway.db").display()));
    let (_gateway, link) = start(directory.path(), &store, proxy, management);
    let code = link.split("code=").nth(1).unwrap().to_owned();
    let mut console = Console { address: management, cookies: String::new() };
    let page = console.get(&format!("/welcome?code={code}")).1;
    let fields = [
        ("csrf", csrf(&page)),
        ("code", code),
        ("name", "Ada".to_owned()),
        ("email", "ada@example.com".to_owned()),
        ("password", PASSWORD.to_owned()),
        ("password_again", PASSWORD.to_owned()),
    ];
    console.post("/welcome", &serde_urlencoded::to_string(fields).unwrap());
    fill(&store);

    let kind = store.split(':').next().unwrap();
    println!("{TOKENS} tokens in {kind}, {ROUNDS} requests a page; milliseconds");
    println!("{:>8} {:>8}  page", "median", "longest");
    for path in PAGES {
        let mut times: Vec<Duration> = (0..ROUNDS).map(|_| console.time(path)).collect();
        times.sort();
        let millis = |at: usize| times[at].as_secs_f64() * 1000.0;
        println!("{:>8.1} {:>8.1}  {path}", millis(ROUNDS / 2), millis(ROUNDS - 1));
    }
}

fn start(directory: &Path, store: &str, proxy: SocketAddr, management: SocketAddr) -> (Gateway, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_bento-gateway"))
        .args(["serve", "--deployment", "summarization=http://127.0.0.1:9"])
        .args(["--listen", &proxy.to_string(), "--management-listen", &management.to_string()])
        .args(["--telemetry-listen", ""])
        .env("BENTO_GATEWAY__STORE__URL", store)
        .env("BENTO_GATEWAY__TOKENS__FIRST_TOKEN", "false")
        .current_dir(directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let link = lines.into_iter().find(|line| line.contains("/welcome?code=")).unwrap();
    (Gateway(child), link.trim().to_owned())
}

/// Tokens as the gateway would write them, but at once; each with a day of use and an event of the trail.
#[tokio::main(flavor = "current_thread")]
async fn fill(store: &str) {
    if store.starts_with("sqlite:") {
        // SQLite as it is built here has no generate_series.
        let numbers = format!(
            "(WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {TOKENS}) SELECT n FROM n)"
        );
        let mut connection = SqliteConnection::connect(store).await.unwrap();
        for statement in statements(&numbers, "'[\"deployment:summarization\"]'", "1790000000000 + n", "2000000000000")
        {
            sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
        }
    } else {
        let (scopes, at) = ("ARRAY['deployment:summarization']", "to_timestamp(1790000000 + n * 0.001)");
        let mut connection = PgConnection::connect(store).await.unwrap();
        for statement in
            statements(&format!("generate_series(1, {TOKENS}) AS n"), scopes, at, "to_timestamp(2000000000)")
        {
            sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
        }
    }
}

/// `numbers` gives `n` from 1 to 10,000; the others are the store's way to write such a value.
fn statements(numbers: &str, scopes: &str, at: &str, expires_at: &str) -> [String; 3] {
    let id = |group: &str, postgres: bool| {
        if postgres {
            format!("('01a20d00-0000-7000-{group}-' || lpad(n::text, 12, '0'))::uuid")
        } else {
            format!("printf('01a20d00-0000-7000-{group}-%012d', n)")
        }
    };
    let postgres = scopes.starts_with("ARRAY");
    let (token, event) = (id("8000", postgres), id("9000", postgres));
    [
        format!(
            "INSERT INTO api_tokens
                (id, owner_id, name, description, search_text, scopes, created_at, expires_at, last_used_at)
             SELECT {token}, (SELECT id FROM users LIMIT 1), 'batch-' || n, 'Made for the benchmark', 'batch-' || n,
                {scopes}, {at}, {expires_at}, {at} FROM {numbers}"
        ),
        "INSERT INTO token_usage SELECT id, 20717, 42 FROM api_tokens".to_owned(),
        format!(
            "INSERT INTO audit_events (id, at, action, actor_kind, target, detail)
             SELECT {event}, {at}, 'token.created', 'cli', CAST({token} AS TEXT), '{{}}' FROM {numbers}"
        ),
    ]
}

struct Console {
    address: SocketAddr,
    cookies: String,
}

impl Console {
    fn get(&mut self, path: &str) -> (Duration, String) {
        self.ask("GET", path, "")
    }

    fn post(&mut self, path: &str, body: &str) {
        self.ask("POST", path, body);
    }

    fn time(&mut self, path: &str) -> Duration {
        let (time, page) = self.get(path);
        assert!(page.contains(" 200 OK"), "{path}: {page}");
        time
    }

    fn ask(&mut self, method: &str, path: &str, body: &str) -> (Duration, String) {
        let address = self.address;
        let mut stream = TcpStream::connect(address).unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {address}\r\norigin: http://{address}\r\ncookie: {}\r\n\
             content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            self.cookies,
            body.len()
        );
        let begun = Instant::now();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let time = begun.elapsed();
        for set in answer.lines().filter_map(|line| line.strip_prefix("set-cookie: ")) {
            let pair = set.split(';').next().unwrap();
            self.cookies = format!("{}{}{pair}", self.cookies, if self.cookies.is_empty() { "" } else { "; " });
        }
        (time, answer.replacen("HTTP/1.1", "", 1))
    }
}

fn csrf(page: &str) -> String {
    page.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
