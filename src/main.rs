fn main() {
    let mut overrides = bento_gateway::config::Overrides::default();
    overrides.deployments = std::env::args().skip(1).collect();
    let sources = bento_gateway::config::Sources { file: None, overrides, env: std::env::vars().collect() };
    let config = bento_gateway::config::load(&sources).unwrap_or_else(|e| panic!("{e}"));
    bento_gateway::app::serve(config, sources).unwrap_or_else(|e| panic!("{e}"));
}
