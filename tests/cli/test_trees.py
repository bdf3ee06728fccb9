"""gbdt beside scikit-learn on the rows of source system A, and through the commands."""

import json

import numpy as np
import pandas as pd
import pytest

from eval_tools import EMBEDDED, reel, reel_json, refused, rmse, small  # noqa: F401
from reel_files import TensorFile
from tree_tools import features, seed_a_parts

ensemble = pytest.importorskip("sklearn.ensemble", reason="scikit-learn is not installed")


@pytest.fixture(scope="module")
def parts():
    return seed_a_parts()


LOSSES = {
    "squared": {"loss": "squared_error"},
    "absolute": {"loss": "absolute_error"},
    "huber": {"loss": "huber"},
    "quantile": {"loss": "quantile", "alpha": 0.9},
}
# Of equal splits scikit-learn takes one at random. absolute, whose gradients are but +1 and -1, meets some from stage 98 on:
# scikit-learn's own seeds differ by 3e-6 there; with this one its choices are ours.
SEED = {"absolute": 7}


@pytest.mark.parametrize("loss", LOSSES)
def test_parity_with_scikit_learn(small, parts, tmp_path, loss):
    train, test = parts
    everything = pd.read_csv(EMBEDDED / "ratings.csv")
    test.to_csv(tmp_path / "test.csv", index=False)
    params = [] if loss == "squared" else ["-p", f"loss={loss}"]
    answer = reel_json("train", small, "-m", "gbdt", "--protocol", "seed-a", "--test", tmp_path / "test.csv", "-o",
                       tmp_path / "gbdt.reel", *params)
    assert (answer["n_ratings"], answer["n_test"]) == (len(train), len(test))
    model = TensorFile(tmp_path / "gbdt.reel")
    theirs = ensemble.GradientBoostingRegressor(random_state=SEED.get(loss, 0), **LOSSES[loss])
    theirs.fit(features(train, everything), train.rating)
    worst = np.max(np.abs(np.array(model["train_loss"]) / theirs.train_score_ - 1))
    print(f"largest relative difference of the training loss: {worst:.2g}")
    assert worst < 1e-6
    # Looser: columns that cut the same rows apart can trade credit (not examined column by column).
    assert np.allclose(model["importances"], theirs.feature_importances_, atol=1e-3)

    expected = np.clip(theirs.predict(features(test, everything)), 0.5, 5)
    reel("predict", small, "--model", tmp_path / "gbdt.reel", "--pairs", tmp_path / "test.csv", "-o",
         tmp_path / "scores.csv")
    scores = pd.read_csv(tmp_path / "scores.csv").iloc[:, -1].to_numpy()
    close = np.mean(np.abs(scores - expected) < 1e-4)
    print(f"{loss}: RMSE {answer['rmse']:.5f}, scikit-learn {rmse(test.rating, expected):.5f}, "
          f"system A's own 0.8100 with TMDB genres; {close:.2%} of predictions within 1e-4")
    assert close >= 0.999


def test_compare_and_recommend(small, tmp_path):
    answer = reel_json("compare", small, "-m", "gbdt,bias,mean", "--protocol", "honest-a", "--seed", 1)
    by_name = {model["algo"]: model["rmse"] for model in answer["models"]}
    assert by_name["gbdt"] < by_name["mean"]
    reel("train", small, "-m", "gbdt", "-p", "n_estimators=20", "-o", tmp_path / "gbdt.reel")
    listed = reel_json("recommend", small, "--model", tmp_path / "gbdt.reel", "--user", 5, "-n", 7)
    assert len(json.dumps(listed)) > 50
    rated = tmp_path / "rated.csv"
    rated.write_text("movieId,rating\n1,5\n2,4.5\n")
    low = tmp_path / "low.csv"
    low.write_text("movieId,rating\n1,1\n2,0.5\n")
    best = [reel_json("recommend", small, "--model", tmp_path / "gbdt.reel", "--rated", file, "-n", 1) for file in
            (rated, low)]
    assert best[0] != best[1]


def test_seed_a_leaks_and_honest_a_does_not(small):
    leaky = reel_json("cv", small, "-m", "gbdt", "--protocol", "seed-a", "--seed", 3)["mean"]["rmse"]
    honest = reel_json("cv", small, "-m", "gbdt", "--protocol", "honest-a", "--seed", 3)["mean"]["rmse"]
    asked = reel_json("cv", small, "-m", "gbdt", "-p", "means=all", "--protocol", "honest-a", "--seed", 3)
    assert leaky < honest and asked["mean"]["rmse"] == leaky


def test_refusals(small, tmp_path):
    out = tmp_path / "no.reel"
    assert "max_depth" in refused(2, "train", small, "-m", "gbdt", "-p", "max_depth=9", "-o", out)
    assert "movies_metadata" in refused(1, "train", small, "-m", "gbdt", "-p", "genres=tmdb", "-o", out)
    assert "seed-a" in refused(2, "train", small, "-m", "gbdt", "--protocol", "seed-b", "-o", out)
    assert not out.exists()
