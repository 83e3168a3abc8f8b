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

/// One rule for every value, whatever source it is of.
#[test]
fn characters_that_nobody_sees_are_taken_off_files_and_refused_elsewhere() {
    let gateway = CommandLine::new();
    let write = |name: &str, bytes: &[u8]| std::fs::write(gateway.path().join(name), bytes).unwrap();
    let check = |args: &[&str], env: &[(&str, &str)]| {
        let run = gateway.run_with(&[&["config", "check"], args].concat(), env, "");
        assert!(!run.err.contains(['\r', '\u{feff}', '\u{1b}']) && !run.err.contains("s3cret"), "{}", run.err);
        (run.code, run.err)
    };
    write("mark.toml", b"\xef\xbb\xbforganization = \"a\"\r\n");
    assert_eq!(check(&["--config", "mark.toml"], &[]).0, 0);
    let wide: Vec<u8> = "\u{feff}organization = \"a\"".encode_utf16().flat_map(u16::to_le_bytes).collect();
    write("wide.toml", &wide);
    let (code, text) = check(&["--config", "wide.toml"], &[]);
    assert!(code == 78 && text.contains("UTF-16"), "{text}");

    write("pepper", b"\xef\xbb\xbfs3cret pepper\r\n");
    assert_eq!(check(&[], &[("BENTO_GATEWAY__TOKENS__PEPPER_FILE", "pepper")]).0, 0);
    write("wide-pepper", &wide);
    write("blank-pepper", b"s3cret pepper \n");
    for (name, value, told) in [
        ("STORE__URL", "sqlite:gateway.db\r", "\\r"),
        ("STORE__URL", "postgres://ada:s3cret@db/x\n", "\\n"),
        ("TOKENS__PEPPER", "\u{feff}s3cret", "byte order mark"),
        ("TOKENS__PEPPER", "s3cret\t", "\\t"),
        ("TOKENS__PEPPER_FILE", "wide-pepper", "UTF-16"),
        ("TOKENS__PEPPER_FILE", "blank-pepper", "blank"),
        ("MANAGEMENT__OIDC__CLIENT_SECRET", "s3cret\r", "\\r"),
        ("PROXY__LISTEN", " 127.0.0.1:8080", "blank"),
        ("PROXY__WORKERS", "2\r", "\\r"),
        ("LOG__FILTER", "info\u{1b}[2J", "\\u{1b}"),
        ("PROXY__DEPLOYMENT_DEFAULTS__CORS_ORIGINS", "https://a\r", "\\r"),
    ] {
        let (code, text) = check(&[], &[(&format!("BENTO_GATEWAY__{name}"), value)]);
        assert!(code == 78 && text.contains(told) && text.contains("has a problem"), "{name} {value:?}: {text}");
    }
    let (code, text) = check(&["--store", "sqlite:gateway.db\r"], &[]);
    assert!(code == 78 && text.contains("--store") && text.contains("\\r"), "{text}");
    write("list.toml", b"proxy.trusted_proxies = [\"10.0.0.1 \"]\n");
    let (code, text) = check(&["--config", "list.toml"], &[]);
    assert!(code == 78 && text.contains("blank"), "{text}");
}

/// Arguments are shown in process lists and logs of builds; errors about them go to logs as well.
#[test]
fn a_mistyped_command_line_repeats_no_secret() {
    let gateway = CommandLine::new();
    let token = bento_gateway::system::new_token_text().unwrap();
    let token = token.expose();
    for args in [
        &["token", "revoke", token][..],
        &["token", "list", "--store=postgres://ada:s3cret@db/x", "--limit", "postgres://ada:s3cret@db/x"],
        &["user", "set-password", "ada@example.com", "s3cret"],
    ] {
        let run = gateway.run(args);
        assert_eq!(run.code, 2, "{}", run.err);
        assert!(!run.err.contains("s3cret") && !run.err.contains(&token[17..40]), "{}", run.err);
        assert!(run.err.contains("[redacted]") && run.err.contains("--help"), "{}", run.err);
    }
    gateway.write("gateway.toml", &format!("organization = \"{token}\"\n[log]\nformat = \"{token}\"\n"));
    for verb in ["check", "print"] {
        let run = gateway.run(&["config", verb, "--config", "gateway.toml"]);
        assert!(!format!("{}{}", run.out, run.err).contains(&token[17..40]), "{} {}", run.out, run.err);
    }
}
