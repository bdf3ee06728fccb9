#!/bin/bash
# How time and memory grow with the data: twins of 1/10, 1 and, where asked for, 5 times MovieLens 20M through import,
# explore, svd, its cross-validation, gbdt, and one user's top 10 from a cold process. The twins go to a temporary folder below DIR and are removed.
set -eu
cd "$(dirname "$0")/.."

usage() {
    cat <<TEXT
usage: bench/scaling.sh [--threads N] [--into DIR] [RATINGS...]

  RATINGS    sizes, default: 2M 20M (100M needs 6 GB of disk and 8 GB of memory)
  --threads  default: all cores
  --into     where the twins are made (default: TMPDIR or /tmp; 40 bytes a rating)
TEXT
}
threads=$(nproc) into=${TMPDIR:-/tmp}
sizes=()
while [ $# -gt 0 ]; do
    case $1 in
    --threads) threads=$2; shift ;;
    --into) into=$2; shift ;;
    -h | --help) usage; exit 0 ;;
    -*) usage >&2; exit 2 ;;
    *) sizes+=("$1") ;;
    esac
    shift
done
[ ${#sizes[@]} -gt 0 ] || sizes=(2M 20M)
reel=build/release/reel
[ -x $reel ] || { echo "bench/scaling.sh: build first (cmake --preset release && cmake --build build/release)" >&2; exit 1; }

work=$(mktemp -d "$into/reel-scaling.XXXXXX")
trap 'rm -rf "$work"' EXIT
for size in "${sizes[@]}"; do
    # Users grow with the ratings, the catalogue does not: as MovieLens itself grew.
    users=$(python3 -c "
import sys
n = sys.argv[1].upper()
n = float(n[:-1]) * {'K': 1e3, 'M': 1e6}[n[-1]] if n[-1] in 'KM' else float(n)
print(max(1000, round(138493 * n / 20000263)))" "$size")
    time_row() { # NAME REPEATS COMMAND...
        local name=$1 repeats=$2
        shift 2
        python3 bench/rows.py time "$name" "$threads" "twin ratings=$size users=$users" --repeat "$repeats" -- \
            "$@" --threads "$threads"
    }
    time_row scaling_gen 1 $reel gen --like ml-20m --ratings "$size" --users "$users" -o "$work/csv"
    cat "$work/csv/ratings.csv" >/dev/null
    time_row scaling_import 3 $reel import "$work/csv" -o "$work/ratings.reel"
    rm -rf "$work/csv"
    time_row scaling_explore 3 $reel explore "$work/ratings.reel" --json
    time_row scaling_svd 1 $reel train "$work/ratings.reel" -m svd -p factors=100 -p epochs=20 -o "$work/svd.reel"
    time_row scaling_gbdt 3 $reel train "$work/ratings.reel" -m gbdt -o "$work/gbdt.reel"
    time_row scaling_cv5 1 $reel cv "$work/ratings.reel" -m svd
    time_row scaling_top10 5 $reel recommend "$work/ratings.reel" --model "$work/svd.reel" --user 1 -n 10
    rm -f "$work"/*.reel
done
