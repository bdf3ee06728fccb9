"""als and bmf on the command line: kill -9 and resume, the same bytes at any thread count, warm starts, odd data, bad
parameters, visitors, predictive intervals."""

import random
import signal
import subprocess
import time

import pytest
from eval_tools import REEL, SHARED, reel, reel_json, refused, run, small  # noqa: F401

EVERYTHING = ["-p", "time=1", "-p", "implicit_sets=1", "-p", "flipped=1"]
FITS = {
    "als": ["-m", "als", "-p", "factors=16", "-p", "iterations=60"],
    "als-implicit-cg": ["-m", "als", "-p", "factors=16", "-p", "iterations=60", "-p", "implicit=1", "-p", "solver=cg"],
    "bmf": ["-m", "bmf", "-p", "factors=8", "-p", "samples=60"],
    "bmf-everything": ["-m", "bmf", "-p", "factors=4", "-p", "samples=40", *EVERYTHING],
}
KILLS = 4


@pytest.fixture(scope="module")
def folds10(small, tmp_path_factory):  # noqa: F811
    folder = tmp_path_factory.mktemp("folds10")
    reel("split", small, "--folds", 10, "--seed", 1, "-o", folder)
    return folder


def train(dataset, out, *options):
    return reel("train", dataset, *options, "-o", out, "--progress", "none")


@pytest.mark.parametrize("name", FITS)
def test_killed_and_resumed_is_the_same_file(small, tmp_path, name):  # noqa: F811
    whole, final, folder = tmp_path / "whole.reel", tmp_path / "final.reel", tmp_path / "checkpoints"
    begun = time.monotonic()
    train(small, whole, *FITS[name], "--holdout", 0.1)
    seconds = time.monotonic() - begun
    command = [REEL, "train", small, *FITS[name], "--holdout", 0.1, "--checkpoint", folder, "--checkpoint-every", 3]
    command = [str(part) for part in [*command, "--resume", "-o", final, "--progress", "none"]]
    rng, kills = random.Random(name), 0
    for _ in range(10 * KILLS):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(0.1, 0.9) * seconds / KILLS)
        process.kill()
        kills += process.wait() == -signal.SIGKILL
        if final.exists():
            assert final.read_bytes() == whole.read_bytes()
            final.unlink()
        if kills == KILLS:
            break
    assert kills > 0, "the fit always ended before it was killed"
    assert {path.name for path in folder.glob("checkpoint-?.reel")} <= {"checkpoint-0.reel", "checkpoint-1.reel"}
    done = run(*command[1:])
    assert done.returncode == 0, done.stderr
    assert final.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("name", FITS)
def test_same_bytes_at_any_thread_count(small, tmp_path, name):  # noqa: F811
    options = [option.replace("=60", "=6").replace("=40", "=6") for option in FITS[name]]
    files = []
    for threads in (1, 2, 5):
        train(small, tmp_path / f"{threads}.reel", *options, "--threads", threads, "--holdout", 0.1)
        files.append((tmp_path / f"{threads}.reel").read_bytes())
    assert files[0] == files[1] == files[2]


def test_checkpoints_of_another_run_are_refused(small, tmp_path):  # noqa: F811
    folder = tmp_path / "checkpoints"
    options = ["train", small, "-m", "als", "--checkpoint", folder, "--checkpoint-every", 2, "-o", tmp_path / "m.reel"]
    reel(*options, "-p", "factors=4", "--progress", "none")
    line = refused(1, *options, "-p", "factors=5", "--resume")
    assert "another run" in line and "params.factors is 4 there and 5 here" in line


# ---- warm starts ----


def epochs(dataset, out, *options):
    return reel_json("train", dataset, *options, "-o", out)["epochs"]


@pytest.mark.parametrize("start", ["als", "svd", "bmf"])
def test_warm_start(small, folds10, tmp_path, start):  # noqa: F811
    test = ["--test", folds10 / "fold1.test.csv"]
    old, new = tmp_path / "old.reel", tmp_path / "new.reel"
    train(small, old, "-m", start, "-p", "factors=8", *test)
    als = ["-m", "als", "-p", "factors=8", "-p", "iterations=2", *test]
    cold, warm = epochs(small, new, *als), epochs(small, new, *als, "-p", f"init={old}")
    assert warm[0]["test_rmse"] < cold[0]["test_rmse"] - 0.05  # epoch 0 is before any work
    if start == "als":
        assert warm[0]["test_rmse"] == pytest.approx(
            reel_json("eval", small, "--model", old, *test)["rmse"], abs=1e-6
        )
    metadata = reel_json("info", new)["metadata"]
    assert metadata["params.init"].startswith(start + " ") and str(tmp_path) not in str(metadata)


