"""Live ratings: what they change, and that none is lost."""

import concurrent.futures
import os
import resource
import shutil
import signal
import subprocess
import threading

import pytest

from service_tools import files, rate_path, reference, store  # noqa: F401


def rate(server, user, movie, rating, **kwargs):
    return server.ask("POST", rate_path(user), {"movieId": movie, "rating": rating}, **kwargs)


def rated(server, user):
    """{movie: rating} of a user, from system A's endpoint."""
    (ratings,) = server.get(f"/user/{user}/rated").values()
    return {item["movieId"]: item["rating"] for item in ratings}


def test_round_trip(files, reference, store):  # noqa: F811
    with files.server("--store", store) as server:
        before = server.get("/api/v1/users/15/suggested_movies")["suggested_movies"]
        first = before[0]["id"]
        answer = rate(server, 15, first, 0.5)
        assert answer.status == 200
        assert {**answer.json, "time": 0} == {"userId": 15, "movieId": first, "rating": 0.5, "time": 0}
        assert answer.json["time"] > 1700000000
        expected = {**reference.rated[15], first: 0.5}
        check_shown(server, reference, 15, expected)
        check_folded_in(server, 15, expected)
        after = server.get("/api/v1/users/15/suggested_movies")["suggested_movies"]
        assert first not in [item["id"] for item in after] and len(after) == 150 and after != before

        gone = next(iter(reference.rated[15]))  # one of the data set's own
        answer = server.ask("DELETE", f"/api/v1/users/15/ratings/{gone}")
        assert answer.status == 200 and answer.json["rating"] is None
        assert rate(server, 15, first, 4.5).status == 200  # changes its mind
        expected = {**expected, first: 4.5}
        del expected[gone]
        check_shown(server, reference, 15, expected)
        check_folded_in(server, 15, expected)
        server.refuses(404, "DELETE", f"/api/v1/users/15/ratings/{gone}")
    with files.server("--store", store) as server:  # everything is still there
        check_shown(server, reference, 15, expected)
        check_folded_in(server, 15, expected)
        assert rated(server, 16) == reference.rated[16]


def check_shown(server, reference, user, expected):  # noqa: F811
    assert rated(server, user) == expected
    movies = server.get(f"/api/v1/users/{user}")["movies"]
    assert [(item["movieId"], item["rating"]) for item in movies] == sorted(
        expected.items(), key=lambda item: (-item[1], item[0]))
    for item in movies:
        assert item["tags"] == reference.tags_of(user, item["movieId"])
        assert item["title"] == reference.movies[item["movieId"]]["title"]


def check_folded_in(server, user, ratings):
    """A user with live ratings gets what a visitor with the same ratings gets, from every endpoint."""
    visitor = {"ratings": [{"movieId": movie, "rating": rating} for movie, rating in ratings.items()], "limit": 200}
    for model in ("svd", "bmf", "gbdt"):
        expected = server.post("/api/v1/recommendations", {**visitor, "model": model})["recommendations"]
        path = f"/api/v1/users/{user}/recommendations?limit=200&model={model}"
        assert server.get(path)["recommendations"] == expected
        many = server.post("/api/v1/recommendations", {"users": [user], "limit": 200, "model": model})
        assert many["results"] == [{"userId": user, "recommendations": expected}]
        pairs = [{"userId": user, "movieId": item["id"]} for item in expected]
        predicted = server.post("/api/v1/predictions", {"pairs": pairs, "model": model})["predictions"]
        assert [item["score"] for item in predicted] == [item["score"] for item in expected]
    svd = server.post("/api/v1/recommendations", {**visitor, "limit": 150})["recommendations"]
    suggested = server.get(f"/api/v1/users/{user}/suggested_movies")["suggested_movies"]
    assert [item["estimated_score"] for item in suggested] == [item["score"] for item in svd]
    assert {item["id"] for item in server.get(f"/user/{user}/recommendation")["predictions"]}.isdisjoint(ratings)


