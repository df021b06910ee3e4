#!/usr/bin/env bash
# The core's tests in Miri, which finds undefined behaviour: the core has no `unsafe`, but what it depends on has. Takes the
# arguments of `cargo test`, or tries those beside the code, and says in the end what was left out and why.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

rustup toolchain list | grep -q '^nightly' || rustup toolchain install nightly --profile minimal
rustup component add --toolchain nightly miri rust-src

# Miri is some hundred times slower: what is tried as a whole is smaller under it (`cfg!(miri)`), and properties are tried a few
# times. They write no files.
export PROPTEST_CASES=3 PROPTEST_DISABLE_FAILURE_PERSISTENCE=1
export MIRIFLAGS='-Zmiri-env-forward=PROPTEST_CASES -Zmiri-env-forward=PROPTEST_DISABLE_FAILURE_PERSISTENCE'
[ $# -gt 0 ] || set -- -p smtp-proto --all-features --lib

log=$(mktemp)
trap 'rm "$log"' EXIT
cargo +nightly miri test "$@" 2>&1 | tee "$log"
printf '\nleft out:\n'
sed -n 's/^test \(.*\) \.\.\. ignored, /  \1: /p' "$log"
