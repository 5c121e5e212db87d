//! Reads requests against a host's published description of its interface: is there such an address, does
//! it know the parameters, and is the body what it says it takes? (Of GitLab, whose own description is in no
//! package, the types of a client in wide use. Each file says where it is from.)

use serde_json::Value;

use crate::host::Asked;

/// What `github`, `gitlab` or `gitea` takes.
pub fn description(forge: &str) -> Value {
    let text = match forge {
        "github" => include_str!("github-openapi.json"),
        "gitlab" => include_str!("gitlab-types.json"),
        "gitea" => include_str!("forgejo-swagger.json"),
        other => panic!("{other} is no host"),
    };
    serde_json::from_str(text).unwrap()
}

/// What is wrong with a request; nothing where it is good.
pub fn faults(description: &Value, asked: &Asked) -> Vec<String> {
    let prefix = ["/api/v1", "/api/v3", "/api/v4"].iter().find_map(|prefix| asked.path.strip_prefix(prefix));
    let path = prefix.unwrap_or(&asked.path);
    let known = description["paths"].as_object().unwrap().iter().find(|(template, _)| fits(template, path));
    let method = asked.method.to_lowercase();
    let Some(operation) = known.and_then(|(_, methods)| methods.get(&method)) else {
        return vec![format!("{method} {path} is not described")];
    };
    let mut faults = Vec::new();
    let parameters = operation["parameters"].as_array().unwrap();
    for (name, value) in asked.query.split('&').filter_map(|pair| pair.split_once('=')) {
        let Some(known) = parameters.iter().find(|one| one["in"] == "query" && one["name"] == name) else {
            faults.push(format!("{method} {path} has no parameter {name}"));
            continue;
        };
        if known["enum"].as_array().is_some_and(|words| !words.iter().any(|word| word == value)) {
            faults.push(format!("{method} {path}: {name} is not {value}"));
        }
    }
    if let Some(schema) = operation.get("body") {
        check(schema, &asked.body, path, &mut faults);
    }
    faults
}

fn fits(template: &str, path: &str) -> bool {
    let (template, path): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
    let part = |(wanted, found): (&&str, &&str)| wanted.starts_with('{') && !found.is_empty() || wanted == found;
    template.len() == path.len() && template.iter().zip(&path).all(part)
}

/// The part of JSON Schema that these bodies use. A field that is not described is a fault: it would be
/// passed over without a word.
fn check(schema: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
    if let Some(choices) = schema.get("oneOf").and_then(Value::as_array) {
        let good = |choice: &&Value| {
            let mut inner = Vec::new();
            check(choice, value, at, &mut inner);
            inner.is_empty()
        };
        if choices.iter().filter(good).count() != 1 {
            faults.push(format!("{at}: {value} is none of the choices"));
        }
        return;
    }
    if value.is_null() && schema["nullable"] == true {
        return;
    }
    let right = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("array") => value.is_array(),
        Some("integer") => value.is_i64() || value.is_u64(),
        other => panic!("{at}: the type {other:?} is not known to this test"),
    };
    if !right {
        faults.push(format!("{at}: {value} is no {}", schema["type"]));
    }
    if let Some(words) = schema.get("enum").and_then(Value::as_array)
        && !words.contains(value)
    {
        faults.push(format!("{at}: {value} is none of {words:?}"));
    }
    if let (Some(most), Some(text)) = (schema["maxLength"].as_u64(), value.as_str())
        && text.chars().count() as u64 > most
    {
        faults.push(format!("{at}: longer than {most}: {value}"));
    }
    for required in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
        if value.get(required.as_str().unwrap()).is_none() {
            faults.push(format!("{at}: {required} is missing"));
        }
    }
    for (name, inner) in value.as_object().into_iter().flatten() {
        match schema["properties"].get(name) {
            Some(schema) => check(schema, inner, &format!("{at}.{name}"), faults),
            None if schema["additionalProperties"] == true => {}
            None => faults.push(format!("{at}: {name} is not described")),
        }
    }
}

#[test]
fn the_reader_of_descriptions_can_fail() {
    let asked = |method: &str, path: &str, query: &str, body: Value| Asked {
        at: std::time::Instant::now(),
        method: method.into(),
        path: path.into(),
        query: query.into(),
        headers: Vec::new(),
        body,
        answered: 201,
    };
    let of_github = description("github");
    let to = "/api/v3/repos/o/shop/statuses/abc";
    let good = serde_json::json!({ "state": "pending", "target_url": null, "context": "x" });
    assert_eq!(faults(&of_github, &asked("POST", to, "", good)), Vec::<String>::new());
    for bad in [
        asked("POST", to, "", serde_json::json!({})),
        asked("POST", to, "", serde_json::json!({ "state": "running" })),
        asked("POST", to, "", serde_json::json!({ "state": "pending", "name": "x" })),
        asked("POST", to, "", serde_json::json!({ "state": "pending", "target_url": 7 })),
        asked("PUT", to, "", serde_json::json!({ "state": "pending" })),
        asked("POST", "/api/v3/repos/o/statuses/abc", "", serde_json::json!({ "state": "pending" })),
        asked("GET", "/api/v3/repos/o/shop/deployments", "commit=abc", Value::Null),
    ] {
        assert_eq!(faults(&of_github, &bad).len(), 1, "{bad:?}");
    }
    let to = "/api/v4/projects/o%2Fshop/statuses/abc";
    let long = "x".repeat(256);
    for bad in [
        asked("POST", to, "", serde_json::json!({ "state": "failure" })),
        asked("POST", to, "", serde_json::json!({ "state": "failed", "description": long })),
        asked("POST", "/api/v4/projects/o/shop/statuses/abc", "", serde_json::json!({ "state": "failed" })),
        asked("GET", "/api/v4/projects/o%2Fshop/deployments", "order_by=name", Value::Null),
    ] {
        assert_eq!(faults(&description("gitlab"), &bad).len(), 1, "{bad:?}");
    }
    for bad in [
        asked("POST", "/api/v1/repos/o/shop/deployments", "", serde_json::json!({})),
        asked("POST", "/api/v1/repos/o/shop/statuses/abc", "", serde_json::json!({ "state": "failed" })),
    ] {
        assert_eq!(faults(&description("gitea"), &bad).len(), 1, "{bad:?}");
    }
}
