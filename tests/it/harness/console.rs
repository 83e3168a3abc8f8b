//! Somebody with a browser that has no scripts: follows no redirect, keeps cookies, sends forms as they stand in a page.

use std::{collections::BTreeMap, io::Write, net::SocketAddr, process::Stdio};

use super::{
    gateway::Gateway,
    http::{Client, EXPECTS, Held, Response},
};

pub const PASSWORD: &str = "correct horse battery staple";

/// A browser at one address.
pub struct Browser {
    address: SocketAddr,
    /// What goes into `Host`.
    pub host: String,
    pub cookies: BTreeMap<String, String>,
    /// As a trusted proxy in front names it. Empty: there is none.
    pub client: String,
}

impl Browser {
    pub fn new(address: SocketAddr) -> Self {
        Self { address, host: address.to_string(), cookies: BTreeMap::new(), client: String::new() }
    }

    /// Makes a user by the CLI and signs them in at the console.
    pub fn signed_in(gateway: &Gateway, email: &str, admin: bool) -> Self {
        create_user(gateway, email, admin);
        let mut browser = Self::new(gateway.management);
        let answer = browser.sign_in(email, PASSWORD);
        assert_eq!((answer.status, answer.header("location")), (303, Some("/")), "{}", answer.text());
        browser
    }

    pub fn sign_in(&mut self, email: &str, password: &str) -> Response {
        let page = self.get("/sign-in");
        self.submit(&page, "/sign-in", &[("email", email), ("password", password)])
    }

    pub fn get(&mut self, path: &str) -> Response {
        self.ask("GET", path, &["accept: text/html"], "")
    }

    /// The page's form for `action`, with its token and further fields, as the browser would send it.
    pub fn submit(&mut self, page: &Response, action: &str, fields: &[(&str, &str)]) -> Response {
        let token = csrf(page);
        let all: Vec<(&str, &str)> = [("csrf", token.as_str())].into_iter().chain(fields.iter().copied()).collect();
        self.post(action, &all)
    }

    /// From a page of the same host.
    pub fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Response {
        let origin = format!("origin: http://{}", self.host);
        self.post_from(&[&origin], path, fields)
    }

    /// With what `fields_of_head` say of where it comes from.
    pub fn post_from(&mut self, fields_of_head: &[&str], path: &str, fields: &[(&str, &str)]) -> Response {
        let kind = "content-type: application/x-www-form-urlencoded";
        let head: Vec<&str> = fields_of_head.iter().copied().chain([kind]).collect();
        self.ask("POST", path, &head, &serde_urlencoded::to_string(fields).unwrap())
    }

    pub fn ask(&mut self, method: &str, path: &str, fields: &[&str], body: &str) -> Response {
        let answer = Client::connect(self.address).ask(self.request(method, path, fields, body));
        for set in answer.all("set-cookie") {
            let (name, rest) = set.split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            match value {
                "" => self.cookies.remove(name),
                value => self.cookies.insert(name.to_owned(), value.to_owned()),
            };
        }
        answer
    }

    fn request(&self, method: &str, path: &str, fields: &[&str], body: &str) -> String {
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookie = if cookies.is_empty() { String::new() } else { format!("cookie: {}\r\n", cookies.join("; ")) };
        let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
        let client =
            if self.client.is_empty() { String::new() } else { format!("x-forwarded-for: {}\r\n", self.client) };
        format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\n{fields}{client}{cookie}content-length: {}\r\nconnection: close\r\n\r\n{body}",
            self.host,
            body.len()
        )
    }

    /// As [`Self::post`], without the body for now.
    pub fn hold(&self, path: &str, fields: &[(&str, &str)]) -> Held {
        let origin = format!("origin: http://{}", self.host);
        let head = [&*origin, "content-type: application/x-www-form-urlencoded", EXPECTS];
        let body = serde_urlencoded::to_string(fields).unwrap();
        Held::send(self.address, &self.request("POST", path, &head, &body))
    }
}

/// The link to the console by which the browser at a Deployment's address signs in there, as the console takes it. The
/// Deployment is reached by a host that the test has no name server for; its port is the listener's.
pub fn way_to_console(gateway: &Gateway, browser: &mut Browser, to: &str) -> String {
    let asked = browser.get(&format!("/-/console?to={to}"));
    let location = asked.header("location").unwrap().to_owned();
    let open = location.strip_prefix(&format!("http://{}", gateway.management)).unwrap();
    let at = format!("at=http%3A%2F%2F{}", browser.host);
    open.replace(&at, &format!("{at}%3A{}", gateway.proxy.port()))
}

/// The path of the link by which the console sends the browser back, which one that is signed in there gets.
pub fn way_back(gateway: &Gateway, console: &mut Browser, browser: &mut Browser, to: &str) -> String {
    let handed = console.get(&way_to_console(gateway, browser, to));
    let back = handed.header("location").unwrap_or_else(|| panic!("{}", handed.text()));
    let address = format!("http://{}:{}", browser.host, gateway.proxy.port());
    back.strip_prefix(&address).unwrap().to_owned()
}

pub fn create_user(gateway: &Gateway, email: &str, admin: bool) {
    let mut arguments = vec!["user", "create", "--email", email, "--name", "Somebody", "--password-stdin"];
    arguments.extend(admin.then_some("--admin"));
    let mut command = gateway.cli_command(&arguments);
    // It waits for the store for longer than a gateway that is to notice an outage.
    command.env("BENTO_GATEWAY__STORE__ACQUIRE_TIMEOUT", "30s");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(PASSWORD.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

/// What the forms of a page carry.
pub fn csrf(page: &Response) -> String {
    let text = page.text();
    let start = text.find("name=\"csrf\" value=\"").unwrap_or_else(|| panic!("no form in {text}"));
    text[start + "name=\"csrf\" value=\"".len()..].split('"').next().unwrap().to_owned()
}
