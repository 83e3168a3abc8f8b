//! What the access log knows of one request at its end.

use std::time::Duration;

use http::Method;

use crate::domain::{timestamp::Timestamp, token::TokenUid};

/// The reason in the line of what the gateway answers itself and is no rejection: a page of its own, a preflight.
pub const OWN_PAGE: &str = "own_page";
/// And in that of a request which another proxy forwards, with the gateway's permission.
pub const FORWARD_AUTH: &str = "forward_auth";

/// Who has answered a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    ByService,
    /// The gateway, and not by a rejection.
    ByOwnPage,
    /// Another proxy forwards it, and nobody here knows what the service says.
    Elsewhere,
    /// The gateway, with the code of this rejection.
    Rejected(&'static str),
}

impl Answered {
    /// `reason`: as [`Line::reason`].
    pub fn of(reason: &'static str) -> Self {
        match reason {
            "" => Self::ByService,
            OWN_PAGE => Self::ByOwnPage,
            FORWARD_AUTH => Self::Elsewhere,
            code => Self::Rejected(code),
        }
    }
}

/// The cause where a response waited for its caller for too long.
pub const CALLER_TOOK_NOTHING: &str = "the caller took nothing of the response (idle timeout)";

/// One request. Its texts stand together in a buffer, and its spans say where.
#[derive(Debug)]
pub struct Line {
    pub at: Timestamp,
    /// The client's address, as far as it can be believed.
    pub client: Span,
    /// `None`: what came was not HTTP.
    pub method: Option<Method>,
    pub request_id: Span,
    /// Empty: rejected before or by its parsing.
    pub host: Span,
    pub path: Span,
    /// Empty: not permitted to any.
    pub deployment: Span,
    /// `None`: no token was proven.
    pub token: Option<TokenUid>,
    /// It asked for the service's health, which takes no token and counts for nobody.
    pub probe: bool,
    /// `None`: the caller left before there was a response.
    pub status: Option<u16>,
    /// Stable code of the gateway's own response; empty where the response is the service's.
    pub reason: &'static str,
    /// Code of the refusal that the Deployment does not enforce yet. Empty: there is none.
    pub let_through: &'static str,
    /// Which of several causes the reason or the outcome has. Empty: there is one only, or nothing has failed.
    pub cause: Span,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// How long it waited until it was its turn. `None`: it did not wait.
    pub queued: Option<Duration>,
    /// From the request's head to the response's. `None`: no response.
    pub first_byte: Option<Duration>,
    /// How long upstreams were busy with it. `None`: it was not forwarded.
    pub upstream: Option<Duration>,
    pub total: Duration,
    pub metered: Metered,
    pub outcome: RequestOutcome,
}

impl Line {
    /// Whether the gateway has kept it from the service. What an upstream did not answer is no refusal, nor is that the caller
    /// has left.
    pub fn is_refusal(&self) -> bool {
        self.upstream.is_none() && self.status.is_some() && matches!(Answered::of(self.reason), Answered::Rejected(_))
    }

    /// Code of the refusal that was not enforced. `None`: there was none, or something else has refused the request.
    pub fn let_through(&self) -> Option<&'static str> {
        Some(self.let_through).filter(|code| !code.is_empty() && !self.is_refusal())
    }
}

/// What a response has said of its own cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metered {
    /// Of `text/event-stream`.
    pub events: u32,
    /// Tokens of a language model.
    pub prompt_tokens: u32,
    pub completion_tokens: u32,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestOutcome {
    Complete,
    /// The caller closed its connection, or reset its stream, before the response was whole.
    CallerLeft,
    /// The upstream broke off within its response.
    UpstreamCut,
    Timeout,
    /// The token's permission ended while it was used.
    TokenEnded,
    Drained,
    /// The downstream connection became a tunnel, and one of its sides closed it.
    Tunnel,
}

/// Where a field stands in the text of its line, bytes. Kept short: as long as no line is longer than 4 GiB it fits, and of
/// one that is, the field is left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    start: u32,
    end: u32,
}

impl Span {
    pub fn new(start: usize, end: usize) -> Self {
        match (u32::try_from(start), u32::try_from(end)) {
            (Ok(start), Ok(end)) => Self { start, end },
            _ => Self::default(),
        }
    }

    /// The field in the text of its line.
    pub fn of(self, text: &str) -> &str {
        text.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

impl RequestOutcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::CallerLeft => "caller_left",
            Self::UpstreamCut => "upstream_cut",
            Self::Timeout => "timeout",
            Self::TokenEnded => "token_ended",
            Self::Drained => "drained",
            Self::Tunnel => "tunnel_closed",
        }
    }
}

impl Default for Line {
    fn default() -> Self {
        Self {
            at: Timestamp::from_millis(0),
            client: Span::default(),
            method: None,
            request_id: Span::default(),
            host: Span::default(),
            path: Span::default(),
            deployment: Span::default(),
            token: None,
            probe: false,
            status: None,
            reason: "",
            let_through: "",
            cause: Span::default(),
            bytes_in: 0,
            bytes_out: 0,
            queued: None,
            first_byte: None,
            upstream: None,
            total: Duration::ZERO,
            metered: Metered::default(),
            outcome: RequestOutcome::CallerLeft,
        }
    }
}
