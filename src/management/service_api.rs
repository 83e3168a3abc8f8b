//! What a service says of its own routes: the OpenAPI document that every Bento serves at `/docs.json`.
//!
//! The document is the service's, which need not mean well. People paste what is made of it into a shell: so whatever is
//! kept is of an alphabet that no shell, program or page reads as anything else, and there is only so much of it.

use std::{cell::Cell, sync::Arc, time::Duration};

use http::StatusCode;
use serde_json::{Map, Value};

use super::{bento::Bento, recent::Recent};
use crate::domain::{deployment::DeploymentSpec, routing::Declared};

/// Where a service serves the document.
const PATH: &str = "/docs.json";
/// Longest wait for connection and response together. A page waits for it.
const TIMEOUT: Duration = Duration::from_secs(1);
/// A service that has just started is asked again soon.
const FRESH: Duration = Duration::from_secs(10);
const ASKED_AT_ONCE: usize = 8;

/// Largest document, bytes.
const MAX_BYTES: usize = 512 * 1024;
/// Routes that are kept.
const MAX_ROUTES: usize = 8;
/// Characters of a path, and of a name.
const MAX_NAME: usize = 100;
/// Properties of an object in an example, and items of an array.
const MAX_PROPERTIES: usize = 12;
const MAX_ITEMS: usize = 3;
/// How deep an example may be; a schema that contains itself has no end.
const MAX_DEPTH: u32 = 5;
/// Characters of a text in an example.
const MAX_TEXT: usize = 80;
/// Schemas and values that are looked at for all examples together. Schemas refer to each other, so that a small document can
/// describe more than anybody could look at.
const MAX_WORK: u32 = 20_000;

/// The routes of a service that can be called without knowing more of it.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceApi {
    pub routes: Vec<Route>,
    /// Whether it has the chat completions of OpenAI's API, at [`CHAT`].
    pub chat: bool,
}

impl ServiceApi {
    /// What is left of it for whoever may call some routes only, by method and path.
    pub fn within(&self, opens: impl Fn(&str, &str) -> bool) -> Self {
        let routes = self.routes.iter().filter(|route| opens(route.method, &route.path)).cloned();
        Self { routes: routes.collect(), chat: self.chat && opens("POST", CHAT) }
    }
}

/// What BentoML's client reads before its first call.
pub const SCHEMA: &str = "/schema.json";
/// OpenAI's route, which its clients know.
pub const CHAT: &str = "/v1/chat/completions";

#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// In capitals.
    pub method: &'static str,
    pub path: String,
    /// An example of its JSON. `None`: it takes none.
    pub body: Option<Value>,
    /// What BentoML's client calls it. `None`: that client cannot call it.
    pub function: Option<String>,
    /// Whether it answers part by part.
    pub streams: bool,
}

/// What services have said of their routes lately.
pub struct ServiceApis(Recent<Option<Arc<ServiceApi>>>);

impl ServiceApis {
    pub fn new() -> Self {
        Self(Recent::new(FRESH, ASKED_AT_ONCE))
    }

    /// As the first upstream says that says it. `None`: none does within a second, or the Deployment is terminated.
    pub async fn of(&self, spec: &DeploymentSpec, declared: &Declared) -> Option<Arc<ServiceApi>> {
        if spec.terminated {
            return None;
        }
        let first = async {
            for bento in &Bento::all(spec, declared) {
                if let Some(api) = self.0.get(&bento.url, || read(bento)).await {
                    return Some(api);
                }
            }
            None
        };
        tokio::time::timeout(TIMEOUT, first).await.ok().flatten()
    }
}

async fn read(bento: &Bento) -> Option<Arc<ServiceApi>> {
    let response = bento.get(PATH, TIMEOUT).await?;
    if response.status() != StatusCode::OK {
        return None;
    }
    // The threads of requests are for requests.
    let parse = move || ServiceApi::parse(response.body()).map(Arc::new);
    tokio::task::spawn_blocking(parse).await.ok().flatten()
}