def test_warm_start_refusals(small, tmp_path):  # noqa: F811
    old, out = tmp_path / "old.reel", tmp_path / "new.reel"
    train(small, old, "-m", "als", "-p", "factors=8", "-p", "iterations=1")
    assert "has 8 factors, this fit has 9" in refused(
        2, "train", small, "-m", "als", "-p", "factors=9", "-p", f"init={old}", "-o", out
    )
    assert "cannot start from this als model" in refused(
        2, "train", small, "-m", "als", "-p", "factors=8", "-p", "implicit=1", "-p", f"init={old}", "-o", out
    )
    refused(1, "train", small, "-m", "als", "-p", f"init={tmp_path / 'none.reel'}", "-o", out)
    assert not out.exists()


def test_leaky_warm_start_is_said(small, tmp_path):  # noqa: F811
    old = tmp_path / "old.reel"
    train(small, old, "-m", "als", "-p", "factors=8", "-p", "iterations=1")
    done = run("train", small, "-m", "als", "-p", "factors=8", "-p", "iterations=1", "-p", f"init={old}",
               "--holdout", 0.1, "-o", tmp_path / "new.reel", "--progress", "none")  # fmt: skip
    assert done.returncode == 0 and "may have seen held-out ratings" in done.stderr


# ---- odd data, bad parameters ----


def imported(folder, ratings):
    """Dataset of (user, movie, stars, time) rows; movies 1..9 exist, whoever rated them."""
    folder.mkdir()
    (folder / "movies.csv").write_text("movieId,title,genres\n" + "".join(f"{m},M{m} (2000),Drama\n" for m in range(1, 10)))
    rows = "".join(f"{u},{m},{stars},{when}\n" for u, m, stars, when in ratings)
    (folder / "ratings.csv").write_text("userId,movieId,rating,timestamp\n" + rows)
    reel("import", folder, "-o", folder / "odd.reel")
    return folder / "odd.reel"


GRID = [(u, m, 0.5 * (1 + (3 * u + 5 * m) % 10), 86400 * (u + 7 * m)) for u in range(1, 13) for m in range(1, 8)]
ODD = {
    "a user with one rating": [*GRID, (99, 3, 4.5, 5)],
    "a movie with one rating": [*GRID, (3, 8, 0.5, 5)],
    "all ratings equal": [(u, m, 3.5, when) for u, m, _, when in GRID],
    "one rating": [(1, 1, 4.0, 0)],
    "one user": [row for row in GRID if row[0] == 1],
    "one movie": [row for row in GRID if row[1] == 1],
}


@pytest.mark.parametrize("what", ODD)  # movie 9 never has a rating
def test_odd_data_gives_finite_scores(tmp_path, what):
    dataset = imported(tmp_path / "odd", ODD[what])
    (tmp_path / "pairs.csv").write_text("userId,movieId\n" + "".join(f"{u},{m}\n" for u in (1, 3, 99, 7777) for m in (1, 3, 8, 9)))
    (tmp_path / "mine.csv").write_text("movieId,rating\n9,5\n1,2\n")
    recipes = [("-m", "als"), ("-m", "als", "-p", "implicit=1", "-p", "solver=cg"), ("-m", "als", "-p", "weighted=0")]
    recipes += [("-m", "bmf", "-p", "samples=5"), ("-m", "bmf", "-p", "samples=5", *EVERYTHING)]
    for recipe in recipes:
        train(dataset, tmp_path / "m.reel", *recipe, "-p", "factors=4")
        reel("verify", tmp_path / "m.reel")
        reel("predict", dataset, "--model", tmp_path / "m.reel", "--pairs", tmp_path / "pairs.csv", "-o", tmp_path / "s.csv")
        scores = [float(line.split(",")[2]) for line in (tmp_path / "s.csv").read_text().splitlines()[1:]]
        assert len(scores) == 16 and all(0.5 <= score <= 5 for score in scores), (recipe, scores)
        answer = reel_json("recommend", dataset, "--model", tmp_path / "m.reel", "--rated", tmp_path / "mine.csv")
        assert all(0.5 <= item["score"] <= 5 for item in answer["items"])
        if "bmf" in recipe:
            assert all(0 < item["sd"] < 10 for item in answer["items"])


