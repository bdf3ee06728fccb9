"""reel train: figures, determinism, what is checked before the work, and Ctrl-C."""

import hashlib
import json
import signal
import struct
import subprocess
import time

import numpy as np
import pytest

from eval_tools import (  # noqa: F401
    REEL,
    bias_predictions,
    fold_frames,
    folds,
    ratings,
    reel,
    reel_json,
    refused,
    rmse,
    run,
    small,
)

QUICK = ["-p", "factors=8", "-p", "epochs=3"]


def metadata(path):
    with open(path, "rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        return json.loads(file.read(size))["__metadata__"]


def test_holdout_figures_go_into_report_and_model(small, tmp_path):
    model = tmp_path / "m.reel"
    answer = reel_json("train", small, "-m", "svd", *QUICK, "--holdout", 0.1, "--seed", 2, "-o", model)
    assert answer["algo"] == "svd" and answer["n_test"] == 10000 and answer["n_ratings"] == 90004
    assert 0.8 < answer["rmse"] < 1.0 and answer["mae"] < answer["rmse"] and 0 < answer["r2"] < 1
    assert [epoch["epoch"] for epoch in answer["epochs"]] == [0, 1, 2, 3]
    assert answer["epochs"][-1]["test_rmse"] == pytest.approx(answer["rmse"], abs=1e-6)
    assert answer["epochs"][-1]["test_rmse"] < answer["epochs"][0]["test_rmse"]
    assert answer["fit_seconds"] > 0 and answer["ratings_per_second"] > 0 and answer["peak_rss_bytes"] > 0
    stored = metadata(model)
    assert float(stored["metrics.rmse"]) == pytest.approx(answer["rmse"], abs=1e-8)
    assert float(stored["metrics.mae"]) == pytest.approx(answer["mae"], abs=1e-8)
    assert float(stored["metrics.r2"]) == pytest.approx(answer["r2"], abs=1e-8)
    assert stored["holdout"] == "random 0.1" and stored["params.factors"] == "8" and stored["seed"] == "2"
    assert stored["dataset.fingerprint"] == answer["fingerprint"]


def test_all_ratings_without_a_holdout(small, tmp_path):
    answer = reel_json("train", small, "-m", "bias", "-o", tmp_path / "m.reel")
    assert answer["n_ratings"] == 100004 and answer["n_test"] == 0
    assert answer["rmse"] is None and answer["mae"] is None and answer["r2"] is None
    assert "metrics.rmse" not in metadata(tmp_path / "m.reel")


def test_test_file_is_left_out_of_training(small, folds, tmp_path):
    train, test = fold_frames(folds, 1)
    answer = reel_json("train", small, "-m", "bias", "--test", folds / "fold1.test.csv", "-o", tmp_path / "m.reel")
    assert answer["n_ratings"] == len(train) and answer["n_test"] == len(test)
    assert answer["rmse"] == pytest.approx(rmse(test.rating, bias_predictions(train, test)), abs=1e-6)
    assert metadata(tmp_path / "m.reel")["holdout"] == "test file"


@pytest.mark.parametrize("protocol", ["holdout", "time"])
def test_protocols_are_named_holdouts(small, tmp_path, protocol):
    spelled = ["--holdout", "0.1", *(["--split", "time"] if protocol == "time" else [])]
    reel("train", small, "-m", "mean", "--protocol", protocol, "-o", tmp_path / "named.reel")
    reel("train", small, "-m", "mean", *spelled, "-o", tmp_path / "spelled.reel")
    assert (tmp_path / "named.reel").read_bytes() == (tmp_path / "spelled.reel").read_bytes()


@pytest.mark.parametrize("split", ["time", "per-user"])
def test_holdout_by_user_and_time(small, tmp_path, ratings, split):
    answer = reel_json("train", small, "-m", "mean", "--holdout", 0.2, "--split", split, "-o", tmp_path / "m.reel")
    assert answer["n_test"] == (ratings.groupby("userId").size() // 5).sum()
    assert metadata(tmp_path / "m.reel")["holdout"] == f"{split} 0.2"


@pytest.mark.parametrize("algorithm", ["mean", "bias", "svd"])
@pytest.mark.parametrize("holdout", [[], ["--holdout", "0.1"]])
def test_threads_and_runs_change_no_byte(small, tmp_path, algorithm, holdout):
    params = QUICK if algorithm == "svd" else []
    hashes = set()
    for i, threads in enumerate((1, 2, 3, 8, 2)):
        model = tmp_path / f"{i}.reel"
        reel("train", small, "-m", algorithm, *params, *holdout, "--threads", threads, "-o", model, "--quiet")
        hashes.add(hashlib.sha256(model.read_bytes()).hexdigest())
    assert len(hashes) == 1


def test_seed_changes_the_model(small, tmp_path):
    for seed in (0, 1):
        reel("train", small, "-m", "svd", *QUICK, "--seed", seed, "-o", tmp_path / f"{seed}.reel")
    assert (tmp_path / "0.reel").read_bytes() != (tmp_path / "1.reel").read_bytes()


def test_unknown_users_and_movies_in_a_test_file(small, tmp_path):
    test = tmp_path / "test.csv"
    test.write_text("userId,movieId,rating,timestamp\n1,31,2.5,1\n999999,31,3.0,1\n1,9999999,3.5,1\n999999,9999999,4,1\n")
    for algorithm in ("mean", "bias", "svd"):
        params = QUICK if algorithm == "svd" else []
        answer = reel_json("train", small, "-m", algorithm, *params, "--test", test, "-o", tmp_path / "m.reel")
        assert answer["n_test"] == 4 and answer["n_ratings"] == 100003
        assert np.isfinite([answer["rmse"], answer["mae"], answer["r2"]]).all()


def test_report_for_people(small, tmp_path):
    out = reel("train", small, "-m", "svd", *QUICK, "--holdout", 0.1, "-o", tmp_path / "m.reel")
    assert "epoch" in out and "held out 10,000 ratings: RMSE 0." in out and f"wrote {tmp_path}/m.reel" in out
    assert reel("train", small, "-m", "mean", "-o", tmp_path / "m.reel", "--quiet") == ""


def test_help_lists_parameters():
    assert "factors=100" in reel("train", "-m", "svd", "--help")
    out = reel("train", "--help")
    assert "svd" in out and "bias" in out and "example:" in out


def test_output_is_checked_before_training(small, tmp_path):
    assert "cannot be written" in refused(1, "train", small, "-m", "mean", "-o", tmp_path / "no" / "m.reel")
    assert "not a regular file" in refused(1, "train", small, "-m", "mean", "-o", tmp_path)
    # Found even before the dataset is opened, so hours of import and training cannot be lost to it.
    assert "m.reel" in refused(1, "train", tmp_path / "missing", "-m", "mean", "-o", tmp_path / "no" / "m.reel")
    assert not list(tmp_path.iterdir())


def test_wrong_use(small, tmp_path):
    out = tmp_path / "m.reel"
    assert "mean, bias, svd" in refused(2, "train", small, "-m", "SVD", "-o", out)
    line = refused(2, "train", small, "-m", "svd", "-p", "n_factors=3", "-o", out)
    assert "n_factors" in line and "factors, epochs" in line
    assert "learning_rate" in refused(2, "train", small, "-m", "svd", "-p", "learning_rate=fast", "-o", out)
    assert "-o MODEL" in refused(2, "train", small, "-m", "svd")
    assert "-m ALGO" in refused(2, "train", small, "-o", out)
    assert "exclude" in refused(2, "train", small, "-m", "svd", "--holdout", 0.1, "--test", "x.csv", "-o", out)
    assert "below 1" in refused(2, "train", small, "-m", "svd", "--holdout", 1, "-o", out)
    assert "below 1" in refused(2, "train", small, "-m", "svd", "--holdout", -0.5, "-o", out)
    assert "--checkpoint" in refused(2, "train", small, "-m", "svd", "--resume", "-o", out)
    assert "per-user" in refused(2, "train", small, "-m", "svd", "--split", "x", "-o", out)
    assert "holdout, time, seed-a or honest-a" in refused(2, "train", small, "-m", "svd", "--protocol", "cv5", "-o", out)
    assert "x.csv" in refused(1, "train", small, "-m", "mean", "--test", tmp_path / "x.csv", "-o", out)
    assert not list(tmp_path.iterdir())


def test_malformed_test_file_names_the_line(small, tmp_path):
    test = tmp_path / "test.csv"
    test.write_text("userId,movieId,rating,timestamp\n1,31,2.5,1\n1,32,2.7,1\n")
    assert f"{test}:3:" in refused(1, "train", small, "-m", "mean", "--test", test, "-o", tmp_path / "m.reel")
    assert not (tmp_path / "m.reel").exists()


def catches(pid, number):
    """Whether the process has a handler for the signal by now."""
    with open(f"/proc/{pid}/status") as file:
        (caught,) = [int(line.split()[1], 16) for line in file if line.startswith("SigCgt")]
    return caught >> (number - 1) & 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_leaves_the_old_file(small, tmp_path, number):
    model = tmp_path / "m.reel"
    model.write_bytes(b"old")
    command = [REEL, "train", str(small), "-m", "svd", "-p", "epochs=100000", "-o", str(model), "--progress", "plain"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not catches(process.pid, number):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    time.sleep(0.3)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1 and out == ""
    assert "interrupted" in err.splitlines()[-1]
    assert model.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["m.reel"]


def test_damaged_dataset_is_refused(small, tmp_path):
    damaged = tmp_path / "d.reel"
    content = small.read_bytes()
    damaged.write_bytes(content[: len(content) // 2])
    done = run("train", damaged, "-m", "mean", "-o", tmp_path / "m.reel")
    assert done.returncode == 1 and "d.reel" in done.stderr and not (tmp_path / "m.reel").exists()
