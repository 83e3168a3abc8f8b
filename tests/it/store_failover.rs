//! A PostgreSQL whose place another one takes, which has not got the last commits and goes its own way: what a gateway
//! has applied is not this server's history, though the numbers may fit.

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::harness::{
    SOON,
    gateway::{Setup, Token, deployment},
    http::{ReadEnd, get},
    postgres::Cluster,
    upstream::Upstream,
    wait_until,
};

const HOST: &str = "a.test";

/// Databases of one server that take each other's name, as servers do behind one address.
struct Servers {
    admin: String,
    name: String,
}

impl Servers {
    fn execute(&self, statements: &[String]) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut connection = PgConnection::connect(&self.admin).await.unwrap();
            for statement in statements {
                connection.execute(AssertSqlSafe(statement.clone())).await.unwrap();
            }
        });
    }

    /// Ends all connections, and takes none.
    fn cut_off(&self) {
        let name = &self.name;
        self.execute(&[
            format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false"),
            format!("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '{name}'"),
        ]);
    }

    /// The standby gets all that was committed so far, and nothing later.
    fn copy(&self) {
        let name = &self.name;
        self.cut_off();
        self.execute(&[
            format!("CREATE DATABASE {name}_standby TEMPLATE {name}"),
            format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true"),
        ]);
    }

    /// The standby stands where the other one stood.
    fn promote(&self) {
        let name = &self.name;
        self.execute(&[
            format!("ALTER DATABASE {name} RENAME TO {name}_lost"),
            format!("ALTER DATABASE {name}_standby RENAME TO {name}"),
        ]);
    }
}

#[test]
fn a_fail_over_that_loses_commits_revives_no_token_and_blames_nobody() {
    let cluster = Cluster::start();
    let url = cluster.database_url();
    let name = url.rsplit('/').next().unwrap().to_owned();
    let servers = Servers { admin: cluster.url("postgres"), name: name.clone() };
    let upstream = Upstream::watching();
    let gateway = Setup::new(&deployment("a", upstream.address, "")).env("STORE__URL", &url).start();
    let (victim, good) = (gateway.token(&["deployment:a"]), gateway.token(&["deployment:a"]));
    let ask = |token: &Token| gateway.code_of(&token.text);
    let follows = || wait_until("the store is followed", SOON, || ask(&unknown()) == "token_invalid");

    servers.copy();
    follows();
    let lost = gateway.token(&["deployment:a"]);
    for _ in 0..3 {
        gateway.token(&["deployment:a"]);
    }
    let mut running = gateway.connect();
    running.send(get(HOST, "/busy", &lost.text));
    assert_eq!(running.head().status, 200);

    servers.cut_off();
    // On the server that is promoted, while the gateway waits: the same number of changes, and more.
    let standby = format!("{url}_standby");
    let elsewhere = |arguments: &[&str]| {
        let status = gateway.cli_command(arguments).args(["--store", &standby]).output().unwrap().status;
        // 7: the gateway, which is cut off, has not applied it.
        assert!(matches!(status.code(), Some(0 | 7)), "{arguments:?}");
    };
    elsewhere(&["token", "revoke", &victim.uid]);
    for number in ["one", "two", "three", "four"] {
        elsewhere(&["token", "create", number, "--scope", "deployment:a"]);
    }
    servers.promote();
    wait_until("the revocation of the new server takes effect", SOON, || {
        assert_ne!(ask(&good), "token_invalid", "nobody is blamed");
        ask(&victim) == "token_revoked"
    });
    wait_until("the new server has never heard of it", SOON, || ask(&lost) == "token_invalid");
    assert_eq!(ask(&good), "insufficient_scope", "known, and for another Deployment");
    running.read_timeout(SOON);
    let (_, end) = running.rest();
    assert_ne!(end, ReadEnd::TimedOut, "work of a token that is gone is cut");
    assert!(gateway.stderr().join("\n").contains("the store's history has changed"));

    let receipt = gateway.cli_command(&["token", "revoke", &good.uid]).output().unwrap();
    assert!(String::from_utf8_lossy(&receipt.stderr).contains("1 of 1 running gateways"), "{receipt:?}");
    assert_eq!(ask(&good), "token_revoked");
}

/// A token that no store has.
fn unknown() -> Token {
    let text = bento_gateway::system::new_token_text().unwrap();
    Token { text: text.expose().to_owned(), uid: String::new() }
}
