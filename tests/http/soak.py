#!/usr/bin/env python3
"""Many mixed requests at once against a service, e.g. of a sanitizer build.

    tests/http/soak.py PROGRAM [--requests N] [--clients N]          N requests in all (default 100000)
    tests/http/soak.py PROGRAM --seconds N [--files DIR]             N seconds of reads, a reload each second and a
                                                                     rating every 10 ms: no answer but 2xx, flat memory

PROGRAM is a `reel`; it makes its own files from the embedded data unless --files names a folder with ml.reel, svd.model,
and, as they please, gbdt.model and ml.clusters. Exit 1 on a crash, a sanitizer's report, a 5xx or (--seconds) any answer
but 2xx or more than 2 % growth of memory."""

import argparse
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
import types
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))


class Client:
    """HTTP/1.1 over one socket, with as little Python in the way as can be."""

    def __init__(self, port):
        self.port = port
        self.sock = None

    def close(self):
        if self.sock:
            self.sock.close()
        self.sock = None

    def send(self, data):
        if not self.sock:
            self.sock = socket.create_connection(("127.0.0.1", self.port), timeout=120)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.sendall(data)

    def receive(self):
        """(status, body)"""
        data = b""
        while b"\r\n\r\n" not in data:
            chunk = self.sock.recv(65536)
            if not chunk:
                raise ConnectionError("closed")
            data += chunk
        head, body = data.split(b"\r\n\r\n", 1)
        length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
        while len(body) < length:
            body += self.sock.recv(65536)
        if b"connection: close" in head.lower():
            self.close()
        return int(head[9:12]), body

    def ask(self, data):
        self.send(data)
        return self.receive()


def request(method, path, body=None, headers=""):
    data = b"" if body is None else (body if isinstance(body, bytes) else json.dumps(body).encode())
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}"
    if body is not None:
        head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n"
    return head.encode() + b"\r\n" + data


KEY = "X-API-Key: key-of-the-tests-0123456789\r\n"


def good(rng, users, movies):
    """A request that must be answered with 2xx."""
    u, m = rng.choice(users), rng.choice(movies)
    return rng.choice([
        lambda: request("GET", f"/api/v1/users/{u}"),
        lambda: request("GET", f"/api/v1/users/{u}/suggested_movies"),
        lambda: request("GET", f"/api/v1/movies/{m}"),
        lambda: request("GET", f"/api/v1/movies/{m}/most_similar_movies"),
        lambda: request("GET", f"/api/v1/users/{u}/recommendations?limit={rng.randint(1, 50)}&explain={rng.randint(0, 1)}"),
        lambda: request("GET", f"/api/v1/movies?query={rng.choice('abcdefghij')}&limit=20"),
        lambda: request("POST", "/api/v1/recommendations", {"ratings": [{"movieId": m, "rating": 4.5}], "limit": 10}),
        lambda: request("POST", "/api/v1/recommendations", {"users": [u], "limit": 10}),
        lambda: request("POST", "/api/v1/predictions", {"pairs": [{"userId": u, "movieId": m}] * rng.randint(1, 20)}),
        lambda: request("GET", f"/user/{u}/rated"),
        lambda: request("GET", "/healthz"),
    ])()


def odd(rng, users, movies):
    """A request that is wrong, or that changes something."""
    u, m = rng.choice(users), rng.choice(movies)
    return rng.choice([
        lambda: request("POST", f"/api/v1/users/{u}/ratings", {"movieId": m, "rating": rng.randint(1, 10) / 2}, KEY),
        lambda: request("DELETE", f"/api/v1/users/{u}/ratings/{m}", headers=KEY),
        lambda: request("POST", f"/api/v1/users/{u}/ratings", {"movieId": m, "rating": 9}, KEY),
        lambda: request("POST", f"/api/v1/users/{u}/ratings", b"{\"movieId\":" + b"[" * 100, KEY),
        lambda: request("POST", f"/api/v1/users/{u}/ratings", {"movieId": m, "rating": 3}),
        lambda: request("GET", f"/user/{u}/recommendation"),
        lambda: request("GET", f"/movie/{m}/metadata"),
        lambda: request("GET", f"/movie/list/{rng.randint(0, 5)}"),
        lambda: request("GET", f"/user/list/{rng.randint(-1, 5)}"),
        lambda: request("GET", f"/api/v1/clusters/{rng.randint(0, 5)}"),
        lambda: request("GET", "/api/v1/users/99999999999999999999"),
        lambda: request("GET", "/api/v1/users/x/suggested_movies"),
        lambda: request("GET", "/api/v1/jobs"),
        lambda: request("GET", "/openapi.json"),
        lambda: request("GET", "/metrics"),
        lambda: request("PUT", "/healthz"),
        lambda: request("OPTIONS", "/healthz"),
        lambda: request("GET", "/" + "%41" * rng.randint(1, 300)),
        lambda: b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        lambda: b"POST /healthz HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        lambda: rng.randbytes(rng.randint(1, 300)) + b"\r\n\r\n",
        lambda: request("POST", "/api/v1/models/svd/reload", headers=KEY) if rng.random() < 0.02 else request("GET", "/api/v1/models"),
    ])()


