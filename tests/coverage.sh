#!/usr/bin/env bash
# Which lines of the core its own tests leave out. Fails when a line is left out that is not in `unreached.txt`, or one in there
# is reached or gone. Needs Rust by rustup; installs the rest itself.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cargo llvm-cov --version >/dev/null 2>&1 || cargo install --locked cargo-llvm-cov
rustup component add llvm-tools

cargo llvm-cov clean --workspace
cargo llvm-cov --no-report --quiet -p smtp-proto --all-features --lib
# Of the others, those that ask the core alone and are not long.
tests=(ahead burl deadlines extensions intruder machine sasl seeds setup smuggling submission transcripts)
cargo llvm-cov --no-report --quiet -p smtp-conformance --no-default-features "${tests[@]/#/--test=}"

report=$(mktemp -d)
trap 'rm -r "$report"' EXIT
cargo llvm-cov report --lcov --output-path "$report/lcov"

# `file: line` for each line of the core that nothing reached, without what is compiled for tests alone.
awk -v root="$PWD/" '
  /^SF:/ {
    file = substr($0, 4)
    path = substr(file, length(root) + 1)
    ours = path ~ /^smtp-proto\/src\// && path !~ /\/(fuzzing\/|tests|bounded|corners)/
    delete text
    end = 0
    for (count = 0; ours && (getline line < file) > 0;) {
      text[++count] = line
      if (!end && line ~ /^mod tests \{/) end = count
    }
    close(file)
  }
  /^DA:/ && ours {
    split(substr($0, 4), hit, ",")
    if (end && hit[1] > end) next
    lines++
    if (hit[2] > 0) { reached++; next }
    sub(/^ +/, "", text[hit[1]])
    print path ": " text[hit[1]]
  }
  END { printf "%d of %d lines of the core are reached\n", reached, lines > "/dev/stderr" }
' "$report/lcov" | sort >"$report/left-out"
sed '/^#/d' tests/unreached.txt | sort >"$report/known"

if ! diff --unchanged-line-format= --old-line-format='in the list, and reached or gone: %L' \
  --new-line-format='left out: %L' "$report/known" "$report/left-out"; then
  exit 1
fi
