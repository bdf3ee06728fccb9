"""Source system A's endpoints against the CSV files, the cluster file and the trees walked in Python."""

import time

import pytest

from service_tools import (  # noqa: F401
    TensorFile, Trees, clip, files, metadata_of, reading, reference, shown_near, weekday_columns,
)


@pytest.fixture(scope="module")
def clusters(files):  # noqa: F811
    file = TensorFile(files.clusters)
    return dict(zip(file["user_ids"], file["labels"]))


@pytest.fixture(scope="module")
def trees(files):  # noqa: F811
    return Trees(files.gbdt)


def candidates(reference, clusters, cluster):  # noqa: F811
    return {movie for user, label in clusters.items() if label == cluster for movie in reference.rated[user]}


def scores_today(trees, user):
    before = weekday_columns(time.time())
    return trees.scores(user, before)


@pytest.mark.parametrize("user", [1, 15, 100, 547])
def test_recommendation(reading, reference, clusters, trees, user):  # noqa: F811
    answer = reading.get(f"/user/{user}/recommendation")
    scores = scores_today(trees, user)
    assert answer.keys() == {"userId", "predictions"} and answer["userId"] == user
    allowed = candidates(reference, clusters, clusters[user]) - reference.rated[user].keys()
    items = answer["predictions"]
    assert len(items) == 10
    best = sorted(allowed, key=lambda movie: (-round(scores[movie], 5), movie))[:10]
    shown = [scores[item["id"]] for item in items]
    assert all(abs(got - scores[movie]) < 1e-4 for got, movie in zip(shown, best))  # ties may lie in float noise
    for item in items:
        assert item.keys() == {"id", "name", "predicted rating"}
        assert item["id"] in allowed and item["name"] == reference.movies[item["id"]]["title"]
        assert shown_near(item["predicted rating"], clip(scores[item["id"]]), 1)


def test_the_weekday_counts(trees):
    """The source system served with every weekday column zero; the model here knows them."""
    assert [name for name in trees.names if name.startswith("weekday_")] == [f"weekday_{day}" for day in range(7)]
    monday = trees.columns[2][:, 0]
    assert list(monday[:7]) == [1, 0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("user", [1, 100, 547])
def test_rated(reading, reference, user):  # noqa: F811
    expected = [{"movieId": movie, "rating": rating} for movie, rating in sorted(reference.rated[user].items())]
    assert reading.get(f"/user/{user}/rated") == {str(user): expected}


@pytest.mark.parametrize("cluster", range(4))
def test_user_list(reading, reference, clusters, cluster):  # noqa: F811
    expected = [
        {"userId": user, "user_rt_mean": sum(reference.rated[user].values()) / len(reference.rated[user]), "cluster": cluster}
        for user, label in sorted(clusters.items()) if label == cluster
    ]
    assert reading.get(f"/user/list/{cluster}") == expected


@pytest.mark.parametrize("cluster", range(4))
def test_movie_list(reading, reference, clusters, cluster):  # noqa: F811
    genres = sorted({genre for movie in reference.movies.values() for genre in movie["genres"]})
    of = [candidates(reference, clusters, c) for c in range(4)]
    expected = [
        {"movieId": movie, "movie_rt_mean": reference.movie_mean(movie), "popularity": reference.popularity(movie),
         "clusters": [c for c in range(4) if movie in of[c]],
         "genres": {genre: int(genre in reference.movies[movie]["genres"]) for genre in genres}}
        for movie in sorted(of[cluster])
    ]
    assert reading.get(f"/movie/list/{cluster}") == expected


def test_metadata(reading, reference):  # noqa: F811
    """Joined through links.csv: the source system took a MovieLens id for a TMDB id."""
    seen = set()
    for movie in sorted(reference.movies)[:200]:
        about = metadata_of(movie)
        if not about:
            about = {"genres": reference.movies[movie]["genres"], "imdb_id": reference.imdb.get(movie), "revenue": None,
                     "runtime": None}
        seen |= {(name, value is None) for name, value in about.items()}
        assert reading.get(f"/movie/{movie}/metadata") == [{"id": movie, **about}]
    assert len(seen) == 7  # every field there and missing, genres always there


def test_without_clusters_and_models(files):  # noqa: F811
    from service_tools import Server

    with Server("--dataset", files.dataset) as server:
        for path in ("/user/1/recommendation", "/user/list/0", "/movie/list/0", "/api/v1/clusters", "/api/v1/clusters/0"):
            assert "clusters" in server.refuses(404, "GET", path, key=None)
        for path in ("/api/v1/users/1/suggested_movies", "/api/v1/users/1/recommendations"):
            assert "no model" in server.refuses(404, "GET", path, key=None)
        assert server.get("/api/v1/users/1", key=None)["id"] == 1
        assert len(server.get("/api/v1/movies/1/most_similar_movies", key=None)["most_similar_movies"]) == 100
        assert server.get("/api/v1/models", key=None)["models"] == []
