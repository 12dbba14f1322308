#!/usr/bin/env bash
# Installs what Millrace is built and tested with: Debian or Ubuntu packages by apt, Python packages by uv into .venv.
# Run it as often as you like: what is there already is left alone, and then it takes less than a second.
#
# usage: scripts/setup.sh [--no-python] [--test] [--bench]
#   --no-python  only what the C++ build needs
#   --test       also what the tests with the real clients and the linters need; kubectl and Helm, where they are not
#                on PATH, are built from source into build/tools/bin, which needs Go (and once takes some minutes)
#   --bench      also the load generator and the web server that the benchmarks compare with
# environment: MILLRACE_SETUP_APT=0 leaves apt alone (you have installed the packages in another way)
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

# One requirement a line; with `|`, the first one that this release of the distribution has (Debian 12, Debian 13,
# Ubuntu 24.04 carry different Boost versions).
build_packages='
clang-19
clang-tidy-19
clang-format-19
lld-19
libclang-rt-19-dev
cmake
ninja-build
ccache
pkg-config
libboost1.81-dev|libboost1.83-dev|libboost1.88-dev
libboost-json1.81-dev|libboost-json1.83-dev|libboost-json1.88-dev
libsimdjson-dev
libyaml-cpp-dev
libpugixml-dev
libsoci-dev
libsqlite3-dev
libssl-dev
libspdlog-dev
libfmt-dev
libcli11-dev
libgtest-dev
libgmock-dev
libbenchmark-dev
libre2-dev
libzstd-dev
zlib1g-dev
libxxhash-dev
libarchive-dev
libnghttp2-dev
libbz2-dev
liblzma-dev
liblz4-dev
prometheus-cpp-dev
bubblewrap
sqlite3
python3
python3-venv
'
# Ubuntu's chromium is a snap, which apt cannot install everywhere: there the tests of the web UI are skipped unless a
# browser is on PATH.
# The -core package of MariaDB has the programs and no system service that would start by itself.
# podman runs the tests' containers; runc starts them also where control groups of both versions are in use, which crun
# does not. Their image is made of busybox and openssl: no registry is asked.
test_packages='
chromium
shellcheck
mariadb-server-core
mariadb-client-core
podman
runc
busybox-static|busybox
openssl
'
# For the dashboard's pages; not asked for where Node.js of another origin is on PATH.
web_packages='
nodejs
npm
'
bench_packages='
wrk
nginx-light
'

wanted=$build_packages
python=1
test=0
for arg in "$@"; do
  case $arg in
    --no-python) python=0 ;;
    --test)
      wanted+=$test_packages
      test=1
      ;;
    --bench) wanted+=$bench_packages ;;
    -h | --help)
      sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
      exit 0
      ;;
    *) die "unknown option $arg" "scripts/setup.sh --help lists the options" ;;
  esac
done

# Two set-ups at once would fight over the same folder.
mkdir -p build/logs
exec 9>build/.setup-lock
if ! flock -n 9; then
  say "another set-up is running in this folder; waiting for it ..."
  flock 9
fi

# ---- system packages -------------------------------------------------------------------------------------------

# as_root COMMAND...: apt needs root; a user gets there by sudo.
as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  else
    sudo "$@"
  fi
}

apt_get() {
  # --no-remove: never trade a package of the user's for one of ours. The lock timeout waits for an unattended upgrade.
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -y --no-remove --no-install-recommends \
    -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0 -o APT::Color=0 "$@"
}

