"""GET /api/v1/users against the CSV: listing, paging, clusters, samples."""

import pandas as pd
import pytest

from service import EMBEDDED


@pytest.fixture(scope="module")
def users():
    ratings = pd.read_csv(EMBEDDED / "ratings.csv")
    return ratings.groupby("userId").rating.agg(["size", "mean"])


def test_all_pages_make_all_users(service, users):
    cluster_of = {user["userId"]: user["cluster"] for cluster in range(4) for user in service.json(f"/user/list/{cluster}")}
    found, cursor = [], 0
    while cursor is not None:
        page = service.json(f"/api/v1/users?limit=200&cursor={cursor}")
        found += page["users"]
        cursor = page["next_cursor"]
        assert cursor is None or len(page["users"]) == 200
    assert [user["id"] for user in found] == list(users.index)
    for user in found:
        assert user["n_ratings"] == users["size"][user["id"]]
        assert user["mean_rating"] == pytest.approx(users["mean"][user["id"]], abs=5.1e-4)
        assert user["cluster"] == cluster_of.get(user["id"])


def test_a_cluster(service):
    for cluster in range(4):
        members = [user["userId"] for user in service.json(f"/user/list/{cluster}")]
        page = service.json(f"/api/v1/users?cluster={cluster}&limit=7&cursor={members[3]}")
        assert [user["id"] for user in page["users"]] == members[3:10]
        assert page["next_cursor"] == members[10]
        drawn = service.json(f"/api/v1/users?cluster={cluster}&limit=20&sample=1")["users"]
        assert len(drawn) == 20 and {user["id"] for user in drawn} <= set(members)
    assert service.json("/api/v1/users?cluster=99") == {"users": [], "next_cursor": None}


def test_samples(service, users):
    one, two = (service.json(f"/api/v1/users?limit=200&sample={seed}")["users"] for seed in (1, 2))
    assert one != two and one == service.json("/api/v1/users?limit=200&sample=1")["users"]
    ids = [user["id"] for user in one]
    assert len(set(ids)) == 200 and set(ids) <= set(users.index)
    assert service.json("/api/v1/users?sample=9007199254740991&limit=1")["users"]


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "cursor=-1", "cursor=2147483648", "cluster=-1", "sample=-1",
                                   "sample=9007199254740992", "sample=", "limit=1.5"])
def test_bad_queries(service, query):
    answer = service.get(f"/api/v1/users?{query}")
    assert answer.status_code == 400 and answer.headers["Content-Type"] == "application/problem+json"


def test_without_clusters(start):
    service = start(clusters=False)
    assert {user["cluster"] for user in service.json("/api/v1/users?limit=200")["users"]} == {None}
    assert service.json("/api/v1/users?cluster=0")["users"] == []
