//! `config check|print` and the generated reference, by the real binary.

use crate::harness::{commands::CommandLine, snapshot::assert_reference};

#[test]
fn the_reference_of_settings_is_true() {
    assert_reference("docs/configuration.md", &bento_gateway::config::reference());
}

#[test]
fn check_lists_every_problem_with_its_fix() {
    let gateway = CommandLine::new();
    gateway.write("gateway.toml", "[proxy]\nlisten = \"nonsense\"\nlimitss = 1\n[log]\nformat = \"xml\"\n");
    let run = gateway.run(&["config", "check", "--config", "gateway.toml"]);
    assert_eq!(run.code, 78);
    assert_eq!(run.out, "");
    for text in [
        "error: the configuration has 3 problems",
        "proxy.listen = \"nonsense\" (file gateway.toml) is not an address with a port",
        "fix: write for example 127.0.0.1:8080",
        "fix: did you mean limits?",
        "log.format = \"xml\"",
        "hint: ",
    ] {
        assert!(run.err.contains(text), "{text:?} is not in\n{}", run.err);
    }
    gateway.write("gateway.toml", "[proxy]\nlisten = \"127.0.0.1:9\"\n");
    let run = gateway.run(&["config", "check", "--config", "gateway.toml"]);
    assert_eq!((run.code, run.out.as_str(), run.err.as_str()), (0, "OK\n", ""));
}

#[test]
fn check_opens_the_tls_files() {
    let gateway = CommandLine::new();
    gateway.write("gateway.toml", "[proxy.tls]\ncertificate = \"nowhere.pem\"\nkey = \"gateway.toml\"\n");
    let run = gateway.run(&["config", "check", "--config", "gateway.toml"]);
    assert_eq!(run.code, 78);
    assert!(run.err.contains("proxy.tls.certificate") && !run.err.contains("proxy.tls.key"), "{}", run.err);
}

#[test]
fn print_names_origins_and_hides_secrets_and_reads_back() {
    let gateway = CommandLine::new();
    gateway.write("gateway.toml", "[tokens]\npepper = \"s3cret\"\n[deployments.a]\nupstream = \"http://a:1\"\n");
    let run = gateway.run_with(
        &["config", "print"],
        &[
            ("BENTO_GATEWAY_CONFIG", "gateway.toml"),
            ("BENTO_GATEWAY__STORE__URL", "postgres://ada:s3cret@db/x"),
            ("BENTO_GATEWAY__PROXY__WORKERS", "3"),
        ],
        "",
    );
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(!run.out.contains("s3cret"), "{}", run.out);
    for line in [
        "workers = \"3\" # variable BENTO_GATEWAY__PROXY__WORKERS",
        "pepper = \"[redacted]\" # file gateway.toml",
        "url = \"postgres://ada:[redacted]@db/x\" # variable BENTO_GATEWAY__STORE__URL",
        "[deployments.a]",
        "http2 = true # default",
    ] {
        assert!(run.out.contains(line), "{line:?} is not in\n{}", run.out);
    }
    gateway.write("printed.toml", &run.out.replace("workers = \"3\"", "workers = 3"));
    let again = gateway.run(&["config", "check", "--config", "printed.toml"]);
    assert_eq!(again.code, 0, "{}", again.err);
}

#[test]
fn serve_does_not_start_on_a_bad_configuration() {
    let gateway = CommandLine::new();
    let run = gateway.run(&["serve", "--deployment", "nonsense", "--listen", "x", "--log-format", "xml"]);
    assert_eq!(run.code, 78);
    assert!(run.err.contains("3 problems") && run.err.contains("(flag --listen)"), "{}", run.err);
}
