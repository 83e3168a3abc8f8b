//! Commands and code to copy, for each way of using a token. Whatever a service says of itself is written so that a shell
//! and Python read it as data: `service_api` has let through what can be.

use std::{fmt::Write as _, sync::Arc};

use serde_json::Value;

use super::visitor::SignedIn;
use crate::{
    domain::{
        deployment::DeploymentSpec,
        deployment_scope::Routes,
        narrowing::Asked,
        origin::Origin,
        scope::{Scope, ScopeSet},
    },
    management::{
        Management,
        error::ApiError,
        service_api::{CHAT, Route, SCHEMA, ServiceApi},
    },
    service::deployments::{self, Listed, address::Address},
};

pub struct Recipe {
    pub title: &'static str,
    pub text: String,
    pub snippets: Vec<Snippet>,
}

/// What is copied as a whole.
pub struct Snippet {
    /// Of the element in the page.
    pub id: String,
    pub code: String,
}

/// What a call is authenticated with.
#[derive(Clone, Copy)]
pub enum Credential<'a> {
    /// The Deployment is public.
    None,
    /// What the variable `TOKEN` holds.
    Variable,
    /// The text of a token.
    Token(&'a str),
}

/// What a recipe calls.
pub struct Calls<'a> {
    pub url: &'a str,
    pub credential: Credential<'a>,
    /// `None`: the service has not said.
    pub api: Option<&'a ServiceApi>,
    /// Whether BentoML's client can call it: not if the token does not open what that reads first.
    pub by_bentoml: bool,
}

/// Where a token can be used. It is read before the token is made: nothing may come between a new token and its text.
pub struct Destinations {
    management: Arc<Management>,
    /// As the visitor reaches them.
    deployments: Vec<(DeploymentSpec, Address)>,
    listener: Origin,
    console: Origin,
}

impl Destinations {
    pub async fn read(visitor: &SignedIn) -> Result<Self, ApiError> {
        let listed = deployments::list(&visitor.context()).await?;
        let reach = deployments::reach(&visitor.context(), &visitor.config.proxy).await?;
        let served = listed.into_iter().filter(|listed| !listed.shadowed);
        let reached = |listed: Listed| {
            let address = reach.deployment(&listed.spec, visitor.here())?;
            Some((listed.spec, address))
        };
        Ok(Self {
            management: Arc::clone(&visitor.management),
            deployments: served.filter_map(reached).collect(),
            listener: reach.listener(visitor.here()),
            console: visitor.console_url(),
        })
    }

    /// The recipes that work with the token's scopes.
    pub async fn recipes(&self, token: &str, scopes: &ScopeSet) -> Vec<Recipe> {
        let mut recipes = Vec::new();
        if scopes.iter().any(|scope| matches!(scope, Scope::Deployment(..))) {
            let opened = self.deployments.iter().find(|(spec, _)| scopes.opens_deployment(spec.name.as_str()));
            let (api, url) = match opened {
                Some((spec, address)) => (self.management.service_api(spec).await, address.to_string()),
                None => (None, self.listener.to_string()),
            };
            let opens = |method: &str, path: &str| {
                let asked = Asked::Route { method, path };
                opened.is_none_or(|(spec, _)| scopes.opening(Some(spec.name.as_str()), Routes::Open, asked).is_some())
            };
            let api = api.map(|api| api.within(opens));
            let credential = Credential::Token(token);
            let calls = Calls { url: &url, credential, api: api.as_ref(), by_bentoml: opens("GET", SCHEMA) };
            recipes.extend(calls.recipes());
        }
        if scopes.iter().any(Scope::is_of_management) {
            recipes.push(Recipe::new(
                "cloud",
                "BentoML CLI",
                "Logs in the BentoML CLI, so that it manages this gateway. Without the variable, and without --endpoint, the \
                 CLI sends the token to BentoML's own cloud.",
                vec![format!(
                    "export BENTO_CLOUD_API_ENDPOINT={}\nbentoml cloud login --api-token '{token}'",
                    self.console
                )],
            ));
        }
        recipes
    }
}

impl Recipe {
    fn new(id: &'static str, title: &'static str, text: impl Into<String>, codes: Vec<String>) -> Self {
        let snippet = |(at, code)| Snippet { id: format!("{id}-{at}"), code };
        Self { title, text: text.into(), snippets: codes.into_iter().enumerate().map(snippet).collect() }
    }
}

