# A run goes on while the daemon is restarted, killed and stopped: promise 5.
. "$(dirname "$0")/lib.sh"
install_shipbell
job_file host <<'JOBS'
[job.count]
manual = true
steps  = "id -un; for i in $(seq 1 80); do echo \"line $i by $$\"; sleep 0.1; done"
JOBS
check "the daemon says that it is ready" systemctl start shipbell
first=$(property MainPID)
supervisor() { pgrep -f '^/usr/bin/shipbell supervise '; }

check "the job is started" shipbell run host/count
soon "it prints" log_has host/count#1 'line 5 '
carrier=$(supervisor)
check "the unit is restarted while it runs" systemctl restart shipbell
second=$(property MainPID)
[ "$first" != "$second" ] || fail "the restart kept the daemon $first"
equal "the same supervisor goes on" "$carrier" "$(supervisor)"
check "the run is still there" pgrep -f 'line \$i by'
line=$(lines_of host/count#1)

kill -KILL "$second"
soon "systemd starts a killed daemon again" another_daemon_than "$second"
[ "$(lines_of host/count#1)" -gt "$line" ] || fail "the log stood still while the daemon was killed"
soon "it answers" shipbell status --json

check "the unit is stopped while it runs" systemctl stop shipbell
check "the run is still there without a daemon" pgrep -f 'line \$i by'
check "and started again" systemctl start shipbell
equal "the same supervisor still goes on" "$carrier" "$(supervisor)"

soon "the run ends well" outcome_is host/count#1 succeeded
equal "every line is there once and in order" "$(seq -f 'line %g' 1 80)" "$(shipbell logs host/count#1 | grep -o '^line [0-9]*')"
equal "one shell printed them all" 1 "$(shipbell logs host/count#1 | grep -o 'by [0-9]*$' | sort -u | wc -l)"
equal "who printed them" shipbell-job "$(said host/count#1 | head -n 1)"
equal "nothing of it is alive" "" "$(pgrep -f 'line \$i by')"
check "its times are those of the run" took_at_least host/count#1 8
