# Inside a booted systemd: durable runs a second of `true`, each a unit, at 1, 4 and 16 slots, beside
# `systemd-run --wait true` by as many at once: without a sandbox, and with the same sandbox. Prints
# `SANDBOX SLOTS OURS PEER`, runs a second, a line each.
. /usr/lib/shipbell-test/lib.sh
runs=120
install_shipbell >&2

# As src/launch/systemd/unit.rs has it: the same capabilities, and the same mounts in the same number.
mkdir -p /var/lib/shipbell/runs/peer /var/cache/shipbell/homes/peer
standard="-p CapabilityBoundingSet=CAP_CHOWN -p CapabilityBoundingSet=CAP_DAC_OVERRIDE -p CapabilityBoundingSet=CAP_FOWNER
  -p CapabilityBoundingSet=CAP_KILL -p CapabilityBoundingSet=CAP_SETGID -p CapabilityBoundingSet=CAP_SETUID
  -p NoNewPrivileges=yes -p KeyringMode=private -p LimitRTPRIO=0
  -p ProtectSystem=strict -p ProtectHome=tmpfs -p PrivateTmp=yes
  -p TemporaryFileSystem=/var/lib/shipbell:ro,mode=0711 -p TemporaryFileSystem=/var/cache/shipbell:ro,mode=0711
  -p TemporaryFileSystem=/etc/shipbell/secrets:ro,mode=0000 -p TemporaryFileSystem=/etc/shipbell/credentials:ro,mode=0000
  -p BindPaths=/var/lib/shipbell/runs/peer -p BindPaths=/var/cache/shipbell/homes/peer"

# peer SANDBOX SLOTS
peer() {
  local begin end more=
  [ "$1" = off ] || more=$standard
  begin=$(date +%s%N)
  seq $runs | xargs -P "$2" -I{} systemd-run --wait --quiet --collect $more true
  end=$(date +%s%N)
  echo $((runs * 1000000000 / (end - begin)))
}

# The lines of the daemon, with the times that the journal gave them.
lines() { journalctl -u shipbell.service --since "@$since" -o short-unix --no-pager -g "$1" | grep "^[0-9]"; }
# Whoever looks takes time from who is looked at, and the peer has nobody who looks: so seldom, and late.
finished() { journalctl -u shipbell.service --since "@$since" -o cat --no-pager | grep -c ' finished p'; }

# ours SANDBOX SLOTS
ours() {
  for number in $(seq $runs); do
    printf '[job.j]\nevery = "12s"\nsandbox = "%s"\nsteps = "true"\n' "$1" | job_file "p$number"
  done
  printf '[limits]\nslots = %s\n' "$2" >/etc/shipbell/shipbell.toml
  rm -rf /var/lib/shipbell/db/*
  since=$(date +%s)
  systemctl restart shipbell.service
  # All are due 12 seconds after they were loaded.
  sleep 13
  for _ in $(seq 60); do
    [ "$(finished)" -ge $runs ] && break
    sleep 2
  done
  systemctl stop shipbell.service
  systemctl stop 'shipbell-run-*' 2>/dev/null
  first=$(lines ' starts, attempt 1' | head -n 1 | cut -d' ' -f1)
  last=$(lines ' finished p' | sed -n "${runs}p" | cut -d' ' -f1)
  awk -v a="$first" -v b="$last" -v n=$runs 'BEGIN { printf "%.0f\n", n / (b - a) }'
}

for sandbox in off standard; do
  for slots in 1 4 16; do
    echo "$sandbox $slots $(ours $sandbox $slots) $(peer $sandbox $slots)"
  done
done
