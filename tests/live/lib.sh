# shellcheck shell=bash
# Helpers of the live-server scripts. To be sourced, not run.
#
# Every script gets one work directory, DIR, and keeps to this layout:
#   DIR/certs/           the throw-away certificates                (certs.sh)
#   DIR/NAME-package/    the unpacked Exim and aiosmtpd             (install.sh)
#   DIR/NAME/            everything of one server                   (postfix.sh, exim.sh, dovecot.sh, aiosmtpd.sh)
#   DIR/NAME/mail/USER/  the maildir of USER: new/ holds one file per message and recipient
#   DIR/NAME/session     the process session that the server runs in (launch, stop.sh)

set -euo pipefail
umask 022 # the servers run under several users and must be able to read what root writes
PATH=$PATH:/usr/sbin:/sbin

# The directory of these scripts.
live=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)

# The accounts that can log in. One password is not ASCII on purpose.
# shellcheck disable=SC2034 # the server scripts use it
logins=(user1:secret1 user2:sécret2)

# accounts: prints the local part of every mailbox at lab.test, one a line.
accounts() {
  printf 'user%d\n' {1..9}
  printf 'bulk%d\n' {0..999}
  printf '%s\n' postmaster sender 用户 δοκιμή
}

# die MESSAGE [LOG...]: ends the script with a message and the last lines of each log that exists.
die() {
  echo "live: $1" >&2
  local log
  for log in "${@:2}"; do
    [ -s "$log" ] || continue
    echo "--- $log" >&2
    tail -n 40 "$log" >&2
  done
  exit 1
}

need_root() {
  [ "$(id -u)" -eq 0 ] || die "root is needed: mail servers are installed, and most run under a user of their own"
}

# server NAME DIR PORT: sets what every server script works with: name, port, home (DIR/NAME), mail, certs.
server() {
  need_root
  [ $# -eq 3 ] || die "usage: $1.sh DIR PORT"
  name=$1 port=$3
  mkdir -p "$2"
  dir=$(cd "$2" && pwd -P)
  home=$dir/$name mail=$home/mail certs=$dir/certs
  mkdir "$home" || die "$name needs a fresh directory"
  "$live/certs.sh" "$certs"
  mkdir "$mail"
}

# launch COMMAND...: starts a server that stays in the foreground, in a process session of its own.
# Whatever it forks stays in that session, so stop.sh finds all of it, and nothing that is not ours.
launch() {
  setsid "$@" >>"$home/start.log" 2>&1 </dev/null &
  echo $! >"$home/session"
}

# members SESSION: prints the live processes of a session. A zombie holds nothing and does not count.
members() {
  # Processes come and go while /proc is read, so cat is allowed to miss some.
  { cat /proc/[0-9]*/stat 2>/dev/null || true; } |
    sed -n "s/^\([0-9]*\) (.*) [^ZX] [0-9]* [0-9]* $1 .*/\1/p"
}

listening() {
  (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# await_ports LOG OFFSET...: returns when the server that was launched listens on each of its ports.
await_ports() {
  local log=$1 deadline=$((SECONDS + 30)) offset
  for offset in "${@:2}"; do
    until listening $((port + offset)); do
      kill -0 "$(<"$home/session")" 2>/dev/null || die "$name ended while starting" "$home/start.log" "$log"
      [ "$SECONDS" -lt "$deadline" ] || die "$name does not listen on $((port + offset))" "$home/start.log" "$log"
      sleep 0.05
    done
  done
}

# free_ports COUNT: prints the first of COUNT consecutive loopback ports that nobody listens on.
# The range lies below the ports that the kernel hands to outgoing connections.
free_ports() {
  local first port
  for _ in {1..100}; do
    first=$((20000 + RANDOM % 12000))
    for ((port = first; port < first + $1; port++)); do
      ! listening "$port" || continue 2
    done
    echo "$first"
    return
  done
  die "no $1 free ports in a row"
}

# ready OFFSET WHAT: reports one port of the server.
ready() {
  echo "READY $name port=$((port + $1)) $2"
}
