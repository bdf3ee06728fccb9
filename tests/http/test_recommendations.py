"""Recommendations by any model, batches, visitors, predictions, search, clusters, models."""

import math

import numpy as np
import pandas as pd
import pytest

from service_tools import (  # noqa: F401
    TensorFile, clip, files, open_model, reading, reel, reference, shown_near, svd_scores,
)


def year_of(title):
    title = title.strip()
    return int(title[-5:-1]) if title.endswith(")") and title[-5:-1].isdigit() and title[-6] == "(" else None


def check_by_score(items, scores, allowed, n):
    """The n best of `allowed` by raw score, then id; scores shown clipped."""
    ids = [item["id"] for item in items]
    assert len(set(ids)) == len(ids) == min(n, len(allowed)) and set(ids) <= set(allowed)
    raw = [scores[movie] for movie in ids]
    assert all(a >= b - 1e-5 for a, b in zip(raw, raw[1:]))
    left = [scores[movie] for movie in set(allowed) - set(ids)]
    if left and ids:
        assert max(left) <= raw[-1] + 1e-5
    for item in items:
        assert shown_near(item["score"], clip(scores[item["id"]]), 3)


@pytest.mark.parametrize("query, keeps", [
    ("", lambda movie, year, n: True),
    ("genre=Drama", lambda movie, year, n: "Drama" in movie["genres"]),
    ("genre=film-noir", lambda movie, year, n: "Film-Noir" in movie["genres"]),
    ("year_from=1990&year_to=1995", lambda movie, year, n: year and 1990 <= year <= 1995),
    ("year_to=1940", lambda movie, year, n: year and year <= 1940),
    ("min_ratings=100", lambda movie, year, n: n >= 100),
    ("genre=War&year_from=1980&min_ratings=20", lambda movie, year, n: "War" in movie["genres"] and year and year >= 1980
     and n >= 20),
    ("year_from=2000&year_to=1990", lambda movie, year, n: False),
])
def test_filters(reading, reference, files, query, keeps):  # noqa: F811
    user, scores = 15, svd_scores(open_model(files.svd), 15)
    allowed = [
        movie for movie, facts in reference.movies.items()
        if movie not in reference.rated[user] and keeps(facts, year_of(facts["title"]), reference.popularity(movie))
    ]
    answer = reading.get(f"/api/v1/users/{user}/recommendations?limit=50&{query}")
    assert answer["userId"] == user and answer["model"] == "svd"
    check_by_score(answer["recommendations"], scores, allowed, 50)
    for item in answer["recommendations"]:
        assert item.keys() == {"id", "title", "genres", "score"}
        assert {key: item[key] for key in ("id", "title", "genres")} == reference.movies[item["id"]]


def test_pages_fit_together(reading):  # noqa: F811
    def page(limit, offset):
        return reading.get(f"/api/v1/users/7/recommendations?limit={limit}&offset={offset}")["recommendations"]

    whole = page(60, 0)
    assert len(whole) == 60 and page(20, 0) + page(20, 20) + page(20, 40) == whole
    assert len(page(10, 0)) == len(reading.get("/api/v1/users/7/recommendations")["recommendations"]) == 10
    assert page(10, 1000000) == []


@pytest.mark.parametrize("model", ["svd", "gbdt", "bmf"])
def test_models_agree_with_the_command_line(reading, files, model):  # noqa: F811
    import json

    out = json.loads(reel("recommend", files.dataset, "--model", getattr(files, model), "--user", 100, "-n", 25, "--json",
                          "--progress", "none"))
    answer = reading.get(f"/api/v1/users/100/recommendations?model={model}&limit=25")
    assert answer["model"] == model
    items = answer["recommendations"]
    assert [item["id"] for item in items] == [item["id"] for item in out["items"]]
    for item, expected in zip(items, out["items"]):
        assert abs(item["score"] - expected["score"]) < 6e-4
        assert ("sd" in item) == (model == "bmf")
    if model == "bmf":
        pairs = [{"userId": 100, "movieId": item["id"]} for item in items]
        sds = [item["sd"] for item in reading.post("/api/v1/predictions", {"pairs": pairs, "model": "bmf"})["predictions"]]
        assert [item["sd"] for item in items] == sds and all(0.1 < sd < 3 for sd in sds)


def test_reasons(reading, reference):  # noqa: F811
    items = reading.get("/api/v1/users/2/recommendations?explain=1&limit=20")["recommendations"]
    for item in items:
        because = item["because"]
        assert 1 <= len(because) <= 5
        shares = [abs(reason["share"]) for reason in because]
        assert shares == sorted(shares, reverse=True)
        for reason in because:
            assert reason["rating"] == reference.rated[2][reason["movieId"]]
            assert reason["title"] == reference.movies[reason["movieId"]]["title"]
    items = reading.get("/api/v1/users/2/recommendations?explain=1&model=gbdt")["recommendations"]
    assert all("because" in item for item in items)
    assert all("because" not in item for item in reading.get("/api/v1/users/2/recommendations")["recommendations"])


