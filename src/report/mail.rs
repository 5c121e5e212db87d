//! Mails on the wire: headers, encoding, and the two ways out, an SMTP server or a directory of .eml files.
//! What they say comes from `message`; whether and when to try again is the core's to decide.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use lettre::Message;
use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{Body, Mailbox, MultiPart, SinglePart};
use lettre::transport::smtp::authentication::{Credentials as Login, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::extension::ClientId;

use crate::credentials::Credentials;
use crate::model::catalog::{Mail as Settings, MailTls, Transport};
use crate::model::letter::{Letter, LetterKind};
use crate::model::time::Timestamp;
use crate::report::message::Mail;
use crate::report::{DeliverContext, Undelivered, display};

/// A server with which nothing is agreed within this time is not there.
const CONNECTING_MAX: Duration = Duration::from_secs(30);

/// One letter, from the first byte to the last answer.
const SENDING_MAX: Duration = Duration::from_secs(120);

/// Sends a rendered mail to the letter's address.
///
/// # Errors
/// If it was not handed over.
pub async fn send(mail: &Mail, letter: &Letter, context: &DeliverContext, now: Timestamp) -> Result<(), Undelivered> {
    let settings = context.sources.catalog.settings.mail.clone();
    let message = compose(mail, letter, &settings, now)?;
    match settings.transport {
        Transport::File => {
            let folder = settings.dir.unwrap_or_else(|| context.mail_dir.clone());
            let (name, bytes) = (file_name(mail, letter), message.formatted());
            let written = tokio::task::spawn_blocking(move || {
                put_file(&folder, &name, &bytes).map_err(|error| {
                    Undelivered::later(format!("cannot write {}: {error}", folder.join(&name).display()))
                })
            });
            written.await.map_err(|error| Undelivered::later(error.to_string()))?
        }
        Transport::Smtp => {
            let password = password(&settings, &context.credentials)?;
            let all = tokio::time::timeout(SENDING_MAX, over_smtp(&message, &settings, password));
            let late =
                |_| Undelivered::later(format!("{}: no end after {} s", place(&settings), SENDING_MAX.as_secs()));
            all.await.map_err(late)?
        }
        Transport::Sendmail => {
            Err(Undelivered::later("[mail] transport = \"sendmail\" is not there yet: use \"smtp\""))
        }
    }
}

/// The mail as it goes out.
///
/// # Errors
/// If an address is none.
pub fn compose(mail: &Mail, letter: &Letter, settings: &Settings, now: Timestamp) -> Result<Message, Undelivered> {
    let from = settings.from.parse::<Mailbox>();
    let from = from.map_err(|error| Undelivered::later(format!("[mail] from = \"{}\": {error}", settings.from)))?;
    // With a name before it or without, as the configuration takes it.
    let to = letter.to.parse::<Mailbox>();
    let to = to.map_err(|error| Undelivered::for_good(format!("\"{}\" is no mail address: {error}", letter.to)))?;
    let domain = from.email.domain().to_owned();
    let root = format!("<{}@{domain}>", mail.thread);
    let id = format!("<letter.{}.{}.{}@{domain}>", letter.id, kind(letter), mail.thread);
    let job = &mail.job;
    let list = format!("{job} <{}.{}.shipbell.{domain}>", job.job, job.pipeline);
    let mut message = Message::builder()
        .from(from)
        .to(to)
        .date(SystemTime::from(now))
        .message_id(Some(id))
        .in_reply_to(root.clone())
        .references(root)
        .subject(display::line(&mail.subject, 120));
    let environment = mail.environment.as_ref().map(ToString::to_string);
    let request = mail.request.map(|id| format!("r-{id}"));
    for (name, value) in [
        ("Auto-Submitted", Some("auto-generated".to_owned())),
        ("X-Auto-Response-Suppress", Some("All".to_owned())),
        ("List-Id", Some(list)),
        ("X-Shipbell-Run", mail.run.as_ref().map(ToString::to_string)),
        ("X-Shipbell-Env", environment),
        ("X-Shipbell-Request", request),
    ] {
        if let (Some(value), name) = (value, HeaderName::new_from_ascii_str(name)) {
            message = message.raw_header(HeaderValue::new(name, display::line(&value, 200)));
        }
    }
    let bodies = MultiPart::alternative()
        .singlepart(part(&mail.text, ContentType::TEXT_PLAIN)?)
        .singlepart(part(&mail.html, ContentType::TEXT_HTML)?);
    message.multipart(bodies).map_err(|error| Undelivered::for_good(error.to_string()))
}

/// Always quoted-printable: no line is too long, none is bare, and a person can still read it.
fn part(text: &str, kind: ContentType) -> Result<SinglePart, Undelivered> {
    let lines = text.replace('\n', "\r\n").into_bytes();
    let body = Body::new_with_encoding(lines, ContentTransferEncoding::QuotedPrintable)
        .map_err(|_| Undelivered::for_good("the text cannot be encoded"))?;
    Ok(SinglePart::builder().header(kind).body(body))
}

/// The letter's kind, in one word.
#[must_use]
pub fn kind(letter: &Letter) -> &'static str {
    match letter.kind {
        LetterKind::Approval { .. } => "approval",
        LetterKind::Decided { .. } => "decided",
        LetterKind::Failure { .. } => "failure",
        LetterKind::Recovery { .. } => "recovery",
        LetterKind::Unknown { .. } => "unknown",
        LetterKind::Rests { .. } => "vote-rests",
        LetterKind::Unsatisfiable { .. } => "unsatisfiable",
        LetterKind::Stale { .. } => "stale",
        LetterKind::Fresh { .. } => "fresh",
        LetterKind::Long { .. } => "long",
        LetterKind::Mark { .. } => "mark",
        LetterKind::Carried { .. } => "carried",
        LetterKind::Ping { .. } => "ping",
    }
}

