//! Which URLs are asked at all, and how git is allowed to go there: a list of what is allowed, never
//! one of what is forbidden. The URL is root's text in a job file; an option, a helper program
//! (`ext::`) or a password that every process list would show must still not get through by mistake.

use super::SourceError;
use super::clean;

/// How git goes there. It may use this way and no other, whatever a server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    File,
    Http,
    Https,
    Ssh,
}

impl Way {
    /// The word of `GIT_ALLOW_PROTOCOL`.
    pub(super) fn protocol(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Http => "http",
            Self::Https => "https",
            Self::Ssh => "ssh",
        }
    }
}

/// A URL that passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) url: String,
    pub(super) way: Way,
    /// The host, for messages; the path where there is none.
    pub(super) place: String,
}

/// Whether a URL is asked at all.
///
/// # Errors
/// What is wrong with it and what is allowed.
pub fn check(url: &str) -> Result<(), SourceError> {
    Origin::parse(url).map(drop)
}

const URL_MAX: usize = 2048;

impl Origin {
    /// # Errors
    /// [`SourceError::BadUrl`]: what is wrong and what is allowed.
    pub(super) fn parse(url: &str) -> Result<Self, SourceError> {
        let bad = |why: &str| SourceError::BadUrl { url: shown(url), why: why.to_owned() };
        if url.is_empty() || url.len() > URL_MAX {
            return Err(bad("a repository URL has 1 to 2048 characters"));
        }
        if url.starts_with('-') {
            return Err(bad("it begins with \"-\", which git would read as an option"));
        }
        if url.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(bad("it has a space or control character in it"));
        }
        let found = |way, place: &str| Self { url: url.to_owned(), way, place: place.to_owned() };
        if url.starts_with('/') {
            return Ok(found(Way::File, url));
        }
        if let Some((scheme, rest)) = url.split_once("://") {
            let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
            return match scheme {
                "file" if authority.is_empty() && path.len() > 1 => Ok(found(Way::File, path)),
                "file" => Err(bad("write file:///absolute/path")),
                "http" | "https" if authority.contains('@') => Err(bad(
                    "it carries a user or password, which every process list of this host would show; leave it out",
                )),
                "http" => host(authority, false).map(|host| found(Way::Http, host)).map_err(bad),
                "https" => host(authority, false).map(|host| found(Way::Https, host)).map_err(bad),
                "ssh" => host(authority, true).map(|host| found(Way::Ssh, host)).map_err(bad),
                _ => Err(bad("only https, ssh, http and file URLs, USER@HOST:PATH and absolute paths are asked")),
            };
        }
        // USER@HOST:PATH, as scp has it: a colon before any slash, and not the `::` of helper programs.
        match url.split_once(':') {
            Some((login, path)) if !login.contains('/') && !path.starts_with(':') && !path.is_empty() => {
                host(login, true).map(|host| found(Way::Ssh, host)).map_err(bad)
            }
            Some((_, path)) if path.starts_with(':') => Err(bad("helper programs (NAME::…) are never run")),
            _ => Err(bad("a path must be absolute; URLs begin with https://, ssh://, http:// or file://")),
        }
    }
}

impl Origin {
    /// `https://HOST:PORT/`, all that a login is for.
    pub(super) fn server(&self) -> String {
        let rest = self.url.split_once("://").map_or("", |(_, rest)| rest);
        let scheme = self.way.protocol();
        format!("{scheme}://{}/", rest.split('/').next().unwrap_or_default())
    }

    /// Whether what is sent there stays on this host.
    pub(super) fn is_loopback(&self) -> bool {
        self.place == "localhost" || self.place.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

/// The host of `[user@]host[:port]`.
fn host(authority: &str, may_have_user: bool) -> Result<&str, &'static str> {
    let plain = |text: &str| {
        !text.is_empty()
            && !text.starts_with('-')
            && text.bytes().all(|c| c.is_ascii_alphanumeric() || b"._-".contains(&c))
    };
    let rest = match authority.rsplit_once('@') {
        Some((user, rest)) if may_have_user && plain(user) => rest,
        Some((user, _)) if user.contains(':') => return Err("it carries a password; use a key"),
        Some(_) => return Err("the user before the \"@\" is not plain letters, digits, \".\", \"_\" and \"-\""),
        None => authority,
    };
    if let Some((address, after)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        let address_ok = !address.is_empty() && address.bytes().all(|c| c.is_ascii_hexdigit() || b":.".contains(&c));
        let port_ok = after.is_empty() || after.strip_prefix(':').is_some_and(port);
        return if address_ok && port_ok { Ok(address) } else { Err("the address in brackets is none") };
    }
    let (name, port_ok) = match rest.split_once(':') {
        Some((name, number)) => (name, port(number)),
        None => (rest, true),
    };
    match (plain(name), port_ok) {
        (true, true) => Ok(name),
        (true, false) => Err("the port is no number"),
        (false, _) => Err("it names no host"),
    }
}

fn port(text: &str) -> bool {
    text.parse::<u16>().is_ok_and(|port| port > 0)
}

/// A URL as it may be shown.
pub(super) fn shown(url: &str) -> String {
    clean::line(clean::without_passwords(url).as_bytes(), clean::TEXT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allowed_urls_and_the_way_they_take() {
        for (url, way, place) in [
            ("/srv/git/x.git", Way::File, "/srv/git/x.git"),
            ("file:///srv/git/x.git", Way::File, "/srv/git/x.git"),
            ("https://github.com/a/b.git", Way::Https, "github.com"),
            ("https://[::1]:8443/b", Way::Https, "::1"),
            ("http://localhost:3000/b", Way::Http, "localhost"),
            ("ssh://git@host:2222/b", Way::Ssh, "host"),
            ("git@github.com:a/b.git", Way::Ssh, "github.com"),
            ("host:b.git", Way::Ssh, "host"),
        ] {
            let origin = Origin::parse(url).unwrap();
            assert_eq!((origin.way, origin.place.as_str()), (way, place), "{url}");
        }
    }

    #[test]
    fn everything_else_is_refused_with_a_reason() {
        for url in [
            "",
            "-x",
            "--upload-pack=touch /tmp/x",
            "ext::sh -c id",
            "ext::sh",
            "fd::17",
            "git://host/x",
            "ftp://host/x",
            "https:///host/x",
            "https://-oProxyCommand=x/y",
            "ssh://-oProxyCommand=x/y",
            "ssh://-l@host/y",
            "-oProxyCommand=x:y",
            "ssh://host:22x/y",
            "https://host:0/x",
            "file://host/x",
            "file:///",
            "relative/path",
            "./x",
            "../x:y",
            "host:",
            "https://ho st/x",
            "https://host/\u{1b}[31m",
            "https://host/x\n--upload-pack=y",
            "HTTPS://host/x",
            "a$(id)@host:x",
            "[::1:x",
        ] {
            let error = Origin::parse(url).unwrap_err().to_string();
            assert!(!error.chars().any(char::is_control), "{url:?}: {error:?}");
        }
    }

    #[test]
    fn a_password_in_a_url_is_refused_and_not_repeated() {
        for url in ["https://me:s3cret@host/x", "https://s3cret@host/x", "ssh://me:s3cret@host/x"] {
            let error = Origin::parse(url).unwrap_err().to_string();
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}
