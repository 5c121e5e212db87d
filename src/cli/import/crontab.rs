//! A crontab to a job file. Pure: text in, text and what is to be said out. The file does what cron did, also
//! where Shipbell would do better (no catching up, no `-eu`): whoever brings it over decides what to change.

use std::collections::BTreeMap;

use crate::model::name::PipelineName;

use super::command_name::command_name;
use super::crontab_line::{self, Entry, Line};
use super::draft::{Host, Import, JobFile, JobSheet, Names, Said, Sheet, Timed, job_key, one_or_list, quoted};
use super::times::Old;
use super::{fields, shell};

/// Whose crontab it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// A user stands before each command.
    System,
    /// One user's; `None`: nobody knows whose.
    User(Option<String>),
}

/// Reads a crontab. `file`: how it is named in what is said.
#[must_use]
pub fn translate(file: &str, name: &PipelineName, text: &str, form: &Form, host: &Host) -> Import {
    let mut reader = Reader {
        file,
        name,
        form,
        host,
        variables: BTreeMap::new(),
        comments: Vec::new(),
        names: Names::default(),
        sheet: Sheet::default(),
        import: Import::default(),
    };
    for (index, line) in text.split('\n').enumerate() {
        reader.line(index + 1, line);
    }
    reader.finish()
}

struct Reader<'a> {
    file: &'a str,
    name: &'a PipelineName,
    form: &'a Form,
    host: &'a Host,
    /// With the lines that they stand in. They hold for the entries below them.
    variables: BTreeMap<String, (String, usize)>,
    /// Lines of comment right above.
    comments: Vec<String>,
    names: Names,
    sheet: Sheet,
    import: Import,
}

/// What cron sets where a crontab does not: Debian's.
const PATH: &str = "/usr/bin:/bin";

