#!/usr/bin/env python3
"""The ladder of bmf's switches, and svd and als, beside Surprise, myFM, SMURFF, cmfrec and implicit: the same 90/10 splits,
rank, iterations and threads, each side's runs next to the other's.

    ladder.py [--data DIR]... [--splits N] [--peer-splits N] [--limit SECONDS] [--results FILE]

Splits are the first of ten random folds (`reel split --folds 10 --seed 1`). Reel runs on --splits of them (3), peers on
the first --peer-splits (1); a ratio compares what ran on the same splits. Reel's seconds are the best of two runs on a
split. bmf and myFM: rank 32, 10 samples of burn-in and 100 that are averaged; myFM gets bmf's features as relation blocks
(bench/peers/peer_fit.py). A peer that needs more than --limit seconds of CPU time (600) is reported as not finished.

Data: data/ml-latest-small, and ml-1m below REEL_SHARED_DATA (default ../shared/data) where it is. Each finished fit goes
to --results (default build/ladder.json), so that an interrupted table goes on where it stopped. REEL_BENCH_PREFIX and
REEL_BENCH_LOCK: see measured.py. Run it with the Python that bench/peers/setup.sh prints. It appends rows to bench/results/<machine>.csv and prints
the table in markdown."""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "bench"), str(ROOT / "bench" / "peers")]
import rows  # noqa: E402
from measured import call  # noqa: E402

REEL = os.environ.get("REEL_BIN", str(ROOT / "build" / "release" / "reel"))
FACTORS, SAMPLES, BURN_IN, ITERATIONS, REPEATS = 32, 100, 10, 15, 2
BMF = ("bmf", f"factors={FACTORS}", f"samples={SAMPLES}", f"burn_in={BURN_IN}")
ALS = ("als", f"factors={FACTORS}", f"iterations={ITERATIONS}")
# name, Reel's algorithm and parameters, peers; the metric is NDCG for rankings
LADDER = [
    ("svd", ("svd",), ["surprise-svd"]),
    ("als", ALS, ["cmfrec-same", "cmfrec"]),
    ("als implicit", (*ALS, "implicit=1"), ["implicit"]),
    ("als implicit cg", (*ALS, "implicit=1", "solver=cg"), ["implicit"]),
    ("bmf", BMF, ["myfm", "smurff"]),
    ("bmf +time", (*BMF, "time=1"), ["myfm+time"]),
    ("bmf +implicit_sets", (*BMF, "implicit_sets=1"), ["myfm+implicit_sets", "surprise-svdpp"]),
    ("bmf +flipped", (*BMF, "flipped=1"), ["myfm+flipped"]),
    ("bmf all", (*BMF, "time=1", "implicit_sets=1", "flipped=1"), ["myfm+time+implicit_sets+flipped"]),
]
NAMES = {
    "surprise-svd": "Surprise SVD",
    "surprise-svdpp": "Surprise SVD++",
    "smurff": "SMURFF BPMF",
    "cmfrec": "cmfrec ALS, its defaults",
    "cmfrec-same": "cmfrec ALS, same settings",
    "implicit": "implicit ALS",
}


class Table:
    """Finished fits by name, kept in a file."""

    def __init__(self, path):
        self.path = path
        self.fits = json.loads(path.read_text()) if path.exists() else {}

    def get(self, key, run):
        if key not in self.fits:
            self.fits[key] = run()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(json.dumps(self.fits, indent=1))
            print(f"  {key}: {self.fits[key]}", file=sys.stderr, flush=True)
        return self.fits[key]


def reel_fit(dataset, files, recipe):
    algorithm, *params = recipe
    options = [option for param in params for option in ("-p", param)]
    options += ["--train", files[0], "--test", files[1], "--threads", rows.cores(), "--seed", 1]
    if "implicit=1" in params:
        options += ["--ranking"]
    best = None
    for _ in range(REPEATS):
        answer = call([REEL, "cv", dataset, "-m", algorithm, *options, "--json", "--progress", "none"])
        fold = json.loads(answer)["folds"][0]
        metric = {"ndcg": fold["ranking"]["ndcg"]} if "implicit=1" in params else {"rmse": fold["rmse"]}
        if not best or fold["fit_seconds"] < best["fit_seconds"]:
            best = {**metric, "fit_seconds": fold["fit_seconds"]}
    return best


