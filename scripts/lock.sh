#!/usr/bin/env bash
# Makes python/requirements.lock and python/kserve.lock from the .in files beside them (see the notes in those).
# Run it after changing one of them, and commit both. With --upgrade it takes the newest versions allowed.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

uv=build/tools/uv/bin/uv
[ -x "$uv" ] || die "there is no $uv yet" "run: make setup"

# One lock for every Python from 3.11 on and every platform (--universal): a newer distribution must not need another.
# No index is written into it: where packages come from is the machine's business.
compile() {
  "$uv" pip compile --no-config --universal --python-version 3.11 --generate-hashes \
    --no-emit-index-url --no-emit-find-links --custom-compile-command 'scripts/lock.sh' --quiet "$@"
}
compile --override python/overrides.in --output-file python/requirements.lock "$@" python/requirements.in
compile --output-file python/kserve.lock "$@" python/kserve.in
for lock in python/requirements.lock python/kserve.lock; do
  say "wrote $lock ($(grep -c '==' "$lock") packages)"
done
