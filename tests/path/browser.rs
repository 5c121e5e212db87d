//! A browser as far as the approval page needs one: it keeps its cookie and sends forms back.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

#[derive(Default)]
pub struct Browser {
    cookie: String,
}

pub struct Page {
    pub status: u16,
    pub body: String,
}

impl Browser {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn get(&mut self, link: &str) -> Page {
        self.send("GET", link, "")
    }

    pub fn post(&mut self, link: &str, form: &str) -> Page {
        self.send("POST", link, form)
    }

    /// Opens the page, fills in these fields beside its hidden ones, and sends it.
    pub fn fill_in(&mut self, link: &str, fields: &[(&str, &str)]) -> Page {
        let form = self.form(link, fields);
        self.send("POST", link, &form)
    }

    /// Opens the page; its form, filled in.
    pub fn form(&mut self, link: &str, fields: &[(&str, &str)]) -> String {
        let page = self.get(link).body;
        let inputs = page.split("<input").skip(1).filter_map(|rest| rest.split('>').next());
        let hidden = inputs.filter(|tag| tag.contains("type=\"hidden\""));
        let value = |tag: &str, name: &str| {
            let (_, rest) = tag.split_once(&format!("{name}=\"")).unwrap_or_else(|| panic!("no {name} in {tag}"));
            rest.split('"').next().unwrap_or_default().to_owned()
        };
        let mut form: Vec<String> =
            hidden.map(|tag| format!("{}={}", value(tag, "name"), value(tag, "value"))).collect();
        assert!(!form.is_empty(), "no form to fill in:\n{page}");
        form.extend(fields.iter().map(|(name, value)| format!("{name}={}", value.replace(' ', "+"))));
        form.join("&")
    }

    fn send(&mut self, method: &str, link: &str, form: &str) -> Page {
        let (host, path) = link.strip_prefix("http://").and_then(|rest| rest.split_once('/')).expect("an http link");
        let mut stream = TcpStream::connect(host).expect("the pages are served");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        let mut head = format!("{method} /{path} HTTP/1.0\r\nHost: {host}\r\n");
        if !self.cookie.is_empty() {
            head += &format!("Cookie: {}\r\n", self.cookie);
        }
        if method == "POST" {
            head += &format!("Origin: http://{host}\r\nContent-Type: application/x-www-form-urlencoded\r\n");
            head += &format!("Content-Length: {}\r\n", form.len());
        }
        write!(stream, "{head}\r\n{form}").expect("the request");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("the answer");
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        for line in head.lines() {
            if let Some(cookie) = line.to_lowercase().strip_prefix("set-cookie: ") {
                let length = cookie.split(';').next().unwrap_or_default().len();
                self.cookie = line["set-cookie: ".len()..][..length].to_owned();
            }
        }
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status line");
        Page { status, body: body.to_owned() }
    }
}