def test_wrong_queries(reading):  # noqa: F811
    path = "/api/v1/users/2/recommendations?"
    for wrong in ("limit=0", "limit=1001", "limit=x", "limit=", "limit=1.5", "offset=-1", "year_from=abc", "explain=2",
                  "min_ratings=99999999999999999999", "limit=-9223372036854775809"):
        reading.refuses(400, "GET", path + wrong)
    reading.refuses(404, "GET", path + "model=none")
    reading.refuses(404, "GET", path + "model=../../etc/passwd")
    reading.refuses(404, "GET", path + "genre=Nonsense")


# ---- many users ----

def test_many_users(reading):  # noqa: F811
    users = [5, 1, 671, 5, 100]
    answer = reading.post("/api/v1/recommendations", {"users": users, "limit": 7})
    assert answer["model"] == "svd" and [result["userId"] for result in answer["results"]] == users
    for result in answer["results"]:
        assert result["recommendations"] == reading.get(
            f"/api/v1/users/{result['userId']}/recommendations?limit=7")["recommendations"]
    assert "424242" in reading.refuses(404, "POST", "/api/v1/recommendations", {"users": [1, 424242]})


def visitor_scores(files, ratings, tmp_path):
    """All scores of a visitor, as the command line folds ratings in."""
    import json

    path = tmp_path / "rated.csv"
    path.write_text("movieId,rating\n" + "".join(f"{movie},{stars}\n" for movie, stars in ratings.items()))
    out = json.loads(reel("recommend", files.dataset, "--model", files.svd, "--rated", path, "-n", 100, "--json",
                          "--progress", "none"))
    return out["items"]


def test_visitor(reading, files, reference, tmp_path):  # noqa: F811
    ratings = {1: 5.0, 318: 4.5, 296: 0.5, 2571: 4.0}
    body = {"ratings": [{"movieId": movie, "rating": stars} for movie, stars in ratings.items()], "limit": 100}
    answer = reading.post("/api/v1/recommendations", body, key=None)
    expected = visitor_scores(files, ratings, tmp_path)
    assert [item["id"] for item in answer["recommendations"]] == [item["id"] for item in expected]
    for item, other in zip(answer["recommendations"], expected):
        assert abs(item["score"] - other["score"]) < 6e-4 and item["id"] not in ratings
    twice = {**body, "ratings": [{"movieId": 318, "rating": 1.0}, *body["ratings"]]}
    assert reading.post("/api/v1/recommendations", twice) == answer  # the last word on a movie counts
    explained = reading.post("/api/v1/recommendations", {**body, "explain": 1, "genre": "Drama", "min_ratings": 30})
    for item in explained["recommendations"]:
        assert "Drama" in item["genres"] and reference.popularity(item["id"]) >= 30
        assert {reason["movieId"] for reason in item["because"]} <= ratings.keys()
    nobody = reading.post("/api/v1/recommendations", {"ratings": []})["recommendations"]
    assert len(nobody) == 10
    unsure = reading.post("/api/v1/recommendations", {**body, "model": "bmf"})["recommendations"]
    assert len(unsure) == 100 and all(0.1 < item["sd"] < 3 for item in unsure)


def test_predictions(reading, files, reference, tmp_path):  # noqa: F811
    pairs = [(user, movie) for user in (1, 15, 671, 999999) for movie in (1, 318, 2147483647)]
    model = open_model(files.svd)
    answer = reading.post("/api/v1/predictions", {"pairs": [{"userId": u, "movieId": m} for u, m in pairs]})
    for (user, movie), item in zip(pairs, answer["predictions"]):
        assert (item["userId"], item["movieId"]) == (user, movie) and "sd" not in item
        exact = float(model.mean)
        if movie in model.movie:
            exact = svd_scores(model, user)[movie]
        elif user in model.user:
            exact += float(model.user_bias[model.user[user]])
        assert shown_near(item["score"], clip(exact), 3)
    for name in ("gbdt", "bmf"):
        path, out = tmp_path / "pairs.csv", tmp_path / f"{name}.csv"
        path.write_text("userId,movieId\n" + "".join(f"{u},{m}\n" for u, m in pairs))
        reel("predict", files.dataset, "--model", getattr(files, name), "--pairs", path, "-o", out)
        table = pd.read_csv(out)
        answer = reading.post("/api/v1/predictions", {"pairs": [{"userId": u, "movieId": m} for u, m in pairs], "model": name})
        scores = [item["score"] for item in answer["predictions"]]
        assert np.allclose(scores, table["score"], atol=6e-4)
        assert all(("sd" in item) == (name == "bmf") for item in answer["predictions"])
    assert reading.post("/api/v1/predictions", {"pairs": []})["predictions"] == []


