"""--device and what doctor and --version say of devices, with or without a GPU here."""

import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
os.environ.setdefault("REEL_EMULATED_DEVICES", "2")  # heeded by a build with -DREEL_CUDA=EMULATED alone
REEL = os.environ.get("REEL_BIN", str(ROOT / "build" / "release" / "reel"))


def reel(*args):
    return subprocess.run([REEL, *args], capture_output=True, text=True)


def doctor():
    done = reel("doctor", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


FACTS = doctor()
SAID_COMPILED = FACTS["devices_compiled"].split()
SAID_USABLE = FACTS["devices_usable"].split()
# A build with -DREEL_CUDA=EMULATED says so; to the tests its device is as good as a GPU.
COMPILED = [device.removesuffix("-emulated") for device in SAID_COMPILED]
USABLE = [device.removesuffix("-emulated") for device in SAID_USABLE]
EMULATED = "cuda-emulated" in SAID_COMPILED


def test_doctor_agrees_with_itself():
    assert COMPILED in (["cpu"], ["cpu", "cuda"]) and USABLE in (["cpu"], ["cpu", "cuda"])
    assert SAID_USABLE == SAID_COMPILED[:len(SAID_USABLE)]
    assert set(USABLE) <= set(COMPILED)
    assert bool(FACTS["gpus"]) == ("cuda" in USABLE)
    complaints = [line for line in FACTS["missing"] if line.startswith("CUDA")]
    assert len(complaints) == (0 if "cuda" in USABLE else 1)
    for gpu in FACTS["gpus"]:
        assert gpu["name"] and gpu["memory_gib"] > 0


def test_version_names_compiled_and_usable_devices():
    lines = reel("--version").stdout.splitlines()
    assert lines[1].split(":")[1].split() == SAID_COMPILED
    assert lines[2].split(":")[1].split() == SAID_USABLE


def test_cpu_always_works():
    assert reel("doctor", "--device", "cpu").returncode == 0


@pytest.mark.skipif("cuda" in USABLE, reason="a GPU is here")
@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:3", "cuda:all", "cuda:0+1"])
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


@pytest.mark.skipif("cuda" not in USABLE, reason="no usable GPU here")
def test_all_gpus():
    done = reel("doctor", "--device", "cuda:all")
    assert done.returncode == 0
    assert ("cuda:all is cuda:0" in done.stderr) == (len(FACTS["gpus"]) == 1)
    done = reel("doctor", "--device", f"cuda:0+{len(FACTS['gpus'])}")
    assert done.returncode == 1 and f"there is no cuda:{len(FACTS['gpus'])}" in done.stderr


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:99999", "", "c" * 100, "cuda:0+0",
                                    "cuda:0+", "cuda:+1", "cuda:0,1", "cuda:all+1", "cuda:" + "+".join("0123456789" * 2)])
def test_no_such_device_is_wrong_usage(device):
    done = reel("doctor", "--device", device)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1 and "no such device" in done.stderr


@pytest.fixture(scope="session")
def dataset(tmp_path_factory):
    """The embedded data; of every third user alone where the device is emulated, which takes minutes for all."""
    path, folder = tmp_path_factory.mktemp("device") / "small.reel", ROOT / "data" / "ml-latest-small"
    if EMULATED:
        header, *lines = (folder / "ratings.csv").read_text().splitlines(keepends=True)
        movies, folder = folder / "movies.csv", path.parent
        shutil.copy(movies, folder)
        (folder / "ratings.csv").write_text(header + "".join(line for line in lines if int(line.split(",")[0]) % 3 == 0))
    done = reel("import", str(folder), "-o", str(path), "--quiet")
    assert done.returncode == 0, done.stderr
    return path


def on_both(*args, out):
    """The command's JSON and the file it wrote, on the CPU and on the GPU."""
    answers = []
    for device in ("cpu", "cuda"):
        path = out.with_name(f"{device}-{out.name}")
        done = reel(*args, "--device", device, "--json", "--quiet", "-o", str(path))
        assert done.returncode == 0, done.stderr
        answers.append((json.loads(done.stdout), path.read_bytes()))
    return answers


