# The privileged half is a process of its own: what it may, whom it answers, what it believes, and that its
# death, and the daemon's beside it, costs a run nothing.
. "$(dirname "$0")/lib.sh"
install_shipbell
job_file host <<'JOBS'
[defaults]
manual = true

[job.count]
steps = "for i in $(seq 1 60); do echo \"line $i by $$\"; sleep 0.1; done"

[job.quick]
steps = "echo quick"
JOBS
of_executor() { systemctl show -P "$1" shipbell-executor.service; }
check "the daemon says that it is ready" systemctl start shipbell
status_of() { awk -v key="$2:" '$1 == key {print $2}' "/proc/$1/status"; }
equal "the daemon's user" shipbell "$(stat -c %U "/proc/$(property MainPID)")"
equal "its capabilities" 0000000000000000 "$(status_of "$(property MainPID)" CapPrm)"
equal "the executor's user" 0 "$(status_of "$(of_executor MainPID)" Uid)"
equal "its capabilities" 0000000000000000 "$(status_of "$(of_executor MainPID)" CapPrm)"
equal "its network" "lo:" "$(nsenter -t "$(of_executor MainPID)" -n awk 'NR > 2 {print $1}' /proc/net/dev | tr -d '\n')"
check "a run is started" shipbell run host/quick
soon "and ends well" outcome_is host/quick#1 succeeded

# A run goes on whoever is killed, also both at once, also while it is being asked.
check "a longer one is started" shipbell run host/count
soon "it prints" log_has host/count#1 'line 3 '
kill -KILL "$(of_executor MainPID)"
check "another run is started at once" shipbell run host/quick
soon "by the next executor" outcome_is host/quick#2 succeeded
daemon=$(property MainPID)
kill -KILL "$(of_executor MainPID)" "$daemon"
soon "the daemon comes back" another_daemon_than "$daemon"
soon "it answers" shipbell status --json
systemctl kill -s KILL shipbell-executor
soon "the run ends well" outcome_is host/count#1 succeeded
equal "every line is there once and in order" "$(seq -f 'line %g' 1 60)" "$(shipbell logs host/count#1 | grep -o '^line [0-9]*')"
equal "one shell printed them all" 1 "$(shipbell logs host/count#1 | grep -o 'by [0-9]*$' | sort -u | wc -l)"

# Whom it answers. What is sent stands in hexadecimal or as JSON, which gets its length in front.
cat >/usr/local/bin/ask <<'ASK'
use IO::Socket::UNIX;
my ($kind, $text) = @ARGV;
my $s = IO::Socket::UNIX->new(Type => SOCK_STREAM, Peer => "/run/shipbell-executor.sock") or die "no: $!\n";
$SIG{PIPE} = 'IGNORE';
syswrite $s, $kind eq "raw" ? pack("H*", $text) : pack("N", length $text) . $text;
shutdown $s, 1 if $kind eq "raw";
my ($answer, $part) = ("", "");
while (sysread $s, $part, 65536) { $answer .= $part; last if $kind ne "raw" and length $answer > 4 and length $answer >= 4 + unpack("N", $answer) }
print substr($answer, 4) . "\n" if length $answer > 4;
ASK
as() { local user=$1; shift; setpriv --reuid="$user" --regid="$user" --init-groups perl /usr/local/bin/ask "$@" 2>&1; }
equal "a step's user gets no connection" "no: Permission denied" "$(as shipbell-job json '{"v":1,"verb":"list"}')"
chmod 666 /run/shipbell-executor.sock
equal "nor an answer if it got one" "" "$(as shipbell-job json '{"v":1,"verb":"list"}')"
told() { journalctl -q -u shipbell-executor -o cat | grep -q "$1"; }
soon "and that is written down" told 'shipbell-job may not ask the executor'
chmod 660 /run/shipbell-executor.sock
as shipbell json '{"v":1,"verb":"list"}' | grep -q 'host.quick' || fail "the daemon's user gets no answer"
echo "ok: the daemon's user gets an answer"
for raw in ffffffff 00 000000027b7d 0000000a7b 00000000 7b7d; do
  equal "no answer to $raw" "" "$(as shipbell raw $raw)"
