# Every run is a unit: what systemd shows of it, what it sees of the host, and that nothing of it is left
# however it ends.
. "$(dirname "$0")/lib.sh"
install_shipbell
unit_of() { echo "shipbell-run-$1.service"; }
shows() { systemctl show -P "$2" "$(unit_of "$1")"; }
is_gone() { [ "$(systemctl show -P LoadState "$1")" = not-found ]; }
swept() { [ ! -e "/var/lib/shipbell/runs/$1/work" ]; }
nobody_left() { ! pgrep -u shipbell-job >/dev/null && ! pgrep -u shipbell-deploy >/dev/null; }

# Fault 33: root is a job's user only where root says so.
job_file root <<'JOBS'
[job.backup]
manual = true
user   = "root"
steps  = "true"
JOBS
shipbell check 2>/run/refused && fail "a job file may be root's without a word"
grep -q 'allow-root = true below \[limits\]' /run/refused || fail "what to do is not said: $(cat /run/refused)"
echo "ok: a job file that names root is refused, and told what to do"
printf '[limits]\nallow-root = true\n' >>/etc/shipbell/shipbell.toml
check "once it is allowed it is good" shipbell check

job_file host <<'JOBS'
[defaults]
manual = true

[job.look]
steps = ["echo '$HOME %n $$ ${X}' | cat; sleep 2", { name = "second", run = "echo two" }]

[job.again]
retry = { attempts = 2 }
steps = "exit 7"

[job.escape]
on-interrupted = "report"
steps = """
for i in 1 2 3; do setsid env -i sh -c 'trap "" TERM HUP; (sleep 1000 & sleep 1000) & sleep 1000' & done
sleep 1000"""

[job.stubborn]
timeout = "1s"
grace   = "1s"
steps   = [
  "trap '' TERM; setsid setsid sh -c 'trap \"\" TERM; sleep 1000' & while :; do sleep 1; done",
  { name = "last", run = "touch /var/tmp/always-ran; echo ran", always = true },
]

# Root sees and writes what its sandbox lets it, and nothing else is in its way.
[job.sights]
user  = "root"
steps = "sh /usr/local/bin/sights"

[job.alone]
user    = "root"
sandbox = "offline"
steps = "sh /usr/local/bin/sights"

[job.open]
user    = "root"
sandbox = "off"
steps = "sh /usr/local/bin/sights"

[job.secret]
secrets = "key"
steps   = 'wc -c < "$CREDENTIALS_DIRECTORY/key"; stat -f -c %T "$CREDENTIALS_DIRECTORY"; cat "$CREDENTIALS_DIRECTORY/key"'

[job.live]
environment = "live"
steps = "sleep 1000"

[environment.live]
approval = "none"
JOBS
cat >/usr/local/bin/sights <<'SIGHTS'
for path in /var/lib/shipbell/runs/host.look.1 /var/lib/shipbell/db/shipbell.db /var/lib/shipbell/executor/last-good \
  /var/cache/shipbell/homes/other /etc/shipbell/secrets/key /etc/shipbell/credentials/key ~anna/file ~root/.bashrc /var/tmp/outside; do
  [ -e "$path" ] && echo "sees $path"
done
for path in /usr/x /etc/x /srv/x /var/cache/x /var/lib/shipbell/runs/x /tmp/x "$HOME/x" "$SHIPBELL_WORKSPACE/x" "$TMPDIR/x"; do
  touch "$path" 2>/dev/null && echo "writes $path"
done
ls /sys/class/net | tr '\n' ' '
grep -E 'NoNewPrivs|CapBnd' /proc/self/status
SIGHTS
useradd --create-home anna
mkdir -p /etc/shipbell/secrets /var/cache/shipbell/homes/other
touch ~anna/file /var/tmp/outside /etc/shipbell/secrets/key /etc/shipbell/credentials/key
printf c4nary-key >/etc/shipbell/secrets/key
chmod 600 /etc/shipbell/secrets/key
check "the daemon says that it is ready" systemctl start shipbell

check "a run is started" shipbell run host/look
soon "it is a unit" systemctl is-active "$(unit_of host.look.1)"
equal "in the slice of all runs" shipbell-jobs.slice "$(shows host.look.1 Slice)"
equal "its control group is handed over" yes "$(shows host.look.1 Delegate)"
shown() { systemctl status --no-pager "$(unit_of host.look.1)" | grep -q "$1"; }
soon "systemctl status names the run" shown 'Shipbell run host/look#1, attempt 1'
soon "and shows what it does" shown 'sleep 2'
in_leaf() { grep -q . "/sys/fs/cgroup$(shows host.look.1 ControlGroup)/steps/cgroup.procs"; }
soon "its steps have a control group of their own in it" in_leaf
check "systemd-cgtop shows it" sh -c 'systemd-cgtop -b -n 1 --depth=5 | grep -q shipbell-jobs.slice'
soon "it ends well" outcome_is host/look#1 succeeded
equal "nothing in a step was expanded by systemd" '$HOME %n $$ ${X};two;' "$(said host/look#1 | tr '\n' ';')"
told() { journalctl --no-pager -o cat -u "$(unit_of host.look.1)" | grep -q "$1"; }
soon "the journal tells of its steps" told 'step 2 "second"'
soon "and of its end" told '=== succeeded'
check "the journal does not repeat what it printed" sh -c '! journalctl -u shipbell-run-host.look.1 -o cat | grep -qx two'
soon "its unit goes when its result is recorded" is_gone "$(unit_of host.look.1)"
check "and its workspace" swept host.look.1/1

