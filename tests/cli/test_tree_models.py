"""tree, forest, adaboost and linear beside scikit-learn on the rows of source system A, and on awkward data."""

import numpy as np
import pandas as pd
import pytest

from eval_tools import EMBEDDED, reel, reel_json, refused, rmse, small  # noqa: F401
from reel_files import TensorFile
from tree_tools import features, seed_a_parts

ensemble = pytest.importorskip("sklearn.ensemble", reason="scikit-learn is not installed")
from sklearn import linear_model, pipeline, preprocessing, tree  # noqa: E402


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """The wide tables and targets of both parts, and the file of the test part."""
    everything = pd.read_csv(EMBEDDED / "ratings.csv")
    train, test = seed_a_parts()
    path = tmp_path_factory.mktemp("parts") / "test.csv"
    test.to_csv(path, index=False)
    return features(train, everything), train.rating, features(test, everything), test.rating, path


def ours(small, tables, out, algorithm, *options):
    answer = reel_json("train", small, "-m", algorithm, "--protocol", "seed-a", "--test", tables[4], "-o",
                       out / f"{algorithm}.reel", *options)
    assert (answer["n_ratings"], answer["n_test"]) == (len(tables[1]), len(tables[3]))
    return answer["rmse"]


def theirs(tables, estimator):
    estimator.fit(tables[0], tables[1])
    return rmse(tables[3], estimator.predict(tables[2]))


