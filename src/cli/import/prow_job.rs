//! One job of Prow, field by field: what our keys say as well, and what is told of all others. Fields that
//! Prow itself does not know are told too: its own loader ignores them in silence.

use std::collections::BTreeMap;

use crate::model::commit::RefName;
use crate::model::glob;
use crate::model::time::{SECONDS_MAX, Seconds};

use super::crontab::is_address;
use super::draft::{Host, JobSheet, Said, name_of, one_or_list, quoted};
use super::times::Old;
use super::yaml::{Node, Pair};
use super::{fields, prow_match, prow_spec};

/// What starts a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind<'a> {
    Periodic,
    /// New commits of `ORG/REPO`.
    Postsubmit(&'a str),
}

/// What other parts of the configuration say.
#[derive(Debug, Default)]
pub(super) struct Known<'a> {
    pub presets: Vec<&'a Node>,
    /// `plank.job_queue_capacities`.
    pub pools: BTreeMap<String, String>,
}

/// What became of a job.
#[derive(Debug, Default)]
pub(super) struct Made {
    /// `None`: nothing that could be started.
    pub job: Option<JobSheet>,
    /// Of its repository; empty where it checks nothing out.
    pub url: String,
    pub old: Option<Old>,
    pub said: Vec<Said>,
}

pub(super) struct Maker<'a> {
    file: &'a str,
    pub host: &'a Host,
    pub known: &'a Known<'a>,
    pub job: JobSheet,
    made: Made,
    notify: Vec<String>,
}

pub(super) fn translate(file: &str, node: &Node, kind: Kind<'_>, known: &Known<'_>, host: &Host) -> Made {
    let mut maker = Maker { file, host, known, job: JobSheet::default(), made: Made::default(), notify: Vec::new() };
    let name = node.get("name").and_then(Node::text).unwrap_or_default();
    if name.is_empty() {
        maker.lost(node.line, "name", "a job without a name: Prow refuses it");
    }
    maker.job.name = name_of(name);
    maker.job.comments.push(format!("{}:{} {name}", file.rsplit('/').next().unwrap_or(file), node.line));
    if !name.is_empty() && !name.contains("${{") {
        maker.job.env.insert("JOB_NAME".into(), name.to_owned());
    }
    maker.description(node);
    match kind {
        Kind::Periodic => maker.when(node),
        Kind::Postsubmit(repo) => maker.repo_of_postsubmit(repo, node),
    }
    let refs = node.get("extra_refs").map(Node::items).unwrap_or_default();
    maker.refs(refs, kind);
    for pair in node.pairs() {
        maker.field(pair, kind);
    }
    maker.limits(node.get("decoration_config"), node);
    prow_spec::spec(&mut maker, node);
    if !maker.notify.is_empty() {
        let notify = format!("{{ {} }}", maker.notify.join(", "));
        maker.job.set("notify", notify);
    }
    Made { job: Some(maker.job), ..maker.made }
}

