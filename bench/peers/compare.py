#!/usr/bin/env python3
"""Reel beside its peers, end to end, interleaved in one run on this machine: the same fold files, the same threads.

    compare.py [cv] [import] [--data DIR]...

cv       Surprise 1.1.4's SVD and `reel cv -m svd`, both at their (equal) defaults, fold by fold in turn: RMSE and fit
         seconds. Surprise runs on one thread, so Reel's row that stands beside it does too.
import   `reel import` of a folder (ratings, movies, both indexes, hashes, durable file) beside pandas.read_csv of its
         ratings file alone, in turn, three times each, best of each.

Data: data/ml-latest-small, and ml-1m below REEL_SHARED_DATA (default ../shared/data) where it is; --data names others.
Run it with the Python that bench/peers/setup.sh prints. It appends rows to bench/results/<machine>.csv."""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))
import rows  # noqa: E402

REEL = os.environ.get("REEL_BIN", str(ROOT / "build" / "release" / "reel"))
FOLDS = 5


def reel(*args):
    """The JSON answer of one command and the seconds it took from outside."""
    begun = time.perf_counter()
    done = subprocess.run([REEL, *map(str, args), "--json", "--progress", "none"], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"compare.py: reel {' '.join(map(str, args))} failed:\n{done.stderr}")
    return json.loads(done.stdout), time.perf_counter() - begun


def surprise_fold(train, test):
    """(rmse, fit seconds) of Surprise's SVD at its defaults on one pair of fold files."""
    import surprise

    reader = surprise.Reader(line_format="user item rating timestamp", sep=",", skip_lines=1, rating_scale=(0.5, 5))
    data = surprise.Dataset.load_from_folds([(str(train), str(test))], reader)
    trainset, testset = next(surprise.model_selection.PredefinedKFold().split(data))
    algorithm = surprise.SVD(random_state=0)
    begun = time.perf_counter()
    algorithm.fit(trainset)
    seconds = time.perf_counter() - begun
    return surprise.accuracy.rmse(algorithm.test(testset), verbose=False), seconds


def compare_cv(name, folder, work):
    dataset = work / f"{name}.reel"
    reel("import", folder, "-o", dataset)
    reel("split", dataset, "--folds", FOLDS, "-o", work / "folds", "--seed", 1)
    ours, ours_all, theirs = [], [], []
    for fold in range(1, FOLDS + 1):
        train, test = work / "folds" / f"fold{fold}.train.csv", work / "folds" / f"fold{fold}.test.csv"
        files = ("--train", train, "--test", test)
        ours.append(reel("cv", dataset, "-m", "svd", *files, "--threads", 1)[0]["folds"][0])
        theirs.append(surprise_fold(train, test))
        ours_all.append(reel("cv", dataset, "-m", "svd", *files)[0]["folds"][0])
    mean = lambda values: sum(values) / len(values)  # noqa: E731
    what = f"{name} cv{FOLDS} k=100 epochs=20"
    rmse, peer_rmse = mean([f["rmse"] for f in ours]), mean([r for r, _ in theirs])
    fit, peer_fit = mean([f["fit_seconds"] for f in ours]), mean([s for _, s in theirs])
    fit_all = mean([f["fit_seconds"] for f in ours_all])
    if any(a["rmse"] != b["rmse"] for a, b in zip(ours, ours_all)):
        sys.exit("compare.py: the RMSE depends on the number of threads")
    peer = "Surprise 1.1.4 SVD"
    rows.append(
        [
            ("svd rmse", 1, what, f"{rmse:.5f}", peer, f"{peer_rmse:.5f}", "RMSE"),
            ("svd fit a fold", 1, what, f"{fit:.4f}", peer, f"{peer_fit:.3f}", "s"),
            ("svd fit a fold", rows.cores(), what, f"{fit_all:.4f}", peer, f"{peer_fit:.3f}", "s"),
        ]
    )


def compare_import(name, folder, work):
    import pandas

    ratings = folder / "ratings.csv"
    if not ratings.exists():
        return
    megabytes, ours, theirs = ratings.stat().st_size / 1e6, [], []
    ratings.read_bytes()  # both from the page cache
    for _ in range(3):
        ours.append(reel("import", folder, "-o", work / "import.reel")[1])
        begun = time.perf_counter()
        pandas.read_csv(ratings)
        theirs.append(time.perf_counter() - begun)
    (work / "import.reel").unlink()
    rows.append(
        [
            (
                "import",
                rows.cores(),
                f"{name} {megabytes:.0f} MB",
                f"{megabytes / min(ours):.1f}",
                "pandas.read_csv",
                f"{megabytes / min(theirs):.1f}",
                "MB/s",
            )
        ]
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", choices=["cv", "import", []], help="default: both")
    parser.add_argument("--data", action="append", type=pathlib.Path, default=[])
    args = parser.parse_args()
    shared = pathlib.Path(os.environ.get("REEL_SHARED_DATA", ROOT.parent / "shared" / "data"))
    folders = args.data or [ROOT / "data" / "ml-latest-small", shared / "ml-1m"]
    for folder in folders:
        if not folder.is_dir():
            print(f"skipped: there is no {folder}")
            continue
        with tempfile.TemporaryDirectory(prefix="reel-compare-") as work:
            if "import" in args.what or not args.what:
                compare_import(folder.name, folder, pathlib.Path(work))
            if "cv" in args.what or not args.what:
                compare_cv(folder.name, folder, pathlib.Path(work))


if __name__ == "__main__":
    main()