impl Calls<'_> {
    /// Each way to call the Deployment.
    pub fn recipes(&self) -> Vec<Recipe> {
        [Some(self.curl()), self.by_bentoml.then(|| self.python()), self.openai(), Some(self.browser())]
            .into_iter()
            .flatten()
            .collect()
    }

    fn routes(&self) -> &[Route] {
        self.api.map_or(&[], |api| &api.routes)
    }

    fn curl(&self) -> Recipe {
        let authorization = match self.credential {
            Credential::None => String::new(),
            Credential::Variable => " \\\n  -H \"Authorization: Bearer $TOKEN\"".to_owned(),
            Credential::Token(token) => format!(" \\\n  -H \"Authorization: Bearer {token}\""),
        };
        let url = self.url;
        let call = |route: &Route| {
            let mut command = "curl".to_owned();
            if route.streams {
                command.push_str(" -N");
            }
            if route.method != if route.body.is_some() { "POST" } else { "GET" } {
                let _ = write!(command, " -X {}", route.method);
            }
            let _ = write!(command, " {url}{}{authorization}", route.path);
            if let Some(body) = &route.body {
                let _ = write!(command, " \\\n  -H 'Content-Type: application/json' \\\n  -d '{}'", json(body));
            }
            command
        };
        let chat = self.api.is_some_and(|api| api.chat).then(|| {
            let messages = r#""messages": [{"role": "user", "content": "Hello"}]"#;
            format!(
                "curl {url}{CHAT}{authorization} \\\n  -H 'Content-Type: application/json' \\\n  -d '{{\"model\": \
                 \"MODEL\", {messages}}}'"
            )
        });
        let commands: Vec<String> = chat.into_iter().chain(self.routes().iter().map(call)).collect();
        if commands.is_empty() {
            let text = "Replace the path and the body with those of your service.";
            return Recipe::new("curl", "curl", text, vec![format!("curl {url}/readyz{authorization}")]);
        }
        let text = match self.api {
            Some(api) if api.chat => "Routes of the service. Replace MODEL with the name of its model.",
            _ => "Routes of the service, with examples of what they take.",
        };
        Recipe::new("curl", "curl", text, commands)
    }

    fn python(&self) -> Recipe {
        let (imports, token) = match self.credential {
            Credential::None => ("import bentoml", String::new()),
            Credential::Variable => ("import os\n\nimport bentoml", ", token=os.environ[\"TOKEN\"]".to_owned()),
            Credential::Token(token) => ("import bentoml", format!(", token=\"{token}\"")),
        };
        let calls: Vec<String> = self.routes().iter().filter_map(python_call).collect();
        let body = if calls.is_empty() { "    print(client.endpoints)".to_owned() } else { calls.join("\n") };
        let code = format!("{imports}\n\nwith bentoml.SyncHTTPClient(\"{}\"{token}) as client:\n{body}", self.url);
        Recipe::new("python", "Python", "With the bentoml package.", vec![code])
    }

    /// `None`: the service does not speak as OpenAI does.
    fn openai(&self) -> Option<Recipe> {
        self.api.filter(|api| api.chat)?;
        let (imports, key) = match self.credential {
            // The client wants one.
            Credential::None => ("", "\"none\"".to_owned()),
            Credential::Variable => ("import os\n\n", "os.environ[\"TOKEN\"]".to_owned()),
            Credential::Token(token) => ("", format!("\"{token}\"")),
        };
        let code = format!(
            "{imports}from openai import OpenAI\n\nclient = OpenAI(base_url=\"{}/v1\", api_key={key})\n\
             reply = client.chat.completions.create(\n    model=client.models.list().data[0].id,\n    \
             messages=[{{\"role\": \"user\", \"content\": \"Hello\"}}],\n)\nprint(reply.choices[0].message.content)",
            self.url
        );
        Some(Recipe::new("openai", "OpenAI SDK", "With the openai package.", vec![code]))
    }

    fn browser(&self) -> Recipe {
        let url = self.url;
        let (text, code) = match self.credential {
            Credential::None => ("Open this address.", url.to_owned()),
            Credential::Variable => ("Open this address and sign in with the console or with a token.", url.to_owned()),
            Credential::Token(token) => {
                let text = format!(
                    "Open {url} and paste the token into the sign-in page. Alternatively, use a browser extension that \
                     sets this request header:"
                );
                return Recipe::new("browser", "Browser", text, vec![format!("Authorization: Bearer {token}")]);
            }
        };
        Recipe::new("browser", "Browser", text, vec![code])
    }
}

