#!/usr/bin/env bash
# Builds the dashboard's web pages: copies web/ into FOLDER, installs the locked packages there when they changed, checks
# types, bundles, and leaves FOLDER/pages.pack, which CMake embeds in the program.
# usage: scripts/web.sh FOLDER
# Where the packages cannot be had (no network), the pack is left empty and the program says how to get its pages.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
[ $# = 1 ] || {
  sed -n '2,5p' "${BASH_SOURCE[0]}" >&2
  exit 2
}
out=$1
mkdir -p "$out"
cd "$out"

# What was copied before and is gone from the sources must not be bundled.
rm -rf src dist pages.pack
cp -R "$root/web/src" src
cp "$root"/web/{package.json,package-lock.json,.npmrc,tsconfig.json,vite.config.ts,pack.mjs,index.html} .

stamp="$(sha256sum package-lock.json) $(node --version)"
if [ "$(cat .installed 2>/dev/null)" != "$stamp" ]; then
  rm -f .installed
  tries=3
  until npm ci --no-audit --no-fund --loglevel=error; do
    tries=$((tries - 1))
    if ((tries == 0)); then
      echo "warning: the packages of web/package-lock.json cannot be installed: the program is built without its pages" >&2
      : >pages.pack
      # Older than every source: the next build tries again.
      touch -d @1 pages.pack
      exit 0
    fi
    sleep 2
  done
  printf '%s' "$stamp" >.installed
fi
npm run --silent build
