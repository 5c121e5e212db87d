//! What a line of a crontab is called: the program that it is about, not the `test`, `cd`, `sudo` or `flock`
//! in front of it.

/// Words that begin a command and say nothing about it.
const BEFORE: &[&str] = &[
    "sudo",
    "nice",
    "ionice",
    "nohup",
    "timeout",
    "flock",
    "env",
    "exec",
    "time",
    "chronic",
    "systemd-cat",
    "chrt",
    "setsid",
    "stdbuf",
    "command",
    "if",
    "then",
    "else",
    "do",
    "while",
    "!",
    "(",
    "{",
    "cronic",
    "lckdo",
    "run-one",
];

/// Options of those that take a word of their own.
const WITH_VALUE: &[&str] = &["-u", "-n", "-c", "-w", "-t", "-g", "-p", "-s", "-k", "-E"];

/// Commands that prepare or check.
const BESIDE: &[&str] = &[
    "test", "[", "[[", "cd", "export", "set", "sleep", "umask", ".", "source", "true", "false", "exit", "ulimit",
    "trap", "echo", "fi", "done", ":", "for",
];

/// Programs whose argument says what is done.
const RUNNERS: &[&str] = &[
    "sh",
    "bash",
    "dash",
    "zsh",
    "ksh",
    "php",
    "python",
    "python3",
    "perl",
    "ruby",
    "node",
    "java",
    "run-parts",
    "make",
    "php-fpm",
    "uv",
    "npm",
    "npx",
    "docker",
    "podman",
    "php8.2",
];

/// A name for a command, still to be made legal and unique.
pub(super) fn command_name(command: &str) -> String {
    let parts: Vec<String> = command.split([';', '|', '&', '\n']).map(str::to_owned).collect();
    let named = parts.iter().find_map(|part| of_part(part, BESIDE));
    named.or_else(|| parts.iter().find_map(|part| of_part(part, &[]))).unwrap_or_else(|| "job".into())
}

fn of_part(part: &str, beside: &[&str]) -> Option<String> {
    let around = |c: char| "\"'`(){}$".contains(c);
    let mut words = part.split_whitespace().map(|word| word.trim_matches(around)).filter(|word| !word.is_empty());
    let mut word = words.next()?;
    let mut wrapped = false;
    loop {
        let assigned =
            word.split_once('=').is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'));
        if BEFORE.contains(&base(word)) {
            // `timeout 5m`, `flock /run/x.lock`: the next plain word is theirs as well.
            wrapped = ["timeout", "flock", "lckdo"].contains(&base(word));
            word = words.next()?;
        } else if word.starts_with('-') {
            let takes = WITH_VALUE.contains(&word);
            word = words.next()?;
            if takes && !word.starts_with('-') {
                word = words.next()?;
            }
        } else if wrapped {
            wrapped = false;
            word = words.next()?;
        } else if assigned {
            word = words.next()?;
        } else {
            break;
        }
    }
    if beside.contains(&base(word)) || word.starts_with(['>', '<']) {
        return None;
    }
    let program = base(word);
    if RUNNERS.contains(&program) {
        let argument = words.find(|word| !word.starts_with(['-', '>', '<']))?;
        let named = stem(base(argument));
        return Some(if ["make", "npm", "docker", "podman"].contains(&program) {
            format!("{program}-{named}")
        } else {
            named
        });
    }
    Some(stem(program))
}

fn base(word: &str) -> &str {
    word.trim_end_matches('/').rsplit('/').next().unwrap_or(word)
}

/// Without what says in which language it is written.
fn stem(name: &str) -> String {
    let known = [".sh", ".py", ".pl", ".php", ".rb", ".js", ".jar"];
    let end = known.iter().find_map(|ending| name.strip_suffix(ending));
    end.filter(|stem| !stem.is_empty()).unwrap_or(name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_called_after_what_it_does() {
        for (command, name) in [
            ("/usr/local/bin/backup.sh --all >/dev/null 2>&1", "backup"),
            ("test -x /usr/sbin/anacron || { cd / && run-parts --report /etc/cron.daily; }", "cron.daily"),
            ("cd / && run-parts --report /etc/cron.hourly", "cron.hourly"),
            ("test -e /run/systemd/system || SERVICE_MODE=1 /sbin/e2scrub_all -A -r", "e2scrub_all"),
            (
                "[ -x /usr/lib/php/sessionclean ] && if [ ! -d /run/systemd/system ]; then /usr/lib/php/sessionclean; fi",
                "sessionclean",
            ),
            ("flock -n /run/x.lock nice -n 10 php -f /var/www/nextcloud/cron.php", "cron"),
            ("sudo -u www-data timeout 5m python3 /opt/x/sync.py", "sync"),
            ("A=1 B=2 make -C /srv report", "make-srv"),
            ("cd /srv", "cd"),
            ("", "job"),
            ("\"$HOME\"/bin/x", "x"),
            (">/dev/null", "job"),
        ] {
            assert_eq!(command_name(command), name, "{command}");
        }
    }
}
