"""Starts `reel serve` and talks to it: JSON over a session, or raw bytes over a socket."""

import base64
import hashlib
import hmac
import json
import os
import re
import signal
import socket
import subprocess
import time
import types
from pathlib import Path

import pytest
import requests

ROOT = Path(__file__).resolve().parents[2]
REEL = os.environ.get("REEL_BIN", str(ROOT / "build/release/reel"))
EMBEDDED = ROOT / "data/ml-latest-small"
API_KEY = "key-of-the-tests-0123456789"
JWT_SECRET = "secret-of-the-tests-0123456789-0123456789"
MODELS = {
    "svd": ["-m", "svd", "-p", "factors=16", "-p", "epochs=15", "--seed", "1"],
    "gbdt": ["-m", "gbdt", "--seed", "1"],
    "bmf": ["-m", "bmf", "-p", "factors=8", "-p", "samples=20", "--seed", "1"],
}


def reel(*args):
    done = subprocess.run([REEL, *map(str, args)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def has_service():
    return "no HTTP service" not in subprocess.run([REEL, "serve", "--help"], capture_output=True, text=True).stdout


def make_files(folder):
    if not has_service():
        pytest.skip("this build has no HTTP service (REEL_SERVE=OFF)")
    files = types.SimpleNamespace(folder=folder, dataset=folder / "small.reel", clusters=folder / "small.clusters")
    files.models = {name: folder / f"{name}.model" for name in MODELS}
    files.key, files.secret = folder / "key", folder / "secret"
    files.key.write_text(API_KEY + "\n")
    files.secret.write_text(JWT_SECRET + "\n")
    reel("import", EMBEDDED, "-o", files.dataset, "--quiet")
    for name, args in MODELS.items():
        reel("train", files.dataset, *args, "-o", files.models[name], "--quiet")
    reel("cluster", files.dataset, "-k", 4, "-o", files.clusters, "--quiet")
    return files


def token(claims, secret=JWT_SECRET, header=None):
    """A JWT signed with HS256, made with the standard library."""

    def encode(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    header = {"alg": "HS256", "typ": "JWT"} if header is None else header
    signed = b".".join(encode(json.dumps(part).encode()) for part in (header, claims))
    signature = hmac.new(secret.encode(), signed, hashlib.sha256).digest()
    return (signed + b"." + encode(signature)).decode()


class Service:
    """with Service(files, "--rate-limit", 5) as service: service.get("/healthz").json()

    auth=False starts it without key and secret; store=None without a store."""

    def __init__(self, files, *args, store=None, auth=True, models=None, clusters=True, unix_socket=None):
        models = files.models if models is None else models
        command = [REEL, "serve", "--dataset", files.dataset]
        for name, path in models.items():
            command += ["--model", f"{name}={path}"]
        if clusters:
            command += ["--clusters", files.clusters]
        if store:
            command += ["--store", store]
        if auth:
            command += ["--api-key-file", files.key, "--auth-secret-file", files.secret]
        command += ["--unix-socket", unix_socket] if unix_socket else ["--port", 0]
        self.command = [str(word) for word in [*command, *args]]
        self.unix_socket = unix_socket
        self.process = None
        self.session = requests.Session()

    def __enter__(self, stderr=subprocess.PIPE):
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=stderr, text=True)
        line = self.process.stdout.readline()
        found = re.fullmatch(r"listening on (http://\S+:(\d+)|unix:\S+)\n", line)
        if not found:
            self.process.kill()
            raise AssertionError(f"no service: {line}{self.process.stderr.read() if self.process.stderr else ''}")
        self.url = found[1]
        self.port = int(found[2] or 0)
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self, number=signal.SIGTERM):
        """Returns the exit status; what it wrote to standard error is in self.stderr."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.stderr = self.process.communicate(timeout=60)[1]
        self.session.close()
        return self.process.returncode

    def alive(self):
        return self.process.poll() is None

    def request(self, method, path, **kwargs):
        return self.session.request(method, self.url + path, timeout=60, **kwargs)

    def get(self, path, **kwargs):
        return self.request("GET", path, **kwargs)

    def post(self, path, **kwargs):
        return self.request("POST", path, **kwargs)

    def delete(self, path, **kwargs):
        return self.request("DELETE", path, **kwargs)

    def json(self, path, **kwargs):
        answer = self.get(path, **kwargs)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def connect(self, timeout=20):
        if self.unix_socket:
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(timeout)
            sock.connect(str(self.unix_socket))
            return sock
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)

    def raw(self, data, timeout=20, half_close=False):
        """Sends bytes and reads until the server closes, or nothing more comes for `timeout`."""
        with self.connect(timeout) as sock:
            try:
                sock.sendall(data)
                if half_close:
                    sock.shutdown(socket.SHUT_WR)
            except (BrokenPipeError, ConnectionResetError):
                pass
            received = b""
            try:
                while chunk := sock.recv(65536):
                    received += chunk
            except (TimeoutError, ConnectionResetError):
                pass
            return received

    def metric(self, name):
        """The sum over all label sets of one metric."""
        text = self.get("/metrics").text
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if re.match(rf"{name}[ {{]", line))


def statuses(received):
    """Status codes of the answers in a raw reply."""
    return [int(code) for code in re.findall(rb"HTTP/1\.[01] (\d{3}) ", received)]


def wait_until(condition, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False
