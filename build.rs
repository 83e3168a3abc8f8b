//! Compiles the crate again when a migration changes: `sqlx::migrate!` embeds them, and cargo does not see that by itself.

fn main() {
    println!("cargo::rerun-if-changed=migrations");
}
