# The host is shut down, and then loses its power, while runs go on: each is told from a stop by hand and
# from a killed supervisor, begun anew or reported, and nothing is begun twice. BOOT counts the boots.
. "$(dirname "$0")/lib.sh"
begun() { grep -c "^$1 begins" /var/lib/witness 2>/dev/null || true; }
waits_for() { [ "$(begun "$1")" = "$2" ]; }
attempts_of() { ls "/var/lib/shipbell/runs/$1" | wc -l; }
ended_as() { # RUN OUTCOME REASON
  soon "$1 is $2" outcome_is "$1" "$2"
  shipbell show "$1" --json | grep -q "$3" || fail "$1: nobody says '$3': $(shipbell show "$1")"
}
# It exits with 1 where a person has something to do.
unclear() { { shipbell status || true; } | grep -q "resolve host $1"; }

case $BOOT in
1)
  install_shipbell
  systemctl enable -q shipbell
  install -m 0666 /dev/null /var/lib/witness
  printf "[limits]\nallow-root = true\n" >/etc/shipbell/shipbell.toml
  # The witness lies outside of what a sandbox lets a run write.
  job_file host <<'JOBS'
[defaults]
manual  = true
user    = "root"
sandbox = "off"

[job.test]
steps = 'echo "test begins" >>/var/lib/witness; sleep 1000'

[job.boxed]
on-interrupted = "report"
user    = "shipbell-job"
sandbox = "standard"
steps   = ["sleep 1000", { name = "last", run = "echo cleaned up", always = true }]

[job.stopped]
steps = 'echo "stopped begins" >>/var/lib/witness; sleep 1000'

[job.live]
environment = "live"
steps = 'echo "live begins" >>/var/lib/witness; sleep 1000'

[environment.live]
approval = "none"
JOBS
  check "the daemon says that it is ready" systemctl start shipbell
  for job in test boxed stopped live; do check "$job is started" shipbell run host/$job; done
  for job in test stopped live; do soon "$job goes on" waits_for $job 1; done
  soon "boxed goes on" pgrep -u shipbell-job -x sleep
  check "one is stopped by hand before" systemctl stop shipbell-run-host.stopped.1.service
  soon "and that is recorded" outcome_is host/stopped#1 cancelled
  echo poweroff >/run/next-boot
  ;;
2)
  soon "the daemon is back" shipbell next
  soon "the test is begun anew" waits_for test 2
  equal "once" 2 "$(attempts_of host.test.1)"
  shipbell show host/test#1 --json | grep -q 'the host was shut down in step 1' || fail "why: $(shipbell show host/test#1)"
  echo "ok: its first attempt says why"
  ended_as host/boxed#1 interrupted 'the host was shut down in step 1'
  shipbell logs host/boxed#1 | grep -q '^cleaned up$' || fail "its last step did not run: $(shipbell logs host/boxed#1)"
  echo "ok: its last step still ran"
  ended_as host/live#1 unknown 'the host was shut down in step 1'
  soon "its environment is not clear" unclear live
  equal "it is not begun anew" 1 "$(begun live)"
  ended_as host/stopped#1 cancelled 'stopped from outside'
  check "a person says how it ended" shipbell resolve host live --as failed
  check "it is started again" shipbell run host/live
  soon "and goes on" waits_for live 2
  echo crash >/run/next-boot
  ;;
3)
  soon "the daemon is back" shipbell next
  soon "the test is begun anew" waits_for test 3
  equal "once" 3 "$(attempts_of host.test.1)"
  ended_as host/live#2 unknown 'the host went down while it ran'
  equal "it is not begun anew" 2 "$(begun live)"
  ended_as host/stopped#1 cancelled 'stopped from outside'
  check "it is cancelled by a person" shipbell cancel host/test#1
  soon "and that is no interruption" outcome_is host/test#1 cancelled
  ;;
esac
