//! Who signed a commit or tag: ssh signatures, checked against a list of allowed signers. A good signature
//! by a key outside the list counts as none. What an unsigned commit may do is the core's.

use std::io;

use git2::Oid;

use super::mirror::Mirror;
use crate::model::commit::{CommitId, RefName};
use crate::signature::{self, BEGIN};

/// Names that one key may have in the list.
const PRINCIPALS_MAX: usize = 16;

/// What is signed, and the signature.
struct Signed {
    payload: Vec<u8>,
    signature: Vec<u8>,
}

/// Why the commit, or the tag that names it, is not accepted; `None`: one of them is signed by somebody in
/// `signers` (the text of an allowed-signers file).
pub(super) fn refused(mirror: &Mirror, name: &RefName, commit: &CommitId, signers: &str) -> Option<String> {
    if let Some(Ok(())) = of_tag(mirror, name, commit).map(|signed| check(&signed, signers)) {
        return None;
    }
    of_commit(mirror, commit).and_then(|signed| check(&signed, signers)).err()
}

/// The signature of an annotated tag that stands at the commit.
fn of_tag(mirror: &Mirror, name: &RefName, commit: &CommitId) -> Option<Signed> {
    if !name.is_tag() {
        return None;
    }
    let id = mirror.repo.refname_to_id(name.as_str()).ok()?;
    let tag = mirror.repo.find_tag(id).ok()?;
    // One that names another tag proves nothing of the commit behind that.
    if tag.target_id().to_string() != commit.as_str() {
        return None;
    }
    let odb = mirror.repo.odb().ok()?;
    let raw = odb.read(id).ok()?.data().to_vec();
    let at = raw.windows(BEGIN.len()).rposition(|window| window == BEGIN.as_bytes())?;
    let (payload, signature) = raw.split_at_checked(at)?;
    Some(Signed { payload: payload.to_vec(), signature: signature.to_vec() })
}

fn of_commit(mirror: &Mirror, commit: &CommitId) -> Result<Signed, String> {
    let id = Oid::from_str(commit.as_str()).map_err(|error| error.message().to_owned())?;
    match mirror.repo.extract_signature(&id, None) {
        Ok((signature, payload)) => Ok(Signed { payload: payload.to_vec(), signature: signature.to_vec() }),
        Err(_) => Err("it is not signed".into()),
    }
}

fn check(signed: &Signed, signers: &str) -> Result<(), String> {
    if !signed.signature.starts_with(BEGIN.as_bytes()) {
        return Err("it is signed, but not by an ssh key: only those are checked".into());
    }
    let failed = |error: io::Error| format!("its signature could not be checked: {error}");
    let names = signature::principals(signers, &signed.signature).map_err(failed)?;
    if names.is_empty() {
        return Err("it is signed by a key that is not among the allowed signers".into());
    }
    for name in names.iter().take(PRINCIPALS_MAX) {
        if signature::verifies(signers, name, "git", &signed.payload, &signed.signature).map_err(failed)? {
            return Ok(());
        }
    }
    Err("its signature is not good: what was signed is something else, or the key may not sign for git".into())
}
