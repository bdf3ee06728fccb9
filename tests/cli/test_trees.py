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


def train_seed_a(small, parts, tmp_path, *options):
    parts[1].to_csv(tmp_path / "test.csv", index=False)
    return reel_json("train", small, "-m", "gbdt", "--protocol", "seed-a", "--test", tmp_path / "test.csv", "-o",
                     tmp_path / "gbdt.reel", *options)


@pytest.mark.parametrize("params", [{"subsample": 0.5}, {"max_features": 0.3}, {"min_samples_leaf": 200, "n_estimators": 40},
                                    {"min_samples_split": 5000, "max_depth": 6, "n_estimators": 40},
                                    {"subsample": 0.5, "loss": "huber", "max_features": 0.5}])
def test_other_parameters(small, parts, tmp_path, params):
    everything = pd.read_csv(EMBEDDED / "ratings.csv")
    train, test = parts
    answer = train_seed_a(small, parts, tmp_path, *(x for k, v in params.items() for x in ("-p", f"{k}={v}")))
    theirs = ensemble.GradientBoostingRegressor(random_state=0, **params).fit(features(train, everything), train.rating)
    expected = rmse(test.rating, theirs.predict(features(test, everything)))
    print(f"{params}: RMSE {answer['rmse']:.5f}, scikit-learn {expected:.5f}")
    assert abs(answer["rmse"] - expected) < (0.003 if "subsample" in params or "max_features" in params else 1e-5)


def test_early_stopping(small, parts, tmp_path):
    options = ["-p", "n_iter_no_change=5", "-p", "n_estimators=2000", "-p", "learning_rate=0.2", "-p", "tol=0.001"]
    answer = train_seed_a(small, parts, tmp_path, *options)
    losses = [stage["validation_loss"] for stage in answer["stages"]]
    assert 5 < len(losses) < 500 and len(answer["epochs"]) == len(losses)
    recent = [np.inf] * 5  # scikit-learn's rule
    for i, loss in enumerate(losses):
        go_on = any(loss + 0.001 < earlier for earlier in recent)
        assert go_on == (i < len(losses) - 1)
        recent[i % 5] = loss
    theirs = ensemble.GradientBoostingRegressor(random_state=0, n_iter_no_change=5, n_estimators=2000,
                                                learning_rate=0.2, tol=0.001)
    theirs.fit(features(parts[0], pd.read_csv(EMBEDDED / "ratings.csv")), parts[0].rating)
    print(f"stopped after {len(losses)} trees, scikit-learn after {theirs.n_estimators_} (another validation part)")
    assert abs(answer["stages"][-1]["test_rmse"] - answer["rmse"]) < 1e-6


def test_stages_and_importances(small, parts, tmp_path):
    everything = pd.read_csv(EMBEDDED / "ratings.csv")
    train, test = parts
    answer = train_seed_a(small, parts, tmp_path, "-p", "n_estimators=20")
    theirs = ensemble.GradientBoostingRegressor(n_estimators=20, random_state=0)
    theirs.fit(features(train, everything), train.rating)
    staged = [rmse(test.rating, p) for p in theirs.staged_predict(features(test, everything))]
    assert np.allclose([stage["test_rmse"] for stage in answer["stages"]], staged, atol=1e-6)
    assert np.allclose([stage["train_loss"] for stage in answer["stages"]], theirs.train_score_, rtol=1e-6)
    assert [stage["stage"] for stage in answer["stages"]] == list(range(1, 21))
    shares = [entry["share"] for entry in answer["importances"]]
    assert shares == sorted(shares, reverse=True) and abs(sum(shares) - 1) < 1e-5
    assert reel_json("info", tmp_path / "gbdt.reel")["importances"] == answer["importances"]
    assert "feature importances" in reel("info", tmp_path / "gbdt.reel")


def test_leave_one_out_helps_where_there_are_few_ratings(small):
    by_means = {means: reel_json("cv", small, "-m", "gbdt", "-p", f"means={means}", "-p", "n_estimators=40",
                                 "--protocol", "honest-a", "--seed", 3)["mean"]["rmse"] for means in ("train", "loo")}
    print(by_means)
    assert by_means["loo"] < by_means["train"] - 0.02


def test_on_top_of_a_model(small, tmp_path):
    split = ["--protocol", "honest-a", "--seed", 1]
    reel("train", small, "-m", "svd", "-p", "factors=5", "-o", tmp_path / "svd.reel", "--quiet")
    options = ["-p", f"init={tmp_path / 'svd.reel'}", "-p", "n_estimators=20", "-p", "means=loo"]
    models = []
    for threads in (1, 2, 5):
        answer = reel_json("train", small, "-m", "gbdt", *options, *split, "--threads", threads, "-o",
                           tmp_path / "both.reel")
        models.append((tmp_path / "both.reel").read_bytes())
    assert models[0] == models[1] == models[2]
    assert answer["rmse"] == reel_json("cv", small, "-m", "gbdt", *options, *split)["mean"]["rmse"]
    assert abs(answer["stages"][-1]["test_rmse"] - answer["rmse"]) < 1e-6
    alone = reel_json("cv", small, "-m", "gbdt", "-p", "n_estimators=20", "-p", "means=loo", *split)["mean"]["rmse"]
    assert answer["rmse"] < alone
    (tmp_path / "svd.reel").unlink()  # the model carries it
    reel("verify", tmp_path / "both.reel")
    rated = tmp_path / "rated.csv"
    rated.write_text("movieId,rating\n1,5\n2,4.5\n")
    for whose in (["--user", 5], ["--rated", rated]):
        assert len(reel_json("recommend", small, "--model", tmp_path / "both.reel", *whose, "-n", 3)["items"]) == 3
    assert "no_such" in refused(1, "train", small, "-m", "gbdt", "-p", "init=no_such", "-o", tmp_path / "x.reel")


@pytest.mark.parametrize("options", [["subsample=0.5"], ["max_features=0.4", "max_depth=8"], ["means=loo"],
                                     ["means=loo", "subsample=0.7", "loss=quantile", "n_iter_no_change=3"],
                                     ["factors_of=svd", "max_depth=2"]])
def test_threads_do_not_matter(small, tmp_path, options):
    svd = tmp_path / "svd.reel"
    reel("train", small, "-m", "svd", "-p", "factors=3", "-p", "epochs=2", "-o", svd, "--quiet")
    given = [x.replace("factors_of=svd", f"factors_of={svd}") for x in options]
    models = []
    for threads in (1, 2, 5):
        reel("train", small, "-m", "gbdt", "-p", "n_estimators=6", *(x for g in given for x in ("-p", g)), "--threads",
             threads, "-o", tmp_path / "m.reel", "--quiet")
        models.append((tmp_path / "m.reel").read_bytes())
    assert models[0] == models[1] == models[2]


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
    for param in ("subsample=0", "subsample=1.1", "max_features=0", "n_iter_no_change=0", "validation_fraction=1",
                  "tol=-1", "min_samples_leaf=0", "init_folds=1", "learning_rate=0", "alpha=1"):
        assert param.split("=")[0] in refused(2, "train", small, "-m", "gbdt", "-p", param, "-o", out)
    assert not out.exists()
