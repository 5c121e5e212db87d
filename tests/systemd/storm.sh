# A storm of `kill -9` under load on daemon, executor and supervisors, in random order. Judged from the
# database and from what the jobs wrote. SHIPBELL_STORM says how many kills.
. "$(dirname "$0")/lib.sh"
install_shipbell
kills=${SHIPBELL_STORM:-12}
RANDOM=${SHIPBELL_SEED:-7}
echo "SHIPBELL_STORM=$kills SHIPBELL_SEED=${SHIPBELL_SEED:-7}"
drop_in $'RestartSec=100ms\n[Unit]\nStartLimitIntervalSec=0'
job_file storm <<'JOBS'
[defaults]
manual = true
steps = [
  { name = "one", run = 'echo "$SHIPBELL_RUN_ID $SHIPBELL_WORKSPACE one begins" >>"$HOME/witness"; sleep 0.3; echo "$SHIPBELL_RUN_ID $SHIPBELL_WORKSPACE one ends" >>"$HOME/witness"' },
  { name = "two", run = 'echo "$SHIPBELL_RUN_ID $SHIPBELL_WORKSPACE two begins" >>"$HOME/witness"; sleep 0.3; echo "$SHIPBELL_RUN_ID $SHIPBELL_WORKSPACE two ends" >>"$HOME/witness"' },
]
[job.a]
[job.b]
[job.c]
[job.d]
JOBS
check "the daemon says that it is ready" systemctl start shipbell
jobs=(a b c d)
: >/run/promised
: >/run/killed
strike() {
  local units unit pid
  case $((RANDOM % 3)) in
    0) systemctl kill -s KILL shipbell 2>/dev/null && echo daemon ;;
    1) systemctl kill -s KILL shipbell-executor 2>/dev/null && echo executor ;;
    *)
      mapfile -t units < <(systemctl list-units --no-legend --state=running 'shipbell-run-*' | awk '{print $1}')
      [ ${#units[@]} = 0 ] && return
      unit=${units[RANDOM % ${#units[@]}]}
      pid=$(systemctl show -P MainPID "$unit")
      [ "$pid" != 0 ] && kill -KILL "$pid" 2>/dev/null && echo "$unit" >>/run/killed && echo supervisor ;;
  esac
}
for ((n = 0; n < kills; n++)); do
  for job in "${jobs[RANDOM % 4]}" "${jobs[RANDOM % 4]}"; do
    shipbell run "storm/$job" 2>/dev/null | awk '/ queued$/ {print $1}' >>/run/promised
  done
  sleep "0.$((RANDOM % 5 + 1))"
  strike >>/run/struck
done
echo "struck: $(sort /run/struck | uniq -c | tr -s ' \n' '  ')"
promised=$(sort -u /run/promised | wc -l)
equal "no run was promised twice" "$promised" "$(wc -l </run/promised)"
settled() { local all; all=$(shipbell history storm -n 100000 --json 2>/dev/null) && ! grep -qE '"state": *"(queued|waiting|running)"' <<<"$all"; }
for ((n = 0; n < kills + 1; n++)); do settled && break; sleep 1; done
soon "everything comes to an end" settled
witness=/var/cache/shipbell/homes/storm/shipbell-job/witness
equal "no step began or ended twice in an attempt" "" "$(sort "$witness" | uniq -d)"
while read -r run; do
  id=${run/\//.} id=${id/\#/.}
  outcome_is "$run" succeeded || fail "$run was promised and did not succeed: $(shipbell show "$run")"
  last=$(grep "^$id " "$witness" | tail -n 4 | awk '{print $2, $3, $4}')
  work=${last%% *}
  equal "$run ran whole in its last attempt" \
    "$work one begins;$work one ends;$work two begins;$work two ends" "$(tr '\n' ';' <<<"$last" | sed 's/;$//')" >/dev/null || exit 1
  # Another attempt may have come to the end of its steps only if its supervisor was killed before it
  # could say so.
  for whole in $(grep "^$id .* two ends$" "$witness" | awk '{print $2}' | grep -vxF "$work"); do
    attempt=${whole%/work} attempt=${attempt##*/} unit=shipbell-run-$id.$attempt.service
    [ "$attempt" != 1 ] || unit=shipbell-run-$id.service
    grep -qxF "$unit" /run/killed || fail "$run ran whole in attempt $attempt and once more, and nobody killed $unit"
    echo "$unit" >>/run/killed-late
  done
done </run/promised
echo "ok: $promised runs were promised, and each ran whole; $(wc -l </run/killed) supervisors were killed," \
  "$(cat /run/killed-late 2>/dev/null | wc -l) between their last step and their result"
idle() { [ -z "$(systemctl list-units --all --no-legend 'shipbell-run-*')" ] && ! pgrep -u shipbell-job >/dev/null; }
soon "nothing of them is left" idle
