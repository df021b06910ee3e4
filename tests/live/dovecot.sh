#!/usr/bin/env bash
# dovecot.sh DIR PORT [RELAY]: starts Dovecot in DIR/dovecot. It listens on the loopback ports
#   +0 LMTP, STARTTLS; the same on the Unix socket DIR/dovecot/lmtp.sock
#   +1 LMTP, implicit TLS
#   +2 submission, STARTTLS, AUTH also without TLS
#   +3 submission, implicit TLS
# What is submitted goes on to the SMTP server on the loopback port RELAY; without one, only logging in works.
#
# AUTH PLAIN LOGIN CRAM-MD5 DIGEST-MD5 SCRAM-SHA-1/256 OAUTHBEARER XOAUTH2, and with the client certificate
# EXTERNAL. DIR/dovecot/token.good and token.expired hold OAuth tokens of user1@lab.test.
# Mail that LMTP takes for lab.test goes to DIR/dovecot/mail/USER. Any unknown user is refused 550 at RCPT; so
# refused@ and nobody@ are. overquota@ gets 552 and tempfail@ 451 after the data, while the others get 250.

# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
server dovecot "${@:1:2}"
relay=${3:-9}
[[ "$(dovecot --version 2>/dev/null)" == 2.3.* ]] ||
  die "Dovecot 2.3 is not installed (later ones have another configuration language); install.sh does it"

mkdir -p "$home/keys/default/HS256"
chown mail: "$mail"

# user NAME PASSWORD [OVERRIDE...]
user() {
  echo "$1@lab.test:{PLAIN}$2::::::${*:3}"
}
{
  for login in "${logins[@]}"; do
    user "${login%%:*}" "${login#*:}"
  done
  accounts | grep -vxF "$(printf '%s\n' "${logins[@]%%:*}")" | while read -r account; do
    user "$account" unused
  done
  user client unused
  user overquota unused userdb_mail_plugins=quota "userdb_quota_rule=*:bytes=1"
  user tempfail unused userdb_mail=maildir:/dev/null/none
} >"$home/users"
echo client@lab.test:::::::nopassword >"$home/certificate_users"

# OAuth tokens are JWTs, signed with a key that Dovecot reads from the directory keys.
secret=lab-jwt-secret-0123456789abcdef0
printf %s $secret | base64 -w0 >"$home/keys/default/HS256/default"
base64url() {
  base64 -w0 | tr '+/' '-_' | tr -d =
}
# token FROM UNTIL
token() {
  local text
  text=$(printf '{"alg":"HS256","typ":"JWT"}' | base64url).$(
    printf '{"sub":"user1@lab.test","iat":%d,"nbf":%d,"exp":%d}' "$1" "$1" "$2" | base64url)
  echo "$text.$(printf %s "$text" | openssl dgst -sha256 -hmac $secret -binary | base64url)"
}
now=$(date +%s)
token $((now - 60)) $((now + 86400)) >"$home/token.good"
token $((now - 7200)) $((now - 3600)) >"$home/token.expired"
cat >"$home/oauth2.conf" <<CONF
introspection_mode = local
local_validation_key_dict = fs:posix:prefix=$home/keys/
username_attribute = sub
openid_configuration_url = https://localhost/.well-known/openid-configuration
CONF

cat >"$home/dovecot.conf" <<CONF
base_dir = $home/run
state_dir = $home/state
log_path = $home/dovecot.log
protocols = lmtp submission
listen = 127.0.0.1
hostname = dovecot.lab.test
auth_default_realm = lab.test
postmaster_address = postmaster@lab.test
recipient_delimiter = +

ssl = yes
ssl_cert = <$certs/server.chain.pem
ssl_key = <$certs/server.key
ssl_ca = <$certs/ca.pem
ssl_require_crl = no
ssl_verify_client_cert = yes
auth_ssl_username_from_cert = yes

disable_plaintext_auth = no
auth_mechanisms = plain login cram-md5 digest-md5 scram-sha-1 scram-sha-256 oauthbearer xoauth2 external
passdb {
  driver = oauth2
  mechanisms = oauthbearer xoauth2
  args = $home/oauth2.conf
}
passdb {
  driver = passwd-file
  mechanisms = external
  args = $home/certificate_users
}
passdb {
  driver = passwd-file
  args = $home/users
}
userdb {
  driver = passwd-file
  args = $home/users
  default_fields = uid=mail gid=mail home=$home/homes/%n mail=maildir:$mail/%n
}
first_valid_uid = 1
plugin {
  quota = count:User quota
  quota_vsizes = yes
}

# No penalty for the wrong passwords that the tests send.
auth_failure_delay = 0
service anvil {
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}

service lmtp {
  unix_listener $home/lmtp.sock {
    mode = 0666
  }
  inet_listener lmtp {
    port = $((port + 0))
  }
  inet_listener lmtps {
    port = $((port + 1))
    ssl = yes
  }
}
service submission-login {
  inet_listener submission {
    port = $((port + 2))
  }
  inet_listener submissions {
    port = $((port + 3))
    ssl = yes
  }
}
submission_relay_host = 127.0.0.1
submission_relay_port = $relay
submission_max_mail_size = 60M
CONF

launch dovecot -F -c "$home/dovecot.conf"
await_ports "$home/dovecot.log" 0 1 2 3
ready 0 "LMTP; STARTTLS; also unix=$home/lmtp.sock"
ready 1 "LMTP; implicit TLS"
ready 2 "submission; STARTTLS; AUTH"
ready 3 "submission; implicit TLS"
