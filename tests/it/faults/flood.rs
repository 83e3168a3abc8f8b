//! All that callers may do at once, with and without a right, while something is to be taken away.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    thread::sleep,
    time::{Duration, Instant},
};

use super::fleet::Fleet;
use crate::harness::{gateway::Token, http::Client};

/// How many requests each caller sends in a second, at most. Gateways, database and callers share one machine here, and who
/// has used up its processors has slowed down everything, whoever waits for whom. `FLOOD` asks for another number.
const RATE: u32 = 50;

/// One request, to be sent again and again.
struct Flood {
    address: SocketAddr,
    request: String,
}

/// What a flood was.
pub struct Load {
    pub answers: usize,
    /// How much of the time of this machine's processors was used, percent.
    pub busy: u64,
}

/// Runs `act` while every gateway is flooded.
pub fn during<T>(fleet: &Fleet, act: impl FnOnce() -> T) -> (T, Load) {
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
        let (used_before, all_before) = processor_time();
        let done = act();
        let (used, all) = processor_time();
        drop(end);
        let busy = (used - used_before) * 100 / (all - all_before).max(1);
        (done, Load { answers: answers.load(Relaxed), busy })
    })
}

/// Also if a test fails: the threads must end.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// What was used, and all, since the machine was started; in the system's clock ticks.
fn processor_time() -> (u64, u64) {
    let stat = std::fs::read_to_string("/proc/stat").unwrap();
    // proc_stat(5): user, nice, system, idle, iowait, irq, softirq and steal.
    let times: Vec<u64> =
        stat.lines().next().unwrap().split_whitespace().skip(1).take(8).flat_map(str::parse).collect();
    let all = times.iter().sum();
    (all - times[3] - times[4], all)
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
    /// One request after the other: the next one is sent when this one is answered, and its time has come.
    fn run(&self, ended: &AtomicBool, answers: &AtomicUsize) {
        // The callers of a real flood have processors of their own, these share the gateways'.
        rustix::process::nice(19).unwrap();
        let interval = Duration::from_secs(1) / std::env::var("FLOOD").map_or(RATE, |rate| rate.parse().unwrap());
        let mut due = Instant::now();
        while !ended.load(Relaxed) {
            let Ok(mut client) = Client::try_connect(self.address) else { continue };
            client.read_timeout(Duration::from_secs(10));
            while !ended.load(Relaxed) && client.try_send(self.request.as_bytes()).is_ok() {
                let Ok(answer) = client.try_response(false) else { break };
                answers.fetch_add(1, Relaxed);
                // What is late is not made up for.
                due = (due + interval).max(Instant::now());
                sleep(due.saturating_duration_since(Instant::now()));
                if answer.header("connection") == Some("close") {
                    break;
                }
            }
        }
    }
}