@pytest.mark.skipif(not EMULATED, reason="only an emulated device (REEL_EMULATED_MEMORY) can be made too small")
@pytest.mark.parametrize("algorithm", ["svd", "als", "bmf", "gbdt"])
def test_too_little_memory_says_how_much_is_needed(dataset, tmp_path, algorithm):
    out = tmp_path / "model.reel"
    done = subprocess.run([REEL, "train", str(dataset), "-m", algorithm, "--device", "cuda", "--quiet", "-o", str(out)],
                          capture_output=True, text=True, env={**os.environ, "REEL_EMULATED_MEMORY": "1"})
    assert done.returncode == 1 and not out.exists()
    (line,) = done.stderr.splitlines()
    assert re.search(rf"{algorithm} needs \d+ MiB of the cuda device's memory, [01] MiB are free", line)


# What takes an emulated device minutes is cut short there: its work goes through the same kernels.
SVD = ["factors=20", "epochs=4"] if EMULATED else ["factors=20"]
ALS = ["factors=8", "iterations=2"] if EMULATED else ["factors=16", "iterations=15"]
BMF = ["factors=8", "samples=2", "burn_in=1"] if EMULATED else ["factors=16", "samples=20"]
SETS = ["factors=4", "samples=1", "burn_in=0"] if EMULATED else ["factors=8", "samples=10"]


# Bounds: svd on one grid is the same operations in the same order; als and bmf differ in the order of
# the back substitution and in the last place of the noise (tests/ops/test_device_factors.c), which 15 iterations carry
# on to some 1e-4 of a star at most.
@pytest.mark.skipif("cuda" not in USABLE, reason="no usable GPU here")
@pytest.mark.parametrize("algorithm,params,bound", [
    ("svd", [*SVD, "bands=8"], 0.0),
    ("svd", SVD, 0.002),  # the GPU's own grid
    ("als", ALS, 0.0005),
    ("bmf", BMF, 0.0005),
    ("bmf", [*SETS, "implicit_sets=1", "time=1"], 0.002),
])
def test_training_on_both_devices(dataset, tmp_path, algorithm, params, bound):
    words = [word for param in params for word in ("-p", param)]
    (cpu, _), (cuda, _) = on_both("train", str(dataset), "-m", algorithm, *words, "--holdout", "0.1", "--seed", "3",
                                  out=tmp_path / "model.reel")
    assert abs(cpu["rmse"] - cuda["rmse"]) <= bound + 1e-12
    assert cuda["device"] == "cuda"


# The last two go the way of the CPU on both: only squared errors and three levels have operators of their own.
@pytest.mark.skipif("cuda" not in USABLE, reason="no usable GPU here")
@pytest.mark.parametrize("params", [
    ["n_estimators=4"], ["n_estimators=4", "max_depth=1"],
    ["n_estimators=4", "max_depth=2", "year=1", "hour=1", "max_features=0.3"],
    ["n_estimators=4", "min_samples_leaf=9000"], ["n_estimators=4", "min_samples_leaf=60000"],
    ["n_estimators=2", "means=loo"],
    ["n_estimators=4", "max_depth=5"], ["n_estimators=4", "loss=absolute"],
])
def test_trees_are_the_same_file(dataset, tmp_path, params):
    words = [word for param in params for word in ("-p", param)]
    (_, cpu), (_, cuda) = on_both("train", str(dataset), "-m", "gbdt", *words, out=tmp_path / "trees.reel")
    assert cpu == cuda


