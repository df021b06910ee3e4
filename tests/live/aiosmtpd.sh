#!/usr/bin/env bash
# aiosmtpd.sh DIR PORT: starts aiosmtpd_server.py in DIR/aiosmtpd. It listens on the loopback ports
#   +0 STARTTLS, AUTH also without TLS
#   +1 implicit TLS
#   +2 AUTH and MAIL only after STARTTLS
#   +3 the connection closed without a word after 2 s of silence
#   +4 LMTP; the same on the Unix socket DIR/aiosmtpd/lmtp.sock
# Never offered: PIPELINING, CHUNKING, DSN, ENHANCEDSTATUSCODES.
#
# AUTH PLAIN LOGIN.
# Mail for lab.test goes to DIR/aiosmtpd/mail/USER, for any other domain (after AUTH only) to
# DIR/aiosmtpd/mail/relay: nothing ever leaves the machine. Stored octet by octet, with CRLF.
#
# Refused at RCPT: refused@ 550, tempfail@ 450; any unknown user at lab.test 550. At DATA: nodata@ 554.
# Refused at the end of the data: a message with the header "X-Lab: reject-eod".
# LMTP: refused@ 550 at RCPT; overquota@ gets 552 and tempfail@ 451 after the data, while the others get 250.

# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
server aiosmtpd "$@"
package=$dir/aiosmtpd-package
[ -d "$package/aiosmtpd" ] || die "aiosmtpd is not in $dir; install.sh puts it there"

accounts >"$home/accounts"
printf '%s\n' "${logins[@]}" >"$home/passwords"

# Only the package that install.sh pinned, whatever else Python has here; and nothing is written beside the sources.
export PYTHONPATH=$package PYTHONNOUSERSITE=1 PYTHONDONTWRITEBYTECODE=1
launch python3 "$live/aiosmtpd_server.py" "$home" "$certs" "$port"
await_ports "$home/start.log" 0 4
ready 0 "STARTTLS; AUTH"
ready 1 "implicit TLS; AUTH"
ready 2 "AUTH after STARTTLS"
ready 3 "closed after 2 s of silence"
ready 4 "LMTP; also unix=$home/lmtp.sock"
