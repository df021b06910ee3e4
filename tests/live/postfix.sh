#!/usr/bin/env bash
# postfix.sh DIR PORT: starts Postfix in DIR/postfix. It listens on the loopback ports
#   +0 every extension, STARTTLS, AUTH also without TLS
#   +1 implicit TLS
#   +2 AUTH and MAIL only after STARTTLS
#   +3 no extension at all, so no PIPELINING either
#   +4 SIZE 20000
#   +5 a greeting of two lines, the second one 2 s late; who speaks in between is refused
#   +6 421 after 2 s of silence
#   +7 STARTTLS with the expired certificate
#   +8 implicit TLS, client certificate required
#   +9 a message with a bare LF is refused 550 after the data
#
# AUTH PLAIN LOGIN CRAM-MD5 DIGEST-MD5 SCRAM-SHA-1/224/256/384/512; XCLIENT for all.
# Mail for lab.test goes to DIR/postfix/mail/USER, for any other domain (after AUTH only) to
# DIR/postfix/mail/relay: nothing ever leaves the machine.
#
# Refused at RCPT: refused@ 550, tempfail@ 450, overquota@ 552, relocated@ 551, policy@ 554,
# shutdown@ 421 and drop521@ 521 with the connection closed; any unknown user at lab.test 550.
# Refused senders, answered at RCPT: badsender@ 553, tempsender@ 451. At DATA: nodata@ 554, tempdata@ 451.
# Refused at the end of the data: a message with the header "X-Lab: reject-eod".

# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
server postfix "$@"
command -v postfix >/dev/null || die "Postfix is not installed; install.sh does it"

etc=$home/etc log=$home/postfix.log
mkdir -p "$etc/sasl" "$home/data" "$home/spool"
chown postfix "$home/data"
chown nobody "$mail"

# The transport "virtual" knows no substitution in its tables (a guard of its own), so each mailbox is a line.
accounts | sed 's|.*|&@lab.test &/|' >"$etc/mailboxes"
echo '!/@lab\.test$/ relay/' >"$etc/relay"

cat >"$etc/rcpt_access" <<'CONF'
/^refused@/   550 5.1.1 mailbox unavailable
/^tempfail@/  450 4.2.1 mailbox disabled, try again later
/^overquota@/ 552 5.2.2 mailbox full
/^relocated@/ 551 5.1.6 user not local; please try <user1@lab.test>
/^policy@/    554 5.7.1 refused by policy
/^shutdown@/  421 4.3.2 shutting down
/^drop521@/   521 5.3.2 no mail here, closing
CONF
cat >"$etc/sender_access" <<'CONF'
/^badsender@/  553 5.1.8 sender refused
/^tempsender@/ 451 4.1.8 sender refused for now
CONF
cat >"$etc/data_access" <<'CONF'
/^nodata@/   554 5.7.1 DATA refused
/^tempdata@/ 451 4.7.1 DATA refused for now
CONF
cat >"$etc/header_checks" <<'CONF'
/^X-Lab: *reject-eod/ REJECT refused after the end of the data
CONF

cat >"$etc/main.cf" <<CONF
compatibility_level = 3.6
queue_directory = $home/spool
data_directory = $home/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
meta_directory = /etc/postfix
mail_owner = postfix
setgid_group = postdrop
maillog_file = $log
maillog_file_prefixes = $home
myhostname = mail.lab.test
inet_protocols = ipv4
inet_interfaces = 127.0.0.1
smtpd_peername_lookup = no
smtp_dns_support_level = disabled

# Every mailbox is virtual: no system user gets mail, and no alias of the system counts.
mydestination =
alias_maps =
local_recipient_maps =
virtual_mailbox_domains = lab.test
virtual_mailbox_maps = texthash:$etc/mailboxes, pcre:$etc/relay
virtual_mailbox_base = $mail
virtual_uid_maps = static:$(id -u nobody)
virtual_gid_maps = static:$(id -g nobody)
virtual_mailbox_limit = 0
virtual_transport = virtual
default_transport = virtual
recipient_delimiter = +

# Room for 1,000 recipients in one transaction, or 1,000 refusals, and for large messages.
message_size_limit = 60000000
smtpd_recipient_limit = 2000
smtpd_recipient_overshoot_limit = 2000
smtpd_soft_error_limit = 2000
smtpd_hard_error_limit = 2000
smtpd_junk_command_limit = 2000
smtpd_client_connection_count_limit = 0

# The client under test is on loopback and is to be treated as a stranger.
mynetworks =
smtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination
smtpd_sender_restrictions = check_sender_access pcre:$etc/sender_access
smtpd_recipient_restrictions = check_recipient_access pcre:$etc/rcpt_access
smtpd_data_restrictions = check_sender_access pcre:$etc/data_access
header_checks = pcre:$etc/header_checks
smtpd_authorized_xclient_hosts = 127.0.0.1
smtpd_authorized_xforward_hosts = 127.0.0.1
fast_flush_domains = lab.test