impl ServiceApi {
    /// `None`: it is no such document, or describes no route that can be shown.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() > MAX_BYTES {
            return None;
        }
        // serde_json refuses what is nested deeper than 128 levels.
        let document: Value = serde_json::from_slice(text).ok()?;
        let paths = document.get("paths")?.as_object()?;
        let examples = Examples { schemas: &document["components"]["schemas"], work: Cell::new(MAX_WORK) };
        let shown = paths.iter().filter(|(path, _)| is_path(path) && !belongs_to_task(path, paths));
        let mut routes: Vec<Route> = shown
            .clone()
            .filter(|(path, _)| !path.ends_with(CHAT))
            .flat_map(|(path, item)| METHODS.iter().filter_map(|method| route(&examples, path, item, method)))
            .collect();
        // What takes input is what the service is for.
        routes.sort_by_key(|route| (route.body.is_none(), route.streams, route.function.is_none()));
        routes.truncate(MAX_ROUTES);
        let chat = shown.clone().any(|(path, item)| path == CHAT && item.get("post").is_some());
        (chat || !routes.is_empty()).then_some(Self { routes, chat })
    }
}

const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/// Unreserved characters of RFC 3986 between slashes. So a path with parameters is none.
fn is_path(path: &str) -> bool {
    let plain = |segment: &str| {
        segment != "." && segment != ".." && segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b))
    };
    path.len() <= MAX_NAME
        && path
            .strip_prefix('/')
            .is_some_and(|rest| rest.split('/').all(|segment| plain(segment) && !segment.is_empty()))
}

/// A name of Python's, though it may be one of its keywords.
fn is_identifier(name: &str) -> bool {
    name.len() <= MAX_NAME
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
}

/// Whether the path is one of those that BentoML adds to a task, which need the task's id or only submit it.
fn belongs_to_task(path: &str, paths: &Map<String, Value>) -> bool {
    let base = path.rsplit_once('/').map_or("", |(base, _)| base);
    ["submit", "status"].iter().all(|step| paths.contains_key(&format!("{base}/{step}")))
}

/// `None`: it cannot be called with an example alone.
fn route(examples: &Examples<'_>, path: &str, item: &Value, method: &'static str) -> Option<Route> {
    let operation = item.get(method.to_ascii_lowercase())?;
    let tagged = |tag: &str| operation["tags"].as_array().is_some_and(|tags| tags.iter().any(|found| found == tag));
    let parameters = operation["parameters"].as_array();
    let needs_more = parameters.is_some_and(|all| all.iter().any(|parameter| parameter["required"] == true));
    if tagged("Infrastructure") || needs_more {
        return None;
    }
    let body = match operation["requestBody"]["content"].as_object() {
        None => None,
        Some(content) => Some(examples.of(&content.get("application/json")?["schema"], MAX_DEPTH)?),
    };
    let stream = operation["responses"]["200"]["content"].get("text/event-stream");
    // BentoML's client takes each piece that arrives for a whole value, which holds for text alone.
    let is_readable = stream.is_none_or(|stream| stream["schema"]["type"] == "string");
    let function = operation["x-bentoml-name"].as_str().filter(|name| is_readable && is_identifier(name));
    Some(Route {
        method,
        path: path.to_owned(),
        body,
        function: function.map(str::to_owned),
        streams: stream.is_some(),
    })
}

/// Makes values that schemas describe, as long as that is little work.
struct Examples<'d> {
    schemas: &'d Value,
    /// What is left of [`MAX_WORK`].
    work: Cell<u32>,
}

