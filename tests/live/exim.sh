#!/usr/bin/env bash
# exim.sh DIR PORT: starts the Exim that install.sh unpacked, in DIR/exim. It listens on the loopback ports
#   +0 every extension (PIPECONNECT and PRDR too), STARTTLS, AUTH also without TLS
#   +1 implicit TLS; with a client certificate also AUTH EXTERNAL
#   +2 AUTH only after STARTTLS
#   +3 a greeting of three lines, 2 s late
#   +4 as few extensions as Exim can: SIZE, 8BITMIME, VRFY, PRDR; no PIPELINING, no STARTTLS, no AUTH
#   +5 421 after 2 s of silence
#   +6 STARTTLS with the expired certificate
#   +7 STARTTLS with another host's certificate
#   +8 SIZE 20000
# On every port, who pipelines what must not be pipelined is answered 554 and cut off.
#
# AUTH PLAIN LOGIN CRAM-MD5 SCRAM-SHA-1/256.
# Mail for lab.test goes to DIR/exim/mail/USER, for any other domain (after AUTH only) to
# DIR/exim/mail/relay: nothing ever leaves the machine.
#
# Refused at RCPT: refused@ 550, multiline@ 550 in three lines, tempfail@ 450, overquota@ 552, relocated@ 551,
# policy@ 554, shutdown@ 421 (but the connection stays), drop521@ 521 with the connection closed; any unknown
# user at lab.test 550.
# slow@ is accepted after 3 s. Refused senders, at MAIL: badsender@ 553, tempsender@ 451. At DATA: nodata@ 554.
# At the end of the data, by header: "X-Lab: reject-eod" 550, "X-Lab: tempfail-eod" 451, "X-Lab: slow-eod"
# is accepted after 5 s. With PRDR, prdrno@ 550 and prdrdefer@ 450 after the data.

# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
server exim "$@"
exim=$dir/exim-package/usr/sbin/exim4
[ -x "$exim" ] || die "Exim is not in $dir; install.sh puts it there"

mkdir "$home/spool" "$home/log" "$home/sasl"
chown Debian-exim "$mail" "$home/spool" "$home/log" "$home/sasl"

# Tables that name each mailbox and password: Exim makes no path of what a client sent, only of what it looked up.
{
  accounts
  printf '%s\n' slow prdrno prdrdefer
} | sed 's/.*/&: &/' >"$home/mailboxes"

# SCRAM is done by Cyrus SASL with a user database of its own.
cat >"$home/sasl/exim.conf" <<CONF
pwcheck_method: auxprop
auxprop_plugin: sasldb
sasldb_path: $home/sasl/sasldb2
CONF
for login in "${logins[@]}"; do
  echo "${login%%:*}: ${login#*:}" >>"$home/passwords"
  printf %s "${login#*:}" | saslpasswd2 -p -c -u lab.test -f "$home/sasl/sasldb2" "${login%%:*}"
done
chown Debian-exim "$home/sasl/sasldb2"

# on OFFSET VALUE OTHERWISE: an Exim expansion that is VALUE on the port with that offset.
on() {
  echo "\${if eq{\$received_port}{$((port + $1))}{$2}{$3}}"
}
# password_of VARIABLE: an Exim expansion that is the password of the user that the variable names.
password_of() {
  echo "\${lookup{\$$1}lsearch{$home/passwords}{\$value}fail}"
}
auth_offered="\${if and{{!eq{\$received_port}{$((port + 4))}}{or{{!eq{\$received_port}{$((port + 2))}}{def:tls_in_cipher}}}}}"
greeting='exim.lab.test ESMTP Exim'

cat >"$home/exim.conf" <<CONF
exim_path = $exim
spool_directory = $home/spool
log_file_path = $home/log/%slog
pid_file_path = $home/exim.pid
primary_hostname = exim.lab.test
keep_environment = SASL_CONF_PATH

local_interfaces = 127.0.0.1
daemon_smtp_ports = $(seq -s ' : ' "$port" $((port + 8)))
daemon_startup_retries = 0
smtp_banner = $(on 3 "$greeting\\n two more lines\\n and this one" "$greeting")
smtp_receive_timeout = $(on 5 2s 5m)

# The copy is not setuid root: once it serves a client it stays Debian-exim, for deliveries too.
deliver_drop_privilege = true
trusted_users = Debian-exim

# No look-ups about the client, and no limit that a thousand messages in one session would meet.
host_lookup =
rfc1413_hosts =
smtp_accept_max = 200
smtp_accept_max_nonmail = 2000
smtp_accept_queue_per_connection = 0
message_size_limit = $(on 8 20000 60M)
check_spool_space = 0
check_log_space = 0

tls_on_connect_ports = $((port + 1))
tls_advertise_hosts = $(on 4 '' '*')
tls_certificate = $(on 6 "$certs/expired.chain.pem" "$(on 7 "$certs/wrongname.chain.pem" "$certs/server.chain.pem")")
tls_privatekey = $(on 6 "$certs/expired.key" "$(on 7 "$certs/wrongname.key" "$certs/server.key")")
tls_verify_certificates = $certs/ca.pem
tls_try_verify_hosts = *

