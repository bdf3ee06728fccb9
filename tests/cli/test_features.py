"""reel features: the wide table, beside pandas and beside what trees split on."""

import numpy as np
import pandas as pd
import pytest

from eval_tools import ratings, reel, reel_json, refused, small  # noqa: F401
from reel_files import TensorFile
from tree_tools import features


def test_all_ratings(small, ratings, tmp_path):
    answer = reel_json("features", small, "-o", tmp_path / "all.npy")
    table = np.load(tmp_path / "all.npy")
    assert table.dtype == np.float32 and table.shape == (len(ratings), len(answer["columns"]))
    assert answer["n_rows"] == len(ratings)
    assert answer["columns"][:4] == ["user_rt_mean", "movie_rt_mean", "popularity", "weekday_0"]
    # float32 of pandas's means: the sums are exact on both sides
    assert np.array_equal(table, features(ratings, ratings).astype(np.float32))


def test_csv_reads_back_as_the_same_floats(small, tmp_path):
    common = ["features", small, "--protocol", "honest-a", "--seed", 3, "-p", "year=1", "--with-rating"]
    for part in ("train", "test"):
        answer = reel_json(*common, "--part", part, "-o", tmp_path / "t.npy")
        reel(*common, "--part", part, "-o", tmp_path / "t.csv", "--quiet")
        frame = pd.read_csv(tmp_path / "t.csv", dtype=np.float32)
        assert list(frame.columns) == answer["columns"] and frame.columns[-1] == "rating"
        assert np.array_equal(frame.to_numpy(), np.load(tmp_path / "t.npy"))
        assert len(frame) == answer["n_rows"]


def test_leave_one_out(small, ratings, tmp_path):
    reel("features", small, "-p", "means=loo", "-o", tmp_path / "loo.npy", "--quiet")
    table = np.load(tmp_path / "loo.npy")
    for column, key in ((0, "userId"), (1, "movieId")):
        groups = ratings.groupby(key).rating
        count, total = groups.transform("size"), groups.transform("sum")
        everything = (ratings.rating.sum() - ratings.rating) / (len(ratings) - 1)
        expected = np.where(count > 1, (total - ratings.rating) / (count - 1).clip(lower=1), everything)
        assert np.array_equal(table[:, column], expected.astype(np.float32))
    assert np.array_equal(table[:, 2], ratings.groupby("movieId").rating.transform("size") - 1)


def test_declared_columns(small, ratings, tmp_path):
    (tmp_path / "users.csv").write_text('userId,age,"a ""vip"", maybe"\n1,30,1\n2,41.5,\n7,,0\n4000000,3,1\n')
    (tmp_path / "days.csv").write_text("weekday,weekend\n" + "".join(f"{day},{int(day > 4)}\n" for day in range(7)))
    files = f"{tmp_path / 'users.csv'},{tmp_path / 'days.csv'}"
    answer = reel_json("features", small, "-p", f"columns={files}", "-o", tmp_path / "t.csv")
    assert answer["columns"][-3:] == ["age", 'a "vip", maybe', "weekend"]
    frame = pd.read_csv(tmp_path / "t.csv")
    ages = ratings.userId.map({1: 30, 2: 41.5}).fillna(35.75)
    assert np.array_equal(frame["age"], ages)
    assert np.array_equal(frame["weekend"], (((ratings.timestamp // 86400 + 3) % 7) > 4).astype(float))
    model = tmp_path / "tree.reel"
    reel("train", small, "-m", "tree", "-p", f"columns={files}", "-p", "max_depth=6", "-o", model, "--quiet")
    (tmp_path / "users.csv").unlink()  # the model carries the values
    assert len(reel_json("recommend", small, "--model", model, "--user", 2, "-n", 4)["items"]) == 4
    assert TensorFile(model).texts("column_name_offsets", "column_names")[-3:] == answer["columns"][-3:]


@pytest.mark.parametrize("text, says", [
    ("", "header"),
    ("user name,age\n1,2\n", "userId, movieId, weekday or hour"),
    ("userId\n1\n", "userId, movieId, weekday or hour"),
    ("userId,popularity\n1,2\n", "'popularity' already"),
    ("userId,a,a\n1,2,3\n", "'a' already"),
    ("userId,\n1,2\n", "1 to 47 bytes"),
    ("userId,a\n1,x\n", ":2: a value is not a finite number (found 'x')"),
    ("userId,a\n1,nan\n", ":2: a value is not a finite number"),
    ("userId,a\n1,1e99\n", ":2: a value is not a finite number"),
    ("userId,a\n-1,1\n", ":2: user id"),
    ("userId,a\n1,1\n1,2\n", ":3: user id 1 was given on line 2"),
    ("userId,a\n1\n", ":2: too few columns"),
    ("userId,a\n1,2,3\n", ":2: too many columns"),
    ("weekday,a\n7,1\n", ":2: weekday"),
    ("hour,a\n24,1\n", ":2: hour"),
    ("movieId,a\n1,\"1\n", ":2: "),
])
def test_bad_columns(small, tmp_path, text, says):
    bad = tmp_path / "bad.csv"
    bad.write_text(text)
    assert says in refused(1, "features", small, "-p", f"columns={bad}", "-o", tmp_path / "no.npy")
    assert not (tmp_path / "no.npy").exists()


def test_factors(small, tmp_path):
    reel("train", small, "-m", "svd", "-p", "factors=4", "-p", "epochs=3", "-o", tmp_path / "svd.reel", "--quiet")
    answer = reel_json("features", small, "-p", f"factors_of={tmp_path / 'svd.reel'}", "-o", tmp_path / "t.npy")
    assert answer["columns"][-10:] == ["user_bias", *(f"user_factor_{i}" for i in range(4)), "movie_bias",
                                       *(f"movie_factor_{i}" for i in range(4))]
    saved = TensorFile(tmp_path / "svd.reel")
    table = np.load(tmp_path / "t.npy")
    first = np.array(saved["user_factors"], np.float32)[:4]
    assert np.array_equal(table[0, -9:-5], first)  # fitted anew, with the same bits


def test_wrong_use(small, tmp_path):
    out = tmp_path / "no.npy"
    assert "-o FILE" in refused(2, "features", small)
    assert "--part" in refused(2, "features", small, "-o", out, "--part", "test")
    assert "--part" in refused(2, "features", small, "-o", out, "--protocol", "seed-a", "--part", "both")
    assert "known: means" in refused(2, "features", small, "-o", out, "-p", "depth=3")
    assert "no factors" in refused(1, "features", small, "-o", out, "-p", "factors_of=mean")
    assert "128" in refused(1, "features", small, "-o", out, "-p", "factors_of=svd")
    assert not out.exists()
