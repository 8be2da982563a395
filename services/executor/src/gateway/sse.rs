//! The text of Server-Sent Events, as far as commands need it: `event`, `data` and comments.

/// Longest event in bytes; a longer one is dropped, the stream goes on.
const EVENT_BYTES_MAX: usize = 2 * 1024 * 1024;

/// One event.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SseEvent {
    pub(super) name: String,
    pub(super) data: String,
}

/// Puts events together from chunks of bytes.
#[derive(Default)]
pub(super) struct SseReader {
    line: Vec<u8>,
    event: SseEvent,
    has_data: bool,
    too_long: bool,
    after_return: bool,
}

impl SseReader {
    /// Takes the next bytes; the events that they complete.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Vec<SseEvent> {
        let mut events = Vec::new();
        for byte in bytes {
            let after_return = std::mem::replace(&mut self.after_return, *byte == b'\r');
            match byte {
                // The second half of a line break.
                b'\n' if after_return => {}
                b'\n' | b'\r' => events.extend(self.end_line()),
                _ if self.line.len() + self.event.data.len() < EVENT_BYTES_MAX => self.line.push(*byte),
                _ => self.too_long = true,
            }
        }
        events
    }

    fn end_line(&mut self) -> Option<SseEvent> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            let (has_data, too_long) = (std::mem::take(&mut self.has_data), std::mem::take(&mut self.too_long));
            return (has_data && !too_long).then_some(event);
        }
        let line = String::from_utf8_lossy(&line);
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => self.event.name = value.to_owned(),
            "data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
            }
            // An empty field is a comment; the rest is of no use here.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_out_however_the_bytes_are_cut() {
        let text =
            ": heartbeat\n\nevent: command\ndata: {\"a\":1}\n\nretry: 5\r\ndata:x\r\ndata: y\r\n\r\nevent: none\n\ndata: z\n\n";
        let expected = [("command", "{\"a\":1}"), ("", "x\ny"), ("", "z")];
        for size in [1, 2, 3, 7, 1000] {
            let mut reader = SseReader::default();
            let events: Vec<_> = text.as_bytes().chunks(size).flat_map(|chunk| reader.feed(chunk)).collect();
            let events: Vec<_> = events.iter().map(|event| (event.name.as_str(), event.data.as_str())).collect();
            assert_eq!(events, expected, "in chunks of {size}");
        }
    }

    #[test]
    fn an_event_too_long_is_dropped_and_the_next_comes() {
        let mut reader = SseReader::default();
        let long = format!("data: {}\n\ndata: next\n\n", "x".repeat(EVENT_BYTES_MAX + 1));
        let events = reader.feed(long.as_bytes());
        assert_eq!(events.iter().map(|event| event.data.as_str()).collect::<Vec<_>>(), ["next"]);
    }
}