class Soak:
    def __init__(self, port, users, movies):
        self.port, self.users, self.movies = port, users, movies
        self.left, self.lock = 0, threading.Lock()
        self.counts = Counter()
        self.stop = False

    def worker(self, seed, share_odd):
        rng, client, counts = random.Random(seed), Client(self.port), Counter()
        while not self.stop:
            with self.lock:
                if self.left <= 0:
                    break
                self.left -= 1
            is_odd = rng.random() < share_odd
            data = (odd if is_odd else good)(rng, self.users, self.movies)
            try:
                if is_odd and rng.random() < 0.05:  # gone before the answer
                    client.send(data)
                    client.close()
                    counts["left"] += 1
                    continue
                status, body = client.ask(data)
                counts[status] += 1
                if status >= 500 or (not is_odd and status >= 300):
                    print(data[:200], status, body[:300], flush=True)
            except OSError:
                client.close()
                counts["closed"] += 1
                if not is_odd:
                    print(data[:200], "no answer", flush=True)
        client.close()
        with self.lock:
            self.counts += counts

    def run(self, requests, clients, share_odd):
        self.left = requests
        threads = [threading.Thread(target=self.worker, args=(seed, share_odd)) for seed in range(clients)]
        for thread in threads:
            thread.start()
        return threads


def resident(pid):
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def every(soak, seconds, make):
    """Sends make(i) each `seconds` until the soak stops; any answer but 2xx is printed and counted."""
    client, i, counts, due = Client(soak.port), 0, Counter(), time.monotonic()
    while not soak.stop:
        status, body = client.ask(make(i))
        counts[status] += 1
        if status >= 300:
            print("every", seconds, status, body[:300], flush=True)
        i += 1
        due += seconds
        time.sleep(max(0, due - time.monotonic()))
    client.close()
    with soak.lock:
        soak.counts += counts


def steady(soak, service, seconds, clients):
    """Reads all the while; returns resident bytes after a warm-up of a quarter and at the end."""
    soak.left = 1 << 60
    rng = random.Random(7)
    rate = lambda i: request("POST", f"/api/v1/users/{rng.choice(soak.users)}/ratings", {"movieId": rng.choice(soak.movies), "rating": 4}, KEY)
    threads = soak.run(1 << 60, clients, 0)
    threads += [threading.Thread(target=every, args=(soak, 0.01, rate)),
                threading.Thread(target=every, args=(soak, 1, lambda i: request("POST", "/api/v1/models/svd/reload", headers=KEY)))]
    for thread in threads[-2:]:
        thread.start()
    samples = []
    end = time.monotonic() + seconds
    while time.monotonic() < end and service.alive():
        time.sleep(seconds / 60)
        samples.append(resident(service.process.pid))
    soak.stop = True
    for thread in threads:
        thread.join()
    return samples


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--requests", type=int, default=100000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--files", type=Path)
    args = parser.parse_args()
    os.environ["REEL_BIN"] = args.program
    from service import Service, make_files

    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        if args.files:
            files = types.SimpleNamespace(folder=folder, dataset=args.files / "ml.reel", clusters=args.files / "ml.clusters")
            files.models = {name: args.files / f"{name}.model" for name in ("svd", "gbdt") if (args.files / f"{name}.model").exists()}
            files.key, files.secret = folder / "key", folder / "secret"
            files.key.write_text("key-of-the-tests-0123456789")
            files.secret.write_text("s" * 40)
        else:
            files = make_files(folder)
        errors = folder / "stderr"
        cache = ["--cache", "32M"] if args.seconds else []  # full long before the measurement begins
        service = Service(files, *cache, "--access-log", folder / "access.log", store=folder / "live.db", clusters=files.clusters.exists())
        with errors.open("w") as stderr:
            service.__enter__(stderr)
            users = [user["id"] for user in service.json("/api/v1/users?limit=200")["users"]]
            movies = [movie["id"] for movie in service.json("/api/v1/movies?limit=200")["movies"]]
            soak = Soak(service.port, users, movies)
            samples = []
            began = time.monotonic()
            if args.seconds:
                samples = steady(soak, service, args.seconds, args.clients)
            else:
                for thread in soak.run(args.requests, args.clients, 0.4):
                    thread.join()
            seconds = time.monotonic() - began
            alive = service.alive()
            status = service.stop()
        log = errors.read_text()
        total = sum(count for key, count in soak.counts.items())
        print(f"{total} requests in {seconds:.0f} s: " + ", ".join(f"{key}: {count}" for key, count in sorted(soak.counts.items(), key=str)))
        failed = not alive or status != 0 or "Sanitizer" in log or "runtime error" in log
        failed |= any(isinstance(key, int) and key >= 500 for key in soak.counts)
        if samples:
            first, last = sorted(samples[len(samples) // 4 :][:8])[4], sorted(samples[-8:])[4]
            growth = last / first - 1
            print("resident MiB: " + " ".join(f"{sample / 2**20:.0f}" for sample in samples))
            print(f"resident memory {first / 2**20:.1f} MiB after a quarter, {last / 2**20:.1f} MiB at the end: {100 * growth:+.2f} %")
            failed |= growth > 0.02 or any(not isinstance(key, int) or key >= 300 for key in soak.counts)
        if failed:
            print(log[-6000:])
            print(f"FAILED (alive {alive}, exit status {status})")
        sys.exit(failed)


if __name__ == "__main__":
    main()
