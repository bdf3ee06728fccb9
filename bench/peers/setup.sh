#!/bin/bash
# Makes the peers that benchmarks and parity tests compare with: a virtual environment, and LIBMF built with AVX from
# the sources in its PyPI package. What is there already and up to date is kept.
set -eu
cd "$(dirname "$0")/../.."
. tests/setup.sh

usage() {
    cat <<TEXT
usage: bench/peers/setup.sh [--tests]

Makes build/peers (Python packages of bench/peers/requirements.txt, and libmf/: mf.h, libmf.a) and prints the Python
to use. With --tests only what the parity tests need, in build/peers-tests, unless build/peers is there already.
TEXT
}
LIBMF_VERSION=0.9.2
LIBMF_FLAGS="-O3 -march=native -DUSEAVX -DUSEOMP -fopenmp -std=c++11"

make_libmf() {
    local dir=build/peers/libmf work=build/peers/libmf.part
    [ ! -f "$dir/libmf.a" ] || return 0
    command -v c++ >/dev/null || { echo "no C++ compiler: LIBMF is left out" >&2; return 0; }
    rm -rf "$work"
    mkdir -p "$work"
    build/peers/bin/pip download --quiet --disable-pip-version-check --no-deps --no-binary :all: -d "$work" \
        "libmf==$LIBMF_VERSION"
    tar -xzf "$work/libmf-$LIBMF_VERSION.tar.gz" -C "$work" --strip-components=1
    # shellcheck disable=SC2086
    c++ $LIBMF_FLAGS -w -c "$work/src_cpp/mf.cpp" -o "$work/mf.o"
    ar rcs "$work/libmf.a" "$work/mf.o"
    cp "$work/src_cpp/mf.h" "$work/mf.h"
    echo "$LIBMF_FLAGS" >"$work/flags"
    mv "$work" "$dir"
}

has_surprise() { [ -x "$1/bin/python" ] && "$1/bin/python" -c 'import surprise' 2>/dev/null; }

case ${1:-} in
--tests)
    dir=build/peers
    if ! has_surprise "$dir"; then
        dir=build/peers-tests
        python_env $dir bench/peers/requirements-tests.txt || stop "the peers could not be installed (is PyPI reachable?)"
    fi
    ;;
'')
    dir=build/peers
    python_env $dir bench/peers/requirements.txt || stop "the peers could not be installed (is PyPI reachable?)"
    make_libmf
    ;;
-h | --help) usage; exit 0 ;;
*) usage >&2; exit 2 ;;
esac
echo "$PWD/$dir/bin/python"
