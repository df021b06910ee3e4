#!/usr/bin/env bash
# sendmail.sh DIR PORT: the sendmail examples as tools, against the Postfix of postfix.sh at PORT: by each way to TLS, with a
# login, and with what has to be refused.

# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
work=$1 postfix=$2
examples=${CARGO_TARGET_DIR:-target}/debug/examples
cargo build --quiet -p smtp-blocking --example sendmail
cargo build --quiet -p smtp-tokio --example sendmail_tokio

mkdir -p "$work/sendmail"
printf 'secret1\n' >"$work/sendmail/right"
printf 'another\n' >"$work/sendmail/wrong"

# send CODE TOOL MODE PORT MECHANISM PASSWORD
send() {
  local code=0
  printf 'Subject: %s\n\nhello\n' "$*" | "$examples/$2" --server "localhost:$4" --tls "$3" --ca "$work/certs/ca.pem" \
    --user user1@lab.test --password-file "$work/sendmail/$6" --auth "$5" \
    --from sender@lab.test --to user1@lab.test >"$work/sendmail/output" 2>&1 || code=$?
  [ "$code" = "$1" ] || die "$2 ends with $code instead of $1 ($3, $5, $6 password)" "$work/sendmail/output"
  echo "live: exit $1 as expected from $2 --tls $3 --auth $5, $6 password"
}

for tool in sendmail sendmail_tokio; do
  send 0 $tool starttls "$postfix" PLAIN right
  send 0 $tool starttls $((postfix + 2)) SCRAM-SHA-256 right
  send 0 $tool implicit $((postfix + 1)) LOGIN right
  send 0 $tool none "$postfix" CRAM-MD5 right
  send 77 $tool starttls "$postfix" SCRAM-SHA-256 wrong
  # A server without STARTTLS, and one with the expired certificate.
  send 78 $tool starttls $((postfix + 3)) PLAIN right
  send 78 $tool starttls $((postfix + 7)) PLAIN right
done
