"""reel compare: the same folds for every model, ranked by RMSE."""

import pytest

from eval_tools import reel, reel_json, refused, small  # noqa: F401

QUICK = ["-p", "svd.epochs=2", "-p", "factors=4"]


def test_ranked_by_rmse_on_the_folds_of_cv(small):
    answer = reel_json("compare", small, "-m", "mean,bias,svd", *QUICK, "--folds", 3, "--seed", 4)
    models = answer["models"]
    assert {model["algo"] for model in models} == {"mean", "bias", "svd"}
    assert [model["rank"] for model in models] == [1, 2, 3]
    assert [model["rmse"] for model in models] == sorted(model["rmse"] for model in models)
    assert models[-1]["algo"] == "mean" and models[0]["params"] in ("", "epochs=2 factors=4")
    for model in models:
        params = [option for text in model["params"].split() for option in ("-p", text)]
        alone = reel_json("cv", small, "-m", model["algo"], *params, "--folds", 3, "--seed", 4)
        assert alone["mean"] == model["mean"] and alone["std"] == model["std"]
        for figure in ("rmse", "mae", "r2"):
            assert model[figure] == model["mean"][figure]
        assert model["fit_seconds"] >= 0 and model["test_seconds"] >= 0


def test_grid_makes_all_combinations(small):
    answer = reel_json("compare", small, "-m", "mean", "-m", "svd", "--grid", "factors=2,4", "-g", "svd.epochs=1,2",
                       "--protocol", "holdout", "-p", "learning_rate=0.01")
    tried = sorted(model["params"] for model in answer["models"] if model["algo"] == "svd")
    assert tried == sorted(f"learning_rate=0.01 epochs={e} factors={f}" for e in (1, 2) for f in (2, 4))
    assert sum(model["algo"] == "mean" for model in answer["models"]) == 1
    assert all(len(model["folds"]) == 1 for model in answer["models"])


def test_a_model_that_diverges_is_ranked_last(small):
    answer = reel_json("compare", small, "-m", "svd,mean", "--grid", "learning_rate=0.01,1000", "-p", "factors=2",
                       "-p", "epochs=3", "--folds", 2)
    assert [model["rank"] for model in answer["models"]] == [1, 2, None]
    failed = answer["models"][-1]
    assert "learning_rate=1000" in failed["params"] and failed["error"] and failed["rmse"] is None


def test_table(small):
    lines = reel("compare", small, "-m", "bias,mean", "--folds", 2, "--progress", "none").splitlines()
    assert "2 models on 2 random folds" in lines[0]
    assert lines[2].split()[:3] == ["rank", "model", "RMSE"]
    assert lines[3].split()[:2] == ["1", "bias"] and lines[4].split()[:2] == ["2", "mean"]


def test_wrong_use(small):
    assert "known: mean, bias, svd" in refused(2, "compare", small, "-m", "mean,knn")
    assert "-m A,B" in refused(2, "compare", small)
    line = refused(2, "compare", small, "-m", "mean,bias", "--grid", "factors=1,2")
    assert "factors" in line and "bias.epochs" in line
    assert "svd.epochs" in refused(2, "compare", small, "-m", "bias", "-p", "svd.epochs=3")
    assert "key=value" in refused(2, "compare", small, "-m", "svd", "--grid", "factors")
    assert "key=value" in refused(2, "compare", small, "-m", "svd", "--grid", "factors=")
    assert "factors" in refused(2, "compare", small, "-m", "svd", "--grid", "factors=10,ten")
    many = ",".join(str(i) for i in range(1, 101))
    assert "4096" in refused(2, "compare", small, "-m", "svd", "-g", f"factors={many}", "-g", f"epochs={many}")


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_change_no_figure(small, threads):
    one = reel_json("compare", small, "-m", "bias,svd", *QUICK, "--folds", 2, "--threads", 2)
    other = reel_json("compare", small, "-m", "bias,svd", *QUICK, "--folds", 2, "--threads", threads)
    assert [model["mean"] for model in one["models"]] == [model["mean"] for model in other["models"]]
