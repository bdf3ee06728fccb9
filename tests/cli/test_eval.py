"""reel eval: a saved model measured on a file."""

import numpy as np
import pytest

from eval_tools import (  # noqa: F401
    EMBEDDED,
    bias_predictions,
    fold_frames,
    folds,
    reel,
    reel_json,
    refused,
    rmse,
    run,
    small,
)


@pytest.fixture(scope="module")
def model(small, folds, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "bias.reel"
    reel("train", small, "-m", "bias", "--test", folds / "fold1.test.csv", "-o", path)
    return path


@pytest.mark.parametrize("algorithm", ["mean", "bias", "svd"])
def test_equals_what_train_reported(small, folds, tmp_path, algorithm):
    params = ["-p", "factors=8", "-p", "epochs=3"] if algorithm == "svd" else []
    test = folds / "fold2.test.csv"
    trained = reel_json("train", small, "-m", algorithm, *params, "--test", test, "-o", tmp_path / "m.reel")
    measured = reel_json("eval", small, "--model", tmp_path / "m.reel", "--test", test)
    assert measured["algo"] == algorithm and measured["n"] == trained["n_test"]
    for figure in ("rmse", "mae", "r2"):
        assert measured[figure] == trained[figure]


def test_unknown_users_and_movies(small, model, tmp_path):
    test = tmp_path / "test.csv"
    test.write_text("userId,movieId,rating\n999999,9999999,3.0\n999999,1,4.5\n1,9999999,2.0\n")
    answer = reel_json("eval", small, "--model", model, "--test", test)
    assert answer["n"] == 3
    assert np.isfinite([answer["rmse"], answer["mae"], answer["r2"]]).all()


@pytest.mark.parametrize("shape", ["{}\t{}\t{}\t{}", "{}::{}::{}::{}", "{},{},{},{}"])
def test_other_file_shapes(small, folds, model, tmp_path, shape):
    _, test = fold_frames(folds, 1)
    test = test[test.rating == test.rating.round()].head(500)
    rows = [shape.format(row.userId, row.movieId, int(row.rating), row.timestamp) for row in test.itertuples()]
    path = tmp_path / "test.data"
    if "," in shape:
        rows.insert(0, "userId,movieId,rating,timestamp")
    path.write_text("\r\n".join(rows))
    answer = reel_json("eval", small, "--model", model, "--test", path)
    train, _ = fold_frames(folds, 1)
    assert answer["n"] == len(test)
    assert answer["rmse"] == pytest.approx(rmse(test.rating, bias_predictions(train, test)), abs=1e-6)


def other_dataset(tmp_path, shift):
    """The first users of the embedded data under ids moved by `shift`."""
    folder = tmp_path / f"shift{shift}"
    folder.mkdir()
    rows = (EMBEDDED / "ratings.csv").read_text().splitlines()
    moved = []
    for row in rows[1:2000]:
        user, movie, rest = row.split(",", 2)
        moved.append(f"{int(user) + shift},{int(movie) + shift},{rest}")
    (folder / "ratings.csv").write_text("\n".join([rows[0], *moved]) + "\n")
    (folder / "movies.csv").write_text("movieId,title,genres\n1,Toy Story (1995),Comedy\n" if shift == 0 else
                                       f"movieId,title,genres\n{1 + shift},Toy Story (1995),Comedy\n")
    path = tmp_path / f"shift{shift}.reel"
    reel("import", folder, "-o", path)
    return path


def test_model_of_another_dataset_is_bound_by_ids(small, model, tmp_path):
    part = other_dataset(tmp_path, 0)
    test = tmp_path / "test.csv"
    test.write_text("".join((EMBEDDED / "ratings.csv").read_text().splitlines(keepends=True)[:500]))
    done = run("eval", part, "--model", model, "--test", test, "--json", "--progress", "none")
    assert done.returncode == 0 and "another dataset" in done.stderr
    here = reel_json("eval", small, "--model", model, "--test", test)
    assert f'"rmse":{here["rmse"]!r}'[:18] in done.stdout


def test_model_that_knows_nobody_is_a_mismatch(model, tmp_path):
    stranger = other_dataset(tmp_path, 100000000)
    test = tmp_path / "test.csv"
    test.write_text("userId,movieId,rating\n1,1,3.0\n")
    line = refused(1, "eval", stranger, "--model", model, "--test", test)
    assert "another dataset" in line


def test_files_in_the_wrong_place(small, model, folds, tmp_path):
    test = folds / "fold1.test.csv"
    assert str(small) in refused(1, "eval", small, "--model", small, "--test", test)
    assert str(model) in refused(1, "eval", model, "--model", model, "--test", test)
    assert "missing.csv" in refused(1, "eval", small, "--model", model, "--test", tmp_path / "missing.csv")
    assert "missing.reel" in refused(1, "eval", small, "--model", tmp_path / "missing.reel", "--test", test)
    assert "--model" in refused(2, "eval", small, "--test", test)
    assert "--test" in refused(2, "eval", small, "--model", model)


@pytest.mark.parametrize(
    "text, where",
    [
        ("userId,movieId,rating\n1,31,2.5\n1,x,3\n", ":3:"),
        ("userId,movieId,rating\n1,31\n", ":2:"),
        ("userId,movieId,rating\n1,31,5.5\n", ":2:"),
        ("userId,movieId,rating\n1,31,2.25\n", ":2:"),
        ("userId,movieId,rating\n99999999999,31,2.5\n", ":2:"),
        ("", "test.csv"),
        ("hello\n", "test.csv"),
    ],
)
def test_malformed_test_files(small, model, tmp_path, text, where):
    test = tmp_path / "test.csv"
    test.write_text(text)
    line = refused(1, "eval", small, "--model", model, "--test", test)
    assert "test.csv" in line and where in line
