# Shared by the scripts beside this folder; sourced, never run.
# shellcheck shell=bash

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

say() { printf '==> %s\n' "$*"; }

fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# need_swift: stops with a clear message where there is no toolchain that can build the package.
need_swift() {
    command -v swift >/dev/null 2>&1 \
        || fail "no Swift toolchain on PATH; install Swift 6.3 or newer for Linux (swift.org) and try again"
    local version
    version=$(swift --version 2>/dev/null | sed -n 's/.*Swift version \([0-9]*\.[0-9]*\).*/\1/p' | head -n 1)
    [ "$(printf '%s\n6.3\n' "$version" | sort -V | head -n 1)" = "6.3" ] \
        || fail "Swift $version is too old; Turnpike needs 6.3 or newer"
}

# need_packages NAME...: installs the Debian packages that are missing. Without root it lists them and stops.
need_packages() {
    command -v dpkg-query >/dev/null 2>&1 || {
        say "not a Debian system; expecting the equivalents of these packages to be there: $*"
        return 0
    }
    local missing=() name
    for name in "$@"; do
        dpkg-query -W -f='${db:Status-Status}\n' "$name" 2>/dev/null | grep -qx installed || missing+=("$name")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    local asRoot=()
    if [ "$(id -u)" -ne 0 ]; then
        if command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
            asRoot=(sudo -n)
        else
            fail "these Debian packages are missing and only root may install them; please run:
    apt-get update && apt-get install --no-install-recommends ${missing[*]}"
        fi
    fi
    if [[ " ${missing[*]} " == *" postgresql "* ]]; then
        no_main_cluster "${asRoot[@]}"
    fi
    say "installing Debian packages: ${missing[*]}"
    "${asRoot[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq update </dev/null \
        || say "apt-get update failed; trying with the package lists that are there"
    "${asRoot[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq -y -o Dpkg::Use-Pty=0 install --no-install-recommends "${missing[@]}" </dev/null \
        || fail "apt-get could not install: ${missing[*]}"
}

# no_main_cluster [SUDO...]: keeps the package from making and starting a cluster that Turnpike doesn't use.
no_main_cluster() {
    local settings=/etc/postgresql-common/createcluster.conf
    if grep -Eqs '^[[:space:]]*create_main_cluster[[:space:]=]' "$settings"; then
        return 0
    fi
    say "writing 'create_main_cluster = false' into $settings: the package is to start no server of its own"
    "$@" mkdir -p "${settings%/*}"
    printf 'create_main_cluster = false\n' | "$@" tee -a "$settings" >/dev/null
}

# need_build_packages: what building and running Turnpike takes beside the toolchain.
need_build_packages() {
    need_packages git ca-certificates pkg-config libpq-dev tzdata postgresql postgresql-client \
        libpango1.0-dev libcairo2-dev fonts-dejavu-core fonts-droid-fallback
}

releaseOptions=() # for the caller

# release_options: sets releaseOptions for `swift build`. The binary carries Swift's libraries where the toolchain has them.
release_options() {
    releaseOptions=(-c release)
    local resources
    resources=$(swift -print-target-info | sed -n 's/.*"runtimeResourcePath": "\(.*\)".*/\1/p')
    if [ -d "${resources}_static" ]; then
        releaseOptions+=(--static-swift-stdlib)
    fi
}

# python_virtual_environment FOLDER: makes or refreshes a virtual environment with the pinned test tools.
python_virtual_environment() {
    local folder=$1 wanted python=""
    wanted=$(cat "$root/scripts/requirements.txt" "$root/scripts/constraints.txt" | sha256sum | cut -d' ' -f1)
    if [ "$(cat "$folder/.requirements" 2>/dev/null)" = "$wanted" ] && "$folder/bin/python" -c '' 2>/dev/null; then
        return 0
    fi
    local candidate
    for candidate in python3 /usr/bin/python3; do
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            python=$candidate
            break
        fi
    done
    [ -n "$python" ] || fail "Python 3.11 or newer with its venv module is needed (Debian: python3-venv)"
    say "installing into $folder with pip: $(grep -v '^#' "$root/scripts/requirements.txt" | tr '\n' ' ')"
    # The marker is there from the start, so that a run that was interrupted can be repeated.
    if [ -f "$folder/.requirements" ] && [ -f "$folder/pyvenv.cfg" ]; then
        rm -rf "$folder"
    elif [ -n "$(find "$folder" -mindepth 1 ! -name .requirements -print -quit 2>/dev/null)" ]; then
        fail "$folder is not a virtual environment made by these scripts; remove it or name another folder"
    fi
    mkdir -p "$folder"
    printf 'incomplete\n' >"$folder/.requirements"
    "$python" -m venv "$folder"
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check --no-input \
        -r "$root/scripts/requirements.txt" -c "$root/scripts/constraints.txt" </dev/null \
        || fail "pip could not install the test tools"
    printf '%s\n' "$wanted" >"$folder/.requirements"
}

# postgres_bin: prints the folder of the newest PostgreSQL server's programs.
postgres_bin() {
    local folder
    folder=$(find /usr/lib/postgresql -mindepth 3 -maxdepth 3 -name initdb -printf '%h\n' 2>/dev/null | sort -V | tail -n 1)
    if [ -z "$folder" ] && command -v pg_config >/dev/null 2>&1 && [ -x "$(pg_config --bindir)/initdb" ]; then
        folder=$(pg_config --bindir)
    fi
    [ -n "$folder" ] || fail "no PostgreSQL server programs (initdb) found"
    printf '%s\n' "$folder"
}
