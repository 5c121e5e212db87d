#!/bin/bash
# Boots a real systemd (PID 1 of a systemd-nspawn container) on a throw-away overlay of a cached root
# file system, runs one command inside, prints its output and returns its exit code.
#
#   tests/systemd-boot.sh [options] CACHE_DIR [--] COMMAND [ARG...]
#
#   --bind SRC:DST      read-only bind of a host path (repeatable)
#   --bind-rw SRC:DST   writable bind (repeatable)
#   --timeout SEC       for the command (default 300)
#   --setenv NAME=VALUE for the command (repeatable)
#   --journal FILE      keep the container's journal there
#   --packages "a b"    packages beyond the base ones
#
# A command that leaves `poweroff` or `crash` in /run/next-boot when it succeeds is run once more, with
# BOOT one higher, on the same root file system after the host went down: in its own time, or at once.
#
# Needs root, systemd-container and mmdebstrap. 124: the command ran out of time; 125: it could not be
# run at all. Everything is undone however this script ends: mounts are in a namespace of its own, the
# container dies with its parent, empty control groups of a killed run are swept by the next one.
set -u -o pipefail
umask 022

timeout=300 boot_timeout=120 journal=
packages="systemd systemd-sysv libnss-systemd dbus procps"
binds=() setenv=()
say() { printf 'systemd-boot: %s\n' "$*" >&2; }
die() { say "$*"; exit 125; }
arguments=("$@")
while [ $# -gt 0 ]; do
  case $1 in
    --bind) binds+=("--bind-ro=$2"); shift 2 ;;
    --bind-rw) binds+=("--bind=$2"); shift 2 ;;
    --timeout) timeout=$2; shift 2 ;;
    --setenv) setenv+=("--setenv=$2"); shift 2 ;;
    --journal) journal=$2; shift 2 ;;
    --packages) packages="$packages $2"; shift 2 ;;
    --) shift; break ;;
    -*) die "unknown option $1" ;;
    *) break ;;
  esac
done
[ $# -ge 2 ] || die "usage: systemd-boot.sh [options] CACHE_DIR [--] COMMAND [ARG...]"
cache=$1; shift
[ "$1" != -- ] || shift
[ "$(id -u)" = 0 ] || die "needs root: it mounts, and boots a container"
for tool in systemd-nspawn mmdebstrap unshare nsenter setpriv; do
  command -v $tool >/dev/null || die "needs $tool (apt-get install systemd-container mmdebstrap util-linux)"
done

# A mount namespace of our own. /run gets a private tmpfs, so that nspawn leaves nothing on the host's.
if [ "${SYSTEMD_BOOT_INNER:-}" != "$$" ]; then
  exec env SYSTEMD_BOOT_INNER=$$ unshare --mount --propagation private -- bash "$0" "${arguments[@]}"
fi
unset SYSTEMD_BOOT_INNER

# --- The cached root file system, built once per list of packages, under a lock. -------------------

# The host's own release, so that a binary built here runs there; else the one this was written on.
suite=$(. /etc/os-release && [ "${ID:-}" = debian ] && printf %s "${VERSION_CODENAME:-}")
suite=${suite:-bookworm}
# The mirror that the host's apt uses; else mmdebstrap's own choice.
mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 2>/dev/null | grep -v security | head -n 1)
key=$(printf '%s\n' "$suite" $packages | sha256sum | cut -c1-12)
base=$cache/$suite-$key

