#!/bin/bash
# The HTTP service under wrk, beside nginx serving files of the same bytes, in one run.
set -eu
cd "$(dirname "$0")/.."

usage() {
    cat <<TEXT
usage: bench/serve.sh DATASET MODEL [--rows] [--seconds N] [--rounds N]

  DATASET MODEL  what reel serve loads; the model should have factors
  --rows         append rows to bench/results/<machine>.csv (bench/rows.py)
  --seconds N    of each measurement (default 5); --rounds N interleaved measurements of each (default 3)

Measured with 64 keep-alive connections: GET /api/v1/movies/{id} and cached suggested_movies, each beside nginx with a
file of the same bytes; suggested_movies of random users with no cache. The best round of each counts. REEL_BIN names
the program (default build/release/reel).
TEXT
}
dataset="" model="" rows=0 seconds=5 rounds=3
while [ $# -gt 0 ]; do
    case $1 in
    --rows) rows=1 ;;
    --seconds) seconds=$2; shift ;;
    --rounds) rounds=$2; shift ;;
    -h | --help) usage; exit 0 ;;
    -*) usage >&2; exit 2 ;;
    *) if [ -z "$dataset" ]; then dataset=$1; else model=$1; fi ;;
    esac
    shift
done
[ -n "$model" ] || { usage >&2; exit 2; }
. tests/setup.sh
need_packages wrk nginx-light curl >&2
reel=${REEL_BIN:-build/release/reel}
folder=$(mktemp -d)
pids=""
cleanup() {
    # shellcheck disable=SC2086
    [ -z "$pids" ] || kill $pids 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$folder"
}
trap cleanup EXIT

start_reel() { # NAME [OPTION]...: sets url
    local name=$1
    shift
    "$reel" serve --dataset "$dataset" --model svd="$model" --port 0 "$@" >"$folder/$name.out" 2>"$folder/$name.err" &
    pids="$pids $!"
    until grep -q listening "$folder/$name.out" 2>/dev/null; do
        kill -0 $! 2>/dev/null || { cat "$folder/$name.err" >&2; exit 1; }
        sleep 0.1
    done
    url=$(sed -n 's/^listening on //p' "$folder/$name.out")
}
start_reel cached
cached=$url
start_reel uncached --cache 0
uncached=$url

mkdir "$folder/files"
curl -sf "$cached/api/v1/movies/1" >"$folder/files/movie"
curl -sf "$cached/api/v1/users/1/suggested_movies" >"$folder/files/suggested"
cat >"$folder/nginx.conf" <<TEXT
worker_processes $(nproc);
pid $folder/nginx.pid;
error_log $folder/nginx.err;
daemon off;
events { worker_connections 1024; }
http {
    access_log off;
    sendfile on;
    tcp_nodelay on;
    keepalive_requests 1000000000;
    open_file_cache max=100;
    default_type application/json;
    client_body_temp_path $folder; proxy_temp_path $folder; fastcgi_temp_path $folder;
    uwsgi_temp_path $folder; scgi_temp_path $folder;
    server { listen 127.0.0.1:18999 reuseport; root $folder/files; }
}
TEXT
nginx -c "$folder/nginx.conf" 2>/dev/null &
pids="$pids $!"
nginx=http://127.0.0.1:18999
until curl -sf "$nginx/movie" >/dev/null; do sleep 0.1; done

# Ids of users for the uncached requests: the same for every run.
n_users=$(curl -sf "$cached/api/v1/models" | python3 -c 'import json, sys; print(json.load(sys.stdin)["dataset"]["n_users"])')
cat >"$folder/random.lua" <<TEXT
math.randomseed(1)
request = function()
    return wrk.format("GET", "/api/v1/users/" .. math.random(1, $n_users) .. "/suggested_movies")
end
TEXT
cat >"$folder/report.lua" <<'TEXT'
done = function(summary, latency, requests)
    io.write(string.format("RESULT %.1f %.3f %d\n", summary.requests / summary.duration * 1e6,
        latency:percentile(99) / 1000, summary.errors.status + summary.errors.read + summary.errors.timeout))
end
TEXT
cat "$folder/random.lua" "$folder/report.lua" >"$folder/random_report.lua"
measure() { # URL [SCRIPT]: "requests/s p99_ms errors"
    wrk -t 1 -c 64 -d "$seconds" -s "${2:-$folder/report.lua}" "$1" | sed -n 's/^RESULT //p'
}
: >"$folder/results"
for round in $(seq "$rounds"); do
    for what in "nginx_movie $nginx/movie" "reel_movie $cached/api/v1/movies/1" "nginx_suggested $nginx/suggested" \
        "reel_suggested $cached/api/v1/users/1/suggested_movies" "reel_uncached $uncached/"; do
        name=${what%% *}
        script=""
        [ "$name" != reel_uncached ] || script=$folder/random_report.lua
        # shellcheck disable=SC2086
        echo "$name $(measure "${what#* }" $script)" | tee -a "$folder/results" >&2
    done
done
python3 - "$folder/results" "$(wc -c <"$folder/files/movie")" "$(wc -c <"$folder/files/suggested")" "$n_users" >"$folder/rows" <<'TEXT'
import sys

best, p99s = {}, {}
for line in open(sys.argv[1]):
    name, rate, p99, errors = line.split()
    assert int(errors) == 0, line
    p99s.setdefault(name, []).append(float(p99))
    if name not in best or float(rate) > best[name][0]:
        best[name] = (float(rate), float(p99))
movie, suggested, n_users = sys.argv[2:5]
for what, size in (("movie", movie), ("suggested", suggested)):
    ours, peers = best[f"reel_{what}"], best[f"nginx_{what}"]
    print(f"row,serve_{what},2,connections=64 bytes={size} n_users={n_users},{ours[0]:.0f},nginx,{peers[0]:.0f},requests/s")
print(f"row,serve_uncached_suggested,2,connections=64 bytes={suggested} n_users={n_users},{best['reel_uncached'][0]:.0f},,,requests/s")
print(f"row,serve_uncached_suggested_p99,2,connections=64 bytes={suggested} n_users={n_users},{min(p99s['reel_uncached']):.2f},,,ms")
TEXT
if [ $rows = 1 ]; then python3 bench/rows.py collect "$folder/rows"; else cat "$folder/rows"; fi
