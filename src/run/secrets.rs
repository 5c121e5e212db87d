//! The secrets of one run, in its supervisor: received from the executor over standard input, placed in
//! memory as files of the job's user once `init` is over, gone when the run is. They are in no argument,
//! no environment but the one that a job file asks for, no ticket and no event.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::model::job::Definition;
use crate::model::secret::{EnvValue, SecretName};
use crate::run::mask::{Masker, SHORTEST};
use crate::sys::{files, private};

/// All secrets of a run together are not larger.
pub const TOTAL_MAX: u64 = 4 << 20;
/// In an attempt's directory: where its secrets lie, for whoever has to clean up after a supervisor.
const PLACE: &str = "credentials";
const PREFIX: &str = "shipbell-credentials-";
const VERSION: u32 = 1;

/// What passes from the executor to a supervisor.
#[derive(Serialize, Deserialize)]
struct Envelope {
    v: u32,
    secrets: BTreeMap<SecretName, String>,
}

/// Names and contents. Its debug text has no content.
#[derive(Default)]
pub struct Secrets {
    values: BTreeMap<SecretName, Vec<u8>>,
    dir: Option<PathBuf>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

/// The text that a supervisor finds on its standard input.
#[must_use]
pub fn envelope(values: &BTreeMap<SecretName, Vec<u8>>) -> Vec<u8> {
    let secrets = values.iter().map(|(name, value)| (name.clone(), STANDARD.encode(value))).collect();
    serde_json::to_vec(&Envelope { v: VERSION, secrets }).unwrap_or_default()
}

impl Secrets {
    /// What the executor handed over for this definition.
    ///
    /// # Errors
    /// A text for people: something of it did not come.
    pub fn receive(definition: &Definition) -> Result<Self, String> {
        let wanted = definition.secret_names();
        if wanted.is_empty() {
            return Ok(Self::default());
        }
        let lost = |why: String| format!("the secrets of this run did not arrive: {why}");
        private::hide_memory().map_err(|error| lost(error.to_string()))?;
        let bytes = private::take_stdin(2 * TOTAL_MAX).map_err(|error| lost(error.to_string()))?;
        let envelope: Envelope =
            serde_json::from_slice(&bytes).map_err(|_| lost("whoever started it gave none".into()))?;
        if envelope.v != VERSION {
            return Err(lost(format!("they have version {}, this shipbell reads {VERSION}", envelope.v)));
        }
        let mut values = BTreeMap::new();
        for (name, text) in envelope.secrets {
            let value = STANDARD.decode(text).map_err(|_| lost(format!("{name} is broken")))?;
            values.insert(name, value);
        }
        match wanted.iter().find(|name| !values.contains_key(*name)) {
            Some(missing) => Err(lost(format!("{missing} is missing"))),
            None => Ok(Self { values, dir: None }),
        }
    }

    /// Takes them out of what the run prints.
    #[must_use]
    pub fn masker(&self) -> Masker {
        Masker::of(self.values.values().map(Vec::as_slice))
    }

    /// Those that are too short to be looked for.
    #[must_use]
    pub fn unmasked(&self) -> Vec<&SecretName> {
        let short = |(_, value): &(&SecretName, &Vec<u8>)| value.trim_ascii_end().len() < SHORTEST;
        self.values.iter().filter(short).map(|(name, _)| name).collect()
    }

    #[must_use]
    pub fn value(&self, name: &SecretName) -> Option<&[u8]> {
        self.values.get(name).map(Vec::as_slice)
    }

