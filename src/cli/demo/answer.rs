//! How the yes is given: by the reader (the link, another terminal, or a key here), or, where nobody is
//! there to ask, by doing what a reader would: open the link in the mail and send the page's form.

use std::time::Duration;

use tokio::sync::mpsc;

use crate::model::name::RunRef;
use crate::model::view::{AnswerView, ApprovalRow, ApprovalsView, VoteOrder};

use super::super::client::Client;
use super::super::exit::Failure;
use super::form;
use super::stage::Stage;
use super::tell::Teller;

/// Between two looks at whether it is decided.
const PAUSE: Duration = Duration::from_millis(100);

/// A mail that asks.
pub(super) struct Letter {
    pub to: String,
    pub subject: String,
    pub text: String,
}

impl Letter {
    /// Mails that the daemon has written so far, in order.
    pub fn all(stage: &Stage) -> Vec<Self> {
        let entries = std::fs::read_dir(stage.layout.mail_dir()).into_iter().flatten().flatten();
        let mut files: Vec<_> = entries.map(|entry| entry.path()).collect();
        files.retain(|path| path.extension().is_some_and(|extension| extension == "eml"));
        files.sort();
        files.iter().filter_map(|path| Self::parse(&std::fs::read(path).ok()?)).collect()
    }

    fn parse(raw: &[u8]) -> Option<Self> {
        let mail = mail_parser::MessageParser::new().parse(raw)?;
        let to = mail.to().and_then(|to| to.first()?.address()).unwrap_or_default().to_owned();
        let text = mail.body_text(0)?.into_owned();
        Some(Self { to, subject: mail.subject().unwrap_or_default().to_owned(), text })
    }

    /// The one link of an approval mail.
    pub fn link(&self, page: &str) -> Option<&str> {
        let start = format!("{page}/a/");
        self.text.split_whitespace().find(|word| word.starts_with(&start))
    }
}

/// Opens the link in the mail and sends the form of the page behind it.
pub(super) async fn by_the_mail(stage: &Stage, letter: &Letter, environment: &str) -> Result<(), Failure> {
    let link = letter.link(&stage.page).ok_or_else(|| Failure::other("the mail has no link to open"))?;
    let page = form::open(link).await?;
    if page.status != 200 {
        return Err(Failure::other(format!(
            "the link in the mail answers {}: {}",
            page.status,
            first_line(&page.text)
        )));
    }
    let answer = page.fill_in(&[("word", environment), ("reason", ""), ("verdict", "approve")]).await?;
    if answer.status >= 400 {
        return Err(Failure::other(format!(
            "the form was refused with {}: {}",
            answer.status,
            first_line(&answer.text)
        )));
    }
    Ok(())
}

fn first_line(page: &str) -> String {
    let text = page.split_once("<h1>").map_or(page, |(_, rest)| rest);
    super::super::paint::safe_line(text.split('<').next().unwrap_or_default())
}

/// Waits until the reader has decided, in whatever way.
pub(super) async fn by_the_reader(stage: &mut Stage, teller: &Teller, run: &RunRef) -> Result<(), Failure> {
    let mut keys = keys();
    loop {
        tokio::select! {
            line = keys.recv() => match line.as_deref().map(str::trim) {
                Some("a") => {
                    let order = VoteOrder { run: run.clone(), reason: String::new(), signature: None, code: None };
                    let _: AnswerView = stage.client.post("/api/v1/approve", &order).await?;
                    return Ok(());
                }
                Some("q") => {
                    stage.nothing_went_wrong();
                    return Err(Failure::other("you left before the end"));
                }
                Some(_) => teller.plain("  a and Enter approves it, q and Enter leaves\n")?,
                // Nobody is at the keys any more; the link and the other terminal are still there.
                None => return wait_decided(&stage.client, run).await,
            },
            decided = wait_decided(&stage.client, run) => return decided,
        }
    }
}

async fn wait_decided(client: &Client, run: &RunRef) -> Result<(), Failure> {
    while request(client, run).await?.is_some_and(|row| row.state == "open") {
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// The newest request of a run.
pub(super) async fn request(client: &Client, run: &RunRef) -> Result<Option<ApprovalRow>, Failure> {
    let view: ApprovalsView = client.get("/api/v1/approvals").await?;
    Ok(view.open.into_iter().chain(view.decided).find(|row| row.run == *run))
}

/// Lines that the reader types. The thread ends with the program: a read cannot be called off.
fn keys() -> mpsc::UnboundedReceiver<String> {
    let (sender, receiver) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}
