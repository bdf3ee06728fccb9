"""reel similar: genre cosines against TfidfVectorizer's formula (and scikit-learn where it is at hand), factors,
ratings and genome against numpy, ties."""

import json
import os
import subprocess

import numpy as np
import pytest

from score_tools import genres_of, movies, open_model, ratings, reel, reel_json, refused, small, svd  # noqa: F401


def similar(small, movie, *args):  # noqa: F811
    return [(item["id"], item["similarity"]) for item in
            reel_json("similar", small, "--movie", movie, *args)["items"]]


def check_order(answer, expected, votes, movie, tolerance=2e-6):
    """Similarities agree; equal ones go by number of ratings, then id; none that is better was left out."""
    ids = [i for i, _ in answer]
    assert movie not in ids and len(set(ids)) == len(ids)
    for i, value in answer:
        assert value == pytest.approx(expected[i], abs=tolerance)
    keys = [(-round(value, 6), -votes[i], i) for i, value in answer]
    assert keys == sorted(keys)
    listed = {movie, *ids}
    left_out = [value for i, value in expected.items() if i not in listed]
    assert not left_out or max(left_out) <= answer[-1][1] + tolerance


def genre_cosines(movies, movie):  # noqa: F811
    tokens = {i: genres_of(row) or ["(no genres listed)"] for i, row in movies.items()}
    names = sorted({token for listed in tokens.values() for token in listed})
    column = {name: c for c, name in enumerate(names)}
    ids = sorted(tokens)
    counts = np.zeros((len(ids), len(names)))
    for row, i in enumerate(ids):
        counts[row, [column[token] for token in tokens[i]]] = 1
    weights = counts * (np.log((1 + len(ids)) / (1 + counts.sum(0))) + 1)
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    return dict(zip(ids, (weights @ weights[ids.index(movie)]).tolist()))


@pytest.fixture(scope="session")
def votes(ratings, movies):  # noqa: F811
    counts = ratings.movieId.value_counts()
    return {i: int(counts.get(i, 0)) for i in movies}


@pytest.mark.parametrize("n", [10, 100, 20000])
def test_genre(small, movies, votes, n):  # noqa: F811
    no_genres = next(i for i in movies if not genres_of(movies[i]))
    for movie in (1, 260, 1214, no_genres):
        answer = similar(small, movie, "-n", n)
        assert len(answer) == min(n, len(movies) - 1)
        check_order(answer, genre_cosines(movies, movie), votes, movie)


SKLEARN = r"""
import json, sys
from sklearn.feature_extraction.text import TfidfVectorizer
ids, texts, wanted = json.load(sys.stdin)
vectors = TfidfVectorizer(tokenizer=lambda text: text.split("|"), token_pattern=None, lowercase=False).fit_transform(texts)
json.dump([(vectors @ vectors[ids.index(i)].T).toarray().ravel().tolist() for i in wanted], sys.stdout)
"""


def test_genre_against_scikit_learn(small, movies, votes):  # noqa: F811
    python = os.environ.get("REEL_PEERS_PYTHON")
    if not python or subprocess.run([python, "-c", "import sklearn"], capture_output=True).returncode:
        pytest.skip("no scikit-learn: set REEL_PEERS_PYTHON to a Python that has it")
    ids, wanted = sorted(movies), [1, 296, 318]
    done = subprocess.run([python, "-c", SKLEARN], text=True, capture_output=True, check=True,
                          input=json.dumps([ids, [movies[i]["genres"] for i in ids], wanted]))
    for movie, cosines in zip(wanted, json.loads(done.stdout)):
        check_order(similar(small, movie, "-n", 500), dict(zip(ids, cosines)), votes, movie)


def test_factors(small, svd, votes):  # noqa: F811
    model = open_model(svd)
    rows = model.movie_factors / np.maximum(np.linalg.norm(model.movie_factors, axis=1, keepdims=True), 1e-30)
    for movie in (1, 2571):
        cosines = dict(zip(model.movie_ids.tolist(), (rows @ rows[model.movie[movie]]).tolist()))
        check_order(similar(small, movie, "--by", "factors", "--model", svd, "-n", 200), cosines, votes, movie)


def test_ratings(small, ratings, votes):  # noqa: F811
    table = ratings.pivot(index="userId", columns="movieId", values="rating")
    centred = table.sub(table.mean(axis=1), axis=0)
    known = centred.notna().to_numpy(float)
    values = centred.fillna(0).to_numpy()
    for movie in (1, 110, 100003):
        at = list(table.columns).index(movie) if movie in table.columns else None
        if at is None:
            continue
        common = known[:, at] @ known
        norms = np.sqrt((values[:, at] ** 2 @ known) * (known[:, at] @ values**2))
        cosines = np.divide(values[:, at] @ values, norms, out=np.zeros_like(norms), where=norms > 1e-9)
        shrunk = cosines * common / (common + 100)
        expected = {i: value for i, value, n in zip(table.columns, shrunk, common) if n > 0}
        check_order(similar(small, movie, "--by", "ratings", "-n", 300), expected, votes, movie, 1e-5)