# The defaults of these two differ between releases. The second one answers 554 and hangs up when something
# follows a command that has to be the last of its group: the client under test must never do it.
smtpd_forbid_bare_newline = no
smtpd_forbid_unauth_pipelining = yes

smtpd_tls_security_level = may
smtpd_tls_chain_files = $certs/server.key, $certs/server.chain.pem
smtpd_tls_CAfile = $certs/ca.pem
smtpd_tls_ask_ccert = yes
smtpd_tls_loglevel = 1

smtpd_sasl_auth_enable = yes
smtpd_sasl_local_domain = lab.test
cyrus_sasl_config_path = $etc/sasl
smtpd_sasl_authenticated_header = yes

postscreen_greet_wait = 2s
postscreen_greet_banner = please wait
postscreen_greet_action = enforce
postscreen_greet_ttl = 1s
CONF

everything=pipelining,8bitmime,chunking,dsn,size,smtputf8,starttls,etrn,vrfy,enhancedstatuscodes,xclient,xforward,auth
cat >"$etc/master.cf" <<CONF
127.0.0.1:$((port + 0)) inet n - n - - smtpd
127.0.0.1:$((port + 1)) inet n - n - - smtpd -o smtpd_tls_wrappermode=yes
127.0.0.1:$((port + 2)) inet n - n - - smtpd -o smtpd_tls_security_level=encrypt -o smtpd_tls_auth_only=yes
127.0.0.1:$((port + 3)) inet n - n - - smtpd -o smtpd_discard_ehlo_keywords=$everything
127.0.0.1:$((port + 4)) inet n - n - - smtpd -o message_size_limit=20000
127.0.0.1:$((port + 5)) inet n - n - 1 postscreen
127.0.0.1:$((port + 6)) inet n - n - - smtpd -o smtpd_timeout=2s
127.0.0.1:$((port + 7)) inet n - n - - smtpd
  -o smtpd_tls_chain_files=$certs/expired.key,$certs/expired.chain.pem
127.0.0.1:$((port + 8)) inet n - n - - smtpd -o smtpd_tls_wrappermode=yes -o smtpd_tls_req_ccert=yes
127.0.0.1:$((port + 9)) inet n - n - - smtpd -o smtpd_forbid_bare_newline=reject
smtpd    pass       - - n - - smtpd
tlsproxy unix       - - n - 0 tlsproxy
tlsmgr   unix       - - n 1000? 1 tlsmgr
anvil    unix       - - n - 1 anvil
rewrite  unix       - - n - - trivial-rewrite
proxymap unix       - - n - - proxymap
cleanup  unix       n - n - 0 cleanup
qmgr     unix       n - n 300 1 qmgr
virtual  unix       - n n - - virtual
bounce   unix       - - n - 0 bounce
defer    unix       - - n - 0 bounce
trace    unix       - - n - 0 bounce
error    unix       - - n - - error
retry    unix       - - n - - error
showq    unix       n - n - - showq
flush    unix       n - n 1000? 0 flush
postlog  unix-dgram n - n - 1 postlogd
CONF

cat >"$etc/sasl/smtpd.conf" <<CONF
pwcheck_method: auxprop
auxprop_plugin: sasldb
sasldb_path: $home/sasldb2
mech_list: PLAIN LOGIN CRAM-MD5 DIGEST-MD5 SCRAM-SHA-1 SCRAM-SHA-224 SCRAM-SHA-256 SCRAM-SHA-384 SCRAM-SHA-512
CONF
for login in "${logins[@]}"; do
  printf %s "${login#*:}" | saslpasswd2 -p -c -u lab.test -f "$home/sasldb2" "${login%%:*}"
done
chown postfix "$home/sasldb2"

# Postfix waits until its configuration is two seconds old, in case someone is still writing it.
touch -d '-1 minute' "$etc"/*

# "check" also makes the queue's directories. The master is started without the command "postfix", which would
# move it into yet another session; POSTLOG_SERVICE, which that command sets, lets it log before it is up.
postfix -c "$etc" check >>"$home/start.log" 2>&1 || die "Postfix dislikes its configuration" "$home/start.log" "$log"
POSTLOG_SERVICE=postlog launch /usr/lib/postfix/sbin/master -c "$etc" -s
await_ports "$log" 0 9
ready 0 "every extension; STARTTLS; AUTH"
ready 1 "implicit TLS"
ready 2 "STARTTLS required"
ready 3 "no extensions"
ready 4 "SIZE 20000"
ready 5 "slow greeting of two lines"
ready 6 "421 after 2 s of silence"
ready 7 "expired certificate"
ready 8 "implicit TLS; client certificate required"
ready 9 "bare LF refused"
