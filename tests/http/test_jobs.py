"""Jobs over HTTP: submitted, watched, cancelled; what they make is served."""

import time

import pytest

from service_tools import files, open_model, reference, shown_near, svd_scores, clip  # noqa: F401


@pytest.fixture(scope="module")
def server(files, tmp_path_factory):  # noqa: F811
    folder = tmp_path_factory.mktemp("jobs")
    with files.server("--store", folder / "store.db", "--models-dir", folder) as running:
        running.models_dir = folder
        yield running


def finished(server, job, within=120):
    end = time.time() + within
    while time.time() < end:
        state = server.get(f"/api/v1/jobs/{job['id']}")
        assert state["kind"] == job["kind"] and state["spec"] == job["spec"]
        if state["state"] not in ("queued", "running"):
            return state
        time.sleep(0.05)
    raise AssertionError(f"job {job['id']} takes longer than {within} s: {state}")


def test_training_serves_its_model(server, reference):  # noqa: F811
    job = server.post("/api/v1/jobs", {"kind": "train", "algorithm": "svd", "params": {"factors": 8, "epochs": 3.0},
                                       "holdout": 0.1, "seed": 7, "model": "fresh", "priority": 2})
    assert job["state"] in ("queued", "running") and job["priority"] == 2 and job["created"] > 1700000000
    done = finished(server, job)
    assert done["state"] == "done" and done["error"] is None and done["finished"] >= done["started"] >= job["created"]
    listed = {model["name"]: model for model in server.get("/api/v1/models")["models"]}
    assert listed["fresh"]["params"]["factors"] == "8" and listed["fresh"]["metrics"]["n"] == 10000
    items = server.get("/api/v1/users/15/recommendations?model=fresh&limit=5")["recommendations"]
    scores = svd_scores(open_model(server.models_dir / "fresh.reel"), 15)
    assert all(shown_near(item["score"], clip(scores[item["id"]]), 3) for item in items)
    assert done in server.get("/api/v1/jobs")["jobs"]


def test_cross_validation(server):
    job = server.post("/api/v1/jobs", {"kind": "cv", "algorithm": "bias", "folds": 3, "seed": 1})
    result = finished(server, job)["result"]
    assert len(result["folds"]) == 3


def test_clustering(server):
    job = server.post("/api/v1/jobs", {"kind": "cluster", "k": 3, "affinity": "cosine"})
    assert finished(server, job)["state"] == "done"
    assert server.get("/api/v1/clusters")["k"] == 3
    assert {user["cluster"] for user in server.get("/user/list/2")} == {2}
    server.refuses(404, "GET", "/user/list/3")


def test_precomputing(server):
    expected = server.get("/api/v1/users/33/suggested_movies")
    job = server.post("/api/v1/jobs", {"kind": "precompute", "model": "svd"})
    assert finished(server, job)["state"] == "done"
    assert server.get("/api/v1/users/33/suggested_movies") == expected


def test_cancelling(server):
    long = server.post("/api/v1/jobs", {"kind": "train", "algorithm": "svd", "params": {"epochs": 1000, "factors": 500},
                                        "model": "long"})
    queued = server.post("/api/v1/jobs", {"kind": "train", "algorithm": "bias", "model": "never", "priority": -100})
    assert server.ask("DELETE", f"/api/v1/jobs/{queued['id']}").json["state"] == "cancelled"
    end = time.time() + 60
    while server.get(f"/api/v1/jobs/{long['id']}")["state"] == "queued" and time.time() < end:
        time.sleep(0.02)
    assert server.ask("DELETE", f"/api/v1/jobs/{long['id']}").status == 200
    assert finished(server, long)["state"] == "cancelled"
    assert "ended" in server.refuses(409, "DELETE", f"/api/v1/jobs/{long['id']}")
    names = {model["name"] for model in server.get("/api/v1/models")["models"]}
    assert not names & {"long", "never"}


def test_wrong_jobs(server):
    for body, place in [
        ({}, ""),
        ({"kind": "dance"}, ""),
        ({"kind": "train"}, "algorithm"),
        ({"kind": "train", "algorithm": "magic"}, ""),
        ({"kind": "train", "algorithm": "svd", "params": {"colour": 1}}, "colour"),
        ({"kind": "train", "algorithm": "svd", "params": {"factors": 0}}, "params/factors"),
        ({"kind": "train", "algorithm": "svd", "params": {"factors": "50"}}, "params/factors"),
        ({"kind": "train", "algorithm": "als", "params": {"init": "/etc/passwd"}}, "init"),
        ({"kind": "train", "algorithm": "svd", "model": "../../etc/cron.d/x"}, "model"),
        ({"kind": "train", "algorithm": "svd", "holdout": 2}, "holdout"),
        ({"kind": "cluster", "k": 1}, "k"),
        ({"kind": "cv", "algorithm": "svd", "folds": 1}, "folds"),
        ({"kind": "cluster", "priority": 1000}, "priority"),
    ]:
        assert place in server.refuses(400, "POST", "/api/v1/jobs", body), body
    server.refuses(404, "POST", "/api/v1/jobs", {"kind": "precompute", "model": "nobody"})
    server.refuses(401, "POST", "/api/v1/jobs", {"kind": "cluster"}, key=None)
    server.refuses(404, "GET", "/api/v1/jobs/999999")
    server.refuses(404, "DELETE", "/api/v1/jobs/999999")
    server.refuses(400, "GET", "/api/v1/jobs/x")
    server.refuses(400, "GET", "/api/v1/jobs?limit=0")
    assert len(server.get("/api/v1/jobs?limit=1")["jobs"]) == 1


def test_without_a_store(files):  # noqa: F811
    with files.server() as running:
        for method, path, body in (("GET", "/api/v1/jobs", None), ("GET", "/api/v1/jobs/1", None),
                                   ("POST", "/api/v1/jobs", {"kind": "cluster"})):
            assert "store" in running.refuses(403, method, path, body)