def test_genome(tmp_path):
    rng = np.random.default_rng(5)
    relevance = rng.random((6, 9)).round(4)
    (tmp_path / "movies.csv").write_text("movieId,title,genres\n" + "".join(f"{i},M{i} (2000),Drama\n" for i in range(1, 8)))
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,1,5,1\n1,2,4,2\n")
    (tmp_path / "genome-tags.csv").write_text("tagId,tag\n" + "".join(f"{t},tag {t}\n" for t in range(1, 10)))
    (tmp_path / "genome-scores.csv").write_text("movieId,tagId,relevance\n" + "".join(
        f"{i + 1},{t + 1},{relevance[i, t]}\n" for i in range(6) for t in range(9)))
    data = tmp_path / "d.reel"
    reel("import", tmp_path, "-o", data)
    rows = relevance / np.linalg.norm(relevance, axis=1, keepdims=True)
    answer = similar(data, 2, "--by", "genome")
    check_order(answer, {i + 1: rows[i] @ rows[1] for i in range(6)}, {1: 1, 2: 1, 3: 0, 4: 0, 5: 0, 6: 0}, 2)
    assert len(answer) == 5  # movie 7 has no genome
    assert similar(data, 7, "--by", "genome") == []
    assert "no movie can be compared" in reel("similar", data, "--movie", 7, "--by", "genome")


def test_table_and_wrong_usage(small, svd):  # noqa: F811
    lines = reel("similar", small, "--movie", 1, "-n", 2).splitlines()
    assert lines[0] == "like Toy Story (1995) (Adventure|Animation|Children|Comedy|Fantasy), by genre" and len(lines) == 4
    assert refused(1, "similar", small, "--movie", 99999999) == "reel: the dataset has no movie 99999999"
    assert "no tag genome" in refused(1, "similar", small, "--movie", 1, "--by", "genome")
    assert "--by" in refused(2, "similar", small, "--movie", 1, "--by", "plot")
    assert "--model" in refused(2, "similar", small, "--movie", 1, "--by", "factors")
    assert "--movie" in refused(2, "similar", small)
    assert "-n must be" in refused(2, "similar", small, "--movie", 1, "-n", 0)


def all_lists(data, out, *args):
    reel("similar", data, "--all", "-o", out, "--quiet", *args)
    table = np.load(out)
    return {int(row["movie"]): [(int(i), float(value)) for i, value in zip(row["movies"], row["similarities"]) if i >= 0]
            for row in table}


@pytest.mark.parametrize("by", ["genre", "factors", "ratings"])
def test_all_equals_single(small, svd, movies, votes, tmp_path, by):  # noqa: F811
    words = ["--by", by, "-n", 25] + (["--model", svd] if by == "factors" else [])
    lists = all_lists(small, tmp_path / "all.npy", *words)
    assert sorted(lists) == sorted(movies)
    for movie in (1, 110, 260, 1214, 2571):
        single = similar(small, movie, *words)
        assert [i for i, _ in lists[movie]] == [i for i, _ in single]
        assert [round(value, 6) for _, value in lists[movie]] == pytest.approx([value for _, value in single], abs=1e-6)


def test_all_by_genre_against_numpy(small, movies, votes, tmp_path):  # noqa: F811
    lists = all_lists(small, tmp_path / "all.npy", "-n", 30)
    for movie in sorted(movies)[::400]:
        check_order(lists[movie], genre_cosines(movies, movie), votes, movie)


def test_all_by_factors_against_numpy(small, svd, votes, tmp_path):  # noqa: F811
    lists = all_lists(small, tmp_path / "all.npy", "-n", 30, "--by", "factors", "--model", svd)
    model = open_model(svd)
    rows = model.movie_factors / np.maximum(np.linalg.norm(model.movie_factors, axis=1, keepdims=True), 1e-30)
    for movie in sorted(lists)[::400]:
        cosines = dict(zip(model.movie_ids.tolist(), (rows @ rows[model.movie[movie]]).tolist()))
        check_order(lists[movie], cosines, votes, movie)


def test_all_as_csv_and_more_than_there_are(tmp_path):
    (tmp_path / "movies.csv").write_text("movieId,title,genres\n2,A,Drama\n5,B,Drama\n7,C,(no genres listed)\n")
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,5,5,1\n")
    data = tmp_path / "d.reel"
    reel("import", tmp_path, "-o", data)
    lines = reel("similar", data, "--all", "-n", 9).splitlines()
    assert lines == ["movieId,similarId,similarity", "2,5,1.000000", "2,7,0.000000", "5,2,1.000000", "5,7,0.000000",
                     "7,5,0.000000", "7,2,0.000000"]
    lists = all_lists(data, tmp_path / "all.npy", "-n", 9)
    assert lists[7] == [(5, 0.0), (2, 0.0)]


@pytest.mark.parametrize("words,message", [
    ([], "either --movie ID or --all"), (["--movie", 1, "--all"], "either --movie ID or --all"),
    (["--movie", 1, "-o", "x.npy"], "-o FILE needs --all"),
    (["--all", "-n", 0], "-n must be at least 1"), (["--all", "--by", "factors"], "needs --model"),
])
def test_all_refuses(small, words, message):  # noqa: F811
    assert message in refused(2, "similar", small, *words)
