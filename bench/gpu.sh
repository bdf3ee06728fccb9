#!/bin/bash
# Everything about the CUDA backend in one go: builds for the GPU that is there, runs the operators' tests, looks for bad
# accesses and races in small cases, makes the 20 M twin, runs every benchmark and holds it against measured ceilings.
# Needs nvcc, CMake and gcc, no network and no Python; below nine minutes. Says what it left out, and why.
set -u
cd "$(dirname "$0")/.." || exit
case ${1:-} in
-h | --help)
    cat <<TEXT
usage: bench/gpu.sh [FOLDER]

  FOLDER   static copies of the libraries, from bench/gpu-deps.sh (default: gpu-deps if it is there, else the system's)

Honoured: REEL_GPU_MINUTES (9), REEL_GPU_RATINGS (20000263: the twin's), REEL_GPU_BUILD (a folder with what this
script built elsewhere, for the same chip: nothing is built), REEL_RESULTS (bench/results), CUDACXX, CC.
TEXT
    exit 0 ;;
esac

begin=$(date +%s)
minutes=${REEL_GPU_MINUTES:-9} ratings=${REEL_GPU_RATINGS:-20000263}
deps=${1:-gpu-deps} build=${REEL_GPU_BUILD:-build/gpu} work=${TMPDIR:-/tmp}/reel-gpu.$$ cores=$(nproc)
results=${REEL_RESULTS:-bench/results} left_out=0 failed=0
mkdir -p "$work" "$results" build
trap 'rm -rf "$work"' EXIT

left() { echo $((minutes * 60 - ($(date +%s) - begin))); }
say() { echo "== $* ($(left) s left)"; }
skip() { # WHAT WHY
    echo "skipped: $1: $2"
    left_out=$((left_out + 1))
}
fail() {
    echo "FAILED: $*"
    failed=$((failed + 1))
}
# within SECONDS COMMAND...: at most that long, and not past the end
within() {
    local most=$1 rest
    shift
    rest=$(left)
    [ "$rest" -gt 5 ] || return 124
    timeout $((most < rest ? most : rest)) "$@"
}

# ---- the build ----

command -v cmake >/dev/null || { echo "gpu.sh: cmake is needed"; exit 1; }
nvcc=${CUDACXX:-$(command -v nvcc || ls /usr/local/cuda/bin/nvcc 2>/dev/null || true)}
with_cuda=ON architectures=90
[ -n "$nvcc" ] || { with_cuda=OFF; skip "the CUDA backend" "no nvcc on PATH, in CUDACXX or in /usr/local/cuda/bin"; }
smi=$(command -v nvidia-smi || true)
gpu=""
if [ -n "$smi" ]; then
    gpu=$("$smi" --query-gpu=name --format=csv,noheader 2>/dev/null | head -n 1)
    capability=$("$smi" --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -n 1 | tr -d .)
    case $capability in [0-9]*) architectures=$capability ;; esac
fi
arguments=(-DCMAKE_BUILD_TYPE=Release -DREEL_SERVE=OFF "-DREEL_CUDA=$with_cuda" -DREEL_TESTS=ON -DREEL_BENCH=ON
    "-DREEL_CUDA_ARCHITECTURES=$architectures")
[ -z "$nvcc" ] || export CUDACXX=$nvcc
tests="test_device_factors test_device_all test_device_spectral test_sgd_epoch test_topk test_tree_sums test_tree_splits test_forest_score test_transfers"
build_all() {
    if [ -d "$deps" ]; then
        deps=$(cd "$deps" && pwd)
        [ ! -f "$deps/lib/libopenblas.a.gz" ] || gzip -dkf "$deps/lib/libopenblas.a.gz" || fail "unpacking OpenBLAS"
        arguments+=("-DCMAKE_PREFIX_PATH=$deps")
        export LIBRARY_PATH=$deps/lib${LIBRARY_PATH:+:$LIBRARY_PATH}
    else
        echo "no folder $deps: with this machine's own libraries"
    fi
    command -v ninja >/dev/null && [ ! -f "$build/CMakeCache.txt" ] && arguments+=(-G Ninja)
    say "building for ${gpu:-no GPU} (sm_$architectures)"
    if ! cmake -S . -B "$build" "${arguments[@]}" >"$work/configure.log" 2>&1; then
        tail -n 20 "$work/configure.log"
        echo "gpu.sh: cmake could not configure"
        exit 1
    fi
    # Not the shared library: static Fortran code does not fit into one.
    # shellcheck disable=SC2086
    if ! within $((minutes * 35)) cmake --build "$build" -j "$cores" --target reel bench_transfers $tests >"$work/build.log" 2>&1; then
        grep -E "error:|warning:|ld:" "$work/build.log" | cut -c1-300 | head -n 20
        echo "gpu.sh: the build failed or took longer than the time there is"
        exit 1
    fi
}
if [ -n "${REEL_GPU_BUILD:-}" ]; then
    say "with the build in $build"
