"""reel jobs and reel import --store: a service's store on the command line."""

import csv
import json
import shutil
import signal
import sqlite3
import subprocess
import time

import pytest

from eval_tools import EMBEDDED, REEL, reel, reel_json, refused, run, small  # noqa: F401

pytestmark = pytest.mark.skipif(
    "no service" in run("jobs", "--help").stdout, reason="this build has no service (REEL_SERVE=OFF)"
)

MEAN = '{"kind":"train","algorithm":"mean"}'


@pytest.fixture
def store(tmp_path):
    """An empty store of a service, with no jobs left."""
    path = tmp_path / "reel.db"
    reel("jobs", path, "--submit", MEAN)
    reel("jobs", path, "--cancel", 1)
    return path


def rate(store, rows):
    with sqlite3.connect(store) as database:
        database.executemany("INSERT OR REPLACE INTO ratings VALUES(?, ?, ?, ?)", rows)
    database.close()


def submit(store, **spec):
    reel("jobs", store, "--submit", json.dumps(spec))
    return reel_json("jobs", store, "--limit", 1)["jobs"][0]["id"]


def job(store, number):
    return reel_json("jobs", store, "--id", number)["jobs"][0]


# ---- jobs ----


def test_jobs_are_listed_newest_first_and_run_by_priority(small, store, tmp_path):
    low = submit(store, kind="train", algorithm="mean", model="low", priority=-5)
    high = submit(store, kind="cv", algorithm="bias", folds=3, priority=5)
    listed = reel_json("jobs", store)["jobs"]
    assert [entry["id"] for entry in listed] == [high, low, 1]
    assert [entry["state"] for entry in listed] == ["queued", "queued", "cancelled"]
    reel("jobs", store, "--run", "--dataset", small, "--models", tmp_path / "models")
    done = job(store, high)
    assert done["state"] == "done" and done["attempts"] == 1 and done["error"] is None
    assert done["created"] <= done["started"] <= done["finished"]
    answer = reel_json("cv", small, "-m", "bias", "--folds", 3)
    assert done["result"]["mean"]["rmse"] == pytest.approx(answer["mean"]["rmse"], abs=1e-12)
    assert done["started"] <= job(store, low)["started"]
    assert (tmp_path / "models" / "low.reel").exists()
    assert not list((tmp_path / "models").glob("job-*"))
    text = reel("jobs", store)
    assert "done" in text and "RMSE" in text and "cancelled" in text


def test_a_spec_comes_from_a_file_or_standard_input(store, tmp_path):
    (tmp_path / "spec.json").write_text('{"kind": "cluster",\n "k": 3}\n')
    reel("jobs", store, "--submit", tmp_path / "spec.json")
    subprocess.run([REEL, "jobs", store, "--submit", "-"], input=MEAN.encode(), check=True, capture_output=True)
    kinds = [entry["kind"] for entry in reel_json("jobs", store)["jobs"]]
    assert kinds == ["train", "cluster", "train"]


@pytest.mark.parametrize(
    "spec, reason",
    [
        ('{"kind":"train"}', '"algorithm" is missing'),
        ('{"kind":"train","algorithm":"svd","params":{"factor":1}}', 'unknown parameter "factor"'),
        ('{"kind":"cv","algorithm":"svd","folds":1}', '"folds" must be a whole number from 2 to 250'),
        ('{"kind":', "not JSON: line 1"),
        ('{"kind":"cv","kind":"cv"}', "duplicate object key"),
        ('{"kind":"train","algorithm":"svd","model":"../../x"}', '"model" must be 1 to 32'),
    ],
)
def test_a_bad_spec_is_refused_before_it_is_stored(store, tmp_path, spec, reason):
    assert reason in refused(1, "jobs", store, "--submit", spec)
    (tmp_path / "spec.json").write_text(spec)
    line = refused(1, "jobs", store, "--submit", tmp_path / "spec.json")
    assert reason in line and "spec.json: " in line
    assert len(reel_json("jobs", store)["jobs"]) == 1


