//! A repository that was made up: commits with files, branches that move in every way people move
//! them, and the true answers to every question about ancestry.

use std::collections::{BTreeMap, BTreeSet};

use shipbell::model::catalog::Pipeline;
use shipbell::model::commit::{CommitId, CommitInfo, Comparison, RefName, Relation};
use shipbell::model::event::{HeadSeen, PollAnswer};
use shipbell::model::time::Timestamp;
use shipbell::pipeline::world::World;

use crate::random::Random;

struct Node {
    info: CommitInfo,
    parents: Vec<usize>,
    /// Which commit last wrote each file.
    tree: BTreeMap<&'static str, usize>,
}

const FILES: &[&str] = &["src/a.rs", "src/b.rs", "docs/a.md", "init_config.json"];
pub const MAILS: &[&str] = &["ann@example.org", "bob@example.org", "eve@example.org"];

/// One repository.
pub struct Git {
    nodes: Vec<Node>,
    pub refs: BTreeMap<RefName, usize>,
}

impl Git {
    pub fn new(random: &mut Random) -> Self {
        let mut git = Self { nodes: Vec::new(), refs: BTreeMap::new() };
        let root = git.commit(Vec::new(), random);
        git.refs.insert(name("refs/heads/main"), root);
        git
    }

    fn commit(&mut self, parents: Vec<usize>, random: &mut Random) -> usize {
        let at = self.nodes.len();
        let mut tree = BTreeMap::new();
        for parent in parents.iter().rev() {
            tree.extend(self.nodes[*parent].tree.clone());
        }
        tree.insert(random.pick(FILES).copied().unwrap(), at);
        let info = CommitInfo {
            id: CommitId::new(&format!("{at:07x}{:033x}", at * 7919)).unwrap(),
            subject: format!("Change {at}"),
            author: "someone".into(),
            author_mail: random.pick(MAILS).copied().unwrap().into(),
            authored_at: Timestamp::from_second(1_800_000_000).unwrap(),
        };
        self.nodes.push(Node { info, parents, tree });
        at
    }

    /// Moves some branch or tag in some way; says what it did.
    pub fn change(&mut self, random: &mut Random) -> String {
        let branches: Vec<RefName> = self.refs.keys().filter(|name| !name.is_tag()).cloned().collect();
        let branch = random.pick(&branches).cloned().unwrap_or_else(|| name("refs/heads/main"));
        let tip = self.refs.get(&branch).copied();
        let any = usize::try_from(random.below(self.nodes.len() as u64)).unwrap();
        match (random.below(16), tip) {
            (0..=7, Some(tip)) => {
                let new = self.commit(vec![tip], random);
                self.refs.insert(branch.clone(), new);
                format!("{tip} gets {new} on top, on {branch}")
            }
            (8, Some(tip)) => {
                let new = self.commit(vec![tip, any], random);
                self.refs.insert(branch.clone(), new);
                format!("merges {any} as {new} into {branch}")
            }
            (9, Some(tip)) => {
                let base = self.nodes[tip].parents.first().copied().unwrap_or(tip);
                let new = self.commit(vec![base], random);
                self.refs.insert(branch.clone(), new);
                format!("rewrites {tip} as {new} on {branch}")
            }
            (10, Some(_)) => {
                self.refs.insert(branch.clone(), any);
                format!("moves {branch} to {any}")
            }
            (11, Some(_)) if branch.short() != "main" || random.one_in(4) => {
                self.refs.remove(&branch);
                format!("deletes {branch}")
            }
            (12, _) => {
                let tag = name(&format!("refs/tags/v{}", random.below(4)));
                self.refs.insert(tag.clone(), any);
                format!("tags {any} as {tag}")
            }
            (choice, _) => {
                let new = ["refs/heads/main", "refs/heads/feature/a", "refs/heads/hotfix", "refs/pull/7/head"];
                let new = name(new[usize::try_from(choice).unwrap() % 4]);
                self.refs.entry(new.clone()).or_insert(any);
                format!("has {new}")
            }
        }
    }

