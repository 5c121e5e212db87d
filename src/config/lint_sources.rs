//! Repositories that are asked over a way on which anybody can put another commit in the place of one, said
//! by `check` as warnings: inside one's own network that may be meant. Where such a file also deploys, it
//! is an error for `git://` (`resolve.rs`).

use crate::config::lint::parsed;
use crate::config::message::{Findings, Mistake, Problem};
use crate::model::catalog::{Catalog, Pipeline, PipelineState};
use crate::model::url::RepoUrl;

/// One warning for each such repository whose file demands no signatures.
#[must_use]
pub fn unproven(catalog: &Catalog) -> Vec<Problem> {
    let good = catalog.pipelines.values().filter(|pipeline| pipeline.state == PipelineState::Ok);
    good.flat_map(|pipeline| of_pipeline(pipeline).unwrap_or_default()).collect()
}

fn of_pipeline(pipeline: &Pipeline) -> Option<Vec<Problem>> {
    let repo = pipeline.repo.as_ref().filter(|repo| repo.signed_by.is_none())?;
    let url = RepoUrl::parse(&repo.url).ok().filter(RepoUrl::is_open_to_change)?;
    let (file, findings) = (parsed(&pipeline.file)?, Findings::default());
    let at = file.get("repo")?.table("", &Findings::default())?.get("url")?;
    let headline =
        format!("{}:// is neither encrypted nor proven: whoever is on the way can change what runs", url.way.word());
    let mistake = Mistake::new(&at.spot, headline).label("https:// or ssh:// if the server has it");
    findings.add(&mistake.note("or demand signatures: signed-by = \"/etc/shipbell/allowed-signers\"").warning());
    let name = |problem: Problem| Problem { pipeline: Some(pipeline.name.clone()), ..problem };
    Some(findings.into_problems().into_iter().map(name).collect())
}
