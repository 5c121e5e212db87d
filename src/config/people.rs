//! `[person.NAME]` of shipbell.toml: who is asked, as whom they write commits, the public keys that their
//! votes are signed with, and the name of the secret that their codes are made of. Each belongs to one person:
//! nobody votes twice with it.

use std::collections::BTreeMap;

use crate::config::keys::{self, Place};
use crate::config::message::{Findings, Mistake};
use crate::config::settings::address;
use crate::config::steps;
use crate::config::tree::{Entry, Table};
use crate::model::catalog::Person;
use crate::model::name::{JobName, PersonName};
use crate::model::request::ROOT;
use crate::model::secret::SecretName;

/// Kinds of keys, and how the base64 of each begins: the kind stands in there once more.
const KINDS: &[(&str, &str)] = &[
    ("ssh-ed25519", "AAAAC3NzaC1lZDI1NTE5"),
    ("sk-ssh-ed25519@openssh.com", "AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29t"),
    ("ecdsa-sha2-nistp256", "AAAAE2VjZHNhLXNoYTItbmlzdHAyNTY"),
    ("ecdsa-sha2-nistp384", "AAAAE2VjZHNhLXNoYTItbmlzdHAzODQ"),
    ("ecdsa-sha2-nistp521", "AAAAE2VjZHNhLXNoYTItbmlzdHA1MjE"),
    ("sk-ecdsa-sha2-nistp256@openssh.com", "AAAAInNrLWVjZHNhLXNoYTItbmlzdHAyNTZAb3BlbnNzaC5jb2"),
    ("ssh-rsa", "AAAAB3NzaC1yc2E"),
];
/// Longer than any public key.
const KEY_MAX: usize = 4096;

/// The people of the table `[person]`.
pub fn read(table: &Table, first_header: Option<&Table>, f: &Findings) -> BTreeMap<PersonName, Person> {
    let mut people: BTreeMap<PersonName, Person> = BTreeMap::new();
    for entry in &table.entries {
        let name = match entry.key.parse::<PersonName>() {
            // What root of the host does is written down under that name.
            Ok(name) if name.as_str() == ROOT => {
                let mistake = Mistake::new(&entry.key_spot, "`root` is no name of a person");
                f.add(&mistake.label("it is the host's: name who it is"));
                continue;
            }
            Ok(name) => name,
            Err(error) => {
                let mistake = Mistake::new(&entry.key_spot, format!("`{}` is no name of a person", entry.key));
                f.add(&mistake.label(error.to_string()));
                continue;
            }
        };
        let Some(table) = entry.table("[person.anna]", f) else { continue };
        keys::check(table, Place::Person, first_header, f);
        let ssh_keys = table.get("ssh-key").map(|entry| ssh_keys(entry, &people, f)).unwrap_or_default();
        let totp = table.get("totp").and_then(|entry| seed(entry, &people, f));
        if let Some(person) = person(&name, table, ssh_keys, f) {
            let person = Person { totp, ..person };
            people.insert(name, person);
        }
    }
    people
}

fn person(name: &PersonName, table: &Table, ssh_keys: Vec<String>, f: &Findings) -> Option<Person> {
    let Some(email) = table.get("email") else {
        let mistake = Mistake::new(&table.spot, format!("person `{name}` has no email"));
        f.add(&mistake.label("add email = \"...\": approvals are asked for by mail"));
        return None;
    };
    let bare = |entry: &Entry| match address(entry, f) {
        Some(text) if text.contains('<') => {
            entry.refuse("the address alone, without a name", "write it like anna@example.org", f);
            None
        }
        other => other,
    };
    let email = bare(email)?;
    let git = table.get("git").map(Entry::items).unwrap_or_default();
    let role = |item: Entry| item.parsed::<JobName>(f).map(|role| role.to_string());
    let roles = table.get("roles").map(Entry::items).unwrap_or_default();
    Some(Person {
        email,
        git: git.iter().filter_map(bare).collect(),
        login: table.get("login").and_then(|entry| entry.text(f)),
        roles: roles.into_iter().filter_map(role).collect(),
        ssh_keys,
        totp: None,
    })
}

/// The name of the secret that a person's codes are made of. Who writes the seed itself is stopped, and it is
/// not printed.
fn seed(entry: &Entry, people: &BTreeMap<PersonName, Person>, f: &Findings) -> Option<SecretName> {
    let text = entry.text(f)?;
    let base32 = |c: char| c.is_ascii_uppercase() || matches!(c, '2'..='7' | '=' | ' ');
    if text.len() >= 16 && text.chars().all(base32) {
        let mistake = Mistake::new(&entry.spot, "here stands the name of a file, not the seed itself").concealed();
        let how = "make another seed with `shipbell totp NAME`, and write totp = \"totp-NAME\"";
        f.add(&mistake.label(how));
        return None;
    }
    let name = steps::secret(entry, f)?;
    if let Some((other, _)) = people.iter().find(|(_, person)| person.totp.as_ref() == Some(&name)) {
        entry.refuse(format!("this is the seed of `{other}`"), "each person has codes of their own", f);
        return None;
    }
    Some(name)
}

/// One key or a list of them, each a line of a `.pub` file.
fn ssh_keys(entry: &Entry, people: &BTreeMap<PersonName, Person>, f: &Findings) -> Vec<String> {
    let mut keys: Vec<String> = Vec::new();
    for (text, item) in entry.texts(f).unwrap_or_default() {
        let Some(key) = public_key(&text) else {
            let mistake = Mistake::new(&item.spot, "this is no public key of ssh")
                .label("write the line of its .pub file: ssh-key = \"ssh-ed25519 AAAA...\"");
            f.add(&if text.contains("PRIVATE") { mistake.concealed() } else { mistake });
            continue;
        };
        if let Some((other, _)) = people.iter().find(|(_, person)| person.ssh_keys.contains(&key)) {
            item.refuse(format!("this is the key of `{other}`"), "each person signs with a key of their own", f);
        } else if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys
}

/// Kind and base64, without the comment. Options and certificates are no keys.
fn public_key(line: &str) -> Option<String> {
    let mut words = line.split_ascii_whitespace();
    let (kind, body) = (words.next()?, words.next()?);
    let (_, begin) = KINDS.iter().find(|(known, _)| *known == kind)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "+/=".contains(c);
    let sound = body.starts_with(begin) && body.len() > 60 && body.len() <= KEY_MAX && body.chars().all(plain);
    (sound && !line.contains(['\n', '\r'])).then(|| format!("{kind} {body}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_key_is_its_kind_and_body_and_nothing_else_is_one() {
        let body = format!("AAAAC3NzaC1lZDI1NTE5{}", "AAAAIKFoV8Qy7wUb9+vwhXxR/rt9t8Ta9BSeJdyOc2AK5KZv");
        assert_eq!(public_key(&format!("ssh-ed25519  {body} anna@laptop")), Some(format!("ssh-ed25519 {body}")));
        for bad in [
            String::new(),
            "ssh-ed25519".into(),
            format!("ssh-rsa {body}"),
            format!("cert-authority ssh-ed25519 {body}"),
            format!("ssh-ed25519-cert-v01@openssh.com {body}"),
            format!("ssh-ed25519 {body}\nben ssh-ed25519 {body}"),
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5".into(),
            "-----BEGIN OPENSSH PRIVATE KEY-----".into(),
        ] {
            assert_eq!(public_key(&bad), None, "{bad}");
        }
    }
}
