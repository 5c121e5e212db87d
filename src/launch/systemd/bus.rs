//! Talking to systemd over D-Bus: transient units are started, asked about, stopped and forgotten. No
//! answer is remembered, and a lost connection is made anew once per question. What units look like
//! and what their states mean for an attempt is decided elsewhere.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use zbus::connection::Builder as ConnectionBuilder;
use zbus::{Connection, OwnedObjectPath, Variant};

use super::unit::{Property, Value};

const MANAGER: (&str, &str, &str) =
    ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager");
const SERVICE: &str = "org.freedesktop.systemd1.Service";
/// Of hosts without a message bus: systemd's own socket, which only root may use.
const PRIVATE: &str = "/run/systemd/private";
const SYSTEM: &str = "/run/dbus/system_bus_socket";
/// systemd answers at once or is in trouble.
const PATIENCE: Duration = Duration::from_secs(25);

/// What systemd says of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    pub name: String,
    pub load: String,
    pub active: String,
    pub sub: String,
    /// Something is about to be done with it.
    pub queued: bool,
}

/// How a unit ended, in systemd's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    pub result: String,
    pub status: i32,
}

/// Made at once, connected when it is first needed.
#[derive(Debug)]
pub struct Bus {
    runtime: Option<Runtime>,
    connection: Mutex<Option<Link>>,
}

#[derive(Debug, Clone)]
struct Link {
    connection: Connection,
    /// `None` on systemd's own socket, where nobody else listens.
    destination: Option<&'static str>,
}