def test_what_cannot_be_done_is_said(small, store, tmp_path):
    assert "there is no job 7" in refused(1, "jobs", store, "--cancel", 7)
    assert "there is no job 7" in refused(1, "jobs", store, "--id", 7)
    assert "has ended (cancelled)" in refused(1, "jobs", store, "--cancel", 1)
    assert "No such file" in refused(1, "jobs", tmp_path / "none.db")
    assert "No such file" in refused(1, "jobs", tmp_path / "none.db", "--cancel", 1)
    assert not (tmp_path / "none.db").exists()
    assert "is not a store" in refused(1, "jobs", small)
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as database:
        database.execute("CREATE TABLE t(x)")
    database.close()
    before = other.read_bytes()
    assert "of another program" in refused(1, "jobs", other, "--submit", MEAN)
    assert other.read_bytes() == before
    for wrong in (["--run"], ["--dataset", small], ["--cancel", "x"], ["--limit", -1], ["--max-running", 0]):
        assert run("jobs", store, *wrong).returncode == 2


def test_a_job_that_never_fits_says_how_much_it_needs(small, store, tmp_path):
    number = submit(store, kind="train", algorithm="svd")
    reel("jobs", store, "--run", "--dataset", small, "--models", tmp_path, "--memory", "1M")
    failed = job(store, number)
    assert failed["state"] == "failed" and "needs about" in failed["error"] and "limit is 1 MiB" in failed["error"]


def test_a_job_starts_from_a_model_by_its_name(small, store, tmp_path):
    models, params = tmp_path / "models", {"iterations": 1, "factors": 8}
    submit(store, kind="train", algorithm="als", params=params, model="old", priority=1)
    number = submit(store, kind="train", algorithm="als", params={**params, "init": "old"}, model="new")
    reel("jobs", store, "--run", "--dataset", small, "--models", models)
    assert job(store, number)["state"] == "done"
    options = ["-p", "iterations=1", "-p", "factors=8", "-p", f"init={models}/old.reel"]
    reel("train", small, "-m", "als", *options, "-o", tmp_path / "reference.reel")
    assert (models / "new.reel").read_bytes() == (tmp_path / "reference.reel").read_bytes()
    assert (models / "new.reel").read_bytes() != (models / "old.reel").read_bytes()


def wait_for(condition):
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


LONG = {"factors": 64, "epochs": 150}


def test_killed_and_interrupted_jobs_end_with_the_same_bits(small, store, tmp_path):
    models = tmp_path / "models"
    number = submit(store, kind="train", algorithm="svd", params=LONG, seed=5)
    command = [REEL, "jobs", store, "--run", "--dataset", small, "--models", models, "--quiet"]
    for end in (signal.SIGKILL, signal.SIGINT):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        before = {path: path.stat().st_mtime_ns for path in models.glob(f"job-{number}/*")}
        wait_for(lambda: any(before.get(path) != path.stat().st_mtime_ns for path in models.glob(f"job-{number}/*.reel")))
        process.send_signal(end)
        process.wait()
        assert not (models / "svd.reel").exists()
        # The first one had no time to say anything, the second one put its job back.
        assert job(store, number)["state"] == ("running" if end == signal.SIGKILL else "queued")
    subprocess.run(command, check=True)
    assert job(store, number)["state"] == "done"
    options = [option for item in LONG.items() for option in ("-p", "=".join(map(str, item)))]
    reel("train", small, "-m", "svd", *options, "--seed", 5, "-o", tmp_path / "reference.reel")
    assert (models / "svd.reel").read_bytes() == (tmp_path / "reference.reel").read_bytes()


