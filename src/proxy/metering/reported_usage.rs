//! The tokens that an answer in JSON says it has cost, as OpenAI and those who are compatible with it write them:
//! `usage.prompt_tokens` and `usage.completion_tokens`, or `input_tokens` and `output_tokens`; `usage` stands in the document
//! itself, or in its `response` or `message`.
//!
//! The text is not checked: what is no JSON has no usage, or one that means nothing.

use memchr::memchr2;

/// Longest name that is looked for.
const LONGEST: usize = "completion_tokens".len();

/// What a model has read and written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    pub prompt: u32,
    pub completion: u32,
}

#[derive(Debug, Default)]
pub struct ReportedUsage {
    /// What was said last.
    tokens: Tokens,
    place: Place,
    /// Objects and arrays around here that are of no interest.
    skipped: u32,
    text: Text,
    /// The name before the value that comes.
    name: Name,
    /// A value comes, or is here, and not a name.
    in_value: bool,
    /// The value so far. `None`: it is no whole number.
    number: Option<u64>,
}

/// The object that is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Outside,
    Document,
    /// `response` or `message` of the document.
    Part,
    /// `usage` of the document.
    Usage,
    /// `usage` of a part.
    UsageOfPart,
}

/// The string that is read, or was read last.
#[derive(Debug, Default)]
struct Text {
    is_open: bool,
    is_escaped: bool,
    start: [u8; LONGEST],
    /// Of all of it, bytes.
    length: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Name {
    #[default]
    Other,
    Usage,
    Part,
    Prompt,
    Completion,
}

impl ReportedUsage {
    /// What was said last; zero where nothing was.
    pub fn tokens(&self) -> Tokens {
        self.tokens
    }

    /// What comes is a document of its own. What was said before stays until it says otherwise.
    pub fn begin_document(&mut self) {
        *self = Self { tokens: self.tokens, ..Self::default() };
    }

    /// The next bytes of the document.
    pub fn read(&mut self, mut bytes: &[u8]) {
        while let Some((byte, rest)) = bytes.split_first() {
            if !self.text.is_open {
                self.read_mark(*byte);
                bytes = rest;
                continue;
            }
            bytes = self.text.read(bytes);
            if !self.text.is_open && !self.in_value && self.skipped == 0 {
                self.name = self.text.name();
            }
        }
    }

    /// Outside of strings.
    fn read_mark(&mut self, byte: u8) {
        match byte {
            b'"' => {
                self.number = None;
                self.text.open();
            }
            b'{' => self.open(true),
            b'[' => self.open(false),
            b'}' | b']' => self.close(),
            b':' if self.skipped == 0 => (self.in_value, self.number) = (true, Some(0)),
            b',' if self.skipped == 0 => {
                self.end_value();
                self.in_value = false;
            }
            b'0'..=b'9' => {
                let digit = u64::from(byte - b'0');
                self.number = self.number.and_then(|number| number.checked_mul(10)?.checked_add(digit));
            }
            b' ' | b'\t' | b'\r' | b'\n' => {}
            _ => self.number = None,
        }
    }

    fn open(&mut self, is_object: bool) {
        self.number = None;
        let place = match (self.place, self.name) {
            _ if self.skipped > 0 || !is_object => None,
            (Place::Outside, _) => Some(Place::Document),
            (Place::Document, Name::Usage) => Some(Place::Usage),
            (Place::Document, Name::Part) => Some(Place::Part),
            (Place::Part, Name::Usage) => Some(Place::UsageOfPart),
            _ => None,
        };
        match place {
            Some(place) => (self.place, self.name, self.in_value) = (place, Name::Other, false),
            None => self.skipped = self.skipped.saturating_add(1),
        }
    }

    fn close(&mut self) {
        if self.skipped > 0 {
            self.skipped -= 1;
            return;
        }
        self.end_value();
        self.place = match self.place {
            Place::Outside | Place::Document => Place::Outside,
            Place::Part | Place::Usage => Place::Document,
            Place::UsageOfPart => Place::Part,
        };
        (self.name, self.in_value) = (Name::Other, true);
    }

    /// A number that does not fit is not believed.
    fn end_value(&mut self) {
        let in_usage = matches!(self.place, Place::Usage | Place::UsageOfPart);
        let Some(number) = self.number.take().filter(|_| in_usage).and_then(|number| u32::try_from(number).ok()) else {
            return;
        };
        match self.name {
            Name::Prompt => self.tokens.prompt = number,
            Name::Completion => self.tokens.completion = number,
            Name::Other | Name::Usage | Name::Part => {}
        }
    }
}

impl Text {
    fn open(&mut self) {
        (self.is_open, self.is_escaped, self.length) = (true, false, 0);
    }

    /// What is behind the part that was read: at least one byte was.
    fn read<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        if std::mem::take(&mut self.is_escaped) {
            self.push(&bytes[..1]);
            return &bytes[1..];
        }
        let Some(end) = memchr2(b'"', b'\\', bytes) else {
            self.push(bytes);
            return &[];
        };
        self.is_escaped = bytes[end] == b'\\';
        self.is_open = self.is_escaped;
        // An escape is a part of the name: none that is looked for has one.
        self.push(&bytes[..end + usize::from(self.is_escaped)]);
        &bytes[end + 1..]
    }

