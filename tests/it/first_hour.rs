//! What a newcomer meets in the first hour, by the real programs: no dead end, and no wrong word.

use serde_json::json;

use crate::harness::{
    SOON, api,
    commands::CommandLine,
    console::{Browser, PASSWORD},
    gateway::{Gateway, Setup, deployment, free_address},
    http::get,
    upstream::Upstream,
    wait_for, wait_until,
};

/// What a command says to the person, on standard error; it must succeed.
fn said(gateway: &Gateway, arguments: &[&str]) -> String {
    let output = gateway.cli_command(arguments).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{arguments:?}: {said}");
    said
}

fn welcome(gateway: &Gateway) -> String {
    wait_for("the welcome", SOON, || {
        gateway.stdout().iter().any(|line| line.contains("bentoml cloud login")).then(|| gateway.stdout().join("\n"))
    })
}

#[test]
fn the_first_deployment_needs_no_address_of_its_own_and_the_second_is_told_to_get_one() {
    let (one, two) = (Upstream::named("one"), Upstream::named("two"));
    let mut gateway = Setup::new("").env("TOKENS__FIRST_TOKEN", "true").start();
    let first = welcome(&gateway);
    assert!(first.contains("There is no Deployment yet."), "{first}");
    assert!(
        first.contains("bento-gateway --config gateway.toml deployment add NAME --upstream http://127.0.0.1:3000"),
        "{first}"
    );
    assert!(!first.contains("Try it"), "what would answer 404: {first}");
    let token = first.lines().find(|line| line.trim().starts_with("bgw_")).unwrap().trim().to_owned();

    let upstream = format!("http://{}", one.address);
    let added = said(&gateway, &["deployment", "add", "one", "--upstream", &upstream]);
    let url = format!("http://{}", gateway.proxy);
    assert!(added.contains(&format!("one is reached at {url}\n")), "{added}");
    let answer = gateway.ask(&get("127.0.0.1", "/", &token));
    assert_eq!((answer.status, answer.text().as_str()), (200, "one"));
    assert_eq!(api::get(&gateway, &token, "/api/v2/deployments/one").1["urls"][0], url);

    let upstream = format!("http://{}", two.address);
    let added = said(&gateway, &["deployment", "add", "two", "--upstream", &upstream]);
    assert!(added.contains("two has no address yet") && added.contains("deployment update two --host HOST"), "{added}");
    assert!(added.contains(&format!("one was reached at {url} as the only Deployment, and is no longer")), "{added}");
    let shown = api::get(&gateway, &token, "/api/v2/deployments/two").1;
    assert!(shown["notice"].as_str().unwrap().starts_with("it has no address yet: PATCH"), "{shown}");

    // What the words say works.
    let updated = said(&gateway, &["deployment", "update", "two", "--host", "two.test"]);
    assert!(updated.contains(&format!("two is reached at http://two.test:{}\n", gateway.proxy.port())), "{updated}");
    assert_eq!(gateway.ask(&get("two.test", "/", &token)).text(), "two");
    assert!(gateway.ask(&get("127.0.0.1", "/", &token)).status == 404);
    gateway.write_config("[proxy]\ndefault_deployment = \"one\"\n");
    wait_until("the configuration is read again", SOON, || gateway.ask(&get("127.0.0.1", "/", &token)).text() == "one");

    let earlier = gateway.stdout().len();
    gateway.terminate();
    gateway.start_again();
    wait_until("the second welcome", SOON, || gateway.stdout().len() > earlier + 5);
    let second = gateway.stdout()[earlier..].join("\n");
    assert!(second.contains(&format!("one  {url}  protected")) && second.contains("two  http://two.test:"), "{second}");
    assert!(!second.contains("There is no Deployment"), "{second}");
}

#[test]
fn the_only_deployment_of_a_file_is_the_default_one() {
    let upstream = Upstream::named("filed");
    let gateway = Gateway::start(&format!("[deployments.filed]\nupstream = \"http://{}\"\n", upstream.address));
    let token = gateway.token(&["deployment:filed"]);
    assert_eq!(gateway.ask(&get("gpu-box", "/", &token.text)).text(), "filed");
    // Nothing that is added takes that away.
    gateway.cli(&["deployment", "add", "other", "--upstream", "http://127.0.0.1:1"]);
    assert_eq!(gateway.ask(&get("gpu-box", "/", &token.text)).text(), "filed");
}

#[test]
fn an_admin_made_by_the_command_line_is_the_only_one_and_nothing_is_printed_for_another() {
    let setup = Setup::new("").env("TOKENS__FIRST_TOKEN", "true");
    let store = format!("sqlite:{}", setup.directory().join("gateway.db").display());
    let commands = CommandLine::new();
    let run =
        commands.run(&["user", "create", "--email", "ada@example.com", "--name", "Ada", "--admin", "--store", &store]);
    assert_eq!(run.code, 0, "{}", run.err);

    let gateway = setup.start();
    let welcome = welcome(&gateway);
    assert!(!welcome.contains("bgw_") && !welcome.contains("/welcome?code="), "{welcome}");
    assert!(welcome.contains("Nobody can sign in to the console yet."), "{welcome}");
    assert!(welcome.contains("--config gateway.toml user invite ada@example.com"), "{welcome}");
    let users = gateway.cli(&["user", "list"]);
    assert_eq!(users.as_array().unwrap().len(), 1, "{users}");
}

