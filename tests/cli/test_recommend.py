"""reel recommend against numpy: order, filters, paging, new users, reasons, files for many users."""

import json

import numpy as np
import pandas as pd
import pytest

from score_tools import (  # noqa: F401
    bias,
    genres_of,
    is_ranking,
    movies,
    open_model,
    ratings,
    reel,
    reel_json,
    refused,
    run,
    scores_of,
    small,
    svd,
)


def ids_of(answer):
    return [item["id"] for item in answer["items"]]


def top(small, model, *args):  # noqa: F811
    return reel_json("recommend", small, "--model", model, *args)


@pytest.mark.parametrize("user", [1, 42, 547])
def test_known_user_against_numpy(small, svd, bias, ratings, movies, user):  # noqa: F811
    seen = set(ratings.movieId[ratings.userId == user])
    for path in (svd, bias):
        model = open_model(path)
        raw = dict(zip(model.movie_ids.tolist(), scores_of(model, user).tolist()))
        answer = top(small, path, "--user", user, "-n", 50)
        assert answer["user"] == user and len(answer["items"]) == 50
        for item in answer["items"]:
            assert item["id"] not in seen
            assert item["title"] == movies[item["id"]]["title"]
            assert item["genres"] == sorted(genres_of(movies[item["id"]]))
            assert item["raw_score"] == pytest.approx(raw[item["id"]], abs=2e-5)
            assert item["score"] == pytest.approx(min(5, max(0.5, raw[item["id"]])), abs=1e-4)
        assert is_ranking(ids_of(answer), raw)
        best_left_out = max(raw[i] for i in raw if i not in seen and i not in ids_of(answer))
        assert best_left_out <= raw[ids_of(answer)[-1]] + 2e-5


def test_equal_scores_go_by_id(small, tmp_path, ratings):  # noqa: F811
    model = tmp_path / "mean.model"
    reel("train", small, "-m", "mean", "-o", model)
    seen = set(ratings.movieId[ratings.userId == 7])
    unseen = sorted(set(ratings.movieId) - seen)
    assert ids_of(top(small, model, "--user", 7, "-n", 30)) == unseen[:30]


def test_pages(small, svd):  # noqa: F811
    whole = top(small, svd, "--user", 5, "-n", 40)
    pages = [top(small, svd, "--user", 5, "-n", 8, "--offset", offset) for offset in range(0, 40, 8)]
    assert sum((page["items"] for page in pages), []) == whole["items"]
    assert top(small, svd, "--user", 5, "--offset", 100000)["items"] == []
    everything = top(small, svd, "--user", 5, "-n", 2**31 - 1)
    assert len(everything["items"]) == 9066 - 100  # user 5 rated 100


def test_filters(small, svd, ratings, movies):  # noqa: F811
    whole = ids_of(top(small, svd, "--user", 9, "-n", 20000))
    votes = ratings.movieId.value_counts()

    def year(i):
        title = movies[i]["title"].strip()
        return int(title[-5:-1]) if title.endswith(")") and title[-5:-1].isdigit() else 0

    def check(args, passes):
        assert ids_of(top(small, svd, "--user", 9, "-n", 25, *args)) == [i for i in whole if passes(i)][:25]

    check(["--genre", "Horror"], lambda i: "Horror" in genres_of(movies[i]))
    check(["--genre", "horror", "--genre", "WAR"], lambda i: {"Horror", "War"} & set(genres_of(movies[i])))
    check(["--year-from", 1990, "--year-to", 1994], lambda i: 1990 <= year(i) <= 1994)
    check(["--year-to", 1930], lambda i: 0 < year(i) <= 1930)
    check(["--min-ratings", 100], lambda i: votes[i] >= 100)
    check(["--min-ratings", 20, "--genre", "Comedy", "--year-from", 2000],
          lambda i: votes[i] >= 20 and "Comedy" in genres_of(movies[i]) and year(i) >= 2000)
    line = refused(2, "recommend", small, "--model", svd, "--user", 9, "--genre", "Slapstick")
    assert line.startswith("reel: there is no genre Slapstick (known: Action, Adventure, ")


