"""kill -9 at random moments of import and train: what lies under the final name is the old file or the new one."""

import os
import pathlib
import random
import shutil
import subprocess
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
REEL = os.environ.get("REEL_BIN", str(ROOT / "build" / "release" / "reel"))
DATA = ROOT / "data" / "ml-latest-small"
SEED = int(os.environ.get("REEL_TEST_SEED", "1"))
KILLS = 50


def reel(*args):
    return subprocess.run([REEL, *map(str, args)], capture_output=True, text=True, timeout=120)


def must(*args):
    result = reel(*args)
    assert result.returncode == 0, result.stderr
    return result


@pytest.fixture(scope="module")
def smaller_data(tmp_path_factory):
    """The embedded data without its last thousand ratings."""
    folder = tmp_path_factory.mktemp("kill") / "data"
    shutil.copytree(DATA, folder)
    lines = (folder / "ratings.csv").read_text().splitlines(keepends=True)
    (folder / "ratings.csv").write_text("".join(lines[:-1000]))
    return folder


def kill_often(final, command):
    """Kills `command` (which writes `final`) KILLS times. Returns the contents met under the final name."""
    rng = random.Random(SEED)
    seen = [final.read_bytes()]
    old = seen[0]
    started = time.monotonic()
    must(*command)
    seconds = time.monotonic() - started
    seen.append(final.read_bytes())
    kills, horizon = 0, 1.1 * seconds
    for _ in range(20 * KILLS):
        final.write_bytes(old)
        process = subprocess.Popen([REEL, *map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(0, horizon))
        process.kill()
        killed = process.wait() == -9
        kills += killed
        # a machine that became faster or slower since the first run must not make most kills come too late or early
        horizon *= 1.02 if killed else 0.9
        must("verify", final)
        content = final.read_bytes()
        assert content in seen, "neither the old file nor the new one"
        if kills == KILLS:
            break
    assert kills == KILLS, f"only {kills} of {20 * KILLS} runs were still going when they were killed"
    # Unnamed temporary files vanish with the process; in the microseconds between naming and renaming one, or on
    # a file system without unnamed files, it may stay behind under a name of its own.
    left = [name for name in os.listdir(final.parent) if name != final.name]
    assert all(name.startswith(final.name + ".") and name.endswith(".tmp") for name in left), left
    must(*command)
    assert final.read_bytes() == seen[1]
    return seen


def test_import(tmp_path, smaller_data):
    final = tmp_path / "set.reel"
    must("import", smaller_data, "-o", final)
    old, new = kill_often(final, ["import", DATA, "-o", final])
    assert old != new


def test_train(tmp_path):
    dataset = tmp_path / "set.reel"
    must("import", DATA, "-o", dataset)
    folder = tmp_path / "models"
    folder.mkdir()
    final = folder / "svd.model"
    must("train", dataset, "-m", "svd", "-p", "epochs=1", "-p", "factors=16", "-o", final)
    old, new = kill_often(final, ["train", dataset, "-m", "svd", "-p", "epochs=2", "-p", "factors=32", "-o", final])
    assert old != new
