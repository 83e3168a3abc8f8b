fn main() -> std::process::ExitCode {
    bento_gateway::cli::main()
}
