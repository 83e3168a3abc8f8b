//! The lines of `text/event-stream` (HTML § 9.2.5, "Parsing an event stream").

use memchr::memchr2;

use super::reported_usage::ReportedUsage;

/// The field whose value is what an event says.
const DATA: &[u8] = b"data";

#[derive(Debug, Default)]
pub struct EventStream {
    line: Line,
    /// The last line has ended with a carriage return: a line feed behind it ends no other.
    after_return: bool,
    /// The event has data: without, it is none.
    has_data: bool,
    count: u32,
}

/// How far a line is known.
#[derive(Clone, Copy, Debug)]
enum Line {
    /// So many of its bytes are the beginning of [`DATA`], and no others came.
    Begins(usize),
    /// Behind `data:`.
    Data,
    Other,
}

impl EventStream {
    /// Events that were complete.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The next bytes. The data of each event is a document for `usage`.
    pub fn read(&mut self, mut bytes: &[u8], mut usage: Option<&mut ReportedUsage>) {
        if std::mem::take(&mut self.after_return) {
            bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
        }
        while let Some(end) = memchr2(b'\n', b'\r', bytes) {
            self.read_line(&bytes[..end], usage.as_deref_mut());
            self.end_line(usage.as_deref_mut());
            let is_return = bytes[end] == b'\r';
            bytes = &bytes[end + 1..];
            if is_return {
                self.after_return = bytes.is_empty();
                bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
            }
        }
        self.read_line(bytes, usage);
    }

    /// A part of a line, or all of it.
    fn read_line(&mut self, mut bytes: &[u8], usage: Option<&mut ReportedUsage>) {
        while let Line::Begins(known) = self.line {
            let Some((first, rest)) = bytes.split_first() else { return };
            self.line = match DATA.get(known) {
                Some(expected) if first == expected => Line::Begins(known + 1),
                None if *first == b':' => Line::Data,
                _ => Line::Other,
            };
            bytes = rest;
        }
        if let (Line::Data, Some(usage)) = (self.line, usage) {
            usage.read(bytes);
        }
    }

    fn end_line(&mut self, usage: Option<&mut ReportedUsage>) {
        match std::mem::take(&mut self.line) {
            // Empty: the event ends.
            Line::Begins(0) => {
                self.count = self.count.saturating_add(u32::from(std::mem::take(&mut self.has_data)));
                if let Some(usage) = usage {
                    usage.begin_document();
                }
            }
            Line::Begins(known) => self.has_data |= known == DATA.len(),
            Line::Data => self.has_data = true,
            Line::Other => {}
        }
    }
}

impl Default for Line {
    fn default() -> Self {
        Self::Begins(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_counted_wherever_the_stream_is_cut() {
        for (stream, count) in [
            ("data: a\n\ndata: b\n\n", 2),
            ("data: a\r\n\r\ndata: b\r\n\r\n", 2),
            ("data: a\r\rdata: b\r\r", 2),
            ("data: a\ndata: b\n\n", 1),
            ("data\n\n", 1),
            ("data:\n\n", 1),
            (": ping\n\nevent: x\n\nid: 1\nretry: 5\n\n", 0),
            ("database: a\n\ndat: b\n\n data: c\n\n", 0),
            ("\n\n\n\r\n\r\n", 0),
            ("event: x\ndata: a\nid: 1\n\n", 1),
            // Not complete.
            ("data: a\n\ndata: b\n", 1),
            ("data: a\n\ndata: b", 1),
            ("", 0),
        ] {
            for piece in 1..=stream.len().max(1) {
                let mut events = EventStream::default();
                stream.as_bytes().chunks(piece).for_each(|piece| events.read(piece, None));
                assert_eq!(events.count(), count, "{piece}: {stream:?}");
            }
        }
    }
}
