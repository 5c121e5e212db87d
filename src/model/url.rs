//! Which texts are URLs of repositories: one list of what is allowed, for job files and for asking alike.
//! Everything that git or ssh would read as an option, a command, a remote helper or a login is refused;
//! a password must not stand in a file that many read, or in a process list. How each is asked is `source`'s.

/// How git goes there. It may use this way and no other, whatever a server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    File,
    Http,
    Https,
    Ssh,
    /// `git://`, the daemon of git's own: neither encrypted nor proven.
    Git,
}

impl Way {
    /// The word before `://`, and that of `GIT_ALLOW_PROTOCOL`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Http => "http",
            Self::Https => "https",
            Self::Ssh => "ssh",
            Self::Git => "git",
        }
    }

    fn of(word: &str) -> Option<Self> {
        [Self::File, Self::Http, Self::Https, Self::Ssh, Self::Git].into_iter().find(|way| way.word() == word)
    }
}

/// A URL that passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepoUrl {
    pub url: String,
    pub way: Way,
    /// The host without brackets; the path where there is none.
    pub place: String,
}

/// Why a text is none: what is wrong, and what to write in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadUrl {
    pub headline: String,
    pub label: String,
    /// It may hold a password: do not repeat it.
    pub secret: bool,
}

const URL_MAX: usize = 2048;
const FORMS: &str = "write https://HOST/PATH, ssh://USER@HOST/PATH, USER@HOST:PATH or an absolute path";

type Why = (String, String);

fn wrong<T>(headline: impl Into<String>, label: &str) -> Result<T, Why> {
    Err((headline.into(), label.to_owned()))
}

impl RepoUrl {
    /// # Errors
    /// What is wrong with it, and what to write in its place.
    pub fn parse(url: &str) -> Result<Self, BadUrl> {
        let read = read(url).map(|(way, place)| Self { url: url.to_owned(), way, place: place.to_owned() });
        read.map_err(|(headline, label)| {
            // Whatever else is wrong with it: what stands before an @, behind a colon, may be a password.
            let secret = url.rsplit_once('@').is_some_and(|(before, _)| before.contains(':')) || url.contains('?');
            BadUrl { headline, label, secret }
        })
    }

    /// `https://HOST:PORT/`, all that a login is for.
    #[must_use]
    pub fn server(&self) -> String {
        let rest = self.url.split_once("://").map_or("", |(_, rest)| rest);
        format!("{}://{}/", self.way.word(), rest.split('/').next().unwrap_or_default())
    }

    /// `USER@HOST:PORT` as it is written: what a connection over ssh is for.
    #[must_use]
    pub fn login_at(&self) -> &str {
        match self.url.split_once("://") {
            Some((_, rest)) => rest.split('/').next().unwrap_or_default(),
            None => self.url.split(':').next().unwrap_or_default(),
        }
    }

    /// Whether what is sent there stays on this host.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.place == "localhost" || self.place.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    /// Whether whoever stands between could put another commit in the place of one.
    #[must_use]
    pub fn is_open_to_change(&self) -> bool {
        matches!(self.way, Way::Http | Way::Git) && !self.is_loopback()
    }
}

/// How to go there, and the host or path.
fn read(url: &str) -> Result<(Way, &str), Why> {
    if url.is_empty() || url.len() > URL_MAX {
        return wrong("the address of a repository has 1 to 2048 characters", FORMS);
    }
    if url.starts_with('-') {
        return wrong("an address does not begin with `-`", "git would read it as an option");
    }
    // `ext::sh -c ...` runs a command, `fd::` and others reach into the daemon.
    let is_word = |word: &str| word.bytes().all(|c| c.is_ascii_alphanumeric() || b"._-+".contains(&c));
    if let Some((helper, _)) = url.split_once("::").filter(|(before, _)| is_word(before)) {
        return wrong(format!("`{helper}::` is a helper program of git, no address"), FORMS);
    }
    if url.chars().any(|c| c.is_control() || c.is_whitespace()) || has_coded_control(url) {
        return wrong("a blank or control character in an address", "write %20 for a blank");
    }
    if url.starts_with('/') {
        return of_path(url);
    }
    let Some((scheme, rest)) = url.split_once("://") else { return of_scp(url) };
    match Way::of(scheme) {
        Some(Way::File) if rest.starts_with('/') => of_path(rest),
        Some(Way::File) => wrong("file:// takes an absolute path", "file:///PATH"),
        Some(way) => of_host(way, rest),
        None => wrong(format!("`{scheme}://` is not supported"), FORMS),
    }
}

fn of_path(path: &str) -> Result<(Way, &str), Why> {
    if path.len() > 1 { Ok((Way::File, path)) } else { wrong("the address names no repository", FORMS) }
}

/// What stands behind `://`.
fn of_host(way: Way, rest: &str) -> Result<(Way, &str), Why> {
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    if user.is_some_and(|user| user.contains(':') || way != Way::Ssh) {
        return wrong(
            "a user name or password in an address",
            "job files are no place for credentials: write credential = \"NAME\", a file in credentials/ that holds it",
        );
    }
    user.map_or(Ok(()), check_user)?;
    let host = host_and_port(host)?;
    if path.is_empty() {
        return wrong("the address names no repository", FORMS);
    }
    if way != Way::Ssh && path.contains(['?', '#']) {
        return wrong(
            "a `?` or `#` in an address",
            "a repository has neither; a login is named by credential = \"NAME\"",
        );
    }
    Ok((way, host))
}

