#!/usr/bin/env bash
# stop.sh DIR: stops every server that was started in DIR, by its process session. Fails when one of
# them had to be killed.

# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[ $# -eq 1 ] || die "usage: stop.sh DIR"
status=0
for file in "$1"/*/session; do
  [ -e "$file" ] || continue
  session=$(<"$file")
  signal=TERM
  # Again and again, since a server may fork once more before it sees the signal. After 5 s it is killed.
  for ((i = 0; i < 200; i++)); do
    mapfile -t pids < <(members "$session")
    [ ${#pids[@]} -gt 0 ] || break
    if [ "$i" -eq 100 ]; then
      echo "live: ${file%/session} does not stop; killing ${pids[*]}" >&2
      signal=KILL
      status=1
    fi
    kill -$signal "${pids[@]}" 2>/dev/null || true
    sleep 0.05
  done
  rm "$file"
done
exit $status
