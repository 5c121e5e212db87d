# Users and directories: what sysusers.d, tmpfiles.d and the unit's own directories come to.
. "$(dirname "$0")/lib.sh"
install_shipbell

mode_of() { stat -c '%U:%G %a' "$1"; }
for user in shipbell-job shipbell-deploy; do
  equal "nobody logs in as $user" /usr/sbin/nologin "$(getent passwd $user | cut -d: -f7)"
done
equal "/etc/shipbell/jobs.d" "root:root 755" "$(mode_of /etc/shipbell/jobs.d)"
equal "/etc/shipbell/credentials" "root:root 700" "$(mode_of /etc/shipbell/credentials)"

# The daemon's place is taken by a program that shows what the daemon has, and what it can hand on.
drop_in 'Type=oneshot
ExecStart=
ExecStart=/bin/sh -c "umask; echo $STATE_DIRECTORY $CACHE_DIRECTORY; touch /usr/x 2>/dev/null || echo read-only; grep -E NoNewPrivs\\|CapBnd /proc/self/status; setpriv --reuid=shipbell-job --regid=shipbell-job --clear-groups id -un"
Restart=no
StandardOutput=file:/run/seen'
check "the unit starts" systemctl start shipbell
equal "what the daemon has" \
  "0022 /var/lib/shipbell/db /var/cache/shipbell read-only CapBnd: 00000000000000eb NoNewPrivs: 1 shipbell-job" \
  "$(tr -s '\n\t' '  ' </run/seen | sed 's/ $//')"
check "the group of those who may command it is there" getent group shipbell
equal "/var/lib/shipbell" "root:root 755" "$(mode_of /var/lib/shipbell)"
equal "/var/lib/shipbell/db" "root:shipbell 700" "$(mode_of /var/lib/shipbell/db)"
equal "/var/cache/shipbell" "root:shipbell 755" "$(mode_of /var/cache/shipbell)"
equal "/var/log/shipbell" "root:shipbell 750" "$(mode_of /var/log/shipbell)"
