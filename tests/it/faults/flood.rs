//! All that callers may do at once, with and without a right, while something is to be taken away.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use super::fleet::Fleet;
use crate::harness::{gateway::Token, http::Client};

/// One request, to be sent again and again.
struct Flood {
    address: SocketAddr,
    request: String,
}

/// Runs `act` while every gateway is flooded, and says how many answers the flood got.
pub fn during<T>(fleet: &Fleet, act: impl FnOnce() -> T) -> (T, usize) {
    let ended = AtomicBool::new(false);
    let answers = AtomicUsize::new(0);
    let floods = floods(fleet);
    std::thread::scope(|scope| {
        for flood in &floods {
            scope.spawn(|| flood.run(&ended, &answers));
        }
        let end = End(&ended);
        crate::harness::wait_until("the flood has come", super::fleet::RECOVERY, || {
            answers.load(Relaxed) > floods.len()
        });
        answers.store(0, Relaxed);
        let done = act();
        drop(end);
        (done, answers.load(Relaxed))
    })
}

/// Also if a test fails: the threads must end.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

fn floods(fleet: &Fleet) -> Vec<Flood> {
    // Of the right form, and nobody's.
    let Token { text: admin, .. } = &fleet.admin;
    let mut unknown = admin.clone().into_bytes();
    unknown.reverse();
    let unknown = String::from_utf8(unknown).unwrap();
    (0..fleet.gateways.len())
        .map(|at| fleet.place(at))
        .flat_map(|place| {
            let proxied = |token: &str| Flood {
                address: place.proxy,
                request: format!("GET / HTTP/1.1\r\nhost: a.test\r\nauthorization: Bearer {token}\r\n\r\n"),
            };
            let managed = |head: &str, body: &str| Flood {
                address: place.management,
                request: format!(
                    "{head} HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
                     x-yatai-api-token: {admin}\r\n\r\n{body}",
                    body.len()
                ),
            };
            let form = "email=admin%40localhost&password=not-the-password";
            [
                proxied("nonsense"),
                proxied(&unknown),
                Flood {
                    address: place.management,
                    request: format!(
                        "POST /sign-in HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/x-www-form-urlencoded\r\n\
                         content-length: {}\r\n\r\n{form}",
                        form.len()
                    ),
                },
                managed("GET /api/v1/api_tokens", ""),
                managed("POST /api/v1/api_tokens", r#"{"name": "", "scopes": []}"#),
            ]
        })
        .collect()
}

impl Flood {
    /// One request after the other: the next one is sent when this one is answered.
    fn run(&self, ended: &AtomicBool, answers: &AtomicUsize) {
        // The callers of a real flood have processors of their own, these share the gateways'.
        rustix::process::nice(19).unwrap();
        while !ended.load(Relaxed) {
            let Ok(mut client) = Client::try_connect(self.address) else { continue };
            client.read_timeout(Duration::from_secs(10));
            while !ended.load(Relaxed) && client.try_send(self.request.as_bytes()).is_ok() {
                let Ok(answer) = client.try_response(false) else { break };
                answers.fetch_add(1, Relaxed);
                if answer.header("connection") == Some("close") {
                    break;
                }
            }
        }
    }
}
