"""reel eval --ranking and cv --ranking against a plain recomputation."""

import csv
import math

import numpy as np
import pytest

from eval_tools import reel, reel_json, refused, small  # noqa: F401
from score_tools import open_model, scores_of


def read(path):
    with open(path, newline="") as file:
        return [(int(r["userId"]), int(r["movieId"]), float(r["rating"])) for r in csv.DictReader(file)]


@pytest.fixture(scope="module")
def parts(small, tmp_path_factory):  # noqa: F811
    """Train and test files of a per-user split, and an svd trained without the test part."""
    folder = tmp_path_factory.mktemp("ranking")
    reel("split", small, "--folds", 5, "--split", "per-user", "-o", folder)
    model = folder / "svd.model"
    test = folder / "fold1.test.csv"
    reel("train", small, "-m", "svd", "-p", "factors=8", "-p", "epochs=5", "--test", test, "-o", model)
    return folder / "fold1.train.csv", test, model


def plain_metrics(train, test, model, n, relevant):
    seen, wanted = {}, {}
    for u, m, _ in train:
        seen.setdefault(u, set()).add(m)
    for u, m, stars in test:
        if stars >= relevant:
            wanted.setdefault(u, set()).add(m)
    figures, recommended = [], set()
    for u, movies in sorted(wanted.items()):
        scores = scores_of(model, u)
        order = [int(model.movie_ids[i]) for i in np.lexsort((np.arange(len(scores)), -scores))]
        best = [m for m in order if m not in seen.get(u, ())][:n]
        recommended.update(best)
        hits = [m in movies for m in best]
        dcg = sum(1 / math.log2(i + 2) for i, hit in enumerate(hits) if hit)
        ideal = sum(1 / math.log2(i + 2) for i in range(min(n, len(movies))))
        precisions = sum(sum(hits[:i + 1]) / (i + 1) for i, hit in enumerate(hits) if hit)
        figures.append((sum(hits) / n, sum(hits) / len(movies), dcg / ideal, precisions / min(n, len(movies)), any(hits)))
    names = ["precision", "recall", "ndcg", "map", "hit_rate"]
    out = dict(zip(names, np.mean(np.array(figures, float), axis=0)))
    out["coverage"] = len(recommended) / len(model.movie_ids)
    out["n_users"] = len(figures)
    return out


@pytest.mark.parametrize("n, relevant", [(10, 4), (3, 5), (50, 0.5)])
def test_against_plain_loops(small, parts, n, relevant):  # noqa: F811
    train, test, model = parts
    answer = reel_json("eval", small, "--model", model, "--test", test, "--ranking", "-n", n, "--relevant", relevant)
    expected = plain_metrics(read(train), read(test), open_model(model), n, relevant)
    assert expected["hit_rate"] > 0  # else the test could not fail
    for name, value in expected.items():
        # scores in single precision may swap neighbours that are equal to 1e-6
        assert answer["ranking"][name] == pytest.approx(value, abs=2e-3), name


def test_cv_and_threads(small):  # noqa: F811
    args = ("cv", small, "-m", "bias", "--protocol", "time", "--ranking", "-n", 5)
    one, many = reel_json(*args, "--threads", 1), reel_json(*args, "--threads", 5)
    assert one["folds"][0]["ranking"] == many["folds"][0]["ranking"]
    assert one["folds"][0]["ranking"]["n_users"] > 300
    assert "ranking" not in reel_json("cv", small, "-m", "bias", "--protocol", "time")["folds"][0]


def test_bad_requests(small, parts):  # noqa: F811
    _, test, model = parts
    ask = ("eval", small, "--model", model, "--test", test, "--ranking")
    assert "1..1000" in refused(2, *ask, "-n", 0)
    assert "1..1000" in refused(2, *ask, "-n", 100000)
    assert "0.5..5" in refused(2, *ask, "--relevant", 7)
