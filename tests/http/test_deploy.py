"""docs/deploy: nginx in front of a running service with the example's own configuration; systemd's checks on the unit."""

import os
import re
import shutil
import socket
import ssl
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from service import wait_until

PACKAGES = {"nginx": "nginx-light", "openssl": "openssl", "wrk": "wrk", "systemd-analyze": "systemd"}
DEPLOY = Path(__file__).resolve().parents[2] / "docs/deploy"


def need(*programs):
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"there is no {program} (Debian: apt-get install {PACKAGES[program]})")


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@pytest.fixture
def proxy(start, tmp_path):
    """(plain port, TLS port) of nginx with docs/deploy/nginx.conf; only paths, ports and the name are replaced."""
    need("nginx", "openssl")
    sock, key, cert = tmp_path / "reel.sock", tmp_path / "key.pem", tmp_path / "cert.pem"
    start(unix_socket=sock)
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                    "-subj", "/CN=localhost", "-keyout", key, "-out", cert], check=True, capture_output=True)
    plain, tls = free_port(), free_port()
    text = (DEPLOY / "nginx.conf").read_text()
    for old, new in {"/run/reel/reel.sock": str(sock), "/etc/letsencrypt/live/reel.example.org/fullchain.pem": str(cert),
                     "/etc/letsencrypt/live/reel.example.org/privkey.pem": str(key), "listen 80;": f"listen 127.0.0.1:{plain};",
                     "listen 443 ssl": f"listen 127.0.0.1:{tls} ssl", "reel.example.org": "localhost"}.items():
        assert old in text
        text = text.replace(old, new)
    text = re.sub(r" *listen \[::\].*\n", "", text)
    # Beside what Debian's nginx.conf has around it: a folder of its own instead of /var.
    paths = "".join(f"{name}_temp_path {tmp_path}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    # The socket belongs to whoever runs the tests.
    user = "user root;" if os.geteuid() == 0 else ""
    (tmp_path / "nginx.conf").write_text(f"{user}daemon off; pid {tmp_path}/pid; error_log {tmp_path}/error.log;\nevents {{}}\n"
                                         f"http {{ access_log off; {paths}\n{text}\n}}\n")
    command = ["nginx", "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf"), "-e", str(tmp_path / "error.log")]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    running = subprocess.Popen(command, stderr=subprocess.DEVNULL)

    def listens():
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", tls)) == 0

    assert wait_until(listens)
    yield plain, tls
    running.terminate()
    running.wait(20)


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def ask(url, **kwargs):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    opener = urllib.request.build_opener(NoRedirect, urllib.request.HTTPSHandler(context=context))
    try:
        answer = opener.open(urllib.request.Request(url, **kwargs), timeout=30)
    except urllib.error.HTTPError as error:
        answer = error
    return answer.status, answer.headers, answer.read()


def test_nginx_in_front(proxy):
    plain, tls = proxy
    status, headers, _ = ask(f"http://127.0.0.1:{plain}/api/v1/movies/1?a=b", headers={"Host": "localhost"})
    assert status == 308 and headers["Location"] == "https://localhost/api/v1/movies/1?a=b"
    base = f"https://127.0.0.1:{tls}"
    status, headers, body = ask(base + "/api/v1/movies/1")
    assert status == 200 and b"Toy Story" in body
    for name in ("Strict-Transport-Security", "Content-Security-Policy", "X-Content-Type-Options"):
        assert len(headers.get_all(name)) == 1, name
    assert "nginx/" not in headers.get("Server", "")
    status, headers, _ = ask(base + "/api/v1/users/1/suggested_movies", headers={"Accept-Encoding": "gzip"})
    assert status == 200 and headers["Content-Encoding"] == "gzip"
    assert ask(base + "/", headers={"Accept-Encoding": "gzip"})[0] == 200
    assert ask(base + "/api/v1/movies/999999")[0] == 404
    status, _, _ = ask(base + "/api/v1/predictions", method="POST", data=b"x" * 1100000, headers={"Content-Type": "application/json"})
    assert status == 413


def test_nginx_limits_by_address(proxy):
    statuses = [ask(f"https://127.0.0.1:{proxy[1]}/healthz")[0] for _ in range(10)]
    assert set(statuses) == {200}
    need("wrk")
    done = subprocess.run(["wrk", "-t1", "-c8", "-d2", f"https://127.0.0.1:{proxy[1]}/healthz"], capture_output=True, text=True)
    assert "Non-2xx or 3xx responses" in done.stdout, done.stdout


def test_unit():
    need("systemd-analyze")
    unit = DEPLOY / "reel.service"
    checked = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True)
    complaints = [line for line in checked.stderr.splitlines() if unit.name in line and "is not executable" not in line]
    assert complaints == []
    rated = subprocess.run(["systemd-analyze", "security", "--offline=true", str(unit)], capture_output=True, text=True)
    exposure = re.search(r"Overall exposure level for reel\.service: ([\d.]+)", rated.stdout)
    assert exposure and float(exposure[1]) <= 1.0, rated.stdout[-400:] + rated.stderr


def test_unit_uses_options_that_exist():
    from service import REEL

    command = re.search(r"ExecStart=\S+ serve (.*?)\n(?! )", (DEPLOY / "reel.service").read_text(), re.S)[1]
    known = subprocess.run([REEL, "serve", "--help"], capture_output=True, text=True).stdout
    for option in re.findall(r"--[a-z-]+", command):
        assert option in known, option
