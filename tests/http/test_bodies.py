"""Bodies of strangers: broken, deep, wrong, long."""

import json

import pytest

from service_tools import files, reading  # noqa: F401

POSTS = ["/api/v1/recommendations", "/api/v1/predictions"]


@pytest.mark.parametrize("path", POSTS)
def test_broken_json(reading, path):  # noqa: F811
    for body in ("", "{", "nul", "{'a':1}", '{"a":1,}', '{"users":[1]}x', '{"users":[1],"users":[2]}', "\ufeff{}",
                 '{"users":[1e999]}', '{"users":[123456789012345678901234567890]}', "[" * 100000,
                 '{"a":' * 5000 + "1" + "}" * 5000):
        reading.refuses(400, "POST", path, body.encode())
    for body in (b'{"users":["\xff"]}', b'{"users":["\\ud800"]}', b"\x00", b"{}\x00"):
        reading.refuses(400, "POST", path, body)


@pytest.mark.parametrize("body, place", [
    ({}, "alternatives"),
    ([], "alternatives"),
    (None, ""),
    ({"users": []}, "users"),
    ({"users": [1], "more": 1}, "more"),
    ({"users": ["1"]}, "users/0"),
    ({"users": [1.5]}, "users/0"),
    ({"users": [-1]}, "users/0"),
    ({"users": [2147483648]}, "users/0"),
    ({"users": [True]}, "users/0"),
    ({"users": list(range(201))}, "users"),
    ({"users": [1], "limit": 0}, "limit"),
    ({"users": [1], "limit": 201}, "limit"),
    ({"users": [1], "limit": "7"}, "limit"),
    ({"users": [1], "model": "A!"}, "model"),
    ({"users": [1], "ratings": []}, ""),
    ({"ratings": [{}]}, "movieId"),
    ({"ratings": [{"movieId": 1}]}, "rating"),
    ({"ratings": [{"movieId": 1, "rating": "5"}]}, "ratings/0/rating"),
    ({"ratings": {"movieId": 1, "rating": 5}}, "ratings"),
])
def test_wrong_shapes(reading, body, place):  # noqa: F811
    assert place in reading.refuses(400, "POST", "/api/v1/recommendations", json.dumps(body))


@pytest.mark.parametrize("rating", [0, 0.4, 5.5, 0.7, -1, 1e9, 4.999])
def test_out_of_scale(reading, rating):  # noqa: F811
    body = {"ratings": [{"movieId": 1, "rating": rating}]}
    assert "ratings/0/rating" in reading.refuses(422, "POST", "/api/v1/recommendations", body)


def test_whole_numbers_with_a_point(reading):  # noqa: F811
    """JSON Schema calls 3.0 an integer."""
    assert reading.post("/api/v1/recommendations", '{"users":[3.0],"limit":2.0}') == reading.post(
        "/api/v1/recommendations", {"users": [3], "limit": 2})


def test_what_a_body_is(reading):  # noqa: F811
    body = {"users": [1]}
    answer = reading.ask("POST", POSTS[0], json.dumps(body), headers={"Content-Type": "text/plain"})
    assert answer.status == 415
    answer = reading.ask("POST", POSTS[0], json.dumps(body), headers={"Content-Type": "application/json; charset=utf-8"})
    assert answer.status == 200
    connection = reading.connect()  # only announced: the answer comes before the body
    connection.putrequest("POST", POSTS[0])
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", "1048577")
    connection.endheaders()
    assert connection.getresponse().status == 413
    assert reading.get("/api/v1/movies/1")["id"] == 1


def test_writing_needs_a_key(reading):  # noqa: F811
    for method, path, body in (("POST", "/api/v1/users/1/ratings", {"movieId": 1, "rating": 5}),
                               ("DELETE", "/api/v1/users/1/ratings/1", None), ("POST", "/api/v1/models/svd/reload", None)):
        reading.refuses(401, method, path, body, key=None)
        assert reading.ask(method, path, body, key="wrong").status in (401, 403)
    assert "store" in reading.refuses(403, "POST", "/api/v1/users/1/ratings", {"movieId": 1, "rating": 5})
