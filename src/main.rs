/// A request makes and frees some twenty small pieces of memory; `docs/decisions/0009-dependencies.md` has the figures.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    bento_gateway::cli::main()
}
