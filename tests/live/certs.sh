#!/usr/bin/env bash
# certs.sh DIR: makes a throw-away CA and what the servers and the client show of it:
#   DIR/ca.pem       the CA
#   DIR/server.*     good: localhost, mail.lab.test, 127.0.0.1
#   DIR/expired.*    the same names, but it ended in 2021
#   DIR/wrongname.*  another host's name
#   DIR/client.*     a client certificate for client@lab.test
# with .key, .pem (the certificate alone) and .chain.pem (with the CA) each. Does nothing the second time.

# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[ $# -eq 1 ] || die "usage: certs.sh DIR"
[ ! -e "$1/complete" ] || exit 0
mkdir -p "$1"
cd "$1"

run() {
  "$@" >>openssl.log 2>&1 || die "failed: $*" openssl.log
}
new_key=(openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes)

# "openssl ca" is more work than "openssl x509", but it is the one that can date a certificate back
# in every release of OpenSSL 3.
cat >ca.conf <<'CONF'
[ca]
default_ca = lab
[lab]
database = index.txt
serial = serial
new_certs_dir = .
default_md = sha256
policy = policy
unique_subject = no
[policy]
commonName = supplied
CONF
: >index.txt
echo 1000 >serial

# issue NAME COMMON_NAME ALTERNATIVE_NAMES USAGE FROM UNTIL
issue() {
  run "${new_key[@]}" -subj "/CN=$2" -keyout "$1.key" -out "$1.csr"
  printf '%s\n' "subjectAltName=$3" "extendedKeyUsage=$4" basicConstraints=CA:FALSE keyUsage=digitalSignature >"$1.ext"
  run openssl ca -batch -notext -config ca.conf -cert ca.pem -keyfile ca.key \
    -in "$1.csr" -extfile "$1.ext" -out "$1.pem" -startdate "$5" -enddate "$6"
  cat "$1.pem" ca.pem >"$1.chain.pem"
}

from=$(date -u -d '-7 days' +%Y%m%d%H%M%SZ) # some clocks are late
until=$(date -u -d '+30 days' +%Y%m%d%H%M%SZ)
names=DNS:localhost,DNS:mail.lab.test,IP:127.0.0.1

run "${new_key[@]}" -x509 -days 60 -subj '/CN=smtp-proto lab CA' -keyout ca.key -out ca.pem \
  -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign
issue server localhost "$names" serverAuth "$from" "$until"
issue expired localhost "$names" serverAuth 20200101000000Z 20210101000000Z
issue wrongname wrong.example DNS:wrong.example serverAuth "$from" "$until"
issue client client@lab.test email:client@lab.test clientAuth "$from" "$until"

chmod 644 ./*.key # the servers' users read them; these keys are worth nothing and live for one run
touch complete
