#!/usr/bin/env bash
# Tests the client against real servers: starts Postfix, Exim, Dovecot and aiosmtpd on loopback ports, in a
# temporary directory, and runs the program "live" of smtp-conformance on them, and on Postfix's smtp-sink in each of
# its fault modes, with every test twice: by the blocking driver and by Tokio's. Whatever happens, all that was started
# is stopped and the directory removed.
#
#   tests/live.sh [ARGUMENT...]     the arguments go to the program; without any, it tests everything, then come the
#                                   sendmail examples as tools, and mail through a network that fails
#   tests/live.sh tokio::           tests by one driver only
#   tests/live.sh chaos [--seed N]  only the network that fails: the program "chaos" of smtp-conformance, on Postfix
#   LIVE_KEEP=1 tests/live.sh       keeps the directory, with the logs and the mail
#
# Needs root and a Debian (or a derivative), best in a container: what is missing is installed with apt, and
# aiosmtpd from PyPI.

# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/live/lib.sh"
need_root
cd "$live/../.."

work=$(mktemp -d "${TMPDIR:-/tmp}/smtp-live.XXXXXX")
work=$(cd "$work" && pwd -P)
finish() {
  local status=$?
  trap '' INT TERM # the first signal does it all, and a second one must not leave it half done
  "$live/stop.sh" "$work" || status=1
  if [ "${LIVE_KEEP:-}" = 1 ]; then
    echo "live: kept $work" >&2
  else
    rm -rf "$work"
    [ $status -eq 0 ] || echo "live: failed; with LIVE_KEEP=1 the servers' logs stay" >&2
  fi
  exit $status
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
chmod 755 "$work" # the servers run under users of their own

"$live/install.sh" "$work"
postfix=$(free_ports 10)
"$live/postfix.sh" "$work" "$postfix" >>"$work/ready"
exim=$(free_ports 9)
"$live/exim.sh" "$work" "$exim" >>"$work/ready"
dovecot=$(free_ports 4)
"$live/dovecot.sh" "$work" "$dovecot" "$postfix" >>"$work/ready"
aiosmtpd=$(free_ports 5)
"$live/aiosmtpd.sh" "$work" "$aiosmtpd" >>"$work/ready"
sinks=$(free_ports 250) # one for each test that starts an smtp-sink

[ $# -gt 0 ] || "$live/sendmail.sh" "$work" "$postfix"

# client PROGRAM ARGUMENT...: in the background and in a session of its own, like the servers: a signal then
# interrupts the wait at once, and stop.sh ends the program too, with all that cargo had started.
client() {
  mkdir "$work/$1"
  setsid cargo run --quiet --release -p smtp-conformance --bin "$1" -- "${@:2}" &
  echo $! >"$work/$1/session"
  wait $!
}

chaos() {
  client chaos --postfix "$postfix" --mail "$work/postfix/mail" --queue "$work/postfix/spool" "$@"
}

if [ "${1:-}" = chaos ]; then
  chaos "${@:2}"
  exit
fi

client live \
  --postfix "$postfix" --postfix-tls $((postfix + 1)) --postfix-must-starttls $((postfix + 2)) \
  --postfix-plain $((postfix + 3)) --postfix-size $((postfix + 4)) --postfix-slow $((postfix + 5)) \
  --postfix-idle $((postfix + 6)) --postfix-expired $((postfix + 7)) --postfix-certificate $((postfix + 8)) \
  --postfix-newline $((postfix + 9)) --postfix-mail "$work/postfix/mail" \
  --exim "$exim" --exim-tls $((exim + 1)) --exim-must-starttls $((exim + 2)) --exim-slow $((exim + 3)) \
  --exim-plain $((exim + 4)) --exim-idle $((exim + 5)) --exim-expired $((exim + 6)) \
  --exim-wrong-name $((exim + 7)) --exim-size $((exim + 8)) --exim-mail "$work/exim/mail" \
  --dovecot "$dovecot" --dovecot-tls $((dovecot + 1)) --dovecot-submission $((dovecot + 2)) \
  --dovecot-submission-tls $((dovecot + 3)) --dovecot-socket "$work/dovecot/lmtp.sock" \
  --dovecot-mail "$work/dovecot/mail" --dovecot-tokens "$work/dovecot" \
  --aiosmtpd "$aiosmtpd" --aiosmtpd-tls $((aiosmtpd + 1)) --aiosmtpd-must-starttls $((aiosmtpd + 2)) \
  --aiosmtpd-idle $((aiosmtpd + 3)) --aiosmtpd-lmtp $((aiosmtpd + 4)) \
  --aiosmtpd-socket "$work/aiosmtpd/lmtp.sock" --aiosmtpd-mail "$work/aiosmtpd/mail" \
  --sinks "$sinks" --certs "$work/certs" "$@"

[ $# -gt 0 ] || chaos