# ---- search ----

def test_search(reading, reference):  # noqa: F811
    by_popularity = sorted(reference.movies, key=lambda movie: (-reference.popularity(movie), movie))
    for words in (["matrix"], ["the", "god"], ["1995", "story"], ["zzzzqqq"]):
        expected = [m for m in by_popularity if all(word in reference.movies[m]["title"].lower() for word in words)]
        answer = reading.get("/api/v1/movies?limit=200&query=" + "+".join(words))
        assert [movie["id"] for movie in answer["movies"]] == expected[:200]
        for movie in answer["movies"]:
            assert movie["n_ratings"] == reference.popularity(movie["id"])
            assert movie["year"] == year_of(movie["title"])
            mean = reference.movie_mean(movie["id"])
            assert movie["mean_rating"] is None if mean is None else shown_near(movie["mean_rating"], mean, 3)
            assert {key: movie[key] for key in ("id", "title", "genres")} == reference.movies[movie["id"]]
    assert reading.get("/api/v1/movies?query=AMELIE")["movies"][0]["title"].startswith("Amelie")


def test_paging_sees_every_movie_once(reading, reference):  # noqa: F811
    for genre in ("", "Western"):
        seen, cursor = [], 0
        while cursor is not None:
            page = reading.get(f"/api/v1/movies?limit=200&cursor={cursor}&genre={genre}")
            assert 1 <= len(page["movies"]) <= 200
            seen += [movie["id"] for movie in page["movies"]]
            cursor = page["next_cursor"]
        expected = [m for m in reference.movies if not genre or genre in reference.movies[m]["genres"]]
        assert sorted(seen) == sorted(expected)


def test_wrong_searches(reading):  # noqa: F811
    for wrong in ("limit=0", "limit=201", "cursor=-1", "cursor=abc", "query=" + "x" * 201, "query=%ff", "query=a%00b"):
        reading.refuses(400, "GET", "/api/v1/movies?" + wrong)
    assert reading.get("/api/v1/movies?query=" + "%C3%A9" * 200)["movies"] == []
    assert reading.get("/api/v1/movies?cursor=2147483647") == {"movies": [], "next_cursor": None}


# ---- clusters and models ----

def test_clusters(reading, reference, files):  # noqa: F811
    file = TensorFile(files.clusters)
    of = dict(zip(file["user_ids"], file["labels"]))
    answer = reading.get("/api/v1/clusters?points=500")
    assert answer["k"] == 4 and len(answer["clusters"]) == 4
    for c, cluster in enumerate(answer["clusters"]):
        members = [user for user, label in of.items() if label == c]
        ratings = [rating for user in members for rating in reference.rated[user].values()]
        assert cluster["cluster"] == c and cluster["n_users"] == len(members)
        assert math.isclose(cluster["mean_rating"], sum(ratings) / len(ratings), rel_tol=1e-12)
        counts = {}
        for user in members:
            for movie in reference.rated[user]:
                counts[movie] = counts.get(movie, 0) + 1
        top = sorted(counts, key=lambda movie: (-counts[movie], movie))[:5]
        assert cluster["top_movies"] == [
            {"id": movie, "title": reference.movies[movie]["title"], "n_ratings": counts[movie]} for movie in top]
        marks = {}
        for user in members:
            for movie in reference.rated[user]:
                for genre in reference.movies[movie]["genres"]:
                    marks[genre] = marks.get(genre, 0) + 1
        for genre, facts in cluster["genres"].items():
            assert math.isclose(facts["share"], marks.get(genre, 0) / sum(marks.values()), rel_tol=1e-9, abs_tol=1e-12)
        assert reading.get(f"/api/v1/clusters/{c}") == cluster
    assert len(answer["points"]) == 500
    assert all(of[point["userId"]] == point["cluster"] for point in answer["points"])
    assert "points" not in reading.get("/api/v1/clusters")


def test_models(reading, files):  # noqa: F811
    answer = reading.get("/api/v1/models")
    dataset = TensorFile(files.dataset)
    assert answer["dataset"]["fingerprint"] == dataset.metadata["fingerprint"]
    assert answer["dataset"]["n_ratings"] == len(dataset["user_movies"])
    assert [model["name"] for model in answer["models"]] == ["svd", "gbdt", "bmf"]
    svd = answer["models"][0]
    metadata = TensorFile(files.svd).metadata
    assert svd["default"] and svd["of_this_dataset"] and svd["params"]["factors"] == "16"
    assert svd["fingerprint"] == metadata["dataset.fingerprint"]
    assert math.isclose(svd["metrics"]["rmse"], float(metadata["metrics.rmse"]))
    assert svd["metrics"]["n"] == int(metadata["metrics.n"])
    assert answer["models"][1]["metrics"] is None and answer["models"][1]["serves_clusters"]