done
as shipbell json '{"v":2,"verb":"list"}' | grep -q '"refused"' || fail "another version is spoken to"
order='"run":"host/quick#900","attempt":1,"commit":null,"git_ref":null,"mirror":MIRROR,"deployed":null,"definition":"DEFINITION","params":{},"cause":{"manual":{"by":"x"}},"needs":[],"public_url":""'
start() { local o=${order/MIRROR/$1}; as shipbell json "{\"v\":1,\"verb\":\"start\",\"order\":{${o/DEFINITION/$2}}}"; }
start null "$(printf '0%.0s' $(seq 64))" | grep -q 'is not known here' || fail "an unknown definition: $(start null 00)"
echo "ok: a definition that it does not know is refused"
known=$(grep -o '"definition":"[0-9a-f]*"' /var/lib/shipbell/runs/host.quick.1/1/ticket.json | head -n 1 | cut -d'"' -f4)
start '"/etc/shipbell/secrets"' "$known" | grep -q '"refused"' || fail "a mirror that is none: $(start '"/etc"' "$known")"
echo "ok: a mirror that is none is refused"
equal "nothing of these was started" "" "$(ls -d /var/lib/shipbell/runs/host.quick.900 2>/dev/null)"
for n in $(seq 150); do (exec 9<>/dev/null; as shipbell raw 00000010 >/dev/null &); done
check "after all that it still works" shipbell run host/quick
soon "and ends well" outcome_is host/quick#3 succeeded

# What is changed without a reload is not started: the old definition is what both know.
sed -i 's/echo quick/echo slow/' /etc/shipbell/jobs.d/host.toml
kill -KILL "$(of_executor MainPID)"
check "a run is started whose file was changed" shipbell run host/quick
refused() { shipbell show host/quick#4 --json | grep -q 'is not known here: shipbell reload'; }
soon "an executor that read it anew refuses what it read before" refused
check "after a reload" systemctl reload shipbell
soon "it goes" outcome_is host/quick#4 succeeded
equal "as the file says now" slow "$(said host/quick#4)"

# What runs left it takes away without a capability, of those that are over and of no others.
job_file left <<'JOBS'
[defaults]
manual = true

[job.work]
steps = ["echo working; head -c 300000 /dev/urandom > \"$SHIPBELL_ARTIFACTS/bin\"", "until [ -e /tmp/go ]; do sleep 0.1; done"]

[job.live]
environment = "live"
steps = "echo live"

[environment.live]
approval = "none"
JOBS
check "a job that leaves something" systemctl reload shipbell
remove() { as shipbell json "{\"v\":1,\"verb\":\"remove\",\"run\":\"$1\",\"part\":\"$2\"}"; }
runs=/var/lib/shipbell/runs
check "it is started" shipbell run left/work
soon "it works" log_has left/work#1 '=== step 2'
for part in artifacts log run; do
  remove left/work#1 $part | grep -q '"busy":true' || fail "$part of a run that goes on: $(remove left/work#1 $part)"
done
echo "ok: of a run that goes on nothing is removed"
check "it is ended" shipbell cancel left/work
soon "it is over" outcome_is left/work#1 cancelled
gone() { [ ! -e "$1" ]; }
soon "what its steps had is swept" gone $runs/left.work.1/1/work
freed() { remove "$1" "$2" | grep -o '"bytes":[0-9]*' | cut -d: -f2; }
equal "its artifacts are root's" root "$(stat -c %U $runs/left.work.1/1/artifacts/*)"
[ "$(freed left/work#1 artifacts)" -ge 300000 ] || fail "its artifacts are not removed"
gone $runs/left.work.1/1/artifacts || fail "artifacts are still there"
equal "twice is once" 0 "$(freed left/work#1 artifacts)"
[ "$(freed left/work#1 log)" -gt 0 ] || fail "its log is not removed"
[ -e $runs/left.work.1/1/ticket.json ] || fail "its ticket went with the log"
[ "$(freed left/work#1 run)" -gt 0 ] || fail "the rest is not removed"
equal "nothing is left of it" "" "$(ls -d $runs/left.work.1 $runs/.gone-* 2>/dev/null)"
check "a deployment" shipbell run left/live
soon "it ends well" outcome_is left/live#1 succeeded
soon "and is swept" gone $runs/left.live.1/1/work
remove left/live#1 run | grep -q 'changed an environment' || fail "the ticket of a deployment goes: $(remove left/live#1 run)"
[ -e $runs/left.live.1/1/ticket.json ] || fail "the ticket of a deployment is gone"
echo "ok: the ticket of a deployment stays"
remove ../../etc run | grep -q . && fail "that is no run"
check "the daemon can say what would go" shipbell prune --dry-run
equal "nothing is old" "nothing removed, 0 B freed" "$(shipbell prune)"

# Nothing is started with less protection.
systemctl stop shipbell-executor.socket shipbell-executor.service
check "a run is queued while nobody can start it" shipbell run host/quick
daemon_says() { journalctl -q -u shipbell -o cat | grep -q "$1"; }
soon "the daemon says so" daemon_says 'the executor does not answer'
[ ! -e /var/lib/shipbell/runs/host.quick.5 ] || fail "a run was started without an executor"
check "once there is one" systemctl start shipbell-executor.socket
soon "the run goes" outcome_is host/quick#5 succeeded