impl Reader<'_> {
    fn say(&mut self, line: usize, lost: bool, what: impl Into<String>, text: impl Into<String>) {
        let said = Said { file: self.file.to_owned(), line, lost, what: what.into(), text: text.into() };
        if !self.import.said.contains(&said) {
            self.import.said.push(said);
        }
    }

    fn line(&mut self, number: usize, text: &str) {
        match crontab_line::read(text, *self.form == Form::System) {
            Line::Blank => self.comments.clear(),
            Line::Comment(comment) => match of_no_job(comment) {
                true => self.comments.clear(),
                false => self.comments.push(comment.to_owned()),
            },
            Line::Variable(name, value) => {
                self.comments.clear();
                self.variable(number, &name, value);
            }
            Line::Wrong(why) => {
                self.comments.clear();
                self.lost_line(number, text, &why);
            }
            Line::Entry(entry) => {
                let comments = std::mem::take(&mut self.comments);
                self.entry(number, text, &entry, &comments);
            }
        }
    }

    /// A line that becomes no job: it stays in the file as a comment.
    fn lost_line(&mut self, number: usize, text: &str, why: &str) {
        let shown: String = text.trim().chars().take(60).collect();
        self.say(number, true, shown, why);
        self.sheet.tail.push(format!("line {number} of the crontab did not carry over, {why}:"));
        self.sheet.tail.push(format!("  {}", text.trim()));
    }

    fn variable(&mut self, line: usize, name: &str, value: String) {
        match name {
            "RANDOM_DELAY" => {
                let text = format!("jobs start on time; a spread of {value} minutes: put H(0-{value}) for a minute 0");
                self.say(line, true, name, text);
            }
            "LOGNAME" => self.say(line, true, name, "cron does not let a crontab set it, and neither do jobs here"),
            "START_HOURS_RANGE" => self.say(line, true, name, "only anacron heeds it; name the hours in the schedule"),
            "MAILFROM" => self.say(line, true, name, "the sender stands in shipbell.toml, [mail] from"),
            "CONTENT_TYPE" | "CONTENT_TRANSFER_ENCODING" => {
                self.say(line, true, name, "mails are UTF-8 text, the output stays in `shipbell logs`");
            }
            _ => {
                self.variables.insert(name.to_owned(), (value, line));
            }
        }
    }

    fn entry(&mut self, number: usize, text: &str, entry: &Entry<'_>, comments: &[String]) {
        let (schedule, old) = match self.when(number, entry) {
            Ok(when) => when,
            Err(why) => return self.lost_line(number, text, &why),
        };
        if entry.command.is_empty() {
            return self.lost_line(number, text, "there is no command");
        }
        if text.contains('\0') {
            return self.lost_line(number, text, "it has a NUL character, which no program can be given");
        }
        let mut job = JobSheet { name: self.names.name(&command_name(&entry.command)), ..JobSheet::default() };
        job.comments.push(format!("line {number}"));
        if !comments.is_empty() {
            job.set("description", quoted(&comments.join(" ").replace("${{", "$ {{")));
        }
        job.set("schedule", quoted(&schedule));
        job.set("catch-up", quoted("skip"));
        if self.host.can.overlap_allow {
            job.set("overlap", quoted("allow"));
        }
        job.set("on-interrupted", quoted("report"));
        let user = self.user(number, entry);
        if let Some(user) = &user {
            job.set("user", quoted(user));
        }
        self.zone(&mut job);
        self.mail(&mut job);
        let lines = self.environment(&mut job, user.as_deref());
        job.set("steps", quoted(&step(&lines, entry)));
        if entry.quiet {
            self.say(number, false, "-", "kept nothing out of syslog to begin with: runs are in `shipbell history`");
        }
        if let Some(key) = job_key(self.name, &job.name) {
            self.import.timed.push(Timed { job: key, old });
        }
        self.sheet.jobs.push(job);
    }

    /// The schedule, and when cron would have started it.
    fn when(&mut self, line: usize, entry: &Entry<'_>) -> Result<(String, Old), String> {
        let zone = self.variables.get("CRON_TZ").map(|(zone, _)| zone.clone());
        let zone = zone.filter(|zone| jiff::tz::TimeZone::get(zone).is_ok()).unwrap_or_else(|| self.host.zone.clone());
        let word = match entry.when.as_slice() {
            [word] => *word,
            fields => {
                let read = fields::debian(fields)?;
                for note in &read.notes {
                    self.say(line, true, fields.join(" "), note.clone());
                }
                if read.random {
                    let text = format!("{}: spread by the job's name, the same every day", read.written);
                    self.say(line, false, fields.join(" "), text);
                    return Ok((read.written, Old::Unknown));
                }
                return Ok((read.written, Old::Times(read.times, zone)));
            }
        };
        if word == "@reboot" {
            return match self.host.can.reboot {
                true => Ok((word.to_owned(), Old::Unknown)),
                false => Err("@reboot does not work yet here: a systemd unit can start it at boot".into()),
            };
        }
        let Some(fields) = fields::named(word) else { return Err(format!("cron has no `{word}`")) };
        let read = fields::debian(&fields.split(' ').collect::<Vec<_>>())?;
        Ok((word.to_owned(), Old::Times(read.times, zone)))
    }

    fn user(&mut self, line: usize, entry: &Entry<'_>) -> Option<String> {
        let user = match (self.form, entry.user) {
            (Form::User(user), _) => user.as_deref(),
            (Form::System, user) => user,
        };
        let Some(user) = user else {
            self.say(
                0,
                true,
                "user",
                "nobody says whose crontab this is, so its jobs run as shipbell-job: --user NAME",
            );
            return None;
        };
        if !is_user(user) {
            self.say(line, true, user, "is no user name; the job runs as shipbell-job");
            return None;
        }
        Some(user.to_owned())
    }

    fn zone(&mut self, job: &mut JobSheet) {
        let host = self.host;
        if let Some((zone, line)) = self.variables.get("CRON_TZ").cloned() {
            if jiff::tz::TimeZone::get(&zone).is_ok() {
                job.set("timezone", quoted(&zone));
                self.say(
                    line,
                    false,
                    "CRON_TZ",
                    "cronie heeds it, Debian's own cron does not: times below are cronie's",
                );
                return;
            }
            self.say(line, true, "CRON_TZ", format!("this host knows no zone `{zone}`"));
        }
        if host.zone != host.default_zone {
            job.set("timezone", quoted(&host.zone));
        }
    }

    fn mail(&mut self, job: &mut JobSheet) {
        let Some((to, line)) = self.variables.get("MAILTO").cloned() else { return };
        if to.is_empty() {
            job.set("notify", "{ on = [] }");
            return;
        }
        let (good, bad): (Vec<String>, Vec<String>) = to
            .split(',')
            .map(|one| one.trim().to_owned())
            .filter(|one| !one.is_empty())
            .partition(|one| is_address(one));
        if !good.is_empty() {
            job.set("notify", format!("{{ email = {} }}", one_or_list(&good)));
        }
        for name in bad {
            let text = format!("`{name}` is no mail address: set notify, or [mail] to in shipbell.toml");
            self.say(line, true, "MAILTO", text);
        }
        self.say(line, false, "MAILTO", "cron mails all output; here a failure and the recovery are mailed");
    }

    /// Sets the variables; what has to be done in the shell comes back as its lines.
    fn environment(&mut self, job: &mut JobSheet, user: Option<&str>) -> Vec<String> {
        let mut lines = Vec::new();
        job.env.insert("PATH".into(), PATH.into());
        let mut program = "/bin/sh".to_owned();
        for (name, (value, line)) in self.variables.clone() {
            match name.as_str() {
                "MAILTO" | "CRON_TZ" => {}
                "SHELL" if value.chars().all(|c| c.is_ascii_graphic() && c != '$') && !value.is_empty() => {
                    program = value;
                }
                "SHELL" => self.say(line, true, name, "this is no path of a shell: /bin/sh is taken"),
                _ if !is_variable(&name) || name.starts_with("SHIPBELL_") || value.contains('\0') => {
                    self.say(line, true, name, "a job cannot have a variable of this name");
                }
                _ if crate::config::is_job_key(&name) || value.contains("${{") => {
                    lines.push(format!("{name}={}; export {name}", shell::word(&value)));
                }
                _ => {
                    job.env.insert(name, value);
                }
            }
        }
        let base = program.rsplit('/').next().unwrap_or_default();
        if !["sh", "bash", "dash", "ash", "ksh", "mksh", "zsh", "busybox"].contains(&base) {
            let at = self.variables.get("SHELL").map_or(0, |(_, line)| *line);
            self.say(
                at,
                true,
                "SHELL",
                format!("`{program}` has words of its own: see that HOME and the directory are right"),
            );
            lines.clear();
        } else {
            if !job.env.contains_key("HOME")
                && let Some(user) = user
            {
                lines.insert(0, format!("HOME=~{user}"));
            }
            if user.is_some() || job.env.contains_key("HOME") {
                lines.push("cd".into());
            }
        }
        job.set("shell", format!("[{}, \"-c\"]", quoted(&program)));
        lines
    }

    fn finish(mut self) -> Import {
        let mut import = self.import;
        if !self.sheet.jobs.is_empty() {
            self.sheet.head = vec![
                format!(
                    "From {}, by `shipbell import crontab`. It does what cron did: missed times stay missed",
                    self.file
                ),
                "(catch-up), PATH, shell and directory are cron's.".into(),
            ];
            if !self.host.can.overlap_allow {
                let text = "cron starts a job also while its last run goes on; here one waits until that ends";
                let said = Said {
                    file: self.file.to_owned(),
                    line: 0,
                    lost: false,
                    what: "overlap".into(),
                    text: text.into(),
                };
                import.said.push(said);
            }
            import.files.push(JobFile { name: self.name.clone(), text: self.sheet.render() });
        }
        import.said.sort_by_key(|said| said.line);
        import
    }
}