/// `None`: BentoML's client cannot make the call, or a name in it is none of Python's.
fn python_call(route: &Route) -> Option<String> {
    let function = route.function.as_deref()?;
    let arguments = match &route.body {
        None => String::new(),
        Some(Value::Object(fields)) => {
            let field =
                |(name, value): (&String, &Value)| is_argument(name).then(|| format!("{name}={}", python(value)));
            fields.iter().map(field).collect::<Option<Vec<_>>>()?.join(", ")
        }
        Some(value) => python(value),
    };
    let call = match function {
        _ if is_keyword(function) => return None,
        // What the client has of its own is called so.
        _ if OF_THE_CLIENT.contains(&function) => format!("client.api_{function}({arguments})"),
        _ => format!("client.{function}({arguments})"),
    };
    Some(if route.streams {
        format!("    for part in {call}:\n        print(part)")
    } else {
        format!("    print({call})")
    })
}

/// Attributes of `bentoml.SyncHTTPClient`.
const OF_THE_CLIENT: [&str; 15] = [
    "app",
    "call",
    "client",
    "client_cls",
    "close",
    "default_headers",
    "endpoints",
    "is_ready",
    "media_type",
    "request",
    "serde",
    "server_ready_timeout",
    "service",
    "timeout",
    "url",
];

const KEYWORDS: [&str; 32] = [
    "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del", "elif", "else", "except",
    "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "nonlocal", "not", "or", "pass", "raise",
    "return", "try", "while", "with", "yield",
];

fn is_keyword(name: &str) -> bool {
    KEYWORDS.contains(&name)
}

fn is_argument(name: &str) -> bool {
    let mut characters = name.chars();
    characters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && characters.all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !is_keyword(name)
        && !matches!(name, "True" | "False" | "None")
}

/// In visible ASCII without a single quote, in which it can stand in a shell. Spaces as Python's `json` writes them.
fn json(value: &Value) -> String {
    literal(value, &Notation::JSON)
}

fn python(value: &Value) -> String {
    literal(value, &Notation::PYTHON)
}

/// How a language writes what JSON has.
struct Notation {
    words: [&'static str; 3],
    /// A character outside the basic plane.
    astral: fn(char) -> String,
}

impl Notation {
    const JSON: Self = Self {
        words: ["null", "true", "false"],
        astral: |c| c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
    };
    const PYTHON: Self = Self { words: ["None", "True", "False"], astral: |c| format!("\\U{:08x}", u32::from(c)) };
}

fn literal(value: &Value, notation: &Notation) -> String {
    let [null, yes, no] = notation.words;
    let quoted = |text: &str| format!("\"{}\"", text.chars().map(|c| character(c, notation)).collect::<String>());
    match value {
        Value::Null => null.to_owned(),
        Value::Bool(true) => yes.to_owned(),
        Value::Bool(false) => no.to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => quoted(text),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| literal(item, notation)).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| format!("{}: {}", quoted(name), literal(value, notation));
            format!("{{{}}}", fields.iter().map(field).collect::<Vec<_>>().join(", "))
        }
    }
}

fn character(c: char, notation: &Notation) -> String {
    match c {
        '"' | '\\' => format!("\\{c}"),
        '\'' => format!("\\u{:04x}", u32::from(c)),
        ' '..='~' => c.to_string(),
        '\u{10000}'.. => (notation.astral)(c),
        _ => format!("\\u{:04x}", u32::from(c)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_is_read_back_as_it_was_by_a_shell_and_by_python() {
        let odd = "'; rm -rf / #\" \\ $(id) `id` \u{0} \n ä \u{202e} 😀 </script>";
        assert_eq!(serde_json::from_str::<Value>(&json(&json!(odd))).unwrap(), json!(odd));
        for text in [json(&json!({ odd: [odd] })), python(&json!({ odd: [odd] }))] {
            assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'\''), "{text}");
        }
        assert_eq!(python(&json!(["😀", null, true, false, 1.5])), r#"["\U0001f600", None, True, False, 1.5]"#);
    }

    #[test]
    fn a_name_that_python_would_read_otherwise_has_no_recipe() {
        let route = |function: &str, body: Value| Route {
            method: "POST",
            path: "/f".to_owned(),
            body: Some(body),
            function: Some(function.to_owned()),
            streams: false,
        };
        let call = |function: &str, body: Value| python_call(&route(function, body));
        assert_eq!(call("f", json!({ "a": 1 })).as_deref(), Some("    print(client.f(a=1))"));
        assert_eq!(call("f", json!("x")).as_deref(), Some("    print(client.f(\"x\"))"));
        assert_eq!(call("call", json!({})).as_deref(), Some("    print(client.api_call())"));
        for name in ["a b", "import", "None", "a=1);evil(", "", "1a", "ä"] {
            assert_eq!(call("f", json!({ name: 1 })), None, "{name}");
        }
        assert_eq!(call("import", json!({})), None);
    }
}
