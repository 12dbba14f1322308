#!/usr/bin/env bash
# Every test layer, in order: lint, build, C++ unit tests, fuzz targets (5 s each), tests with the real clients.
# A layer that cannot start is a failure. The last line is `N passed, N failed` over all layers; logs: build/logs/.
# environment: PYTEST_ARGS (more arguments for pytest), FUZZ_SECONDS (default 5)
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root" || exit 1
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

# mlflow reports its use to its makers unless told not to; a test run is nobody's use.
export MLFLOW_DISABLE_TELEMETRY=true

passed=0 failed=0 skipped=0
begin=$SECONDS

add() {
  passed=$((passed + $1))
  failed=$((failed + $2))
  skipped=$((skipped + $3))
  say "  $4: $1 passed, $2 failed$( (($3 > 0)) && printf ', %d skipped' "$3") ($((SECONDS - layer_start)) s)"
}

# layer NAME COMMAND...: a layer that is one check.
layer() {
  local name=$1
  shift
  layer_start=$SECONDS
  if run_step "$name" "build/logs/test-${name// /-}.log" "$@"; then add 1 0 0 "$name"; else add 0 1 0 "$name"; fi
}

# counted NAME JUNIT_FILE COMMAND...: a layer whose runner writes a JUnit file.
counted() {
  local name=$1 junit=$2 rc=0 p=0 f=0 s=0
  shift 2
  layer_start=$SECONDS
  rm -f "$junit"
  run_step "$name" "build/logs/test-${name// /-}.log" "$@" || rc=$?
  if [ -f "$junit" ]; then read -r p f s < <(.venv/bin/python scripts/junit_totals.py "$junit"); fi
  # A runner that failed without a failed test, or that ran none at all, did not do its work.
  if ((rc != 0 && f == 0)) || ((p + f == 0)); then f=$((f + 1)); fi
  add "$p" "$f" "$s" "$name"
}

# failed_layer NAME WHY
failed_layer() {
  layer_start=$SECONDS
  say "$1: cannot start: $2"
  add 0 1 0 "$1"
}

finish() {
  say "all layers took $((SECONDS - begin)) s; the logs are in build/logs/"
  if ((skipped > 0)); then
    say "$passed passed, $failed failed, $skipped skipped"
  else
    say "$passed passed, $failed failed"
  fi
  ((failed == 0))
  exit
}

mkdir -p build/logs
layer_start=$SECONDS
if ! scripts/setup.sh --test; then
  failed_layer "set-up" "see the message above"
  finish
fi

layer lint scripts/lint.sh --quick
failed_before=$failed
layer build scripts/build.sh release
# After a failed build the binary that lies there is an old one, and what tests say of it is worth nothing.
built=0
if ((failed == failed_before)) && [ -x build/release/millrace ]; then built=1; fi

if ((built)); then
  counted "unit tests" build/logs/ctest.xml \
    ctest --test-dir build/release --output-junit "$root/build/logs/ctest.xml" --output-on-failure --timeout 120 -j "$(nproc)"
else
  failed_layer "unit tests" "the program was not built"
fi

if ((built)); then
  if [ -x build/release/web/node_modules/.bin/vitest ]; then
    counted "web unit tests" build/logs/vitest.xml \
      env -C build/release/web node_modules/.bin/vitest run --reporter=default --reporter=junit \
      --outputFile.junit="$root/build/logs/vitest.xml"
  else
    layer_start=$SECONDS
    add 0 0 1 "web unit tests (the pages were not built)"
  fi
fi

if grep -q '"fuzz"' CMakePresets.json 2>/dev/null; then
  layer_start=$SECONDS
  log=build/logs/test-fuzz.log
  run_step "fuzz targets, ${FUZZ_SECONDS:-5} s each" "$log" scripts/fuzz.sh "${FUZZ_SECONDS:-5}" || true
  if [[ $(tail -n 1 "$log") =~ ^fuzz:\ ([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
    add "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}" 0 fuzz
  else
    add 0 1 0 fuzz
  fi
fi

if ((built)); then
  # shellcheck disable=SC2086  # PYTEST_ARGS is a list of words
  counted "client tests" build/logs/pytest.xml \
    .venv/bin/python -m pytest tests -q --junitxml build/logs/pytest.xml -o cache_dir=build/pytest-cache ${PYTEST_ARGS:-}
  grep -E '^(FAILED|ERROR) ' build/logs/test-client-tests.log | cut -c1-200
else
  failed_layer "client tests" "the program was not built"
fi

finish