/// `git@host:path`.
fn of_scp(url: &str) -> Result<(Way, &str), Why> {
    let found = url.split_once(':').and_then(|(login, path)| Some((login.split_once('@')?, path)));
    let Some(((user, host), path)) = found else { return wrong("this is no address of a repository", FORMS) };
    if path.is_empty() || path.starts_with(['-', ':']) {
        return wrong("the address names no repository", FORMS);
    }
    check_user(user)?;
    check_name(host)?;
    Ok((Way::Ssh, host))
}

fn check_user(user: &str) -> Result<(), Why> {
    let begins = user.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    if begins && user.bytes().all(|c| c.is_ascii_alphanumeric() || b"._-+".contains(&c)) {
        return Ok(());
    }
    wrong("the user in this address is none", FORMS)
}

fn check_name(host: &str) -> Result<(), Why> {
    let begins = host.starts_with(|c: char| c.is_ascii_alphanumeric());
    if begins && host.bytes().all(|c| c.is_ascii_alphanumeric() || b"._-".contains(&c)) {
        return Ok(());
    }
    wrong("the host in this address is none", FORMS)
}

/// The host of `HOST`, `HOST:PORT`, `[ADDRESS]` or `[ADDRESS]:PORT`.
fn host_and_port(text: &str) -> Result<&str, Why> {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, after)) => {
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return wrong("the host in this address is none", FORMS);
            }
            (address, if after.is_empty() { None } else { Some(after.strip_prefix(':').unwrap_or_default()) })
        }
        None => {
            let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
            check_name(host)?;
            (host, port)
        }
    };
    let is_port =
        |text: &str| text.bytes().all(|c| c.is_ascii_digit()) && text.parse::<u16>().is_ok_and(|port| port > 0);
    match port {
        Some(port) if !is_port(port) => wrong("the port in this address is none", FORMS),
        _ => Ok(host),
    }
}

/// `%0a` and its like: some ways of git decode them.
fn has_coded_control(url: &str) -> bool {
    let digits = url.split('%').skip(1).filter_map(|after| after.get(..2));
    digits.filter_map(|digits| u8::from_str_radix(digits, 16).ok()).any(|code| code < 0x20 || code == 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allowed_urls_and_the_way_they_take() {
        for (url, way, place) in [
            ("/srv/git/x.git", Way::File, "/srv/git/x.git"),
            ("file:///srv/git/x.git", Way::File, "/srv/git/x.git"),
            ("https://github.com/openimsdk/open-im-server.git", Way::Https, "github.com"),
            ("https://[::1]:8443/b", Way::Https, "::1"),
            ("http://localhost:3000/b", Way::Http, "localhost"),
            ("http://127.0.0.1:8080/a%20b.git", Way::Http, "127.0.0.1"),
            ("ssh://git@host:2222/b", Way::Ssh, "host"),
            ("ssh://host/~anna/b", Way::Ssh, "host"),
            ("ssh://org+tag@host/b", Way::Ssh, "host"),
            ("git@github.com:a/b.git", Way::Ssh, "github.com"),
            ("git://git.example.org:9419/b.git", Way::Git, "git.example.org"),
        ] {
            let read = RepoUrl::parse(url).unwrap();
            assert_eq!((read.url.as_str(), read.way, read.place.as_str()), (url, way, place), "{url}");
        }
    }

    #[test]
    fn everything_else_is_refused_with_a_reason() {
        for url in [
            "",
            "/",
            "-x",
            "-oProxyCommand=x",
            "-oProxyCommand=x:y",
            "--upload-pack=touch /tmp/x",
            "ext::sh -c true",
            "ext::sh",
            "fd::17",
            "git::https://x/y",
            "ftp://host/x",
            "HTTPS://host/x",
            "https:///host/x",
            "https://x",
            "https://x/",
            "https://-oProxyCommand=x/y",
            "https://host:0/x",
            "https://host:/x",
            "https://host:+1/x",
            "https://x:99999/y",
            "https://ho st/x",
            "https://host/\u{1b}[31m",
            "https://host/x\n--upload-pack=y",
            "https://host/%0ax",
            "https://host/x?token=y",
            "https://host/x#y",
            "https://[::1]x/y",
            "https://[12]/y",
            "http://.x/y",
            "ssh://-oProxyCommand=x/y",
            "ssh://-x@h/y",
            "ssh://host:22x/y",
            "git://-x/y",
            "git://me@host/y",
            "git@-oProxyCommand=x:y",
            "git@:y",
            "git@h:",
            "git@h:-x",
            "git@h::x",
            "+@host:x",
            "host:b.git",
            "localhost:3000/x",
            "a$(id)@host:x",
            "a b@h:x",
            "[::1:x",
            "relative/path",
            "./x",
            "../x:y",
            "file://relative",
            "file://host/x",
            "file:///",
        ] {
            let bad = RepoUrl::parse(url).unwrap_err();
            assert!(!bad.label.is_empty() && !bad.headline.chars().any(char::is_control), "{url:?}: {bad:?}");
        }
    }

    #[test]
    fn what_may_be_a_password_is_marked() {
        for url in ["https://me:s3cret@host/x", "https://s3cret@host/x", "ssh://me:s3cret@host/x", "me:s3cret@host:x"] {
            let bad = RepoUrl::parse(url).unwrap_err();
            assert!(bad.secret && !format!("{bad:?}").contains("s3cret"), "{bad:?}");
        }
        assert!(!RepoUrl::parse("ext::sh").unwrap_err().secret);
    }

    #[test]
    fn a_way_that_can_be_tampered_with_is_named_so() {
        for (url, open) in [
            ("http://host/x", true),
            ("git://host/x", true),
            ("http://127.0.0.1:80/x", false),
            ("git://[::1]/x", false),
            ("https://host/x", false),
            ("git@host:x", false),
            ("/srv/x", false),
        ] {
            assert_eq!(RepoUrl::parse(url).unwrap().is_open_to_change(), open, "{url}");
        }
    }
}
