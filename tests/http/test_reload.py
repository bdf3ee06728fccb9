"""Models are swapped while requests run: no request fails, no answer is half old and half new."""

import os
import shutil
import threading

from service_tools import check_page, files, open_model, reel, reference, rate_path, svd_scores  # noqa: F401


def test_reload_under_load(files, reference, tmp_path):  # noqa: F811
    served, other = tmp_path / "served.model", tmp_path / "other.model"
    shutil.copy(files.svd, served)
    reel("train", files.dataset, "-m", "svd", "-p", "factors=16", "-p", "epochs=15", "--seed", 2, "-o", other)
    scores = {user: [svd_scores(open_model(path), user) for path in (files.svd, other)] for user in (1, 15, 100)}
    args = ["--store", tmp_path / "store.db"]
    server = files.server(*args)
    server.args[server.args.index(f"svd={files.svd}")] = f"svd={served}"
    failures, counts, stop = [], [0, 0], threading.Event()

    def is_of(items, user, which):
        try:
            check_page(items, scores[user][which], reference.rated[user].keys(), 150)
        except AssertionError:
            return False
        return True

    def read(user):
        connection, i = server.connect(), 0
        while not stop.is_set():
            i += 1
            for path in (f"/api/v1/users/{i % 600 + 1}/suggested_movies", f"/api/v1/movies/{1 + i % 3}", "/api/v1/models",
                         f"/api/v1/users/{i % 600 + 1}/recommendations?explain=1", f"/user/{i % 600 + 1}/recommendation"):
                answer = server.ask("GET", path, connection=connection)
                if answer.status != 200:
                    failures.append((path, answer.status, answer.body[:200]))
            items = server.get(f"/api/v1/users/{user}/suggested_movies", connection=connection)["suggested_movies"]
            if i % 4 == 0:
                of = [is_of(items, user, 0), is_of(items, user, 1)]
                if sum(of) != 1:
                    failures.append((user, of))
                else:
                    counts[of.index(True)] += 1

    def write():
        connection, i = server.connect(), 0
        while not stop.is_set():
            i += 1
            answer = server.ask("POST", rate_path(4000000), {"movieId": 1 + i % 3, "rating": 3.5}, connection=connection)
            if answer.status != 200:
                failures.append(("rating", answer.status, answer.body[:200]))

    with server:
        threads = [threading.Thread(target=read, args=(user,)) for user in scores] + [threading.Thread(target=write)]
        for thread in threads:
            thread.start()
        try:
            for i in range(200):
                if i >= 16 and min(counts) > 0:
                    break
                shutil.copy((other, files.svd)[i % 2], tmp_path / "next.model")
                os.replace(tmp_path / "next.model", served)
                answer = server.ask("POST", "/api/v1/models/svd/reload")
                assert answer.status == 200 and answer.json == {"reloaded": "svd"}
                if i == 8:  # a file that cannot be loaded leaves what is there
                    served.rename(tmp_path / "aside")
                    server.refuses(500, "POST", "/api/v1/models/svd/reload")
                    (tmp_path / "aside").rename(served)
                threading.Event().wait(0.2)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert not failures, failures[:5]
        assert min(counts) > 0
        server.refuses(404, "POST", "/api/v1/models/nobody/reload")
        assert server.ask("GET", "/api/v1/models/svd/reload").status == 405
