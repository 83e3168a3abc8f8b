//! What a response says of its own cost, read as it passes: the events of a stream, and the tokens of a language model.
//!
//! Nothing is held back and nothing is kept: each reader is a state machine of a few bytes.

mod event_stream;
mod reported_usage;

use http::{HeaderMap, header};

use self::{event_stream::EventStream, reported_usage::ReportedUsage};
use crate::telemetry::line::Metered;

/// Reads one response.
#[derive(Debug)]
pub struct Meter {
    /// `None`: it is no stream of events.
    events: Option<EventStream>,
    /// `None`: nobody wants to know.
    usage: Option<ReportedUsage>,
}

impl Meter {
    /// `counts_tokens`: whether tokens of language models are looked for. `None`: the response has nothing to count.
    pub fn of(headers: &HeaderMap, counts_tokens: bool) -> Option<Box<Self>> {
        let kind = headers.get(header::CONTENT_TYPE)?.as_bytes();
        let is = |name: &[u8]| {
            let rest = kind.get(name.len()..).filter(|_| kind[..name.len()].eq_ignore_ascii_case(name));
            rest.is_some_and(|rest| matches!(rest.first(), None | Some(b';' | b' ' | b'\t')))
        };
        let events = is(b"text/event-stream");
        if !(events || counts_tokens && is(b"application/json")) || headers.contains_key(header::CONTENT_ENCODING) {
            return None;
        }
        let (events, usage) = (events.then(EventStream::default), counts_tokens.then(ReportedUsage::default));
        Some(Box::new(Self { events, usage }))
    }

    /// The next bytes of the body.
    pub fn read(&mut self, data: &[u8]) {
        match (&mut self.events, &mut self.usage) {
            (Some(events), usage) => events.read(data, usage.as_mut()),
            (None, Some(usage)) => usage.read(data),
            (None, None) => {}
        }
    }

    pub fn metered(&self) -> Metered {
        let tokens = self.usage.as_ref().map(ReportedUsage::tokens).unwrap_or_default();
        Metered {
            events: self.events.as_ref().map_or(0, EventStream::count),
            prompt_tokens: tokens.prompt,
            completion_tokens: tokens.completion,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metered(kind: &str, counts_tokens: bool, body: &str, piece: usize) -> Option<Metered> {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, kind.parse().unwrap())]);
        let mut meter = Meter::of(&headers, counts_tokens)?;
        body.as_bytes().chunks(piece).for_each(|piece| meter.read(piece));
        Some(meter.metered())
    }

    fn tokens(prompt_tokens: u32, completion_tokens: u32) -> Option<Metered> {
        Some(Metered { events: 0, prompt_tokens, completion_tokens })
    }

    #[test]
    fn what_is_read_of_what() {
        let body = r#"{"usage": {"prompt_tokens": 3, "completion_tokens": 4}}"#;
        assert_eq!(metered("application/json", true, body, 5), tokens(3, 4));
        assert_eq!(metered("Application/JSON; charset=utf-8", true, body, 5), tokens(3, 4));
        assert_eq!(metered("application/json", false, body, 5), None);
        assert_eq!(metered("application/jsonl", true, body, 5), None);
        assert_eq!(metered("text/plain", true, body, 5), None);
        assert_eq!(metered("text/event-stream", false, "data: 1\n\ndata: 2\n\n", 3).unwrap().events, 2);
        let mut headers = HeaderMap::from_iter([(header::CONTENT_TYPE, "application/json".parse().unwrap())]);
        headers.insert(header::CONTENT_ENCODING, "gzip".parse().unwrap());
        assert!(Meter::of(&headers, true).is_none(), "nobody can read it");
        assert!(Meter::of(&HeaderMap::new(), true).is_none());
    }

    /// As vLLM, OpenAI and Anthropic send them; cut anywhere.
    #[test]
    fn streams_say_their_usage_at_the_end_or_all_along() {
        let chat = "data: {\"id\":\"1\",\"choices\":[{\"delta\":{\"content\":\"usage\\\": {\"}}],\"usage\":null}\n\n\
                    data: {\"id\":\"1\",\"choices\":[],\"usage\":{\"prompt_tokens\":12,\"total_tokens\":19,\
                    \"completion_tokens\":7,\"prompt_tokens_details\":{\"completion_tokens\":99}}}\n\ndata: [DONE]\n\n";
        let continuous = "data: {\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":1}}\r\n\r\n: ping\r\n\r\n\
                          data: {\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":2}}\r\n\r\n";
        let responses = "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"output\":[],\
                         \"usage\":{\"input_tokens\":5,\"output_tokens\":6}}}\n\n";
        let messages = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":\
                        {\"input_tokens\":25,\"output_tokens\":1}}}\n\nevent: message_delta\ndata: {\"type\":\
                        \"message_delta\",\"usage\":{\"output_tokens\":15}}\n\n";
        for (stream, events, prompt_tokens, completion_tokens) in
            [(chat, 3, 12, 7), (continuous, 2, 12, 2), (responses, 1, 5, 6), (messages, 2, 25, 15)]
        {
            for piece in [1, 2, 7, 64, stream.len()] {
                let expected = Metered { events, prompt_tokens, completion_tokens };
                assert_eq!(metered("text/event-stream", true, stream, piece), Some(expected), "{piece}: {stream}");
            }
        }
    }
}
