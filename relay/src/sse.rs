//! Reads server-sent events (<https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream>),
//! as far as our own stream writes them. Pure.

use thiserror::Error;

/// The longest event that is kept in memory until it is complete.
const LONGEST: usize = 1024 * 1024;

/// An event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// Its name; `message` if it has none.
    pub event: String,
    /// Its data, lines joined.
    pub data: String,
}

/// An event that does not end.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("the stream sent an event of more than {LONGEST} bytes")]
pub struct TooLong;

/// What came of an event so far.
#[derive(Debug, Default)]
pub struct Reader {
    line: Vec<u8>,
    message: Message,
}

impl Reader {
    /// Takes the next bytes; the events that they complete.
    ///
    /// # Errors
    /// [`TooLong`].
    pub fn read(&mut self, bytes: &[u8]) -> Result<Vec<Message>, TooLong> {
        let mut complete = Vec::new();
        for &byte in bytes {
            if byte != b'\n' {
                self.line.push(byte);
                if self.line.len() + self.message.data.len() > LONGEST {
                    return Err(TooLong);
                }
                continue;
            }
            let line = std::mem::take(&mut self.line);
            let line = String::from_utf8_lossy(&line);
            complete.extend(self.line(line.trim_end_matches('\r')));
        }
        Ok(complete)
    }

    /// An empty line ends an event; one without data, such as a comment to keep the line alive, is none.
    fn line(&mut self, line: &str) -> Option<Message> {
        if line.is_empty() {
            let message = std::mem::take(&mut self.message);
            let event = if message.event.is_empty() { "message".to_owned() } else { message.event };
            return (!message.data.is_empty()).then_some(Message { event, ..message });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.message.event),
            "data" => {
                if !self.message.data.is_empty() {
                    self.message.data.push('\n');
                }
                self.message.data.push_str(value);
            }
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STREAM: &[u8] = b"event: hello\nid: 1\ndata: {\"a\":1}\n\n: still here\n\nevent:x\r\ndata:one\r\ndata: two\r\n\r\ndata: \xc3\xa4\n\n";

    fn expected() -> Vec<Message> {
        [("hello", "{\"a\":1}"), ("x", "one\ntwo"), ("message", "ä")]
            .map(|(event, data)| Message { event: event.to_owned(), data: data.to_owned() })
            .to_vec()
    }

    #[test]
    fn an_event_that_does_not_end_is_refused() {
        assert_eq!(Reader::default().read(&vec![b'x'; LONGEST + 1]), Err(TooLong));
    }

    proptest! {
        #[test]
        fn events_are_the_same_however_they_are_cut(cut in 0..STREAM.len()) {
            let mut reader = Reader::default();
            let mut read = reader.read(&STREAM[..cut]).unwrap();
            read.extend(reader.read(&STREAM[cut..]).unwrap());
            prop_assert_eq!(read, expected());
        }

        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Reader::default().read(&bytes);
        }
    }
}
