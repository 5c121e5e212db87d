# The package is upgraded while runs go on: its program is replaced as dpkg does it, then both services are
# restarted. Who runs the old program goes on with it to the end.
. "$(dirname "$0")/lib.sh"
install_shipbell
mkdir -p /opt
put() { install -m 0755 /usr/bin/shipbell /opt/shipbell.new && mv /opt/shipbell.new /opt/shipbell; }
put
for service in shipbell shipbell-executor; do
  word=${service#shipbell}
  mkdir -p /etc/systemd/system/$service.service.d
  printf '[Service]\nExecStart=\nExecStart=/opt/shipbell %s\n' "$([ -n "$word" ] && echo executor || echo daemon)" \
    >/etc/systemd/system/$service.service.d/program.conf
done
systemctl daemon-reload
job_file host <<'JOBS'
[defaults]
manual    = true
artifacts = "left"

[job.long]
steps = ["echo on; while ! [ -e /var/tmp/go ]; do sleep 0.1; done", { name = "last", run = "echo off; echo kept > left" }]

[job.late]
steps = "echo new > left"
JOBS
# /var/tmp is private to a run: what it waits for is put into its own.
goes_on() { log_has host/long#1 '^on$'; }
program_of() { readlink "/proc/$1/exe"; }
supervisor() { systemctl show -P MainPID shipbell-run-host.long.1.service; }

check "the daemon says that it is ready" systemctl start shipbell
check "a job is started" shipbell run host/long
soon "it prints" goes_on
carrier=$(supervisor)
equal "by the installed program" /opt/shipbell "$(program_of "$carrier")"

put
equal "the program is another one now" "/opt/shipbell (deleted)" "$(program_of "$carrier")"
check "a job is started before the services are" shipbell run host/late
soon "and ends well under the new program" outcome_is host/late#1 succeeded

check "the executor is restarted" systemctl restart shipbell-executor
check "and the daemon" systemctl restart shipbell
equal "they are the new program" "/opt/shipbell /opt/shipbell" \
  "$(program_of "$(property MainPID)") $(program_of "$(systemctl show -P MainPID shipbell-executor)")"
equal "the same supervisor goes on" "$carrier" "$(supervisor)"
touch "/proc/$carrier/root/var/tmp/go"
soon "its run ends well" outcome_is host/long#1 succeeded
equal "its second step ran, once" "on off" "$(said host/long#1 | tr '\n' ' ' | sed 's/ $//')"
check "what it left was collected, by the program that is gone" grep -q '"path": *"left"' <(shipbell show host/long#1 --json)
check "runs start as before" shipbell run host/late
soon "and end well" outcome_is host/late#2 succeeded