def test_linear_is_ridge(small, tables, tmp_path):
    estimator = pipeline.make_pipeline(preprocessing.StandardScaler(), linear_model.Ridge(alpha=1.0))
    assert abs(ours(small, tables, tmp_path, "linear") - theirs(tables, estimator)) < 1e-6
    model = TensorFile(tmp_path / "linear.reel")
    expected = estimator[-1].coef_ / estimator[0].scale_
    assert np.allclose(model["coefficients"], expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("params", [{}, {"max_depth": 10}, {"min_samples_leaf": 20}, {"min_samples_split": 50}])
def test_tree(small, tables, tmp_path, params):
    """scikit-learn takes a random one of equal splits: of a full tree its own seeds differ in the third digit."""
    options = [option for key, value in params.items() for option in ("-p", f"{key}={value}")]
    mean = np.mean([theirs(tables, tree.DecisionTreeRegressor(random_state=seed, **params)) for seed in range(5)])
    ours_rmse = ours(small, tables, tmp_path, "tree", *options)
    print(f"tree {params}: RMSE {ours_rmse:.4f}, scikit-learn {mean:.4f}")
    assert abs(ours_rmse - mean) < 0.01


def test_forest_over_five_seeds(small, tables, tmp_path):
    options = ["-p", "n_estimators=10", "-p", "max_features=0.33", "-p", "min_samples_leaf=3"]
    mine = [ours(small, tables, tmp_path, "forest", *options, "--seed", seed) for seed in range(5)]
    other = [theirs(tables, ensemble.RandomForestRegressor(10, max_features=0.33, min_samples_leaf=3, n_jobs=1,
                                                           random_state=seed)) for seed in range(5)]
    print(f"forest: RMSE {np.mean(mine):.4f}, scikit-learn {np.mean(other):.4f}")
    assert abs(np.mean(mine) - np.mean(other)) < 0.01
    assert len(set(mine)) == 5


def test_full_forest(small, tables, tmp_path):
    mine = ours(small, tables, tmp_path, "forest", "-p", "n_estimators=20", "-p", "oob=1")
    estimator = ensemble.RandomForestRegressor(20, n_jobs=1, random_state=0, oob_score=False)
    assert abs(mine - theirs(tables, estimator)) < 0.01
    model = TensorFile(tmp_path / "forest.reel")
    assert 0.8 < float(model.metadata["oob.rmse"]) < 1.0
    assert np.allclose(model["importances"], estimator.feature_importances_, atol=0.01)


def test_adaboost_over_five_seeds(small, tables, tmp_path):
    mine = [ours(small, tables, tmp_path, "adaboost", "--seed", seed) for seed in range(5)]
    other = [theirs(tables, ensemble.AdaBoostRegressor(random_state=seed)) for seed in range(5)]
    print(f"adaboost: RMSE {np.mean(mine):.4f}, scikit-learn {np.mean(other):.4f}")
    assert abs(np.mean(mine) - np.mean(other)) < 0.01


@pytest.mark.parametrize("algorithm", ["tree", "forest", "adaboost", "linear", "gbdt"])
def test_saved_models_score_and_recommend(small, tmp_path, algorithm):
    model = tmp_path / "model.reel"
    few = [] if algorithm in ("tree", "linear") else ["-p", "n_estimators=5"]
    answer = reel_json("train", small, "-m", algorithm, *few, "--protocol", "honest-a", "-o", model)
    assert 0.7 < answer["rmse"] < 1.25
    reel("verify", model)
    listed = reel_json("recommend", small, "--model", model, "--user", 5, "-n", 3)
    assert len(listed["items"]) == 3
    bytes_of = []
    for threads in (1, 2, 5):
        reel("train", small, "-m", algorithm, *few, "--threads", threads, "-o", model, "--quiet")
        bytes_of.append(model.read_bytes())
    assert bytes_of[0] == bytes_of[1] == bytes_of[2]


@pytest.fixture(scope="module")
def awkward(tmp_path_factory):
    """Datasets: one user, the same stars everywhere, a single rating."""
    folder = tmp_path_factory.mktemp("awkward")
    rows = {
        "one-user": [(1, m, 1 + m % 9 / 2) for m in range(1, 40)],
        "constant": [(u, m, 3.5) for u in range(1, 9) for m in range(1, 9)],
        "single": [(1, 1, 4.0)],
    }
    for name, ratings in rows.items():
        lines = [f"{u},{m},{stars},{1000000000 + 5000 * u + m}" for u, m, stars in ratings]
        (folder / f"{name}.csv").write_text("userId,movieId,rating,timestamp\n" + "\n".join(lines) + "\n")
        reel("import", folder / f"{name}.csv", "-o", folder / f"{name}.reel")
    return folder


@pytest.mark.parametrize("algorithm", ["tree", "forest", "adaboost", "linear", "gbdt"])
@pytest.mark.parametrize("name", ["one-user", "constant", "single"])
def test_awkward_data(awkward, tmp_path, algorithm, name):
    model, scores = tmp_path / "model.reel", tmp_path / "scores.csv"
    reel("train", awkward / f"{name}.reel", "-m", algorithm, "-o", model)
    reel("predict", awkward / f"{name}.reel", "--model", model, "--pairs", awkward / f"{name}.csv", "-o", scores)
    predicted = pd.read_csv(scores).iloc[:, -1]
    assert np.isfinite(predicted).all()
    if name != "one-user":
        assert np.allclose(predicted, 3.5 if name == "constant" else 4.0)


def test_refusals(small, tmp_path):
    out = tmp_path / "no.reel"
    for algorithm, param in [("tree", "max_depth=65"), ("tree", "max_depth=0"), ("tree", "min_samples_leaf=0"),
                             ("forest", "n_estimators=0"), ("forest", "max_features=0"), ("forest", "max_samples=1.5"),
                             ("adaboost", "n_estimators=1001"), ("adaboost", "learning_rate=0"),
                             ("adaboost", "loss=huber"), ("linear", "alpha=-1"), ("linear", "alpha=nan")]:
        assert param.split("=")[0] in refused(2, "train", small, "-m", algorithm, "-p", param, "-o", out)
    assert "bootstrap" in refused(2, "train", small, "-m", "forest", "-p", "oob=1", "-p", "bootstrap=0", "-o", out)
    assert "alpha" in refused(1, "train", small, "-m", "linear", "-p", "alpha=0", "-o", out)
    assert not out.exists()
