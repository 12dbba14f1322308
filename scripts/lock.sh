#!/usr/bin/env bash
# Makes python/requirements.lock from python/requirements.in (see the notes in that file).
# Run it after changing requirements.in, and commit both. With --upgrade it takes the newest versions allowed.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

uv=build/tools/uv/bin/uv
[ -x "$uv" ] || die "there is no $uv yet" "run: make setup"

# One lock for every Python from 3.11 on and every platform (--universal): a newer distribution must not need another.
# No index is written into it: where packages come from is the machine's business.
"$uv" pip compile --no-config --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-emit-find-links --custom-compile-command 'scripts/lock.sh' \
  --override python/overrides.in --output-file python/requirements.lock --quiet "$@" python/requirements.in
say "wrote python/requirements.lock ($(grep -c '==' python/requirements.lock) packages)"
