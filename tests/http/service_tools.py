"""What the tests of the service share: files to serve, a running server, and requests to it."""

import csv
import http.client
import json
import pathlib
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "cli"))
from eval_tools import EMBEDDED, REEL, ROOT, SHARED, reel  # noqa: E402, F401
from reel_files import TensorFile  # noqa: E402, F401
from score_tools import open_model, scores_of  # noqa: E402, F401
from service import has_service  # noqa: E402

KEY = "the-key-of-the-tests-0123456789"


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()

    @property
    def json(self):
        return json.loads(self.body)


class Server:
    """`reel serve` on a free port. Use as a context manager, or start and stop by hand."""

    def __init__(self, *args, key_file=None, env=None, preexec_fn=None):
        self.args = ["serve", *map(str, args), "--port", "0", "--json"]
        if key_file:
            self.args += ["--api-key-file", str(key_file)]
        self.env, self.preexec_fn = env, preexec_fn
        self.process = None
        self.command = []  # goes in front of the program

    def start(self):
        self.process = subprocess.Popen(
            [*self.command, REEL, *self.args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=self.env, preexec_fn=self.preexec_fn,
        )
        line = self.process.stdout.readline()
        assert line, self.process.stderr.read()
        self.port = json.loads(line)["port"]
        return self

    def kill(self):
        self.process.kill()
        self.process.communicate()

    def stop(self):
        """A clean end; returns what it wrote to standard error."""
        self.process.send_signal(signal.SIGTERM)
        _, errors = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, errors
        return errors

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, value, trace):
        if self.process.poll() is not None:
            raise AssertionError(f"the server ended by itself: {self.process.returncode} {self.process.stderr.read()}")
        if kind:
            self.kill()
        else:
            self.stop()

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def ask(self, method, path, body=None, key=KEY, headers=None, connection=None):
        headers = dict(headers or {})
        if key:
            headers.setdefault("X-API-Key", key)
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
        own = connection or self.connect()
        try:
            own.request(method, path, body, headers)
            return Answer(own.getresponse())
        finally:
            if not connection:
                own.close()

    def get(self, path, **kwargs):
        """The JSON of a request that must succeed."""
        answer = self.ask("GET", path, **kwargs)
        assert answer.status == 200, (path, answer.status, answer.body[:500])
        assert answer.headers["content-type"] == "application/json", answer.headers
        return answer.json

    def post(self, path, body, **kwargs):
        answer = self.ask("POST", path, body, **kwargs)
        assert answer.status == 200, (path, answer.status, answer.body[:500])
        return answer.json

    def refuses(self, status, method, path, body=None, **kwargs):
        """A request that must fail with a problem of RFC 9457; returns its detail."""
        answer = self.ask(method, path, body, **kwargs)
        assert answer.status == status, (method, path, answer.status, answer.body[:500])
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json
        assert problem["status"] == status and problem["title"] and problem["type"]
        for secret in ("/src/", ".c:", "Traceback", "SELECT", ".reel", "/tmp"):
            assert secret not in answer.body.decode(), problem
        return problem.get("detail", "")


TMDB_GENRES = ["Action", "Comedy", "Family", "Science Fiction", "Western"]
TAGS = ["classic", 'said "so"', "a,b", "d\u00e9j\u00e0 vu", "back\\slash", "  spaced", "classic"]