prdr_enable = yes
smtputf8_advertise_hosts = $(on 4 '' '*')
chunking_advertise_hosts = $(on 4 '' '*')
pipelining_advertise_hosts = $(on 4 '' '*')
pipelining_connect_advertise_hosts = $(on 4 '' '*')
dsn_advertise_hosts = $(on 4 '' '*')

acl_smtp_connect = connect
acl_smtp_mail = mail
acl_smtp_rcpt = rcpt
acl_smtp_predata = predata
acl_smtp_data = data
acl_smtp_data_prdr = prdr
acl_smtp_vrfy = accept

begin acl
connect:
  accept condition = $(on 3 yes no)
         delay = 2s
  accept
mail:
  deny   senders = ^badsender@
         message = 553 5.1.8 sender refused
  defer  senders = ^tempsender@
         message = 451 4.1.8 sender refused for now
  accept
rcpt:
  deny   local_parts = refused
         message = 550 5.1.1 mailbox unavailable
  deny   local_parts = multiline
         message = 550 5.7.1 first line of a long refusal\\nsecond line\\nthird line
  defer  local_parts = tempfail
         message = 450 4.2.1 mailbox disabled, try again later
  deny   local_parts = overquota
         message = 552 5.2.2 mailbox full
  deny   local_parts = relocated
         message = 551 5.1.6 user not local; please try <user1@lab.test>
  deny   local_parts = policy
         message = 554 5.7.1 refused by policy
  defer  local_parts = shutdown
         message = 421 4.3.2 shutting down
  drop   local_parts = drop521
         message = 521 5.3.2 no mail here, closing
  accept local_parts = slow
         delay = 3s
  deny   domains = lab.test
         ! verify = recipient
         message = 550 5.1.1 no such user
  accept domains = lab.test
  accept authenticated = *
  deny   message = 550 5.7.1 no relaying
predata:
  deny   senders = ^nodata@
         message = 554 5.7.1 DATA refused
  accept
data:
  deny   condition = \${if eq{\$h_X-Lab:}{reject-eod}}
         message = 550 5.7.1 refused after the end of the data
  defer  condition = \${if eq{\$h_X-Lab:}{tempfail-eod}}
         message = 451 4.7.1 refused for now after the end of the data
  accept condition = \${if eq{\$h_X-Lab:}{slow-eod}}
         delay = 5s
  accept
prdr:
  deny   local_parts = prdrno
         message = 550 5.7.1 this message is not for <\$local_part>
  defer  local_parts = prdrdefer
         message = 450 4.2.1 <\$local_part> later
  accept

begin routers
local:
  driver = accept
  domains = lab.test
  local_parts = lsearch;$home/mailboxes
  local_part_suffix = +*
  local_part_suffix_optional
  address_data = \$local_part_data
  transport = maildir
other:
  driver = accept
  domains = ! lab.test
  address_data = relay
  transport = maildir

begin transports
maildir:
  driver = appendfile
  directory = $mail/\$address_data
  maildir_format
  create_directory
  return_path_add
  envelope_to_add
  user = Debian-exim
  mode = 0644

begin retry
* * F,1h,15s

begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = \${if and{{!eq{\$auth2}{}}{eq{\$auth3}{$(password_of auth2)}}}}
  server_set_id = \$auth2
  server_advertise_condition = $auth_offered
login:
  driver = plaintext
  public_name = LOGIN
  server_prompts = Username:: : Password::
  server_condition = \${if and{{!eq{\$auth1}{}}{eq{\$auth2}{$(password_of auth1)}}}}
  server_set_id = \$auth1
  server_advertise_condition = $auth_offered
cram_md5:
  driver = cram_md5
  public_name = CRAM-MD5
  server_secret = $(password_of auth1)
  server_set_id = \$auth1
  server_advertise_condition = $auth_offered
scram_sha_1:
  driver = cyrus_sasl
  public_name = SCRAM-SHA-1
  server_realm = lab.test
  server_hostname = localhost
  server_set_id = \$auth1
  server_advertise_condition = $auth_offered
scram_sha_256:
  driver = cyrus_sasl
  public_name = SCRAM-SHA-256
  server_realm = lab.test
  server_hostname = localhost
  server_set_id = \$auth1
  server_advertise_condition = $auth_offered
external:
  driver = external
  public_name = EXTERNAL
  server_param2 = \${certextract{subj_altname,mail,>:}{\$tls_in_peercert}}
  server_condition = \${if inlisti{\$auth1}{\$auth2}}
  server_set_id = \$auth1
  server_advertise_condition = \$tls_in_certificate_verified
CONF

export SASL_CONF_PATH=$home/sasl
launch "$exim" -C "$home/exim.conf" -bdf -q15s
await_ports "$home/log/mainlog" 0 8
ready 0 "every extension; STARTTLS; AUTH"
ready 1 "implicit TLS; AUTH EXTERNAL"
ready 2 "AUTH after STARTTLS"
ready 3 "slow greeting of three lines"
ready 4 "no extensions but SIZE, 8BITMIME, VRFY, PRDR"
ready 5 "421 after 2 s of silence"
ready 6 "expired certificate"
ready 7 "certificate of another host"
ready 8 "SIZE 20000"
