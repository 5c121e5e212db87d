# What systemd sees of the daemon: readiness, status, watchdog, reload, and its exit codes.
. "$(dirname "$0")/lib.sh"
install_shipbell
drop_in 'WatchdogSec=2'
job_file host <<'JOBS'
[job.backup]
schedule = "H 3 * * *"
steps    = "true"
JOBS
check "the daemon says that it is ready" systemctl start shipbell
equal "it is active" active "$(property ActiveState)"
[ -n "$(property StatusText)" ] || fail "no STATUS= was said"
before=$(property WatchdogTimestampMonotonic)
watchdog_rang() { [ "$(property WatchdogTimestampMonotonic)" -gt "$before" ]; }
soon "it feeds the watchdog" watchdog_rang

daemon=$(property MainPID)
job_file second <<'JOBS'
[job.tidy]
schedule = "0 4 * * *"
steps    = "true"
JOBS
check "a reload succeeds" systemctl reload shipbell
shipbell next | grep -q second/tidy || fail "after the reload the new job is not known: $(shipbell next)"
echo "ok: once reload has returned, the new file is in use"
equal "by the same daemon" "$daemon" "$(property MainPID)"

job_file second <<'JOBS'
[job.tidy]
shedule = "0 4 * * *"
JOBS
systemctl reload shipbell && fail "a reload with a broken file succeeds"
echo "ok: a reload with a broken file fails"
equal "and leaves the daemon active" active "$(property ActiveState)"
shipbell next | grep -q second/tidy || fail "the last good version is gone: $(shipbell next)"
echo "ok: the last good version goes on"
rm /etc/shipbell/jobs.d/second.toml

timeout 20 shipbell daemon 2>/run/second
equal "a second daemon ends with" 75 $?
echo "it says: $(cat /run/second)"
equal "and does not disturb the first" "$daemon" "$(property MainPID)"

kill -STOP "$daemon"
soon "a daemon that hangs is replaced" another_daemon_than "$daemon"
soon "and the next one answers" shipbell status --json

check "a stop succeeds" systemctl stop shipbell
equal "with success" success "$(property Result)"
echo 'listen = 7' >/etc/shipbell/shipbell.toml
systemctl start shipbell && fail "it starts with a broken shipbell.toml"
equal "a broken shipbell.toml: exit status" 78 "$(property ExecMainStatus)"
sleep 6
equal "and is not tried again" failed "$(property ActiveState)"