def peer_fit(peer, files, limit):
    count = ITERATIONS if peer.startswith(("cmfrec", "implicit")) else SAMPLES
    options = ["--factors", FACTORS, "--iterations", count, "--burn-in", BURN_IN, "--threads", rows.cores()]
    answer = call([sys.executable, ROOT / "bench" / "peers" / "peer_fit.py", peer, *files, *options], limit)
    return json.loads(answer.splitlines()[-1]) if answer else None


def mean(values):
    return sum(values) / len(values)


def measure(table, name, folder, args, work):
    """One dictionary for each line of the ladder: ours on all splits, peers and ours on the peers' splits."""
    dataset = work / f"{name}.reel"
    subprocess.run([REEL, "import", folder, "-o", dataset, "--quiet"], check=True, capture_output=True)
    split = ["--folds", "10", "--seed", "1", "-o", work / name, "--quiet"]
    subprocess.run([REEL, "split", dataset, *split], check=True, capture_output=True)
    lines = []
    for line, recipe, peers in LADDER:
        ours, theirs = [], {peer: [] for peer in peers}
        for s in range(1, args.splits + 1):
            files = [work / name / f"fold{s}.{part}.csv" for part in ("train", "test")]
            ours.append(table.get(f"{name} {s} {line}", lambda: reel_fit(dataset, files, recipe)))
            for peer in peers if s <= args.peer_splits else ():
                theirs[peer].append(table.get(f"{name} {s} {peer}", lambda: peer_fit(peer, files, args.limit)))
        lines.append((line, ours, theirs))
    return lines


def report(name, lines, args):
    table = [f"| {name} | RMSE | seconds | beside | RMSE | seconds | ratio |", "|---|---|---|---|---|---|---|"]
    for line, ours, theirs in lines:
        metric = "ndcg" if "ndcg" in ours[0] else "rmse"
        same = ours[: args.peer_splits]
        figure, seconds = mean([f[metric] for f in same]), mean([f["fit_seconds"] for f in same])
        shown = f"{figure:.4f}" + (" NDCG@10" if metric == "ndcg" else "")
        over = f"{name} {args.peer_splits} of 10 folds, k={100 if line == 'svd' else FACTORS}"
        rows.append([(f"ladder {line}", rows.cores(), f"{name} mean of {len(ours)} of 10 folds",
                      f"{mean([f[metric] for f in ours]):.4f}", "", "", metric.upper())])
        if len(ours) > len(same) and metric == "rmse":
            shown += f" (mean of {len(ours)} splits {mean([f[metric] for f in ours]):.4f})"
        for peer, fits in theirs.items():
            title = NAMES.get(peer, "myFM" + "".join(f" +{switch}" for switch in peer.split("+")[1:]))
            if None in fits:
                table.append(f"| `{line}` | {shown} | {seconds:.2f} | {title} | | not finished after {args.limit} s of CPU "
                             f"time | > {args.limit / seconds:.0f}x |")
                continue
            peer_figure, peer_seconds = (mean([f[key] for f in fits]) for key in (metric, "fit_seconds"))
            rows.append([
                (f"ladder {line}", rows.cores(), over, f"{figure:.4f}", title, f"{peer_figure:.4f}", metric.upper()),
                (f"ladder {line} fit", rows.cores(), over, f"{seconds:.3f}", title, f"{peer_seconds:.3f}", "s"),
            ])
            table.append(f"| `{line}` | {shown} | {seconds:.2f} | {title} | {peer_figure:.4f} | {peer_seconds:.2f} "
                         f"| {peer_seconds / seconds:.1f}x |")
    print("\n" + "\n".join(table) + "\n", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", action="append", type=pathlib.Path, default=[])
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--peer-splits", type=int, default=1)
    parser.add_argument("--limit", type=int, default=600)
    parser.add_argument("--results", type=pathlib.Path, default=ROOT / "build" / "ladder.json")
    args = parser.parse_args()
    shared = pathlib.Path(os.environ.get("REEL_SHARED_DATA", ROOT.parent / "shared" / "data"))
    table = Table(args.results)
    for folder in args.data or [ROOT / "data" / "ml-latest-small", shared / "ml-1m"]:
        if not folder.is_dir():
            print(f"skipped: there is no {folder}")
            continue
        with tempfile.TemporaryDirectory(prefix="reel-ladder-") as work:
            report(folder.name, measure(table, folder.name, folder, args, pathlib.Path(work)), args)


if __name__ == "__main__":
    main()