else
    build_all
fi
case $build in /*) ;; *) build=$PWD/$build ;; esac
reel=$build/reel
"$reel" doctor | sed 's/^/  /'
works=1
"$reel" doctor --device cuda >/dev/null 2>"$work/why" || works=0
why=$(sed 's/^reel: //' "$work/why" | head -n 1)

# ---- tests ----

say "operators against the CPU"
for test in $tests; do
    { within 120 "$build/tests/$test" >"$work/$test.log" 2>&1; echo $? >"$work/$test.rc"; } &
done
wait
for test in $tests; do
    if [ "$(cat "$work/$test.rc")" = 0 ]; then
        echo "  $test: $(grep -c '^ok' "$work/$test.log") passed, $(grep -c '^skip' "$work/$test.log") skipped"
    else
        fail "$test (exit status $(cat "$work/$test.rc"))"
        grep -v '^ok' "$work/$test.log" | tail -n 5
    fi
done
[ $works = 1 ] || skip "the rows on CUDA" "$why"

# ---- figures ----

cpu=$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | head -n 1 | tr -s ' ,' '  ')
commit=$(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
machine=$(echo "${gpu:-no-gpu}" | tr '[:upper:]' '[:lower:]' | tr -cs 'a-z0-9\n' '-' | sed 's/^-*//; s/-*$//; s/nvidia-//')
csv=$results/$machine.csv
# Appends the `row,` lines of stdin in the columns of bench/rows.py, and shows them.
collect() {
    local line
    [ -f "$csv" ] || echo "date,commit,cpu,cores,threads,benchmark,parameters,ours,peer,peer_value,unit,ratio" >"$csv"
    while IFS= read -r line; do
        case $line in
        row,*)
            echo "$(date -u +%Y-%m-%dT%H:%M:%SZ),$commit,$cpu with $gpu,$cores,$(echo "${line#row,}" |
                awk -F, -v OFS=, '{ print $3 == "" ? "" : $2, $1, $3, $4, $5, $6, $7, $6 == "" ? "" : sprintf("%.3g", $6 / $4) }')" >>"$csv"
            echo "  ${line#row,}" ;;
        *) echo "  $line" ;;
        esac
    done
}
row() { # BENCHMARK PARAMETERS VALUE UNIT
    [ -n "$3" ] || { fail "no figure for $1"; return; }
    echo "row,$1,$cores,$2,$3,,,$4" | collect
}
number() { grep -o "\"$2\":[-0-9.e+]*" "$1" | head -n 1 | cut -d: -f2; }
# The median of the epochs' seconds behind the first, in ms.
epoch_ms() {
    grep -o '"seconds":[0-9.e-]*' "$1" | cut -d: -f2 | tail -n +3 | sort -g |
        awk '{ v[NR] = $1 } END { if (NR) printf "%.3f", 1000 * v[int((NR + 1) / 2)] }'
}
# share NAME WORK(G) RATE(G/s) MILLISECONDS: how much of the measured ceiling a figure reaches
share() {
    [ -n "$4" ] && [ -n "$3" ] || return 0
    row "$1 roofline" "share of the measured ceiling" \
        "$(awk -v w="$2" -v r="$3" -v ms="$4" 'BEGIN { printf "%.1f", 100 * w / r / (ms / 1000) }')" "%"
}

