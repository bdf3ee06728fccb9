#!/bin/bash
# Runs every check there is; the last line says what came of it. Missing packages are installed first.
set -u
cd "$(dirname "$0")" || exit 1

quick=0 filter="" seed=1
usage() {
    cat <<TEXT
usage: ./test.sh [--quick] [--seed N] [NAME]

  NAME      only tests whose name matches this (a regular expression for ctest, a -k expression for pytest)
  --quick   the release build's tests alone: no sanitizers, no second compiler, no other configurations, no fuzzing
  --seed N  seed of the randomised tests (default $seed)

Environment: CC, REEL_CUDA, REEL_SERVE, REEL_CMAKE_ARGS; REEL_SHARED_DATA (default ../shared/data: larger data for tests);
REEL_PEERS_PYTHON (a Python that has scikit-surprise; default: one is made in build/peers-tests); REEL_FUZZ_SECONDS (10);
REEL_TEST_LARGE=1 (tests on the 20 M twin and parity on larger data too: minutes and gigabytes more).
TEXT
}
while [ $# -gt 0 ]; do
    case $1 in
    --quick) quick=1 ;;
    --seed) seed=${2:?--seed needs a number}; shift ;;
    -h | --help) usage; exit 0 ;;
    -*) usage >&2; exit 2 ;;
    *) filter=$1 ;;
    esac
    shift
done

. tests/setup.sh
# shellcheck disable=SC2086
need_packages $REEL_BUILD_PACKAGES $REEL_TEST_PACKAGES
# shellcheck disable=SC2086
(need_packages $REEL_WANTED_PACKAGES) || echo "going on without: tests that need them are skipped"

report=$PWD/build/test-report
rm -rf "$report"
mkdir -p "$report"
started=$SECONDS
export REEL_TEST_SEED=$seed
export REEL_SHARED_DATA=${REEL_SHARED_DATA:-$(cd .. && pwd)/shared/data}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}

note() { # NAME passed|failed|skipped [REASON]
    printf '%s\t%s\t%s\n' "$1" "$2" "${3:-}" >>"$report/steps.tsv"
}
begin() { printf '%-46s ' "$1"; step_started=$SECONDS; }
end() { printf '%s (%d s)\n' "$1" $((SECONDS - step_started)); }
# step NAME COMMAND...: a check that passes, fails or (status 77) is skipped as a whole; its output is kept, and shown when it fails.
step() {
    local name=$1 log status
    log=$report/$(echo "$1" | tr -c 'a-zA-Z0-9\n' '_').log
    shift
    begin "$name"
    "$@" >"$log" 2>&1
    status=$?
    case $status in
    0)
        note "$name" passed
        end ok
        ;;
    77)
        note "$name" skipped "$(tail -n 1 "$log")"
        end "$(tail -n 1 "$log")"
        ;;
    *)
        note "$name" failed "see ${log#"$PWD/"}"
        end FAILED
        tail -n 30 "$log"
        ;;
    esac
    return $status
}
skip() { # NAME REASON
    note "$1" skipped "$2"
    printf '%-46s skipped: %s\n' "$1" "$2"
}
# shellcheck disable=SC2317,SC2329 # called through step
build() { # PRESET [ARG]...: configured and built
    local dir=build/$1
    [ "${2:-}" != --into ] || dir=$3
    configure "$@" && cmake --build "$dir" -j "$REEL_JOBS" ${target:+--target $target}
}
# run_ctest NAME DIR [ARG]...: every test program of a build.
run_ctest() {
    local name=$1 dir=$2
    shift 2
    begin "tests in C: $name"
    if ctest --test-dir "$dir" -j "$REEL_JOBS" --no-tests=ignore ${filter:+-R "$filter"} --output-on-failure \
        --output-junit "$report/ctest-$name.xml" --test-output-size-passed 1000000 --test-output-size-failed 1000000 \
        "$@" >"$report/ctest-$name.log" 2>&1; then
        end ok
    else
        end FAILED
        [ -f "$report/ctest-$name.xml" ] || note "ctest $name" failed "see build/test-report/ctest-$name.log"
        tail -n 40 "$report/ctest-$name.log"
    fi
}
finish() {
    printf '\n%d minutes %d seconds; details in build/test-report\n' $(((SECONDS - started) / 60)) $(((SECONDS - started) % 60))
    python3 tests/tally.py "$report"
    exit
}

