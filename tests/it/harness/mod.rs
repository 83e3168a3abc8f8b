//! What the tests share: servers that are started for them, and values they need.
//! Whatever is started here ends with the test process, however that ends.
//! Nothing here is skipped when a prerequisite is missing: it panics, naming the package to install.

pub mod postgres;
