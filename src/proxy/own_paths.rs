//! The paths that are the gateway's own, at every address of the proxy, public Deployments' too.

/// What they begin with.
pub const OWN_PAGES: &str = "/-/";
/// What each code of a refusal means, below [`OWN_PAGES`].
pub const ERRORS: &str = "errors";
