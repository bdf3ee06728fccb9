"""reel split: folds that partition the ratings and that other tools can read."""

import numpy as np
import pandas as pd
import pytest

from eval_tools import fold_frames, folds, ratings, reel, reel_json, refused, small  # noqa: F401

COLUMNS = ["userId", "movieId", "rating", "timestamp"]


def test_folds_partition_the_ratings(folds, ratings):
    tests = []
    for fold in range(1, 6):
        train, test = fold_frames(folds, fold)
        assert list(train.columns) == COLUMNS and list(test.columns) == COLUMNS
        assert abs(len(test) - len(ratings) / 5) < 1
        both = pd.concat([train, test]).sort_values(["userId", "movieId"], ignore_index=True)
        pd.testing.assert_frame_equal(both, ratings)
        tests.append(test)
    every = pd.concat(tests).sort_values(["userId", "movieId"], ignore_index=True)
    pd.testing.assert_frame_equal(every, ratings)


def test_random_folds_do_not_follow_order(folds, ratings):
    """A random fold takes its share of every stretch of the ratings: 20 % of 2,000 rows, give or take 5 deviations."""
    _, test = fold_frames(folds, 2)
    places = ratings.reset_index().merge(test, on=COLUMNS)["index"]
    counts = np.histogram(places, bins=len(ratings) // 2000, range=(0, len(ratings)))[0]
    assert np.all(np.abs(counts - 400) < 5 * np.sqrt(2000 * 0.2 * 0.8))


def test_json_counts_the_folds(small, tmp_path, ratings):
    answer = reel_json("split", small, "--folds", 7, "-o", tmp_path / "new" / "folder")
    assert len(answer["folds"]) == 7
    for fold in answer["folds"]:
        assert fold["n_train"] + fold["n_test"] == len(ratings)
        assert len(pd.read_csv(fold["test"])) == fold["n_test"]
        assert len(pd.read_csv(fold["train"])) == fold["n_train"]


@pytest.mark.parametrize("kind", ["random", "per-user", "time"])
def test_threads_change_no_byte(small, tmp_path, kind):
    contents = []
    for threads in (1, 2, 3, 8):
        folder = tmp_path / str(threads)
        reel("split", small, "--folds", 3, "--split", kind, "-o", folder, "--threads", threads)
        contents.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert all(other == contents[0] for other in contents)
    assert len(contents[0]) == (2 if kind == "time" else 6)


def test_seed_changes_the_folds(small, folds, tmp_path):
    reel("split", small, "--folds", 5, "--seed", 4, "-o", tmp_path)
    assert (tmp_path / "fold1.test.csv").read_bytes() != (folds / "fold1.test.csv").read_bytes()


def test_per_user_folds(small, tmp_path, ratings):
    reel("split", small, "--split", "per-user", "--folds", 4, "-o", tmp_path)
    n = ratings.groupby("userId").size()
    for fold in range(1, 5):
        _, test = fold_frames(tmp_path, fold)
        share = test.groupby("userId").size().reindex(n.index, fill_value=0) - n / 4
        assert share.abs().max() < 1


def test_time_split_is_the_newest_tenth(small, tmp_path, ratings):
    reel("split", small, "--split", "time", "-o", tmp_path)
    train, test = fold_frames(tmp_path, 1)
    ordered = ratings.sort_values(["userId", "timestamp", "movieId"])
    from_end = ordered.groupby("userId").cumcount(ascending=False)
    n = ordered.groupby("userId")["rating"].transform("size")
    expected = ordered[from_end < n // 10].sort_values(["userId", "movieId"], ignore_index=True)
    pd.testing.assert_frame_equal(test, expected)
    assert len(train) + len(test) == len(ratings)


def test_wrong_use(small, tmp_path):
    assert "-o DIR" in refused(2, "split", small)
    assert "2..250" in refused(2, "split", small, "--folds", 1, "-o", tmp_path)
    assert "2..250" in refused(2, "split", small, "--folds", 251, "-o", tmp_path)
    assert "per-user" in refused(2, "split", small, "--split", "weekday", "-o", tmp_path)
    assert not list(tmp_path.iterdir())


def test_folder_that_is_a_file(small, tmp_path):
    (tmp_path / "taken").write_text("mine")
    assert "taken" in refused(1, "split", small, "-o", tmp_path / "taken")
    assert (tmp_path / "taken").read_text() == "mine"


def test_no_dataset(tmp_path):
    assert "nothing.reel" in refused(1, "split", tmp_path / "nothing.reel", "-o", tmp_path)
