//! What each host wants to read: its addresses, words and fields, as its documentation has them. Pure.
//! Names in addresses come from the configuration or are checked before (commits, projects, environments).

use serde_json::{Map, Value, json};

use crate::model::commit::CommitId;
use crate::model::forge::{Forge, Project};
use crate::model::name::RunRef;

/// What a host is told of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub project: Project,
    pub run: RunRef,
    pub commit: CommitId,
    /// Branch or tag, short; and whether it is a tag.
    pub git_ref: String,
    pub tag: bool,
    /// Under which name the mark stands; `None`: a later run of the job has that place now.
    pub context: Option<String>,
    pub standing: Standing,
    /// In a few words.
    pub description: String,
    /// The run's page.
    pub link: String,
    /// The environment that it changes, and the page of that.
    pub environment: Option<(String, Option<String>)>,
}

/// How a run stands, in words that all hosts have one for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Running,
    Succeeded,
    Failed,
    Cancelled,
    /// Nobody can say how it ended.
    Unknown,
}

/// One request.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    pub method: &'static str,
    pub url: String,
    pub body: Option<Value>,
}

/// Where the interface of a host is, by the address that people see.
#[must_use]
pub fn api(forge: Forge, url: &str) -> String {
    match forge {
        Forge::Github if url == "https://github.com" => "https://api.github.com".to_owned(),
        Forge::Github => format!("{url}/api/v3"),
        Forge::Gitlab => format!("{url}/api/v4"),
        Forge::Gitea => format!("{url}/api/v1"),
    }
}

fn project(report: &Report, url: &str) -> String {
    let (forge, path) = (report.project.forge, &report.project.path);
    let api = api(forge, url);
    match forge {
        Forge::Github | Forge::Gitea => format!("{api}/repos/{path}"),
        Forge::Gitlab => format!("{api}/projects/{}", path.replace('/', "%2F")),
    }
}

fn post(url: String, body: Value) -> Call {
    Call { method: "POST", url, body: Some(body) }
}

/// The commit status.
#[must_use]
pub fn mark(report: &Report, url: &str) -> Option<Call> {
    let context = report.context.as_ref()?;
    let to = format!("{}/statuses/{}", project(report, url), report.commit);
    let state = match (report.project.forge, report.standing) {
        (Forge::Gitlab, standing) => word_of_gitlab(standing),
        (_, Standing::Running) => "pending",
        (_, Standing::Succeeded) => "success",
        (_, Standing::Failed) => "failure",
        (_, Standing::Cancelled | Standing::Unknown) => "error",
    };
    let (link, description) = (&report.link, &report.description);
    Some(match report.project.forge {
        Forge::Github | Forge::Gitea => {
            let body = json!({ "state": state, "target_url": link, "description": description, "context": context });
            post(to, body)
        }
        Forge::Gitlab => {
            let mut body = json!({ "state": state, "target_url": link, "description": description, "name": context });
            if let Some(fields) = body.as_object_mut().filter(|_| !report.git_ref.is_empty()) {
                fields.insert("ref".into(), report.git_ref.clone().into());
            }
            post(to, body)
        }
    })
}

fn word_of_gitlab(standing: Standing) -> &'static str {
    match standing {
        Standing::Running => "running",
        Standing::Succeeded => "success",
        Standing::Failed | Standing::Unknown => "failed",
        Standing::Cancelled => "canceled",
    }
}

fn environment(report: &Report) -> &str {
    report.environment.as_ref().map(|(name, _)| name.as_str()).unwrap_or_default()
}

/// Asks which deployments the host knows already.
#[must_use]
pub fn deployments(report: &Report, url: &str) -> Call {
    let (project, environment) = (project(report, url), environment(report));
    let query = match report.project.forge {
        Forge::Gitlab => format!("environment={environment}&order_by=id&sort=desc&per_page=20"),
        Forge::Github | Forge::Gitea => format!("sha={}&environment={environment}&per_page=100", report.commit),
    };
    Call { method: "GET", url: format!("{project}/deployments?{query}"), body: None }
}

/// The number of this run's deployment in the host's answer.
#[must_use]
pub fn deployment_of(report: &Report, answer: &Value) -> Option<u64> {
    let run = report.run.to_string();
    let is_it = |one: &&Value| match report.project.forge {
        // A payload comes back as it was sent, or as the text of it.
        Forge::Github | Forge::Gitea => match one.get("payload") {
            Some(Value::String(text)) => serde_json::from_str::<Value>(text).is_ok_and(|payload| is_of(&payload, &run)),
            Some(payload) => is_of(payload, &run),
            None => false,
        },
        Forge::Gitlab => {
            let text = |name: &str| one.get(name).and_then(Value::as_str);
            text("sha") == Some(report.commit.as_str()) && matches!(text("status"), Some("running" | "created"))
        }
    };
    answer.as_array()?.iter().find(is_it)?.get("id")?.as_u64()
}

fn is_of(payload: &Value, run: &str) -> bool {
    payload.get("shipbell_run").and_then(Value::as_str) == Some(run)
}

