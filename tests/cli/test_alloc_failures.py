"""Every allocation may fail: import and train then end with one clear line and leave nothing behind.

tests/faults/fail_alloc.c, preloaded, lets the N-th allocation of a run fail; with `sticky` every later one too.
"""

import os
import pathlib
import random
import sqlite3
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
REEL = os.environ.get("REEL_BIN", str(ROOT / "build" / "release" / "reel"))
INJECTOR = pathlib.Path(REEL).parent / "tests" / "fail_alloc.so"
DATA = ROOT / "data" / "ml-latest-small"
SEED = int(os.environ.get("REEL_TEST_SEED", "1"))

pytestmark = pytest.mark.skipif(not INJECTOR.exists(), reason=f"{INJECTOR} is not built (a sanitizer, or not Linux)")


def run(args, **variables):
    environment = dict(os.environ, LD_PRELOAD=str(INJECTOR), **variables)
    return subprocess.run([REEL, *map(str, args)], capture_output=True, text=True, timeout=120, env=environment)


def sample(count, n):
    """n of 1..count: the first thirty (set-up is where most code is), the rest spread at random."""
    first = list(range(1, min(count, 30) + 1))
    rest = range(len(first) + 1, count + 1)
    return first + sorted(random.Random(SEED).sample(rest, min(n - len(first), len(rest))))


def sweep(args, folder, n):
    """Runs `reel ARGS -o folder/out` with each sampled allocation failing. Returns (failed, went on)."""
    out, counter = folder / "out", folder / "count"
    args = [*args, "-o", out, "--threads", 2, "--quiet"]
    result = run(args, FAIL_ALLOC_COUNT=str(counter))
    assert result.returncode == 0, result.stderr
    count, good = int(counter.read_text()), out.read_bytes()
    assert count > 100
    counter.unlink()
    failed = went_on = 0
    for at in sample(count, n):
        sticky = str(at % 2)
        out.unlink(missing_ok=True)
        result = run(args, FAIL_ALLOC_AT=str(at), FAIL_ALLOC_STICKY=sticky)
        what = f"allocation {at} of {count}, sticky {sticky}: exit {result.returncode}\n{result.stderr}"
        if result.returncode == 0:
            # Something that a run can do without: a stdio buffer, the progress display.
            went_on += 1
            assert result.stderr == "", what
            assert out.read_bytes() == good, what
        else:
            failed += 1
            assert result.returncode == 1, what
            assert result.stderr.startswith("reel: ") and result.stderr.count("\n") == 1, what
            assert "memory" in result.stderr or "thread" in result.stderr, what
            assert os.listdir(folder) == [], what
    return failed, went_on


def test_import(tmp_path):
    failed, went_on = sweep(["import", DATA], tmp_path, 120)
    assert failed > went_on


@pytest.mark.parametrize("algorithm", ["bias", "svd"])
def test_train(tmp_path, algorithm):
    dataset = tmp_path / "small.reel"
    result = run(["import", DATA, "-o", dataset])
    assert result.returncode == 0, result.stderr
    folder = tmp_path / "train"
    folder.mkdir()
    parameters = ["-p", "epochs=1", "-p", "factors=8"] if algorithm == "svd" else []
    failed, went_on = sweep(["train", dataset, "-m", algorithm, *parameters, "--holdout", "0.1"], folder, 90)
    assert failed > went_on


def test_info_and_verify(tmp_path):
    dataset = tmp_path / "small.reel"
    assert run(["import", DATA, "-o", dataset]).returncode == 0
    for command in ("info", "verify"):
        good = run([command, dataset]).stdout
        for at in [*range(1, 20), *range(20, 1200, 60)]:
            result = run([command, dataset], FAIL_ALLOC_AT=str(at))
            if result.returncode == 0:
                assert result.stdout == good and result.stderr == ""
            else:
                assert result.returncode == 1 and result.stdout == ""
                assert result.stderr.startswith("reel: ") and result.stderr.count("\n") == 1
                assert "memory" in result.stderr or "thread" in result.stderr


def need_service():
    if "no service" in subprocess.run([REEL, "jobs", "--help"], capture_output=True, text=True).stdout:
        pytest.skip("this build has no service (REEL_SERVE=OFF)")


def test_live_ratings_into_a_dataset(tmp_path):
    need_service()
    dataset, store = tmp_path / "small.reel", tmp_path / "reel.db"
    assert run(["import", DATA, "-o", dataset]).returncode == 0
    assert run(["jobs", store, "--submit", '{"kind":"cluster"}']).returncode == 0
    with sqlite3.connect(store) as database:
        database.execute("INSERT INTO ratings VALUES(1, 1, 9, 2000000000), (9999, 31, NULL, 2), (9999, 1, 3, 2)")
    database.close()
    folder = tmp_path / "merge"
    folder.mkdir()
    failed, went_on = sweep(["import", "--store", store, "--from", dataset], folder, 90)
    assert failed > went_on


def test_submitting_a_job(tmp_path):
    need_service()
    store, counter = tmp_path / "reel.db", tmp_path / "count"
    command = ["jobs", store, "--quiet", "--submit", '{"kind":"train","algorithm":"svd","params":{"epochs":3}}']
    assert run(command, FAIL_ALLOC_COUNT=str(counter)).returncode == 0
    stored = 1
    for at in sample(int(counter.read_text()), 90):
        result = run(command, FAIL_ALLOC_AT=str(at), FAIL_ALLOC_STICKY=str(at % 2))
        if result.returncode != 0:
            assert result.returncode == 1 and result.stdout == ""
            assert result.stderr.startswith("reel: ") and result.stderr.count("\n") == 1, result.stderr
            # jansson 2.14 takes a failed allocation for the end of the text.
            assert any(word in result.stderr for word in ("memory", "thread", "not JSON")), (at, result.stderr)
        with sqlite3.connect(store) as database:
            jobs = database.execute("SELECT count(*) FROM jobs").fetchone()[0]
        database.close()
        # What failed before its commit is not there; a failure after it, in the listing, may follow.
        assert jobs - stored in ((0, 1) if result.returncode else (1,))
        stored = jobs