impl Maker<'_> {
    fn say(&mut self, line: usize, lost: bool, what: &str, text: impl Into<String>) {
        let said = Said { file: self.file.to_owned(), line, lost, what: what.to_owned(), text: text.into() };
        self.made.said.push(said);
    }

    pub fn lost(&mut self, line: usize, what: &str, text: impl Into<String>) {
        self.say(line, true, what, text);
    }

    pub fn mind(&mut self, line: usize, what: &str, text: impl Into<String>) {
        self.say(line, false, what, text);
    }

    fn description(&mut self, node: &Node) {
        let text = node.get("annotations").and_then(|all| all.get("description")).and_then(Node::text);
        if let Some(text) = text.map(str::trim).filter(|text| !text.is_empty() && !text.contains(['\0'])) {
            self.job.set("description", quoted(&text.replace("${{", "$ {{")));
        }
    }

    /// Exactly one of cron, interval and minimum_interval.
    fn when(&mut self, node: &Node) {
        let found: Vec<&Pair> = node
            .pairs()
            .iter()
            .filter(|pair| ["cron", "interval", "minimum_interval"].contains(&pair.key.as_str()))
            .collect();
        let [pair] = found.as_slice() else {
            self.lost(node.line, "cron", "Prow wants one of cron, interval, minimum_interval: it starts by hand now");
            self.job.set("manual", "true");
            return;
        };
        let text = pair.node.text().unwrap_or_default().trim();
        let line = pair.line;
        let made = match pair.key.as_str() {
            "cron" => match text.strip_prefix("@every ") {
                None => self.cron(line, text),
                Some(span) => self.every(line, "cron", span, ""),
            },
            "interval" => self.every(line, "interval", text, ""),
            _ => self.every(line, "minimum_interval", text, " after end"),
        };
        if let Err(why) = made {
            self.lost(line, &pair.key, format!("{why}; it starts by hand now"));
            self.job.set("manual", "true");
        }
    }

    fn cron(&mut self, line: usize, text: &str) -> Result<(), String> {
        let read = fields::robfig(text)?;
        for note in &read.notes {
            self.say(line, read.times.second != 1, &format!("cron \"{text}\""), note.clone());
        }
        self.job.set("schedule", quoted(&read.written));
        self.job.set("timezone", quoted("UTC"));
        // Prow loses what comes while the last run goes on, and what came while it was down.
        self.job.set("overlap", quoted("skip"));
        self.job.set("catch-up", quoted("skip"));
        self.made.old = Some(Old::Times(read.times, "UTC".into()));
        Ok(())
    }

    fn every(&mut self, line: usize, key: &str, text: &str, after: &str) -> Result<(), String> {
        let span = span(text).filter(|span| span.0 > 0).ok_or_else(|| format!("`{text}` is no span of time"))?;
        self.job.set("every", quoted(&format!("{}{after}", written(span))));
        self.mind(line, key, "first run so long after the file is loaded; Prow starts the first at once");
        self.made.old = Some(Old::Every(span));
        Ok(())
    }

    fn repo_of_postsubmit(&mut self, repo: &str, node: &Node) {
        let own = node.get("clone_uri").and_then(Node::text).map(str::to_owned);
        let url = own.unwrap_or_else(|| match repo.contains("://") {
            true => repo.to_owned(),
            false => format!("https://github.com/{repo}.git"),
        });
        self.set_url(node.line, &url);
        if self.made.url.is_empty() {
            self.job.set("manual", "true");
            return;
        }
        let mut branches = Vec::new();
        for (key, not) in [("branches", ""), ("skip_branches", "!")] {
            let Some(pair) = node.pairs().iter().find(|pair| pair.key == key) else { continue };
            for regex in pair.node.items().iter().filter_map(Node::text) {
                match prow_match::branch(regex) {
                    Some((name, open)) if glob::check(&name).is_ok() => {
                        if open {
                            let text = format!("an expression that matches more than {name}; here it is just that");
                            self.mind(pair.line, &format!("{key} {regex}"), text);
                        }
                        branches.push(format!("{not}{name}"));
                    }
                    _ => {
                        let text = "no glob says the same: write `branches`; until then it starts by hand";
                        self.lost(pair.line, &format!("{key} {regex}"), text);
                        self.by_hand();
                    }
                }
            }
        }
        let names_one = branches.iter().any(|name| !name.starts_with('!'));
        match branches.is_empty() {
            false if names_one => self.job.set("branches", one_or_list(&branches)),
            // Prow's postsubmits run for every branch that is pushed to.
            false => self.job.set("branches", one_or_list(&[vec!["**".to_owned()], branches].concat())),
            true => self.job.set("branches", quoted("**")),
        }
    }

    /// Only a person starts it. Once said is enough.
    fn by_hand(&mut self) {
        if !self.job.keys.iter().any(|(key, _)| *key == "manual") {
            self.job.set("manual", "true");
        }
    }

    fn set_url(&mut self, line: usize, url: &str) {
        match crate::config::is_address(url) {
            true => url.clone_into(&mut self.made.url),
            false => self.lost(line, "clone_uri", format!("`{url}` is no address that [repo] takes")),
        }
    }

    /// Of a periodic the first (or the one with `workdir`) is what the run stands in.
    fn refs(&mut self, refs: &[Node], kind: Kind<'_>) {
        let stands = refs.iter().position(|one| one.get("workdir").is_some_and(Node::is_true)).unwrap_or(0);
        for (index, one) in refs.iter().enumerate() {
            let text = |key: &str| one.get(key).and_then(Node::text).unwrap_or_default();
            let (org, repo, branch) = (text("org"), text("repo"), text("base_ref"));
            let plain = match org.contains("://") {
                true => format!("{org}/{repo}"),
                false => format!("https://github.com/{org}/{repo}.git"),
            };
            let url = Some(text("clone_uri").to_owned()).filter(|url| !url.is_empty()).unwrap_or(plain);
            if kind != Kind::Periodic || index != stands {
                let from = if branch.is_empty() { String::new() } else { format!(" -b {branch}") };
                self.lost(
                    one.line,
                    &format!("extra_refs {org}/{repo}"),
                    format!("clone it in a step: git clone{from} {url}"),
                );
                continue;
            }
            self.set_url(one.line, &url);
            if !branch.is_empty() && !self.made.url.is_empty() {
                match RefName::branch(branch) {
                    Ok(_) if glob::is_plain(branch) => self.job.set("branches", quoted(branch)),
                    _ => self.lost(one.line, "base_ref", format!("`{branch}` is no name of a branch")),
                }
            }
            for pair in one.pairs() {
                match pair.key.as_str() {
                    "org" | "repo" | "base_ref" | "clone_uri" | "workdir" | "repo_link" => {}
                    "base_sha" => {
                        self.lost(pair.line, "base_sha", "the branch's head is taken: git checkout it in a step");
                    }
                    key => self.checkout(pair.line, key),
                }
            }
        }
    }

    fn checkout(&mut self, line: usize, key: &str) {
        match key {
            "path_alias" => self.mind(line, key, "the repository is the directory of the step, under no other path"),
            "clone_depth" | "blobless_fetch" | "skip_fetch_head" => {
                self.mind(line, key, "not needed: commits come out of a mirror on this host");
            }
            "skip_submodules" => self.mind(line, key, "submodules are not checked out: git submodule update in a step"),
            _ => self.lost(line, key, "the whole commit is checked out, and nothing else"),
        }
    }

    fn field(&mut self, pair: &Pair, kind: Kind<'_>) {
        let (line, key) = (pair.line, pair.key.as_str());
        match key {
            "name" | "cron" | "interval" | "minimum_interval" | "extra_refs" | "spec" | "decorate" | "labels" => {}
            "decoration_config" | "clone_uri" => {}
            "branches" | "skip_branches" if kind != Kind::Periodic => {}
            "annotations" => self.annotations(&pair.node),
            "retry" => self.retry(pair),
            "job_queue_name" => self.pool(pair),
            "run_if_changed" | "skip_if_only_changed" => self.changed(pair),
            "max_concurrency" if matches!(pair.node.text(), Some("1")) || kind == Kind::Periodic => {}
            "max_concurrency" => self.mind(line, key, "one run of a job and branch at a time; newer commits wait"),
            "cluster" | "agent" | "namespace" => self.mind(line, key, "everything runs on this host"),
            "hidden" => self.mind(line, key, "pages show every job to whoever may open them"),
            "tags" => self.mind(line, key, "not shown here"),
            "rerun_auth_config" => self.mind(line, key, "who may use the control socket may start it: shipbell run"),
            "reporter_config" => {
                self.lost(line, key, "no Slack here: notify sends mail, or an `always` step calls curl");
            }
            "error_on_eviction" => self.mind(line, key, "a run that was interrupted: see on-interrupted"),
            "always_run" | "optional" | "skip_report" | "context" | "report" | "max_revivals" => {
                self.mind(line, key, "says how GitHub is told: that is not done here");
            }
            "path_alias"
            | "clone_depth"
            | "skip_submodules"
            | "blobless_fetch"
            | "skip_fetch_head"
            | "workdir"
            | "sparse_checkout_files" => self.checkout(line, key),
            _ => self.lost(line, key, "Prow has no such field either, and does not say so"),
        }
    }

    fn annotations(&mut self, node: &Node) {
        for pair in node.pairs() {
            let (line, key) = (pair.line, pair.key.as_str());
            let value = pair.node.text().unwrap_or_default();
            match key {
                "description" => {}
                "testgrid-alert-email" => self.mail_to(line, value),
                "testgrid-num-failures-to-alert" => match value.parse::<u32>() {
                    Ok(1) => {}
                    Ok(n) if n > 0 && self.host.can.after_failures => self.notify.push(format!("after-failures = {n}")),
                    _ => self.lost(line, key, "the first failure of a row is mailed, later ones are not"),
                },
                "testgrid-alert-stale-results-hours" => match value.parse::<u32>() {
                    Ok(n) if n > 0 && self.host.can.stale_after => self.notify.push(format!("stale-after = \"{n}h\"")),
                    _ => self.lost(line, key, "nobody is told here that a job has not run for long"),
                },
                _ => self.mind(line, key, "for TestGrid's pages; see `shipbell status`"),
            }
        }
    }

    fn mail_to(&mut self, line: usize, value: &str) {
        let all = value.split(',').map(|one| one.trim().to_owned()).filter(|one| !one.is_empty());
        let (good, bad): (Vec<String>, Vec<String>) = all.partition(|one| is_address(one));
        if !good.is_empty() {
            self.notify.insert(0, format!("email = {}", one_or_list(&good)));
        }
        for one in bad {
            self.lost(line, "testgrid-alert-email", format!("`{one}` is no mail address"));
        }
    }

    fn retry(&mut self, pair: &Pair) {
        let text = |key: &str| pair.node.get(key).and_then(Node::text).unwrap_or_default();
        let attempts = text("attempts").parse::<u32>().ok().filter(|n| *n > 0);
        let Some(attempts) = attempts.map(|n| n.min(10)) else {
            return self.lost(pair.line, "retry", "without a number of attempts");
        };
        let delay = span(text("interval")).unwrap_or(Seconds(0));
        self.job.set("retry", format!("{{ attempts = {attempts}, delay = \"{}\" }}", written(delay)));
        let text = "Prow's code waits no time between attempts, takes retry.interval for the job's own \
                    interval, and retries cron jobs only at due times; here it does what it says";
        self.mind(pair.line, "retry", text);
        if let Some(all) = pair.node.pairs().iter().find(|pair| pair.key == "run_all" && pair.node.is_true()) {
            self.lost(all.line, "retry.run_all", "attempts end with the first that succeeds");
        }
    }

    fn pool(&mut self, pair: &Pair) {
        let Some(name) = pair.node.text().filter(|name| !name.is_empty()) else { return };
        let pool = name_of(name);
        self.job.set("pool", quoted(&pool));
        match self.known.pools.get(name).map(String::as_str) {
            Some("1") => {}
            Some(places) => {
                self.lost(pair.line, "job_queue_name", format!("in shipbell.toml: [pools] {pool} = {places}"));
            }
            None => self.mind(
                pair.line,
                "job_queue_name",
                format!("pool {pool} has one place; more: [pools] in shipbell.toml"),
            ),
        }
    }

    fn changed(&mut self, pair: &Pair) {
        let regex = pair.node.text().unwrap_or_default();
        let not = if pair.key == "run_if_changed" { "" } else { "!" };
        match prow_match::paths(regex).filter(|globs| globs.iter().all(|glob| glob::check(glob).is_ok())) {
            Some(globs) => {
                let globs: Vec<String> = globs.into_iter().map(|glob| format!("{not}{glob}")).collect();
                self.job.set("paths", one_or_list(&globs));
            }
            None => {
                let text = "no glob says the same: write `paths`; until then it starts by hand";
                self.lost(pair.line, &format!("{} {regex}", pair.key), text);
                self.by_hand();
            }
        }
    }

    /// What Prow's entrypoint does where nothing is said is said here.
    fn limits(&mut self, decoration: Option<&Node>, node: &Node) {
        let text = |key: &str| decoration.and_then(|all| all.get(key)).and_then(Node::text);
        let timeout = text("timeout").and_then(span).filter(|span| span.0 > 0).unwrap_or(Seconds::hours(2));
        let grace = text("grace_period").and_then(span).unwrap_or(Seconds(15));
        self.job.set("timeout", quoted(&written(timeout)));
        self.job.set("grace", quoted(&written(grace)));
        for key in ["timeout", "grace_period"] {
            if let Some(bad) = text(key).filter(|text| span(text).is_none()) {
                self.lost(node.line, key, format!("`{bad}` is no span of time; Prow's default holds"));
            }
        }
        for pair in decoration.map(Node::pairs).unwrap_or_default() {
            match pair.key.as_str() {
                "timeout" | "grace_period" => {}
                "utility_images"
                | "gcs_configuration"
                | "gcs_credentials_secret"
                | "resources"
                | "skip_cloning"
                | "s3_credentials_secret"
                | "blobless_fetch" => {
                    self.mind(pair.line, &pair.key, "Prow's own pods and buckets; logs and artifacts lie on this host");
                }
                key => self.lost(pair.line, key, "of Prow's decoration; not done here"),
            }
        }
    }
}

