"""--device and what doctor and --version say of devices, with or without a GPU here."""

import json
import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
REEL = os.environ.get("REEL_BIN", str(ROOT / "build" / "release" / "reel"))


def reel(*args):
    return subprocess.run([REEL, *args], capture_output=True, text=True)


def doctor():
    done = reel("doctor", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


FACTS = doctor()
COMPILED = FACTS["devices_compiled"].split()
USABLE = FACTS["devices_usable"].split()


def test_doctor_agrees_with_itself():
    assert COMPILED in (["cpu"], ["cpu", "cuda"]) and USABLE in (["cpu"], ["cpu", "cuda"])
    assert set(USABLE) <= set(COMPILED)
    assert bool(FACTS["gpus"]) == ("cuda" in USABLE)
    complaints = [line for line in FACTS["missing"] if line.startswith("CUDA")]
    assert len(complaints) == (0 if "cuda" in USABLE else 1)
    for gpu in FACTS["gpus"]:
        assert gpu["name"] and gpu["memory_gib"] > 0


def test_version_names_compiled_and_usable_devices():
    lines = reel("--version").stdout.splitlines()
    assert lines[1].split(":")[1].split() == COMPILED
    assert lines[2].split(":")[1].split() == USABLE


def test_cpu_always_works():
    assert reel("doctor", "--device", "cpu").returncode == 0


@pytest.mark.skipif("cuda" in USABLE, reason="a GPU is here")
@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:3"])
def test_cuda_without_a_gpu_is_one_clear_line(device):
    done = reel("doctor", "--device", device)
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("reel: ")
    if "cuda" in COMPILED:
        assert "NVIDIA driver" in line
    else:
        assert "-DREEL_CUDA=ON" in line
    done = reel("doctor", "--device", device, "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"]["code"] == "device"


@pytest.mark.skipif("cuda" not in USABLE, reason="no usable GPU here")
def test_cuda_with_a_gpu():
    assert reel("doctor", "--device", "cuda").returncode == 0
    done = reel("doctor", "--device", "cuda:1023")
    assert done.returncode == 1 and "there is no cuda:1023" in done.stderr


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:99999", "", "c" * 100])
def test_no_such_device_is_wrong_usage(device):
    done = reel("doctor", "--device", device)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1 and "no such device" in done.stderr
