//! The links in approval mails. A token says which slot it is for and proves, with a key that is not in the
//! database, that this Shipbell made it for exactly the facts which the request still has. Whether the
//! request is still open is in the database and judged elsewhere. No token is stored anywhere.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use crate::model::job::hex;
use crate::model::request::{Request, Slot};

/// The file with the keys, among the credentials or in the state directory.
pub const KEY_FILE: &str = "token.key";

const VERSION: u8 = 1;
const SLOT_BYTES: usize = 16;
const MAC_BYTES: usize = 32;
const TOKEN_BYTES: usize = 2 + SLOT_BYTES + MAC_BYTES;
/// Length of every token as text.
pub const TOKEN_CHARS: usize = 67;
const KEY_BYTES: usize = 32;

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("cannot read {}: {error}", path.display())]
    Read { path: PathBuf, error: io::Error },
    #[error("cannot write {}: {error}", path.display())]
    Write { path: PathBuf, error: io::Error },
    #[error(
        "{}:{line}: a key is 64 hex digits on a line of its own\n\
         make a new one with: openssl rand -hex 32", path.display()
    )]
    Form { path: PathBuf, line: usize },
    #[error("{}: has no key\nmake one with: openssl rand -hex 32", path.display())]
    Empty { path: PathBuf },
    #[error("no random bytes from the system: {0}")]
    Random(String),
}

struct Key {
    /// From the key itself, so that it does not change when lines are put above it.
    id: u8,
    secret: [u8; KEY_BYTES],
}

impl Key {
    fn new(secret: [u8; KEY_BYTES]) -> Self {
        let mut digest = Sha256::new();
        digest.update(b"shipbell/key-id/v1");
        digest.update(secret);
        Self { id: digest.finalize().first().copied().unwrap_or_default(), secret }
    }
}

/// The keys of this Shipbell: the first signs, all verify.
pub struct Keys(Vec<Key>);

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} keys", self.0.len())
    }
}

/// A token that has the right form. Nothing of it is proved yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    key_id: u8,
    slot: [u8; SLOT_BYTES],
    mac: [u8; MAC_BYTES],
}

impl Claim {
    /// `None`: the text is no token.
    #[must_use]
    pub fn read(token: &str) -> Option<Self> {
        if token.len() != TOKEN_CHARS {
            return None;
        }
        let bytes: [u8; TOKEN_BYTES] = URL_SAFE_NO_PAD.decode(token).ok()?.try_into().ok()?;
        let (head, rest) = bytes.split_first_chunk::<2>()?;
        let (slot, mac) = rest.split_first_chunk::<SLOT_BYTES>()?;
        let [version, key_id] = *head;
        let mac = mac.try_into().ok()?;
        (version == VERSION).then_some(Self { key_id, slot: *slot, mac })
    }

    /// The slot it is for, as requests have it.
    #[must_use]
    pub fn slot(&self) -> String {
        hex(&self.slot)
    }
}

impl Keys {
    /// Reads the keys from `credentials`, else from `state`, where one is made if there is none.
    ///
    /// # Errors
    /// If a file with keys is there and cannot be used, or none can be made.
    pub fn load_or_create(credentials: &Path, state: &Path) -> Result<Self, KeyError> {
        for folder in [credentials, state] {
            let path = folder.join(KEY_FILE);
            match std::fs::read_to_string(&path) {
                Ok(text) => return Self::parse(&path, &text),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(KeyError::Read { path, error }),
            }
        }
        Self::create(&state.join(KEY_FILE))
    }

    fn parse(path: &Path, text: &str) -> Result<Self, KeyError> {
        let mut keys = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let secret = unhex(line).ok_or_else(|| KeyError::Form { path: path.to_owned(), line: number + 1 })?;
            keys.push(Key::new(secret));
        }
        if keys.is_empty() { Err(KeyError::Empty { path: path.to_owned() }) } else { Ok(Self(keys)) }
    }

    fn create(path: &Path) -> Result<Self, KeyError> {
        let mut secret = [0_u8; KEY_BYTES];
        getrandom::fill(&mut secret).map_err(|error| KeyError::Random(error.to_string()))?;
        write_new(path, &format!("{}\n", hex(&secret)))
            .map_err(|error| KeyError::Write { path: path.to_owned(), error })?;
        Ok(Self(vec![Key::new(secret)]))
    }

    /// The token of a slot of a request.
    #[must_use]
    pub fn token(&self, request: &Request, slot: &Slot) -> String {
        let Some(key) = self.0.first() else { return String::new() };
        let mut bytes = vec![VERSION, key.id];
        bytes.extend(unhex::<SLOT_BYTES>(&slot.id).unwrap_or_default());
        bytes.extend(bound(key, request, slot).finalize().into_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The slot that a token opens. The comparison takes the same time for every wrong one.
    #[must_use]
    pub fn verify<'a>(&self, claim: &Claim, request: &'a Request) -> Option<&'a Slot> {
        let wanted = claim.slot();
        let slot = request.slots.iter().find(|slot| slot.id == wanted)?;
        let proves = |key: &&Key| key.id == claim.key_id && bound(key, request, slot).verify_slice(&claim.mac).is_ok();
        self.0.iter().find(proves).map(|_| slot)
    }

    /// What a form carries so that only a page of ours can have sent it: bound to the visitor's cookie.
    #[must_use]
    pub fn form_proof(&self, cookie: &str, slot: &str) -> String {
        self.0.first().map(|key| hex(&form_mac(key, cookie, slot).finalize().into_bytes())).unwrap_or_default()
    }

    /// Whether a form's proof is one that we gave to this visitor for this slot.
    #[must_use]
    pub fn form_holds(&self, proof: &str, cookie: &str, slot: &str) -> bool {
        let Some(proof) = unhex::<MAC_BYTES>(proof) else { return false };
        self.0.iter().any(|key| form_mac(key, cookie, slot).verify_slice(&proof).is_ok())
    }
}

