//! Requests as GitHub sends them, each different from all before it. A request is made once and then patched in
//! place: the signature's state over what stays the same is kept, so that signing costs a block or two.

use std::{fs, path::Path};

use anyhow::{Context, bail};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::webhook::{ContentType, Delivery};

/// What tells one body from another: hexadecimal digits at the end of the JSON object.
const NONCE: usize = 16;
const UUID: usize = 36;
const DIGEST: usize = 64;

/// A request whose id, nonce and signature are set anew each time. Its clones are independent of it.
#[derive(Clone)]
pub(super) struct Template {
    request: Vec<u8>,
    id: usize,
    signature: usize,
    nonce: usize,
    /// Over the body up to the nonce.
    signed: Hmac<Sha256>,
}

impl Template {
    /// Of an event whose JSON body is `body`, to `POST path`.
    pub(super) fn new(event: &str, body: &str, path: &str, secret: &str) -> anyhow::Result<Self> {
        let Some(open) = body.trim_end().strip_suffix('}') else {
            bail!("the example of {event} is no object")
        };
        let start = format!("{open},\"nonce\":\"");
        let body = format!("{start}{}\"}}", "0".repeat(NONCE));
        let placeholder = "0".repeat(UUID);
        let delivery = Delivery {
            id: placeholder.clone(),
            event: event.to_owned(),
            body: body.into_bytes(),
            content_type: ContentType::Json,
        };
        let request = request(&delivery, path, secret);
        let head = str::from_utf8(&request[..request.len() - delivery.body.len()])?;
        let id = head.find(&placeholder).context("the request has no delivery id")?;
        let signature = head.find("sha256=").context("the request has no signature")? + "sha256=".len();
        let nonce = head.len() + start.len();
        let mut signed = Hmac::<Sha256>::new_from_slice(secret.as_bytes())?;
        signed.update(start.as_bytes());
        Ok(Self { request, id, signature, nonce, signed })
    }

    /// The next request, signed.
    pub(super) fn next(&mut self) -> &[u8] {
        let id = uuid::Builder::from_random_bytes(fastrand::u128(..).to_ne_bytes()).into_uuid();
        id.hyphenated().encode_lower(&mut self.request[self.id..self.id + UUID]);
        let nonce = fastrand::u64(..).to_be_bytes();
        // The place has the length that is written, so this cannot fail.
        let _ = hex::encode_to_slice(nonce, &mut self.request[self.nonce..self.nonce + NONCE]);
        let mut signed = self.signed.clone();
        signed.update(&self.request[self.nonce..]);
        let digest = signed.finalize().into_bytes();
        let _ = hex::encode_to_slice(digest, &mut self.request[self.signature..self.signature + DIGEST]);
        &self.request
    }

    /// The next request with a signature that is wrong.
    pub(super) fn forged(&mut self) -> &[u8] {
        self.next();
        let digit = &mut self.request[self.signature];
        *digit = if *digit == b'0' { b'1' } else { b'0' };
        &self.request
    }

    /// Length of the body in bytes.
    pub(super) fn body_len(&self) -> usize {
        self.request.len() - self.body_start()
    }

    fn body_start(&self) -> usize {
        self.request.windows(4).position(|four| four == b"\r\n\r\n").map_or(0, |at| at + 4)
    }
}

/// A delivery as bytes of HTTP/1.1.
pub(super) fn request(delivery: &Delivery, path: &str, secret: &str) -> Vec<u8> {
    let mut head = format!("POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n");
    for (name, value) in delivery.headers(secret) {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("content-length: {}\r\n\r\n", delivery.body.len()));
    [head.as_bytes(), &delivery.body].concat()
}

/// The first `push` and `pull_request` examples of `@octokit/webhooks-examples`, as the script wrote them down.
pub(super) fn examples(tools: &Path, path: &str) -> anyhow::Result<Vec<Template>> {
    ["push", "pull_request"]
        .into_iter()
        .map(|event| {
            let file = tools.join(format!("{event}.json"));
            let body = fs::read_to_string(&file)
                .with_context(|| format!("cannot read {}; scripts/bench.sh makes it", file.display()))?;
            Template::new(event, &body, path, super::WEBHOOK_SECRET)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webhook::sign;

    fn parts(request: &[u8]) -> (String, Vec<u8>) {
        let at = request.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        (String::from_utf8(request[..at].to_vec()).unwrap(), request[at..].to_vec())
    }

    fn header(head: &str, name: &str) -> String {
        let prefix = format!("{name}: ");
        head.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap().to_owned()
    }

    #[test]
    fn every_request_is_another_one_and_signed() {
        let mut template =
            Template::new("push", r#"{"ref":"refs/heads/main"}"#, "/hook", "a-secret-of-the-test").unwrap();
        let (mut ids, mut bodies) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let (head, body) = parts(template.next());
            assert!(head.starts_with("POST /hook HTTP/1.1\r\n"), "{head}");
            assert_eq!(header(&head, "x-hub-signature-256"), sign("a-secret-of-the-test", &body));
            assert_eq!(header(&head, "content-length"), body.len().to_string());
            let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(json["ref"], "refs/heads/main");
            ids.push(header(&head, "x-github-delivery"));
            bodies.push(body);
        }
        assert!(ids[0] != ids[1] && ids[1] != ids[2] && bodies[0] != bodies[1] && bodies[1] != bodies[2]);
        assert_eq!(ids[0].len(), 36);
    }

    #[test]
    fn a_forged_request_differs_in_its_signature_alone() {
        let mut template = Template::new("push", "{\"a\":1}", "/", "a-secret-of-the-test").unwrap();
        let (head, body) = parts(template.forged());
        assert_ne!(header(&head, "x-hub-signature-256"), sign("a-secret-of-the-test", &body));
    }
}