    /// Puts files where only `owner` reads them, in memory where this host has such a place. The second
    /// value: what the log must say of it.
    ///
    /// # Errors
    /// A text for people.
    pub fn place(
        &mut self,
        attempt: &Path,
        names: &BTreeSet<SecretName>,
        owner: Option<(u32, u32)>,
    ) -> Result<Option<&'static str>, String> {
        if names.is_empty() {
            return Ok(None);
        }
        let failed = |error: std::io::Error| format!("the secrets of this run could not be placed: {error}");
        let (dir, warning) = make_dir(attempt).map_err(failed)?;
        // First where they are, then they: a supervisor that is killed leaves nothing unknown.
        fs::write(attempt.join(PLACE), dir.as_os_str().as_encoded_bytes()).map_err(failed)?;
        self.dir = Some(dir.clone());
        for (name, value) in self.values.iter().filter(|(name, _)| names.contains(*name)) {
            private::write_file(&dir.join(name.as_str()), value, owner).map_err(failed)?;
        }
        if let Some((_, gid)) = owner {
            private::open_to_group(&dir, gid).map_err(failed)?;
        }
        Ok(warning)
    }

    /// What steps see of them: `$CREDENTIALS_DIRECTORY`, and the variables that ask for one.
    ///
    /// # Errors
    /// A text for people: a content that no variable can hold.
    pub fn add_to(
        &self,
        env: &mut BTreeMap<String, String>,
        wanted: &BTreeMap<String, EnvValue>,
    ) -> Result<(), String> {
        let dir = self.dir.as_ref().map(|dir| dir.to_string_lossy().into_owned());
        if let Some(dir) = &dir {
            env.insert("CREDENTIALS_DIRECTORY".into(), dir.clone());
        }
        for (variable, value) in wanted {
            let value = match value {
                EnvValue::Plain(text) => text.clone(),
                EnvValue::File { file } => format!("{}/{file}", dir.as_deref().unwrap_or_default()),
                EnvValue::Secret { secret } => self.text(secret)?,
            };
            env.insert(variable.clone(), value);
        }
        Ok(())
    }

    fn text(&self, name: &SecretName) -> Result<String, String> {
        let value = self.value(name).unwrap_or_default();
        let value = value.strip_suffix(b"\n").unwrap_or(value);
        match std::str::from_utf8(value) {
            Ok(text) if !text.contains('\0') => Ok(text.to_owned()),
            _ => Err(format!(
                "secret {name} is no text that a variable can hold; ask for its file: {{ file = \"{name}\" }}"
            )),
        }
    }

    /// The run is over: nothing of them stays.
    pub fn remove(&mut self, attempt: &Path) {
        if self.dir.take().is_some() {
            remove_left(attempt);
        }
        self.values.clear();
    }
}

/// In memory where there is such a place; else beside the attempt's other files, which is to be said.
fn make_dir(attempt: &Path) -> std::io::Result<(PathBuf, Option<&'static str>)> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|_| std::io::ErrorKind::Other)?;
    for base in bases() {
        if private::is_in_memory(&base)
            && let Ok(dir) = private::make_dir(&base, PREFIX, random)
        {
            return Ok((dir, None));
        }
    }
    let dir = private::make_dir(attempt, PREFIX, random)?;
    Ok((dir, Some("this host has no tmpfs at /run or /dev/shm: the secrets of this run lie on disk until it ends")))
}

/// systemd's own directory for the unit goes with the unit, whatever happens to us.
fn bases() -> Vec<PathBuf> {
    let of_unit = std::env::var_os("RUNTIME_DIRECTORY");
    let of_unit = of_unit.iter().flat_map(std::env::split_paths).filter(|path| path.is_absolute());
    of_unit.chain(["/run", "/dev/shm"].map(PathBuf::from)).collect()
}

/// Removes what the secrets of an attempt left in memory, if its supervisor could not.
pub fn remove_left(attempt: &Path) {
    let Ok(opened) = files::open_dir(attempt) else { return };
    let mut text = String::new();
    let read =
        files::open_beneath(&opened, PLACE.as_ref(), false).and_then(|file| file.take(4096).read_to_string(&mut text));
    let dir = Path::new(&text);
    let ours = dir.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(PREFIX));
    if read.is_err() || !ours || !dir.is_absolute() {
        return;
    }
    // The directory is ours whoever owns the files in it.
    if files::open_dir(dir).is_ok() && fs::remove_dir_all(dir).is_err() {
        return;
    }
    let _ = fs::remove_file(attempt.join(PLACE));
}
