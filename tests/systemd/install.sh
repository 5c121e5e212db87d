# Users and directories: what sysusers.d, tmpfiles.d and the unit's own directories come to.
. "$(dirname "$0")/lib.sh"
install_shipbell

mode_of() { stat -c '%U:%G %a' "$1"; }
for user in shipbell shipbell-job shipbell-deploy; do
  equal "nobody logs in as $user" /usr/sbin/nologin "$(getent passwd $user | cut -d: -f7)"
done
equal "/etc/shipbell/jobs.d" "root:root 755" "$(mode_of /etc/shipbell/jobs.d)"
equal "/etc/shipbell/secrets" "root:root 700" "$(mode_of /etc/shipbell/secrets)"
equal "/etc/shipbell/credentials" "root:shipbell 750" "$(mode_of /etc/shipbell/credentials)"

# The daemon's place is taken by a program that shows what the daemon has.
drop_in 'Type=oneshot
ExecStart=
ExecStart=/bin/sh -c "id -un; umask; echo $STATE_DIRECTORY $CACHE_DIRECTORY; touch /usr/x 2>/dev/null || echo read-only; grep -E NoNewPrivs\\|CapBnd /proc/self/status"
Restart=no
StandardOutput=file:/run/seen'
check "the unit starts" systemctl start shipbell
equal "what the daemon has" \
  "shipbell 0022 /var/lib/shipbell/db /var/cache/shipbell/mirrors read-only CapBnd: 0000000000000000 NoNewPrivs: 1" \
  "$(tr -s '\n\t' '  ' </run/seen | sed 's/ $//')"
check "the group of those who may command it is there" getent group shipbell
equal "the executor's socket" "root:shipbell 660" "$(mode_of /run/shipbell-executor.sock)"
equal "/var/lib/shipbell" "root:root 755" "$(mode_of /var/lib/shipbell)"
equal "/var/lib/shipbell/db" "shipbell:shipbell 700" "$(mode_of /var/lib/shipbell/db)"
equal "/var/lib/shipbell/runs" "root:root 711" "$(mode_of /var/lib/shipbell/runs)"
equal "/var/lib/shipbell/executor" "root:shipbell 750" "$(mode_of /var/lib/shipbell/executor)"
equal "/var/cache/shipbell" "root:root 755" "$(mode_of /var/cache/shipbell)"
equal "/var/cache/shipbell/mirrors" "shipbell:shipbell 711" "$(mode_of /var/cache/shipbell/mirrors)"
equal "/var/cache/shipbell/homes" "root:root 711" "$(mode_of /var/cache/shipbell/homes)"
equal "/var/log/shipbell" "shipbell:shipbell 750" "$(mode_of /var/log/shipbell)"
