"""What the tests of split, train, cv, compare and eval share."""

import json
import os
import pathlib
import subprocess

import numpy as np
import pandas as pd
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
REEL = os.environ.get("REEL_BIN", str(ROOT / "build" / "release" / "reel"))
EMBEDDED = ROOT / "data" / "ml-latest-small"
SHARED = pathlib.Path(os.environ.get("REEL_SHARED_DATA", str(ROOT / ".." / "shared" / "data")))


def run(*args, **kwargs):
    return subprocess.run([REEL, *map(str, args)], capture_output=True, text=True, **kwargs)


def reel(*args):
    """Runs a command that must succeed; returns its standard output."""
    done = run(*args)
    assert done.returncode == 0, f"{' '.join(map(str, args))}: {done.stderr}"
    return done.stdout


def reel_json(*args):
    """The one JSON object that a command prints with --json."""
    out = reel(*args, "--json", "--progress", "none")
    assert out.count("\n") == 1 and out.endswith("\n"), out
    answer = json.loads(out)
    assert isinstance(answer, dict)
    return answer


def refused(code, *args):
    """Runs a command that must fail with exit status `code` and one line; returns that line."""
    args = (*args, "--progress", "none")
    done = run(*args)
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    assert done.stdout == ""
    # A build with CUDA notes once that no GPU is here.
    lines = [line for line in done.stderr.splitlines() if not line.startswith("reel: note: no usable CUDA device")]
    assert len(lines) == 1 and lines[0].startswith("reel: "), done.stderr
    with_json = run(*args, "--json")
    assert with_json.returncode == code
    error = json.loads(with_json.stdout)["error"]
    assert error["code"] and error["message"]
    return lines[0]


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """Dataset file of the embedded data."""
    path = tmp_path_factory.mktemp("small") / "ml.reel"
    reel("import", EMBEDDED, "-o", path)
    return path


@pytest.fixture(scope="session")
def ratings():
    """The embedded ratings, by user and movie."""
    return pd.read_csv(EMBEDDED / "ratings.csv").sort_values(["userId", "movieId"], ignore_index=True)


@pytest.fixture(scope="session")
def folds(small, tmp_path_factory):
    """Folder with the five folds of seed 3."""
    path = tmp_path_factory.mktemp("folds")
    reel("split", small, "--folds", 5, "--seed", 3, "-o", path)
    return path


def fold_frames(folder, fold):
    return tuple(pd.read_csv(folder / f"fold{fold}.{part}.csv") for part in ("train", "test"))


def fold_options(folder, n=5):
    """--train and --test options of a folder of folds."""
    options = []
    for fold in range(1, n + 1):
        options += ["--train", folder / f"fold{fold}.train.csv", "--test", folder / f"fold{fold}.test.csv"]
    return options


def rmse(truth, predicted, low=0.5, high=5.0):
    error = np.clip(np.asarray(predicted, float), low, high) - np.asarray(truth, float)
    return float(np.sqrt(np.mean(error**2)))


def mean_predictions(train, test):
    return np.full(len(test), train.rating.mean())


def bias_predictions(train, test, epochs=10, reg_u=15.0, reg_i=10.0):
    """Regularised baselines by alternating half-steps, as Surprise's BaselineOnly (als) has them."""
    users, user = np.unique(train.userId, return_inverse=True)
    movies, movie = np.unique(train.movieId, return_inverse=True)
    mean = train.rating.mean()
    residual = train.rating.to_numpy() - mean
    user_bias, movie_bias = np.zeros(len(users)), np.zeros(len(movies))
    user_count, movie_count = np.bincount(user), np.bincount(movie)
    for _ in range(epochs):
        movie_bias = np.bincount(movie, residual - user_bias[user]) / (reg_i + movie_count)
        user_bias = np.bincount(user, residual - movie_bias[movie]) / (reg_u + user_count)
    of_user = pd.Series(user_bias, index=users)
    of_movie = pd.Series(movie_bias, index=movies)
    return mean + of_user.reindex(test.userId).fillna(0).to_numpy() + of_movie.reindex(test.movieId).fillna(0).to_numpy()
