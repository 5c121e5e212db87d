# Inside a booted systemd: durable runs a second of `true`, each a unit, at 1, 4 and 16 slots, beside
# `systemd-run --wait true` by as many at once. Prints `SLOTS OURS PEER`, runs a second, a line each.
. /usr/lib/shipbell-test/lib.sh
runs=120
install_shipbell >&2
for number in $(seq $runs); do
  printf '[job.j]\nevery = "20s"\nsteps = "true"\n' | job_file "p$number"
done

peer() {
  local begin end
  begin=$(date +%s%N)
  seq $runs | xargs -P "$1" -I{} systemd-run --wait --quiet --collect true
  end=$(date +%s%N)
  echo $((runs * 1000000000 / (end - begin)))
}

# The lines of the daemon, with the times that the journal gave them.
lines() { journalctl -u shipbell.service --since "@$since" -o short-unix --no-pager -g "$1" | grep "^[0-9]"; }
enough() { [ "$(lines ' finished p' | wc -l)" -ge $runs ]; }

ours() {
  printf '[limits]\nslots = %s\n' "$1" >/etc/shipbell/shipbell.toml
  rm -rf /var/lib/shipbell/db/*
  since=$(date +%s)
  systemctl restart shipbell.service
  # All are due 20 seconds after they were loaded, and one of them never again before all are over.
  sleep 21
  soon "$runs runs at $1 slots" enough >&2
  systemctl stop shipbell.service
  systemctl stop 'shipbell-run-*' 2>/dev/null
  first=$(lines ' starts, attempt 1' | head -n 1 | cut -d' ' -f1)
  last=$(lines ' finished p' | sed -n "${runs}p" | cut -d' ' -f1)
  awk -v a="$first" -v b="$last" -v n=$runs 'BEGIN { printf "%.0f\n", n / (b - a) }'
}

for slots in 1 4 16; do
  echo "$slots $(ours $slots) $(peer $slots)"
done
