"""Health, readiness, methods, problems, headers, options of the command."""

import json
import subprocess

import pytest

from service import REEL, statuses


def test_health_and_readiness(service):
    assert service.json("/healthz") == {"status": "ok"}
    assert service.json("/readyz/") == {"status": "ready"}


@pytest.mark.parametrize("path", ["/nope", "/healthz/x", "//healthz", "/healthz//", "/..%2f..%2fetc%2fpasswd", "/%2e%2e/x"])
def test_unknown_paths_are_problems(service, path):
    answer = service.get(path)
    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == 404 and problem["title"] == "Not Found" and problem["type"] == "about:blank"
    assert set(problem) <= {"type", "title", "status", "detail", "instance"}


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "POST", "TRACE", "FOO"])
def test_other_methods(service, method):
    answer = service.request(method, "/healthz")
    assert answer.status_code == 405
    assert {"GET", "HEAD", "OPTIONS"} == set(answer.headers["Allow"].split(", "))


def test_options_and_head(service):
    answer = service.request("OPTIONS", "/healthz")
    assert answer.status_code == 204 and "GET" in answer.headers["Allow"]
    head, get = service.request("HEAD", "/openapi.json"), service.get("/openapi.json")
    assert head.status_code == 200 and head.content == b""
    assert head.headers["Content-Length"] == str(len(get.content))


@pytest.mark.parametrize("path", ["/healthz", "/nope", "/metrics", "/openapi.json"])
def test_security_headers(service, path):
    headers = service.get(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "Server" not in headers


def test_wrong_targets(service):
    for target in (b"/%zz", b"/%", b"/%0", b"/%00", b"/%ff", b"/%c0%af", b"/%ed%a0%80", b"/healthz?a=1&a=2", b"/healthz?a=%zz"):
        answer = service.raw(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert statuses(answer) == [400], (target, answer)


def test_command_line(files, tmp_path):
    def failure(*args, status):
        done = subprocess.run([REEL, "serve", *map(str, args)], capture_output=True, text=True, timeout=60)
        assert done.returncode == status, done.stderr
        assert len(done.stderr.splitlines()) == 1, done.stderr
        return done.stderr

    assert "--dataset FILE is needed" in failure(status=2)
    assert "nothing.reel" in failure("--dataset", tmp_path / "nothing.reel", "--port", 0, status=1)
    short = tmp_path / "short"
    short.write_text("tiny")
    base = ["--dataset", files.dataset, "--port", 0]
    assert "must hold 16" in failure(*base, "--api-key-file", short, status=2)
    assert "must hold 32" in failure(*base, "--auth-secret-file", short, status=2)
    assert "need a key" in failure(*base, "--auth-all", status=2)
    assert "localhost" in failure("--dataset", files.dataset, "--bind", "localhost", status=2)
    assert "two models called svd" in failure(*base, "-m", f"svd={files.models['svd']}", "-m", f"svd={files.models['bmf']}", status=2)
    assert files.clusters.name in failure(*base, "-m", f"x={files.clusters}", status=1)
    done = subprocess.run([REEL, "serve", "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and "SIGHUP" in done.stdout


def test_port_that_is_taken(service, files):
    done = subprocess.run([REEL, "serve", "--dataset", files.dataset, "--port", str(service.port), "--json"],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and str(service.port) in done.stderr
    assert json.loads(done.stdout)["error"]["code"] == "io"