impl Examples<'_> {
    /// `None`: a file, or something that only its author knows, or too much of it.
    fn of(&self, schema: &Value, depth: u32) -> Option<Value> {
        let depth = self.step(depth)?;
        if let Some(name) = schema["$ref"].as_str() {
            return self.of(&self.schemas[name.strip_prefix("#/components/schemas/")?], depth);
        }
        let given =
            [&schema["example"], &schema["examples"][0], &schema["default"], &schema["const"], &schema["enum"][0]];
        if let Some(given) = given.into_iter().find(|given| !given.is_null()) {
            return self.bounded(given, depth);
        }
        if let Some(either) = ["anyOf", "oneOf", "allOf"].into_iter().find_map(|key| schema[key].as_array()) {
            return either.iter().take(MAX_ITEMS).find_map(|schema| self.of(schema, depth));
        }
        let is_file =
            matches!(schema["format"].as_str(), Some("binary" | "file" | "image" | "audio" | "video" | "tensor"));
        match schema["type"].as_str()? {
            "string" if !is_file => Some(Value::from("text")),
            "integer" => Some(Value::from(schema["minimum"].as_i64().unwrap_or(1))),
            "number" => Some(Value::from(schema["minimum"].as_f64().unwrap_or(1.0))),
            "boolean" => Some(Value::from(true)),
            "array" => Some(Value::from(vec![self.of(&schema["items"], depth)?])),
            "object" => self.object(schema, depth),
            _ => None,
        }
    }

    /// With what it must have; or, if it must have nothing, with whatever it may have.
    fn object(&self, schema: &Value, depth: u32) -> Option<Value> {
        let Some(properties) = schema["properties"].as_object() else { return Some(Value::Object(Map::new())) };
        let required = schema["required"].as_array().map(Vec::as_slice).unwrap_or_default();
        if required.len() > MAX_PROPERTIES {
            return None;
        }
        let mut shown = Map::new();
        for (name, schema) in properties {
            if !required.is_empty() && !required.iter().any(|required| required == name) {
                self.step(1)?;
                continue;
            }
            match self.of(schema, depth) {
                Some(_) if shown.len() >= MAX_PROPERTIES => return None,
                Some(value) => drop(shown.insert(text(name), value)),
                None if required.is_empty() => {}
                None => return None,
            }
        }
        Some(Value::Object(shown))
    }

    /// A value of the service's own.
    fn bounded(&self, value: &Value, depth: u32) -> Option<Value> {
        let depth = self.step(depth)?;
        match value {
            Value::String(given) => Some(Value::from(text(given))),
            Value::Array(items) => {
                let items = items.iter().take(MAX_ITEMS).map(|item| self.bounded(item, depth));
                items.collect::<Option<Vec<_>>>().map(Value::from)
            }
            Value::Object(fields) => {
                let fields = fields.iter().take(MAX_PROPERTIES);
                let fields = fields.map(|(name, value)| Some((text(name), self.bounded(value, depth)?)));
                fields.collect::<Option<Map<_, _>>>().map(Value::Object)
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => Some(value.clone()),
        }
    }

    /// What is left of the depth. `None`: nothing, or no work is left to do.
    fn step(&self, depth: u32) -> Option<u32> {
        self.work.set(self.work.get().checked_sub(1)?);
        depth.checked_sub(1)
    }
}

