//! Readers of HTTP/1.1 requests, as servers are known to be: each lenient in a way of its own. On what RFC 9112 allows,
//! all of them agree; so where two differ, what the gateway wrote can be read in two ways.

/// What one reader makes of the bytes of a connection.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reading {
    pub requests: Vec<Seen>,
    pub rest: Rest,
}

/// What is behind the last whole request.
#[derive(Debug, Default, PartialEq, Eq)]
pub enum Rest {
    #[default]
    Nothing,
    /// A request that is not complete; as far as it was read, if its head is whole.
    Partial(Option<Seen>),
    /// What is no request to this reader.
    Nonsense(&'static str),
}

/// A request as a reader sees it. Names are in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub method: String,
    pub target: String,
    pub fields: Vec<(String, String)>,
    pub body: String,
    pub trailers: Vec<(String, String)>,
}

/// How a reader reads what is not as it should be.
#[derive(Clone, Copy)]
pub struct Reader {
    pub name: &'static str,
    /// What ends a line besides CRLF.
    line_ends: &'static [u8],
    /// A line that begins with a blank goes on with the one before. Otherwise it is a field of its own.
    joins_folds: bool,
    trims_names: bool,
    ends_values_at_nul: bool,
    /// Underscores and dots are hyphens.
    knows_cgi_names: bool,
    is_chunked: fn(&[&str]) -> bool,
    /// Of several fields the last one counts.
    last_length: bool,
    length: fn(&str) -> Option<usize>,
    /// Where both framings are there, the length counts.
    prefers_length: bool,
    chunk_size: fn(&str) -> Option<usize>,
}

pub const STRICT: Reader = Reader {
    name: "strict",
    line_ends: b"",
    joins_folds: false,
    trims_names: false,
    ends_values_at_nul: false,
    knows_cgi_names: false,
    is_chunked: |codings| matches!(codings, [coding] if coding.eq_ignore_ascii_case("chunked")),
    last_length: false,
    length: |text| digits(text, 10),
    prefers_length: false,
    chunk_size: |text| digits(text, 16),
};

pub const READERS: &[Reader] = &[
    STRICT,
    Reader { name: "a line feed ends a line", line_ends: b"\n", ..STRICT },
    Reader { name: "a carriage return ends a line", line_ends: b"\r\n", ..STRICT },
    Reader { name: "folds are joined", joins_folds: true, ..STRICT },
    Reader { name: "names are trimmed", trims_names: true, ..STRICT },
    Reader { name: "NUL ends a value", ends_values_at_nul: true, ..STRICT },
    Reader { name: "CGI's names", knows_cgi_names: true, ..STRICT },
    Reader { name: "the last coding counts", is_chunked: last_coding, ..STRICT },
    Reader { name: "any coding counts", is_chunked: any_coding, ..STRICT },
    Reader {
        name: "part of a coding counts",
        is_chunked: |all| all.iter().any(|one| one.contains("chunked")),
        ..STRICT
    },
    Reader { name: "the last length counts", last_length: true, ..STRICT },
    Reader { name: "the first of a list of lengths counts", length: |text| digits(first(text), 10), ..STRICT },
    Reader { name: "lengths as C reads them", length: |text| c_number(text, 10), ..STRICT },
    Reader { name: "lengths as C guesses their base", length: |text| c_number(text, 0), ..STRICT },
    Reader { name: "a length comes before a coding", prefers_length: true, ..STRICT },
    Reader { name: "chunks as C reads them", chunk_size: |text| c_number(text, 16), ..STRICT },
    Reader {
        name: "everything at once",
        line_ends: b"\r\n",
        joins_folds: true,
        trims_names: true,
        ends_values_at_nul: true,
        knows_cgi_names: true,
        is_chunked: any_coding,
        last_length: true,
        length: |text| c_number(text, 0),
        prefers_length: true,
        chunk_size: |text| c_number(text, 16),
    },
];

fn digits(text: &str, radix: u32) -> Option<usize> {
    text.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| usize::from_str_radix(text, radix).ok())?
}

/// `strtoul`: blanks and a sign before, a prefix, and whatever behind. A base of 0 is told by the prefix.
fn c_number(text: &str, base: u32) -> Option<usize> {
    let text = text.trim_start().trim_start_matches(['+', '-']).to_ascii_lowercase();
    let (text, base) = match (text.strip_prefix("0x"), base) {
        (Some(hex), 0 | 16) => (hex, 16),
        (_, 0) if text.starts_with('0') => (&*text, 8),
        (_, base) => (&*text, if base == 0 { 10 } else { base }),
    };
    let end = text.find(|digit: char| !digit.is_digit(base)).unwrap_or(text.len());
    Some(usize::from_str_radix(&text[..end], base).unwrap_or(0))
}

fn first(list: &str) -> &str {
    list.split(',').next().unwrap_or_default().trim()
}

fn any_coding(codings: &[&str]) -> bool {
    codings.iter().flat_map(|codings| codings.split(',')).any(|coding| coding.trim().eq_ignore_ascii_case("chunked"))
}

