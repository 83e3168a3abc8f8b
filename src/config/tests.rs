use std::{collections::BTreeMap, time::Duration};

use tempfile::TempDir;

use super::{sources::DEFAULTS, *};
use crate::domain::{timestamp::DAY, units};

/// Sources with a file of that text. The directory must live as long as the sources are used.
fn file(text: &str) -> (TempDir, Sources) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gateway.toml");
    std::fs::write(&path, text).unwrap();
    let sources = Sources { file: Some(path), ..Sources::default() };
    (dir, sources)
}

fn env(pairs: &[(&str, &str)]) -> Sources {
    let env = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Sources { env, ..Sources::default() }
}

fn flags(deployments: &[&str]) -> Sources {
    let overrides =
        Overrides { deployments: deployments.iter().map(|&text| text.to_owned()).collect(), ..Default::default() };
    Sources { overrides, ..Sources::default() }
}

/// Keys of the problems, sorted.
fn problem_keys(sources: &Sources) -> Vec<String> {
    let mut keys: Vec<String> = load(sources).unwrap_err().0.into_iter().map(|problem| problem.key).collect();
    keys.sort();
    keys
}

#[test]
fn the_defaults_are_what_the_reference_says() {
    let config = load(&Sources::default()).unwrap();
    assert_eq!(config.proxy.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.proxy.limits.max_header_bytes, 65_536);
    assert_eq!(config.proxy.deployment_defaults, crate::domain::deployment::DeploymentSettings::default());
    assert_eq!(config.store.url, StoreUrl::Sqlite("bento-gateway.db".into()));
    assert_eq!(config.store.poll_interval, Duration::from_millis(200));
    assert_eq!(config.tokens.default_lifetime, Some(90 * DAY));
    assert_eq!(config.tokens.max_lifetime, None);
    assert!(config.declared.deployments.is_empty() && config.tokens.first_token && config.tokens.pepper.is_none());
}

#[test]
fn every_key_of_the_reference_is_read() {
    let mut section = String::new();
    for line in DEFAULTS.lines().filter(|line| !line.starts_with('#')) {
        if line.starts_with('[') {
            section = line.to_owned();
        } else if let Some((key, _)) = line.split_once(" = ") {
            // A table is the wrong type for every key there is.
            let (_dir, sources) = file(&format!("{section}\n{key} = {{ nonsense = 1 }}\n"));
            let path = format!("{}.{key}", section.trim_matches(['[', ']']));
            assert!(problem_keys(&sources).contains(&path.trim_start_matches('.').to_owned()), "{path} is not read");
        }
    }
}

/// Far from where adding a duration to a point in time, or one size to another, overflows.
#[test]
fn every_duration_and_size_has_an_upper_bound() {
    let mut section = String::new();
    let mut bounded = 0;
    for line in DEFAULTS.lines().filter(|line| !line.starts_with('#')) {
        if line.starts_with('[') {
            section = line.to_owned();
        }
        let Some((key, default)) = line.split_once(" = ") else { continue };
        let default = default.trim_matches('"');
        let too_much = match key {
            _ if key == "max_lifetime" || (default != "0" && units::parse_duration(default).is_ok()) => {
                ["101y", "300000000000y"]
            }
            _ if default.ends_with("iB") || key == "max_body_bytes" => ["1048577 GiB", "17179869184 GiB"],
            _ => continue,
        };
        bounded += 1;
        for value in too_much {
            let (_dir, sources) = file(&format!("{section}\n{key} = {value:?}\n"));
            let problems = load(&sources).unwrap_err().0;
            let problem = problems.iter().find(|problem| problem.key.ends_with(key));
            let message = &problem.unwrap_or_else(|| panic!("{section} {key} = {value} is taken")).message;
            assert!(message.contains("is too l") || message == "is out of range", "{key}: {message}");
        }
    }
    assert!(bounded > 20, "{bounded}");
}

#[test]
fn the_example_is_valid() {
    let (_dir, sources) = file(include_str!("../../config/example.toml"));
    let config = load(&sources).unwrap();
    assert_eq!(config.declared.deployments.len(), 2);
    assert_eq!(config.declared.deployments[0].upstreams.len(), 2);
    assert_eq!(config.declared.deployments[0].settings.max_body_bytes, Some(10 << 20));
    assert_eq!(watched_files(&config, &sources).len(), 3);
}

