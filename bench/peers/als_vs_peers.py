#!/usr/bin/env python3
"""Seconds an iteration of Reel's als beside cmfrec (explicit ratings) and implicit (implicit feedback), on the same
ratings, factors and threads, each side's runs next to the other's.

    als_vs_peers.py FOLDER [--factors N] [--threads N]

FOLDER is a MovieLens folder with ratings.csv (the twin: `reel gen --like ml-20m -o FOLDER`). Reel's seconds are those of
its best iteration of three; cmfrec's are a third of what four iterations take beyond one, so that neither its set-up nor
its conversions count; implicit reports its iterations itself, the best counts. cmfrec and implicit run with exact solutions
and with conjugate gradients (their defaults, three steps); Reel stands beside each with the same solver.
REEL_BENCH_PREFIX and REEL_BENCH_LOCK: see measured.py. Run it with the Python that bench/peers/setup.sh prints. It appends
rows to bench/results/<machine>.csv."""

import argparse
import json
import os
import pathlib
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "bench"), str(ROOT / "bench" / "peers")]
import rows  # noqa: E402
from measured import call  # noqa: E402

REEL = os.environ.get("REEL_BIN", str(ROOT / "build" / "release" / "reel"))


def read(path):
    """Dense users and movies, stars."""
    import numpy as np
    import pandas as pd

    table = pd.read_csv(path, usecols=[0, 1, 2], names=["user", "movie", "stars"], header=0)
    user, movie = (np.unique(table[name], return_inverse=True)[1].astype(np.int32) for name in ("user", "movie"))
    return user, movie, table.stars.to_numpy(np.float32)


def run_cmfrec(path, args):
    import pandas as pd
    from cmfrec import CMF

    user, movie, stars = read(path)
    table = pd.DataFrame({"UserId": user, "ItemId": movie, "Rating": stars})
    seconds = {}
    for iterations in (1, 4):
        model = CMF(k=args.factors, lambda_=0.05, scale_lam=True, niter=iterations, use_cg=args.cg, nthreads=args.threads,
                    finalize_chol=False, precompute_for_predictions=False, verbose=False)  # fmt: skip
        begun = time.perf_counter()
        model.fit(table)
        seconds[iterations] = time.perf_counter() - begun
    return (seconds[4] - seconds[1]) / 3


def run_implicit(path, args):
    import implicit.als
    import scipy.sparse as sparse

    user, movie, stars = read(path)
    ratings = sparse.csr_matrix((stars + 0.1, (user, movie)))
    model = implicit.als.AlternatingLeastSquares(
        factors=args.factors, regularization=0.05, alpha=10, iterations=3, num_threads=args.threads, use_cg=args.cg
    )
    seconds = []
    model.fit(ratings, show_progress=False, callback=lambda iteration, elapsed, loss: seconds.append(elapsed))
    return min(seconds)


def run_reel(dataset, args, work, *params):
    options = [option for param in params for option in ("-p", param)]
    command = [REEL, "train", dataset, "-m", "als", "-p", f"factors={args.factors}", "-p", "iterations=3", *options]
    answer = call([*command, "--threads", args.threads, "-o", work / "als.reel", "--json", "--progress", "none"])
    return min(epoch["seconds"] for epoch in json.loads(answer)["epochs"][1:])


def compare(args):
    script = [sys.executable, __file__, args.folder, "--factors", args.factors, "--threads", args.threads]
    with tempfile.TemporaryDirectory(prefix="reel-als-") as folder:
        work = pathlib.Path(folder)
        call([REEL, "import", args.folder, "-o", work / "ratings.reel", "--quiet"])
        for peer, feedback in (("cmfrec", ()), ("implicit", ("implicit=1",))):
            for cg in (False, True):
                solver = "solver=cg" if cg else "solver=cholesky"
                before = run_reel(work / "ratings.reel", args, work, solver, *feedback)
                theirs = float(call([*script, "--peer", peer, *(["--cg"] if cg else [])]))
                ours = min(before, run_reel(work / "ratings.reel", args, work, solver, *feedback))
                what = f"{pathlib.Path(args.folder).name} k={args.factors} {'implicit' if feedback else 'explicit'} {solver}"
                rows.append([("als iteration", args.threads, what, f"{ours:.3f}", peer, f"{theirs:.3f}", "s")])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--factors", type=int, default=64)
    parser.add_argument("--threads", type=int, default=rows.cores())
    parser.add_argument("--peer", choices=["cmfrec", "implicit"], help=argparse.SUPPRESS)
    parser.add_argument("--cg", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if not args.peer:
        compare(args)
    else:
        print((run_cmfrec if args.peer == "cmfrec" else run_implicit)(pathlib.Path(args.folder) / "ratings.csv", args))


if __name__ == "__main__":
    main()