def test_a_running_job_is_cancelled_from_another_process(small, store, tmp_path):
    number = submit(store, kind="train", algorithm="svd", params={"epochs": 100000})
    process = subprocess.Popen(
        [REEL, "jobs", store, "--run", "--dataset", small, "--models", tmp_path / "models", "--quiet"],
        stdout=subprocess.DEVNULL,
    )
    wait_for(lambda: job(store, number)["state"] == "running")
    assert "another reel process runs this store's jobs" in refused(
        1, "jobs", store, "--run", "--dataset", small, "--models", tmp_path
    )
    reel("jobs", store, "--cancel", number)
    assert process.wait(timeout=120) == 0
    assert job(store, number)["state"] == "cancelled"
    assert not (tmp_path / "models" / "svd.reel").exists()


# ---- live ratings ----

# user, movie, half stars (None = taken away), time. User 1 of the embedded data rated movies 31, 1029 and
# 1061 in 2009 but not 1 and 2; users 0 and 9999 are new; movie 77777777 is unknown.
LIVE = [
    (1, 1, 9, 2000000000),
    (1, 31, 10, 2000000001),
    (1, 1029, None, 2000000002),
    (1, 1061, 1, 5),  # older than the dataset's: loses
    (1, 2, None, 2000000003),  # takes away what is not there
    (2, 77777777, 8, 2000000004),
    (0, 1, 5, 2000000004),  # a new user in front of all others
    (9999, 1, 7, 2000000005),
    (9999, 31, 2, 2000000006),
    (10000, 1, None, 2000000007),  # nothing is left of this user
    (10001, 77777777, 3, 2000000008),
]


TAGS = "userId,movieId,tag,timestamp\n15,339,dull,1138537770\n671,1,fun,1138537771\n15,1955,dark,1193435061\n"


def tagged_folder(out):
    """The embedded data and a few tags, whose users move up when new users come in between."""
    shutil.copytree(EMBEDDED, out)
    (out / "tags.csv").write_text(TAGS)
    return out


