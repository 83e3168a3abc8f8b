//! Which format a scrape is answered in.

use axum::http::{HeaderMap, header};
use prometheus_client::{
    encoding::{prometheus_text, text},
    registry::Registry,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    OpenMetrics,
    /// That of Prometheus before OpenMetrics; for whoever says nothing.
    Text,
}

impl Format {
    /// OpenMetrics, if `Accept` names it and prefers no other (RFC 9110 § 12.5.1).
    pub fn of(headers: &HeaderMap) -> Self {
        let (mut open_metrics, mut text) = (0.0, 0.0);
        let fields = headers.get_all(header::ACCEPT).into_iter().filter_map(|value| value.to_str().ok());
        for accepted in fields.flat_map(|value| value.split(',')) {
            let mut parts = accepted.split(';').map(str::trim);
            let range = parts.next().unwrap_or_default();
            let (mut quality, mut known) = (1.0, true);
            for (name, value) in parts.filter_map(|part| part.split_once('=')) {
                match name {
                    "q" => quality = value.parse().unwrap_or(0.0),
                    "version" if range.ends_with("openmetrics-text") => known = value == "1.0.0",
                    _ => {}
                }
            }
            let best: &mut f32 =
                if range.eq_ignore_ascii_case("application/openmetrics-text") { &mut open_metrics } else { &mut text };
            if known && quality > *best {
                *best = quality;
            }
        }
        if open_metrics > 0.0 && open_metrics >= text { Self::OpenMetrics } else { Self::Text }
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => prometheus_text::CONTENT_TYPE,
        }
    }

    /// # Errors
    /// A collector's.
    pub fn encode(self, registry: &Registry) -> Result<String, std::fmt::Error> {
        let mut out = String::new();
        match self {
            Self::OpenMetrics => text::encode(&mut out, registry)?,
            Self::Text => prometheus_text::encode(&mut out, registry)?,
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_accepted_decides() {
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                          text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let later = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                     application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;q=0.4,*/*;q=0.2";
        for (accept, format) in [
            (Some(prometheus), Format::OpenMetrics),
            (Some(later), Format::OpenMetrics),
            (Some("application/openmetrics-text"), Format::OpenMetrics),
            (Some("application/openmetrics-text;version=0.0.1"), Format::Text),
            (Some("application/openmetrics-text;q=0"), Format::Text),
            (Some("application/openmetrics-text;q=0.3, text/plain;q=0.4"), Format::Text),
            (Some("text/plain"), Format::Text),
            (Some("*/*"), Format::Text),
            (Some(";;q=x,"), Format::Text),
            (None, Format::Text),
        ] {
            let accept = accept.map(|accept| (header::ACCEPT, accept.parse().unwrap()));
            assert_eq!(Format::of(&HeaderMap::from_iter(accept.clone())), format, "{accept:?}");
        }
    }
}
