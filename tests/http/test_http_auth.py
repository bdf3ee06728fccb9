"""Keys and tokens: who may write and administer, and what a bad token looks like."""

import base64
import json
import time

import pytest

from service import API_KEY, token

RATING = {"movieId": 1, "rating": 4.5}
WRITE = "/api/v1/users/1/ratings"
ADMIN = "/api/v1/models/svd/reload"
LATER = int(time.time()) + 3600


def post(service, path, headers=None):
    return service.post(path, json=RATING if path == WRITE else None, headers=headers)


def bearer(text):
    return {"Authorization": f"Bearer {text}"}


@pytest.mark.parametrize("path", [WRITE, ADMIN])
def test_off_without_a_configured_key(start, path):
    answer = post(start(auth=False), path)
    assert answer.status_code == 403 and "no key is configured" in answer.json()["detail"]


@pytest.mark.parametrize("path", [WRITE, ADMIN])
def test_key(service, path):
    assert post(service, path, {"X-API-Key": API_KEY}).status_code == 200
    nothing = post(service, path)
    assert nothing.status_code == 401 and nothing.headers["WWW-Authenticate"].startswith("Bearer")
    for wrong in ("", "x", API_KEY + "x", API_KEY[:-1], API_KEY.upper()):
        assert post(service, path, {"X-API-Key": wrong}).status_code == 401


@pytest.mark.parametrize("scope,write,admin", [("read", 403, 403), ("write", 200, 403), ("admin", 200, 200), ("a write b", 200, 403),
                                               ("rewrite writes", 403, 403), ("", 403, 403), (None, 403, 403)])
def test_scopes(service, scope, write, admin):
    claims = {"exp": LATER} if scope is None else {"exp": LATER, "scope": scope}
    headers = bearer(token(claims))
    assert post(service, WRITE, headers).status_code == write
    assert post(service, ADMIN, headers).status_code == admin


def encode(part):
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


GOOD = token({"exp": LATER, "scope": "admin"})
BAD = {
    "expired": token({"exp": int(time.time()) - 1, "scope": "admin"}),
    "no expiry": token({"scope": "admin"}),
    "expiry as text": token({"exp": str(LATER), "scope": "admin"}),
    "not yet": token({"exp": LATER, "nbf": LATER - 60, "scope": "admin"}),
    "other secret": token({"exp": LATER, "scope": "admin"}, secret="s" * 40),
    "algorithm none": f"{encode({'alg': 'none'})}.{encode({'exp': LATER, 'scope': 'admin'})}.",
    "algorithm none, signed": token({"exp": LATER, "scope": "admin"}, header={"alg": "none"}),
    "algorithm HS512": token({"exp": LATER, "scope": "admin"}, header={"alg": "HS512"}),
    "algorithm as list": token({"exp": LATER, "scope": "admin"}, header={"alg": ["HS256"]}),
    "no algorithm": token({"exp": LATER, "scope": "admin"}, header={}),
    "critical extension": token({"exp": LATER, "scope": "admin"}, header={"alg": "HS256", "crit": ["x"]}),
    "claims are a list": token([1, 2]),
    "no signature": GOOD.rsplit(".", 1)[0] + ".",
    "two parts": GOOD.rsplit(".", 1)[0],
    "four parts": GOOD + ".x",
    "padded": GOOD + "=",
    "changed": GOOD[:-2] + ("AA" if GOOD[-2:] != "AA" else "BB"),
    "empty": "",
    "dots": "..",
    "long": "a" * 5000 + ".b.c",
    "not base64": "!!!.???.###",
}


@pytest.mark.parametrize("name", BAD)
def test_bad_tokens(service, name):
    answer = post(service, WRITE, bearer(BAD[name]))
    assert answer.status_code == 401, answer.text
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


def test_other_schemes(service):
    assert post(service, WRITE, {"Authorization": "Basic dTpw"}).status_code == 401
    assert post(service, WRITE, {"Authorization": f"bearer  {GOOD}"}).status_code == 200
    assert post(service, WRITE, {"Authorization": "Bearer x", "X-API-Key": API_KEY}).status_code == 401


def test_reads_stay_public_and_auth_all_closes_them(service, start):
    assert service.get("/api/v1/movies/1").status_code == 200
    closed = start("--auth-all")
    assert closed.get("/api/v1/movies/1").status_code == 401
    assert closed.get("/metrics").status_code == 401
    assert closed.get("/healthz").status_code == 200 and closed.get("/readyz").status_code == 200
    assert closed.get("/api/v1/movies/1", headers={"X-API-Key": API_KEY}).status_code == 200
    assert closed.get("/api/v1/movies/1", headers=bearer(token({"exp": LATER}))).status_code == 200
    assert closed.get("/api/v1/movies/1", headers=bearer(token({"exp": 1}))).status_code == 401