build_base() {
  local include
  include=$(printf '%s,' $packages)
  rm -rf --one-file-system "$base" "$base.new"
  mmdebstrap --quiet --format=directory --variant=minbase --include="${include%,}" "$suite" "$base.new" ${mirror:+"$mirror"} \
    >&2 9>&- || die "mmdebstrap could not build a root file system"
  echo shipbell-test >"$base.new/etc/hostname"
  printf '127.0.0.1 localhost shipbell-test\n::1 localhost\n' >"$base.new/etc/hosts"
  rm -f "$base.new/var/lib/dbus/machine-id"
  : >"$base.new/etc/machine-id"
  # A quick, quiet boot: nothing that needs hardware, a console or a network.
  local unit
  for unit in console-getty.service getty@.service systemd-networkd-wait-online.service apt-daily.timer \
    apt-daily-upgrade.timer e2scrub_all.timer e2scrub_reap.service dpkg-db-backup.timer systemd-resolved.service; do
    ln -sf /dev/null "$base.new/etc/systemd/system/$unit"
  done
  touch "$base.new/.complete"
  mv "$base.new" "$base"
  say "root file system built: $base"
}

mkdir -p "$cache" || die "cannot make $cache"
exec 9>"$cache/.lock"
flock 9
[ -e "$base/.complete" ] || build_base
flock -u 9
exec 9>&-

# --- A throw-away overlay, a control group of our own, and the way to undo both. -------------------