@pytest.mark.parametrize(
    "algorithm, key, value",
    [
        *[("als", key, value) for key, value in [("factors", 0), ("factors", 257), ("alpha", 0), ("alpha", -1)]],
        *[("als", "regularization", value) for value in (0, -1, "nan", "inf", "x")],
        *[("als", key, value) for key, value in [("iterations", -1), ("cg_steps", 0), ("solver", "qr"), ("lambda", 1)]],
        *[("bmf", key, value) for key, value in [("factors", 0), ("factors", 257), ("samples", 0), ("burn_in", -1)]],
        *[("bmf", key, value) for key, value in [("keep", 0), ("init_std", "nan"), ("time", "maybe"), ("alpha", 1)]],
    ],
)
def test_parameters_out_of_range(small, tmp_path, algorithm, key, value):  # noqa: F811
    line = refused(2, "train", small, "-m", algorithm, "-p", f"{key}={value}", "-o", tmp_path / "m.reel")
    assert key in line and not (tmp_path / "m.reel").exists()


# ---- visitors and intervals ----


def test_equal_visitors_get_equal_answers_with_deviations(small, tmp_path):  # noqa: F811
    model = tmp_path / "m.reel"
    train(small, model, "-m", "bmf", "-p", "samples=30")
    (tmp_path / "few.csv").write_text("movieId,rating\n1,5\n")
    (tmp_path / "many.csv").write_text("movieId,rating\n" + "".join(f"{m},4\n" for m in (1, 2, 3, 5, 6, 7, 10, 16, 17, 19, 21, 25)))
    asked = ["recommend", small, "--model", model, "--min-ratings", 50, "-n", 50]
    few, many = (reel_json(*asked, "--rated", tmp_path / name)["items"] for name in ("few.csv", "many.csv"))
    assert few == reel_json(*asked, "--rated", tmp_path / "few.csv", "--threads", 5)["items"]
    average = [sum(item["sd"] for item in items) / len(items) for items in (few, many)]
    assert average[1] < average[0], "twelve ratings tell more than one"
    assert "+-" in reel(*asked, "--rated", tmp_path / "few.csv")


def coverage(dataset, folds, tmp_path, *options):
    test = ["--test", folds / "fold1.test.csv"]
    train(dataset, tmp_path / "m.reel", "-m", "bmf", *options, *test)
    answer = reel_json("eval", dataset, "--model", tmp_path / "m.reel", *test)
    assert answer["interval_level"] == 0.9 and 0 < answer["interval_half_width"] < 3
    return answer["interval_coverage"]


def test_intervals_of_the_small_data(small, folds10, tmp_path):  # noqa: F811
    assert 0.87 < coverage(small, folds10, tmp_path) < 0.93
    assert "90 % predictive intervals" in reel(
        "eval", small, "--model", tmp_path / "m.reel", "--test", folds10 / "fold1.test.csv"
    )
    train(small, tmp_path / "svd.reel", "-m", "svd", "-p", "epochs=1")
    answer = reel_json("eval", small, "--model", tmp_path / "svd.reel", "--test", folds10 / "fold1.test.csv")
    assert "interval_coverage" not in answer


@pytest.mark.skipif(not (SHARED / "ml-1m").is_dir(), reason="ml-1m is not here (REEL_SHARED_DATA)")
@pytest.mark.parametrize("options", [[], EVERYTHING], ids=["plain", "everything"])
def test_intervals_of_ml_1m_are_honest(tmp_path, options):
    dataset = tmp_path / "ml1m.reel"
    reel("import", SHARED / "ml-1m", "-o", dataset)
    reel("split", dataset, "--folds", 10, "--seed", 1, "-o", tmp_path / "folds")
    assert 0.88 <= coverage(dataset, tmp_path / "folds", tmp_path, "-p", "samples=40", *options) <= 0.92