def metadata_of(movie):
    """What the movies_metadata.csv of the tests says about a movie, None = nothing."""
    if movie % 3 or movie % 7 == 0:
        return None
    return {
        "genres": sorted({TMDB_GENRES[movie % 5], TMDB_GENRES[movie // 5 % 5]}),
        "imdb_id": 10000 + movie,
        "revenue": movie * 1000 if movie % 2 else None,
        "runtime": 60 + movie % 90 + 0.5 if movie % 4 else None,
    }


def make_source(folder):
    """The embedded data with tags, links and metadata that it lacks."""
    for name in ("ratings.csv", "movies.csv"):
        shutil.copy(EMBEDDED / name, folder / name)
    with open(EMBEDDED / "ratings.csv", newline="", encoding="utf-8") as file:
        rated = [(row["userId"], row["movieId"]) for row in csv.DictReader(file)]
    with open(folder / "tags.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["userId", "movieId", "tag", "timestamp"])
        for i, (user, movie) in enumerate(rated):
            for j in range(i % 5 - 2):
                writer.writerow([user, movie, TAGS[(i + j) % len(TAGS)], 1000000000 + (i * 7919 + j * 31) % 997])
        writer.writerow([rated[0][0], 1, "not rated by this user", 1])
    with open(EMBEDDED / "movies.csv", newline="", encoding="utf-8") as file:
        movies = [int(row["movieId"]) for row in csv.DictReader(file)]
    links = [f"{movie},{10000 + movie:07d},{100000 + movie}" for movie in movies if movie % 7]
    (folder / "links.csv").write_text("movieId,imdbId,tmdbId\n" + "\n".join(links) + "\n")
    with open(folder / "movies_metadata.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["genres", "id", "imdb_id", "revenue", "runtime", "title"])
        for movie in movies:
            about = metadata_of(movie)
            if about:
                genres = str([{"id": i, "name": name} for i, name in enumerate(about["genres"])])
                writer.writerow([genres, 100000 + movie, f"tt{about['imdb_id']:07d}", about["revenue"] or 0,
                                 about["runtime"] or 0.0, "x"])


class Files:
    """A folder of things to serve, made of the embedded data."""

    def __init__(self, folder):
        if not has_service():
            pytest.skip("this build has no HTTP service (REEL_SERVE=OFF)")
        self.folder = folder
        self.source = folder / "source"
        self.source.mkdir()
        make_source(self.source)
        self.dataset = folder / "ml.reel"
        self.svd, self.gbdt, self.bmf = (folder / f"{name}.model" for name in ("svd", "gbdt", "bmf"))
        self.clusters = folder / "clusters.reel"
        self.key_file = folder / "key"
        self.key_file.write_text(KEY + "\n")
        reel("import", self.source, "--metadata", self.source / "movies_metadata.csv", "-o", self.dataset)
        reel("train", self.dataset, "-m", "svd", "-p", "factors=16", "-p", "epochs=15", "--seed", 1, "--holdout", 0.1,
             "-o", self.svd)
        reel("train", self.dataset, "-m", "gbdt", "-p", "n_estimators=40", "-o", self.gbdt)
        reel("train", self.dataset, "-m", "bmf", "-p", "factors=8", "-p", "samples=10", "-p", "burn_in=2", "-o", self.bmf)
        reel("cluster", self.dataset, "-k", 4, "--seed", 1, "-o", self.clusters)

    def args(self, *more):
        return ["--dataset", self.dataset, "--model", f"svd={self.svd}", "--model", f"gbdt={self.gbdt}", "--model",
                f"bmf={self.bmf}", "--clusters", self.clusters, *more]

    def server(self, *more, **kwargs):
        kwargs.setdefault("key_file", self.key_file)
        return Server(*self.args(*more), **kwargs)


class Reference:
    """The served data as its CSV files say."""

    def __init__(self, folder):
        def rows(name):
            with open(folder / name, newline="", encoding="utf-8") as file:
                return list(csv.DictReader(file))

        self.movies = {
            int(row["movieId"]): {
                "id": int(row["movieId"]),
                "title": row["title"],
                "genres": [] if row["genres"] == "(no genres listed)" else sorted(row["genres"].split("|")),
            }
            for row in rows("movies.csv")
        }
        self.rated = {}
        for row in rows("ratings.csv"):
            self.rated.setdefault(int(row["userId"]), {})[int(row["movieId"])] = float(row["rating"])
        self.tags = {}
        for row in rows("tags.csv"):
            self.tags.setdefault((int(row["userId"]), int(row["movieId"])), []).append(
                (int(row["timestamp"]), row["tag"])
            )
        self.imdb = {int(row["movieId"]): int(row["imdbId"]) for row in rows("links.csv")}
        self.raters = {}
        for user, ratings in self.rated.items():
            for movie in ratings:
                self.raters.setdefault(movie, []).append(user)

    def tags_of(self, user, movie):
        return [tag for _, tag in sorted(self.tags.get((user, movie), []))]

    def popularity(self, movie):
        return len(self.raters.get(movie, ()))

    def movie_mean(self, movie):
        users = self.raters.get(movie, ())
        return sum(self.rated[user][movie] for user in users) / len(users) if users else None


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    return Files(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="session")
def reference(files):
    return Reference(files.source)


@pytest.fixture(scope="session")
def reading(files):
    """A server whose data no test changes."""
    with files.server() as server:
        yield server


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store.db"


def rate_path(user):
    return f"/api/v1/users/{user}/ratings"


def clip(score):
    return min(5.0, max(0.5, score))


def shown_near(shown, exact, decimals):
    """The shown number is the exact one rounded, but for float noise where it lies on an edge."""
    return abs(shown - exact) <= 0.5 * 10**-decimals + 1e-5 and round(shown, decimals) == shown


def check_page(items, scores, seen, n, decimals=3, key="estimated_score"):
    """`items` are the n best unseen of scores {movie: raw} by shown score, then id."""
    ids = [item["id"] for item in items]
    assert len(ids) == len(set(ids)) == min(n, len(scores.keys() - seen))
    assert not seen & set(ids)
    assert items == sorted(items, key=lambda item: (-item[key], item["id"]))
    for item in items:
        assert shown_near(item[key], clip(scores[item["id"]]), decimals), item
    out = seen | set(ids)
    left = [clip(score) for movie, score in scores.items() if movie not in out]
    if left:
        assert max(left) <= items[-1][key] + 0.5 * 10**-decimals + 1e-5


def svd_scores(model, user_id):
    """{movie id: raw score} of an opened svd model."""
    return dict(zip(map(int, model.movie_ids), scores_of(model, user_id)))


def weekday_columns(now):
    """Hour of the week of the star's calendar, from Monday 00:00 UTC."""
    return int((now // 3600 + 72) % 168)


class Trees:
    """A gbdt model file, scored tree by tree in Python."""

    def __init__(self, path):
        file = TensorFile(path)
        self.user_ids, self.movie_ids = list(file["user_ids"]), list(file["movie_ids"])
        self.base = file["base"][0]
        self.tables = list(file["column_tables"])
        self.columns = [
            np.array(file[name]).reshape(file.shapes[name]) for name in ("user_columns", "movie_columns", "hour_columns")
        ]
        self.names = file.texts("column_name_offsets", "column_names")
        self.offsets = list(file["tree_offsets"])
        self.nodes = [list(file[f"node_{what}"]) for what in ("columns", "thresholds", "lefts", "rights", "values")]

    def scores(self, user_id, hour, user_mean=None):
        """{movie id: raw score}; an unknown user's mean may be given."""
        user = self.user_ids.index(user_id) if user_id in self.user_ids else len(self.user_ids)
        n = len(self.movie_ids)
        values, used = [], [0, 0, 0]
        for table, name in zip(self.tables, self.names):
            column = self.columns[table][used[table]]
            used[table] += 1
            if table == 1:
                values.append(column[:n])
            else:
                value = column[user if table == 0 else hour]
                if name == "user_rt_mean" and user_mean is not None:
                    value = np.float32(user_mean)
                values.append(np.full(n, value))
        columns, thresholds, lefts, rights, leaf = self.nodes
        total = np.full(n, float(self.base))
        for root in self.offsets[:-1]:
            at = np.full(n, root)
            for m in range(n):
                node = root
                while columns[node] >= 0:
                    node = rights[node] if values[columns[node]][m] > thresholds[node] else lefts[node]
                at[m] = node
            total += np.array(leaf)[at]
        return dict(zip(map(int, self.movie_ids), total))

