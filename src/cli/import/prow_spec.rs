//! A pod's spec as a step: its one container's command and arguments, which no shell has read, and its
//! variables. Images, mounts and limits are told: there is no container here.

use std::collections::BTreeMap;

use super::draft::quoted;
use super::prow_job::Maker;
use super::shell;
use super::yaml::{Node, Pair};

/// Sets shell, steps and variables.
pub(super) fn spec(maker: &mut Maker<'_>, job: &Node) {
    let mut env = BTreeMap::new();
    labels(maker, job, &mut env);
    let Some(spec) = job.get("spec") else {
        maker.lost(job.line, "spec", "there is none, so nobody knows what it does: write its steps");
        return no_command(maker, "this job had no spec in Prow");
    };
    let containers = spec.get("containers").map(Node::items).unwrap_or_default();
    for pair in spec.pairs().iter().filter(|pair| pair.key != "containers") {
        pod_field(maker, pair);
    }
    for other in containers.iter().skip(1) {
        maker.lost(other.line, "containers", "a second container: start it in a step, it ends with the run");
    }
    let Some(container) = containers.first() else {
        maker.lost(spec.line, "containers", "there is none, so nobody knows what it does: write its steps");
        return no_command(maker, "this job had no container in Prow");
    };
    variables(maker, container.get("env").map(Node::items).unwrap_or_default(), &mut env);
    let lines = set_env(maker, &env, container.line);
    for pair in container.pairs() {
        container_field(maker, pair);
    }
    let list = |key: &str| -> Vec<String> {
        let items = container.get(key).map(Node::items).unwrap_or_default();
        items.iter().map(|item| item.text().unwrap_or_default().replace('\0', "")).collect()
    };
    let (command, args) = (list("command"), list("args"));
    let image = container.get("image").and_then(Node::text).unwrap_or("an image");
    if command.is_empty() {
        let text = format!("{image} says what is started: write it in front of the arguments");
        maker.lost(container.line, "command", text);
        return no_command(maker, "Prow started what the image names: write its command here");
    }
    steps(maker, &[command, args].concat(), &env, &lines);
}

fn no_command(maker: &mut Maker<'_>, why: &str) {
    maker.job.set("steps", quoted(&format!("echo {} >&2; exit 64", shell::word(why))));
}

/// Names that Prow's decoration or Shipbell sets.
const GIVEN: &[&str] = &["JOB_NAME", "JOB_TYPE", "JOB_SPEC", "BUILD_ID", "ARTIFACTS", "CI"];

fn steps(maker: &mut Maker<'_>, words: &[String], env: &BTreeMap<String, String>, lines: &[String]) {
    let known = |name: &str| env.contains_key(name) || GIVEN.contains(&name);
    let mut text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    // `bash -c SCRIPT`: the script is the step.
    if let [program, options @ .., script] = words
        && let base = program.rsplit('/').next().unwrap_or_default()
        && ["sh", "bash", "dash", "ash"].contains(&base)
        && [program].into_iter().chain(options).all(|word| word.chars().all(|c| c.is_ascii_graphic() && c != '$'))
        && options.iter().all(|option| option.starts_with('-') || option == "pipefail")
        && options.iter().any(|option| !option.starts_with("--") && option.starts_with('-') && option.contains('c'))
        && !script.trim().is_empty()
        && !script.contains("${{")
    {
        let shell: Vec<String> = [program].into_iter().chain(options).map(|word| quoted(word)).collect();
        maker.job.set("shell", format!("[{}]", shell.join(", ")));
        text.push_str(&shell::expanding_script(script, known));
    } else {
        let plain = words.iter().all(|word| !word.contains('$'));
        let command = match plain {
            true => shell::command(words),
            false => words.iter().map(|word| shell::expanding(word, known)).collect::<Vec<_>>().join(" "),
        };
        text.push_str(&command);
    }
    maker.job.set("steps", quoted(&text));
}

/// Presets bring variables and volumes; other labels are for looking at.
fn labels(maker: &mut Maker<'_>, job: &Node, env: &mut BTreeMap<String, String>) {
    for pair in job.get("labels").map(Node::pairs).unwrap_or_default() {
        let value = pair.node.text().unwrap_or_default();
        let asked = |preset: &&&Node| {
            let labels = preset.get("labels").map(Node::pairs).unwrap_or_default();
            labels.iter().any(|label| label.key == pair.key && label.node.text().unwrap_or_default() == value)
        };
        let presets: Vec<&Node> = maker.known.presets.iter().filter(asked).copied().collect();
        if presets.is_empty() {
            match pair.key.starts_with("preset-") {
                true => maker.lost(pair.line, &pair.key, "this preset is in none of the files that were read"),
                false => maker.mind(pair.line, &pair.key, "a label; not shown here"),
            }
        }
        for preset in presets {
            variables(maker, preset.get("env").map(Node::items).unwrap_or_default(), env);
            for volumes in ["volumes", "volumeMounts"] {
                if preset.get(volumes).is_some_and(|list| !list.items().is_empty()) {
                    maker.lost(
                        pair.line,
                        &pair.key,
                        format!("{volumes} of this preset: put the files where the user reads them"),
                    );
                }
            }
        }
    }
}

