//! `[tokens]` and `[tokens.argon2]`.

use std::time::Duration;

use crate::{
    config::{TokenConfig, reader::Section},
    domain::secret::Secret,
    secret_hash::{Argon2Cost, SecretHasher},
};

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

pub fn read(section: Section<'_>) -> Option<TokenConfig> {
    let default_lifetime = section.optional_duration("default_lifetime", SECOND);
    let max_lifetime = section.optional_duration("max_lifetime", SECOND);
    let rotation_overlap = section.duration("rotation_overlap", Duration::ZERO);
    let expiry_notice = section.optional_duration("expiry_notice", SECOND);
    let usage_interval = section.duration("usage_interval", 100 * MILLISECOND);
    let pepper = section.optional("pepper", |text| Ok(Secret::new(text.to_owned())));
    let first_token = section.boolean("first_token");
    let argon2 = argon2(section.section("argon2"));
    if let (Some(cost), Some(pepper)) = (argon2, pepper.clone())
        && let Err(error) = SecretHasher::for_tokens(cost, pepper)
    {
        section.report("argon2", format!("is refused: {error}"), "see the ranges in config/default.toml");
    }
    section.finish();
    Some(TokenConfig {
        default_lifetime: default_lifetime?,
        max_lifetime: max_lifetime?,
        rotation_overlap: rotation_overlap?,
        expiry_notice: expiry_notice?,
        usage_interval: usage_interval?,
        pepper: pepper?,
        argon2: argon2?,
        first_token: first_token?,
    })
}

fn argon2(section: Section<'_>) -> Option<Argon2Cost> {
    let memory_kib = section.integer("memory_kib", 8..=1_048_576_i64);
    let iterations = section.integer("iterations", 1..=100_i64);
    let parallelism = section.integer("parallelism", 1..=64_i64);
    section.finish();
    Some(Argon2Cost {
        memory_kib: u32::try_from(memory_kib?).ok()?,
        iterations: u32::try_from(iterations?).ok()?,
        parallelism: u32::try_from(parallelism?).ok()?,
    })
}
