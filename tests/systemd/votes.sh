# Votes under the units: a person signs on the host, or types a code; the executor (root without a capability, without
# network) verifies that itself, and refuses the daemon's user whatever it asks for.
. "$(dirname "$0")/lib.sh"
install_shipbell
export HOME=/root
useradd --create-home --groups shipbell anna
as_anna() { setpriv --reuid=anna --regid=anna --init-groups env HOME="$(getent passwd anna | cut -d: -f6)" "$@"; }
key=$(getent passwd anna | cut -d: -f6)/.ssh/id_ed25519
install -d -o anna -g anna -m 700 "$(dirname "$key")"
as_anna ssh-keygen -q -t ed25519 -N '' -f "$key"
cat >>/etc/shipbell/shipbell.toml <<TOML
[person.anna]
email = "anna@example.org"
login = "anna"
roles = "release"
ssh-key = "$(cat "$key.pub")"
TOML
job_file app <<'JOBS'
[job.production]
manual = true
environment = "production"
steps = "echo line deployed"

[environment.production]
approval = { by = "@release", factor = "sshsig" }
JOBS
check "the daemon says that it is ready" systemctl start shipbell
shipbell doctor >/run/doctor
grep -q 'votes are signatures that the executor verifies' /run/doctor || fail "doctor: $(cat /run/doctor)"
echo "ok: doctor says what that guards against"
check "a deployment is asked for" shipbell run app/production
soon "it waits" sh -c "shipbell show app/production#1 | grep -q 'approval, 0 of 1'"
as_anna shipbell approve app/production#1 -m yes 2>/run/refused && fail "a word is taken for a signature"
grep -q 'takes signed votes' /run/refused || fail "she is told: $(cat /run/refused)"
check "anna signs" as_anna shipbell approve app/production#1 -m yes --sign -i "$key"
soon "and it goes" outcome_is app/production#1 succeeded

