#!/usr/bin/env bash
# The dashboard's web pages. With FOLDER: copies web/ there, checks types, bundles, and leaves FOLDER/pages.pack, which CMake
# embeds in the program. With --install: fetches the locked packages that this needs; scripts/setup.sh calls it, so that
# a build downloads nothing.
# usage: scripts/web.sh --install | FOLDER
# Where the packages are not installed, the pack is left empty and the program says how to get its pages.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
[ $# = 1 ] || {
  sed -n '2,6p' "${BASH_SOURCE[0]}" >&2
  exit 2
}
packages=$root/build/tools/web
stamp="$(sha256sum <"$root/web/package-lock.json") $(node --version)"

if [ "$1" = --install ]; then
  [ "$(cat "$packages/.installed" 2>/dev/null)" != "$stamp" ] || exit 0
  mkdir -p "$packages"
  cd "$packages"
  rm -f .installed
  cp "$root"/web/{package.json,package-lock.json,.npmrc} .
  tries=3
  until npm ci --no-audit --no-fund --loglevel=error; do
    tries=$((tries - 1))
    ((tries > 0)) || exit 1
    sleep 2
  done
  printf '%s' "$stamp" >.installed
  exit 0
fi

out=$1
mkdir -p "$out"
cd "$out"

if [ "$(cat "$packages/.installed" 2>/dev/null)" != "$stamp" ]; then
  echo "warning: the packages of web/package-lock.json are not installed: the program is built without its pages" \
    "(scripts/setup.sh installs them)" >&2
  : >pages.pack
  # Older than every source: the next build tries again.
  touch -d @1 pages.pack
  exit 0
fi

# What was copied before and is gone from the sources must not be bundled.
rm -rf src dist pages.pack node_modules
ln -s "$packages/node_modules" node_modules
cp -R "$root/web/src" src
cp "$root"/web/{package.json,package-lock.json,.npmrc,tsconfig.json,vite.config.ts,pack.mjs,index.html} .
npm run --silent build
