//! What is kept of a request whose token may open some routes only, to ask once more while it runs.

use crate::{
    domain::narrowing::Asked,
    index::{entry::Entry, routes::Route, verify::ProvenToken},
};

/// How much of a request a sentence repeats, bytes.
const SHOWN: usize = 200;

/// A token, and what it was shown for.
pub struct ShownFor {
    pub token: ProvenToken,
    /// Method and path. `None`: no particular route.
    route: Option<(Box<str>, Box<str>)>,
}

impl ShownFor {
    pub fn new(token: ProvenToken, asked: Asked<'_>) -> Self {
        let route = match asked {
            Asked::Route { method, path } => Some((method.into(), path.into())),
            Asked::Everything | Asked::Anything => None,
        };
        Self { token, route }
    }

    pub fn asked(&self) -> Asked<'_> {
        match &self.route {
            Some((method, path)) => Asked::Route { method, path },
            None => Asked::Everything,
        }
    }
}

/// What is asked for, and what the token opens of the Deployment in its place, in words that can stand between quotes.
pub fn other_routes(entry: &Entry, route: &Route<'_>) -> Box<str> {
    let asked = match route.asked() {
        Asked::Route { method, path } if method.len() + path.len() <= SHOWN && !path.contains(['"', '\\']) => {
            format!("{method} {path}")
        }
        _ => "this method and path".to_owned(),
    };
    let opened = entry.holder().scopes.narrow_routes(route.destination().name());
    format!("{asked}; of this Deployment it opens {opened} only").into()
}