# A second attempt is a unit of its own name.
check "a job that fails is started" shipbell run host/again
soon "and fails" outcome_is host/again#1 failed
soon "the journal has its first attempt" sh -c 'journalctl -u shipbell-run-host.again.1 -o cat | grep -q "exit 7"'
soon "and its second" sh -c 'journalctl -u shipbell-run-host.again.1.2 -o cat | grep -q "exit 7"'

# What a run sees and may write.
sights() { said "host/$1#1" | tr '\t\n' ' ;'; }
for job in sights alone open; do
  check "$job is started" shipbell run "host/$job"
  soon "and ends" outcome_is "host/$job#1" succeeded
done
own='writes /tmp/x;writes /var/cache/shipbell/homes/host/root/x;'
own=$own'writes /var/lib/shipbell/runs/host.NAME.1/1/work/x;writes /var/lib/shipbell/runs/host.NAME.1/1/out/tmp/x;'
link=$(ls /sys/class/net | tr '\n' ' ')
kept='CapBnd: 00000000000000eb;NoNewPrivs: 1;'
equal "standard: its own, and the network" "${own//NAME/sights}$link$kept" "$(sights sights)"
equal "offline: its own" "${own//NAME/alone}lo $kept" "$(sights alone)"
equal "off: what its user may" 9 "$(said host/open#1 | grep -c ^sees)"
check "also outside" test -e /srv/x

# Its secret is handed over by descriptor, and lies in memory.
check "a job with a secret is started" shipbell run host/secret
soon "and ends" outcome_is host/secret#1 succeeded
equal "its secret came, in memory, and is not shown" '10;tmpfs;***;' "$(said host/secret#1 | grep -v ^=== | tr '\n' ';')"
check "nothing of it is left" sh -c '! ls -d /run/shipbell-credentials-* /dev/shm/shipbell-credentials-* 2>/dev/null'

# Its supervisor is killed: systemd ends what is left, whatever that did to hide.
check "a job that hides is started" shipbell run host/escape
hidden() { [ "$(pgrep -cu shipbell-job -x sleep)" -ge 7 ]; }
soon "it hides" hidden
kill -KILL "$(systemctl show -P MainPID "$(unit_of host.escape.1)")"
soon "that is an interruption" outcome_is host/escape#1 interrupted
check "nothing of it is left" nobody_left
soon "nor its unit" is_gone "$(unit_of host.escape.1)"

check "a stubborn job is started" shipbell run host/stubborn
soon "and ended in time" outcome_is host/stubborn#1 timed-out
check "with all that it began" nobody_left
equal "its last step ran" ran "$(said host/stubborn#1)"

# A deployment whose supervisor is killed is unknown, and its unit stopped by hand is no success.
check "a deployment is started" shipbell run host/live
soon "it runs" pgrep -u shipbell-deploy -x sleep
kill -KILL "$(systemctl show -P MainPID "$(unit_of host.live.1)")"
soon "its environment is not clear" outcome_is host/live#1 unknown
check "nothing of it is left" nobody_left
check "a person says how it ended" shipbell resolve host live --as failed
check "it is started again" shipbell run host/live
soon "it runs" pgrep -u shipbell-deploy -x sleep
check "its unit is stopped by hand" systemctl stop "$(unit_of host.live.2)"
soon "that is no success" outcome_is host/live#2 cancelled
shipbell show host/live#2 | grep -q 'stopped from outside' || fail "nobody says why: $(shipbell show host/live#2)"
check "nothing of it is left" nobody_left

# A unit that cannot begin: said, and begun anew, and given up.
mkdir -p /etc/systemd/system/shipbell-run-.service.d
printf '[Service]\nWorkingDirectory=/no/such/place\n' >/etc/systemd/system/shipbell-run-.service.d/broken.conf
systemctl daemon-reload
check "a run is started that systemd cannot start" shipbell run host/look
refused() { shipbell show host/look#2 --json | grep -q 'never started: the unit shipbell-run-host.look.2.service ended with exit-code (200)'; }
soon "the reason is systemd's" refused
rm /etc/systemd/system/shipbell-run-.service.d/broken.conf
systemctl daemon-reload
soon "it is begun anew" outcome_is host/look#2 succeeded
no_unit_left() { [ -z "$(systemctl list-units --all --no-legend 'shipbell-run-*')" ]; }
soon "no unit of a run is left" no_unit_left

# A run that said all is acknowledged without a word to systemd. A unit that is there all the same (an earlier
# release asked it to stay, or its supervisor was killed as it went) is looked at a little later, and let go.
check "a unit of a run that is over stays" systemd-run --quiet --remain-after-exit --unit=shipbell-run-host.look.1 true
check "and one that failed" sh -c '! systemd-run --quiet --wait --unit=shipbell-run-host.stubborn.1 false'
equal "systemd has both" 2 "$(systemctl list-units --all --no-legend 'shipbell-run-*' | wc -l)"
check "the daemon is restarted" systemctl restart shipbell
soon "they are let go" no_unit_left
