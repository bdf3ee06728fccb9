"""The web page's files as served: content, caching, compression, policy."""

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "src/serve/page"
TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
         ".svg": "image/svg+xml"}


def assets(service):
    return re.search(r'/assets/[0-9a-f]{16}', service.get("/").text)[0]


def test_every_file_is_served_as_it_lies_in_the_tree(service):
    folder = assets(service)
    for path in PAGE.iterdir():
        for encoding in ("identity", "gzip"):
            address = "/" if path.name == "index.html" else f"{folder}/{path.name}"
            answer = service.get(address, headers={"Accept-Encoding": encoding})
            assert answer.status_code == 200
            assert answer.text == path.read_text().replace("@ASSETS@", folder)
            assert answer.headers["Content-Type"] == TYPES[path.suffix]
            assert answer.headers.get("Content-Encoding", "identity") == encoding
            assert answer.headers["Vary"] == "Accept-Encoding"
            assert service.request("HEAD", address, headers={"Accept-Encoding": encoding}).headers["Content-Length"] \
                == answer.headers["Content-Length"]


def test_weights_of_encodings(service):
    for accept, encoding in {"gzip;q=0": None, "br, gzip;q=0.5": "gzip", "GZIP ; q=1": "gzip", "x-gzip": None, "": None,
                             "deflate;q=1.0, br": None, ",gzip": "gzip", "gzip;q=": None}.items():
        headers = service.get("/", headers={"Accept-Encoding": accept}).headers
        assert headers.get("Content-Encoding") == encoding, accept


def test_caching(service):
    first = service.get("/")
    assert first.headers["Cache-Control"] == "no-cache"
    again = service.get("/", headers={"If-None-Match": first.headers["ETag"]})
    assert again.status_code == 304 and again.content == b""
    # A browser puts the headers of a 304 in the place of those it kept.
    for name in ("ETag", "Content-Security-Policy", "Cache-Control", "Vary", "X-Content-Type-Options"):
        assert again.headers[name] == first.headers[name], name
    assert service.get("/", headers={"If-None-Match": 'W/"0000000000000000"'}).status_code == 200
    assert "immutable" in service.get(assets(service) + "/app.js").headers["Cache-Control"]


def test_what_is_not_there(service):
    folder = assets(service)
    for path in (f"{folder}/nothing.js", "/assets/0000000000000000/app.js", f"{folder}/%2e%2e%2fapp.js", f"{folder}/app.js/x",
                 f"{folder}/", "/assets", "/app.js", "/index.html", f"{folder}/../../etc/passwd"):
        answer = service.get(path)
        assert answer.status_code == 404, path
        assert answer.headers["Content-Type"] == "application/problem+json"


def test_policy_allows_this_server_alone(service):
    for path in ("/", assets(service) + "/app.js"):
        policies = service.raw(b"GET " + path.encode() + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert policies.count(b"Content-Security-Policy:") == 1 and policies.count(b"Cache-Control:") == 1
        policy = dict(part.strip().split(" ", 1) for part in service.get(path).headers["Content-Security-Policy"].split(";"))
        assert policy["default-src"] == "'none'"
        assert {value for value in policy.values()} <= {"'none'", "'self'"}


def test_page_names_no_foreign_host():
    for path in PAGE.iterdir():
        hosts = set(re.findall(r"https?://[\w.]+", path.read_text()))
        assert hosts <= {"http://www.w3.org"}, path  # the name space of SVG
