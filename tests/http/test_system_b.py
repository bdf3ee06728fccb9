"""Source system B's endpoints against the CSV files, numpy and scikit-learn."""

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from service_tools import (  # noqa: F401
    check_page, clip, files, open_model, reading, reference, shown_near, svd_scores,
)

USERS = [1, 2, 15, 100, 547, 671]  # 547 rated most (2,391 movies), 1 least (20)


@pytest.mark.parametrize("user", USERS)
def test_user(reading, reference, user):  # noqa: F811
    expected = [
        {"movieId": movie, "rating": rating, "tags": reference.tags_of(user, movie),
         "title": reference.movies[movie]["title"], "genres": reference.movies[movie]["genres"]}
        for movie, rating in sorted(reference.rated[user].items(), key=lambda item: (-item[1], item[0]))
    ]
    assert reading.get(f"/api/v1/users/{user}") == {"id": user, "movies": expected}
    assert reading.get(f"/api/v1/users/{user}/") == {"id": user, "movies": expected}


@pytest.mark.parametrize("user", USERS)
def test_suggested_movies(reading, reference, files, user):  # noqa: F811
    answer = reading.get(f"/api/v1/users/{user}/suggested_movies")
    assert list(answer) == ["suggested_movies"]
    items = answer["suggested_movies"]
    check_page(items, svd_scores(open_model(files.svd), user), reference.rated[user].keys(), 150)
    for item in items:
        assert {key: item[key] for key in ("id", "title", "genres")} == reference.movies[item["id"]]
        assert item.keys() == {"id", "title", "genres", "estimated_score"}
    assert reading.get(f"/api/v1/users/{user}/suggested_movies/") == answer  # from the cache


def test_suggestions_of_all_users(reading, reference, files):  # noqa: F811
    """Many at once, so that batches form; also without the cache between them and a second look."""
    import concurrent.futures

    model = open_model(files.svd)
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda user: reading.get(f"/api/v1/users/{user}/suggested_movies"), sorted(reference.rated)))
    for user, answer in zip(sorted(reference.rated), answers):
        check_page(answer["suggested_movies"], svd_scores(model, user), reference.rated[user].keys(), 150)


def test_saturated_scores_come_by_id(files, reference, tmp_path):  # noqa: F811
    """Where hundreds of scores are clipped to 5 they are ties: ordered by id, first ids first."""
    from safetensors.numpy import load_file

    from eval_tools import reel
    from service_tools import Server

    path = tmp_path / "wild.model"
    reel("train", files.dataset, "-m", "svd", "-p", "factors=4", "-p", "epochs=40", "-p", "learning_rate=0.05",
         "-p", "regularization=0", "-o", path)
    model = open_model(path)
    assert load_file(path)
    scores = {user: svd_scores(model, user) for user in reference.rated}
    saturated = [user for user, of in scores.items() if sum(score >= 5 for score in of.values()) > 400]
    assert saturated, "this model was to be wilder"
    with Server("--dataset", files.dataset, "--model", f"wild={path}") as server:
        for user in saturated[:5]:
            items = server.get(f"/api/v1/users/{user}/suggested_movies", key=None)["suggested_movies"]
            check_page(items, scores[user], reference.rated[user].keys(), 150)
            assert {item["estimated_score"] for item in items} == {5.0}
            full = sorted(movie for movie, score in scores[user].items()
                          if score >= 4.99951 and movie not in reference.rated[user])
            assert [item["id"] for item in items] == full[:150]


def test_every_movie(reading, reference):  # noqa: F811
    connection = reading.connect()
    for movie, expected in list(reference.movies.items())[::9]:
        assert reading.get(f"/api/v1/movies/{movie}", connection=connection) == expected


@pytest.fixture(scope="module")
def cosine(reference):  # noqa: F811
    ids = sorted(reference.movies)
    texts = ["|".join(reference.movies[movie]["genres"]) or "(no genres listed)" for movie in ids]
    matrix = TfidfVectorizer(tokenizer=lambda text: text.split("|"), lowercase=False, token_pattern=None).fit_transform(texts)
    return ids, matrix


@pytest.mark.parametrize("movie", [1, 2, 318, 260, 4993, 7, 5971, 88785, 126929])
def test_most_similar_movies(reading, reference, cosine, movie):  # noqa: F811
    ids, matrix = cosine
    if movie not in reference.movies:
        movie = ids[movie % len(ids)]
    exact = np.asarray((matrix @ matrix[ids.index(movie)].T).todense()).ravel()
    of = dict(zip(ids, exact))
    items = reading.get(f"/api/v1/movies/{movie}/most_similar_movies")["most_similar_movies"]
    assert len(items) == 100 and movie not in [item["id"] for item in items]
    order = sorted((other for other in ids if other != movie),
                   key=lambda other: (-round(of[other], 9), -reference.popularity(other), other))
    assert [item["id"] for item in items] == order[:100]
    for item in items:
        assert {key: item[key] for key in ("id", "title", "genres")} == reference.movies[item["id"]]
        assert item.keys() == {"id", "title", "genres", "cosine_similarity"}
        assert shown_near(item["cosine_similarity"], of[item["id"]], 2)


@pytest.mark.parametrize("path", [
    "/api/v1/users/{}", "/api/v1/users/{}/suggested_movies", "/api/v1/movies/{}", "/api/v1/movies/{}/most_similar_movies",
    "/user/{}/recommendation", "/user/{}/rated", "/user/list/{}", "/movie/{}/metadata", "/movie/list/{}",
    "/api/v1/users/{}/recommendations", "/api/v1/clusters/{}",
])
def test_ids_that_are_none(reading, path):  # noqa: F811
    for unknown in (999999, 2147483647, 2147483648, 4294967297, 9007199254740991):
        assert str(unknown) in reading.refuses(404, "GET", path.format(unknown))
    for wrong in ("abc", "-1", "1.5", "1e3", "0x10", "%31%20", "+1", "9" * 30, "%C3%A9", "1%00", "null"):
        reading.refuses(400, "GET", path.format(wrong))
    for method in ("POST", "DELETE", "PUT", "PATCH"):
        answer = reading.ask(method, path.format(1))
        assert answer.status == 405 and "GET" in answer.headers["allow"], (method, path, answer.status)
