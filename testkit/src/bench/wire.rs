//! HTTP/1.1 over a kept TCP connection: one write per request and the least parsing of the answer.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// The largest answer that is taken; webhook receivers say a few words.
const LARGEST_ANSWER: usize = 64 * 1024;
const MOST_HEADERS: usize = 32;

/// One kept connection.
pub(super) struct Connection {
    address: SocketAddr,
    stream: Option<TcpStream>,
    answer: Vec<u8>,
    filled: usize,
}

impl Connection {
    /// Connects with the first request.
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { address, stream: None, answer: vec![0; LARGEST_ANSWER], filled: 0 }
    }

    /// Sends a request and reads the answer; its status.
    ///
    /// # Errors
    /// The connection broke, or the answer is not HTTP; the next call connects anew.
    pub(super) async fn exchange(&mut self, request: &[u8]) -> io::Result<u16> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(self.address).await?;
                stream.set_nodelay(true)?;
                stream
            }
        };
        stream.write_all(request).await?;
        self.filled = 0;
        let answer = loop {
            let read = stream.read(&mut self.answer[self.filled..]).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.filled += read;
            if let Some(answer) = parse(&self.answer[..self.filled])? {
                break answer;
            }
        };
        if answer.length != self.filled {
            return Err(malformed("more was answered than asked for"));
        }
        if !answer.close {
            self.stream = Some(stream);
        }
        Ok(answer.status)
    }

    /// The answer of the last exchange, for an error's text.
    pub(super) fn said(&self) -> String {
        String::from_utf8_lossy(&self.answer[..self.filled]).into_owned()
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    /// Of head and body together, in bytes.
    length: usize,
    close: bool,
}

/// The answer that starts `bytes`, once it is complete.
fn parse(bytes: &[u8]) -> io::Result<Option<Answer>> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut head = httparse::Response::new(&mut headers);
    let start = match head.parse(bytes).map_err(malformed)? {
        httparse::Status::Complete(length) => length,
        httparse::Status::Partial if bytes.len() == LARGEST_ANSWER => {
            return Err(malformed("the answer is too long"));
        }
        httparse::Status::Partial => return Ok(None),
    };
    let status = head.code.unwrap_or_default();
    let value = |name: &str| {
        head.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
    };
    let close = value("connection").is_some_and(|value| value.eq_ignore_ascii_case(b"close"));
    let body = if value("transfer-encoding").is_some() {
        chunked(&bytes[start..])?
    } else {
        let length =
            value("content-length").map_or(Some(0), |value| str::from_utf8(value).ok()?.parse().ok());
        let length: usize = length.ok_or_else(|| malformed("content-length is no number"))?;
        (bytes.len() - start >= length).then_some(length)
    };
    if body.is_none() && bytes.len() == LARGEST_ANSWER {
        return Err(malformed("the answer is too long"));
    }
    Ok(body.map(|body| Answer { status, length: start + body, close }))
}

/// Length of a chunked body without trailers, once its last chunk is there.
fn chunked(bytes: &[u8]) -> io::Result<Option<usize>> {
    let mut at = 0;
    loop {
        let size = httparse::parse_chunk_size(&bytes[at..]).map_err(|_| malformed("a chunk has no size"))?;
        let httparse::Status::Complete((line, size)) = size else { return Ok(None) };
        let size = usize::try_from(size).map_err(malformed)?;
        at += line + size + 2;
        if bytes.len() < at {
            return Ok(None);
        }
        if size == 0 {
            return Ok(Some(at));
        }
    }
}

fn malformed(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(text: &str) -> (u16, bool) {
        for cut in 0..text.len() {
            assert_eq!(parse(&text.as_bytes()[..cut]).unwrap(), None, "{cut}");
        }
        let answer = parse(text.as_bytes()).unwrap().unwrap();
        assert_eq!(answer.length, text.len());
        (answer.status, answer.close)
    }

    #[test]
    fn an_answer_ends_where_its_length_says() {
        assert_eq!(complete("HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\nok"), (202, false));
        assert_eq!(
            complete("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
            (503, true)
        );
    }

    #[test]
    fn a_chunked_answer_ends_with_its_last_chunk() {
        let text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nok\n\r\n0\r\n\r\n";
        assert_eq!(complete(text), (200, false));
    }

    #[test]
    fn nonsense_is_an_error() {
        assert!(parse(b"hello\r\n\r\n").is_err());
        assert!(parse(b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n").is_err());
    }
}
