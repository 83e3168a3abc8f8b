//! What must hold for any bytes at all: a function for each thing that strangers can send, which panics if it does not.
//!
//! `scripts/fuzz` has libFuzzer look for such bytes; `tests/it/fuzz_corpus.rs` runs the same functions over `fuzz/corpus`
//! and over mutations of it. Each function has a reading of its own of what came and of what went out, and holds it
//! against the gateway's. A text like `@TOKEN-NARROW@` in the data stands for a real token, so that none is in a file.

mod messages;
mod request;
mod values;
mod world;

pub use messages::{chunks, response_head};
pub use request::{TO_PROTECTED, TO_PUBLIC, fields, request};
pub use values::{authority, config, credential, target, token_text};

/// What is done with the bytes of an input; it panics where a promise is broken.
pub type Target = fn(&[u8]);

/// By the names of their directories in `fuzz/corpus`.
pub const TARGETS: [(&str, Target); 9] = [
    ("authority", authority),
    ("chunks", chunks),
    ("config", config),
    ("credential", credential),
    ("fields", fields),
    ("request", request),
    ("response_head", response_head),
    ("target", target),
    ("token_text", token_text),
];
