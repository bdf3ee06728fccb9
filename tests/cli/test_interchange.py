"""reel export and reel import-model: trees to and from XGBoost and LightGBM, broken files of theirs.

$REEL_PEERS_PYTHON is a Python that has xgboost and lightgbm; without them what needs no other program remains."""

import json
import os
import subprocess

import numpy as np
import pandas as pd
import pytest

from eval_tools import EMBEDDED, reel, reel_json, refused, small  # noqa: F401

PEERS = os.environ.get("REEL_PEERS_PYTHON", "")


def peer(module):
    have = PEERS and subprocess.run([PEERS, "-c", f"import {module}"], capture_output=True).returncode == 0
    return pytest.mark.skipif(not have, reason=f"REEL_PEERS_PYTHON has no {module}")


def run_peer(code, *args):
    done = subprocess.run([PEERS, "-c", code, *map(str, args)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# The table that trees see, of the first ratings, and scores of the peer for it.
PREPARE = """
import sys
import numpy as np, pandas as pd
folder = sys.argv[1]
table = pd.read_csv(f"{folder}/features.csv")
names = [name for name in table.columns if name not in ("userId", "movieId", "rating", "timestamp")]
x, y = table[names].to_numpy("f4"), table["rating"].to_numpy("f4")
"""
XGBOOST_TRAIN = PREPARE + """
import xgboost
data = xgboost.DMatrix(x, y, feature_names=names)
model = xgboost.train({"max_depth": 5, "eta": 0.3, "nthread": 1, "tree_method": "hist"}, data, 30)
model.save_model(f"{folder}/theirs.json")
np.save(f"{folder}/expected.npy", model.predict(data))
"""
XGBOOST_LOAD = PREPARE + """
import xgboost
model = xgboost.Booster({"nthread": 1}, model_file=f"{folder}/exported/forest.json")
chosen = table[model.feature_names].to_numpy("f4")
np.save(f"{folder}/expected.npy", model.predict(xgboost.DMatrix(chosen, feature_names=model.feature_names)))
"""
LIGHTGBM_TRAIN = PREPARE + """
import lightgbm
names = [name.replace(" ", "_") for name in names]
params = {"num_leaves": 40, "num_threads": 1, "verbosity": -1, "min_data_in_leaf": 5, "seed": 1}
params.update(eval(sys.argv[2]))
model = lightgbm.train(params, lightgbm.Dataset(x, y, feature_name=names), 30)
model.save_model(f"{folder}/theirs.txt")
np.save(f"{folder}/expected.npy", model.predict(x))
"""


@pytest.fixture(scope="module")
def table(small, tmp_path_factory):
    """All ratings and what trees see of them, means from all."""
    folder = tmp_path_factory.mktemp("table")
    reel("features", small, "-o", folder / "features.csv", "--with-rating", "-p", "year=1", "-p", "hour=1")
    rows = pd.read_csv(EMBEDDED / "ratings.csv").sort_values(["userId", "movieId"])
    rows[["userId", "movieId", "timestamp"]].to_csv(folder / "pairs.csv", index=False)
    return folder


def scores_of(dataset, model, folder):
    reel("predict", dataset, "--model", model, "--pairs", folder / "pairs.csv", "-o", folder / "scores.npy")
    return np.load(folder / "scores.npy")


def same_scores(dataset, model, folder):
    expected = np.clip(np.load(folder / "expected.npy"), 0.5, 5)
    worst = np.abs(scores_of(dataset, model, folder) - expected).max()
    print(f"largest difference: {worst:.2g}")
    assert worst < 1e-5


@peer("xgboost")
def test_xgboost_loads_what_is_exported(small, table, tmp_path):
    for algorithm, params in (("gbdt", ()), ("gbdt", ("-p", "max_depth=8", "-p", "n_estimators=20")), ("tree", ())):
        reel("train", small, "-m", algorithm, *params, "-o", tmp_path / "ours.reel")
        reel("export", tmp_path / "ours.reel", "-o", table / "exported")
        run_peer(XGBOOST_LOAD, table)
        same_scores(small, tmp_path / "ours.reel", table)


@peer("xgboost")
def test_trees_of_xgboost(small, table, tmp_path):
    run_peer(XGBOOST_TRAIN, table)
    answer = reel_json("import-model", table / "theirs.json", "--dataset", small, "-o", tmp_path / "theirs.reel")
    assert answer["format"] == "xgboost"
    same_scores(small, tmp_path / "theirs.reel", table)
    # and back again
    reel("export", tmp_path / "theirs.reel", "-o", table / "exported")
    reel("import-model", table / "exported" / "forest.json", "--dataset", small, "-o", tmp_path / "again.reel")
    assert np.array_equal(scores_of(small, tmp_path / "again.reel", table),
                          scores_of(small, tmp_path / "theirs.reel", table))


@peer("lightgbm")
@pytest.mark.parametrize("params", [{}, {"objective": "regression_l1", "max_depth": 3},
                                    {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.7}])
def test_trees_of_lightgbm(small, table, tmp_path, params):
    run_peer(LIGHTGBM_TRAIN, table, params)
    answer = reel_json("import-model", table / "theirs.txt", "--dataset", small, "-o", tmp_path / "theirs.reel")
    assert answer["format"] == "lightgbm"
    same_scores(small, tmp_path / "theirs.reel", table)


def test_recommendations_of_imported_trees(small, tmp_path):
    """Without a peer: what export wrote scores as the model did, singly, in bulk and for a visitor."""
    reel("train", small, "-m", "gbdt", "-p", "n_estimators=20", "-p", "means=all", "-o", tmp_path / "ours.reel")
    reel("export", tmp_path / "ours.reel", "-o", tmp_path / "exported")
    reel("import-model", tmp_path / "exported" / "forest.json", "--dataset", small, "-o", tmp_path / "theirs.reel")
    lists = []
    for model in ("ours.reel", "theirs.reel"):
        lists.append(reel_json("recommend", small, "--model", tmp_path / model, "--user", 7, "-n", 20)["items"])
    assert [item["id"] for item in lists[0]] == [item["id"] for item in lists[1]]


def test_arrays_of_models(small, tmp_path):
    reel("train", small, "-m", "svd", "-p", "factors=7", "-p", "epochs=1", "-o", tmp_path / "svd.reel")
    answer = reel_json("export", tmp_path / "svd.reel", "-o", tmp_path / "svd")
    assert str(tmp_path / "svd" / "movie_factors.npy") in answer["files"]
    safetensors = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")
    for name, values in safetensors.load_file(tmp_path / "svd.reel").items():
        if not name.startswith("__"):
            exported = np.load(tmp_path / "svd" / f"{name}.npy")
            assert exported.dtype == values.dtype and np.array_equal(exported, values)
    reel("cluster", small, "-k", 3, "-o", tmp_path / "clusters.reel")
    reel("export", tmp_path / "clusters.reel", "-o", tmp_path / "clusters")
    assert all(np.load(file).size for file in (tmp_path / "clusters").iterdir())


# ---- broken files ----


@pytest.fixture(scope="module")
def exported(small, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    reel("train", small, "-m", "gbdt", "-p", "n_estimators=3", "-o", folder / "model.reel")
    reel("export", folder / "model.reel", "-o", folder)
    return json.loads((folder / "forest.json").read_text())


def change(model, path, value):
    at = model
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return model


TREE = ("learner", "gradient_booster", "model", "trees", 1)
XGBOOST_FAULTS = [
    ((*TREE, "left_children", 1), 0, "reached twice"),
    ((*TREE, "left_children", 0), 99, "child 99"),
    ((*TREE, "right_children", 0), -7, "child -7"),
    ((*TREE, "right_children", 0), 1.5, "child"),
    ((*TREE, "split_conditions", 0), "x", "no finite float"),
    ((*TREE, "split_conditions", 0), 1e60, "no finite float"),
    ((*TREE, "split_indices", 0), 1000, "feature 1000"),
    ((*TREE, "split_indices", 0), -1, "feature"),
    ((*TREE, "split_conditions"), [], "entries"),
    ((*TREE, "split_type", 0), 1, "category"),
    (("learner", "feature_names"), [], "no names"),
    (("learner", "feature_names", 0), "taste", "no feature column \"taste\""),
    (("learner", "learner_model_param", "base_score"), "[1E0,2E0]", "base_score"),
    (("learner", "learner_model_param", "num_class"), "3", "one output"),
    (("learner", "objective", "name"), "binary:logistic", "no plain sum"),
    (("learner", "gradient_booster", "name"), "dart", "gbtree"),
    (("learner", "gradient_booster", "model", "trees"), [], "no trees"),
]


@pytest.mark.parametrize("path,value,message", XGBOOST_FAULTS)
def test_broken_xgboost(small, exported, tmp_path, path, value, message):
    broken = change(json.loads(json.dumps(exported)), path, value)
    (tmp_path / "broken.json").write_text(json.dumps(broken))
    line = refused(1, "import-model", tmp_path / "broken.json", "--dataset", small, "-o", tmp_path / "x.reel")
    assert str(tmp_path / "broken.json") in line and message in line
    assert not (tmp_path / "x.reel").exists()


def test_a_tree_of_absurd_depth(small, exported, tmp_path):
    n = 201
    inner = [i % 2 == 0 and i < n - 1 for i in range(n)]
    deep = dict(exported["learner"]["gradient_booster"]["model"]["trees"][0],
                left_children=[i + 1 if inner[i] else -1 for i in range(n)],
                right_children=[i + 2 if inner[i] else -1 for i in range(n)],
                split_indices=[0] * n, split_conditions=[3.0] * n, split_type=[0] * n)
    broken = change(json.loads(json.dumps(exported)), TREE[:-1], [deep])
    (tmp_path / "deep.json").write_text(json.dumps(broken))
    assert "deeper than 64" in refused(1, "import-model", tmp_path / "deep.json", "--dataset", small, "-o",
                                       tmp_path / "x.reel")


LIGHTGBM = """tree
version=v4
num_class=1
num_tree_per_iteration=1
label_index=0
max_feature_idx=1
objective=regression
feature_names=user_rt_mean Sci-Fi
feature_infos=[0.5:5] [0:1]
tree_sizes=300

Tree=0
num_leaves=3
num_cat=0
split_feature=0 1
split_gain=1 1
threshold=3.5 1.0000000180025095e-35
decision_type=2 2
left_child=1 -1
right_child=-2 -3
leaf_value=3.5 4 3.25
is_linear=0
shrinkage=1


end of trees
"""
LIGHTGBM_FAULTS = [
    ("left_child=1 -1", "left_child=0 -1", "reached twice"),
    ("left_child=1 -1", "left_child=1 -9", "child"),
    ("left_child=1 -1", "left_child=1", ":19: left_child must have 2 numbers"),
    ("right_child=-2 -3", "right_child=-2 -1", "reached twice"),
    ("leaf_value=3.5 4 3.25", "leaf_value=3.5 nan 3.25", "leaf_value 1"),
    ("leaf_value=3.5 4 3.25", "leaf_value=3.5 4 3.25 1", "3 numbers"),
    ("threshold=3.5 ", "threshold=nan ", "threshold 0"),
    ("decision_type=2 2", "decision_type=3 2", "decision_type 0"),
    ("decision_type=2 2", "decision_type=4 2", "zeros are missing"),
    ("split_feature=0 1", "split_feature=0 2", "feature 2 of 2"),
    ("num_leaves=3", "num_leaves=1000000000", "num_leaves"),
    ("num_cat=0", "num_cat=1", "num_cat"),
    ("is_linear=0", "is_linear=1", "is_linear"),
    ("Sci-Fi", "Sci-Fi extra", "more than 2 feature names"),
    ("Sci-Fi", "taste", "no feature column \"taste\""),
    ("objective=regression", "objective=regression sqrt", "no plain sum"),
    ("num_class=1", "num_class=3", "num_class"),
    ("end of trees", "", "end of trees"),
]


@pytest.mark.parametrize("old,new,message", LIGHTGBM_FAULTS)
def test_broken_lightgbm(small, tmp_path, old, new, message):
    (tmp_path / "broken.txt").write_text(LIGHTGBM.replace(old, new))
    line = refused(1, "import-model", tmp_path / "broken.txt", "--dataset", small, "-o", tmp_path / "x.reel")
    assert str(tmp_path / "broken.txt") in line and message in line
    assert not (tmp_path / "x.reel").exists()


def test_a_hand_made_lightgbm_model(small, tmp_path):
    (tmp_path / "model.txt").write_text(LIGHTGBM)
    reel("import-model", tmp_path / "model.txt", "--dataset", small, "-o", tmp_path / "x.reel")
    rows = pd.read_csv(EMBEDDED / "ratings.csv")
    mean = rows.groupby("userId").rating.mean()
    movies = pd.read_csv(EMBEDDED / "movies.csv").set_index("movieId").genres
    pairs = rows.head(1000)
    pairs[["userId", "movieId"]].to_csv(tmp_path / "pairs.csv", index=False)
    reel("predict", small, "--model", tmp_path / "x.reel", "--pairs", tmp_path / "pairs.csv", "-o", tmp_path / "s.npy")
    expected = [4 if mean[user] > 3.5 else 3.25 if "Sci-Fi" in movies[movie] else 3.5
                for user, movie in zip(pairs.userId, pairs.movieId)]
    assert np.allclose(np.load(tmp_path / "s.npy"), expected, atol=1e-6)


@pytest.mark.parametrize("text", ["", "nothing", "tree", "{", "{}", "[1]", "tree\nversion=v4\n"])
def test_neither(small, tmp_path, text):
    (tmp_path / "file").write_text(text)
    assert str(tmp_path / "file") in refused(1, "import-model", tmp_path / "file", "--dataset", small, "-o",
                                             tmp_path / "x.reel")