def test_error_bars_with_reasons(small, svd, tmp_path):  # noqa: F811
    """sd: one a title from a model that has them, only when reasons are asked for."""
    path = tmp_path / "bmf.reel"
    run("train", small, "-m", "bmf", "-p", "factors=4", "-p", "burn_in=5", "-p", "samples=10", "-p", "keep=8", "-o", path)
    items = top(small, path, "--user", 7, "-n", 5, "--explain")["items"]
    assert len(items) == 5 and all(0.3 < item["sd"] < 2 for item in items)
    assert len({item["sd"] for item in items}) > 1
    plain = top(small, path, "--user", 7, "-n", 5)["items"]
    assert [item["id"] for item in plain] == [item["id"] for item in items]
    assert all("sd" not in item for item in plain + top(small, svd, "--user", 7, "-n", 5, "--explain")["items"])


def test_table_for_people(small, svd):  # noqa: F811
    lines = reel("recommend", small, "--model", svd, "--user", 42, "-n", 3, "--explain").splitlines()
    assert lines[0] == "for user 42 with 70 ratings, by svd"
    assert lines[1].split() == ["#", "id", "score", "title", "genres"]
    assert sum(line.lstrip().startswith(("1 ", "2 ", "3 ")) for line in lines) == 3
    assert sum("you rated" in line for line in lines) >= 3


def fold_in(model, rated):
    """Solution for a visitor's factors and bias against the fixed movie factors, the trained users' precision as prior."""
    at = [model.movie[i] for i, _ in rated]
    x = np.hstack([model.movie_factors[at], np.ones((len(at), 1))]).astype(float)
    y = np.array([stars for _, stars in rated]) - model.mean - model.movie_bias[at]
    prior = np.array(model.file["fold_in_precision"], float).reshape(x.shape[1], x.shape[1])
    solution = np.linalg.solve(x.T @ x + prior, x.T @ y)
    return model.mean + model.movie_bias + model.movie_factors @ solution[:-1] + solution[-1]


def test_new_user(small, svd, tmp_path, ratings):  # noqa: F811
    model = open_model(svd)
    rated = [(1, 5.0), (260, 4.5), (2571, 0.5), (3114, 4.0)]
    path = tmp_path / "rated.csv"
    path.write_text("movieId,rating\n" + "".join(f"{i},{stars}\n" for i, stars in rated))
    answer = top(small, svd, "--rated", path, "-n", 60, "--explain")
    raw = dict(zip(model.movie_ids.tolist(), fold_in(model, rated).tolist()))
    assert answer["user"] is None
    assert not {1, 260, 2571, 3114} & set(ids_of(answer))
    assert is_ranking(ids_of(answer), raw, 1e-4)
    for item in answer["items"]:
        assert item["raw_score"] == pytest.approx(raw[item["id"]], abs=1e-4)
        assert len(item["explain"]) == 3
        assert all(dict(rated)[reason["id"]] == reason["rating"] for reason in item["explain"])
    path.write_text("1,5\n260,4.5\n2571,0.5\n")  # with three ratings the shares are all there is
    at_rest = scores_of(model, -1)
    for item in top(small, svd, "--rated", path, "-n", 20, "--explain")["items"]:
        shares = sum(reason["share"] for reason in item["explain"])
        assert at_rest[model.movie[item["id"]]] + shares == pytest.approx(item["raw_score"], abs=1e-4)


def test_own_ratings_folded_in_rank_like_the_trained_user(small, svd, tmp_path, ratings):  # noqa: F811
    path = tmp_path / "rated.csv"
    mine = ratings[ratings.userId == 15]
    mine[["movieId", "rating"]].to_csv(path, index=False)
    trained = {item["id"]: item["raw_score"] for item in top(small, svd, "--user", 15, "-n", 10000)["items"]}
    folded = {item["id"]: item["raw_score"] for item in top(small, svd, "--rated", path, "-n", 10000)["items"]}
    assert trained.keys() == folded.keys()
    a, b = (np.array([scores[i] for i in sorted(scores)]) for scores in (trained, folded))
    assert np.corrcoef(a, b)[0, 1] > 0.9