/// Cut behind a word where it is too long.
fn text(given: &str) -> String {
    let Some((end, _)) = given.char_indices().nth(MAX_TEXT) else { return given.to_owned() };
    let cut = &given[..end];
    cut.rsplit_once(' ').map_or(cut, |(words, _)| words).to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parsed(paths: &Value) -> Option<ServiceApi> {
        let node = json!({ "type": "object", "properties": { "next": { "$ref": "#/components/schemas/Node" } } });
        let document = json!({ "paths": paths, "components": { "schemas": { "Node": node } } });
        ServiceApi::parse(document.to_string().as_bytes())
    }

    fn post(schema: &Value) -> Value {
        let content = json!({ "application/json": { "schema": schema } });
        json!({ "post": { "x-bentoml-name": "f", "requestBody": { "content": content } } })
    }

    fn body(schema: &Value) -> Option<Value> {
        parsed(&json!({ "/f": post(schema) }))?.routes.remove(0).body
    }

    #[test]
    fn an_example_is_made_of_what_the_schema_says() {
        for (schema, expected) in [
            (json!({ "type": "string" }), json!("text")),
            (json!({ "type": "string", "default": "given" }), json!("given")),
            (json!({ "enum": ["a", "b"] }), json!("a")),
            (json!({ "type": "integer", "minimum": 3 }), json!(3)),
            (json!({ "type": "number" }), json!(1.0)),
            (json!({ "type": "array", "items": { "type": "boolean" } }), json!([true])),
            (json!({ "anyOf": [{ "type": "null" }, { "type": "string" }] }), json!("text")),
            (json!({ "type": "object" }), json!({})),
            (json!({ "properties": { "a": { "type": "string" } }, "type": "object" }), json!({ "a": "text" })),
            (
                json!({
                    "type": "object", "required": ["a"],
                    "properties": { "a": { "type": "integer" }, "b": { "type": "integer" } },
                }),
                json!({ "a": 1 }),
            ),
            (json!({ "type": "string", "default": "x".repeat(1000) }), json!("x".repeat(MAX_TEXT))),
            (json!({ "type": "array", "default": [1, 2, 3, 4] }), json!([1, 2, 3])),
        ] {
            assert_eq!(body(&schema), Some(expected), "{schema}");
        }
        for schema in [
            json!({ "type": "string", "format": "binary" }),
            json!({ "type": "object", "required": ["a"], "properties": { "a": { "type": "file" } } }),
            json!({ "type": "nothing that is known" }),
            json!({}),
            json!({ "$ref": "https://example.com/schema" }),
        ] {
            assert_eq!(body(&schema), None, "{schema}");
        }
    }

    #[test]
    fn only_what_can_be_called_with_an_example_is_a_route() {
        let text = json!({ "type": "string" });
        let api = parsed(&json!({
            "/readyz": { "get": { "tags": ["Infrastructure"] } },
            "/one": post(&text),
            "/one/../two": post(&text),
            "/items/{id}": post(&text),
            "/a b": post(&text),
            "/';rm -rf /": post(&text),
            "/$(id)": post(&text),
            "//evil.example": post(&text),
            "one": post(&text),
            "/needs": { "get": { "parameters": [{ "name": "id", "in": "query", "required": true }] } },
            "/plain": { "get": {}, "x-parameters": [] },
            "/task": post(&text),
            "/task/submit": post(&text),
            "/task/status": { "get": {} },
            "/v1/chat/completions": post(&text),
        }))
        .unwrap();
        let paths: Vec<&str> = api.routes.iter().map(|route| route.path.as_str()).collect();
        assert_eq!((paths, api.chat), (vec!["/one", "/task", "/plain"], true));
    }

    #[test]
    fn a_function_is_a_name_and_nothing_else() {
        for name in ["__import__('os')", "a.b", "1a", "_private", "a b", "", "ä"] {
            let api = parsed(&json!({ "/f": { "get": { "x-bentoml-name": name } } })).unwrap();
            assert_eq!(api.routes[0].function, None, "{name}");
        }
    }

    #[test]
    fn a_document_that_is_too_much_is_none() {
        let deep = format!("{{\"paths\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
        for text in ["", "<html>", "[]", "{}", r#"{"paths":[]}"#, r#"{"paths":{"/f":7}}"#, &deep] {
            assert_eq!(ServiceApi::parse(text.as_bytes()), None);
        }
        assert_eq!(ServiceApi::parse(&vec![b' '; MAX_BYTES + 1]), None);
        let many: Map<String, Value> = (0..100).map(|at| (format!("/r{at}"), json!({ "get": {} }))).collect();
        assert_eq!(parsed(&Value::Object(many)).unwrap().routes.len(), MAX_ROUTES);
        // Neither does what refers to itself again and again take long.
        let wide = |refers_to: &str, count: usize| {
            let reference = json!({ "$ref": format!("#/components/schemas/{refers_to}") });
            let properties: Map<String, Value> = (0..count).map(|at| (format!("p{at}"), reference.clone())).collect();
            json!({ "type": "object", "properties": properties })
        };
        let nothing: Map<String, Value> = (0..3_000).map(|at| (format!("n{at}"), json!({}))).collect();
        let many: Map<String, Value> = (0..40).map(|at| (format!("/r{at}"), post(&wide("Many", 1_000)))).collect();
        let schemas = json!({
            "Nothing": { "type": "object", "properties": nothing }, "Many": wide("Nothing", 1_000),
        });
        let document = json!({ "paths": many, "components": { "schemas": schemas } }).to_string();
        assert!(document.len() > MAX_BYTES || ServiceApi::parse(document.as_bytes()).is_none());
        let examples = Examples { schemas: &schemas, work: Cell::new(MAX_WORK) };
        let _ = examples.of(&wide("Many", 1_000), MAX_DEPTH);
        assert_eq!(examples.work.get(), 0, "it has looked at all of it");
        // A schema within itself ends, and so does one that is too wide.
        assert_eq!(body(&json!({ "$ref": "#/components/schemas/Node" })), Some(json!({ "next": {} })));
        let wide: Map<String, Value> = (0..100).map(|at| (format!("p{at}"), json!({ "type": "string" }))).collect();
        assert_eq!(body(&json!({ "type": "object", "properties": wide })), None);
    }
}
