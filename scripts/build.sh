#!/usr/bin/env bash
# Configures when needed and builds one CMake preset.
# usage: scripts/build.sh PRESET [--target TARGET ...]        environment: JOBS (default: all cores)
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

preset=${1:?usage: scripts/build.sh PRESET [--target TARGET ...]}
shift
command -v cmake >/dev/null 2>&1 || die "cmake is not installed" "run: make setup"

# Ninja runs CMake again by itself when a CMakeLists.txt changes, but it knows nothing of the presets; and a build
# folder that was copied or moved holds paths of another place.
ninja_file=build/$preset/build.ninja
if [ ! -f "$ninja_file" ] || [ CMakePresets.json -nt "$ninja_file" ] ||
  ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$root" "build/$preset/CMakeCache.txt"; then
  if [ -f "build/$preset/CMakeCache.txt" ] &&
    ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$root" "build/$preset/CMakeCache.txt"; then
    rm -rf "build/${preset:?}"
  fi
  run_step "configuring ($preset)" "build/logs/configure-$preset.log" cmake --preset "$preset" ||
    die "CMake could not configure" "if a package is missing, run: make setup"
  touch "$ninja_file"
fi

start=$SECONDS
cmake --build --preset "$preset" -j "${JOBS:-$(nproc)}" "$@" ||
  die "the build failed" "the compiler's messages are above"
if ((SECONDS - start > 2)); then say "built build/$preset in $((SECONDS - start)) s"; fi