#[test]
fn all_problems_come_at_once() {
    let (_dir, mut sources) = file(
        r#"
        colour = "red"
        organization = ""
        [proxy]
        listen = "nonsense"
        lisen = "127.0.0.1:1"
        workers = "many"
        default_deployment = "c"
        base_domain = "example.com"
        drain_timeout = "-1s"
        trusted_proxies = ["10.0.0.0/99"]
        limits = 7
        identity_fields.drop = ["X_Corp", "Host"]
        identity_fields.allow = ["X-Forwarded-*", "Authorization", "X-User"]
        [proxy.tls]
        certificate = "cert.pem"
        [store]
        url = "mysql://ada:s3cret@db/x"
        poll_interval = "0s"
        [tokens]
        default_lifetime = "90d"
        max_lifetime = "30d"
        [log]
        format = "xml"
        filter = "=="
        [deployments.a]
        hosts = ["x.example.org", "b.example.com"]
        upstream = "http://127.0.0.1:3000"
        listen = "127.0.0.1:9000"
        [deployments.b]
        hosts = ["X.example.org"]
        upstream = "http://127.0.0.1:3001"
        listen = "0.0.0.0:9000"
        [deployments.Bad_Name]
        upstream = "ftp://127.0.0.1:3001"
        [deployments.empty]
        upstreams = []
        [deployments.none]
        protected = "yes"
        "#,
    );
    sources.env = env(&[("BENTO_GATEWAY__PROXY__LISSEN", "x"), ("BENTO_GATEWAY__TOKENS__PEPPER_FILE", "/nowhere")]).env;
    sources.overrides = flags(&["a=http://127.0.0.1:1", "nonsense"]).overrides;
    let expected = [
        "",
        "--deployment",
        "colour",
        "deployments.Bad_Name",
        "deployments.Bad_Name.upstream",
        "deployments.a",
        "deployments.a.hosts",
        "deployments.b.hosts",
        "deployments.b.listen",
        "deployments.empty.upstreams",
        "deployments.none",
        "deployments.none.protected",
        "log.filter",
        "log.format",
        "organization",
        "proxy.default_deployment",
        "proxy.drain_timeout",
        "proxy.identity_fields.allow",
        "proxy.identity_fields.allow",
        "proxy.identity_fields.drop",
        "proxy.identity_fields.drop",
        "proxy.limits",
        "proxy.lisen",
        "proxy.listen",
        "proxy.tls.key",
        "proxy.trusted_proxies",
        "proxy.workers",
        "store.poll_interval",
        "store.url",
        "tokens.default_lifetime",
        "tokens.pepper",
    ];
    // `a` comes from the flag and from the file: its upstream is the flag's then.
    assert_eq!(problem_keys(&sources), expected);
    let text = load(&sources).unwrap_err().to_string();
    assert!(!text.contains("s3cret"), "{text}");
    assert!(
        text.contains("did you mean listen?") && text.contains("did you mean BENTO_GATEWAY__PROXY__LISTEN?"),
        "{text}"
    );
}

#[test]
fn contradictions_between_sound_values() {
    for (text, key) in [
        ("[proxy]\ndefault_deployment = \"c\"\n[deployments.a]\nupstream = \"http://a\"", "proxy.default_deployment"),
        ("[proxy.tls]\nkey = \"key.pem\"", "proxy.tls.certificate"),
        ("[management]\nlisten = \"127.0.0.1:8080\"", "management.listen"),
        ("[telemetry]\nlisten = \"127.0.0.1:8081\"", "telemetry.listen"),
        ("[forward_auth]\nlisten = \"0.0.0.0:8080\"", "forward_auth.listen"),
        ("[log]\nfilter = \"wran\"", "log.filter"),
        ("[log]\nfilter = \"hyper=debug\"", "log.filter"),
        ("[store]\nurl = \"postgres://db/x?sslmode=require&sslpassword=C\"", "store.url"),
        ("[store]\npoll_interval = \"20s\"\nmax_staleness = \"59s\"", "store.max_staleness"),
        ("[deployments.a]\nupstream = \"http://a\"\ntoken_budget = \"9 llm_tokens/day\"", "deployments.a.token_budget"),
        ("[tokens]\ndefault_lifetime = \"\"\nmax_lifetime = \"1d\"", "tokens.default_lifetime"),
        ("[tokens.argon2]\nmemory_kib = 8\nparallelism = 4", "tokens.argon2"),
        (
            "[usage]\nretention = \"7d\"\n[deployments.a]\nupstream = \"http://a\"\nbudget = \"9 requests/month\"\n\
             token_budget = \"9 requests/day\"",
            "deployments.a.budget",
        ),
        ("[deployments.a]\nupstream = \"http://a\"\nupstreams = [\"http://a\"]", "deployments.a.upstream"),
        (
            "[proxy]\nbase_domain = \"x.org\"\n[deployments.a]\nhosts = [\"b.x.org\"]\nupstream = \"http://a\"\n\
             [deployments.b]\nupstream = \"http://b\"",
            "deployments.a.hosts",
        ),
    ] {
        let (_dir, sources) = file(text);
        assert_eq!(problem_keys(&sources), [key], "{text}");
    }
}

