//! Mails through a real SMTP server: what it gets, how its refusals are taken, and that a password goes to
//! the right server only, encrypted, out of a file that nobody else could have read or written.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use shipbell::model::catalog::{Mail as MailSettings, MailTls, Transport};

use crate::{Post, files, holds};

/// aiosmtpd, a real SMTP server; ends with the test.
pub struct Sink {
    server: Child,
    pub port: u16,
    pub out: tempfile::TempDir,
}

impl Sink {
    pub fn new(more: &[&Path]) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/web/smtp-sink.py");
        let out = tempfile::tempdir().unwrap();
        let mut command = Command::new("/usr/bin/python3");
        command
            .arg(script)
            .arg(out.path())
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut server = command.spawn().expect("python3 is needed: apt-get install python3-aiosmtpd");
        let mut line = String::new();
        let mut reader = std::io::BufReader::new(server.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut reader, &mut line).unwrap();
        let port = line.trim().parse().expect("aiosmtpd is needed: apt-get install python3-aiosmtpd");
        Self { server, port, out }
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.out.path().join(name)).unwrap()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[tokio::test]
async fn a_real_server_gets_the_mail_and_its_refusals_are_understood() {
    let sink = Sink::new(&[]);
    let port = sink.port;
    let by_smtp = move |mail: &mut MailSettings| {
        (mail.transport, mail.tls, mail.host, mail.port) = (Transport::Smtp, MailTls::None, "127.0.0.1".into(), port);
    };
    let post = Post::new(by_smtp).await;
    post.send(1, post.approval(), "anna@example.org").await.unwrap();
    assert_eq!(sink.read("001.env"), "from=shipbell@example.org to=['anna@example.org'] tls=False user=-\n");
    holds(sink.read("001.eml").as_bytes());

    let gone = post.send(2, Post::failure(), "gone@example.org").await.unwrap_err();
    assert!(gone.for_good && gone.why.contains("no such user here"), "{gone}");
    let later = post.send(3, Post::failure(), "later@example.org").await.unwrap_err();
    assert!(!later.for_good && later.why.contains("greylisted"), "{later}");
    drop(sink);
    let refused = post.send(4, Post::failure(), "anna@example.org").await.unwrap_err();
    assert!(!refused.for_good && refused.why.contains(&format!("127.0.0.1:{port}")), "{refused}");
    assert!(refused.why.to_lowercase().contains("refused"), "{refused}");
}

#[tokio::test]
async fn a_server_that_closes_or_talks_nonsense_is_tried_again() {
    for greeting in ["", "hello?\r\n", "554 no service here\r\n", "220 ok\r\n502 what\r\n502 what\r\n"] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, greeting.as_bytes()).await;
        });
        let post = Post::new(move |mail| {
            (mail.transport, mail.tls, mail.host, mail.port) =
                (Transport::Smtp, MailTls::None, "127.0.0.1".into(), port);
        });
        let error = post.await.send(1, Post::failure(), "anna@example.org").await.unwrap_err();
        assert!(!error.for_good, "{greeting:?}: {error}");
    }
}

/// Which certificates are trusted is said by the environment, so the sending is done by this test once more,
/// in a process of its own.
#[tokio::test]
async fn passwords_travel_encrypted_and_to_the_right_server_only() {
    if let Ok(port) = std::env::var("SHIPBELL_TEST_SMTP_PORT") {
        return send_encrypted(port.parse().unwrap()).await;
    }
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
        .args([key.as_os_str(), "-out".as_ref(), cert.as_os_str()])
        .output()
        .expect("openssl is needed: apt-get install openssl");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let again = |sink: &Sink, tls: &[(&str, &str)]| {
        let done = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "smtp::passwords_travel_encrypted_and_to_the_right_server_only", "--nocapture"])
            .env("SHIPBELL_TEST_SMTP_PORT", sink.port.to_string())
            .env("SSL_CERT_FILE", &cert)
            .env_remove("SSL_CERT_DIR")
            .envs(tls.iter().copied())
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    let wrapped = Sink::new(&[&cert, &key, Path::new("tls")]);
    again(&wrapped, &[("SHIPBELL_TEST_SMTP_TLS", "1")]);
    assert_eq!(wrapped.read("001.env"), "from=shipbell@example.org to=['anna@example.org'] tls=True user=-\n");
    let sink = Sink::new(&[&cert, &key]);
    again(&sink, &[]);
    assert_eq!(sink.read("001.env"), "from=shipbell@example.org to=['anna@example.org'] tls=True user=ci\n");
    assert_eq!(files(sink.out.path()).len(), 2, "one mail, and no other");
}

fn password(post: &Post, text: &str, mode: u32) {
    let credentials = post.house.layout.credentials();
    std::fs::create_dir_all(&credentials).unwrap();
    std::fs::write(credentials.join("smtp-password"), text).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
    std::fs::set_permissions(credentials.join("smtp-password"), mode).unwrap();
}

async fn send_encrypted(port: u16) {
    if std::env::var_os("SHIPBELL_TEST_SMTP_TLS").is_some() {
        let by_tls = move |mail: &mut MailSettings| {
            (mail.transport, mail.tls, mail.host, mail.port) =
                (Transport::Smtp, MailTls::Tls, "localhost".into(), port);
        };
        return Post::new(by_tls).await.send(1, Post::failure(), "anna@example.org").await.unwrap();
    }
    let settings = move |host: &str, tls: MailTls| {
        let host = host.to_owned();
        move |mail: &mut MailSettings| {
            (mail.transport, mail.tls, mail.host, mail.port) = (Transport::Smtp, tls, host, port);
            mail.username = Some("ci".into());
            mail.credential = Some("smtp-password".into());
        }
    };
    let post = Post::new(settings("localhost", MailTls::Starttls)).await;
    let unread = post.send(1, Post::failure(), "anna@example.org").await.unwrap_err();
    assert!(!unread.for_good && unread.why.contains("smtp-password"), "{unread}");
    for (text, mode, expected) in [
        ("s3cret", 0o644, "can be read by everybody on this host. chmod 0640"),
        ("s3cret", 0o660, "can be written by others. chmod 0640"),
        (" \n", 0o600, "is empty"),
        ("s3\ncret", 0o600, "is not one line of text"),
    ] {
        password(&post, text, mode);
        let unsafe_one = post.send(1, Post::failure(), "anna@example.org").await.unwrap_err();
        assert!(!unsafe_one.for_good && unsafe_one.why.contains(expected), "{unsafe_one}");
        assert!(!unsafe_one.why.contains("s3cret"), "{unsafe_one}");
    }
    password(&post, "wrong\n", 0o640);
    let wrong = post.send(1, Post::failure(), "anna@example.org").await.unwrap_err();
    assert!(!wrong.for_good && wrong.why.contains("535"), "a password is mended in the configuration: {wrong}");
    password(&post, "s3cret\n", 0o640);
    post.send(1, Post::failure(), "anna@example.org").await.unwrap();

    let other = Post::new(settings("127.0.0.1", MailTls::Starttls)).await;
    password(&other, "s3cret", 0o600);
    let error = other.send(2, Post::failure(), "anna@example.org").await.unwrap_err();
    assert!(!error.for_good && error.why.contains("certificate"), "not this name's: {error}");
}
