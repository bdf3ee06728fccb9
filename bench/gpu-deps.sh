#!/bin/bash
# Gathers what Reel's library links, as static copies with headers, for a machine without a network: bench/gpu.sh there
# finds them. From Debian's packages, which are installed here if need be.
set -eu
cd "$(dirname "$0")/.."
case ${1:-} in
-h | --help)
    echo "usage: bench/gpu-deps.sh [FOLDER]     (default: gpu-deps; below 40 MiB)"
    exit 0 ;;
esac
out=${1:-gpu-deps}
. tests/setup.sh
need_packages libjansson-dev libxxhash-dev libopenblas-serial-dev gfortran binutils

mkdir -p "$out/include" "$out/lib"
first() { # the first of these files that exists
    local file
    for file in "$@"; do [ ! -f "$file" ] || { echo "$file"; return 0; }; done
    stop "none of these files is there: $*"
}
multiarch=$(gcc -print-multiarch)
blas_include=$(first /usr/include/"$multiarch"/openblas-serial/cblas.h /usr/include/"$multiarch"/openblas*/cblas.h)
blas=$(first /usr/lib/"$multiarch"/openblas-serial/libopenblas-r*.a /usr/lib/"$multiarch"/openblas*/libopenblas*-r*.a)
cp /usr/include/jansson.h /usr/include/jansson_config.h "$out/include/" 2>/dev/null ||
    cp /usr/include/jansson.h "$(first /usr/include/"$multiarch"/jansson_config.h)" "$out/include/"
cp /usr/include/xxhash.h "$(first /usr/include/xxh3.h)" "$out/include/"
cp "$(dirname "$blas_include")"/{cblas.h,openblas_config.h} "$out/include/"
cp /usr/lib/"$multiarch"/libjansson.a /usr/lib/"$multiarch"/libxxhash.a "$out/lib/"
# OpenBLAS carries kernels for every processor: half the size without its symbols for debuggers, a quarter packed.
cp "$blas" "$out/lib/libopenblas.a"
strip --strip-debug "$out/lib/libopenblas.a"
# Its LAPACK is Fortran, and the other machine may have no gfortran.
for name in gfortran quadmath; do cp "$(gcc -print-file-name=lib$name.a)" "$out/lib/lib${name}_copy.a"; done
strip --strip-debug "$out"/lib/lib*_copy.a
echo "GROUP(-lgfortran_copy -lquadmath_copy)" > "$out/lib/libgfortran.a"
gzip -9 -f "$out/lib/libopenblas.a"
size=$(du -sm "$out" | cut -f1)
[ "$size" -lt 40 ] || stop "$out has $size MiB: more than the 40 that a slow way allows"
echo "$out: $size MiB; take it and this folder along, then run there: bench/gpu.sh $out"