def test_new_user_without_ratings(small, svd, tmp_path):  # noqa: F811
    path = tmp_path / "rated.csv"
    path.write_text("movieId,rating\n")
    model = open_model(svd)
    raw = dict(zip(model.movie_ids.tolist(), scores_of(model, -1).tolist()))
    answer = top(small, svd, "--rated", path, "-n", 20, "--explain")
    assert is_ranking(ids_of(answer), raw) and all(item["explain"] == [] for item in answer["items"])


def test_user_who_saw_everything(tmp_path):
    """Imported from CSVs of three movies, of which user 1 rated all."""
    (tmp_path / "movies.csv").write_text("movieId,title,genres\n1,One (2000),Drama\n2,Two (2001),Comedy\n3,Three,(no genres listed)\n")
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,1,5,1\n1,2,4,2\n1,3,3,3\n2,1,4.5,4\n")
    data, model = tmp_path / "d.reel", tmp_path / "m.model"
    reel("import", tmp_path, "-o", data)
    reel("train", data, "-m", "svd", "-p", "factors=2", "-o", model)
    assert top(data, model, "--user", 1)["items"] == []
    assert "no movie is left" in reel("recommend", data, "--model", model, "--user", 1)
    assert sorted(ids_of(top(data, model, "--user", 2))) == [2, 3]
    reel("recommend", data, "--model", model, "--all", "-n", 2, "-o", tmp_path / "all.npy")
    everybody = np.load(tmp_path / "all.npy")
    assert everybody["movies"].tolist()[0] == [-1, -1] and np.isnan(everybody["scores"][0]).all()
    assert sorted(everybody["movies"].tolist()[1]) == [2, 3]


def test_all_users_equal_single_users(small, svd, bias, tmp_path):  # noqa: F811
    for model in (svd, bias):
        files = []
        for threads in (1, 2, 5):
            path = tmp_path / f"all{threads}.npy"
            answer = reel_json("recommend", small, "--model", model, "--all", "-n", 12, "-o", path, "--threads", threads)
            assert answer["n_users"] == 671 and answer["n"] == 12
            files.append(path.read_bytes())
        assert files[0] == files[1] == files[2]
        everybody = np.load(tmp_path / "all1.npy")
        assert everybody.dtype.names == ("user", "movies", "scores") and everybody.shape == (671,)
        for row in everybody[::67]:
            single = top(small, model, "--user", int(row["user"]), "-n", 12)
            assert ids_of(single) == row["movies"].tolist()
            np.testing.assert_allclose([item["score"] for item in single["items"]], row["scores"], atol=5.1e-5)
        reel("recommend", small, "--model", model, "--all", "-n", 12, "-o", tmp_path / "all.csv")
        table = pd.read_csv(tmp_path / "all.csv")
        assert (table.userId.to_numpy() == np.repeat(everybody["user"], 12)).all()
        assert (table.movieId.to_numpy() == everybody["movies"].ravel()).all()
        np.testing.assert_allclose(table.score, everybody["scores"].ravel(), atol=5.1e-5)


def test_some_users_with_filters(small, svd, tmp_path):  # noqa: F811
    (tmp_path / "users.csv").write_text("userId\n9\n3\n9\n")
    args = ["--genre", "Drama", "--min-ratings", 50, "-n", 5]
    out = reel("recommend", small, "--model", svd, "--users", tmp_path / "users.csv", *args)
    rows = [line.split(",") for line in out.splitlines()]
    assert rows[0] == ["userId", "movieId", "score"]
    expected = []
    for user in (9, 3, 9):
        expected += [[str(user), str(i)] for i in ids_of(top(small, svd, "--user", user, *args))]
    assert [row[:2] for row in rows[1:]] == expected
    (tmp_path / "users.csv").write_text("userId\n9\n123456\n")
    line = refused(1, "recommend", small, "--model", svd, "--users", tmp_path / "users.csv", "-o", tmp_path / "x.csv")
    assert line.endswith("users.csv:3: the dataset has no such user (found 123456)")
    assert not (tmp_path / "x.csv").exists()


