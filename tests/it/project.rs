//! What other programs read of the project: GitHub's forms and workflows and compose files by the schemas of their formats,
//! and the settings in what is installed by the gateway itself.

use std::{fs, path::Path, process::Command};

use serde_json::Value;

use crate::harness::{bentoml::python, commands::CommandLine};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn text(file: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(file)).unwrap()
}

fn yaml(file: &str) -> Value {
    serde_saphyr::from_str(&text(file)).unwrap()
}

fn below(directory: &str) -> Vec<String> {
    let entries = fs::read_dir(Path::new(ROOT).join(directory)).unwrap();
    let mut all: Vec<_> =
        entries.map(|entry| format!("{directory}/{}", entry.unwrap().file_name().into_string().unwrap())).collect();
    all.sort();
    all
}

/// `schema`: one that check-jsonschema brings.
#[track_caller]
fn fits(schema: &str, files: &[String]) {
    let mut check = Command::new(python(&["--schemas"]));
    check.args(["-m", "check_jsonschema", "--builtin-schema", schema]).args(files).current_dir(ROOT);
    let output = check.output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{schema}: {said}");
}

#[test]
fn github_reads_the_forms() {
    let (chooser, forms): (Vec<_>, Vec<_>) =
        below(".github/ISSUE_TEMPLATE").into_iter().partition(|file| file.ends_with("/config.yml"));
    assert!(chooser.len() == 1 && forms.len() >= 3, "{chooser:?} {forms:?}");
    fits("vendor.github-issue-config", &chooser);
    fits("vendor.github-issue-forms", &forms);
}

/// Whoever can move a tag of an action could otherwise change what is released; and a job that hangs would hang for hours.
#[test]
fn workflows_are_pinned_and_end() {
    let workflows = below(".github/workflows");
    fits("vendor.github-workflows", &workflows);
    fits("custom.github-workflows-require-timeout", &workflows);
    let uses: Vec<_> = workflows.iter().map(|file| text(file)).collect();
    let uses: Vec<_> = uses.iter().flat_map(|text| text.lines()).filter_map(|line| line.split_once("uses: ")).collect();
    assert!(uses.len() >= 5, "{uses:?}");
    for (_, action) in uses {
        let (commit, version) =
            action.split_once('@').unwrap().1.split_once(" # v").unwrap_or_else(|| panic!("{action}"));
        assert!(commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()), "{action}");
        assert!(version.split('.').all(|part| part.parse::<u32>().is_ok()), "{action}");
    }
}