/// Everything that a token is bound to. The tuple is hashed anew, not taken from its stored hash.
fn bound(key: &Key, request: &Request, slot: &Slot) -> Hmac<Sha256> {
    let mut mac = keyed(key, "shipbell/approve/v1");
    for part in [
        request.id.to_string().as_str(),
        request.run.to_string().as_str(),
        request.tuple.environment.as_str(),
        request.tuple.hash().as_str(),
        slot.person.as_str(),
        slot.email.as_str(),
        slot.id.as_str(),
        request.expires_at.as_second().to_string().as_str(),
    ] {
        put(&mut mac, part);
    }
    mac
}

fn form_mac(key: &Key, cookie: &str, slot: &str) -> Hmac<Sha256> {
    let mut mac = keyed(key, "shipbell/form/v1");
    for part in [cookie, slot, "vote"] {
        put(&mut mac, part);
    }
    mac
}

fn keyed(key: &Key, purpose: &str) -> Hmac<Sha256> {
    // A key of 32 bytes is a whole array of the block's size or less: the only way in that cannot fail.
    let mut block = [0_u8; 64];
    for (to, from) in block.iter_mut().zip(key.secret) {
        *to = from;
    }
    let mut mac = Hmac::<Sha256>::new(&block.into());
    mac.update(purpose.as_bytes());
    mac
}

/// With its length before it, so that no two lists of parts give one text.
fn put(mac: &mut Hmac<Sha256>, part: &str) {
    let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
    mac.update(&length.to_be_bytes());
    mac.update(part.as_bytes());
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes = [0_u8; N];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let digit = |at: usize| char::from(pair.get(at).copied().unwrap_or_default()).to_digit(16);
        *byte = u8::try_from(digit(0)? * 16 + digit(1)?).ok()?;
    }
    Some(bytes)
}

/// Whole or not at all: a key that is cut short would refuse every link.
fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let half = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&half)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&half, path)?;
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn keys_are_made_once_kept_close_and_read_in_order() {
        let (credentials, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let load = || Keys::load_or_create(credentials.path(), state.path());
        let made = load().unwrap();
        let path = state.path().join(KEY_FILE);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(load().unwrap().0[0].secret, made.0[0].secret, "the second start reads what the first made");
        assert!(!format!("{made:?}").contains(&hex(&made.0[0].secret)), "a key is in no log");

        let own = credentials.path().join(KEY_FILE);
        std::fs::write(&own, format!("# new\n{}\n\n{}\n", "ab".repeat(32), "cd".repeat(32))).unwrap();
        assert_eq!(load().unwrap().0.iter().map(|key| key.secret[0]).collect::<Vec<_>>(), [0xab, 0xcd]);
        for (text, says) in [("", "has no key"), ("# x\n\nabc\n", ":3: a key is 64 hex digits"), ("zz", "64 hex")] {
            std::fs::write(&own, text).unwrap();
            let error = load().unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn only_whole_tokens_are_read() {
        let good = URL_SAFE_NO_PAD.encode([[1_u8, 7].as_slice(), &[2; 16], &[3; 32]].concat());
        assert_eq!(good.len(), TOKEN_CHARS);
        assert_eq!(Claim::read(&good).unwrap().slot(), "02".repeat(16));
        let version = URL_SAFE_NO_PAD.encode([[2_u8, 7].as_slice(), &[2; 16], &[3; 32]].concat());
        let (short, last) = (good.get(1..).unwrap(), good.get(..TOKEN_CHARS - 1).unwrap());
        for bad in ["", "x", short, &format!("{good}="), &format!("{short}!"), &version] {
            assert_eq!(Claim::read(bad), None, "{bad}");
        }
        let twins = ["A", "B", "C", "D"].iter().filter(|end| Claim::read(&format!("{last}{end}")).is_some()).count();
        assert!(twins <= 1, "unused bits at the end must be zero: one link, one text");
    }

    #[test]
    fn a_form_proof_holds_for_its_visitor_and_slot_only() {
        let keys = Keys(vec![Key::new([1; 32])]);
        let proof = keys.form_proof("cookie", "slot");
        assert!(keys.form_holds(&proof, "cookie", "slot"));
        for (proof, cookie, slot) in [
            (proof.as_str(), "cookieslot", ""),
            (&proof, "other", "slot"),
            (&proof, "cookie", "slo"),
            ("", "cookie", "slot"),
        ] {
            assert!(!keys.form_holds(proof, cookie, slot));
        }
        assert!(!Keys(vec![Key::new([2; 32])]).form_holds(&proof, "cookie", "slot"));
    }
}