def test_a_new_user(files, reference, store):  # noqa: F811
    with files.server("--store", store) as server:
        for path in ("/api/v1/users/5000000", "/user/5000000/rated", "/api/v1/users/5000000/suggested_movies"):
            server.refuses(404, "GET", path)
        ratings = {1: 5.0, 318: 4.0, 593: 0.5}
        for movie, rating in ratings.items():
            assert rate(server, 5000000, movie, rating).status == 200
        check_shown(server, reference, 5000000, ratings)
        check_folded_in(server, 5000000, ratings)
        for movie in ratings:
            assert server.ask("DELETE", f"/api/v1/users/5000000/ratings/{movie}").status == 200
        for path in ("/api/v1/users/5000000", "/user/5000000/rated", "/api/v1/users/5000000/suggested_movies",
                     "/api/v1/users/5000000/recommendations", "/user/5000000/recommendation"):
            server.refuses(404, "GET", path)


def test_what_cannot_be_rated(files, store):  # noqa: F811
    path = "/api/v1/users/1/ratings"
    with files.server("--store", store) as server:
        for rating in (0, 0.3, 5.5, 6, -1, 4.75, 1e300):
            assert "rating" in server.refuses(422, "POST", path, {"movieId": 1, "rating": rating})
        for body in ({}, [], {"movieId": 1}, {"rating": 5}, {"movieId": "1", "rating": 5}, {"movieId": 1, "rating": "5"},
                     {"movieId": 1, "rating": None}, {"movieId": 1.5, "rating": 5}, {"movieId": -1, "rating": 5},
                     {"movieId": 1, "rating": 5, "userId": 2}, {"movieId": 2**40, "rating": 5}):
            server.refuses(400, "POST", path, body)
        server.refuses(404, "POST", path, {"movieId": 2147483647, "rating": 5})
        server.refuses(404, "POST", "/api/v1/users/2147483648/ratings", {"movieId": 1, "rating": 5})
        server.refuses(400, "POST", "/api/v1/users/x/ratings", {"movieId": 1, "rating": 5})
        server.refuses(404, "DELETE", "/api/v1/users/1/ratings/1")  # has not rated it
        server.refuses(404, "DELETE", "/api/v1/users/1/ratings/2147483647")
        server.refuses(400, "DELETE", "/api/v1/users/1/ratings/one")
        assert server.ask("GET", path).status == 405
        assert rated(server, 1) == rated(server, 1) and len(rated(server, 1)) == 20
        assert rate(server, 1, 1.0, 5).status == 200  # 1.0 is an integer in JSON Schema


class Raters:
    """Threads that rate until they fail; knows what was acknowledged."""

    def __init__(self, server, first_user, movies, threads=4):
        self.acknowledged, self.failures = {}, []
        self.server, self.movies = server, movies
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.work, args=(first_user + i,)) for i in range(threads)]
        for thread in self.threads:
            thread.start()

    def work(self, user):
        connection = self.server.connect()
        try:
            for i in range(100000):
                movie, rating = self.movies[i % len(self.movies)], (i + user) % 10 / 2 + 0.5
                answer = rate(self.server, user, movie, rating, connection=connection)
                if answer.status != 200:
                    self.failures.append(answer)
                    return
                with self.lock:
                    self.acknowledged.setdefault(user, []).append((movie, rating))
        except OSError:
            pass
        except Exception as error:  # a torn answer of a killed server
            assert type(error).__name__ in ("RemoteDisconnected", "BadStatusLine", "IncompleteRead"), error
        finally:
            connection.close()

    def join(self):
        for thread in self.threads:
            thread.join()

    def check(self, server):
        """Everything acknowledged is there; at most the one that was under way is there too."""
        for user, writes in self.acknowledged.items():
            expected, shown = dict(writes), rated(server, user)
            different = {movie for movie in expected.keys() | shown.keys() if expected.get(movie) != shown.get(movie)}
            following = self.movies[len(writes) % len(self.movies)]
            assert different <= {following}, (user, different)


