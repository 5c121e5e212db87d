//! Which texts are addresses of repositories. Everything that git would read as an option, a command
//! or a remote helper is refused, and so is a password: job files are read by many.

/// Why a text is no address: what is wrong, and what to write in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadUrl {
    pub headline: String,
    pub label: String,
    /// It may hold a password: do not repeat it.
    pub secret: bool,
}

/// Checks `url`.
///
/// # Errors
/// What is wrong with it, and what to write in its place.
pub fn check(url: &str) -> Result<(), BadUrl> {
    check_form(url).map_err(|(headline, label)| {
        // Whatever else is wrong with it: what stands between // and @ may be a password.
        let secret = url.split_once("://").is_some_and(|(_, rest)| rest.contains('@'));
        BadUrl { headline, label, secret }
    })
}

fn check_form(url: &str) -> Result<(), (String, String)> {
    let wrong = |headline: &str, label: &str| Err((headline.to_owned(), label.to_owned()));
    let forms = "write https://HOST/PATH, ssh://USER@HOST/PATH, USER@HOST:PATH or an absolute path";
    if url.starts_with('-') {
        return wrong("an address does not begin with `-`", "git would read it as an option");
    }
    // `ext::sh -c ...` runs a command, `fd::` and others reach into the daemon.
    if let Some((helper, _)) = url.split_once("::").filter(|(before, _)| !before.contains(['/', '[', '@'])) {
        return Err((format!("`{helper}::` is a helper program of git, no address"), forms.to_owned()));
    }
    if url.chars().any(|c| c.is_control() || c == ' ') {
        return wrong("a blank or control character in an address", "write %20 for a blank");
    }
    if url.starts_with('/') {
        return Ok(());
    }
    if let Some(path) = url.strip_prefix("file://") {
        return if path.starts_with('/') { Ok(()) } else { wrong("file:// takes an absolute path", "file:///PATH") };
    }
    let Some((scheme, rest)) = url.split_once("://") else {
        return scp_form(url).map_err(|headline| (headline, forms.to_owned()));
    };
    if !["http", "https", "ssh"].contains(&scheme) {
        return Err((format!("`{scheme}://` is not supported"), forms.to_owned()));
    }
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    if user.is_some_and(|user| user.contains(':') || scheme != "ssh") {
        return wrong(
            "a user name or password in an address",
            "job files are no place for credentials: write credential = \"NAME\", a file in credentials/ that holds it",
        );
    }
    check_host(host).and_then(|()| user.map_or(Ok(()), check_user)).map_err(|headline| (headline, forms.to_owned()))?;
    if path.is_empty() { wrong("the address names no repository", forms) } else { Ok(()) }
}

/// `git@host:path`.
fn scp_form(url: &str) -> Result<(), String> {
    let no = || "this is no address of a repository".to_owned();
    let (place, path) = url.split_once(':').ok_or_else(no)?;
    let (user, host) = place.split_once('@').ok_or_else(no)?;
    if path.is_empty() || path.starts_with('-') || path.starts_with(':') {
        return Err("the address names no repository".to_owned());
    }
    check_user(user)?;
    check_host(host)
}

fn check_user(user: &str) -> Result<(), String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || "._-+".contains(c);
    if user.is_empty() || user.starts_with('-') || !user.chars().all(legal) {
        return Err("the user in this address is none".to_owned());
    }
    Ok(())
}

fn check_host(authority: &str) -> Result<(), String> {
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((inner, after)) => (inner, after.strip_prefix(':').unwrap_or(after)),
        None => authority.split_once(':').unwrap_or((authority, "")),
    };
    let legal = |c: char| c.is_ascii_alphanumeric() || "._-:".contains(c);
    if host.is_empty() || host.starts_with(['-', '.']) || !host.chars().all(legal) {
        return Err("the host in this address is none".to_owned());
    }
    if !port.is_empty() && port.parse::<u16>().is_err() {
        return Err("the port in this address is none".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn addresses() {
        for good in [
            "https://github.com/openimsdk/open-im-server.git",
            "http://127.0.0.1:8080/a.git",
            "http://[::1]:8080/a.git",
            "ssh://git@example.org:2222/a.git",
            "git@github.com:a/b.git",
            "file:///srv/a.git",
            "/srv/a.git",
        ] {
            assert_eq!(super::check(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "-oProxyCommand=x",
            "ext::sh -c true",
            "ext::sh",
            "fd::17",
            "git::https://x/y",
            "git://x/y",
            "ftp://x/y",
            "https:///y",
            "https://x",
            "https://x/",
            "https://user:pw@x/y",
            "https://token@x/y",
            "ssh://-oProxyCommand=x/y",
            "ssh://-x@h/y",
            "git@-oProxyCommand=x:y",
            "git@:y",
            "git@h:",
            "git@h:-x",
            "relative/path",
            "../up",
            "https://x/a\nb",
            "https://x/a b",
            "file://relative",
            "https://x:99999/y",
            "a b@h:x",
        ] {
            assert!(super::check(bad).is_err(), "{bad}");
        }
    }
}
