//! Does what a turn has decided and the database has recorded. Every result comes back as an event;
//! doing something twice (after a crash between the commit and the deed) is harmless by design.

use std::collections::BTreeSet;
use std::sync::Arc;

use tracing::{info, warn};

use crate::clock;
use crate::credentials::Credentials;
use crate::daemon::boot;
use crate::daemon::turns::Daemon;
use crate::executor::StartError;
use crate::model::catalog::Address;
use crate::model::commit::{Authors, Question};
use crate::model::event::{Action, Change, Event};
use crate::model::name::{PipelineName, RunRef};
use crate::model::statement::Statement;
use crate::model::ticket::{Evidence, StartOrder};
use crate::report;
use crate::source;
use crate::store::StoreError;
use crate::sys::host;

impl Daemon {
    pub(super) fn perform(&self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Start(order) => self.start(*order),
                Action::Stop { run, attempt, reason } => self.stop_run(run, attempt, reason),
                // Followed like one that was just started: its end is told if it is over.
                Action::Examine { run, attempt } => {
                    let _ = self.running.send((run, attempt));
                }
                Action::Ask(question) => self.compare(question),
                Action::Send { letter } => self.send(letter),
                Action::FindAuthors { letter } => self.find_authors(letter),
                Action::Withdraw { statement, why } => self.withdraw(*statement, why),
                Action::Remove { parts } => self.remove(parts),
            }
        }
    }

    fn address_of(&self, pipeline: &PipelineName) -> Option<Address> {
        self.world.pipeline(pipeline)?.repo.as_ref().map(|repo| repo.address())
    }

    fn start(&self, mut order: StartOrder) {
        if order.commit.is_some() {
            order.mirror = self.address_of(&order.run.job.pipeline).map(|at| self.mirrors.path(&at));
        }
        info!("{} starts, attempt {} ({})", order.run, order.attempt, order.cause);
        let (executor, inbox, running) = (self.executor.clone(), self.inbox.clone(), self.running.clone());
        tokio::task::spawn_blocking(move || match executor.start(&order) {
            Ok(()) => {
                let _ = running.send((order.run, order.attempt));
            }
            // Nobody knows, so nothing is concluded: followed like one that was started, it is told.
            Err(error @ StartError::Unclear(_)) => {
                warn!("{}: {error}", order.run);
                let _ = running.send((order.run, order.attempt));
            }
            Err(error) => {
                warn!("{} could not be started: {error}", order.run);
                let evidence = Evidence::NeverStarted { why: error.to_string() };
                inbox.tell_blocking(Event::Ended { run: order.run, attempt: order.attempt, evidence });
            }
        });
    }

    fn stop_run(&self, run: RunRef, attempt: u32, reason: String) {
        info!("{run} is asked to end: {reason}");
        let executor = self.executor.clone();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = executor.stop(&run, attempt, &reason) {
                warn!("{run} could not be asked to end: {error}");
            }
        });
    }

    /// It asks for nothing that this process would start: what is not heard is no danger while this is itself.
    fn withdraw(&self, statement: Statement, why: String) {
        let executor = self.executor.clone();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = executor.withdraw(&statement, &why) {
                warn!("the executor did not hear that request r-{} is over: {error}", statement.request);
            }
        });
    }

    fn compare(&self, question: Question) {
        let (inbox, mirrors) = (self.inbox.clone(), self.mirrors.clone());
        let at = self.address_of(&question.pipeline);
        tokio::task::spawn_blocking(move || {
            let answer = match at {
                Some(at) => source::answer(&mirrors, &at, &question).map(Arc::new),
                None => Err("the pipeline has no repository any more".to_owned()),
            };
            inbox.tell_blocking(Event::Answered { question, answer });
        });
    }

    /// Who wrote the commits between the last success of the letter's job on its branch and its run.
    fn find_authors(&self, id: u64) {
        let Some(letter) = self.world.letters.get(&id).cloned() else { return };
        let (inbox, mirrors, reader) = (self.inbox.clone(), self.mirrors.clone(), self.reader.clone());
        let catalog = self.world.scratch.catalog.clone();
        tokio::task::spawn_blocking(move || {
            let authors = letter.kind.run().map_or_else(
                || Ok(Authors::default()),
                |run| {
                    let told = |error: StoreError| error.to_string();
                    let repo = catalog.pipelines.get(&run.job.pipeline).and_then(|pipeline| pipeline.repo.as_ref());
                    let of = reader.run(run).map_err(told)?.and_then(|run| Some((run.commit?, run.git_ref)));
                    // Of what has no commit, or no repository any more, nobody is the author.
                    let (Some(repo), Some((head, git_ref))) = (repo, of) else { return Ok(Authors::default()) };
                    let good = reader.last_success_on(run, git_ref.as_ref()).map_err(told)?;
                    source::authors(&mirrors, &repo.address(), good.as_ref(), &head)
                },
            );
            inbox.tell_blocking(Event::AuthorsFound { letter: id, authors });
        });
    }

    fn send(&self, id: u64) {
        let Some(letter) = self.world.letters.get(&id).cloned() else { return };
        let layout = &self.options.layout;
        let context = report::DeliverContext {
            sources: report::facts::Sources {
                reader: self.reader.clone(),
                keys: self.keys.clone(),
                catalog: self.world.scratch.catalog.clone(),
                host: host::hostname(),
                read_log: boot::read_log(&self.executor),
            },
            credentials: Credentials::new(&layout.credentials()),
            web: self.web.clone(),
            mail_dir: layout.mail_dir(),
        };
        let inbox = self.inbox.clone();
        tokio::spawn(async move {
            match report::deliver(&letter, &context, clock::now()).await {
                Ok(()) => inbox.tell(Event::LetterSent { letter: letter.id }).await,
                Err(error) => {
                    warn!("letter {} to {} was not sent: {}", letter.id, letter.to, error.why);
                    let report::Undelivered { why, for_good, again } = error;
                    inbox.tell(Event::LetterFailed { letter: letter.id, why, for_good, again }).await;
                }
            }
        });
    }

    /// What the host still keeps of attempts that the database calls over (we were killed before we could
    /// say so) or does not know (an older one was put back) is let go, and ended where it runs.
    pub(super) fn let_go_of_the_rest(&self) {
        let running: BTreeSet<(RunRef, u32)> = self
            .world
            .scratch
            .running
            .iter()
            .filter_map(|run| Some((run.clone(), self.world.run(run)?.attempt)))
            .collect();
        let executor = self.executor.clone();
        tokio::task::spawn_blocking(move || {
            let kept = executor.kept().unwrap_or_else(|error| {
                warn!("what is left of earlier runs is not known: {error}");
                Vec::new()
            });
            for (run, attempt) in kept.into_iter().filter(|of| !running.contains(of)) {
                match executor.ack(&run, attempt) {
                    Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => {
                        warn!("{run}, attempt {attempt}, runs, and the database does not know that: it is ended");
                        let _ = executor.stop(&run, attempt, "the database does not know this run");
                    }
                    Err(error) => warn!("{run}, attempt {attempt}, is over and could not be let go: {error}"),
                    Ok(()) => {}
                }
            }
        });
    }

    /// Results that are on disk now need their workspaces no more.
    pub(super) fn acknowledge(&self, changes: &[Change]) {
        for change in changes {
            let Change::AttemptPut(attempt) = change else { continue };
            if attempt.finished_at.is_none() {
                continue;
            }
            let (executor, run, number) = (self.executor.clone(), attempt.run.clone(), attempt.attempt);
            tokio::task::spawn_blocking(move || {
                if let Err(error) = executor.ack(&run, number) {
                    warn!("the workspace of {run} could not be removed: {error}");
                }
            });
        }
    }
}
