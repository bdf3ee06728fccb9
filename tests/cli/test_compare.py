"""reel compare: the same folds for every model, ranked by RMSE."""

import json
import signal
import subprocess
import time
import xml.etree.ElementTree

import pytest

from eval_tools import REEL, reel, reel_json, refused, run, small  # noqa: F401

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


MODELS = ["-m", "linear,tree,forest,adaboost,gbdt,bias,svd", "-p", "n_estimators=8", "-p", "epochs=3", "-p", "factors=4",
          "-p", "forest.min_samples_leaf=5", "-g", "gbdt.loss=squared,huber", "-g", "tree.max_depth=4,8"]


def without_times(answer):
    """The figures of a comparison that are the same in every run."""
    return [(m["rank"], m["algo"], m["params"], m["mean"], m["std"], [(f["rmse"], f["n"]) for f in m["folds"]])
            for m in answer["models"]]


def test_model_search_resumes(small, tmp_path):
    command = ["compare", small, *MODELS, "--folds", 3, "--seed", 2]
    whole = reel_json(*command)
    assert len(whole["models"]) == 9
    folder = tmp_path / "state"
    begun = subprocess.Popen([REEL, *map(str, command), "--resume", folder, "--progress", "none"],
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    state = folder / "compare.json"
    while begun.poll() is None and not (state.exists() and len(json.loads(state.read_text())["cells"]) >= 3):
        time.sleep(0.005)
    begun.send_signal(signal.SIGKILL)
    begun.wait()
    done = json.loads(state.read_text())["cells"]
    assert len(done) >= 3
    resumed = reel_json(*command, "--resume", folder)
    assert without_times(resumed) == without_times(whole)
    cells = json.loads(state.read_text())["cells"]
    assert cells[:len(done)] == done and len(cells) == 27
    again = reel_json(*command, "--resume", folder)  # nothing is left to do: the very times come back
    assert again["models"] == [{**m, "peak_rss_bytes": a["peak_rss_bytes"]} for m, a in
                               zip(resumed["models"], again["models"])]


def test_resume_refuses_other_comparisons(small, tmp_path):
    folder = tmp_path / "state"
    command = ["compare", small, "-m", "mean,bias", "--resume", folder, "--folds"]
    reel(*command, 3, "--progress", "none")
    assert '"folds"' in refused(1, *command, 4)
    assert '"seeds"' in refused(1, *command, 3, "--seed", 1)
    assert '"models"' in refused(1, *command, 3, "-p", "bias.epochs=2")
    refused(1, "compare", small, "-m", "mean,bias", "--resume", folder, "--protocol", "honest-a", "--repeats", 3)
    good = json.loads((folder / "compare.json").read_text())
    for damage in ("", "{", "[]", '{"format":"reel-compare"}', json.dumps({**good, "format": "x"}),
                   json.dumps({**good, "cells": {}}), json.dumps({**good, "cells": [{**good["cells"][0], "fold": 3}]}),
                   json.dumps({**good, "cells": [{**good["cells"][0], "rmse": "x"}]}),
                   json.dumps({**good, "cells": [{**good["cells"][0], "model": -1}]}),
                   json.dumps({**good, "cells": [{"model": 0, "fold": 0, "code": "no", "error": "x"}]})):
        (folder / "compare.json").write_text(damage)
        assert "compare.json" in refused(1, *command, 3)


def test_failed_models_are_remembered(small, tmp_path):
    command = ["compare", small, "-m", "svd,mean", "--grid", "learning_rate=0.01,1000", "-p", "factors=2", "-p",
               "epochs=3", "--folds", 2, "--resume", tmp_path]
    first, second = reel_json(*command), reel_json(*command)
    assert first["models"][-1]["error"] == second["models"][-1]["error"] != ""
    assert without_times(first) == without_times(second)


def test_html(small, tmp_path):
    page = tmp_path / "compare.html"
    done = run("compare", small, "-m", "mean,bias", "--folds", 2, "--html", page, "--progress", "none")
    assert done.returncode == 0 and "wrote" in done.stderr and "rank" in done.stdout
    text = page.read_text()
    xml.etree.ElementTree.fromstring(text.replace("<!doctype html>", "").replace("<!DOCTYPE html>", ""))
    assert "2 random folds" in text and text.count("<svg") >= 2 and "bias" in text
    assert "http://" not in text.replace("http://www.w3.org", "") and "https://" not in text
    assert "cannot be written" in refused(1, "compare", small, "-m", "mean", "--html", tmp_path / "no" / "x.html")
