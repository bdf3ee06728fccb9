#!/bin/sh
# check_install.sh WHAT BUILD_DIR SOURCE_DIR CC [CMAKE]: installs the build into a prefix of its own, moves the prefix
# (it must be relocatable) and uses it as a stranger would. WHAT is prefix, exports, pkgconfig or package.
# Exit 77: the tools for this are not here.
set -eu
what=$1 build=$2 source=$3 cc=$4 cmake=${5:-cmake}
work=$build/install-test
prefix=$work/moved
data=$source/data/ml-latest-small

skip() {
    echo "skipped: $*"
    exit 77
}
compile() {
    echo "+ $*"
    "$@"
}

case $what in
prefix)
    rm -rf "$work"
    "$cmake" --install "$build" --prefix "$work/first" >/dev/null
    mv "$work/first" "$prefix"
    for file in bin/reel include/reel/reel.h lib*/libreel.a lib*/libreel.so; do
        # shellcheck disable=SC2086
        [ -e "$prefix"/$file ] || { echo "$file was not installed"; find "$prefix"; exit 1; }
    done
    "$prefix/bin/reel" --version
    ! grep -rl "$source" "$prefix" --include='*.cmake' --include='*.pc' || {
        echo "the files above name the source tree"
        exit 1
    }
    ;;
exports)
    command -v nm >/dev/null || skip "nm was not found"
    names=$(nm -D --defined-only "$prefix"/lib*/libreel.so | sed 's/.* //')
    strangers=$(echo "$names" | grep -v '^reel_[a-z0-9_]*$') || true
    [ -z "$strangers" ] || { echo "exported, but not reel_*:"; echo "$strangers"; exit 1; }
    # What is exported is what the public headers declare.
    declared=$(cat "$source"/include/reel/*.h | tr '\n' ' ' | grep -oE 'REEL_API [^;]*' |
        sed -E 's/.*[ *](reel_[a-z0-9_]+)\(.*/\1/;s/\(.*//' | grep -oE 'reel_[a-z0-9_]+' | sort -u)
    for name in $names; do
        echo "$declared" | grep -qx "$name" || { echo "$name is exported, but no public header declares it"; exit 1; }
    done
    for name in $declared; do
        echo "$names" | grep -qx "$name" || { echo "$name is declared, but not exported"; exit 1; }
    done
    echo "$(echo "$names" | wc -l) functions"
    ;;
pkgconfig)
    command -v pkg-config >/dev/null || skip "pkg-config was not found"
    PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name reel.pc)")
    export PKG_CONFIG_PATH
    libs=$(pkg-config --variable=libdir reel)
    cp "$source/tests/install/consumer/consumer.c" "$work/consumer.cc"
    # shellcheck disable=SC2046
    compile "$cc" -std=c17 -Wall -Wextra -Wpedantic -Werror "$source/tests/install/consumer/consumer.c" \
        -o "$work/c_shared" $(pkg-config --cflags --libs reel)
    LD_LIBRARY_PATH=$libs "$work/c_shared" "$data" "$work"
    static=$(pkg-config --static --libs reel | sed 's/-lreel\b/-l:libreel.a/')
    # shellcheck disable=SC2046,SC2086
    compile "$cc" -std=c17 "$source/tests/install/consumer/consumer.c" -o "$work/c_static" \
        $(pkg-config --cflags reel) $static
    "$work/c_static" "$data" "$work"
    command -v c++ >/dev/null || skip "the C part passed, but there is no C++ compiler"
    # shellcheck disable=SC2046
    compile c++ -std=c++17 -Wall -Wextra -Wpedantic -Werror "$work/consumer.cc" -o "$work/cxx_shared" \
        $(pkg-config --cflags --libs reel)
    LD_LIBRARY_PATH=$libs "$work/cxx_shared" "$data" "$work"
    # shellcheck disable=SC2046,SC2086
    compile c++ -std=c++17 "$work/consumer.cc" -o "$work/cxx_static" $(pkg-config --cflags reel) $static
    "$work/cxx_static" "$data" "$work"
    ;;
package)
    cxx=OFF
    ! command -v c++ >/dev/null || cxx=ON
    "$cmake" -S "$source/tests/install/consumer" -B "$work/package" -DCMAKE_PREFIX_PATH="$prefix" \
        -DCMAKE_C_COMPILER="$cc" -DCONSUMER_CXX=$cxx -DCONSUMER_DATA="$data"
    "$cmake" --build "$work/package"
    [ $cxx = ON ] || skip "the C part passed, but there is no C++ compiler"
    ;;
*)
    echo "unknown part '$what'" >&2
    exit 2
    ;;
esac