#[test]
fn later_layers_win_and_are_named() {
    let (_dir, mut sources) = file("[proxy]\nlisten = \"127.0.0.1:1\"\nworkers = 2\nhttp2 = true\n");
    sources.env = env(&[
        ("BENTO_GATEWAY__PROXY__WORKERS", "3"),
        ("BENTO_GATEWAY__PROXY__HTTP2", "false"),
        ("BENTO_GATEWAY__PROXY__TRUSTED_PROXIES", "10.0.0.0/8, 192.0.2.7"),
        ("BENTO_GATEWAY__DEPLOYMENTS__MY_MODEL__UPSTREAM", "http://127.0.0.1:3000"),
        ("DATABASE_URL", "postgres://ada:s3cret@db/x"),
        ("BENTO_GATEWAY__TOKENS__PEPPER", "s3cret"),
    ])
    .env;
    sources.overrides.listen = Some("127.0.0.1:2".to_owned());
    let loaded = load_with_sources(&sources).unwrap();
    let config = &loaded.config;
    assert_eq!((config.proxy.listen.port(), config.proxy.workers, config.proxy.http2), (2, 3, false));
    assert_eq!(config.proxy.trusted_proxies.len(), 2);
    assert_eq!(config.declared.deployments[0].name.as_str(), "my-model");
    let printed = loaded.to_toml();
    for line in [
        "listen = \"127.0.0.1:2\" # flag --listen",
        "workers = \"3\" # variable BENTO_GATEWAY__PROXY__WORKERS",
        "url = \"postgres://ada:[redacted]@db/x\" # variable DATABASE_URL",
        "pepper = \"[redacted]\" # variable BENTO_GATEWAY__TOKENS__PEPPER",
        "max_headers = 100 # default",
    ] {
        assert!(printed.contains(line), "{line} is not in\n{printed}");
    }
    assert!(!printed.contains("s3cret"));

    sources.env.insert("BENTO_GATEWAY__STORE__URL".to_owned(), "sqlite:/x.db".to_owned());
    assert_eq!(load(&sources).unwrap().store.url, StoreUrl::Sqlite("/x.db".into()));
}

#[test]
fn a_variable_may_name_a_file() {
    let (dir, _) = file("");
    let path = dir.path().join("pepper");
    std::fs::write(&path, "salt and\n").unwrap();
    let mut sources = env(&[("BENTO_GATEWAY__TOKENS__PEPPER_FILE", path.to_str().unwrap())]);
    assert_eq!(load(&sources).unwrap().tokens.pepper.unwrap().expose(), "salt and");
    sources.env.insert("BENTO_GATEWAY__TOKENS__PEPPER".to_owned(), "both".to_owned());
    assert_eq!(problem_keys(&sources), ["tokens.pepper"]);
}

#[test]
fn deployments_given_by_flags() {
    let one = load(&flags(&["a=http://127.0.0.1:3000"])).unwrap();
    assert_eq!(one.proxy.default_deployment.unwrap().as_str(), "a");
    assert_eq!(one.declared.deployments[0].listen, None);

    let mut sources = flags(&["b=http://127.0.0.1:3000", "a=http://127.0.0.1:3001"]);
    let two = load(&sources).unwrap();
    assert_eq!(two.proxy.default_deployment, None);
    let listeners: BTreeMap<_, _> =
        two.declared.deployments.iter().map(|spec| (spec.name.as_str(), spec.listen.unwrap().to_string())).collect();
    assert_eq!(listeners, BTreeMap::from([("b", "127.0.0.1:8090".to_owned()), ("a", "127.0.0.1:8091".to_owned())]));

    sources.overrides.base_domain = Some("example.com".to_owned());
    assert!(load(&sources).unwrap().declared.deployments.iter().all(|spec| spec.listen.is_none()));
    assert_eq!(problem_keys(&flags(&["a=http://a", "a=http://b"])), ["--deployment"]);
}

#[test]
fn the_default_database_is_in_the_data_directory() {
    for (pairs, path) in [
        (&[("XDG_DATA_HOME", "/data"), ("HOME", "/home/ada")][..], "/data/bento-gateway/bento-gateway.db"),
        (&[("HOME", "/home/ada")], "/home/ada/.local/share/bento-gateway/bento-gateway.db"),
        (&[("XDG_DATA_HOME", ""), ("HOME", "")], "bento-gateway.db"),
    ] {
        assert_eq!(load(&env(pairs)).unwrap().store.url, StoreUrl::Sqlite(path.into()));
    }
}

#[test]
fn a_broken_file_is_one_problem_that_quotes_no_line() {
    let (_dir, sources) = file("[tokens]\npepper = \"s3cret\n");
    let text = load(&sources).unwrap_err().to_string();
    assert!(text.contains("line 2") && !text.contains("s3cret"), "{text}");
    let missing = Sources { file: Some("/nowhere/gateway.toml".into()), ..Sources::default() };
    assert!(load(&missing).unwrap_err().to_string().contains("cannot be read"));
}
