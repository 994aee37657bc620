//! The relay's public URL through a TLS proxy: one that is trusted, one whose certificate ends soon, one that nobody trusts,
//! one that meddles.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::Command,
    sync::Arc,
};

use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use super::{Site, ask, command};

/// What a proxy does to a request's body.
type Meddle = fn(Vec<u8>) -> Vec<u8>;

fn openssl(folder: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A certificate for localhost by a CA of its own.
fn certificate(folder: &Path, days: u32) {
    let ec = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(folder, &format!("req -x509 {ec} -keyout ca.key -out ca.pem -days 90 -subj /CN=doctor-test-ca"));
    openssl(folder, &format!("req {ec} -keyout key.pem -out csr.pem -subj /CN=localhost"));
    fs::write(folder.join("san"), "subjectAltName=DNS:localhost\n").unwrap();
    openssl(
        folder,
        &format!(
            "x509 -req -in csr.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days {days} -extfile san -out cert.pem"
        ),
    );
}

/// The head and the whole body of one HTTP message.
fn message(stream: &mut impl Read) -> (String, Vec<u8>) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head
        .to_lowercase()
        .split("content-length: ")
        .nth(1)
        .and_then(|rest| rest.split("\r\n").next()?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    let _ = stream.read_exact(&mut body);
    (head, body)
}

/// A TLS proxy before the relay; its port.
fn proxy(folder: &Path, relay: String, meddle: Meddle) -> u16 {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let chain = vec![CertificateDer::from_pem_file(folder.join("cert.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).unwrap();
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
    let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").unwrap());
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut client = StreamOwned::new(connection, client.unwrap());
            let (head, body) = message(&mut client);
            // Who does not trust the certificate says nothing more.
            if head.is_empty() {
                continue;
            }
            let (body, mut relay) = (meddle(body), TcpStream::connect(&relay).unwrap());
            relay.write_all(&[head.as_bytes(), &body].concat()).unwrap();
            let (head, body) = message(&mut relay);
            let _ = client.write_all(&[head.as_bytes(), &body].concat());
            client.conn.send_close_notify();
            let _ = client.flush();
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn the_public_url_is_asked_as_github_asks_it() {
    let site = Site::start().await;
    let relay = site.binaries.relay.url.trim_start_matches("http://").to_owned();
    let look = async |days: u32, is_trusted: bool, meddle: Meddle| {
        let folder = tempfile::tempdir().unwrap();
        certificate(folder.path(), days);
        let port = proxy(folder.path(), relay.clone(), meddle);
        let url = format!("https://localhost:{port}/github-webhook");
        let mut command = command("relay", &site.relay(&[("--webhook-url", &url)]), &["--json"]);
        if is_trusted {
            command.env("SSL_CERT_FILE", folder.path().join("ca.pem"));
        }
        ask(command).await
    };
    let seen = look(60, true, |body| body).await;
    seen.is("ok", "public url", "certificate", "trusted, until 20", "");
    seen.is("ok", "public url", "signed ping", "every byte arrives", "");
    look(5, true, |body| body).await.warns("public url", "certificate", "it ends on 20", "renew it");
    look(60, false, |body| body).await.fails("public url", "signed ping", "certificate", "");
    // One that "repairs" line ends, for instance.
    let meddler: Meddle =
        |body| body.into_iter().map(|byte| if byte == b'K' { b'k' } else { byte }).collect();
    look(60, true, meddler).await.fails(
        "public url",
        "signed ping",
        "refuses a ping",
        "the proxy changes bodies",
    );
}