/// Go's durations: `1h30m`, `90m`, `1.5h`, `500ms`; up to whole seconds.
fn span(text: &str) -> Option<Seconds> {
    let mut rest = text.trim();
    let mut total = 0.0_f64;
    if rest.is_empty() || rest.len() > 40 {
        return None;
    }
    if rest == "0" {
        return Some(Seconds(0));
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number = rest.get(..digits)?.parse::<f64>().ok()?;
        rest = rest.get(digits..)?;
        let units = [("ms", 0.001), ("us", 0.000_001), ("ns", 0.000_000_001), ("h", 3600.0), ("m", 60.0), ("s", 1.0)];
        let (unit, seconds) = units.iter().find(|(unit, _)| rest.starts_with(unit))?;
        rest = rest.get(unit.len()..)?;
        total += number * seconds;
    }
    let whole = format!("{:.0}", total.ceil()).parse::<u64>().ok()?;
    Some(Seconds(whole)).filter(|span| span.0 <= SECONDS_MAX)
}

/// As a job file has it: `1h30m`.
fn written(span: Seconds) -> String {
    let (h, m, s) = (span.0 / 3600, span.0 % 3600 / 60, span.0 % 60);
    let parts = [(h, "h"), (m, "m"), (s, "s")];
    let text: String = parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n}{unit}")).collect();
    if text.is_empty() { "0s".into() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gos_durations() {
        for (text, seconds, shown) in [
            ("1h30m", 5400, "1h30m"),
            ("90m", 5400, "1h30m"),
            ("1.5h", 5400, "1h30m"),
            ("24h0m0s", 86_400, "24h"),
            ("500ms", 1, "1s"),
            ("2h", 7200, "2h"),
            ("0", 0, "0s"),
        ] {
            let span = span(text).unwrap();
            assert_eq!((span.0, written(span).as_str()), (seconds, shown), "{text}");
            assert!(span.0 == 0 || written(span).parse::<Seconds>() == Ok(span));
        }
        for bad in ["", "h", "1", "1d", "-1h", "1h 2m", "99999999999999h", "1..2h"] {
            assert_eq!(span(bad), None, "{bad}");
        }
    }
}
