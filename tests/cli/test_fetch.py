"""data/fetch.sh against a server of our own: downloads, resumes, and refuses what does not match its MD5."""

import hashlib
import http.server
import io
import os
import pathlib
import shutil
import subprocess
import threading
import zipfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "data" / "fetch.sh"
RATINGS = b"userId,movieId,rating,timestamp\n1,31,2.5,1260759144\n" * 5000


def make_archive(folder):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(f"{folder}/ratings.csv", RATINGS)
        archive.writestr(f"{folder}/README.txt", b"terms\n")
    return buffer.getvalue()


class Server:
    """Serves `files` by path; remembers the Range headers it saw."""

    def __init__(self):
        self.files, self.ranges, self.can_resume = {}, [], True
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                body, status, wanted = outer.files.get(self.path), 200, self.headers.get("Range")
                if body is None:
                    self.send_error(404)
                    return
                if wanted:
                    outer.ranges.append(wanted)
                    if outer.can_resume:
                        begin = int(wanted.removeprefix("bytes=").split("-")[0])
                        if begin >= len(body):
                            self.send_error(416)
                            return
                        status = 206
                self.send_response(status)
                if status == 206:
                    self.send_header("Content-Range", f"bytes {begin}-{len(body) - 1}/{len(body)}")
                    body = body[begin:]
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        self.httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.httpd.server_port}"
        threading.Thread(target=self.httpd.serve_forever, daemon=True).start()

    def offer(self, name, archive, md5=None):
        self.files[f"/{name}.zip"] = archive
        digest = md5 or hashlib.md5(archive).hexdigest()
        self.files[f"/{name}.zip.md5"] = f"MD5 ({name}.zip) = {digest}\n".encode()


@pytest.fixture
def server():
    server = Server()
    yield server
    server.httpd.shutdown()
    server.httpd.server_close()


@pytest.fixture(params=["curl", "wget"])
def path(request, tmp_path):
    """A PATH with only one of the two downloaders on it."""
    if not shutil.which(request.param):
        pytest.skip(f"{request.param} is not installed")
    folder = tmp_path / "bin"
    folder.mkdir()
    tools = "sh dirname cat cut grep head tail tr md5sum mkdir mv rm unzip python3".split()
    for tool in tools + [request.param]:
        found = shutil.which(tool)
        if found:
            (folder / tool).symlink_to(found)
    return str(folder)


def fetch(server_url, path, into, *args):
    env = {**os.environ, "PATH": path, "REEL_FETCH_URL": server_url, "no_proxy": "127.0.0.1"}
    done = subprocess.run(["/bin/sh", SCRIPT, "--into", into, *args], env=env, capture_output=True, text=True)
    hidden = [f.name for f in into.iterdir() if f.name.startswith(".")] if into.exists() else []
    assert hidden == [], "temporary files were left"
    return done


def test_downloads_checks_and_unpacks(server, path, tmp_path):
    server.offer("ml-10m", make_archive("ml-10M100K"))
    done = fetch(server.url, path, tmp_path / "data", "ml-10m")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "data" / "ml-10m" / "ratings.csv").read_bytes() == RATINGS
    assert [f.name for f in (tmp_path / "data").iterdir()] == ["ml-10m"]
    again = fetch(server.url, path, tmp_path / "data", "ml-10m")
    assert again.returncode == 0 and "there already" in again.stdout


def test_wrong_checksum_leaves_nothing(server, path, tmp_path):
    server.offer("ml-20m", make_archive("ml-20m"), md5="0" * 32)
    done = fetch(server.url, path, tmp_path / "data", "ml-20m")
    assert done.returncode == 1
    assert "damaged" in done.stderr and "0" * 32 in done.stderr
    assert list((tmp_path / "data").iterdir()) == []


@pytest.mark.parametrize("can_resume", [True, False])
def test_resumes_a_stopped_download(server, path, tmp_path, can_resume):
    archive = make_archive("ml-1m")
    server.offer("ml-1m", archive)
    server.can_resume = can_resume
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "ml-1m.zip.part").write_bytes(archive[:100])
    done = fetch(server.url, path, tmp_path / "data", "ml-1m")
    assert done.returncode == 0, done.stderr
    assert server.ranges == ["bytes=100-"]
    assert (tmp_path / "data" / "ml-1m" / "ratings.csv").read_bytes() == RATINGS


def test_a_complete_part_is_not_downloaded_again(server, path, tmp_path):
    archive = make_archive("ml-1m")
    server.offer("ml-1m", archive)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "ml-1m.zip.part").write_bytes(archive)
    del server.files["/ml-1m.zip"]
    done = fetch(server.url, path, tmp_path / "data", "ml-1m")
    assert done.returncode == 0, done.stderr


def test_a_longer_leftover_is_replaced_or_refused(server, path, tmp_path):
    archive = make_archive("ml-1m")
    server.offer("ml-1m", archive)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "ml-1m.zip.part").write_bytes(archive + b"?" * 50)
    done = fetch(server.url, path, tmp_path / "data", "ml-1m")
    if done.returncode != 0:  # wget takes a longer file for a complete one: the MD5 says no, the next run is clean
        assert "damaged" in done.stderr
        done = fetch(server.url, path, tmp_path / "data", "ml-1m")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "data" / "ml-1m" / "ratings.csv").read_bytes() == RATINGS


def test_without_a_published_checksum(server, path, tmp_path):
    server.files["/ml-latest-small.zip"] = make_archive("ml-latest-small")
    done = fetch(server.url, path, tmp_path / "data", "ml-latest-small")
    assert done.returncode == 1 and "--unchecked" in done.stderr
    done = fetch(server.url, path, tmp_path / "data", "--unchecked", "ml-latest-small")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "data" / "ml-latest-small-current" / "README.txt").exists()


def test_no_network_is_one_clear_line(path, tmp_path):
    done = fetch("http://127.0.0.1:9", path, tmp_path / "data", "ml-20m")
    assert done.returncode == 1
    assert "could not be downloaded; is there a network?" in done.stderr.splitlines()[-1]
    assert list((tmp_path / "data").iterdir()) == []


@pytest.mark.parametrize("args", [[], ["ml-99m"], ["ml-1m", "ml-10m"], ["--into"], ["--bogus"]])
def test_wrong_usage(path, tmp_path, args):
    env = {**os.environ, "PATH": path, "REEL_FETCH_URL": "http://127.0.0.1:9"}
    done = subprocess.run(["/bin/sh", SCRIPT, *args], env=env, capture_output=True, text=True)
    assert done.returncode != 0 and "usage:" in done.stderr