    fn push(&mut self, more: &[u8]) {
        if let Some(room) = self.start.get_mut(self.length..) {
            let fits = room.len().min(more.len());
            room[..fits].copy_from_slice(&more[..fits]);
        }
        self.length = self.length.saturating_add(more.len());
    }

    fn name(&self) -> Name {
        match self.start.get(..self.length) {
            Some(b"usage") => Name::Usage,
            Some(b"response" | b"message") => Name::Part,
            Some(b"prompt_tokens" | b"input_tokens") => Name::Prompt,
            Some(b"completion_tokens" | b"output_tokens") => Name::Completion,
            _ => Name::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn read(document: &[u8], piece: usize) -> (u32, u32) {
        let mut usage = ReportedUsage::default();
        document.chunks(piece).for_each(|piece| usage.read(piece));
        (usage.tokens().prompt, usage.tokens().completion)
    }

    #[test]
    fn only_the_usage_of_the_answer_counts() {
        for (document, expected) in [
            (r#"{"usage":{"prompt_tokens":9,"completion_tokens":12,"total_tokens":21}}"#, (9, 12)),
            (r#"{ "usage" : { "completion_tokens" : 12 , "prompt_tokens" : 9 } , "id": 1 }"#, (9, 12)),
            (r#"{"data":[[0.5,-1e3,{"usage":{"prompt_tokens":1}}]],"usage":{"prompt_tokens":9}}"#, (9, 0)),
            (r#"{"a":{"b":[]},"response":{"x":{},"usage":{"input_tokens":1,"output_tokens":2},"y":3}}"#, (1, 2)),
            (r#"{"message":{"usage":{"input_tokens":25,"output_tokens":1}}}"#, (25, 1)),
            (r#"{"usage":{"details":{"prompt_tokens":7},"prompt_tokens":3}}"#, (3, 0)),
            // What a caller or a model wrote is within strings, or elsewhere.
            (r#"{"text":"{\"usage\":{\"prompt_tokens\":9}}","choices":{"usage":{"prompt_tokens":9}}}"#, (0, 0)),
            (r#"{"prompt_tokens":9,"usage":null,"other":{"prompt_tokens":9}}"#, (0, 0)),
            (r#"{"usage":[{"prompt_tokens":9}],"usage2":{"prompt_tokens":9}}"#, (0, 0)),
            (r#"[{"usage":{"prompt_tokens":9}}]"#, (0, 0)),
            (r#"{"\u0075sage":{"prompt_tokens":9},"us\age":{"prompt_tokens":9}}"#, (0, 0)),
            // No whole numbers, or none that anybody believes.
            (r#"{"usage":{"prompt_tokens":"9","completion_tokens":null}}"#, (0, 0)),
            (r#"{"usage":{"prompt_tokens":-9,"completion_tokens":1.5}}"#, (0, 0)),
            (r#"{"usage":{"prompt_tokens":4294967296,"completion_tokens":99999999999999999999999}}"#, (0, 0)),
            (r#"{"usage":{"prompt_tokens":4294967295,"completion_tokens":0}}"#, (u32::MAX, 0)),
            // It ends in the middle.
            (r#"{"usage":{"prompt_tokens":9,"completion_tokens":1"#, (9, 0)),
            ("", (0, 0)),
        ] {
            for piece in 1..=document.len().max(1) {
                assert_eq!(read(document.as_bytes(), piece), expected, "{piece}: {document}");
            }
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let name = prop_oneof![
            Just("usage".to_owned()),
            Just("response".to_owned()),
            Just("prompt_tokens".to_owned()),
            Just("output_tokens".to_owned()),
            any::<String>(),
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (0..50_u32).prop_map(Value::from),
            any::<f64>().prop_map(|number| json!(number)),
            name.clone().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 5, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map(name.clone(), inner, 0..5).prop_map(|members| json!(members)),
            ]
        })
    }

    /// The same by a parser of the whole document.
    fn expected(document: &Value) -> (u32, u32) {
        let mut tokens = (0, 0);
        let mut take = |usage: &Value| {
            for (name, value) in usage.as_object().into_iter().flatten() {
                let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
                match (name.as_str(), number) {
                    ("prompt_tokens", Some(number)) => tokens.0 = number,
                    ("output_tokens", Some(number)) => tokens.1 = number,
                    _ => {}
                }
            }
        };
        for (name, value) in document.as_object().into_iter().flatten() {
            match name.as_str() {
                "usage" => take(value),
                "response" => take(&value["usage"]),
                _ => {}
            }
        }
        tokens
    }

    proptest! {
        #[test]
        fn it_reads_what_a_parser_reads(document in any_json(), piece in 1..40_usize, pretty: bool) {
            let text = if pretty { serde_json::to_string_pretty(&document) } else { serde_json::to_string(&document) };
            prop_assert_eq!(read(text.unwrap().as_bytes(), piece), expected(&document));
        }

        #[test]
        fn nothing_stops_it(bytes: Vec<u8>, piece in 1..40_usize) {
            read(&bytes, piece);
        }
    }
}
