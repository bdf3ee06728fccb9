#!/usr/bin/env python3
"""Reel's svd beside LIBMF (built with AVX), interleaved in one run: the same training and test ratings, factors, epochs
and threads.

    svd_vs_libmf.py [--data DATASET] [--threads N] [--factors N] [--epochs N] [--repeat N]

DATASET is a dataset file; without it bench_sgd makes 20 M synthetic ratings. Ratings/s are those of each side's
best run's median epoch; preparations and measuring are left out on both sides. LIBMF runs with svd's
regularization (0.02) and with its own default (0.1), always with its own step-size rule (eta 0.1). Run it with the
Python that bench/peers/setup.sh prints. It appends rows to bench/results/<machine>.csv."""

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
LAMBDAS = ("0.02", "0.1")


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
        reel, libmf = [], {regularization: [] for regularization in LAMBDAS}
        for _ in range(args.repeat):
            for regularization in LAMBDAS:
                reel.append(ours(args))
                libmf[regularization].append(theirs(args, driver, work, regularization))
    speed, rmse = max(s for s, _ in reel), reel[0][1]
    name = "synthetic" if args.data == "synthetic" else pathlib.Path(args.data).stem
    table = []
    for regularization in LAMBDAS:
        what = f"{name} k={args.factors} epochs={args.epochs}"
        peer = f"LIBMF 0.9.2 AVX lambda={regularization}"
        peer_speed = max(s for s, _ in libmf[regularization])
        peer_rmse = min(r for _, r in libmf[regularization])
        table.append(("svd epoch", args.threads, what, f"{speed:.4g}", peer, f"{peer_speed:.4g}", "ratings/s"))
        table.append(("svd test", args.threads, what, f"{rmse:.5f}", peer, f"{peer_rmse:.5f}", "RMSE"))
    rows.append(table)


if __name__ == "__main__":
    main()
