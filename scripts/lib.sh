# shellcheck shell=bash
# Helpers shared by the scripts of this folder: messages, and long steps that show they are alive.

say() { printf '%s\n' "$*"; }

die() {
  printf 'error: %s\n' "$1" >&2
  shift
  for line in "$@"; do printf '       %s\n' "$line" >&2; done
  exit 1
}

# run_step LABEL LOGFILE COMMAND...
# The output goes to LOGFILE. Every 10 seconds one line tells how long it has run and what it said last, so that
# nobody wonders whether it hangs. On failure the end of the log is shown; the command's exit code is returned.
run_step() {
  local label=$1 log=$2 pid rc=0 start=$SECONDS next=10 last
  shift 2
  mkdir -p "$(dirname "$log")"
  printf '%s ...\n' "$label"
  "$@" >"$log" 2>&1 </dev/null &
  pid=$!
  # A Ctrl-C must not leave the step running behind our back.
  trap 'kill "$pid" 2>/dev/null; wait "$pid" 2>/dev/null; exit 130' INT TERM
  while kill -0 "$pid" 2>/dev/null; do
    sleep 0.2
    if ((SECONDS - start >= next)); then
      next=$((next + 10))
      last=$(tail -c 400 "$log" 2>/dev/null | tr '\r' '\n' | grep -v '^[[:space:]]*$' | tail -n 1 | cut -c1-90) || last=
      printf '  %3d s  %s\n' $((SECONDS - start)) "$last"
    fi
  done
  wait "$pid" || rc=$?
  trap - INT TERM
  if ((rc != 0)); then
    printf '%s: failed (exit code %d) after %d s; the last lines of %s:\n' "$label" "$rc" $((SECONDS - start)) "$log" >&2
    tail -n 25 "$log" | sed 's/^/    /' >&2
  fi
  return "$rc"
}
