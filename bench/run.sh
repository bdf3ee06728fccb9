#!/bin/bash
# Runs every benchmark and every comparison with a peer, and appends their rows to bench/results/<machine>.csv.
set -eu
cd "$(dirname "$0")/.."

usage() {
    cat <<TEXT
usage: bench/run.sh [--no-peers] [NAME]

  NAME        only benchmarks whose name contains this
  --no-peers  leave out the comparisons that need packages from PyPI

Close other programs first: figures are times. A row's ratio says how many times better Reel did than its peer in the
same run. REEL_MACHINE names the results file.
TEXT
}
peers=1 filter=""
for arg in "$@"; do
    case $arg in
    --no-peers) peers=0 ;;
    -h | --help) usage; exit 0 ;;
    -*) usage >&2; exit 2 ;;
    *) filter=$arg ;;
    esac
done

. tests/setup.sh
# shellcheck disable=SC2086
need_packages $REEL_BUILD_PACKAGES $REEL_TEST_PACKAGES
configure release >/dev/null
cmake --build build/release -j "$REEL_JOBS" >/dev/null
failed=0
run() { # NAME COMMAND...
    case $1 in *"$filter"*) ;; *) return 0 ;; esac
    echo "== $1"
    shift
    set -o pipefail
    "$@" | python3 bench/rows.py collect || { echo "FAILED: $*"; failed=1; }
    set +o pipefail
}

arguments() { # of a benchmark that needs some
    case $1 in bench_sgd) echo synthetic ;; esac
}
for program in build/release/bench/bench_*; do
    # shellcheck disable=SC2046
    if [ -f "$program" ] && [ -x "$program" ]; then
        run "$(basename "$program")" "$program" $(arguments "$(basename "$program")")
    fi
done
if [ $peers = 1 ]; then
    python=$(bench/peers/setup.sh | tail -n 1)
    for script in bench/peers/*.py bench/peers/*.sh; do
        case $script in
        */setup.sh) ;;
        *.py) run "$(basename "$script")" "$python" "$script" ;;
        *.sh) run "$(basename "$script")" "$script" ;;
        esac
    done
fi
exit $failed
