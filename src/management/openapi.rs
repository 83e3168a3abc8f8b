//! The OpenAPI 3.1 document, made of the very operations that are served.

use std::any::TypeId;

use axum::http::Method;
use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::error::ErrorBody;
use crate::domain::rights::Permission;

/// A query without parameters, a request without a body, an object without members.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema)]
pub struct Empty {}

/// What the document says of one operation.
pub struct Entry {
    pub method: Method,
    pub path: &'static str,
    id: &'static str,
    summary: &'static str,
    /// `None`: no token is required.
    permission: Option<Permission>,
    /// It may carry an `Idempotency-Key`.
    pub idempotent: bool,
    pub may_409: bool,
    pub limited: bool,
    /// It may be answered 404 though its path has no parameter.
    pub may_404: bool,
    /// What is asked for can take a right away.
    pub urgent: bool,
}

/// What the document will say. It is made when it is asked for: schemas take longer than all else of the start.
#[derive(Default)]
pub struct Document {
    operations: Vec<(Entry, Describe)>,
}

/// [`Writer::add`] for an operation's types.
type Describe = fn(&mut Writer, Entry);

struct Writer {
    paths: Map<String, Value>,
    schemas: SchemaGenerator,
}

impl Entry {
    pub fn new(method: Method, path: &'static str, id: &'static str, summary: &'static str) -> Self {
        Self {
            method,
            path,
            id,
            summary,
            permission: None,
            idempotent: false,
            may_409: false,
            limited: false,
            may_404: false,
            urgent: false,
        }
    }

    pub fn requires(self, permission: Permission) -> Self {
        Self { permission: Some(permission), ..self }
    }

    pub fn idempotent(self) -> Self {
        Self { idempotent: true, ..self }
    }

    /// The path's parameter. `None`: it has none.
    fn parameter(&self) -> Option<&'static str> {
        self.path.split_once('{')?.1.split_once('}').map(|(name, _)| name)
    }

    /// The statuses that may come instead of 200, with their descriptions.
    fn statuses(&self, has_body: bool) -> Vec<(&'static str, &'static str)> {
        let mut all = vec![("400", "The request is not valid")];
        if let Some(permission) = self.permission {
            all.push(("401", "The token is missing or not valid"));
            if permission != Permission::Token {
                all.push(("403", "The token or its owner lacks the permission"));
            }
        }
        if self.parameter().is_some() || self.may_404 {
            all.push(("404", "Not found, or not visible to the caller"));
        }
        if self.may_409 || self.idempotent {
            all.push(("409", "The request conflicts with what exists"));
        }
        if has_body {
            all.push(("413", "The body is too large"));
            all.push(("415", "The body is not JSON"));
        }
        if self.limited {
            all.push(("429", "Too many requests"));
        }
        all.push((
            "503",
            "The gateway cannot reach its store; nothing was changed, unless the code is outcome_unknown",
        ));
        all
    }
}

impl Document {
    pub fn add<Q: JsonSchema, B: JsonSchema + 'static, A: JsonSchema>(&mut self, entry: Entry) {
        self.operations.push((entry, Writer::add::<Q, B, A>));
    }

    pub fn write(self) -> Value {
        let mut writer = Writer::new();
        for (entry, add) in self.operations {
            add(&mut writer, entry);
        }
        writer.finish()
    }
}

