"""reel jobs, reel import --store and reel export on the store of a service that runs."""

import json
import time

import pytest

from service_tools import files, rate_path, reference, store  # noqa: F401
from service import reel


@pytest.fixture
def server(files, store):  # noqa: F811
    with files.server("--store", store) as running:
        yield running


def jobs(store, *args):  # noqa: F811
    return json.loads(reel("jobs", store, *args, "--json"))["jobs"]


def wait_for(store, state):  # noqa: F811
    end = time.monotonic() + 120
    while jobs(store, "--limit", 1)[0]["state"] != state:
        assert time.monotonic() < end, jobs(store, "--limit", 1)
        time.sleep(0.05)


def test_jobs_come_and_go_through_the_store(server, store):  # noqa: F811
    reel("jobs", store, "--submit", '{"kind":"train","algorithm":"mean","model":"average"}')
    wait_for(store, "done")
    assert "average" in [model["name"] for model in server.get("/api/v1/models")["models"]]
    reel("jobs", store, "--submit", '{"kind":"train","algorithm":"svd","params":{"epochs":100000},"model":"long"}')
    wait_for(store, "running")
    assert server.get("/api/v1/jobs")["jobs"][0]["state"] == "running"
    reel("jobs", store, "--cancel", jobs(store)[0]["id"])
    wait_for(store, "cancelled")
    assert server.get("/api/v1/jobs")["jobs"][0]["state"] == "cancelled"


def test_live_ratings_and_collections_are_taken_while_it_runs(server, files, store, tmp_path):  # noqa: F811
    before = json.loads(reel("info", files.dataset, "--json"))
    server.post(rate_path(15), {"movieId": 1, "rating": 0.5})
    server.post(rate_path(987654), {"movieId": 1, "rating": 4})
    merged = tmp_path / "merged.reel"
    answer = json.loads(reel("import", "--store", store, "--from", files.dataset, "-o", merged, "--json", "--quiet"))
    assert answer["n_live"] == 2 and answer["n_new_users"] == 1 and answer["n_added"] + answer["n_changed"] == 2
    after = json.loads(reel("info", merged, "--json"))
    assert before["metadata"]["fingerprint"] != after["metadata"]["fingerprint"] == answer["fingerprint"]
    reel("export", store, "-o", tmp_path / "out")
    users = [json.loads(line) for line in (tmp_path / "out" / "users.ndjson").read_text().splitlines()]
    shown = {user["userId"]: user for cluster in range(2) for user in server.get(f"/user/list/{cluster}")}
    assert shown and all(shown[user["userId"]]["cluster"] == user["cluster"] for user in users
                         if user["userId"] in shown)
    exported = {user["userId"]: user for user in users}
    for number, user in shown.items():
        assert exported[number]["user_rt_mean"] == pytest.approx(user["user_rt_mean"], abs=0.01)
