# Runs as they are under the unit: users of their own, which reach what is theirs and nothing else, and
# a supervisor whose few capabilities are enough to hand a workspace over, to end it and to remove it.
. "$(dirname "$0")/lib.sh"
install_shipbell
export HOME=/root
git config --global init.defaultBranch main
git config --global user.email dev@example.org
git config --global user.name dev
mkdir -p /srv/app
cd /srv/app || exit 1
git init -q
printf '{"port": 1}\n' >init_config.json
printf 'init:\n\t@test -s "$(INIT_CONFIG)" && echo "init as $$(id -un)" && git describe\n' >Makefile
git add . && git commit -qm first && git tag -am v1 v1
# git reads no repository of another user.
chown -R shipbell: /srv/app

# What it may not reach: anything that answers is named.
cat >/usr/local/bin/reach <<'REACH'
for path in /var/lib/shipbell/db/shipbell.db /var/lib/shipbell/executor /etc/shipbell/credentials /var/log/shipbell; do
  head -c 1 "$path" >/dev/null 2>&1 || ls "$path" >/dev/null 2>&1 && echo "reads $path"
done
for path in /var/lib/shipbell/runs /var/cache/shipbell/mirrors /var/cache/shipbell/homes; do
  # Its own is no secret.
  [ "$(ls "$path" 2>/dev/null | wc -l)" -gt 1 ] && echo "lists $path"
done
for path in /etc/shipbell /usr /var/cache/shipbell /run/shipbell ../ticket.json ../events.jsonl ../log; do
  touch "$path/x" 2>/dev/null && echo "writes into $path"
  [ -f "$path" ] && (: >>"$path") 2>/dev/null && echo "writes to $path"
done
shipbell next >/dev/null 2>&1 && echo "commands the daemon"
kill -0 "$(systemctl show -P MainPID shipbell)" 2>/dev/null && echo "signals the daemon"
kill -0 "$(awk '/^PPid/ {print $2}' /proc/$PPID/status)" 2>/dev/null && echo "signals its supervisor"
echo "tried as $(id -un)"
REACH
chmod 755 /usr/local/bin/reach
mkdir -p /var/lib/shipbell/runs/other.job.1 /var/cache/shipbell/mirrors/other /var/cache/shipbell/homes/other
job_file app <<'JOBS'
[repo]
url = "/srv/app"

[init]

[job.test]
steps     = ["sh /usr/local/bin/reach", "grep -E 'CapEff|NoNewPrivs' /proc/self/status", 'echo "made=$(git describe)" >> "$SHIPBELL_OUTPUT"; echo kept > "$HOME/cache"']

[job.staging]
needs       = "test"
environment = "staging"
init        = false
steps       = ["sh /usr/local/bin/reach", 'echo "got $NEEDS_TEST_MADE"; ls "$HOME"']

[environment.staging]
approval = "none"
JOBS
job_file bad <<'JOBS'
[job.stubborn]
manual  = true
timeout = "2s"
grace   = "1s"
steps   = "trap '' TERM; mkdir -p shut/in; touch shut/in/x; chmod 000 shut/in shut; setsid sleep 1000 & while :; do sleep 1; done"

[job.orphans]
manual = true
on-interrupted = "report"
steps  = "setsid sh -c 'while :; do sleep 0.3; done' & sleep 600"
JOBS
job_file lasting <<'JOBS'
[repo]
url = "/srv/app"

[job.test]
workspace = "keep"
steps     = "git status --short; git describe; tail -n 1 init_config.json; echo '{\"port\": 2}' > init_config.json; touch built; ln -sfn /etc .git/hooks"
JOBS
check "the daemon says that it is ready" systemctl start shipbell

soon "the test of the first commit succeeds" outcome_is app/test#1 succeeded
equal "its init and its steps" "init as shipbell-job;v1;tried as shipbell-job;CapEff: 0000000000000000;NoNewPrivs: 1;" \
  "$(said app/test#1 | tr '\t\n' ' ;')"
soon "staging follows" outcome_is app/staging#1 succeeded
equal "as another user, with the output of the test, and in a HOME of its own" "tried as shipbell-deploy;got v1;" \
  "$(said app/staging#1 | tr '\n' ';')"

# A workspace that is kept, under the unit: the commit's files are the commit's again, the rest stays.
soon "a run in a workspace that is kept succeeds" outcome_is lasting/test#1 succeeded
check "it is started once more" shipbell run lasting/test
soon "and succeeds" outcome_is lasting/test#2 succeeded
equal "what was built is there, what was altered is not" 'v1;{"port": 1};?? built;v1;{"port": 1};' \
  "$( (said lasting/test#1; said lasting/test#2) | tr '\n' ';')"

# Who may command: root, and members of the group shipbell.
useradd --no-create-home --groups shipbell anna
useradd --no-create-home ben
setpriv --reuid=anna --regid=anna --init-groups shipbell next >/dev/null || fail "a member of the group may not command it"
echo "ok: a member of the group may command it"
setpriv --reuid=ben --regid=ben --init-groups shipbell next >/dev/null 2>/run/refused && fail "another user may command it"
echo "another user is told: $(head -n 1 /run/refused)"

check "a stubborn job is started" shipbell run bad/stubborn
soon "and ended" outcome_is bad/stubborn#1 timed-out
equal "with all that it began" "" "$(pgrep -u shipbell-job)"
gone() { [ ! -e "$1" ]; }
soon "its workspace is removed, what it shut too" gone /var/lib/shipbell/runs/bad.stubborn.1/1/work

check "a job is started" shipbell run bad/orphans
steps_run() { [ "$(pgrep -u shipbell-job | wc -l)" -ge 3 ]; }
soon "its steps run" steps_run
check "its supervisor is killed" pkill -KILL -f '^/usr/bin/shipbell supervise '
soon "that is an interruption" outcome_is bad/orphans#1 interrupted
nobody_left() { ! pgrep -u shipbell-job >/dev/null; }
soon "what it left is ended" nobody_left