# missing_requirements: prints each line of $wanted none of whose alternatives is installed. One dpkg call for all.
missing_requirements() {
  local installed line name found
  # shellcheck disable=SC2086  # the list is split into words on purpose
  installed=$(dpkg-query -W -f '${db:Status-Abbrev}${Package}\n' ${wanted//|/ } 2>/dev/null | sed -n 's/^.i //p' || true)
  for line in $wanted; do
    found=0
    for name in ${line//|/ }; do
      case $'\n'$installed$'\n' in *$'\n'"$name"$'\n'*) found=1 ;; esac
    done
    [ "$found" = 1 ] || printf '%s\n' "$line"
  done
}

# available NAME: apt knows an installable version of it.
available() {
  local policy
  policy=$(apt-cache policy "$1" 2>/dev/null)
  [[ $policy == *"Candidate: "* && $policy != *"Candidate: (none)"* ]]
}

install_system_packages() {
  local missing choice chosen=() line name
  missing=$(missing_requirements)
  [ -n "$missing" ] || return 0
  say "missing system packages:" "$(printf '%s' "$missing" | sed 's/|.*//' | tr '\n' ' ')"

  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null 2>&1 || die "installing packages needs root, and there is no sudo on this machine" \
      "as root, run: apt-get install $(printf '%s' "$missing" | sed 's/|.*//' | tr '\n' ' ')" \
      "then run this again"
    sudo -v || die "sudo was refused; these packages need an administrator"
  fi

  run_step "apt-get update" build/logs/apt-update.log apt_get update ||
    die "apt-get update failed" "check the network and /etc/apt, then run this again"

  for line in $missing; do
    choice=
    for name in ${line//|/ }; do
      if available "$name"; then
        choice=$name
        break
      fi
    done
    if [ -z "$choice" ] && [ "$line" = chromium ]; then
      touch "$no_browser"
      continue
    fi
    [ -n "$choice" ] || die "this distribution has no package $line" \
      "Millrace is built on Debian 12, Debian 13 or Ubuntu 24.04 (with 'universe' and 'updates' enabled)"
    chosen+=("$choice")
  done

  ((${#chosen[@]} > 0)) || return 0
  run_step "installing ${#chosen[@]} package(s)" build/logs/apt-install.log apt_get install "${chosen[@]}" ||
    die "apt-get could not install: ${chosen[*]}" \
      "the whole log is build/logs/apt-install.log" \
      "if it says that a package would have to be removed (an older libboost-dev, for example), decide that yourself:" \
      "  apt-get install ${chosen[*]}"
}

# tests/ui looks for the same names.
no_browser=build/no-browser
if [ "$test" = 1 ]; then
  for browser in chromium chromium-browser google-chrome-stable google-chrome; do
    # Ubuntu's chromium-browser of apt is a script that asks for the snap.
    if command -v "$browser" >/dev/null 2>&1 && "$browser" --version >/dev/null 2>&1 </dev/null; then
      wanted=${wanted/chromium/}
      rm -f "$no_browser"
      break
    fi
  done
  if [ -e "$no_browser" ]; then wanted=${wanted/chromium/}; fi
fi

if ! { npm --version && node --version | grep -E '^v(1[89]|[2-9][0-9])\.'; } >/dev/null 2>&1 </dev/null; then
  wanted+=$web_packages
fi

if [ "${MILLRACE_SETUP_APT:-1}" != 0 ]; then
  if ! command -v apt-get >/dev/null 2>&1 || ! command -v dpkg-query >/dev/null 2>&1; then
    die "this machine has no apt: only Debian and Ubuntu are set up automatically" \
      "install the counterparts of the packages listed at the top of scripts/setup.sh," \
      "then run again with MILLRACE_SETUP_APT=0"
  fi
  install_system_packages
fi

if [ "$test" = 1 ] && [ -e "$no_browser" ]; then
  say "no browser: this distribution packs none that apt installs, so the tests of the web UI will be skipped" \
    "(snap install chromium, or Google's own package, and run this again)"
fi

# ---- Packages of the web pages ---------------------------------------------------------------------------------

if command -v npm >/dev/null 2>&1; then
  run_step "installing the packages of the web pages" build/logs/web-install.log scripts/web.sh --install ||
    say "warning: npm could not install them (build/logs/web-install.log): the program is built without its pages"
fi

[ "$python" = 1 ] || exit 0

# ---- Python environment ----------------------------------------------------------------------------------------

# The distribution's interpreter: apt has just made sure of it and of its venv module, whatever else is on PATH.
py=/usr/bin/python3
[ -x "$py" ] || py=$(command -v python3) || die "there is no python3 on this machine" "install Python 3.11 or newer"
"$py" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
  die "$("$py" -V) is too old" "the Python packages are locked for Python 3.11 and newer"

uv_pin=$(cat python/uv.version)
uv_home=build/tools/uv
uv=$uv_home/bin/uv

# uv has a private home in the build folder, so that nothing depends on one that was installed by hand.
ensure_uv() {
  if [ "$("$uv" --version 2>/dev/null | cut -d' ' -f2)" != "$uv_pin" ]; then
    rm -rf "$uv_home"
    run_step "making a folder for uv" build/logs/uv-venv.log "$py" -m venv "$uv_home" ||
      die "python3 -m venv failed" "on Debian and Ubuntu: apt-get install python3-venv"
    run_step "installing uv $uv_pin" build/logs/uv-install.log \
      "$uv_home/bin/python" -m pip install --disable-pip-version-check --quiet "uv==$uv_pin" ||
      die "pip could not install uv" "check the network (and pip's configuration, if this network has an index of its own)"
  fi
  # A network with an index of its own usually tells pip about it; uv reads other names.
  if [ -n "${PIP_INDEX_URL:-}" ] && [ -z "${UV_DEFAULT_INDEX:-}" ]; then export UV_DEFAULT_INDEX=$PIP_INDEX_URL; fi
  export UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=${UV_LINK_MODE:-hardlink} UV_HTTP_TIMEOUT=${UV_HTTP_TIMEOUT:-180}
  # uv brings certificates of its own and would not know the authority of a company's proxy, which the system knows.
  if [ -e /etc/ssl/certs/ca-certificates.crt ]; then export UV_SYSTEM_CERTS=${UV_SYSTEM_CERTS:-1}; fi
  unset VIRTUAL_ENV
}

# environment FOLDER LOCK: a Python environment with exactly the packages of the lock.
environment() {
  local folder=$1 lock=$2 stamp
  # What it was made from. Another lock, interpreter or place (a venv cannot be moved) makes it anew.
  stamp="$(sha256sum <"$lock") $("$py" -V) $root"
  if [ -x "$folder/bin/python" ] && [ "$(cat "$folder/.millrace-stamp" 2>/dev/null)" = "$stamp" ]; then return 0; fi
  ensure_uv
  run_step "making $folder" build/logs/venv.log "$uv" venv --quiet --clear --python "$py" "$folder" ||
    die "uv could not make $folder" "delete that folder and run this again"
  run_step "installing the packages of $lock" build/logs/venv-install.log \
    "$uv" pip sync --require-hashes --python "$folder/bin/python" "$lock" ||
    die "uv could not install the packages of $lock" \
      "check the network, then run this again; the whole log is build/logs/venv-install.log"
  printf '%s' "$stamp" >"$folder/.millrace-stamp"
  say "Python environment ready: $folder"
}

environment .venv python/requirements.lock
[ "$test" = 1 ] || exit 0
# The KServe SDK wants other versions of what MLflow's environment has.
environment build/tools/kserve-env python/kserve.lock
# Other versions of what trains models, for tests/serving/matrix.
if ! .venv/bin/python tests/serving/matrix/environments.py check; then
  ensure_uv
  run_step "making the environments of the model matrix" build/logs/matrix-envs.log \
    .venv/bin/python tests/serving/matrix/environments.py make ||
    die "uv could not make the environments of the model matrix" "check the network, then run this again"
fi
run_step "making the environment of the ONNX tests" build/logs/onnx-env.log \
  .venv/bin/python -m tests.serving.onnx.environment make ||
  die "uv could not make the environment of the ONNX tests" "check the network, then run this again"

# ---- clients of the Kubernetes API -----------------------------------------------------------------------------

tools=build/tools/bin

# newer_than MAJOR MINOR TEXT: the first version number in TEXT is at least MAJOR.MINOR.
newer_than() {
  [[ $3 =~ ([0-9]+)\.([0-9]+) ]] || return 1
  ((BASH_REMATCH[1] > $1 || (BASH_REMATCH[1] == $1 && BASH_REMATCH[2] >= $2)))
}

# client NAME MAJOR MINOR PACKAGE: NAME on PATH if it is new enough, else built from the locked module tests/tools/NAME.
client() {
  local name=$1 major=$2 minor=$3 package=$4 stamp version
  version=$("$name" version --client 2>/dev/null) || version=
  if newer_than "$major" "$minor" "$version"; then return 0; fi
  stamp=$(sha256sum <"tests/tools/$name/go.sum")
  if [ -x "$tools/$name" ] && [ "$(cat "$tools/$name.stamp" 2>/dev/null)" = "$stamp" ]; then return 0; fi
  # 1.21 was the first Go that fetches a newer one of itself where a module asks for it.
  if ! command -v go >/dev/null 2>&1 || ! newer_than 1 21 "$(GOTOOLCHAIN=local go version)"; then
    say "warning: the tests need $name $major.$minor or newer, and building it needs Go 1.21 or newer, which is not here." \
      "Install either, then run this again: golang-1.24 of Debian 13, of Ubuntu, or of bookworm-backports on Debian 12;" \
      "or https://go.dev/dl; or $name itself."
    return 0
  fi
  mkdir -p "$tools"
  run_step "building $name from source" "build/logs/build-$name.log" \
    env -C "tests/tools/$name" GOTOOLCHAIN=auto GOFLAGS=-mod=readonly \
    go build -trimpath -ldflags '-s -w' -o "$root/$tools/$name" "$package" ||
    die "go could not build $name" "the whole log is build/logs/build-$name.log"
  printf '%s' "$stamp" >"$tools/$name.stamp"
}

client kubectl 1 28 .
client helm 3 14 helm.sh/helm/v3/cmd/helm
