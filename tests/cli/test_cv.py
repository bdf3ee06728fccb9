"""reel cv: its figures against numpy, against its own fold files, and what it says of wrong use."""

import numpy as np
import pytest

from eval_tools import (  # noqa: F401
    bias_predictions,
    fold_frames,
    fold_options,
    folds,
    mean_predictions,
    ratings,
    reel,
    reel_json,
    refused,
    rmse,
    small,
)

PREDICTIONS = {"mean": mean_predictions, "bias": bias_predictions}


@pytest.mark.parametrize("algorithm", ["mean", "bias"])
def test_folds_agree_with_numpy(small, folds, algorithm):
    answer = reel_json("cv", small, "-m", algorithm, "--folds", 5, "--seed", 3)
    expected = []
    for fold in range(1, 6):
        train, test = fold_frames(folds, fold)
        predicted = np.clip(PREDICTIONS[algorithm](train, test), 0.5, 5.0)
        got = answer["folds"][fold - 1]
        assert got["n"] == len(test)
        assert got["rmse"] == pytest.approx(rmse(test.rating, predicted), abs=1e-6)
        assert got["mae"] == pytest.approx(np.abs(predicted - test.rating).mean(), abs=1e-6)
        spread = ((test.rating - test.rating.mean()) ** 2).sum()
        assert got["r2"] == pytest.approx(1 - ((predicted - test.rating) ** 2).sum() / spread, abs=1e-6)
        expected.append(got["rmse"])
    assert answer["mean"]["rmse"] == pytest.approx(np.mean(expected), abs=1e-12)
    assert answer["std"]["rmse"] == pytest.approx(np.std(expected), abs=1e-12)
    assert answer["n"] == 100004


@pytest.mark.parametrize("algorithm", ["mean", "bias", "svd"])
def test_fold_files_give_the_same_figures(small, folds, algorithm):
    params = ["-p", "factors=10", "-p", "epochs=3"] if algorithm == "svd" else []
    own = reel_json("cv", small, "-m", algorithm, *params, "--seed", 3)
    ready = reel_json("cv", small, "-m", algorithm, *params, "--seed", 3, *fold_options(folds))
    for a, b in zip(own["folds"], ready["folds"]):
        assert (a["rmse"], a["mae"], a["r2"], a["n"]) == (b["rmse"], b["mae"], b["r2"], b["n"])
    assert own["mean"] == ready["mean"]


def test_threads_change_no_figure(small):
    answers = [
        reel_json("cv", small, "-m", "svd", "-p", "factors=8", "-p", "epochs=2", "--folds", 3, "--threads", threads)
        for threads in (1, 2, 3, 8)
    ]
    for answer in answers:
        assert [fold["rmse"] for fold in answer["folds"]] == [fold["rmse"] for fold in answers[0]["folds"]]
        assert answer["mean"] == answers[0]["mean"]


def test_time_and_holdout_protocols(small, tmp_path):
    time = reel_json("cv", small, "-m", "mean", "--protocol", "time")
    assert len(time["folds"]) == 1
    assert reel_json("cv", small, "-m", "mean", "--split", "time")["mean"] == time["mean"]
    reel("split", small, "--split", "time", "-o", tmp_path)
    train, test = fold_frames(tmp_path, 1)
    assert time["folds"][0]["n"] == len(test)
    assert time["mean"]["rmse"] == pytest.approx(rmse(test.rating, mean_predictions(train, test)), abs=1e-6)
    holdouts = reel_json("cv", small, "-m", "mean", "--protocol", "holdout", "--repeats", 3, "--seed", 5)
    assert [fold["n"] for fold in holdouts["folds"]] == [10000] * 3
    assert len({fold["rmse"] for fold in holdouts["folds"]}) == 3
    second = reel_json("cv", small, "-m", "mean", "--holdout", 0.1, "--seed", 6)
    assert second["folds"][0]["rmse"] == holdouts["folds"][1]["rmse"]


def test_table(small):
    lines = reel("cv", small, "-m", "mean", "--folds", 3, "--progress", "none").splitlines()
    assert "algorithm mean on 3 random folds" in lines[0]
    assert lines[2].split() == ["Fold", "1", "Fold", "2", "Fold", "3", "Mean", "Std"]
    for line, name in zip(lines[3:8], ["RMSE (testset)", "MAE (testset)", "R2 (testset)", "Fit time", "Test time"]):
        assert line.startswith(name)
        assert len(line[len(name) :].split()) == 5
    figures = [float(text) for text in lines[3].split()[2:]]
    assert figures[3] == pytest.approx(np.mean(figures[:3]), abs=1e-4)


def test_many_folds_have_a_row_each(small):
    out = reel("cv", small, "-m", "mean", "--folds", 12, "--progress", "none")
    assert sum(line.startswith("Fold ") for line in out.splitlines()) == 12


def test_json_is_one_object_with_its_origin(small):
    answer = reel_json("cv", small, "-m", "mean", "--folds", 2, "--seed", 8)
    assert answer["algo"] == "mean" and answer["seed"] == 8 and len(answer["fingerprint"]) == 32
    assert answer["device"] == "cpu" and answer["commit"] and answer["threads"] >= 1
    assert answer["fit_seconds"] >= 0 and answer["test_seconds"] >= 0 and answer["peak_rss_bytes"] > 0


def test_wrong_use(small, folds, tmp_path):
    assert "mean, bias, svd" in refused(2, "cv", small, "-m", "svdd")
    assert "known: factors, epochs" in refused(2, "cv", small, "-m", "svd", "-p", "factor=3")
    assert "factors" in refused(2, "cv", small, "-m", "svd", "-p", "factors=0")
    assert "key=value" in refused(2, "cv", small, "-m", "svd", "-p", "factors")
    assert "-m ALGO" in refused(2, "cv", small)
    assert "2..250" in refused(2, "cv", small, "-m", "mean", "--folds", 1)
    assert "ready folds" in refused(2, "cv", small, "-m", "mean", "--folds", 2, *fold_options(folds, 1))
    assert "pairs" in refused(2, "cv", small, "-m", "mean", "--test", folds / "fold1.test.csv")
    assert "exclude" in refused(2, "cv", small, "-m", "mean", "--folds", 5, "--holdout", 0.1)
    assert "below 1" in refused(2, "cv", small, "-m", "mean", "--holdout", 1.5)
    assert "nothing.reel" in refused(1, "cv", tmp_path / "nothing.reel", "-m", "mean")


def test_training_file_must_be_part_of_the_dataset(small, folds, tmp_path):
    stranger = tmp_path / "train.csv"
    lines = (folds / "fold1.train.csv").read_text().splitlines(keepends=True)[:50]
    test = folds / "fold1.test.csv"
    stranger.write_text("".join(lines) + "1,999999,3.0,1\n")
    assert "train.csv:51:" in refused(1, "cv", small, "-m", "mean", "--train", stranger, "--test", test)
    user, movie, rating, time = lines[20].split(",")
    other = "1.0" if rating != "1.0" else "2.0"
    stranger.write_text("".join(lines[:20]) + f"{user},{movie},{other},{time}")
    line = refused(1, "cv", small, "-m", "mean", "--train", stranger, "--test", test)
    assert "train.csv:21:" in line and "otherwise" in line