# The daemon's user asks for it once more, with the very same order.
cat >/usr/local/bin/ask <<'ASK'
use IO::Socket::UNIX;
my $s = IO::Socket::UNIX->new(Type => SOCK_STREAM, Peer => "/run/shipbell-executor.sock") or die "no: $!\n";
local $/; my $text = <STDIN>;
print $s pack("N", length $text) . $text; $s->flush;
my ($answer, $part) = ("", "");
while (sysread $s, $part, 65536) { $answer .= $part; last if length $answer > 4 and length $answer >= 4 + unpack("N", $answer) }
print substr($answer, 4) . "\n" if length $answer > 4;
ASK
as_daemon() { setpriv --reuid=shipbell --regid=shipbell --init-groups perl /usr/local/bin/ask; }
ticket=/var/lib/shipbell/runs/app.production.1/1/ticket.json
order() { perl -MJSON::PP -e 'local $/; my $o = decode_json(<STDIN>)->{order}; eval $ARGV[0]; die $@ if $@;
  print encode_json({v => 1, verb => "start", order => $o})' "$1" <$ticket; }
refused() { order "$1" | as_daemon | grep -q "\"refused\".*$2" || fail "$3: $(order "$1" | as_daemon)"; echo "ok: $3 is refused"; }
refused '$o->{attempt} = 2' 'used for attempt 1' "the same approval for a second attempt"
refused '$o->{run} = "app/production#2"' 'names another run' "the same approval for another run"
refused '$o->{run} = "app/production#2"; $o->{receipts}{statement}{run} = $o->{run}' '0 of 1 signatures' "a text that she did not sign"
refused '$o->{run} = "app/production#2"; delete $o->{receipts}; $o->{broken_glass} = "x"' 'vote came with it' "root's word in the daemon's mouth"
glass='{"v":1,"verb":"break-glass","glass":{"run":"app/production#2","commit":null,"definition":"x","reason":"x"}}'
echo "$glass" | as_daemon | grep -q 'only root may' || fail "the daemon's user breaks the glass"
echo "ok: the daemon's user cannot break the glass"
told() { journalctl -q -u shipbell-executor -o cat | grep -q "$1"; }
soon "all of it is written down" told 'BREAK-GLASS refused: shipbell is not root'
equal "nothing of it ran" 1 "$(ls -d /var/lib/shipbell/runs/app.production.* | wc -l)"

# Root can, and says so to everybody.
check "another deployment is asked for" shipbell run app/production
as_anna shipbell break-glass app/production#2 -m 'I am in a hurry' 2>/run/refused && fail "anna breaks the glass"
grep -q 'only root' /run/refused || fail "she is told: $(cat /run/refused)"
check "root lets it go" shipbell break-glass app/production#2 -m 'the site is down' </dev/null
soon "without votes" outcome_is app/production#2 succeeded
soon "the executor wrote that down" told 'BREAK-GLASS: app/production#2 starts without votes, by root: the site is down'
shipbell show app/production#2 | grep -q 'root break-glass' || fail "it is shown as what it is: $(shipbell show app/production#2)"
echo "ok: it is shown as what it is"
mail_says() { grep -rlq 'WITHOUT APPROVAL' /var/lib/shipbell/db/mail; }
soon "those who were asked have mail" mail_says

# Codes: the seed is root's, the executor reads it, and the daemon's user can neither read it nor do without a code.
check "root gives anna a seed" sh -c 'shipbell totp anna </dev/null >/run/seed'
equal "it is root's alone" "600 root" "$(stat -c '%a %U' /etc/shipbell/secrets/totp-anna)"
sed -i 's/^login = "anna"/&\ntotp = "totp-anna"/' /etc/shipbell/shipbell.toml
job_file codes <<'JOBS'
[job.production]
manual = true
environment = "production"
steps = "echo line deployed"

[environment.production]
approval = { by = "anna", factor = "totp" }
JOBS
check "both are read" shipbell reload
code() { perl -MDigest::SHA=hmac_sha1 -e 'my ($seed, $bits) = ($ARGV[0], ""); my %v; @v{"A".."Z", 2..7} = 0..31;
  $bits .= sprintf "%05b", $v{$_} for split //, $seed; my $h = hmac_sha1(pack("NN", 0, int(time / 30)), pack("B*", $bits));
  printf "%06d\n", (unpack("N", substr $h, ord(substr $h, 19) & 15, 4) & 0x7fffffff) % 1000000' "$(cat /etc/shipbell/secrets/totp-anna)"; }
as_shipbell() { setpriv --reuid=shipbell --regid=shipbell --init-groups "$@"; }
as_shipbell cat /etc/shipbell/secrets/totp-anna 2>/dev/null && fail "the daemon's user reads the seed"
shipbell doctor >/run/doctor
grep -q 'each vote needs a code' /run/doctor || fail "doctor: $(cat /run/doctor)"
check "a deployment is asked for" shipbell run codes/production
soon "it waits for a code" sh -c "shipbell show codes/production#1 | grep -q 'approval, 0 of 1'"
echo 000000 | as_anna shipbell approve codes/production#1 -m yes 2>/run/refused && fail "any code is taken"
grep -q "compare your phone's clock" /run/refused || fail "she is told: $(cat /run/refused)"
code >/run/code
check "anna types her code" as_anna shipbell approve codes/production#1 -m yes </run/code
soon "and it goes" outcome_is codes/production#1 succeeded
check "another deployment is asked for" shipbell run codes/production
as_anna shipbell approve codes/production#2 -m yes </run/code 2>/run/refused && fail "a code is taken twice"
grep -q 'used already' /run/refused || fail "she is told: $(cat /run/refused)"
echo "ok: the same code says yes to nothing else"
ticket=/var/lib/shipbell/runs/codes.production.1/1/ticket.json
refused '$o->{run} = "codes/production#2"; $o->{receipts}{statement}{run} = $o->{run}' '0 of 1 votes' "a vote without a code"
soon "the executor wrote her yes down" told 'anna says yes to codes/production#1'
