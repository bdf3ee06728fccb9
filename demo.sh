#!/bin/bash
# Reel from nothing: installs what is missing, builds, and walks through the main job on real ratings. Every command is
# printed as you would type it; what it writes is in demo-out/.
set -eu
cd "$(dirname "$0")"

case ${1:-} in
-h | --help)
    cat <<TEXT
usage: ./demo.sh [DATA]

  DATA  a MovieLens folder, ZIP or ratings file (default: data/ml-20m where it is, else data/ml-latest-small)

Environment: CC, REEL_CUDA, REEL_SERVE, REEL_CMAKE_ARGS.
TEXT
    exit 0
    ;;
-*) echo "demo.sh: there is no option $1 (./demo.sh --help)" >&2; exit 2 ;;
esac
data=data/ml-latest-small
[ ! -d data/ml-20m ] || data=data/ml-20m
data=${1:-$data}

. tests/setup.sh
[ -e "$data" ] || stop "there is no $data (data/fetch.sh gets the MovieLens sets)"
if [ -t 1 ]; then bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'; else bold="" dim="" plain=""; fi
out=demo-out
started=$SECONDS
rm -rf $out
mkdir -p $out

heading() { printf '\n%s== %s ==%s\n' "$bold" "$*" "$plain"; }
show() { # [-f FILTER] COMMAND...: prints it, runs it (through FILTER), says how long it took
    local begun=${EPOCHREALTIME/[.,]/} took filter=""
    [ "$1" != -f ] || { filter=$2; shift 2; }
    printf '\n%s$ %s%s\n' "$bold" "$*" "$plain"
    $filter "$@"
    took=$((${EPOCHREALTIME/[.,]/} - begun))
    printf '%s(%d.%02d s)%s\n' "$dim" $((took / 1000000)) $((took / 10000 % 100)) "$plain"
}
quietly() { # LOG COMMAND...: shown only when it fails
    local log=$1
    shift
    "$@" >"$log" 2>&1 || { tail -n 30 "$log"; stop "this failed: $*"; }
}

heading "Packages and build"
# shellcheck disable=SC2086
need_packages $REEL_BUILD_PACKAGES
echo "building the release preset into build/release"
quietly $out/configure.log configure release
quietly $out/build.log cmake --build build/release -j "$REEL_JOBS" --target reel
reel=build/release/reel
show $reel --version

heading "Import: CSV to one file that is mapped, not parsed, from then on"
show $reel import "$data" -o $out/ratings.reel

heading "Explore: what the ratings look like"
excerpt() { # the head of the report on movies and of the one on ratings
    "$@" >$out/explore.txt
    sed -n '1,18p' $out/explore.txt
    echo "..."
    sed -n '/^RATINGS/,$p' $out/explore.txt | sed -n '1,21p'
    echo "..."
}
show -f excerpt $reel explore $out/ratings.reel --html $out/explore.html
echo "all of it: $out/explore.txt; with plots, for a browser: $out/explore.html"

# Bayesian factorization of tens of millions of ratings takes minutes, their fold files gigabytes.
large=0
[ "$(stat -c %s $out/ratings.reel)" -lt 100000000 ] || large=1

heading "Compare: the same five folds for every algorithm"
if [ $large = 0 ]; then models=mean,bias,svd,bmf; else models=mean,bias,svd; fi
show $reel compare $out/ratings.reel -m $models

heading "Train, save and evaluate a model"
if [ $large = 0 ]; then
    show $reel split $out/ratings.reel --folds 5 -o $out/folds
    show $reel train $out/ratings.reel -m svd --test $out/folds/fold1.test.csv -o $out/svd.reel
    show $reel eval $out/ratings.reel --model $out/svd.reel --test $out/folds/fold1.test.csv
else
    show $reel train $out/ratings.reel -m svd --holdout 0.1 -o $out/svd.reel
fi
show $reel info $out/svd.reel
show $reel verify $out/svd.reel

heading "Recommend: ten titles for user 2, and why"
show $reel recommend $out/ratings.reel --model $out/svd.reel --user 2 -n 10 --explain

heading "Recommend for a newcomer: nothing is trained again"
printf 'movieId,rating\n260,5\n1196,5\n1198,4.5\n589,4.5\n1240,4\n597,1.5\n' >$out/newcomer.csv
show cat $out/newcomer.csv
show $reel recommend $out/ratings.reel --model $out/svd.reel --rated $out/newcomer.csv -n 5 --min-ratings 50 --explain

heading "Movies like Toy Story"
show $reel similar $out/ratings.reel --movie 1 --by genre -n 5
show $reel similar $out/ratings.reel --movie 1 --by ratings -n 5

heading "Clusters: users who like the same genres"
show $reel cluster $out/ratings.reel -k 4 --affinity cosine --html $out/clusters.html

heading "Done"
echo "$((SECONDS - started)) seconds in all; everything is in $out/. Next: $reel --help, README.md."
