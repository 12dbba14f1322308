#!/usr/bin/env bash
# Checks the sources: clang-format, ruff, shellcheck and (unless --quick) clang-tidy.
# usage: scripts/lint.sh [--quick | --fix]      --fix formats in place instead of checking
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

mode=${1:-full}
ruff=.venv/bin/ruff
for tool in clang-format-19 "$ruff"; do
  command -v "$tool" >/dev/null 2>&1 || die "$tool is missing" "run: make setup"
done

cpp=() units=() python=()
while IFS= read -r file; do cpp+=("$file"); done < <(find src tests bench -type f \( -name '*.cpp' -o -name '*.h' \) 2>/dev/null | sort)
while IFS= read -r file; do units+=("$file"); done < <(find src -type f -name '*.cpp' 2>/dev/null | sort)
for dir in scripts python examples tests bench; do [ -d "$dir" ] && python+=("$dir"); done

ruff_options=(--config python/ruff.toml)
if [ "$mode" = --fix ]; then
  ((${#cpp[@]} == 0)) || clang-format-19 -i "${cpp[@]}"
  "$ruff" check "${ruff_options[@]}" --fix --quiet "${python[@]}" || true
  "$ruff" format "${ruff_options[@]}" --quiet "${python[@]}"
  exit 0
fi

failed=0
# check LABEL COMMAND...: runs all of them before giving up, so that one run shows everything.
check() {
  local label=$1
  shift
  if "$@"; then say "  $label: ok"; else
    say "  $label: failed" >&2
    failed=1
  fi
}

if ((${#cpp[@]} > 0)); then check clang-format clang-format-19 --dry-run -Werror "${cpp[@]}"; fi
check ruff "$ruff" check "${ruff_options[@]}" "${python[@]}"
check "ruff format" "$ruff" format "${ruff_options[@]}" --check --quiet "${python[@]}"
# The set-up for tests installs shellcheck; without it the shell scripts would go unchecked, so that is a failure.
check shellcheck shellcheck -x scripts/*.sh .ci/run

if [ "$mode" != --quick ]; then
  # A configuration of its own, never built: each source has a command there, where the release joins several to one.
  run_step "configuring for clang-tidy" build/logs/configure-lint.log cmake --preset release -B build/lint \
    -DMILLRACE_UNITY=OFF -DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON || die "CMake could not configure" "run: make setup"
  tidy_units=()
  for unit in "${units[@]}"; do
    # Fuzz targets are not part of this configuration, which has the compile commands.
    case $unit in *_fuzz.cpp) ;; *) tidy_units+=("$root/$unit") ;; esac
  done
  check clang-tidy run_step "clang-tidy on ${#tidy_units[@]} files" build/logs/clang-tidy.log \
    run-clang-tidy-19 -quiet -p build/lint "-extra-arg=-include$root/src/core/pch.h" -extra-arg=-includegtest/gtest.h \
    -j "${JOBS:-$(nproc)}" "${tidy_units[@]}"
fi
((failed == 0)) || die "lint found something" "'make fmt' mends the formatting"
