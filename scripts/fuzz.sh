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

passed=0 failed=0
for target in "${targets[@]}"; do
  name=$(basename "$target")
  corpus=build/fuzz-corpus/$name
  findings=build/logs/fuzz/$name
  mkdir -p "$corpus" "$findings"
  dirs=("$corpus")
  [ -d "tests/corpus/fuzz/$name" ] && dirs+=("tests/corpus/fuzz/$name")
  if run_step "fuzzing $name for $seconds s" "build/logs/$name.log" \
    "$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
    -artifact_prefix="$findings/" "${dirs[@]}"; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    say "  the input is in $findings/; run it alone: $target FILE"
  fi
done
say "fuzz: $passed passed, $failed failed"
((failed == 0))