#[test]
fn an_invitation_leads_to_the_console_of_the_gateway_that_runs() {
    let mut gateway = Setup::new("[management]\npublic_url = \"https://console.test\"\n").start();
    let store = format!("sqlite:{}", gateway.path("gateway.db").display());
    let commands = CommandLine::new();
    let invite = || commands.run(&["user", "invite", "admin@localhost", "--store", &store]);
    wait_until("the gateway says where it is", SOON, || invite().out.starts_with("https://console.test/welcome?code="));
    gateway.terminate();
    let run = invite();
    assert!(run.out.starts_with("http://127.0.0.1:8081/welcome?code="), "{}", run.out);
    assert!(run.err.contains("No running gateway has said where its console is: http://127.0.0.1:8081"), "{}", run.err);
}

#[test]
fn whoever_chooses_a_password_goes_on_to_the_login_that_waits() {
    let gateway = Setup::new("").env("TOKENS__FIRST_TOKEN", "true").start();
    let welcome = welcome(&gateway);
    let mut browser = Browser::new(gateway.management);
    let code = browser.get("/api/v1/auth/code").json()["code"].as_str().unwrap().to_owned();
    let wanted = format!("/api_tokens?code={code}");
    let turned = browser.get(&wanted);
    let sign_in = turned.header("location").unwrap().to_owned();
    assert!(sign_in.starts_with("/sign-in?next="), "{sign_in}");
    let page = browser.get(&sign_in).text();
    assert!(page.contains("open the link that <code>bento-gateway serve</code> printed"), "{page}");
    let link = welcome.lines().find_map(|line| line.trim().split_once("/welcome?code=")).unwrap().1.to_owned();
    let page = browser.get(&format!("/welcome?code={link}"));
    let fields = [("code", &*link), ("name", "Ada"), ("email", "ada@example.com"), ("password", PASSWORD)];
    let fields = [&fields[..], &[("password_again", PASSWORD)]].concat();
    let answer = browser.submit(&page, "/welcome", &fields);
    assert_eq!((answer.status, answer.header("location")), (303, Some(&*wanted)), "{}", answer.text());
    assert!(browser.get(&wanted).text().contains("Approve this login?"));
    assert!(!browser.cookies.contains_key("bgw-wanted"));
}

#[test]
fn a_second_deployment_says_what_it_takes_from_the_first() {
    let gateway = Gateway::start("");
    let token = gateway.token(&["api"]).text;
    let add = |name: &str| {
        api::post(&gateway, &token, "/api/v2/deployments", json!({ "name": name, "upstreams": ["http://127.0.0.1:1"] }))
            .1
    };
    assert_eq!(add("one")["notice"], json!(null));
    let notice = add("two")["notice"].as_str().unwrap().to_owned();
    let lost =
        format!("one was reached at http://{} as the only Deployment, and is no longer: PATCH it", gateway.proxy);
    assert!(notice.starts_with("it has no address yet") && notice.contains(&lost), "{notice}");
    assert!(!add("three")["notice"].as_str().unwrap().contains("no longer"), "it was lost before");

    let gateway = Gateway::start("");
    let mut bob = Browser::signed_in(&gateway, "bob@example.com", true);
    for (name, says) in [("one", false), ("two", true)] {
        let form = bob.get("/deployments/new");
        let fields = [("name", name), ("upstreams", "http://127.0.0.1:1"), ("access", "protected")];
        let page = bob.submit(&form, "/deployments", &fields).text();
        assert_eq!(page.contains("one was reached at http://"), says, "{name}: {page}");
    }
}

#[test]
fn a_call_of_a_model_at_the_consoles_port_is_told_where_services_are() {
    let upstream = Upstream::named("a");
    let gateway = Gateway::start(&deployment("a", upstream.address, ""));
    for path in ["/summarize", "/v1/chat/completions"] {
        let (status, error) = api::post(&gateway, "", path, json!({}));
        let said = format!("services are called at http://{}", gateway.proxy);
        assert!(status == 404 && error["error"].as_str().unwrap().ends_with(&said), "{error}");
    }
    // One that listens everywhere is at the host by which the caller has come.
    let everywhere = Setup::new("").env("PROXY__LISTEN", &format!("0.0.0.0:{}", free_address().port())).start();
    let said = format!("services are called at http://gateway:{}", everywhere.proxy.port());
    let (_, error) = api::post(&everywhere, "", "/summarize", json!({}));
    assert!(error["error"].as_str().unwrap().ends_with(&said), "{error}");
    let (_, error) = api::get(&gateway, "", "/api/v1/nothing");
    assert!(!error.to_string().contains("services are called"), "{error}");
}
