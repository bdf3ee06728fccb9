# Sourced by demo.sh, test.sh and bench/*.sh from the top folder: packages, builds, Python environments.
#
# Honoured: CC, REEL_CUDA (AUTO, ON, OFF), REEL_SERVE (ON, OFF), REEL_CMAKE_ARGS (more words for cmake).
# shellcheck shell=bash disable=SC2034

REEL_BUILD_PACKAGES="build-essential cmake ninja-build pkg-config libjansson-dev libxxhash-dev libopenblas-dev \
libzip-dev"
[ "${REEL_SERVE:-ON}" = OFF ] || REEL_BUILD_PACKAGES="$REEL_BUILD_PACKAGES libmicrohttpd-dev libsqlite3-dev nettle-dev"
REEL_TEST_PACKAGES="python3 python3-dev python3-venv"
# Tests that need one of these are skipped without it.
REEL_WANTED_PACKAGES="openssl"
[ "${REEL_SERVE:-ON}" = OFF ] || REEL_WANTED_PACKAGES="$REEL_WANTED_PACKAGES chromium"
REEL_JOBS=$(nproc 2>/dev/null || echo 2)

stop() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

# need_packages NAME...: installs those that dpkg does not know as installed. Elsewhere than on Debian and its kin
# it only says what is needed: cmake will name what it then misses.
need_packages() {
    local missing="" package as_root=""
    if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
        echo "This is no Debian: the equivalents of these packages must be there: $*"
        return 0
    fi
    for package in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
            missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || stop "missing packages; as root run: apt-get install$missing"
        as_root=sudo
    fi
    echo "installing$missing"
    # The lists may be old or absent: try with what is there, then with fresh ones.
    local install="$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends$missing"
    $install >/dev/null 2>&1 || { $as_root apt-get update -q >/dev/null && $install >/dev/null; } ||
        stop "apt-get could not install$missing (is there a network?)"
}

# configure PRESET [ARG]...: into build/PRESET, or the folder after --into.
configure() {
    local preset=$1 dir=build/$1
    shift
    if [ "${1:-}" = --into ]; then
        dir=$2
        shift 2
    fi
    set -- -B "$dir" -DREEL_CUDA="${REEL_CUDA:-AUTO}" -DREEL_SERVE="${REEL_SERVE:-ON}" -DREEL_TESTS=ON \
        -DREEL_BENCH=ON "$@"
    case $preset in release) ;; *) set -- "$@" -DREEL_CUDA=OFF -DREEL_BENCH=OFF ;; esac
    if [ ! -f "$dir/CMakeCache.txt" ] && command -v ninja >/dev/null; then set -- -G Ninja "$@"; fi
    # shellcheck disable=SC2086
    cmake --preset "$preset" "$@" ${REEL_CMAKE_ARGS:-}
}

# A compiler cache, where there is one, for every configure that follows.
if command -v ccache >/dev/null && [ -z "${CMAKE_C_COMPILER_LAUNCHER:-}" ]; then
    export CMAKE_C_COMPILER_LAUNCHER=ccache CMAKE_CUDA_COMPILER_LAUNCHER=ccache
    export CCACHE_BASEDIR="${CCACHE_BASEDIR:-$PWD}" CCACHE_NOHASHDIR=1
fi

# python_env DIR REQUIREMENTS [ARG]...: a virtual environment, made or brought up to date only when the requirements
# changed; non-zero when PyPI cannot be reached.
python_env() {
    local dir=$1 requirements=$2 stamp=$1/.requirements
    shift 2
    if [ -x "$dir/bin/python" ] && cmp -s "$requirements" "$stamp" && "$dir/bin/python" -c '' 2>/dev/null; then
        return 0
    fi
    rm -rf "$dir"
    python3 -m venv "$dir" &&
        "$dir/bin/pip" install --quiet --disable-pip-version-check --retries 1 --timeout 20 "$@" -r "$requirements" &&
        cp "$requirements" "$stamp" && return 0
    rm -rf "$dir"
    return 1
}
