#!/usr/bin/env python3
"""Reel's svd beside LIBMF (built with AVX), interleaved in one run: the same training and test ratings, factors, epochs
and threads.

    svd_vs_libmf.py [--data DATASET] [--threads N] [--factors N] [--epochs N] [--repeat N]

DATASET is a dataset file; without it bench_sgd makes 20 M synthetic ratings. Ratings/s are those of the median epoch of
each side's best run; preparations and measuring are left out on both sides. Two settings: svd's defaults with LIBMF at
the same regularization, and both with what a small search found best for each on the twin of MovieLens 20M. Step-size
rules differ (LIBMF's is adaptive, eta 0.1). Run it with the Python that bench/peers/setup.sh prints. It appends rows to
bench/results/<machine>.csv."""

import argparse
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))
import rows  # noqa: E402

BENCH = ROOT / "build" / "release" / "bench" / "bench_sgd"
LIBMF = ROOT / "build" / "peers" / "libmf"
SETTINGS = {  # name: (svd's parameters, LIBMF's lambda)
    "lambda=0.02": ((), "0.02"),
    "tuned": (("regularization=0.035", "learning_rate=0.013", "init_std=0.03"), "0.05"),
}


def call(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"svd_vs_libmf.py: {' '.join(map(str, command))} failed:\n{done.stderr}")
    return done.stdout


def build_driver(work):
    if not (LIBMF / "libmf.a").exists():
        sys.exit("svd_vs_libmf.py: build/peers/libmf is missing (run bench/peers/setup.sh)")
    driver = work / "libmf_bench"
    source = ROOT / "bench" / "peers" / "libmf_bench.cpp"
    call("c++", "-O2", "-std=c++11", f"-I{LIBMF}", source, LIBMF / "libmf.a", "-fopenmp", "-o", driver)
    return driver


def ours(args, *more):
    """Ratings/s of the median epoch, test RMSE."""
    keys = {"threads": args.threads, "factors": args.factors, "epochs": args.epochs}
    out = call(BENCH, args.data, *(f"{k}={v}" for k, v in keys.items()), *more)
    found = {line.split(",")[1]: float(line.split(",")[4]) for line in out.splitlines() if line.startswith("row,")}
    return found["svd epoch"], found["svd test"]


def theirs(args, driver, work, regularization):
    median, _, rmse = call(driver, work, args.threads, args.factors, args.epochs, regularization, "0.1").split()
    return float(median), float(rmse)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="synthetic")
    parser.add_argument("--threads", type=int, default=rows.cores())
    parser.add_argument("--factors", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="reel-libmf-") as folder:
        work = pathlib.Path(folder)
        driver = build_driver(work)
        call(BENCH, args.data, "epochs=1", "factors=1", f"write={work}")
        reel, libmf = {name: [] for name in SETTINGS}, {name: [] for name in SETTINGS}
        for _ in range(args.repeat):
            for name, (parameters, regularization) in SETTINGS.items():
                reel[name].append(ours(args, *parameters))
                libmf[name].append(theirs(args, driver, work, regularization))
    data = "synthetic" if args.data == "synthetic" else pathlib.Path(args.data).stem
    table = []
    for name in SETTINGS:
        what = f"{data} k={args.factors} epochs={args.epochs} {name}"
        speed, peer_speed = (max(s for s, _ in runs[name]) for runs in (reel, libmf))
        rmse, peer_rmse = (min(r for _, r in runs[name]) for runs in (reel, libmf))
        peer = "LIBMF 0.9.2 AVX"
        table.append(("svd epoch", args.threads, what, f"{speed:.4g}", peer, f"{peer_speed:.4g}", "ratings/s"))
        table.append(("svd test", args.threads, what, f"{rmse:.5f}", peer, f"{peer_rmse:.5f}", "RMSE"))
    rows.append(table)


if __name__ == "__main__":
    main()
