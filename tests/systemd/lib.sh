# What the scenarios share. Each is run as root inside a freshly booted systemd, with the binary, the
# unit and packaging/ in their places. The first check that fails ends it, and says which.
set -u -o pipefail

fail() { echo "FAILED: $*" >&2; exit 1; }

# check TEXT COMMAND...: the command must succeed.
check() {
  local text=$1
  shift
  "$@" || fail "$text ($*)"
  echo "ok: $text"
}

# equal TEXT EXPECTED FOUND
equal() {
  [ "$2" = "$3" ] || fail "$1: expected '$2', found '$3'"
  echo "ok: $1"
}

# soon TEXT COMMAND...: the command must succeed within 30 seconds.
soon() {
  local text=$1 left=300
  shift
  while ! "$@" >/dev/null 2>&1; do
    ((left-- > 0)) || fail "$text, not within 30 seconds ($*)"
    sleep 0.1
  done
  echo "ok: $text"
}

# property NAME: of shipbell.service, as systemd has it.
property() { systemctl show -P "$1" shipbell.service; }

# What the package's installation does.
install_shipbell() {
  systemd-sysusers
  systemd-tmpfiles --create shipbell.conf
  systemctl daemon-reload
}

# drop_in TEXT: lines for [Service] of a drop-in.
drop_in() {
  mkdir -p /etc/systemd/system/shipbell.service.d
  printf '[Service]\n%s\n' "$1" >/etc/systemd/system/shipbell.service.d/test.conf
  systemctl daemon-reload
}

# job_file NAME: its text comes on standard input.
job_file() { install -m 0644 /dev/stdin "/etc/shipbell/jobs.d/$1.toml"; }

another_daemon_than() {
  local now
  now=$(property MainPID)
  [ "$now" != "$1" ] && [ "$now" != 0 ] && [ "$(property ActiveState)" = active ]
}

# What is known of runs. RUN is PIPELINE/JOB#NUMBER.
said() { shipbell logs "$1" | grep -v '^==='; }
lines_of() { shipbell logs "$1" | grep -c '^line '; }
log_has() { shipbell logs "$1" | grep -q "$2"; }
# The first outcome that is shown is the run's own; those of its attempts and of runs before it follow.
outcome_is() { [ "$(shipbell show "$1" --json | grep -oE '"outcome": *("[a-z-]*"|null)' | head -n 1 | tr -d " ")" = "\"outcome\":\"$2\"" ]; }
# took_at_least RUN SECONDS: by the times of its first attempt, as they are recorded.
took_at_least() {
  local from to
  from=$(shipbell show "$1" --json | grep -o '"started_at": *"[^"]*"' | head -n 1 | cut -d'"' -f4)
  to=$(shipbell show "$1" --json | grep -o '"finished_at": *"[^"]*"' | head -n 1 | cut -d'"' -f4)
  (($(date -d "$to" +%s) - $(date -d "$from" +%s) >= $2)) || fail "$1 ran from $from to $to, less than $2 s"
}
