"""Reloads, the access log, metrics, and the end of a service."""

import json
import re
import shutil
import signal
import threading
import time

from service import API_KEY, reel, statuses, wait_until


def models_of(files, folder):
    """A copy of the svd model that a test may replace."""
    path = folder / "svd.model"
    shutil.copy(files.models["svd"], path)
    return {"svd": path}


def generation(service):
    return service.json("/api/v1/models")["models"][0]["generation"]


def replace(path, files, *args):
    reel("train", files.dataset, "-m", "svd", *args, "-o", path.with_suffix(".new"), "--quiet")
    path.with_suffix(".new").rename(path)


def test_hangup_loads_what_changed(start, files, tmp_path):
    models = models_of(files, tmp_path)
    service = start(models=models)
    before, loaded = service.json("/api/v1/users/1/suggested_movies"), generation(service)
    service.process.send_signal(signal.SIGHUP)  # nothing has changed: the same parts are used again
    time.sleep(0.3)
    assert generation(service) == loaded
    replace(models["svd"], files, "-p", "factors=3", "--seed", 9)
    service.process.send_signal(signal.SIGHUP)
    assert wait_until(lambda: generation(service) != loaded)
    assert service.json("/api/v1/users/1/suggested_movies") != before


def test_broken_file_leaves_what_is_loaded(start, files, tmp_path):
    models = models_of(files, tmp_path)
    service = start(models=models)
    before = service.json("/api/v1/users/1/suggested_movies")
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x08\0\0\0\0\0\0\0{      }")
    broken.rename(models["svd"])
    answer = service.post("/api/v1/models/svd/reload", headers={"X-API-Key": API_KEY})
    assert answer.status_code == 500 and str(tmp_path) not in answer.text
    service.process.send_signal(signal.SIGHUP)
    said = next(line for line in service.process.stderr if "not reloaded" in line)
    assert "svd.model" in said
    assert service.json("/api/v1/users/1/suggested_movies") == before
    assert service.stop() == 0


def test_running_requests_are_finished(start):
    """SIGTERM while a body is on its way: the answer comes, new connections do not."""
    service = start()
    body = b'{"ratings":[],"limit":3}'
    with service.connect() as sock, service.connect() as idle:
        sock.sendall(b"POST /api/v1/recommendations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                     b"Content-Length: %d\r\n\r\n" % len(body) + body[:5])
        assert wait_until(lambda: service.metric("reel_connections") >= 3)
        time.sleep(0.2)
        service.process.send_signal(signal.SIGTERM)
        assert idle.recv(100) == b"", "idle connections are closed"
        sock.sendall(body[5:])
        received = b""
        while chunk := sock.recv(65536):
            received += chunk
    assert statuses(received) == [200] and b"Connection: close" in received
    assert service.stop() == 0


def test_stop_under_load(start):
    """Whatever was answered was answered in full."""
    service = start()
    wrong = []

    def ask():
        while service.alive():
            try:
                answer = service.raw(b"GET /api/v1/users/7/suggested_movies HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            except OSError:
                return
            head, _, body = answer.partition(b"\r\n\r\n")
            if answer and len(body) != int(re.search(rb"Content-Length: (\d+)", head)[1]):
                wrong.append(answer)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    assert service.stop() == 0
    for thread in threads:
        thread.join()
    assert not wrong


def test_access_log(start, tmp_path):
    log = tmp_path / "access.log"
    service = start("--access-log", log)
    service.get("/api/v1/movies/1?secret=1")
    service.get('/no"such\\path')
    service.raw(b"GET /a\x01b HTTP/1.1\r\nHost: x\r\n\r\n")
    assert wait_until(lambda: log.exists() and len(log.read_text().splitlines()) == 3)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    lines.sort(key=lambda line: [200, 404, 400].index(line["status"]))  # each thread writes its own
    assert [line["status"] for line in lines] == [200, 404, 400]
    assert lines[0]["path"] == "/api/v1/movies/1" and lines[0]["method"] == "GET" and lines[0]["address"] == "127.0.0.1"
    assert lines[0]["bytes"] > 50 and lines[0]["ms"] >= 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", lines[0]["time"])
    assert "secret" not in log.read_text()
    log.rename(tmp_path / "old.log")
    service.process.send_signal(signal.SIGHUP)
    assert wait_until(log.exists)
    service.get("/healthz")
    assert wait_until(lambda: "/healthz" in log.read_text())


def test_metrics(start):
    service = start()
    for _ in range(3):
        service.get("/api/v1/users/1/suggested_movies")
    service.get("/nope")
    text = service.get("/metrics").text
    route = 'method="GET",route="/api/v1/users/{id}/suggested_movies"'
    assert f'reel_requests_total{{{route},status="200"}} 3' in text
    assert f'reel_request_seconds_count{{{route}}} 3' in text
    assert f'reel_request_seconds_bucket{{{route},le="+Inf"}} 3' in text
    assert 'reel_requests_total{method="",route="",status="404"} 1' in text
    assert service.metric("reel_cache_hits_total") == 2
    assert service.metric("reel_batched_requests_total") == 1 and service.metric("reel_batches_total") == 1
    assert 'reel_model_info{name="svd",algorithm="svd"' in text
    assert service.metric("process_resident_memory_bytes") > 1e6
    for line in text.splitlines():
        assert re.fullmatch(r"# (HELP|TYPE) \w+ .+|\w+(\{(\w+=\"[^\"]*\",?)+\})? [0-9.e+-]+", line), line


def test_precompute_job(start, tmp_path):
    service = start(store=tmp_path / "live.db")
    key = {"X-API-Key": API_KEY}
    answer = service.post("/api/v1/jobs", json={"kind": "precompute", "model": "svd"}, headers=key)
    assert answer.status_code in (200, 201, 202), answer.text
    job = answer.json()["id"]
    assert wait_until(lambda: service.json(f"/api/v1/jobs/{job}", headers=key)["state"] == "done")
    assert service.metric("reel_cache_entries") == 671
    hits = service.metric("reel_cache_hits_total")
    service.json("/api/v1/users/33/suggested_movies")
    assert service.metric("reel_cache_hits_total") == hits + 1