mount -t tmpfs -o mode=755 tmpfs /run || die "cannot mount a private /run"
work=/run/boot
mkdir -p $work/up $work/work $work/root
mount -t overlay overlay -o "lowerdir=$base,upperdir=$work/up,workdir=$work/work" $work/root || die "cannot mount the overlay"
id=shipbell-boot-$$-$RANDOM groups=() nspawn= leader=
if [ -d /sys/fs/cgroup/unified ]; then v2=/sys/fs/cgroup/unified; else v2=/sys/fs/cgroup; fi
# What a killed run left; rmdir spares what is in use.
find /sys/fs/cgroup -type d -name 'shipbell-boot-*' -prune 2>/dev/null | while read -r dir; do
  pid=${dir##*/shipbell-boot-}
  [ -d "/proc/${pid%%-*}" ] || find "$dir" -depth -type d -exec rmdir {} + 2>/dev/null
done
# The group this script is already in: what limits or ends that one still limits and ends ours.
own_group() { awk -F: -v c="$1" '(c == "" && $1 == 0) || (c != "" && $2 == c) { if ($3 != "/") print $3; exit }' /proc/self/cgroup; }
make_group() { mkdir "$1" && groups+=("$1"); }
make_group "$v2$(own_group '')/$id" || die "cannot make a control group below $v2"
[ ! -d /sys/fs/cgroup/systemd ] || make_group "/sys/fs/cgroup/systemd$(own_group name=systemd)/$id"

alive() { [ -n "$nspawn" ] && kill -0 "$nspawn" 2>/dev/null; }
inside() {
  nsenter -t "$leader" -m -u -i -n -p -C -r -w -- \
    env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 HOME=/ TERM=dumb "$@"
}
wait_until() { # TENTHS COMMAND...
  local left=$1
  shift
  while ((left-- > 0)); do "$@" && return 0; sleep 0.1; done
  return 1
}
is_over() { ! alive; }
groups_are_gone() {
  local dir left=0
  for dir in "${groups[@]}"; do
    [ ! -d "$dir" ] || { find "$dir" -depth -type d -exec rmdir {} + 2>/dev/null; [ ! -d "$dir" ] || left=1; }
  done
  [ $left = 0 ]
}
# power_off [at-once]: poweroff.target, as the power button has it; or the plug.
power_off() {
  if alive && [ $# = 0 ]; then
    [ -z "$leader" ] || kill -s RTMIN+4 "$leader" 2>/dev/null
    wait_until 150 is_over || say "it did not power off in 15 s, killing it"
  fi
  alive && kill -KILL "$nspawn" 2>/dev/null
  [ -z "$nspawn" ] || wait "$nspawn" 2>/dev/null
  [ ! -e "${groups[0]}/cgroup.kill" ] || echo 1 2>/dev/null >"${groups[0]}/cgroup.kill"
  nspawn= leader=
}
clean_up() {
  trap '' INT TERM HUP
  trap - EXIT
  power_off
  wait_until 50 groups_are_gone || say "control groups left behind: ${groups[*]}"
}
trap clean_up EXIT
trap 'say interrupted; exit 130' INT TERM HUP

# --- Boot. -----------------------------------------------------------------------------------------

# nspawn's child that is PID 1 in its own namespace, once it has become systemd and can be asked.
find_leader() {
  local pid
  is_over && return 0
  for pid in $(cat /proc/$nspawn/task/*/children 2>/dev/null); do
    [ "$(awk '/^NSpid/ {print $NF; exit}' /proc/$pid/status 2>/dev/null)" = 1 ] &&
      [ "$(cat /proc/$pid/comm 2>/dev/null)" = systemd ] && [ -S /proc/$pid/root/run/systemd/private ] && leader=$pid
  done
  [ -n "$leader" ]
}
boot() {
  (
    for dir in "${groups[@]}"; do echo 0 >"$dir/cgroup.procs" || exit 125; done
    exec env -i PATH="$PATH" LANG=C.UTF-8 SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 setpriv --pdeathsig KILL \
      systemd-nspawn -D $work/root -M shipbell-test --hostname=shipbell-test --keep-unit --register=no --quiet \
      --console=pipe --kill-signal=SIGRTMIN+4 --link-journal=no --resolv-conf=off --timezone=off --private-network \
      ${binds[@]+"${binds[@]}"} -- \
      /bin/sh -c 'exec setpriv --pdeathsig KILL /lib/systemd/systemd --log-target=journal --show-status=no'
  ) </dev/null >$work/console 2>&1 &
  nspawn=$!
  wait_until $((boot_timeout * 10)) find_leader
  local state=
  [ -z "$leader" ] || state=$(inside timeout "$boot_timeout" systemctl is-system-running --wait 2>&1)
  case $state in
    running) ;;
    degraded) say "boot is degraded:"; inside systemctl --failed --no-legend --no-pager >&2 ;;
    *) tail -40 $work/console >&2; die "no boot (state '$state'); the console is above" ;;
  esac
}

# --- The command, as a transient unit of the booted systemd. ----------------------------------------

# run NUMBER COMMAND...: in a file, as systemd would expand $ and % in the words themselves; the exit
# code comes back in a file too, as systemd-run says 0 when the bus goes away.
run() {
  local boot=$1 run=/proc/$leader/root/run ended
  shift
  { echo '#!/bin/bash'; printf ' %q' "$@"; printf '\nrc=$?; echo $rc >/run/boot-rc; exit $rc\n'; } >$run/boot-command
  inside timeout -k 5 $((timeout + 10)) systemd-run --quiet --wait --pipe --service-type=exec --unit=boot-command \
    -p RuntimeMaxSec="$timeout" -p WorkingDirectory=/ --setenv=HOME=/ --setenv=LANG=C.UTF-8 --setenv=BOOT="$boot" \
    ${setenv[@]+"${setenv[@]}"} -- /bin/bash /run/boot-command
  ended=$?
  if code=$(cat $run/boot-rc 2>/dev/null) && [ -n "$code" ]; then
    :
  elif [ $ended = 124 ] || [ "$(inside systemctl show -P Result boot-command 2>/dev/null)" = timeout ]; then
    say "the command ran past $timeout s"
    code=124
  else
    say "the command did not finish (systemd-run says $ended)"
    code=125
  fi
  # Of every boot, one after the other.
  [ -z "$journal" ] || ! alive || inside journalctl --no-pager -b -o short-monotonic >>"$journal" 2>&1
  next=$(cat $run/next-boot 2>/dev/null)
}
[ -z "$journal" ] || : >"$journal"
next=poweroff
for ((number = 1; ; number++)); do
  boot
  run $number "$@"
  [ "$code" = 0 ] || break
  case $next in
    poweroff) power_off ;;
    crash) power_off at-once ;;
    *) break ;;
  esac
done
exit "$code"
