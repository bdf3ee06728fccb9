"""reel predict against numpy, and what it says of bad files."""

import numpy as np
import pandas as pd

from score_tools import bias, open_model, ratings, reel, reel_json, refused, run, scores_of, small, svd  # noqa: F401


def expected(path, pairs):
    model = open_model(path)
    by_user = {user: scores_of(model, user) for user in set(pairs.userId)}
    base = {user: model.mean + (model.user_bias[model.user[user]] if user in model.user else 0) for user in by_user}
    out = [by_user[user][model.movie[movie]] if movie in model.movie else base[user]
           for user, movie in zip(pairs.userId, pairs.movieId)]
    return np.clip(out, 0.5, 5)


def some_pairs(ratings):  # noqa: F811
    pairs = ratings[["userId", "movieId"]].iloc[::97].reset_index(drop=True)
    pairs.loc[3, "userId"] = 999999
    pairs.loc[5, "movieId"] = 777777777
    pairs.loc[7] = [999999, 777777777]
    return pairs


def test_csv_and_npy_against_numpy(small, svd, bias, ratings, tmp_path):  # noqa: F811
    pairs = some_pairs(ratings)
    pairs.to_csv(tmp_path / "pairs.csv", index=False)
    for model in (svd, bias):
        answer = reel_json("predict", small, "--model", model, "--pairs", tmp_path / "pairs.csv", "-o", tmp_path / "s.npy")
        assert answer["n"] == len(pairs) and answer["seconds"] >= 0 and answer["pairs_per_second"] >= 0
        scores = np.load(tmp_path / "s.npy")
        assert scores.dtype == np.float32 and scores.shape == (len(pairs),)
        np.testing.assert_allclose(scores, expected(model, pairs), atol=2e-5)
        reel("predict", small, "--model", model, "--pairs", tmp_path / "pairs.csv", "-o", tmp_path / "s.csv")
        written = pd.read_csv(tmp_path / "s.csv")
        assert list(written.columns) == ["userId", "movieId", "score"]
        assert (written[["userId", "movieId"]].to_numpy() == pairs.to_numpy()).all()
        np.testing.assert_allclose(written.score, scores, atol=5.1e-5)
        assert reel("predict", small, "--model", model, "--pairs", tmp_path / "pairs.csv") == (tmp_path / "s.csv").read_text()


def test_shapes_of_files(small, svd, tmp_path):  # noqa: F811
    """Header or none, other columns, any order, CRLF, BOM, no last newline, empty lines at the end: one result."""
    texts = [
        b"userId,movieId\n1,31\n2,10\n",
        b"1,31\n2,10",
        b"\xef\xbb\xbfuserId,movieId\r\n1,31\r\n2,10\r\n",
        b"movie_id,rating,USER,timestamp\n31,4.5,1,12\n10,x,2,13\n\n\n",
        b"user,movie,time\n1,31,4294967295\n2,10,0",
    ]
    results = set()
    for i, text in enumerate(texts):
        path = tmp_path / f"{i}.csv"
        path.write_bytes(text)
        results.add(reel("predict", small, "--model", svd, "--pairs", path))
    assert len(results) == 1 and results.pop().count("\n") == 3
    header_only = tmp_path / "none.csv"
    header_only.write_text("userId,movieId\n")
    assert reel("predict", small, "--model", svd, "--pairs", header_only) == "userId,movieId,score\n"


def test_large_file_is_the_same_at_any_thread_count(small, svd, ratings, tmp_path):  # noqa: F811
    big = pd.concat([ratings[["userId", "movieId", "rating", "timestamp"]]] * 6)  # several chunks of the reader
    big.to_csv(tmp_path / "big.csv", index=False)
    assert (tmp_path / "big.csv").stat().st_size > 2 * 2**22
    outputs = []
    for threads in (1, 3):
        reel("predict", small, "--model", svd, "--pairs", tmp_path / "big.csv", "-o", tmp_path / "s.npy", "--threads", threads)
        outputs.append((tmp_path / "s.npy").read_bytes())
    assert outputs[0] == outputs[1]
    scores = np.load(tmp_path / "s.npy").reshape(6, -1)
    assert (scores == scores[0]).all()
    lines = (tmp_path / "big.csv").read_text().splitlines()
    lines[450000] = "1,2x,3.5,1"
    (tmp_path / "big.csv").write_text("\n".join(lines))
    line = refused(1, "predict", small, "--model", svd, "--pairs", tmp_path / "big.csv", "-o", tmp_path / "new.npy")
    assert line == f'reel: {tmp_path}/big.csv:450001: movieId must be an id 0..2147483647 (found "2x")'
    assert not (tmp_path / "new.npy").exists() and not list(tmp_path.glob("*.tmp"))


def test_bad_files(small, svd, tmp_path):  # noqa: F811
    cases = {
        "userId,movieId\n1,31\n1\n": ":3: the field movieId is missing",
        "1,31\n,31\n": ':2: userId must be an id 0..2147483647 (found "")',
        "1,31\n1,2147483648\n": ':2: movieId must be an id 0..2147483647 (found "2147483648")',
        "1,31\n-1,31\n": ':2: userId must be',
        "1,31\n\n1,31\n": ":2: the line is empty",
        "1,31,5\n1,31,4294967296\n": ":2: timestamp must be a time in seconds since 1970",
        "user,film\n1,31\n": ':1: the header has no column movieId (found "user,film")',
        "": ":1: the file is empty",
        "\n\n": ":1: the file is empty",
    }
    path = tmp_path / "bad.csv"
    for text, message in cases.items():
        path.write_text(text)
        line = refused(1, "predict", small, "--model", svd, "--pairs", path, "-o", tmp_path / "s.csv")
        assert line.startswith(f"reel: {path}{message}"), line
    assert not (tmp_path / "s.csv").exists()
    assert "nosuch.csv" in refused(1, "predict", small, "--model", svd, "--pairs", tmp_path / "nosuch.csv", "-o", tmp_path / "s.csv")
    path.write_text("1,31\n")
    line = refused(1, "predict", small, "--model", svd, "--pairs", path, "-o", tmp_path / "nowhere/s.csv")
    assert "nowhere/s.csv" in line


def test_wrong_usage(small, svd):  # noqa: F811
    assert "--model" in refused(2, "predict", small, "--pairs", "x")
    assert "--pairs" in refused(2, "predict", small, "--model", svd)
    assert run("predict", small, "--model", svd, "--pairs", "x", "--json").returncode == 2
    assert "reel predict" in reel("predict", "--help")
    line = refused(1, "predict", small, "--model", small, "--pairs", "x", "-o", "y")
    assert "ml.reel" in line and "reel-model" in line
