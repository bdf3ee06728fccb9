"""RMSE beside Surprise's on the same fold files: svd at its defaults, bias beside BaselineOnly.

$REEL_PEERS_PYTHON is a Python that has scikit-surprise. ML-1M takes minutes, so only with REEL_TEST_LARGE=1.
"""

import json
import os
import subprocess

import pytest

from eval_tools import SHARED, fold_options, reel, reel_json, small  # noqa: F401

PEERS = os.environ.get("REEL_PEERS_PYTHON", "")
if not PEERS:
    pytest.skip("REEL_PEERS_PYTHON is not set (a Python with scikit-surprise)", allow_module_level=True)
if subprocess.run([PEERS, "-c", "import surprise"], capture_output=True).returncode != 0:
    pytest.skip(f"{PEERS} has no scikit-surprise", allow_module_level=True)

SURPRISE = """
import csv, json, sys
import numpy as np
import surprise

folder, name = sys.argv[1:3]

def rows(part, fold):
    with open(f"{folder}/fold{fold}.{part}.csv") as file:
        reader = csv.reader(file)
        next(reader)
        return [(user, movie, float(rating), None) for user, movie, rating, _ in reader]

scores = []
for fold in range(1, 6):
    train = rows("train", fold)
    stars = [row[2] for row in train]
    data = surprise.Dataset(surprise.Reader(rating_scale=(min(stars), max(stars))))
    algorithm = surprise.SVD(random_state=1) if name == "svd" else surprise.BaselineOnly(verbose=False)
    algorithm.fit(data.construct_trainset(train))
    test = [row[:3] for row in rows("test", fold)]
    scores.append(surprise.accuracy.rmse(algorithm.test(test), verbose=False))
print(json.dumps({"rmse": float(np.mean(scores)), "version": surprise.__version__}))
"""


def surprise_rmse(folder, name):
    done = subprocess.run([PEERS, "-c", SURPRISE, str(folder), name], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    return answer["rmse"], answer["version"]


def compare(dataset, folder, algorithm):
    reel("split", dataset, "--folds", 5, "--seed", 1, "-o", folder)
    ours = reel_json("cv", dataset, "-m", algorithm, "--seed", 1, *fold_options(folder))["mean"]["rmse"]
    theirs, version = surprise_rmse(folder, algorithm)
    print(f"{algorithm}: reel {ours:.5f}, Surprise {version} {theirs:.5f}")
    return ours, theirs


def test_svd(small, tmp_path):
    ours, theirs = compare(small, tmp_path, "svd")
    assert ours <= theirs + 0.003


def test_bias(small, tmp_path):
    ours, theirs = compare(small, tmp_path, "bias")
    assert abs(ours - theirs) <= 0.002


@pytest.fixture(scope="module")
def ml_1m(tmp_path_factory):
    if os.environ.get("REEL_TEST_LARGE") != "1":
        pytest.skip("takes minutes; REEL_TEST_LARGE=1 runs it")
    if not (SHARED / "ml-1m" / "ratings.dat").exists():
        pytest.skip(f"{SHARED}/ml-1m is not here")
    path = tmp_path_factory.mktemp("ml-1m") / "ml-1m.reel"
    reel("import", SHARED / "ml-1m", "-o", path)
    return path


def test_svd_ml_1m(ml_1m, tmp_path):
    ours, theirs = compare(ml_1m, tmp_path, "svd")
    assert ours <= theirs + 0.003


def test_bias_ml_1m(ml_1m, tmp_path):
    ours, theirs = compare(ml_1m, tmp_path, "bias")
    assert abs(ours - theirs) <= 0.002