# Bad accesses and races, in what time the figures leave.
sanitize_test() { # TOOL TEST
    REEL_TEST_SMALL=1 within 25 "$sanitizer" --tool "$1" --error-exitcode 9 "$build/tests/$2" >"$work/$1.log" 2>&1
    case $? in
    0) echo "  $1 $2: clean" ;;
    124) skip "$1 of $2" "not done in 25 s, or out of time" ;;
    *)
        if grep -qi "not supported\|unable to\|failed to initialize" "$work/$1.log"; then
            skip "$1 of $2" "$(grep -i "not supported\|unable to\|failed to" "$work/$1.log" | head -n 1)"
        else
            fail "$1 of $2"
            grep "=========" "$work/$1.log" | head -n 8
        fi ;;
    esac
}
sanitize() {
    local tool test
    sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null || true)
    if [ $works = 0 ]; then
        skip "compute-sanitizer" "no GPU that works"
    elif [ -z "$sanitizer" ]; then
        skip "compute-sanitizer" "not on PATH nor in /usr/local/cuda/bin"
    else
        say "bad accesses and races"
        for tool in memcheck racecheck; do
            for test in $tests; do sanitize_test $tool "$test"; done
        done
    fi
}

finish() {
    sanitize
    rm -rf "$work"
    echo "== done in $(($(date +%s) - begin)) s: $failed failed, $left_out skipped; rows in $csv"
    [ "$failed" = 0 ]
    exit
}
if [ $works = 0 ]; then
    skip "every benchmark" "$why"
    csv="none"
    finish
fi

say "ceilings"
copy="" fp32="" fp64="" fp16=""
if "$nvcc" -std=c++17 -O3 "-arch=sm_$architectures" bench/gpu_limits.cu -o "$work/limits" -ldl &&
    within 60 "$work/limits" >"$work/limits.txt" 2>&1; then
    collect <"$work/limits.txt"
    copy=$(awk -F, '/^row,gpu copy/ { print $5 }' "$work/limits.txt")
    fp32=$(awk -F, '/^row,gpu fp32/ { print $5 * 1000 }' "$work/limits.txt")
    fp16=$(awk -F, '/^row,gpu fp16/ { print $5 * 1000 }' "$work/limits.txt")
    fp64=$(awk -F, '/^row,gpu fp64/ { print $5 * 500 }' "$work/limits.txt") # single operations: kernels do not fuse them
else
    fail "gpu_limits"
    tail -n 3 "$work/limits.txt"
fi
if within 20 "$build/bench/bench_transfers" >"$work/transfers.txt"; then
    collect <"$work/transfers.txt"
else
    fail "bench_transfers"
fi

say "the twin"
if ! within 150 "$reel" gen --like ml-20m --ratings "$ratings" -o "$work/twin" --quiet >/dev/null; then
    fail "the twin could not be made in the time there is"
    finish
fi
start=$(date +%s.%N)
if within 60 "$reel" import "$work/twin" -o "$work/twin.reel" --quiet >/dev/null &&
    within 60 "$reel" train "$work/twin.reel" -m svd -p factors=100 --device cuda --quiet -o "$work/k100.reel" >/dev/null
then
    row "gpu folder to svd" "twin k=100 epochs=20 warm page cache" \
        "$(awk -v a="$start" -v b="$(date +%s.%N)" 'BEGIN { printf "%.3f", b - a }')" s
else
    fail "import and svd"
    finish
fi

