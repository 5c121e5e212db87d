//! A host of repositories for the tests: it gives its one repository over http as plain files, which git
//! has understood since its first day, and writes down what its interface is told.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde_json::{Value, json};

/// Names in small letters, and values.
pub type Headers = Vec<(String, String)>;

/// What was asked of the interface.
#[derive(Debug, Clone)]
pub struct Asked {
    pub at: Instant,
    pub method: String,
    /// Without the query.
    pub path: String,
    pub query: String,
    pub headers: Headers,
    pub body: Value,
    /// The status that was answered.
    pub answered: u16,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

#[derive(Default)]
struct State {
    asked: Vec<Asked>,
    /// Answers to give before the real ones.
    troubles: VecDeque<(u16, String)>,
    deployments: Vec<Value>,
}

pub struct Host {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Host {
    /// With the repository in `git` as `/o/shop.git`.
    pub fn start(git: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, state) = (listener.local_addr().unwrap(), Arc::<Mutex<State>>::default());
        let (served, git) = (state.clone(), git.to_owned());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (served, git) = (served.clone(), git.clone());
                std::thread::spawn(move || answer(stream, &git, &served));
            }
        });
        Self { address, state }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next requests to the interface are answered so: status, and header lines.
    pub fn trouble(&self, troubles: &[(u16, &str)]) {
        let troubles = troubles.iter().map(|(status, headers)| (*status, (*headers).to_owned()));
        self.state.lock().unwrap().troubles.extend(troubles);
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.state.lock().unwrap().asked.clone()
    }

    /// Requests whose path ends so and that were answered well.
    pub fn taken(&self, end: &str) -> Vec<Asked> {
        let fits = |asked: &Asked| asked.path.ends_with(end) && asked.answered < 300;
        self.asked().into_iter().filter(fits).collect()
    }
}

fn answer(stream: TcpStream, git: &Path, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream);
    let Some((method, target, headers)) = head(&mut reader) else { return };
    let length =
        headers.iter().find(|(name, _)| name == "content-length").map_or(0, |(_, value)| value.parse().unwrap());
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    if let Some(file) = path.strip_prefix("/o/shop.git/") {
        let file: PathBuf = git.join(file);
        match std::fs::read(file) {
            Ok(bytes) => say(reader.into_inner(), 200, "", &bytes),
            Err(_) => say(reader.into_inner(), 404, "", b""),
        }
        return;
    }
    let mut state = state.lock().unwrap();
    let body = serde_json::from_slice(&body).unwrap_or_default();
    let (status, lines, answer) = match state.troubles.pop_front() {
        Some((status, lines)) => (status, lines, json!({ "message": "not now" })),
        None => {
            let (status, answer) = state.act(&method, path, &body);
            (status, String::new(), answer)
        }
    };
    let (path, query) = (path.to_owned(), query.to_owned());
    state.asked.push(Asked { at: Instant::now(), method, path, query, headers, body, answered: status });
    drop(state);
    say(reader.into_inner(), status, &lines, answer.to_string().as_bytes());
}

impl State {
    /// As far as a deployment's number is needed to speak of it again.
    fn act(&mut self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        match (method, path.ends_with("/deployments")) {
            ("GET", true) => (200, Value::Array(self.deployments.clone())),
            ("POST", true) => {
                let mut made = body.clone();
                made["id"] = json!(self.deployments.len() + 1);
                self.deployments.push(made.clone());
                (201, made)
            }
            ("PUT", _) => (200, json!({})),
            _ => (201, json!({ "id": 1 })),
        }
    }
}

/// Method, target, and headers with their names in small letters.
fn head(reader: &mut BufReader<TcpStream>) -> Option<(String, String, Headers)> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split(' ').map(str::to_owned);
    let (method, target) = (words.next()?, words.next()?);
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { return Some((method, target, headers)) };
        headers.push((name.to_lowercase(), value.to_owned()));
    }
}

fn say(mut stream: TcpStream, status: u16, lines: &str, body: &[u8]) {
    let head = format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\nConnection: close\r\n{lines}\r\n", body.len());
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
}
