"""reel info and reel verify, on files of ours and of others."""

import json
import os
import pathlib
import struct
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
REEL = os.environ.get("REEL_BIN", str(ROOT / "build" / "release" / "reel"))
DATA = ROOT / "data" / "ml-latest-small"


def reel(*args):
    return subprocess.run([REEL, *map(str, args)], capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    path = tmp_path_factory.mktemp("verify") / "small.reel"
    result = reel("import", DATA, "-o", path)
    assert result.returncode == 0, result.stderr
    return path


@pytest.fixture
def foreign(tmp_path):
    """A file as another program would write it: no hashes."""
    header = json.dumps({"__metadata__": {"made by": "hand"},
                         "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}).encode()
    header += b" " * (-len(header) % 8)
    path = tmp_path / "foreign.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(24))
    return path


def test_info_of_a_dataset(dataset):
    answer = json.loads(reel("info", dataset, "--json").stdout)
    assert answer["kind"] == "dataset" and answer["ok"] is True
    assert answer["metadata"]["format"] == "reel-dataset"
    assert not [key for key in answer["metadata"] if "xxh3" in key]
    tensors = {tensor["name"]: tensor for tensor in answer["tensors"]}
    assert tensors["user_ids"]["dtype"] == "I32" and tensors["user_ids"]["shape"] == [671]
    assert all(len(tensor["xxh3"]) == 16 for tensor in tensors.values())
    assert answer["tensor_bytes"] == sum(tensor["bytes"] for tensor in answer["tensors"])
    text = reel("info", dataset).stdout
    assert "reel-dataset" in text and "user_ids" in text and "[671]" in text


def test_verify_a_dataset(dataset):
    result = reel("verify", dataset)
    assert result.returncode == 0 and ": ok (dataset, " in result.stdout
    answer = json.loads(reel("verify", dataset, "--json").stdout)
    assert answer["kind"] == "dataset" and answer["ok"] is True


def test_verify_finds_damage(dataset, tmp_path):
    good = dataset.read_bytes()
    copy = tmp_path / "copy.reel"
    for at in range(9, len(good), len(good) // 40):
        damaged = bytearray(good)
        damaged[at] ^= 0x10
        copy.write_bytes(damaged)
        result = reel("verify", copy)
        assert result.returncode == 1, f"byte {at}: {result.stdout}"
        assert result.stderr.startswith(f"reel: {copy}: ") and result.stderr.count("\n") == 1
    for size in (0, 7, 8, 100, len(good) // 2, len(good) - 1):
        copy.write_bytes(good[:size])
        for command in ("info", "verify"):
            result = reel(command, copy)
            assert result.returncode == 1 and result.stderr.startswith(f"reel: {copy}: "), (command, size)


def test_files_of_others(foreign):
    answer = json.loads(reel("info", foreign, "--json").stdout)
    assert answer["kind"] == "other" and answer["metadata"] == {"made by": "hand"}
    assert answer["tensors"] == [{"name": "a", "dtype": "F32", "shape": [2, 3], "bytes": 24, "xxh3": None}]
    assert "[2, 3]" in reel("info", foreign).stdout
    result = reel("verify", foreign, "--json")
    assert result.returncode == 1
    assert json.loads(result.stdout)["error"]["code"] == "corrupt"


def test_no_such_file(tmp_path):
    for command in ("info", "verify"):
        result = reel(command, tmp_path / "absent")
        assert result.returncode == 1
        assert result.stderr == f"reel: {tmp_path}/absent: cannot be opened: No such file or directory\n"
        assert reel(command, tmp_path).returncode == 1
        assert reel(command).returncode == 2


def test_python_opens_our_files(dataset):
    """One line in NumPy, as promised; safetensors' own reader allows no holes between tensors."""
    numpy = pytest.importorskip("safetensors.numpy", reason="Python package safetensors is not installed")
    tensors = numpy.load_file(dataset)
    assert tensors["user_ids"].shape == (671,)
    assert tensors["user_offsets"][-1] == len(tensors["user_movies"])
    assert sorted(set(tensors["user_ratings"]))[-1] <= 10
    assert not [name for name in tensors if name.startswith("__pad.") and tensors[name].any()]