device=cuda case="twin k=128"
train() { # NAME ALGORITHM WORK(G an epoch) CEILING(G/s) [ARGUMENT]...
    local name=$1 algorithm=$2 operations=$3 ceiling=$4 ms
    shift 4
    if ! within 90 "$reel" train "$work/twin.reel" -m "$algorithm" "$@" --device "$device" --json --quiet \
        -o "$work/$algorithm.reel" >"$work/out.json" 2>"$work/err"; then
        fail "$name: $(head -n 1 "$work/err")"
        return
    fi
    ms=$(epoch_ms "$work/out.json")
    row "gpu $name" "$case" "$ms" ms
    row "gpu $name test" "$case holdout 0.1" "$(number "$work/out.json" rmse)" RMSE
    share "gpu $name" "$operations" "$ceiling" "$ms"
}
lists() { # top 150 of all users
    if ! within 60 "$reel" recommend "$work/twin.reel" --model "$work/svd.reel" --all -n 150 --device "$device" --json \
        --quiet -o "$work/top.npy" >"$work/out.json" 2>"$work/err"; then
        fail "top 150: $(head -n 1 "$work/err")"
        return 1
    fi
    row "gpu top 150 of all users" "$case" "$(number "$work/out.json" seconds)" s
}
say "training"
train "svd epoch" svd 41 "$copy" -p factors=128 --holdout 0.1                # two rows a rating, read and written
# docs/gpu.md: 0.9 x 2.95 TFLOP on the tensor cores; with cg 82 GB through the L2 cache
train "als iteration" als 2650 "$fp16" -p factors=128 -p iterations=10 --holdout 0.1
train "als cg iteration" als 74 "$copy" -p factors=128 -p solver=cg -p iterations=10 --holdout 0.1
for sets in implicit_sets flipped; do
    train "gibbs sample $sets" bmf "" "" -p factors=128 -p $sets=1 -p samples=3 -p burn_in=2 --holdout 0.1
done
train "gibbs sample" bmf 2650 "$fp16" -p factors=128 -p samples=20 --holdout 0.1
case="twin k=256"
train "als iteration" als 8850 "$fp16" -p factors=256 -p iterations=5 --holdout 0.1
case="twin k=128"

say "lists"
if lists; then
    share "gpu top 150" 970 "$fp32" "$(awk -v s="$(number "$work/out.json" seconds)" 'BEGIN { print 1000 * s }')"
fi

say "trees"
trees=""
start=$(date +%s.%N)
if within 60 "$reel" train "$work/twin.reel" -m gbdt --device cuda --json --quiet -o "$work/gbdt.reel" \
    >"$work/out.json" 2>"$work/err"; then
    trees=$(number "$work/out.json" fit_seconds)
    row "gpu gbdt command" "twin 100 trees depth=3 with reading and preparing" \
        "$(awk -v a="$start" -v b="$(date +%s.%N)" 'BEGIN { printf "%.3f", b - a }')" s
    row "gpu gbdt" "twin 100 trees depth=3" "$trees" s
    # A tree's three passes read 9 bytes a rating each and write 4 in one of them.
    share "gpu gbdt" "$(awk -v n="$ratings" 'BEGIN { print n * 31 * 100 / 1e9 }')" "$copy" \
        "$(awk -v s="${trees:-0}" 'BEGIN { print 1000 * s }')"
    echo "  training RMSE $(grep -o '"train_rmse":[0-9.]*' "$work/out.json" | tail -n 1 | cut -d: -f2)"
else
    fail "gbdt: $(head -n 1 "$work/err")"
fi
if ! missing=$(python3 -c "import numpy, xgboost" 2>&1); then
    skip "XGBoost hist on this GPU" "python3 is not here with numpy and xgboost: $(echo "$missing" | tail -n 1)"
elif [ -n "$trees" ]; then
    if within 60 "$reel" features "$work/twin.reel" --with-rating --quiet -o "$work/features.npy" 2>"$work/err" &&
        within 120 python3 bench/peers/xgboost_hist.py "$work/features.npy" >"$work/peer.txt" 2>"$work/err"; then
        read -r peer rmse <"$work/peer.txt"
        echo "row,gpu gbdt beside XGBoost hist,$cores,twin 100 trees depth=3,$trees,xgboost hist,$peer,s" | collect
        echo "  XGBoost's training RMSE $rmse"
    else
        fail "XGBoost hist: $(tail -n 1 "$work/err")"
    fi
    rm -f "$work/features.npy"
fi