fn variables(maker: &mut Maker<'_>, list: &[Node], env: &mut BTreeMap<String, String>) {
    for one in list {
        let name = one.get("name").and_then(Node::text).unwrap_or_default();
        if one.get("valueFrom").is_some() {
            maker.lost(
                one.line,
                &format!("env {name}"),
                "a secret: as a file in /etc/shipbell/secrets, then env = { NAME = { secret = \"FILE\" } }",
            );
            continue;
        }
        let value = one.get("value").and_then(Node::text).unwrap_or_default();
        env.insert(name.to_owned(), value.to_owned());
    }
}

/// Variables as they can be said; those that only a shell can set come back as its lines.
fn set_env(maker: &mut Maker<'_>, env: &BTreeMap<String, String>, line: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, value) in env {
        let first = |c: char| c.is_ascii_alphabetic() || c == '_';
        let legal = name.starts_with(first) && name.chars().all(|c| first(c) || c.is_ascii_digit());
        let known = |name: &str| env.contains_key(name) || GIVEN.contains(&name);
        let refers = value.contains("$(") || value.contains("$$");
        if !legal || name.starts_with("SHIPBELL_") || value.contains('\0') {
            maker.lost(line, &format!("env {name}"), "a job cannot have a variable of this name");
        } else if refers || crate::config::is_job_key(name) || value.contains("${{") {
            lines.push(format!("{name}={}; export {name}", shell::expanding(value, known)));
        } else {
            maker.job.env.insert(name.clone(), value.clone());
        }
    }
    lines
}

fn pod_field(maker: &mut Maker<'_>, pair: &Pair) {
    let (line, key) = (pair.line, pair.key.as_str());
    match key {
        "volumes" => maker.lost(line, key, "put the files where the job's user reads them; secrets into /etc/shipbell/secrets, then secrets = \"FILE\""),
        "initContainers" => maker.lost(line, key, "write their commands as steps before"),
        "serviceAccountName" | "serviceAccount" | "automountServiceAccountToken" => {
            maker.lost(line, key, "no cluster's identity here: give the job's user a credential of its own");
        }
        "restartPolicy"
        | "nodeSelector"
        | "tolerations"
        | "affinity"
        | "priorityClassName"
        | "dnsPolicy"
        | "dnsConfig"
        | "terminationGracePeriodSeconds"
        | "imagePullSecrets"
        | "schedulerName"
        | "topologySpreadConstraints" => {
            maker.mind(line, key, "for a cluster: everything runs on this host");
        }
        "hostNetwork" => maker.mind(line, key, "a step is in the host's network anyway"),
        _ => maker.lost(line, &format!("spec.{key}"), "of a pod: there is none here"),
    }
}

fn container_field(maker: &mut Maker<'_>, pair: &Pair) {
    let (line, key) = (pair.line, pair.key.as_str());
    match key {
        "command" | "args" | "env" | "name" => {}
        "image" => {
            let image = pair.node.text().unwrap_or_default();
            maker.lost(line, key, format!("install what {image} brought, or `podman run` it in the step"));
        }
        "resources" => maker.lost(line, key, "write what holds here: limits = { memory = \"2G\", cpus = 2 }"),
        "volumeMounts" => maker.lost(line, key, "the step sees the host's own paths"),
        "envFrom" => maker.lost(
            line,
            key,
            "a secret: as files in /etc/shipbell/secrets, then env = { NAME = { secret = \"FILE\" } }",
        ),
        "workingDir" => maker.lost(line, key, "the step stands at the repository's top: cd in it"),
        "securityContext" => maker.lost(line, key, "the step is its user's, without more rights: see `user`"),
        "imagePullPolicy" | "ports" | "tty" | "stdin" | "terminationMessagePolicy" => {
            maker.mind(line, key, "of a container: there is none here");
        }
        _ => maker.lost(line, &format!("container.{key}"), "of a container: there is none here"),
    }
}
