"""What the tests of predict, recommend and similar share: models, and their scores recomputed with numpy."""

import csv
import types

import numpy as np
import pytest

from eval_tools import EMBEDDED, ratings, reel, reel_json, refused, run, small  # noqa: F401
from reel_files import TensorFile


@pytest.fixture(scope="session")
def svd(small, tmp_path_factory):  # noqa: F811
    path = tmp_path_factory.mktemp("svd") / "svd.model"
    reel("train", small, "-m", "svd", "-p", "factors=16", "-p", "epochs=15", "--seed", 1, "-o", path)
    return path


@pytest.fixture(scope="session")
def bias(small, tmp_path_factory):  # noqa: F811
    path = tmp_path_factory.mktemp("bias") / "bias.model"
    reel("train", small, "-m", "bias", "-o", path)
    return path


@pytest.fixture(scope="session")
def movies():
    """id -> (title, year or None, set of genres), from movies.csv itself."""
    with open(EMBEDDED / "movies.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {int(row["movieId"]): row for row in rows}


def genres_of(row):
    return [] if row["genres"] == "(no genres listed)" else row["genres"].split("|")


def open_model(path):
    """ids, index of an id, and the arrays of a model file."""
    file = TensorFile(path)
    model = types.SimpleNamespace(file=file)
    model.user_ids = np.array(file["user_ids"])
    model.movie_ids = np.array(file["movie_ids"])
    model.user = {int(id): i for i, id in enumerate(model.user_ids)}
    model.movie = {int(id): i for i, id in enumerate(model.movie_ids)}
    model.mean = file["mean"][0]
    model.user_bias, model.movie_bias = np.array(file["user_bias"]), np.array(file["movie_bias"])
    if "user_factors" in file:
        model.user_factors = np.array(file["user_factors"]).reshape(file.shapes["user_factors"])
        model.movie_factors = np.array(file["movie_factors"]).reshape(file.shapes["movie_factors"])
    else:
        model.user_factors = np.zeros((len(model.user_ids), 1))
        model.movie_factors = np.zeros((len(model.movie_ids), 1))
    return model


def scores_of(model, user_id):
    """Raw scores (n_movies,) in doubles; an unknown user has no bias and no factors."""
    scores = model.mean + model.movie_bias.astype(float)
    if user_id in model.user:
        u = model.user[user_id]
        scores = scores + model.user_bias[u] + model.movie_factors.astype(float) @ model.user_factors[u].astype(float)
    return scores


def is_ranking(ids, of_id, tolerance=1e-5):
    """Scores fall along the list, up to rounding."""
    values = np.array([of_id[i] for i in ids])
    return bool(np.all(np.diff(values) <= tolerance))
