#!/usr/bin/env python3
"""The one place that knows what a row of bench/results/<machine>.csv looks like.

    rows.py collect [FILE]             appends the `row,` lines of FILE or stdin (bench/bench.h prints them), and shows them
    rows.py time BENCHMARK THREADS PARAMETERS [--repeat N] -- COMMAND...
                                       runs COMMAND N times and appends its best wall time and highest memory

REEL_MACHINE names the machine (default: made of its CPU and core count), REEL_RESULTS the folder."""

import csv
import datetime
import os
import pathlib
import re
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
COLUMNS = "date commit cpu cores threads benchmark parameters ours peer peer_value unit ratio".split()
LOWER_IS_BETTER = {"s", "ms", "us", "ns", "MB", "RMSE", "MAE"}


def cpu_name():
    """The model as /proc/cpuinfo has it; virtual machines hide the number behind family and model."""
    facts = {}
    for line in open("/proc/cpuinfo"):
        key, _, value = line.partition(":")
        facts.setdefault(key.strip(), " ".join(value.split()))
    name = facts.get("model name", os.uname().machine)
    if not any(letter.isdigit() for letter in name):
        name += f" family {facts.get('cpu family')} model {facts.get('model')}"
    return name


def cores():
    return len(os.sched_getaffinity(0))


def commit():
    def git(*args):
        return subprocess.run(["git", "-C", ROOT, *args], capture_output=True, text=True).stdout.strip()

    name = git("rev-parse", "--short=12", "HEAD") or "unknown"
    dirty = git("status", "--porcelain", "--untracked-files=no", "--", ":!bench/results")
    return name + ("+" if dirty else "")


def results_path():
    machine = os.environ.get("REEL_MACHINE") or f"{cpu_name()}-{cores()}c"
    name = re.sub(r"[^a-z0-9]+", "-", machine.lower()).strip("-")
    return pathlib.Path(os.environ.get("REEL_RESULTS", ROOT / "bench" / "results")) / f"{name}.csv"


def ratio(ours, peer_value, unit):
    """How many times better ours is; above 1 is better, whichever way the unit goes."""
    if peer_value in ("", None) or not float(ours) or not float(peer_value):
        return ""
    better = float(peer_value) / float(ours) if unit in LOWER_IS_BETTER else float(ours) / float(peer_value)
    return f"{better:.3g}" if unit not in ("RMSE", "MAE") else f"{better:.4f}"


def append(rows):
    """rows: (benchmark, threads, parameters, ours, peer, peer_value, unit) each."""
    if not rows:
        return
    path = results_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = not path.exists()
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    head = [now, commit(), cpu_name(), cores()]
    with open(path, "a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if fresh:
            writer.writerow(COLUMNS)
        for benchmark, threads, parameters, ours, peer, peer_value, unit in rows:
            factor = ratio(ours, peer_value, unit)
            writer.writerow([*head, threads, benchmark, parameters, ours, peer, peer_value, unit, factor])
            against = f"   {peer} {peer_value}   ratio {factor}" if peer else ""
            print(f"{benchmark:<24} {parameters:<44} threads {threads}   {ours} {unit}{against}", flush=True)


def collect(lines):
    rows = []
    for line in lines:
        if line.startswith("row,"):
            fields = line.rstrip("\n").split(",")
            if len(fields) != 8:
                sys.exit(f"rows.py: a row has 8 fields (found {len(fields)}: {line.strip()})")
            rows.append(fields[1:])
        else:
            sys.stdout.write(line)
    append(rows)


def timed(command):
    """(seconds, peak MB) of one command; a failing command ends the program."""
    begun = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    errors = child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - begun
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"rows.py: {' '.join(map(str, command))} failed:\n{errors.decode(errors='replace')}")
    return seconds, usage.ru_maxrss / 1024


def main(argv):
    if len(argv) >= 2 and argv[1] == "collect":
        collect(open(argv[2]) if len(argv) > 2 else sys.stdin)
    elif len(argv) >= 2 and argv[1] == "time" and "--" in argv:
        split = argv.index("--")
        benchmark, threads, parameters, *rest = argv[2:split]
        repeat = int(rest[1]) if rest[:1] == ["--repeat"] else 1
        runs = [timed(argv[split + 1 :]) for _ in range(repeat)]
        append(
            [
                (benchmark, threads, parameters, f"{min(s for s, _ in runs):.3f}", "", "", "s"),
                (benchmark + " memory", threads, parameters, f"{max(m for _, m in runs):.1f}", "", "", "MB"),
            ]
        )
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv)
