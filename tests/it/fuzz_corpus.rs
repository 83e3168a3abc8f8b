//! What must hold for any bytes holds for those of `fuzz/corpus`, and for some thousand mutations of them that are the same
//! in each run. `scripts/fuzz` looks further.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::atomic::Ordering::Relaxed,
};

#[path = "../../fuzz/src/lib.rs"]
mod oracles;

/// Of each target.
const MUTATIONS: usize = 1_500;

/// What the texts of HTTP and of the configuration are made of.
const WORDS: [&str; 30] = [
    "\r\n",
    "\n",
    "\r",
    "\0",
    "\t",
    " ",
    ":",
    ";",
    ",",
    "=",
    "%2e",
    "%2F",
    "%00",
    "..",
    "\\",
    "\u{e4}",
    "[::1]",
    "Host: open.test\r\n",
    "Content-Length: 1\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Connection: host\r\n",
    "Authorization: Bearer @TOKEN-NARROW@\r\n",
    "Cookie: bgw-session-open=@SESSION-OPEN@\r\n",
    "@TOKEN-WIDE@",
    "X-Forwarded-Prefix: /a\r\n",
    "/deployments/open",
    "public.test",
    "0\r\n\r\n",
    "\"\"\"",
    "[deployments.x]\n",
];

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<PathBuf> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// Chance that is the same each time (xorshift64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }

    fn mutate(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut data = seeds[self.below(seeds.len())].clone();
        for _ in 0..=self.below(3) {
            let at = self.below(data.len() + 1);
            let end = (at + self.below(8)).min(data.len());
            match self.below(5) {
                0 if at < data.len() => data[at] ^= 1 << self.below(8),
                1 => drop(data.drain(at..end)),
                2 => {
                    let other = &seeds[self.below(seeds.len())];
                    let from = self.below(other.len() + 1);
                    data.splice(at.., other[from..].iter().copied());
                }
                3 => {
                    let again = data[at..end].to_vec();
                    data.splice(at..at, again);
                }
                _ => drop(data.splice(at..end, WORDS[self.below(WORDS.len())].bytes())),
            }
        }
        data
    }
}

fn holds(target: &str, judge: fn(&[u8]), data: &[u8]) {
    let judged = catch_unwind(AssertUnwindSafe(|| judge(data)));
    assert!(judged.is_ok(), "{target} gives way for {:?}", data.escape_ascii().to_string());
}

#[test]
fn what_must_hold_for_any_bytes_holds_for_these() {
    for (target, judge) in oracles::TARGETS {
        let seeds = corpus(target);
        assert!(!seeds.is_empty(), "{target} has no corpus");
        for seed in &seeds {
            holds(target, judge, seed);
        }
        let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
        for _ in 0..MUTATIONS {
            holds(target, judge, &chance.mutate(&seeds));
        }
    }
    for (kind, reached) in [("public", &oracles::TO_PUBLIC), ("protected", &oracles::TO_PROTECTED)] {
        let reached = reached.load(Relaxed);
        println!("{reached} requests would have reached a {kind} Deployment");
        assert!(reached > MUTATIONS / 10, "{kind}: {reached}");
    }
}
