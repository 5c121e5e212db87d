//! The order of a run that is nothing special: a manual one, without a commit, and nothing upstream.

use std::collections::BTreeMap;

use shipbell::model::job::Hash;
use shipbell::model::name::RunRef;
use shipbell::model::run::Cause;
use shipbell::model::ticket::StartOrder;

pub fn plain(run: RunRef, definition: Hash) -> StartOrder {
    StartOrder {
        run,
        attempt: 1,
        commit: None,
        git_ref: None,
        mirror: None,
        deployed: None,
        definition,
        params: BTreeMap::new(),
        cause: Cause::Manual { by: "anna".into() },
        needs: vec![],
        public_url: "http://ci.example".into(),
        late: None,
        receipts: None,
        broken_glass: None,
    }
}
