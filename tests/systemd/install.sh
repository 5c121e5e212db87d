# Users and directories: what sysusers.d, tmpfiles.d and the unit's own directories come to.
. "$(dirname "$0")/lib.sh"
install_shipbell

mode_of() { stat -c '%U:%G %a' "$1"; }
check "the user exists" id shipbell
equal "nobody logs in as it" /usr/sbin/nologin "$(getent passwd shipbell | cut -d: -f7)"
equal "/etc/shipbell/jobs.d" "root:root 755" "$(mode_of /etc/shipbell/jobs.d)"
equal "/etc/shipbell/credentials" "root:shipbell 750" "$(mode_of /etc/shipbell/credentials)"
equal "/etc/shipbell/secrets" "root:root 700" "$(mode_of /etc/shipbell/secrets)"

# The daemon's place is taken by a program that shows what a step would see.
drop_in 'Type=oneshot
ExecStart=
ExecStart=/bin/sh -c "id -un; umask; echo $STATE_DIRECTORY; touch /usr/x 2>/dev/null || echo read-only; grep NoNewPrivs /proc/self/status"
Restart=no
StandardOutput=file:/run/seen'
check "the unit starts" systemctl start shipbell
equal "what a step sees" "shipbell 0022 /var/lib/shipbell/db:/var/lib/shipbell/executor:/var/lib/shipbell/runs read-only NoNewPrivs: 1" \
  "$(tr -s '\n\t' '  ' </run/seen | sed 's/ $//')"
equal "/var/lib/shipbell" "root:root 755" "$(mode_of /var/lib/shipbell)"
for dir in /var/lib/shipbell/db /var/lib/shipbell/runs /var/lib/shipbell/executor /var/cache/shipbell /var/log/shipbell; do
  equal $dir "shipbell:shipbell 750" "$(mode_of $dir)"
done
