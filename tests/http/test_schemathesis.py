"""schemathesis drives everything that /openapi.json describes, all checks on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from service import API_KEY, token

EXAMPLES = os.environ.get("REEL_SCHEMATHESIS_EXAMPLES", "5")
SEED = os.environ.get("REEL_TEST_SEED", "1")


def schemathesis(service, folder, *args):
    program = Path(sys.executable).with_name("schemathesis")
    if not program.exists():
        pytest.skip("schemathesis is not installed beside this Python")
    done = subprocess.run(
        [program, "run", service.url + "/openapi.json", "--checks", "all", "--max-examples", EXAMPLES, "--seed", SEED,
         "--no-color", *args], capture_output=True, text=True, cwd=folder, timeout=1200)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert service.alive()


def test_authenticated(start, tmp_path):
    schemathesis(start(store=tmp_path / "live.db"), tmp_path, "-H", f"X-API-Key: {API_KEY}")


def test_not_authenticated(start, tmp_path):
    """Reading needs no key here, and test_authenticated reads."""
    schemathesis(start(store=tmp_path / "live.db"), tmp_path, "--exclude-method", "GET", "--phases", "coverage")


def test_everything_needs_a_token(start, tmp_path):
    bearer = token({"exp": 4102444800, "scope": "write"})
    service = start("--auth-all", store=tmp_path / "live.db")
    schemathesis(service, tmp_path, "-H", f"Authorization: Bearer {bearer}", "--phases", "fuzzing")


def test_without_models(start, tmp_path):
    """Nothing but the dataset: what needs a model, clusters or a store is a documented problem."""
    schemathesis(start(models={}, clusters=False, auth=False), tmp_path, "--phases", "coverage")