type Listed = (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

impl Bus {
    /// # Errors
    /// If its thread cannot be made.
    pub fn new() -> io::Result<Self> {
        let mut runtime = Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).max_blocking_threads(1).thread_name("bus").enable_all().build()?;
        Ok(Self { runtime: Some(runtime), connection: Mutex::new(None) })
    }

    /// Starts a unit that is not there yet. `input`: what its programs find on their standard input.
    ///
    /// # Errors
    /// What systemd has against it.
    pub fn start(&self, name: &str, properties: &[Property], input: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let taken = |name: &str| input.is_some() && name == "StandardInput";
        let mut properties: Vec<(&str, Variant<'_>)> =
            properties.iter().filter(|(name, _)| !taken(name)).map(|(name, value)| (*name, variant(value))).collect();
        properties.extend(input.map(|input| ("StandardInputFileDescriptor", Variant::new(zbus::Fd::from(input)))));
        let aux: Vec<(&str, Vec<(&str, Variant<'_>)>)> = Vec::new();
        let _: OwnedObjectPath = self.ask("StartTransientUnit", &(name, "fail", properties, aux))?;
        Ok(())
    }

    /// The state of a unit; one that is not loaded says so in `load`.
    ///
    /// # Errors
    /// If systemd does not answer.
    pub fn state(&self, name: &str) -> io::Result<State> {
        let listed: Vec<Listed> = self.ask("ListUnitsByNames", &(vec![name],))?;
        let gone = || io::Error::other(format!("systemd says nothing about {name}"));
        listed.into_iter().next().map(state).ok_or_else(gone)
    }

    /// The units whose names match a glob.
    ///
    /// # Errors
    /// If systemd does not answer.
    pub fn list(&self, glob: &str) -> io::Result<Vec<State>> {
        let none: Vec<&str> = Vec::new();
        let listed: Vec<Listed> = self.ask("ListUnitsByPatterns", &(none, vec![glob]))?;
        Ok(listed.into_iter().map(state).collect())
    }

    /// How a unit ended that is still loaded.
    ///
    /// # Errors
    /// If systemd does not answer.
    pub fn ending(&self, name: &str) -> io::Result<Ending> {
        let path: OwnedObjectPath = self.ask("GetUnit", &(name,))?;
        let result = self.property(&path, "Result")?;
        let status = self.property(&path, "ExecMainStatus")?;
        let wrong = |error: zbus::Error| io::Error::other(error.to_string());
        Ok(Ending { result: String::try_from(result).map_err(wrong)?, status: i32::try_from(status).map_err(wrong)? })
    }

    /// Stops it, or takes back that it was to start. One that is not there is stopped.
    ///
    /// # Errors
    /// If systemd does not answer.
    pub fn stop(&self, name: &str) -> io::Result<()> {
        self.unless_gone(self.ask::<_, OwnedObjectPath>("StopUnit", &(name, "replace")).map(drop))
    }

    /// Forgets how it failed, and with that the unit.
    ///
    /// # Errors
    /// If systemd does not answer.
    pub fn forget(&self, name: &str) -> io::Result<()> {
        self.unless_gone(self.ask("ResetFailedUnit", &(name,)))
    }

    fn unless_gone(&self, answer: io::Result<()>) -> io::Result<()> {
        match answer {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn property(&self, path: &OwnedObjectPath, name: &str) -> io::Result<zbus::OwnedVariant> {
        self.call(path.as_str(), "org.freedesktop.DBus.Properties", "Get", &(SERVICE, name))
    }

    fn ask<B, R>(&self, method: &str, body: &B) -> io::Result<R>
    where
        B: serde::Serialize + zbus::DynamicType,
        R: serde::de::DeserializeOwned + zbus::wire::Type,
    {
        self.call(MANAGER.1, MANAGER.2, method, body)
    }

    /// Asks; over a new connection where the old one has ended. Must not be called by async code.
    fn call<B, R>(&self, path: &str, interface: &str, method: &str, body: &B) -> io::Result<R>
    where
        B: serde::Serialize + zbus::DynamicType,
        R: serde::de::DeserializeOwned + zbus::wire::Type,
    {
        let runtime = self.runtime.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        let mut fresh = false;
        loop {
            let link = self.link(runtime, &mut fresh)?;
            let call = link.connection.call_method(link.destination, path, Some(interface), method, body);
            match runtime.block_on(call) {
                Ok(reply) => {
                    let body = reply.body();
                    return body.deserialize().map_err(|error| told(method, &error));
                }
                Err(error) if !fresh && is_broken(&error) => *self.slot() = None,
                Err(error) => return Err(told(method, &error)),
            }
        }
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Link>> {
        // An option is whole after a panic as well.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn link(&self, runtime: &Runtime, fresh: &mut bool) -> io::Result<Link> {
        let mut slot = self.slot();
        if let Some(link) = slot.as_ref().filter(|link| !link.connection.is_closed()) {
            return Ok(link.clone());
        }
        *fresh = true;
        let link = runtime.block_on(connect()).map_err(|error| {
            io::Error::new(io::ErrorKind::NotConnected, format!("systemd cannot be reached: {error}"))
        })?;
        *slot = Some(link.clone());
        Ok(link)
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        // Waiting for its thread is forbidden where async code lets go of us.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn connect() -> zbus::Result<Link> {
    if Path::new(SYSTEM).exists() {
        let builder = ConnectionBuilder::address(format!("unix:path={SYSTEM}").as_str());
        let connection = builder.method_timeout(PATIENCE).build().await?;
        return Ok(Link { connection, destination: Some(MANAGER.0) });
    }
    let builder = ConnectionBuilder::address(format!("unix:path={PRIVATE}").as_str()).p2p();
    Ok(Link { connection: builder.method_timeout(PATIENCE).build().await?, destination: None })
}

fn state(listed: Listed) -> State {
    let (name, _, load, active, sub, _, _, job, _, _) = listed;
    State { name, load, active, sub, queued: job != 0 }
}

/// The connection is of no more use; the question may not have been heard.
fn is_broken(error: &zbus::Error) -> bool {
    matches!(error, zbus::Error::InputOutput(_))
}

fn told(method: &str, error: &zbus::Error) -> io::Error {
    let (kind, text) = match error {
        zbus::Error::MethodError(name, said, _) => {
            let kind = match name.as_str().rsplit('.').next().unwrap_or_default() {
                "NoSuchUnit" => io::ErrorKind::NotFound,
                "UnitExists" => io::ErrorKind::AlreadyExists,
                _ => io::ErrorKind::Other,
            };
            (kind, said.clone().unwrap_or_else(|| name.to_string()))
        }
        other => (io::ErrorKind::Other, other.to_string()),
    };
    io::Error::new(kind, format!("systemd refused {method}: {text}"))
}

fn variant(value: &Value) -> Variant<'_> {
    match value {
        Value::Text(text) => Variant::new(text.as_str()),
        Value::Flag(flag) => Variant::new(*flag),
        Value::Number(number) => Variant::new(*number),
        Value::Bits32(bits) => Variant::new(*bits),
        Value::Texts(texts) => Variant::new(texts.iter().map(String::as_str).collect::<Vec<_>>()),
        Value::Command(words) => {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let program = words.first().copied().unwrap_or_default();
            Variant::new(vec![(program, words, vec!["no-env-expand"])])
        }
        Value::Binds(paths) => {
            let bind = |(path, missing): &(String, bool)| (path.clone(), path.clone(), *missing, RECURSIVE);
            Variant::new(paths.iter().map(bind).collect::<Vec<_>>())
        }
        Value::Covers(covers) => Variant::new(covers.clone()),
        Value::Fields(fields) => Variant::new(fields.iter().map(|field| field.as_bytes().to_vec()).collect::<Vec<_>>()),
    }
}

/// `MS_REC`: what is mounted below comes along.
const RECURSIVE: u64 = 16384;
