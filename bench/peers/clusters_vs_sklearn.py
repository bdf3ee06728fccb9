#!/usr/bin/env python3
"""Reel's spectral clustering beside scikit-learn's, interleaved in one run on the same profiles, and its times at
138,493 users, which scikit-learn's dense affinity (153 GB) cannot hold.

    clusters_vs_sklearn.py [--users N] [--data DATASET] [--rbf] [--repeat N]

Without --data it makes the 20 M twin and imports it. --users is the size both sides cluster (default 10,000).
--rbf adds the exact rbf affinity of all users, which takes minutes on two cores. Run it with the Python that
bench/peers/setup.sh prints. It appends rows to bench/results/<machine>.csv."""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))
sys.path.insert(0, str(ROOT / "tests" / "cli"))
import rows  # noqa: E402
from reel_files import TensorFile  # noqa: E402

REEL = ROOT / "build" / "release" / "reel"


def reel(*args):
    done = subprocess.run([str(REEL), *map(str, args)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"clusters_vs_sklearn.py: {done.stderr}")
    return done.stdout


def twin(folder, name, *args):
    reel("gen", "--like", "ml-20m", *args, "-o", folder / name, "--quiet")
    reel("import", folder / name, "-o", folder / f"{name}.reel", "--quiet")
    return folder / f"{name}.reel"


def ours(dataset, affinity, out=None):
    """Seconds of profiles, eigenvectors and assignment; the report."""
    report = json.loads(reel("cluster", dataset, "-k", 4, "--affinity", affinity, "--json", "--progress", "none",
                             *(["-o", out] if out else [])))
    return report["profile_seconds"] + report["eigen_seconds"] + report["assign_seconds"], report


def theirs(x, affinity):
    from sklearn.cluster import SpectralClustering
    names = {"polynomial": "poly", "cosine": "cosine", "rbf": "rbf"}
    model = SpectralClustering(n_clusters=4, affinity=names[affinity], degree=3, coef0=1, gamma=1, random_state=0, n_jobs=-1)
    begin = time.perf_counter()
    labels = model.fit_predict(x)
    return time.perf_counter() - begin, labels


def beside_sklearn(args, folder):
    from sklearn.metrics import adjusted_rand_score
    dataset = twin(folder, "some", "--users", args.users)
    for affinity in ("cosine", "polynomial", "rbf"):
        best, peer, out = float("inf"), float("inf"), folder / "clusters.reel"
        for _ in range(args.repeat):
            seconds, report = ours(dataset, affinity, out)
            best = min(best, seconds)
            file = TensorFile(out)
            x = np.array(file["profiles"]).reshape(file.shapes["profiles"])
            seconds, labels = theirs(x, affinity)
            peer = min(peer, seconds)
        agreement = adjusted_rand_score(labels, list(file["labels"]))
        rows.append([("clusters", rows.cores(), f"{affinity} {len(x)} users, ARI {agreement:.4f}", f"{best:.3f}",
                      "scikit-learn", f"{peer:.3f}", "s")])


def all_users(args, folder):
    full = args.data or twin(folder, "all")
    tenth = twin(folder, "tenth", "--users", 13849)
    for affinity in ("cosine", "polynomial", *(["rbf"] if args.rbf else [])):
        for dataset in (tenth, full):
            seconds, report = ours(dataset, affinity)
            what = f"{affinity} {report['n_clustered']} users, residual {max(report['residuals']):.0e}, {report['peak_rss_bytes'] / 2**20:.0f} MiB"
            rows.append([("clusters", rows.cores(), what, f"{seconds:.2f}", "", "", "s")])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=10000)
    parser.add_argument("--data", type=pathlib.Path)
    parser.add_argument("--rbf", action="store_true")
    parser.add_argument("--repeat", type=int, default=2)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        beside_sklearn(args, pathlib.Path(work))
        all_users(args, pathlib.Path(work))


if __name__ == "__main__":
    main()