    fn ancestors(&self, of: usize) -> BTreeSet<usize> {
        let (mut found, mut open) = (BTreeSet::new(), vec![of]);
        while let Some(next) = open.pop() {
            if found.insert(next) {
                open.extend(&self.nodes[next].parents);
            }
        }
        found
    }

    fn place(&self, id: &CommitId) -> usize {
        self.nodes.iter().position(|node| node.info.id == *id).expect("a commit of this repository")
    }

    /// The truth about two commits.
    pub fn compare(&self, base: &CommitId, head: &CommitId) -> Comparison {
        let (base, head) = (self.place(base), self.place(head));
        let (below, above) = (self.ancestors(base), self.ancestors(head));
        let infos = |places: Vec<&usize>| places.into_iter().rev().map(|at| self.nodes[*at].info.clone()).collect();
        let adds: Vec<CommitInfo> = infos(above.difference(&below).collect());
        let takes_back: Vec<CommitInfo> = infos(below.difference(&above).collect());
        let (old, new) = (&self.nodes[base].tree, &self.nodes[head].tree);
        let differs = |file: &&&str| old.get(*file) != new.get(*file);
        let relation = match (adds.is_empty(), takes_back.is_empty()) {
            (true, true) => Relation::Same,
            (false, true) => Relation::Newer,
            (true, false) => Relation::Older,
            (false, false) => Relation::Diverged,
        };
        Comparison {
            relation,
            adds_total: adds.len() as u64,
            adds,
            takes_back_total: takes_back.len() as u64,
            takes_back,
            files: Some(FILES.iter().filter(differs).map(|file| (*file).to_owned()).collect()),
            insertions: 1,
            deletions: 1,
        }
    }

    /// What a poll of this pipeline's repository finds, as the World stands.
    pub fn poll(&self, pipeline: &Pipeline, world: &World) -> PollAnswer {
        let head = Some(name("refs/heads/main")).filter(|main| self.refs.contains_key(main));
        let live = world.live.get(&pipeline.name);
        let signed = pipeline.signers().is_some();
        let watched = self.refs.iter().filter(|(git_ref, _)| pipeline.watches(git_ref, head.as_ref()));
        let seen = |(git_ref, at): (&RefName, &usize)| {
            let row = live.and_then(|live| live.sightings.get(git_ref)).map_or(&[][..], Vec::as_slice);
            let on_it = self.ancestors(*at);
            let between = row.last().map(|last| self.between(self.place(&last.commit.id), *at)).unwrap_or_default();
            let all = between.iter().map(|info| &info.id).chain(row.iter().map(|known| &known.commit.id));
            let all = all.chain([&self.nodes[*at].info.id]).filter(|id| signed && !self.is_signed(id));
            let gone = row.iter().map(|sighting| sighting.commit.id.clone());
            HeadSeen {
                git_ref: git_ref.clone(),
                commit: self.nodes[*at].info.clone(),
                refused: all.map(|id| (id.clone(), "it is not signed".to_owned())).collect(),
                between,
                gone: gone.filter(|id| !on_it.contains(&self.place(id))).collect(),
            }
        };
        let heads = watched.map(seen).collect();
        PollAnswer { head, heads, signers: pipeline.signers(), standings: Vec::new() }
    }

    /// Whether somebody who may has signed it: one in five is not.
    pub fn is_signed(&self, id: &CommitId) -> bool {
        self.place(id) % 5 != 3
    }

    /// First-parent commits after `old` and before `new`, oldest first; none if `old` is no such ancestor.
    fn between(&self, old: usize, new: usize) -> Vec<CommitInfo> {
        let mut found = Vec::new();
        let mut at = new;
        while at != old {
            let Some(parent) = self.nodes[at].parents.first() else { return Vec::new() };
            at = *parent;
            found.push(self.nodes[at].info.clone());
        }
        found.pop();
        found.reverse();
        found
    }
}

pub fn name(text: &str) -> RefName {
    RefName::new(text).unwrap()
}
