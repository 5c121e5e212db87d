#!/bin/bash
# `make test`: brings what the tests need (tests/needs.txt), then runs all of them, and ends with one
# line that counts them all. A second run finds everything there and installs nothing.
set -u -o pipefail
cd "$(dirname "$0")/.." || exit 1
CARGO=${CARGO:-cargo}
LOG=target/test.log
BUILT=${CARGO_TARGET_DIR:-target}
ROOM=4500 # MB: what a whole build, the tests' own systemd and their temporary directories came to, and some more

say() { printf 'make test: %s\n' "$*" >&2; }

# The packages of needs.txt whose command (on PATH or in sbin) or file is not there.
missing() {
  local need package
  while read -r need package _; do
    case $need in
      '' | '#'*) continue ;;
      /*) [ -e "$need" ] ;;
      *) PATH=$PATH:/usr/sbin:/sbin command -v "$need" >/dev/null ;;
    esac || echo "$package"
  done <tests/needs.txt | sort -u
}

# Installs them as root, in one call; otherwise names them.
needs() {
  local packages
  mapfile -t packages < <(missing)
  [ ${#packages[@]} = 0 ] && return 0
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    say "these Debian packages are missing: ${packages[*]}"
    say "install them (apt-get install --no-install-recommends ${packages[*]}) and run it again"
    return 1
  fi
  say "installing ${packages[*]}"
  # The tests start their servers themselves, on ports of their own; no package shall start one.
  local policy=/usr/sbin/policy-rc.d ours=
  [ -e $policy ] || { ours=yes; printf '#!/bin/sh\nexit 101\n' >$policy && chmod +x $policy; }
  local install=(env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${packages[@]}")
  "${install[@]}" >/dev/null || { apt-get update -qq && "${install[@]}" >/dev/null; }
  [ -z "$ours" ] || rm -f $policy
  mapfile -t packages < <(missing)
  [ ${#packages[@]} = 0 ] || { say "still missing after apt-get: ${packages[*]}"; return 1; }
}

# A full disk shows itself in the middle of a build, as a failure of the compiler: said before it.
room() {
  local free
  [ -d "$BUILT/debug/deps" ] && return 0
  free=$(df --output=avail -m "$BUILT" | tail -n 1)
  [ "$free" -ge $ROOM ] || say "only $free MB are free where $BUILT is; the build and the tests need about $ROOM"
}

# Adds up cargo's own result lines, so that the last line speaks for all of them.
total() {
  awk '/^test result: / { for (i = 1; i < NF; i++) { n = $i + 0; w = $(i + 1); sub(/;.*/, "", w); sum[w] += n } }
       END { printf "test result: %s. %d passed; %d failed; %d ignored; %d measured; %d filtered out\n",
             failed || sum["failed"] ? "FAILED" : "ok", sum["passed"], sum["failed"], sum["ignored"], sum["measured"], sum["filtered"] }' \
    failed="$1" "$LOG"
}

needs || exit 1
if [ "$(id -u)" != 0 ] && [ -z "${SHIPBELL_NO_SYSTEMD_TEST:-}" ]; then
  say "NOT ROOT: the tests on a real systemd are left out (SHIPBELL_NO_SYSTEMD_TEST=1); run it as root for all"
  export SHIPBELL_NO_SYSTEMD_TEST=1
fi
mkdir -p target "$BUILT"
# Who builds once and edits nothing needs none of cargo's memory for the next build: 2 GB less, and no slower.
[ -d "$BUILT/debug/incremental" ] || export CARGO_INCREMENTAL="${CARGO_INCREMENTAL:-0}"
room
$CARGO fmt --check || { say "run cargo fmt"; exit 1; }
$CARGO clippy --all-targets --locked --quiet -- -D warnings || exit 1
$CARGO test --locked --no-fail-fast 2>&1 | tee "$LOG"
status=$?
echo
total "$status"
exit "$status"