impl Writer {
    fn new() -> Self {
        let settings = SchemaSettings::draft2020_12().with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        });
        Self { paths: Map::new(), schemas: settings.into_generator() }
    }

    fn add<Q: JsonSchema, B: JsonSchema + 'static, A: JsonSchema>(&mut self, entry: Entry) {
        let query = Q::json_schema(&mut self.schemas);
        let has_body = TypeId::of::<B>() != TypeId::of::<Empty>();
        let body = has_body.then(|| self.schemas.subschema_for::<B>());
        let answer = self.schemas.subschema_for::<A>();
        self.write(entry, &query, body, &answer);
    }

    /// For all types alike: for each of them the compiler would take its time.
    fn write(&mut self, entry: Entry, query: &Schema, body: Option<Schema>, answer: &Schema) {
        let has_body = body.is_some();
        let mut operation = Map::new();
        operation.insert("operationId".to_owned(), entry.id.into());
        operation.insert("summary".to_owned(), entry.summary.into());
        operation.insert("description".to_owned(), describe(entry.permission).into());
        let security = if entry.permission.is_some() { json!([{ "bearer": [] }, { "yatai": [] }]) } else { json!([]) };
        operation.insert("security".to_owned(), security);
        let parameters = parameters(&entry, query);
        if !parameters.is_empty() {
            operation.insert("parameters".to_owned(), parameters.into());
        }
        if let Some(schema) = body {
            let body = json!({ "required": true, "content": { "application/json": { "schema": schema } } });
            operation.insert("requestBody".to_owned(), body);
        }
        let mut responses = Map::new();
        let done = json!({ "description": "Done", "content": { "application/json": { "schema": answer } } });
        responses.insert("200".to_owned(), done);
        let error = self.schemas.subschema_for::<ErrorBody>();
        for (status, description) in entry.statuses(has_body) {
            let content = json!({ "application/json": { "schema": error } });
            responses.insert(status.to_owned(), json!({ "description": description, "content": content }));
        }
        operation.insert("responses".to_owned(), responses.into());
        let path = self.paths.entry(entry.path).or_insert_with(|| json!({}));
        path[entry.method.as_str().to_ascii_lowercase()] = operation.into();
    }

    fn finish(mut self) -> Value {
        json!({
            "openapi": "3.1.0",
            "info": {
                "title": "bento-gateway management API",
                "version": env!("CARGO_PKG_VERSION"),
                "description": "Tokens, Deployments and users of a bento-gateway. The paths that the stock `bentoml` \
                                client knows answer it as BentoCloud does; the others are the gateway's own.",
                "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" }
            },
            "paths": self.paths,
            "components": {
                "schemas": self.schemas.take_definitions(true),
                "securitySchemes": {
                    "bearer": { "type": "http", "scheme": "bearer" },
                    "yatai": { "type": "apiKey", "in": "header", "name": "X-YATAI-API-TOKEN" }
                }
            }
        })
    }
}

fn parameters(entry: &Entry, query: &Schema) -> Vec<Value> {
    let mut all = Vec::new();
    if let Some(name) = entry.parameter() {
        all.push(
            json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string", "minLength": 1 } }),
        );
    }
    if let Some(properties) = query.get("properties").and_then(Value::as_object) {
        for (name, schema) in properties {
            let mut schema = schema.clone();
            let description = schema.as_object_mut().and_then(|schema| schema.remove("description"));
            let mut parameter = json!({ "name": name, "in": "query", "required": false, "schema": schema });
            if let Some(description) = description {
                parameter["description"] = description;
            }
            all.push(parameter);
        }
    }
    if entry.idempotent {
        all.push(json!({
            "name": "Idempotency-Key", "in": "header", "required": false,
            "description": "A unique key for this request. Requests with the same key are executed once.",
            "schema": { "type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[!-~]+$" }
        }));
    }
    all
}

fn describe(permission: Option<Permission>) -> String {
    let Some(permission) = permission else { return "Requires no token.".to_owned() };
    let scope = match permission {
        Permission::Token => "any live token".to_owned(),
        Permission::Management => "a token with any Developer Operations Access".to_owned(),
        _ => match permission.scope() {
            Some(scope) if scope.to_string() == "api" => "a token with the scope `api`".to_owned(),
            Some(scope) => format!("a token with the scope `{scope}` or `api`"),
            None => String::new(),
        },
    };
    let owner = if permission.admin() { ", owned by an admin" } else { "" };
    format!("Requires {scope}{owner}.")
}