/// Tells of a deployment that the host does not know.
#[must_use]
pub fn new_deployment(report: &Report, url: &str) -> Call {
    let to = format!("{}/deployments", project(report, url));
    let body = match report.project.forge {
        Forge::Gitlab => json!({
            "environment": environment(report),
            "sha": report.commit.as_str(),
            "ref": report.git_ref,
            "tag": report.tag,
            "status": word_of_gitlab(report.standing),
        }),
        // What may land is decided here: the host is to record it, not to merge or to judge.
        Forge::Github | Forge::Gitea => json!({
            "ref": report.commit.as_str(),
            "environment": environment(report),
            "description": report.run.to_string(),
            "auto_merge": false,
            "required_contexts": [],
            "payload": { "shipbell_run": report.run.to_string() },
        }),
    };
    post(to, body)
}

/// Tells how a deployment stands that the host knows by this number.
#[must_use]
pub fn deployment_state(report: &Report, url: &str, id: u64) -> Call {
    let to = format!("{}/deployments/{id}", project(report, url));
    if report.project.forge == Forge::Gitlab {
        let body = json!({ "status": word_of_gitlab(report.standing) });
        return Call { method: "PUT", url: to, body: Some(body) };
    }
    let state = match report.standing {
        Standing::Running => "in_progress",
        Standing::Succeeded => "success",
        Standing::Failed => "failure",
        Standing::Cancelled | Standing::Unknown => "error",
    };
    let mut fields = Map::new();
    fields.insert("state".into(), state.into());
    fields.insert("log_url".into(), report.link.clone().into());
    fields.insert("description".into(), report.description.clone().into());
    if let Some((name, page)) = &report.environment {
        fields.insert("environment".into(), name.clone().into());
        if let Some(page) = page {
            fields.insert("environment_url".into(), page.clone().into());
        }
    }
    post(format!("{to}/statuses"), Value::Object(fields))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(forge: Forge, standing: Standing) -> Report {
        Report {
            project: Project { forge, path: "group/shop".into() },
            run: "shop/staging#7".parse().unwrap(),
            commit: CommitId::new(&"a".repeat(40)).unwrap(),
            git_ref: "main".into(),
            tag: false,
            context: Some("shipbell/shop/staging".into()),
            standing,
            description: "running".into(),
            link: "https://ci.example.org/shop/staging/7".into(),
            environment: Some(("staging".into(), Some("https://staging.example.org".into()))),
        }
    }

    #[test]
    fn every_host_has_its_own_address() {
        let a = "a".repeat(40);
        for (forge, url, expected) in [
            (Forge::Github, "https://github.com", format!("https://api.github.com/repos/group/shop/statuses/{a}")),
            (Forge::Github, "https://ghe.local", format!("https://ghe.local/api/v3/repos/group/shop/statuses/{a}")),
            (Forge::Gitlab, "https://gl.local", format!("https://gl.local/api/v4/projects/group%2Fshop/statuses/{a}")),
            (Forge::Gitea, "https://gt.local/x", format!("https://gt.local/x/api/v1/repos/group/shop/statuses/{a}")),
        ] {
            assert_eq!(mark(&report(forge, Standing::Running), url).unwrap().url, expected);
        }
    }

    #[test]
    fn every_host_has_its_own_words() {
        let states = |forge| {
            [Standing::Running, Standing::Succeeded, Standing::Failed, Standing::Cancelled, Standing::Unknown]
                .map(|standing| mark(&report(forge, standing), "https://h").unwrap().body.unwrap()["state"].clone())
        };
        assert_eq!(states(Forge::Github), ["pending", "success", "failure", "error", "error"]);
        assert_eq!(states(Forge::Gitea), ["pending", "success", "failure", "error", "error"]);
        assert_eq!(states(Forge::Gitlab), ["running", "success", "failed", "canceled", "failed"]);
        let gitlab = mark(&report(Forge::Gitlab, Standing::Running), "https://h").unwrap().body.unwrap();
        assert_eq!((&gitlab["name"], &gitlab["ref"]), (&json!("shipbell/shop/staging"), &json!("main")));
        let told = Report { context: None, ..report(Forge::Github, Standing::Running) };
        assert_eq!(mark(&told, "https://h"), None, "a later run has the place");
    }

    #[test]
    fn a_deployment_is_found_again() {
        let github = report(Forge::Github, Standing::Succeeded);
        let payload = new_deployment(&github, "https://h").body.unwrap()["payload"].clone();
        let others = json!([{ "id": 1, "payload": "" }, { "id": 2, "payload": { "shipbell_run": "shop/staging#6" } }]);
        assert_eq!(deployment_of(&github, &others), None);
        assert_eq!(deployment_of(&github, &json!([{ "id": 3, "payload": payload }])), Some(3));
        assert_eq!(deployment_of(&github, &json!([{ "id": 3, "payload": payload.to_string() }])), Some(3));
        assert_eq!(deployment_of(&github, &json!({ "message": "no list" })), None);
        let gitlab = report(Forge::Gitlab, Standing::Succeeded);
        let (mine, other) = ("a".repeat(40), "b".repeat(40));
        let known = json!([
            { "id": 5, "sha": other, "status": "running" },
            { "id": 6, "sha": mine, "status": "success" },
            { "id": 7, "sha": mine, "status": "running" },
        ]);
        assert_eq!(deployment_of(&gitlab, &known), Some(7));
        let call = deployment_state(&gitlab, "https://h", 7);
        assert_eq!((call.method, call.body.unwrap()), ("PUT", json!({ "status": "success" })));
        assert_eq!(call.url, "https://h/api/v4/projects/group%2Fshop/deployments/7");
    }
}