def test_bad_ratings_of_a_new_user(small, svd, tmp_path):  # noqa: F811
    path = tmp_path / "rated.csv"
    cases = {
        "movieId,rating\n1,5\n1,4\n": ":3: movie 1 was rated in line 2 already",
        "1,5\n2,5.5\n": ':2: rating must be a rating 0.5..5 in half steps (found "5.5")',
        "1,0\n": ":1: rating must be",
        "1,3.7\n": ":1: rating must be",
        "1,nan\n": ":1: rating must be",
        "1,4\n99999999,4\n": ":2: the dataset has no such movie (found 99999999)",
        "movieId\n1\n": ":1: the header has no column rating",
        "1,\n": ":1: rating must be",
    }
    for text, message in cases.items():
        path.write_text(text)
        line = refused(1, "recommend", small, "--model", svd, "--rated", path)
        assert line.startswith(f"reel: {path}{message}"), line


def test_wrong_usage(small, svd, bias):  # noqa: F811
    assert refused(1, "recommend", small, "--model", svd, "--user", 123456) == \
        "reel: the dataset has no user 123456 (--rated FILE takes a new user's ratings)"
    base = ["recommend", small, "--model", svd]
    assert "one of" in refused(2, *base)
    assert "one of" in refused(2, *base, "--user", 1, "--all")
    for n in (0, -3):
        assert "-n must be at least 1" in refused(2, *base, "--user", 1, "-n", n)
    assert "--offset" in refused(2, *base, "--user", 1, "--offset", -1)
    assert "-o goes with" in refused(2, *base, "--user", 1, "-o", "x.csv")
    assert "--explain" in refused(2, *base, "--all", "--explain")
    assert "--model" in refused(2, "recommend", small, "--user", 1)
    assert run(*base, "--all", "--json").returncode == 2
    assert json.loads(run(*base, "--user", 123456, "--json").stdout)["error"]["code"] == "not_found"
    assert "reel recommend" in reel("recommend", "--help")


def test_a_model_of_other_data_is_bound_by_ids(small, svd, tmp_path, ratings):  # noqa: F811
    """A dataset of every second user, and of movies that the model partly does not know."""
    part = ratings[(ratings.userId % 2 == 0) & (ratings.movieId % 3 != 0)].copy()
    extra = part.iloc[:50].copy()
    extra["movieId"] = 900000 + np.arange(50)
    extra["userId"] = 5000
    other = pd.concat([part, extra])
    (tmp_path / "csv").mkdir()
    other.to_csv(tmp_path / "csv" / "ratings.csv", index=False)
    data = tmp_path / "other.reel"
    reel("import", tmp_path / "csv" / "ratings.csv", "-o", data)
    model = open_model(svd)
    for user in (2, 300, 5000):
        raw = dict(zip(model.movie_ids.tolist(), scores_of(model, user).tolist()))
        base = model.mean + (model.user_bias[model.user[user]] if user in model.user else 0)
        answer = top(data, svd, "--user", user, "-n", 20000)
        for item in answer["items"]:
            assert item["raw_score"] == pytest.approx(raw.get(item["id"], base), abs=2e-5)
        assert set(ids_of(answer)) == set(other.movieId) - set(other.movieId[other.userId == user])
    (tmp_path / "csv" / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,99999999,4,1\n")
    reel("import", tmp_path / "csv" / "ratings.csv", "-o", data)
    assert "knows none of the dataset's 1 movies" in refused(1, "recommend", data, "--model", svd, "--user", 1)
