#!/usr/bin/env bash
# Builds the fuzz targets (libFuzzer, sanitizers on) and runs each for a while.
# usage: scripts/fuzz.sh SECONDS_EACH
# A target may have seeds in tests/corpus/fuzz/NAME/; what it finds interesting is kept in build/fuzz-corpus/NAME/, so
# that each run goes on where the last one stopped. The last line is `fuzz: N passed, N failed`.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

seconds=${1:-60}
[[ $seconds =~ ^[1-9][0-9]*$ ]] || die "'$seconds' is not a number of seconds"

scripts/build.sh fuzz --target fuzz_targets
mapfile -t targets < <(find build/fuzz -name CMakeFiles -prune -o -type f -executable -name '*_fuzz' -print | sort)
((${#targets[@]} > 0)) || die "no fuzz target was built in build/fuzz"

fuzz_one() {
  local target=$1 name corpus findings
  name=$(basename "$target")
  corpus=build/fuzz-corpus/$name
  findings=build/logs/fuzz/$name
  mkdir -p "$corpus" "$findings"
  local dirs=("$corpus")
  [ -d "tests/corpus/fuzz/$name" ] && dirs+=("tests/corpus/fuzz/$name")
  run_step "fuzzing $name for $seconds s" "build/logs/$name.log" \
    "$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
    -artifact_prefix="$findings/" "${dirs[@]}" && return 0
  say "  the input is in $findings/; run it alone: $target FILE"
  return 1
}

# A target uses one processor: as many run at a time as there are, each with the whole of its seconds.
passed=0 failed=0 running=0
collect() {
  if wait -n; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
  running=$((running - 1))
}
# shellcheck disable=SC2046  # a list of process numbers
trap 'kill $(jobs -p) 2>/dev/null; wait; exit 130' INT TERM
for target in "${targets[@]}"; do
  ((running < $(nproc))) || collect
  fuzz_one "$target" &
  running=$((running + 1))
done
while ((running > 0)); do collect; done
say "fuzz: $passed passed, $failed failed"
((failed == 0))
