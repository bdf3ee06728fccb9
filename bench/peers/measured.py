"""Runs one measured command of a comparison. REEL_BENCH_PREFIX ("chrt -f 20") goes before the command, on either side;
REEL_BENCH_LOCK names a file that is locked while it runs, so that no two measurements overlap."""

import fcntl
import os
import resource
import shlex
import subprocess
import sys

PREFIX = shlex.split(os.environ.get("REEL_BENCH_PREFIX", ""))
LOCK = os.environ.get("REEL_BENCH_LOCK")


def call(command, limit=None):
    """Standard output of a command; None where it ran into `limit` seconds of CPU time. Ends the program if it fails."""

    def restrict():
        if limit:
            resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5))

    with open(LOCK or os.devnull, "a") as lock:
        if LOCK:
            fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run([*PREFIX, *map(str, command)], capture_output=True, text=True, preexec_fn=restrict)
    if limit and done.returncode < 0:
        return None
    if done.returncode:
        sys.exit(f"{os.path.basename(sys.argv[0])}: {' '.join(map(str, command))} failed:\n{done.stderr[-2000:]}")
    return done.stdout
