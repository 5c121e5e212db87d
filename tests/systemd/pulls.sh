# A pull request as anyone may open one: its run has no secret, no network, no home that is kept, and
# counts for nothing; the same job for main has all of that.
. "$(dirname "$0")/lib.sh"
install_shipbell
git() { command git -c user.name=ann -c user.email=ann@example.org -c init.defaultBranch=main "$@"; }

mkdir -p /srv/app /etc/shipbell/secrets
cd /srv/app || exit 1
git init --quiet .
cat >look <<'LOOK'
cat "$CREDENTIALS_DIRECTORY/key" 2>/dev/null && echo "has the secret"
[ -n "$KEY" ] && echo "has the variable"
[ -e "$HOME/kept" ] && echo "has what was kept"
touch "$HOME/kept"
ls /sys/class/net | grep -qvx lo && echo "has a network"
ls /var/cache/shipbell/homes/app/* 2>/dev/null
echo "pull=$SHIPBELL_PULL branch=$SHIPBELL_BRANCH type=$JOB_TYPE"
LOOK
git add look
git commit --quiet -m first
command git config --global --add safe.directory /srv/app.git
git clone --quiet --bare . /srv/app.git
chown -R shipbell: /srv/app.git
install -m 0600 /dev/stdin /etc/shipbell/secrets/key <<<"the-secret-of-this-test"
ip link add dummy0 type dummy 2>/dev/null || true
job_file app <<'JOBS'
[repo]
url = "/srv/app.git"
poll = "1s"
pulls = "sandboxed"

[job.test]
secrets = "key"
env     = { KEY = { secret = "key" } }
steps   = "sh look"

[job.deploy]
needs       = "test"
environment = "live"
branches    = "main"
steps       = "true"

[environment.live]
approval = "none"
JOBS
check "the daemon says that it is ready" systemctl start shipbell
soon "main is tested" outcome_is app/test#1 succeeded
soon "and deployed" outcome_is app/deploy#1 succeeded
said app/test#1 | grep -q 'has the secret' || fail "main has no secret: $(said app/test#1)"
said app/test#1 | grep -q 'has the variable' || fail "main has no variable"

# It was there, and its head moves: only now it runs.
git commit --quiet --allow-empty -m "by a stranger"
check "the stranger pushes" git push --quiet /srv/app.git HEAD:refs/pull/7/head
chown -R shipbell: /srv/app.git
soon "the pull request is tested" outcome_is app/test#2 succeeded
equal "it has nothing" "pull=7 branch= type=presubmit" "$(said app/test#2)"
shipbell logs app/test#2 | grep -q '^=== a pull request' || fail "the log does not say so"
git commit --quiet --allow-empty -m "more"
check "the stranger pushes" git push --quiet /srv/app.git HEAD:refs/pull/7/head
chown -R shipbell: /srv/app.git
soon "its next head is tested" outcome_is app/test#3 succeeded
equal "and finds nothing of the one before" "pull=7 branch= type=presubmit" "$(said app/test#3)"
shipbell history --json | grep -q 'app/deploy#2' && fail "something was deployed"

# Merged as it is, it is a commit of main like any other.
check "the stranger pushes" git push --quiet /srv/app.git HEAD:main
chown -R shipbell: /srv/app.git
soon "main is tested itself" outcome_is app/test#4 succeeded
said app/test#4 | grep -q 'has what was kept' || fail "main's home is gone: $(said app/test#4)"
soon "and deployed" outcome_is app/deploy#2 succeeded