say "scoring"
# bulk NAME UNITS(G) UNIT COMMAND...: a command's seconds, and how many units a second that makes
bulk() {
    local name=$1 units=$2 unit=$3
    shift 3
    bulk_ms=""
    if ! within 60 "$reel" "$@" --device cuda --json --quiet -o "$work/bulk.npy" >"$work/out.json" 2>"$work/err"; then
        fail "$name: $(head -n 1 "$work/err")"
        return
    fi
    bulk_ms=$(awk -v s="$(number "$work/out.json" seconds)" 'BEGIN { print 1000 * s }')
    row "gpu $name" "twin" "$(awk -v u="$units" -v ms="$bulk_ms" 'BEGIN { printf "%.3f", u / ms * 1000 }')" "G $unit/s"
    rm -f "$work/bulk.npy"
}
pairs=$(awk 'BEGIN { print 138493 * 27278 / 1e9 }')
rated=$(awk -v n="$ratings" 'BEGIN { print n / 1e9 }')
if [ -n "$trees" ]; then
    bulk "top 150 by 100 trees" "$pairs" pairs recommend "$work/twin.reel" --model "$work/gbdt.reel" --all -n 150
    # docs/gpu.md: 20 look-ups a pair, 9.2 wavefronts of shared memory for 128, one a cycle and processor (fp32 is 256)
    share "gpu top 150 by 100 trees" "$(awk -v p="$pairs" 'BEGIN { print p * 20 * 9.2 / 128 }')" \
        "$(awk -v f="${fp32:-0}" 'BEGIN { if (f) print f / 256 }')" "$bulk_ms"
    bulk "predict by 100 trees" "$rated" pairs predict "$work/twin.reel" --model "$work/gbdt.reel" \
        --pairs "$work/twin/ratings.csv"
fi
bulk "predict" "$rated" pairs predict "$work/twin.reel" --model "$work/svd.reel" --pairs "$work/twin/ratings.csv"
share "gpu predict" "$(awk -v r="$rated" 'BEGIN { print r * 1024 }')" "$copy" "$bulk_ms"
bulk "similar 100 of all movies by factors" "$(awk 'BEGIN { print 27278 * 27278 / 1e9 }')" pairs \
    similar "$work/twin.reel" --all --by factors --model "$work/svd.reel" -n 100
share "gpu similar" "$(awk 'BEGIN { print 2 * 128 * 27278 * 27278 / 1e9 }')" "$fp32" "$bulk_ms"

gpus=$("$smi" --list-gpus 2>/dev/null | grep -c '^GPU')
if [ "$gpus" -lt 2 ]; then
    skip "several GPUs" "one is here"
else
    say "$gpus GPUs as one"
    for file in als.reel bmf.reel top.npy; do mv "$work/$file" "$work/one-$file"; done
    device=cuda:all case="twin k=128 on $gpus GPUs"
    train "als iteration" als "" "" -p factors=128 -p iterations=10 --holdout 0.1
    train "gibbs sample" bmf "" "" -p factors=128 -p samples=20 --holdout 0.1
    lists
    for file in als.reel bmf.reel top.npy; do
        if cmp -s "$work/$file" "$work/one-$file"; then
            echo "  $file: the same bytes as from one GPU"
        else
            fail "$file from $gpus GPUs differs from that of one"
        fi
    done
    device=cuda
fi

say "clusters"
for affinity in cosine polynomial rbf; do
    if within 90 "$reel" cluster "$work/twin.reel" -k 4 --affinity $affinity --device cuda --json --quiet \
        -o "$work/clusters.reel" >"$work/out.json" 2>"$work/err"; then
        eigen=$(number "$work/out.json" eigen_seconds)
        row "gpu clusters" "$affinity all users of the twin" "$(awk -v a="$(number "$work/out.json" profile_seconds)" \
            -v b="$eigen" -v c="$(number "$work/out.json" assign_seconds)" 'BEGIN { printf "%.3f", a + b + c }')" s
        [ $affinity != rbf ] || share "gpu rbf" "$(awk -v n="$(number "$work/out.json" products)" \
            'BEGIN { print (n + 1) * 138493 ^ 2 * 113e-9 }')" "$fp64" "$(awk -v s="$eigen" 'BEGIN { print 1000 * s }')"
    else
        fail "clusters, $affinity: $(head -n 1 "$work/err")"
    fi
done
finish