/// The text of the step.
fn step(lines: &[String], entry: &Entry<'_>) -> String {
    let mut text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    match &entry.input {
        None => text.push_str(&shell::step(&entry.command)),
        Some(input) if input.contains("${{") => {
            text.push_str(&format!("printf %s {} | {{ {}\n}}", shell::word(input), shell::step(&entry.command)));
        }
        Some(input) => {
            let mut end = "END_OF_INPUT".to_owned();
            while input.lines().any(|line| line == end) {
                end.push('_');
            }
            text.push_str(&format!("{{ {}\n}} <<'{end}'\n{input}{end}\n", shell::step(&entry.command)));
        }
    }
    text
}

/// Comments that are about the table or that are entries put out of use.
fn of_no_job(comment: &str) -> bool {
    let looks = comment.trim_start();
    let first = looks.split_whitespace().next().unwrap_or_default();
    looks.is_empty()
        || looks.starts_with(['|', '.', '-', '=', '*', '@', '#', '┌', '│'])
        || first.starts_with(|c: char| c.is_ascii_digit()) && looks.split_whitespace().count() > 5
        || looks.to_lowercase().starts_with("m h ")
        || looks.contains("crontab") && looks.contains('/')
}

fn is_variable(name: &str) -> bool {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.starts_with(first) && name.chars().all(|c| first(c) || c.is_ascii_digit())
}

fn is_user(name: &str) -> bool {
    let first = |c: char| c.is_ascii_lowercase() || c == '_';
    name.len() <= 32 && name.starts_with(first) && name.chars().all(|c| first(c) || c.is_ascii_digit() || c == '-')
}

/// Local part, `@`, host: what the loader takes for certain.
pub(super) fn is_address(text: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
    let edge = |part: &str| part.starts_with(['.', '-']) || part.ends_with(['.', '-']) || part.contains("..");
    text.split_once('@').is_some_and(|(user, host)| {
        let parts = [user, host];
        parts.iter().all(|part| !part.is_empty() && part.len() <= 64 && part.chars().all(legal) && !edge(part))
            && !host.contains(['_', '+'])
    })
}