/// `0057-approval-r-31.eml`: a letter that is sent again takes the place of its first copy.
fn file_name(mail: &Mail, letter: &Letter) -> String {
    let about = match (mail.request, &mail.run) {
        (Some(request), _) => format!("r-{request}"),
        (None, Some(run)) => run.id(),
        (None, None) => format!("{}.{}", mail.job.pipeline, mail.job.job),
    };
    format!("{:04}-{}-{about}.eml", letter.id, kind(letter))
}

/// Whole or not at all: whoever watches the directory never sees half a mail.
fn put_file(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    if !folder.is_dir() {
        DirBuilder::new().recursive(true).mode(0o750).create(folder)?;
    }
    let half = folder.join(format!(".{name}.new"));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o640).open(&half)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&half, folder.join(name))
}

/// What the server is logged in with, read now: a new password counts at once. One that cannot be used is
/// mended in its file, so the letter waits.
fn password(settings: &Settings, credentials: &Credentials) -> Result<Option<Login>, Undelivered> {
    let (Some(user), Some(name)) = (&settings.username, &settings.credential) else { return Ok(None) };
    let bad = |why: &dyn std::fmt::Display| Undelivered::later(format!("{}: {why}", place(settings)));
    let secret = credentials.read(name).map_err(|error| bad(&error))?;
    let text = secret.text().filter(|text| !text.contains(['\r', '\n', '\0']));
    let text = text.ok_or_else(|| {
        bad(&format!("the credential {name} ({}) is not one line of text", credentials.path(name).display()))
    })?;
    Ok(Some(Login::new(user.clone(), text.to_owned())))
}

fn port(settings: &Settings) -> u16 {
    match (settings.port, settings.tls) {
        (0, MailTls::None) => 25,
        (0, MailTls::Starttls) => 587,
        (0, MailTls::Tls) => 465,
        (port, _) => port,
    }
}

fn place(settings: &Settings) -> String {
    format!("mail server {}:{}", settings.host, port(settings))
}

async fn over_smtp(message: &Message, settings: &Settings, password: Option<Login>) -> Result<(), Undelivered> {
    // Until the envelope is offered, a refusal says something of us or the server, not of the letter.
    let mut connection = tokio::time::timeout(CONNECTING_MAX, connect(settings, password))
        .await
        .map_err(|_| Undelivered::later(format!("{}: no answer in {} s", place(settings), CONNECTING_MAX.as_secs())))?
        .map_err(|error| Undelivered::later(format!("{}: {}", place(settings), chain(&error))))?;
    let sent = connection.send(message.envelope(), &message.formatted()).await;
    // The answer to QUIT changes nothing: the server has taken the mail or has not.
    let _ = tokio::time::timeout(Duration::from_secs(2), connection.quit()).await;
    sent.map(|_| ()).map_err(|error| {
        let why = format!("{}: {}", place(settings), chain(&error));
        // 53x asks for another login or for encryption: mended in the configuration, not in the address.
        let about_us = error.status().is_some_and(|code| code.to_string().starts_with("53"));
        if error.is_permanent() && !about_us { Undelivered::for_good(why) } else { Undelivered::later(why) }
    })
}

async fn connect(
    settings: &Settings,
    password: Option<Login>,
) -> Result<AsyncSmtpConnection, lettre::transport::smtp::Error> {
    let hello = ClientId::default();
    let tls = match settings.tls {
        MailTls::None => None,
        MailTls::Starttls | MailTls::Tls => Some(TlsParameters::new(settings.host.clone())?),
    };
    let server = (settings.host.as_str(), port(settings));
    let wrapped = tls.clone().filter(|_| settings.tls == MailTls::Tls);
    let mut connection =
        AsyncSmtpConnection::connect_tokio1(server, Some(CONNECTING_MAX), &hello, wrapped, None).await?;
    if let Some(tls) = tls.filter(|_| settings.tls == MailTls::Starttls) {
        connection.starttls(tls, &hello).await?;
    }
    if let Some(password) = password {
        connection.auth(&[Mechanism::Plain, Mechanism::Login], &password).await?;
    }
    Ok(connection)
}

/// An error with all its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}