def test_killed_during_posts(files, reference, store):  # noqa: F811
    """kill -9, 20 times, at different moments: no acknowledged rating is lost."""
    movies, total, everything = sorted(reference.movies)[:37], 0, []
    for round_number in range(20):
        server = files.server("--store", store).start()
        for raters in everything[-3:]:
            raters.check(server)
        raters = Raters(server, 1000000 + 10 * round_number, movies)
        timer = threading.Timer(0.05 + 0.02 * round_number, server.kill)
        timer.start()
        raters.join()
        timer.join()
        assert not raters.failures
        total += sum(map(len, raters.acknowledged.values()))
        everything.append(raters)
    assert total > 100
    with files.server("--store", store) as server:
        for raters in everything:
            raters.check(server)


def test_full_disk(files, reference, store):  # noqa: F811
    """Where the disk ends, ratings get a clear 503 and reading goes on; nothing acknowledged is lost."""
    with files.server("--store", store):
        pass  # the collections are in it
    limit = os.path.getsize(store) + 400000

    def limited():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    movies = sorted(reference.movies)
    server = files.server("--store", store, preexec_fn=limited).start()
    try:
        raters = Raters(server, 2000000, movies, threads=8)
        raters.join()
        assert len(raters.failures) == 8 and raters.acknowledged
        for answer in raters.failures:
            assert answer.status == 503 and answer.headers["content-type"] == "application/problem+json"
            assert "disk" in answer.json["detail"] and answer.headers["retry-after"]
        raters.check(server)
        assert rated(server, 1) == reference.rated[1]
        assert len(server.get("/api/v1/users/1/suggested_movies")["suggested_movies"]) == 150
        # A checkpoint may have given room back meanwhile: then some more go in before it ends again.
        assert any(rate(server, 1, movie, 5).status == 503 for movie in movies)
    finally:
        server.kill()
    with files.server("--store", store) as server:
        raters.check(server)
        assert rate(server, 1, movies[0], 5).status == 200


def read_only_command(folder):
    """A command line in front of another one, under which `folder` is read-only; None = not possible here."""
    if os.geteuid() != 0:
        return []
    script = f"mount --bind {folder} {folder} && mount -o remount,ro,bind {folder} && exec \"$@\""
    command = ["unshare", "--mount", "sh", "-c", script, "sh"]
    possible = shutil.which("unshare") and subprocess.run([*command, "true"], capture_output=True).returncode == 0
    return command if possible else None


def test_read_only_store(files, reference, tmp_path):  # noqa: F811
    folder = tmp_path / "disk"
    folder.mkdir()
    command = read_only_command(folder)
    if command is None:
        pytest.skip("a read-only folder cannot be made here (no unshare, or mounting is not allowed)")
    with files.server("--store", folder / "store.db") as server:
        assert rate(server, 15, 1, 0.5).status == 200
    folder.chmod(0o555)
    try:
        server = files.server("--store", folder / "store.db")
        server.command = command
        with server:
            assert "read-only" in server.refuses(503, "POST", "/api/v1/users/15/ratings", {"movieId": 2, "rating": 5})
            assert rated(server, 15) == {**reference.rated[15], 1: 0.5}
            assert len(server.get("/api/v1/users/1/suggested_movies")["suggested_movies"]) == 150
            assert server.get("/api/v1/jobs") == {"jobs": []}
    finally:
        folder.chmod(0o755)


def test_many_raters_at_once(files, reference, store):  # noqa: F811
    """Concurrent ratings of one user all count; every answer tells what was written."""
    movies = sorted(reference.movies)[:200]
    with files.server("--store", store) as server, concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda movie: rate(server, 3000000, movie, movie % 10 / 2 + 0.5), movies))
        assert [answer.status for answer in answers] == [200] * len(movies)
        assert rated(server, 3000000) == {movie: movie % 10 / 2 + 0.5 for movie in movies}