fn last_coding(codings: &[&str]) -> bool {
    let last = codings.last().and_then(|codings| codings.rsplit(',').next());
    last.is_some_and(|coding| coding.trim().eq_ignore_ascii_case("chunked"))
}

/// Why there is no further request to be read.
enum Stop {
    End,
    Partial(Option<Seen>),
    Nonsense(&'static str),
}

impl Reader {
    /// All requests of a connection.
    pub fn read(&self, bytes: &[u8]) -> Reading {
        let (mut reading, mut bytes) = (Reading::default(), bytes);
        loop {
            reading.rest = match self.request(&mut bytes) {
                Ok(request) => {
                    reading.requests.push(request);
                    continue;
                }
                Err(Stop::End) => Rest::Nothing,
                Err(Stop::Partial(seen)) => Rest::Partial(seen),
                Err(Stop::Nonsense(why)) => Rest::Nonsense(why),
            };
            return reading;
        }
    }

    fn request(&self, bytes: &mut &[u8]) -> Result<Seen, Stop> {
        if bytes.is_empty() {
            return Err(Stop::End);
        }
        let line = self.line(bytes).ok_or(Stop::Partial(None))?;
        let mut words = line.split(' ');
        let (Some(method), Some(target), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(Stop::Nonsense("a request line is not three words"));
        };
        if !version.starts_with("HTTP/1.") {
            return Err(Stop::Nonsense("a request line has no version"));
        }
        let fields = self.fields(bytes).ok_or(Stop::Partial(None))?;
        let mut seen = Seen { method: method.to_owned(), target: target.to_owned(), fields, ..Seen::default() };
        match self.body(&mut seen, bytes) {
            Ok(true) => Ok(seen),
            Ok(false) => Err(Stop::Partial(Some(seen))),
            Err(why) => Err(Stop::Nonsense(why)),
        }
    }

    /// `false`: it is not complete.
    fn body(&self, seen: &mut Seen, bytes: &mut &[u8]) -> Result<bool, &'static str> {
        let codings = seen.all("transfer-encoding");
        let lengths = seen.all("content-length");
        let length = if self.last_length { lengths.last() } else { lengths.first() }.copied();
        if (self.is_chunked)(&codings) && !(self.prefers_length && length.is_some()) {
            return self.chunks(seen, bytes);
        }
        let Some(length) = length else { return Ok(true) };
        let length = (self.length)(length).ok_or("a length is no number")?;
        let Some((body, behind)) = bytes.split_at_checked(length) else { return Ok(false) };
        (seen.body, *bytes) = (text(body), behind);
        Ok(true)
    }

    fn chunks(&self, seen: &mut Seen, bytes: &mut &[u8]) -> Result<bool, &'static str> {
        loop {
            let Some(line) = self.line(bytes) else { return Ok(false) };
            let size = line.split(';').next().unwrap_or_default();
            let size = (self.chunk_size)(size).ok_or("a chunk's size is no number")?;
            if size == 0 {
                let trailers = self.fields(bytes);
                seen.trailers = trailers.clone().unwrap_or_default();
                return Ok(trailers.is_some());
            }
            let Some((data, behind)) = bytes.split_at_checked(size) else { return Ok(false) };
            seen.body.push_str(&text(data));
            *bytes = behind;
            match self.line(bytes) {
                Some(end) if end.is_empty() => {}
                Some(_) => return Err("a chunk is longer than its size"),
                None => return Ok(false),
            }
        }
    }

    /// Up to and with the empty line. `None`: it has not come.
    fn fields(&self, bytes: &mut &[u8]) -> Option<Vec<(String, String)>> {
        let mut fields: Vec<(String, String)> = Vec::new();
        loop {
            let line = self.line(bytes)?;
            if line.is_empty() {
                return Some(fields);
            }
            match fields.last_mut().filter(|_| self.joins_folds && line.starts_with([' ', '\t'])) {
                Some((_, value)) => value.push_str(line.trim()),
                None => {
                    let (name, value) = line.split_once(':').unwrap_or((&line, ""));
                    fields.push((self.field_name(name), self.field_value(value)));
                }
            }
        }
    }

    fn field_name(&self, name: &str) -> String {
        let name = if self.trims_names { name.trim() } else { name }.to_ascii_lowercase();
        if self.knows_cgi_names { name.replace(['_', '.'], "-") } else { name }
    }

    fn field_value(&self, value: &str) -> String {
        let value = value.split(|byte| self.ends_values_at_nul && byte == '\0').next().unwrap_or_default();
        value.trim_matches([' ', '\t']).to_owned()
    }

    /// The next line without its end. `None`: its end has not come.
    fn line(&self, bytes: &mut &[u8]) -> Option<String> {
        let is_end = |at: usize| bytes[at..].starts_with(b"\r\n") || self.line_ends.contains(&bytes[at]);
        let end = (0..bytes.len()).find(|&at| is_end(at))?;
        let line = text(&bytes[..end]);
        *bytes = &bytes[end + if bytes[end..].starts_with(b"\r\n") { 2 } else { 1 }..];
        Some(line)
    }
}

impl Seen {
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.fields.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect()
    }
}

/// Each byte as one character, so that nothing is lost.
pub fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}
