//! What is counted of requests. Labels are bounded whatever callers send: methods of a fixed list, statuses that are
//! registered, reason codes and outcomes of this program.

use http::{Method, StatusCode};

use super::{
    counter::{AppendList, Counter, PerWorker},
    histogram::{Histogram, REQUEST},
    line::{Line, RequestOutcome},
};

/// Methods that have a series of their own, and one for all others, as OpenTelemetry's conventions name them.
pub const METHODS: [&str; 10] =
    ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "CONNECT", "TRACE", OTHER_METHOD];
const OTHER_METHOD: &str = "_OTHER";

/// The requests to one Deployment, or to none.
pub type DeploymentMetrics = PerWorker<RequestMetrics>;

/// The requests to one Deployment that one worker has served.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct RequestMetrics {
    /// How long they took, by method and end.
    ended: [AppendList<End, Histogram>; METHODS.len()],
    /// From the head of the request to the head of the service's response.
    pub first_byte: Histogram,
    /// Waiting for a slot, of requests that had to.
    pub queued: Histogram,
    /// Requests that have passed and would be refused, by the code of that.
    let_through: AppendList<&'static str, Counter>,
    /// Of bodies.
    pub bytes_in: Counter,
    pub bytes_out: Counter,
}

/// How a request has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// `None`: nothing was answered. One that is not registered counts as the first of its class (RFC 9110 § 15).
    pub status: Option<u16>,
    pub outcome: RequestOutcome,
    /// As [`Line::reason`].
    pub reason: &'static str,
}

impl RequestMetrics {
    /// A request has ended as its line says.
    pub fn ended(&self, line: &Line) {
        let end = End { status: line.status.map(registered), outcome: line.outcome, reason: line.reason };
        self.ended[method(line.method.as_ref())].get_or_add(end).observe(REQUEST, line.total);
        if let Some(reason) = line.let_through() {
            self.let_through.get_or_add(reason).add(1);
        }
        self.bytes_in.add(line.bytes_in);
        self.bytes_out.add(line.bytes_out);
    }

    /// How many requests would be refused, each with the code of that.
    pub fn let_through(&self) -> impl Iterator<Item = (&'static str, &Counter)> {
        self.let_through.iter()
    }

    /// How long requests took that have ended, each with the name of its method.
    pub fn ends(&self) -> impl Iterator<Item = (&'static str, End, &Histogram)> {
        let of_method = |(method, ends): (&'static str, _)| {
            AppendList::iter(ends).map(move |(end, histogram)| (method, end, histogram))
        };
        METHODS.into_iter().zip(&self.ended).flat_map(of_method)
    }
}

fn registered(status: u16) -> u16 {
    let known = |status: &StatusCode| status.canonical_reason().is_some();
    StatusCode::from_u16(status).ok().filter(known).map_or(status / 100 * 100, |status| status.as_u16())
}

/// Its place in [`METHODS`].
fn method(method: Option<&Method>) -> usize {
    // Matching the library's constants compares a number; asking for the name would compare texts.
    match method {
        Some(&Method::GET) => 0,
        Some(&Method::POST) => 1,
        Some(&Method::PUT) => 2,
        Some(&Method::DELETE) => 3,
        Some(&Method::PATCH) => 4,
        Some(&Method::HEAD) => 5,
        Some(&Method::OPTIONS) => 6,
        Some(&Method::CONNECT) => 7,
        Some(&Method::TRACE) => 8,
        _ => METHODS.len() - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_and_statuses_are_bounded() {
        for (place, name) in METHODS.into_iter().enumerate() {
            let named = Method::from_bytes(name.as_bytes()).unwrap();
            assert_eq!(method(Some(&named)), place, "{name}");
        }
        assert_eq!(METHODS[method(None)], OTHER_METHOD);
        assert_eq!(METHODS[method(Some(&Method::from_bytes(b"get").unwrap()))], OTHER_METHOD);
        let statuses: std::collections::BTreeSet<u16> = (100..1000).map(registered).collect();
        assert!(statuses.len() < 80 && [101, 200, 299, 431, 599].map(registered) == [101, 200, 200, 431, 500]);
    }

    #[test]
    fn requests_that_end_alike_are_one_series() {
        let metrics = RequestMetrics::default();
        let line = |status, reason| Line {
            method: Some(Method::GET),
            status,
            reason,
            outcome: RequestOutcome::Complete,
            bytes_in: 1,
            bytes_out: 2,
            ..Line::default()
        };
        for line in [line(Some(200), ""), line(Some(299), ""), line(Some(401), "token_expired"), Line::default()] {
            metrics.ended(&line);
        }
        let ends: Vec<_> = metrics.ends().map(|(method, end, _)| (method, end.status, end.reason)).collect();
        let expected = [("GET", Some(200), ""), ("GET", Some(401), "token_expired"), ("_OTHER", None, "")];
        assert_eq!(ends, expected);
        assert_eq!((metrics.bytes_in.get(), metrics.bytes_out.get()), (3, 6));
    }
}
