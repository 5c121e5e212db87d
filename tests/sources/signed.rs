//! `signed-by`: commits and tags with and without ssh signatures, made by git itself with real keys, in a
//! repository that is polled as any other.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use git2::Oid;
use shipbell::model::event::HeadSeen;

use crate::servers::program;
use crate::world::{World, head, id, on, tag};

struct Keys(PathBuf);

impl Keys {
    fn new(dir: &Path) -> Self {
        for name in ["ann", "eve"] {
            let mut command = Command::new(program("ssh-keygen", "openssh-client"));
            command.args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"]).arg(dir.join(name));
            assert!(command.status().unwrap().success());
        }
        Self(dir.to_owned())
    }

    /// An allowed-signers file of these people.
    fn signers(&self, names: &[&str]) -> String {
        let line = |name: &&str| {
            let key = fs::read_to_string(self.0.join(format!("{name}.pub"))).unwrap();
            format!("{name}@example.org namespaces=\"git\" {key}")
        };
        format!("# who may\n{}", names.iter().map(line).collect::<String>())
    }

    fn git(&self, origin: &Path, who: &str, arguments: &[&str]) -> String {
        let mut command = Command::new("git");
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", &self.0);
        for name in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{name}_NAME"), "Ann").env(format!("GIT_{name}_EMAIL"), "ann@example.org");
        }
        command.arg("--git-dir").arg(origin).args(["-c", "gpg.format=ssh", "-c"]);
        command.arg(format!("user.signingkey={}", self.0.join(who).display())).args(arguments);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// A signed commit on top of main.
    fn commit(&self, world: &World, who: &str, message: &str) -> Oid {
        let tip = world.origin.repo.refname_to_id("refs/heads/main").unwrap();
        let tree = world.origin.tree(&[("file", message)]).to_string();
        let parent = tip.to_string();
        let made = self.git(&world.origin.dir, who, &["commit-tree", "-S", &tree, "-p", &parent, "-m", message]);
        let made = Oid::from_str(&made).unwrap();
        world.origin.point("refs/heads/main", made);
        made
    }
}

fn signed_world(signers: &str) -> World {
    let mut world = World::new(&["main"], &["v*"]);
    demand(&mut world, signers);
    world
}

fn demand(world: &mut World, signers: &str) {
    let pipeline = Arc::make_mut(&mut world.target.pipeline);
    pipeline.repo.as_mut().unwrap().signed_by = Some(signers.into());
}

fn why(seen: &HeadSeen) -> Option<&str> {
    seen.refused.get(&seen.commit.id).map(String::as_str)
}

#[tokio::test]
async fn only_what_an_allowed_key_has_signed_is_let_in() {
    let dir = tempfile::tempdir().unwrap();
    let keys = Keys::new(dir.path());
    let mut world = signed_world(&keys.signers(&["ann"]));
    let plain = world.origin.commit("main", "plain");
    let seen = world.news().await;
    assert_eq!(why(on(&seen, &head("main"))), Some("it is not signed"));

    keys.commit(&world, "ann", "signed");
    assert_eq!(why(on(&world.news().await, &head("main"))), None);
    let strange = keys.commit(&world, "eve", "signed by another");
    let next = keys.commit(&world, "ann", "and on top of it");
    let seen = world.news().await;
    let main = on(&seen, &head("main"));
    assert_eq!((&main.commit.id, why(main)), (&id(next), None));
    // What was known before is judged by the list that holds now as well.
    assert_eq!(main.refused.keys().cloned().collect::<BTreeSet<_>>(), [id(plain), id(strange)].into());
    let between = [main.refused[&id(strange)].as_str()];
    assert_eq!(between, ["it is signed by a key that is not among the allowed signers"]);

    // The signature of one commit, put on another.
    let raw = world.origin.repo.odb().unwrap().read(next).unwrap().data().to_vec();
    let forged = String::from_utf8(raw).unwrap().replace("and on top of it", "and off the top");
    let forged = world.origin.repo.odb().unwrap().write(git2::ObjectType::Commit, forged.as_bytes()).unwrap();
    world.origin.point("refs/heads/main", forged);
    let seen = world.news().await;
    assert!(why(on(&seen, &head("main"))).unwrap().contains("not good"), "{seen:?}");

    // A signed tag lets in a commit that is not signed itself; one that is not does not.
    keys.git(&world.origin.dir, "ann", &["tag", "-s", "-m", "release", "v1", &plain.to_string()]);
    keys.git(&world.origin.dir, "eve", &["tag", "-s", "-m", "release", "v2", &plain.to_string()]);
    world.origin.annotated("v3", plain);
    world.origin.point("refs/tags/v4", next);
    world.origin.point("refs/heads/main", next);
    let seen = world.news().await;
    let of = |name: &str| why(on(&seen, &tag(name)));
    assert_eq!((of("v1"), of("v4")), (None, None));
    assert!(of("v2").is_some() && of("v3").is_some(), "{seen:?}");
}

#[tokio::test]
async fn a_key_for_something_else_and_a_list_that_changes() {
    let dir = tempfile::tempdir().unwrap();
    let keys = Keys::new(dir.path());
    let mut world = signed_world(&keys.signers(&["ann"]).replace("namespaces=\"git\"", "namespaces=\"file\""));
    world.origin.commit("main", "first");
    keys.commit(&world, "ann", "signed");
    let seen = world.news().await;
    assert!(why(on(&seen, &head("main"))).is_some(), "the key may not sign for git: {seen:?}");
    demand(&mut world, &keys.signers(&["ann", "eve"]));
    // Nothing moved: the list has, and a look that is asked for says how the head stands now.
    world.target.known.clear();
    let seen = world.news().await;
    assert_eq!(why(on(&seen, &head("main"))), None);
}