# The environments of the tests in Python, made while the release is built.
make_pythons() {
    python_env build/venv tests/requirements.txt >"$report/venv.log" 2>&1 || return
    [ -n "${REEL_PEERS_PYTHON:-}" ] || bench/peers/setup.sh --tests >"$report/peers.path" 2>"$report/peers.log"
    return 0
}
# The command-line tests in Python, against the release build. Without PyPI they are skipped, each by name.
run_pytest() {
    if ! wait "$making_pythons"; then
        for file in tests/*/test_*.py; do
            skip "$file" "PyPI could not be reached (build/test-report/venv.log)"
        done
        return
    fi
    if [ -z "${REEL_PEERS_PYTHON:-}" ]; then
        REEL_PEERS_PYTHON=$(tail -n 1 "$report/peers.path")
    fi
    begin "tests of the program and service (pytest)"
    # There is a worker for each core: what numpy and the peers compute takes no more of them.
    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 \
        REEL_BIN=$PWD/build/release/reel REEL_PEERS_PYTHON=$REEL_PEERS_PYTHON build/venv/bin/python -m pytest \
        tests -q -rs -n "$REEL_JOBS" --dist loadscope --no-loadscope-reorder ${filter:+-k "$filter"} \
        -p no:cacheprovider --junitxml "$report/pytest-cli.xml" >"$report/pytest.log" 2>&1
    case $? in
    0 | 5) end ok ;; # 5: the name filter chose none
    *)
        end FAILED
        [ -f "$report/pytest-cli.xml" ] || note pytest failed "see build/test-report/pytest.log"
        tail -n 60 "$report/pytest.log"
        ;;
    esac
}

# The kernels' code without a GPU: the rows that the release build skips, and the program with --device cuda.
run_emulated() {
    target=device_tests step "CUDA kernels on the emulator: build" build release --into build/emulated \
        -DREEL_CUDA=EMULATED -DREEL_SERVE=OFF -DREEL_BENCH=OFF || return
    run_ctest emulated build/emulated -L "device|emulator"
    [ -x build/venv/bin/python ] || { skip "emulated tests/cli/test_device.py" "no Python environment"; return; }
    begin "the program on the emulator (pytest)"
    if REEL_EMULATED_RACES=off REEL_BIN=$PWD/build/emulated/reel \
        build/venv/bin/python -m pytest tests/cli/test_device.py -q -rs -n "$REEL_JOBS" \
        ${filter:+-k "$filter"} -p no:cacheprovider --junitxml "$report/pytest-emulated.xml" >"$report/pytest-emulated.log" 2>&1; then
        end ok
    else
        end FAILED
        [ -f "$report/pytest-emulated.xml" ] || note "pytest emulated" failed "see build/test-report/pytest-emulated.log"
        tail -n 40 "$report/pytest-emulated.log"
    fi
}

# fuzz TARGET SECONDS: one target, with the corpus it has and the one it made before.
fuzz() {
    local name log corpus
    name=$(basename "$1")
    log=$report/$name.log
    corpus=build/fuzz/corpus/$name
    mkdir -p "$corpus"
    set -- "$@" "$corpus"
    [ ! -d "tests/fuzz/corpus/$name" ] || set -- "$@" "tests/fuzz/corpus/$name"
    if "$1" -max_total_time="$2" -timeout=20 -seed="$seed" -rss_limit_mb=4096 -artifact_prefix="$report/$name-" \
        "${@:3}" >"$log" 2>&1; then
        note "fuzz $name" passed
        printf '%-46s ok\n' "fuzz: $name for $2 s"
    else
        note "fuzz $name" failed "see ${log#"$PWD/"}"
        printf '%-46s FAILED\n' "fuzz: $name for $2 s"
        tail -n 30 "$log"
    fi
}
# A target has one thread, so as many run side by side as there are cores.
run_fuzzers() {
    local target running=0
    for target in build/fuzz/tests/fuzz_*; do
        [ -x "$target" ] && [ -f "$target" ] || continue
        [ $running -lt "$REEL_JOBS" ] || wait -n
        fuzz "$target" "${REEL_FUZZ_SECONDS:-10}" &
        running=$((running + 1))
    done
    wait
}

make_pythons &
making_pythons=$!
step "release build (${CC:-cc})" build release || finish
run_ctest release build/release
run_pytest
if ! grep -q "REEL_WITH_CUDA 1" build/release/generated/reel_build.h; then
    skip "CUDA backend: compiled" "no working nvcc here, or REEL_CUDA=OFF"
fi
if ! build/release/reel doctor --json | grep -q '"devices_usable":"cpu cuda"'; then
    skip "CUDA backend: operators on the device" "no usable GPU here"
fi
[ $quick = 0 ] || finish

run_emulated
step "lint" tests/lint.sh
step "ASan + UBSan build" build asan && run_ctest asan build/asan
if command -v clang >/dev/null; then
    step "clang build" build release --into build/clang -DREEL_CUDA=OFF -DCMAKE_C_COMPILER=clang &&
        run_ctest clang build/clang
else
    skip "clang build" "clang is not installed"
fi
step "TSan build" build tsan && run_ctest tsan build/tsan
target=reel step "program without optimisation" build debug
# The tests there are a part of those above.
target=reel step "program with REEL_SERVE=OFF, REEL_CUDA=OFF" build release --into build/serve-off -DREEL_CUDA=OFF -DREEL_SERVE=OFF
if command -v clang >/dev/null; then
    target=fuzzers step "fuzz build" build fuzz && run_fuzzers
else
    skip "fuzzing" "clang is not installed"
fi
finish
