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
equal "its status" "1 pipelines, 0 running, 0 waiting for approval" "$(property StatusText)"
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
check "once it is gone a reload succeeds" systemctl reload shipbell

timeout 20 shipbell daemon 2>/run/second
equal "a second daemon ends with" 75 $?
echo "it says: $(cat /run/second)"
equal "and does not disturb the first" "$daemon" "$(property MainPID)"

kill -STOP "$daemon"
soon "a daemon that hangs is replaced" another_daemon_than "$daemon"
soon "and the next one answers" shipbell next

echo 'listen = 7' >/etc/shipbell/shipbell.toml
systemctl reload shipbell && fail "a reload with a broken shipbell.toml succeeds"
echo "ok: a reload with a broken shipbell.toml fails"
soon "and leaves the daemon active" shipbell next
rm /etc/shipbell/shipbell.toml
check "without it a reload succeeds" systemctl reload shipbell

check "a stop succeeds" systemctl stop shipbell
equal "with success" success "$(property Result)"

# A database that is none, and one of a newer version.
will_not_start() { # TEXT
  systemctl start shipbell && fail "it starts with $1"
  equal "$1: exit status" 78 "$(property ExecMainStatus)"
  sleep 6
  equal "$1: it is not tried again" failed "$(property ActiveState)"
  journalctl -q -u shipbell -n 20 -o cat | grep ERROR
}
database=/var/lib/shipbell/db/shipbell.db
cp "$database" /run/good.db
head -c 20000 /dev/urandom >"$database"
rm -f "$database"-wal "$database"-shm
will_not_start "a garbage database"
# user_version stands at byte 60 of the file.
cp /run/good.db "$database"
printf '\0\0\003\347' | dd of="$database" bs=1 seek=60 conv=notrunc status=none
will_not_start "a newer database"
cp /run/good.db "$database"
check "with the good one it starts" systemctl start shipbell