def merged_folder(out):
    """The CSVs that hold what the merge must come to."""
    tagged_folder(out)
    with open(EMBEDDED / "ratings.csv", newline="") as file:
        header, *rows = csv.reader(file)
    ratings = {(int(user), int(movie)): (rating, time) for user, movie, rating, time in rows}
    for user, movie, half_stars, when in LIVE:
        if movie == 77777777 or int(ratings.get((user, movie), (0, 0))[1]) > when:
            continue
        ratings.pop((user, movie), None)
        if half_stars:
            ratings[user, movie] = (str(half_stars / 2), str(when))
    (out / "ratings.csv").unlink()
    with open(out / "ratings.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows([user, movie, *value] for (user, movie), value in sorted(ratings.items()))


def test_live_ratings_go_into_a_new_dataset(store, tmp_path):
    rate(store, LIVE)
    reel("import", tagged_folder(tmp_path / "source"), "-o", tmp_path / "source.reel")
    out = tmp_path / "merged.reel"
    process = run("import", "--store", store, "--from", tmp_path / "source.reel", "-o", out, "--json")
    answer = json.loads(process.stdout)
    assert process.returncode == 0
    expected = dict(n_live=11, n_added=4, n_changed=1, n_removed=1, n_older=1, n_unknown=2, n_void=2, n_new_users=2)
    assert {key: answer[key] for key in expected} == expected
    assert "2 live ratings of movies that the dataset lacks were left out (movie 77777777)" in process.stderr
    assert reel_json("verify", out)["ok"] is True
    merged_folder(tmp_path / "csv")
    reference = reel_json("import", tmp_path / "csv", "-o", tmp_path / "reference.reel")
    assert answer["fingerprint"] == reference["fingerprint"] and answer["n_ratings"] == reference["n_ratings"]
    assert out.read_bytes() == (tmp_path / "reference.reel").read_bytes()


def test_a_merge_may_replace_its_own_dataset(small, store, tmp_path):
    dataset = tmp_path / "ml.reel"
    shutil.copyfile(small, dataset)
    before = reel_json("info", dataset)["metadata"]["fingerprint"]
    assert reel_json("import", "--store", store, "--from", dataset, "-o", dataset)["n_live"] == 0
    assert reel_json("info", dataset)["metadata"]["fingerprint"] == before
    rate(store, LIVE)
    reel("import", "--store", store, "--from", dataset, "-o", dataset)
    again = reel_json("import", "--store", store, "--from", dataset, "-o", dataset)
    assert again["n_added"] == 0 and again["n_new_users"] == 0 and again["n_changed"] == 5 and again["n_void"] == 3


def test_what_cannot_be_merged_is_said(small, store, tmp_path):
    out = tmp_path / "out.reel"
    assert run("import", "--store", store, "-o", out).returncode == 2
    assert run("import", "folder", "--store", store, "--from", small, "-o", out).returncode == 2
    assert run("import", "-o", out).returncode == 2
    assert "No such file" in refused(1, "import", "--store", tmp_path / "none.db", "--from", small, "-o", out)
    assert "none.reel" in refused(1, "import", "--store", store, "--from", tmp_path / "none.reel", "-o", out)
    rate(store, [(1, 1, 11, 1)])
    assert "a rating of user 1 is out of range" in refused(1, "import", "--store", store, "--from", small, "-o", out)
    assert not out.exists()


# ---- collections ----


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def read_csv(name):
    with open(EMBEDDED / name, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def check_collections(folder):
    """Every line against the CSVs it comes from."""
    by_user, by_movie = {}, {}
    for row in read_csv("ratings.csv"):
        by_user.setdefault(int(row["userId"]), []).append(float(row["rating"]))
        by_movie.setdefault(int(row["movieId"]), []).append(float(row["rating"]))
    users = lines(folder / "users.ndjson")
    assert [user["userId"] for user in users] == sorted(by_user)
    for user in users:
        stars = by_user[user["userId"]]
        assert user["user_rt_mean"] == pytest.approx(sum(stars) / len(stars), abs=1e-12)
        assert user["n_ratings"] == len(stars) and user["cluster"] is None
    catalogue = {int(row["movieId"]): row for row in read_csv("movies.csv")}
    movies = {movie["movieId"]: movie for movie in lines(folder / "movies.ndjson")}
    assert set(catalogue) <= set(movies)
    all_genres = {genre for row in catalogue.values() for genre in row["genres"].split("|")} - {"(no genres listed)"}
    for number, row in catalogue.items():
        movie, stars = movies[number], by_movie.get(number, [])
        assert movie["title"] == row["title"] and movie["popularity"] == len(stars) and movie["clusters"] == []
        assert (movie["movie_rt_mean"] is None) == (not stars)
        assert not stars or movie["movie_rt_mean"] == pytest.approx(sum(stars) / len(stars), abs=1e-12)
        genres = set(row["genres"].split("|")) & all_genres
        assert movie["genres"] == {genre: int(genre in genres) for genre in all_genres}
    metadata = lines(folder / "metadata.ndjson")
    assert [entry["id"] for entry in metadata] == sorted(movies)
    assert set(metadata[0]) == {"id", "genres", "imdb_id", "tmdb_id", "revenue", "runtime"}


def test_collections_of_a_dataset(small, tmp_path):
    answer = reel_json("export", small, "-o", tmp_path / "out")
    assert answer["users"] == 671 and answer["movies"] == answer["metadata"]
    assert answer["files"] == [str(tmp_path / "out" / f"{name}.ndjson") for name in ("users", "movies", "metadata")]
    check_collections(tmp_path / "out")


def test_a_store_without_collections_says_so(store, tmp_path):
    assert "no dataset was put into the store yet" in refused(1, "export", store, "-o", tmp_path / "out")
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as database:
        database.execute("CREATE TABLE t(x)")
    database.close()
    assert "of another program" in refused(1, "export", other, "-o", tmp_path / "out")
