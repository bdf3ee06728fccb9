#!/bin/sh
# Downloads a MovieLens data set into this folder and checks it against the MD5 that GroupLens publishes.
# A download that stopped goes on where it was; the data set's folder appears complete or not at all.
set -eu

base=${REEL_FETCH_URL:-https://files.grouplens.org/datasets/movielens}
names="ml-100k ml-1m ml-10m ml-20m ml-25m ml-32m ml-latest-small"
data=$(cd "$(dirname "$0")" && pwd)

usage() {
    cat <<TEXT
usage: data/fetch.sh [--unchecked] [--into DIR] NAME

  NAME         one of: $names
  --unchecked  accept an archive without a published MD5 once its own CRCs were tested
               (GroupLens publishes none for data sets that change over time)
  --into DIR   put the data set below DIR (default: $data)

REEL_FETCH_URL overrides where archives come from ($base).
Read the data set's README before use: research only, cite it, most sets must not be passed on.
TEXT
}
fail() {
    echo "fetch.sh: $*" >&2
    exit 1
}

unchecked=0 name=
while [ $# -gt 0 ]; do
    case $1 in
    --unchecked) unchecked=1 ;;
    --into)
        [ $# -gt 1 ] || { usage >&2; exit 2; }
        data=$2
        shift
        ;;
    -h | --help) usage; exit 0 ;;
    -*) usage >&2; exit 2 ;;
    *)
        [ -z "$name" ] || { usage >&2; exit 2; }
        name=$1
        ;;
    esac
    shift
done
case " $names " in
*" $name "*) [ -n "$name" ] || { usage >&2; exit 2; } ;;
*) usage >&2; fail "there is no data set '$name'" ;;
esac

# The embedded edition of ml-latest-small keeps its place.
folder=$data/$name
[ "$name" != ml-latest-small ] || folder=$data/ml-latest-small-current
if [ -d "$folder" ]; then
    echo "$folder is there already; remove it to fetch it again"
    exit 0
fi
mkdir -p "$data"
archive=$data/$name.zip
part=$archive.part
sum=$data/.$name.md5
log=$data/.$name.log
work=$data/.$name.unpack
trap 'rm -rf "$sum" "$log" "$work"' EXIT
trap 'exit 130' INT TERM

# get URL FILE resume|anew: 0 done, 4 not there (HTTP 404), 5 cannot be resumed, anything else failed.
if command -v curl >/dev/null; then
    get() {
        resume=
        [ "$3" = anew ] || resume="--continue-at -"
        # shellcheck disable=SC2086
        code=$(curl --location --silent --show-error --retry 3 --connect-timeout 20 --fail $resume \
            --output "$2" --write-out '%{http_code}' "$1" 2>"$log") && return 0 || exit_code=$?
        [ "$code" != 404 ] || return 4
        [ "$code" != 416 ] && [ "$exit_code" != 33 ] || return 5
        cat "$log" >&2
        return 1
    }
elif command -v wget >/dev/null; then
    get() {
        resume=
        [ "$3" = anew ] || resume=--continue
        # shellcheck disable=SC2086
        wget --no-verbose --server-response --tries 3 --timeout 20 $resume --output-document "$2" "$1" 2>"$log" &&
            return 0
        ! grep -q ' 404 ' "$log" || return 4
        ! grep -q ' 416 ' "$log" || return 5
        tail -n 1 "$log" >&2
        return 1
    }
else
    fail "neither curl nor wget was found (apt-get install curl)"
fi

hint="is there a network? (archives come from $base)"
md5_of() { md5sum <"$1" | cut -c1-32; }

wanted=
for url in "$base/$name.zip.md5" "$base/$name.md5"; do
    status=0
    get "$url" "$sum" anew || status=$?
    case $status in
    0)
        wanted=$(grep -oE '(^|[^0-9A-Fa-f])[0-9A-Fa-f]{32}($|[^0-9A-Fa-f])' "$sum" | grep -oE '[0-9A-Fa-f]{32}' |
            head -n 1 | tr 'A-F' 'a-f') || true
        [ -n "$wanted" ] || fail "$url holds no MD5"
        break
        ;;
    4) ;;
    *) fail "$url could not be downloaded; $hint" ;;
    esac
done
if [ -z "$wanted" ] && [ "$unchecked" = 0 ]; then
    fail "no MD5 is published beside $base/$name.zip; --unchecked accepts it after a test of the archive's own CRCs"
fi

if [ ! -f "$archive" ]; then
    if [ ! -f "$part" ] || [ -z "$wanted" ] || [ "$(md5_of "$part")" != "$wanted" ]; then
        echo "downloading $base/$name.zip"
        status=0
        get "$base/$name.zip" "$part" resume || status=$?
        if [ $status = 5 ]; then
            status=0
            get "$base/$name.zip" "$part" anew || status=$?
        fi
        [ $status != 4 ] || fail "there is no $base/$name.zip"
        [ $status = 0 ] || fail "$base/$name.zip could not be downloaded; what came so far is kept, run this again; $hint"
    fi
    if [ -n "$wanted" ] && [ "$(md5_of "$part")" != "$wanted" ]; then
        found=$(md5_of "$part")
        rm -f "$part"
        fail "$name.zip is damaged and was removed: its MD5 is $found, published is $wanted; run this again"
    fi
    mv "$part" "$archive"
elif [ -n "$wanted" ] && [ "$(md5_of "$archive")" != "$wanted" ]; then
    fail "$archive is damaged: its MD5 is $(md5_of "$archive"), published is $wanted; remove it and run this again"
fi

rm -rf "$work"
mkdir "$work"
if command -v unzip >/dev/null; then
    unzip -q "$archive" -d "$work" || fail "$archive could not be unpacked"
elif command -v python3 >/dev/null; then
    python3 -m zipfile -e "$archive" "$work" || fail "$archive could not be unpacked"
else
    echo "neither unzip nor python3 is here: $archive stays packed (reel import reads it so)"
    exit 0
fi
# Archives hold one folder, by various names (ml-10m's is ml-10M100K).
set -- "$work"/*/
[ $# = 1 ] && [ -d "$1" ] || fail "$archive does not hold one folder"
mv "$1" "$folder"
rm -f "$archive"
if [ -n "$wanted" ]; then checked="MD5 $wanted"; else checked="archive CRCs only"; fi
echo "$folder is ready ($checked)"
