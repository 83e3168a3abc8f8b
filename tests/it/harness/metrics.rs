//! What a gateway's telemetry listener says, sample by sample.

use std::{collections::BTreeMap, net::SocketAddr};

use super::{
    SOON,
    gateway::Gateway,
    http::{Client, Response},
    wait_for,
};

/// By name, then by labels as they are written.
#[derive(Debug, Default)]
pub struct Scrape(pub BTreeMap<String, BTreeMap<String, f64>>);

pub fn ask(address: SocketAddr, method: &str, path: &str, fields: &str) -> Response {
    let request = format!("{method} {path} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n{fields}\r\n");
    Client::connect(address).ask(request)
}

pub fn scrape(gateway: &Gateway) -> Scrape {
    let response = ask(gateway.telemetry, "GET", "/metrics", "");
    assert_eq!(response.status, 200, "{}", response.text());
    Scrape::parse(&response.text())
}

/// Once `wanted` is true of it.
pub fn scrape_until(gateway: &Gateway, what: &str, wanted: impl Fn(&Scrape) -> bool) -> Scrape {
    wait_for(what, SOON, || Some(scrape(gateway)).filter(&wanted))
}

/// When no request is under way any more. A request whose response has arrived may be counted a moment later.
pub fn scrape_at_rest(gateway: &Gateway) -> Scrape {
    scrape_until(gateway, "no request is under way", |scrape| scrape.sum("http_server_active_requests", &[]) == 0.0);
    scrape(gateway)
}

impl Scrape {
    pub fn parse(text: &str) -> Self {
        let mut all = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let value = value.parse().unwrap();
            let of_name = all.0.entry(name.to_owned()).or_default();
            let earlier = of_name.insert(labels.trim_end_matches('}').to_owned(), value);
            assert_eq!(earlier, None, "{line} is there twice");
        }
        all
    }

    /// The sum of all series of this name that have these labels, each written `name="value"`.
    pub fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let all = self.0.get(name).into_iter().flatten();
        let chosen = all.filter(|(of, _)| labels.iter().all(|label| of.split(',').any(|one| one == *label)));
        chosen.map(|(_, value)| value).sum()
    }

    /// How many samples there are.
    pub fn samples(&self) -> usize {
        self.0.values().map(BTreeMap::len).sum()
    }
}