/// Commands that the form asks for are commands that there are: a person with a problem tries them first.
#[test]
fn the_form_for_bugs_asks_for_commands_that_exist() {
    let form = text(".github/ISSUE_TEMPLATE/bug.yml");
    let commands: Vec<_> =
        form.split('`').skip(1).step_by(2).filter_map(|code| code.strip_prefix("bento-gateway ")).collect();
    assert!(commands.len() >= 5, "{commands:?}");
    for command in commands {
        let mut run = Command::new(env!("CARGO_BIN_EXE_bento-gateway"));
        let output = run.args(command.split(' ')).arg("--help").output().unwrap();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn owners_own_something() {
    let text = text(".github/CODEOWNERS");
    let rules: Vec<Vec<&str>> = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(rules[0][0], "*", "who owns what nobody else owns comes first, as the last rule that fits counts");
    for rule in rules {
        let (pattern, owners) = rule.split_first().unwrap();
        let path = pattern.trim_start_matches('/');
        assert!(*pattern == "*" || Path::new(ROOT).join(path).exists(), "{pattern} is not there");
        assert!(!owners.is_empty() && owners.iter().all(|owner| owner.starts_with('@')), "{pattern}: {owners:?}");
    }
}

#[test]
fn compose_reads_its_file_and_the_gateway_what_it_is_told_there() {
    fits("vendor.compose-spec", &["compose.yaml".to_owned()]);
    let gateway = &yaml("compose.yaml")["services"]["gateway"];
    let told = gateway["environment"].as_object().unwrap();
    let mut settings = image_settings();
    settings.extend(told.iter().map(|(name, value)| (name.clone(), filled_in(value.as_str().unwrap()))));
    assert_right(&settings);
    let command: Vec<_> = gateway["command"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    assert_eq!(command[..2], ["serve", "--deployment"]);
}

/// As compose does it: `${NAME:?…}` is what the file `.env` says.
fn filled_in(value: &str) -> String {
    match value.split_once("${") {
        Some((before, rest)) => format!("{before}0123abcd{}", rest.split_once('}').unwrap().1),
        None => value.to_owned(),
    }
}

/// As Kubernetes and compose give secrets: what the image says itself must not be in the way.
#[test]
fn the_gateway_reads_what_the_image_tells_it() {
    let secrets = tempfile::tempdir().unwrap();
    let file = secrets.path().join("store-url");
    fs::write(&file, "postgres://gateway:s3cret@db/gateway\n").unwrap();
    let mut settings = image_settings();
    assert_right(&settings);
    settings.push(("BENTO_GATEWAY__STORE__URL_FILE".to_owned(), file.to_str().unwrap().to_owned()));
    assert_right(&settings);
}

/// `ENV` of the `Dockerfile`.
fn image_settings() -> Vec<(String, String)> {
    let text = text("Dockerfile").replace("\\\n", " ");
    let lines = text.lines().filter_map(|line| line.strip_prefix("ENV "));
    let pairs = lines.flat_map(str::split_whitespace).map(|pair| pair.split_once('=').unwrap());
    let named: Vec<_> = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    assert!(named.contains(&("BENTO_GATEWAY_CONFIG".to_owned(), "/etc/bento-gateway/config.toml".to_owned())));
    assert!(text.contains("COPY packaging/image/config.toml /etc/bento-gateway/config.toml\n"));
    let settings: Vec<_> = named.into_iter().filter(|(name, _)| name.starts_with("BENTO_GATEWAY__")).collect();
    assert!(settings.len() >= 4, "{settings:?}");
    settings
}

#[track_caller]
fn assert_right(settings: &[(String, String)]) {
    let settings: Vec<_> = settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let gateway = CommandLine::new();
    gateway.write("config.toml", &text("packaging/image/config.toml"));
    let run = gateway.run_with(&["--config", "config.toml", "config", "check"], &settings, "");
    assert_eq!((run.code, run.out.as_str()), (0, "OK\n"), "{}", run.err);
}

#[test]
fn the_gateway_reads_the_configuration_of_the_debian_package() {
    let gateway = CommandLine::new();
    let installed = text("packaging/debian/config.toml");
    gateway.write("config.toml", &installed);
    gateway.write(
        "uncommented.toml",
        &installed.replace("# [deployments", "[deployments").replace("# upstream", "upstream"),
    );
    for file in ["config.toml", "uncommented.toml"] {
        let run = gateway.run(&["--config", file, "config", "check"]);
        assert_eq!((run.code, run.out.as_str()), (0, "OK\n"), "{}", run.err);
    }
    let printed = gateway.run(&["--config", "uncommented.toml", "config", "print"]).out;
    assert!(printed.contains("upstream = \"http://127.0.0.1:3000\""), "{printed}");
}

/// cargo-binstall looks for what scripts/package makes and the release workflow publishes.
#[test]
fn archives_are_called_as_they_are_looked_for() {
    let (manifest, script) = (text("Cargo.toml"), text("scripts/package"));
    assert!(manifest.contains("/releases/download/v{ version }/{ name }-{ version }-{ target }.tar.gz\""));
    assert!(manifest.contains("bin-dir = \"{ name }-{ version }-{ target }/{ bin }{ binary-ext }\""));
    assert!(script.contains("name=bento-gateway-$version-$target\n") && script.contains("\"$packages/$name.tar.gz\""));
    assert!(text(".github/workflows/release.yml").contains("gh release create \"v$VERSION\""));
}