@pytest.mark.skipif(len(FACTS["gpus"]) < 2, reason="fewer than two usable GPUs here")
def test_all_gpus_write_the_file_of_one(dataset, tmp_path):
    model, files = tmp_path / "als.reel", []
    for device in ("cuda:0", "cuda:all"):
        done = reel("train", str(dataset), "-m", "als", "-p", "factors=4", "-p", "iterations=2", "--device", device,
                    "--json", "--quiet", "-o", str(model))
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["device"] == (
            "cuda" if device == "cuda:0" else "cuda:" + "+".join(str(i) for i in range(len(FACTS["gpus"]))))
        lists = tmp_path / "top.csv"
        done = reel("recommend", str(dataset), "--model", str(model), "--all", "-n", "5", "--device", device, "--quiet",
                    "-o", str(lists))
        assert done.returncode == 0, done.stderr
        files.append((model.read_bytes(), lists.read_bytes()))
    assert files[0] == files[1]


@pytest.mark.skipif(len(FACTS["gpus"]) < 2, reason="fewer than two usable GPUs here")
def test_work_that_is_not_shared_says_so(dataset, tmp_path):
    done = reel("train", str(dataset), "-m", "svd", "-p", "factors=2", "-p", "epochs=1", "-p", "bands=2", "--device",
                "cuda:0+1", "-o", str(tmp_path / "svd.reel"))
    assert done.returncode == 0, done.stderr
    assert "the first of cuda:0+1 works alone" in done.stderr


@pytest.mark.skipif("cuda" not in USABLE, reason="no usable GPU here")
@pytest.mark.parametrize("affinity", ["polynomial", "cosine", "linear", "rbf", "neighbors"])
def test_clusters_are_the_same_file(dataset, tmp_path, affinity):
    (_, cpu), (_, cuda) = on_both("cluster", str(dataset), "-k", "4", "--affinity", affinity,
                                  out=tmp_path / "clusters.reel")
    assert cpu == cuda


@pytest.mark.skipif("cuda" not in USABLE, reason="no usable GPU here")
@pytest.mark.parametrize("algorithm,params", [("svd", ["epochs=3"]), ("gbdt", ["n_estimators=30"])])
def test_lists_are_the_same_file(dataset, tmp_path, algorithm, params):
    model = tmp_path / "model.reel"
    words = [word for param in params for word in ("-p", param)]
    done = reel("train", str(dataset), "-m", algorithm, *words, "--device", "cpu", "--quiet", "-o", str(model))
    assert done.returncode == 0, done.stderr
    (_, cpu), (_, cuda) = on_both("recommend", str(dataset), "--model", str(model), "--all", "-n", "20",
                                  out=tmp_path / "top.csv")
    assert cpu == cuda


@pytest.mark.skipif("cuda" not in USABLE, reason="no usable GPU here")
@pytest.mark.parametrize("algorithm,params", [("svd", ["epochs=3"]), ("als", ["iterations=2"]),
                                              ("bmf", ["samples=3", "factors=8"]), ("gbdt", ["n_estimators=30"])])
def test_predictions_are_the_same_file(dataset, tmp_path, algorithm, params):
    model = tmp_path / "model.reel"
    words = [word for param in params for word in ("-p", param)]
    done = reel("train", str(dataset), "-m", algorithm, *words, "--device", "cpu", "--quiet", "-o", str(model))
    assert done.returncode == 0, done.stderr
    (_, cpu), (_, cuda) = on_both("predict", str(dataset), "--model", str(model), "--pairs",
                                  str(ROOT / "data" / "ml-latest-small" / "ratings.csv"), out=tmp_path / "scores.npy")
    assert cpu == cuda


@pytest.mark.skipif("cuda" not in USABLE, reason="no usable GPU here")
@pytest.mark.parametrize("by", ["genre", "factors"])
def test_similar_movies_are_the_same_file(dataset, tmp_path, by):
    model = tmp_path / "svd.reel"
    done = reel("train", str(dataset), "-m", "svd", "-p", "epochs=2", "-p", "factors=20", "--device", "cpu", "--quiet",
                "-o", str(model))
    assert done.returncode == 0, done.stderr
    (_, cpu), (_, cuda) = on_both("similar", str(dataset), "--all", "--by", by, "--model", str(model), "-n", "15",
                                  out=tmp_path / "similar.npy")
    assert cpu == cuda
