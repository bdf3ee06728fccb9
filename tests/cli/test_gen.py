"""reel gen: the marginals of every twin, counted again with pandas from the files; repeatability; impossible wishes."""

import hashlib
import json
import os
import signal
import subprocess

import numpy as np
import pandas as pd
import pytest

from eval_tools import EMBEDDED, REEL, SHARED, reel, reel_json, refused, run

FILES = ["links.csv", "movies.csv", "ratings.csv", "tags.csv"]

# What the real sets have: protocols.md for ML-20M, the sets themselves for the two others.
# Users and movies: min, median, mean, max, std.
REAL = {
    "ml-20m": dict(
        users=138493, movies=27278, rated=26744, ratings=20000263,
        histogram=[239125, 680732, 279252, 1430997, 883398, 4291193, 2200156, 5561926, 1534824, 2898660],
        user=(20, 68, 144.41, 9254, 230.27), movie=(1, 18, 747.84, 67310, 3085.82), begin="1995-01", end="2015-03"),
    "ml-1m": dict(
        users=6040, movies=3883, rated=3706, ratings=1000209,
        histogram=[0, 56174, 0, 107557, 0, 261197, 0, 348971, 0, 226310],
        user=(20, 96, 165.60, 2314, 192.73), movie=(1, 123.5, 269.89, 3428, 384.00), begin="2000-04", end="2003-02"),
    "ml-latest-small": dict(
        users=610, movies=9742, rated=9724, ratings=100836,
        histogram=[1370, 2811, 1791, 7551, 5550, 20047, 13136, 26818, 8551, 13211],
        user=(20, 70.5, 165.30, 2698, 269.26), movie=(1, 3, 10.37, 329, 22.40), begin="1996-03", end="2018-09"),
}
GENRES = {"Drama": 13344, "Comedy": 8374, "Thriller": 4178, "Romance": 4127, "Action": 3520, "Crime": 2939,
          "Horror": 2611, "Documentary": 2471, "Adventure": 2329, "Sci-Fi": 1743, "Mystery": 1514, "Fantasy": 1412,
          "War": 1194, "Children": 1139, "Musical": 1036, "Animation": 1027, "Western": 676, "Film-Noir": 330,
          "(no genres listed)": 246, "IMAX": 196}


class Twin:
    def __init__(self, folder, *options):
        self.folder = folder
        self.report = reel_json("gen", "-o", folder, *options)
        self.ratings = pd.read_csv(folder / "ratings.csv")
        self.movies = pd.read_csv(folder / "movies.csv")
        self.years = self.movies.title.str.extract(r"\((\d{4})\)$")[0].astype(float)
        self.times = pd.to_datetime(self.ratings.timestamp, unit="s")


@pytest.fixture(scope="session", params=["ml-latest-small", "ml-1m", "ml-20m"])
def twin(request, tmp_path_factory):
    if request.param == "ml-20m" and os.environ.get("REEL_TEST_LARGE") != "1":
        pytest.skip("the 20 M twin takes a minute and 3 GB: set REEL_TEST_LARGE=1")
    made = Twin(tmp_path_factory.mktemp("twin"), "--like", request.param, "--seed", 1)
    made.real = REAL[request.param]
    made.name = request.param
    return made


def digests(folder):
    assert sorted(os.listdir(folder)) == FILES
    return [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES]


# ---- marginals ----


def test_counts(twin):
    real, report = twin.real, twin.report
    assert len(twin.ratings) == report["n_ratings"] == real["ratings"]
    assert twin.ratings.userId.nunique() == report["n_users"] == real["users"]
    assert twin.ratings.movieId.nunique() == report["n_rated_movies"] == real["rated"]
    assert len(twin.movies) == report["n_movies"] == real["movies"]
    assert report["seconds"] > 0 and report["folder"] == str(twin.folder)
    assert twin.ratings.userId.iloc[0] == 1 and twin.ratings.userId.iloc[-1] == real["users"]


def test_rows_are_ordered_and_unique(twin):
    rows = twin.ratings.userId.to_numpy() * (1 << 32) + twin.ratings.movieId.to_numpy()
    assert (np.diff(rows) > 0).all()
    assert twin.movies.movieId.is_monotonic_increasing and twin.movies.movieId.is_unique
    assert twin.ratings.movieId.isin(twin.movies.movieId).all()
    assert twin.movies.movieId.max() > len(twin.movies), "ids have gaps"


def test_histogram(twin):
    counts = twin.ratings.rating.value_counts()
    assert set(counts.index) <= {v / 2 for v in range(1, 11)}
    for half, wanted in enumerate(twin.real["histogram"], 1):
        assert abs(counts.get(half / 2, 0) - wanted) <= 0.01 * wanted, half / 2


def test_half_stars_only_from_2003(twin):
    halves = twin.times[twin.ratings.rating * 2 % 2 == 1]
    if twin.name == "ml-1m":
        assert halves.empty
    else:
        assert halves.min() >= pd.Timestamp("2003-02-01")
        late = twin.ratings.rating[twin.times >= "2003-02-01"]
        assert 0.2 < (late * 2 % 2 == 1).mean() < 0.6


@pytest.mark.parametrize("side", ["user", "movie"])
def test_long_tails(twin, side):
    low, median, mean, high, std = twin.real[side]
    votes = twin.ratings.groupby(side + "Id").size()
    assert votes.min() == low
    assert abs(votes.median() - median) <= 1
    assert votes.mean() == pytest.approx(mean, abs=0.005)
    assert votes.max() == pytest.approx(high, rel=0.01)
    assert votes.std(ddof=0) == pytest.approx(std, rel=0.05)


def test_times(twin):
    assert twin.times.min() >= pd.Timestamp(twin.real["begin"] + "-01")
    assert twin.times.min() < pd.Timestamp(twin.real["begin"] + "-01") + pd.DateOffset(months=1)
    assert twin.times.max() < pd.Timestamp(twin.real["end"] + "-01") + pd.DateOffset(months=1)
    assert twin.times.max() >= pd.Timestamp(twin.real["end"] + "-01")
    years = set(twin.times.dt.year)
    assert years == set(range(min(years), max(years) + 1))


def test_users_come_in_sessions(twin):
    rows = twin.ratings.sort_values(["userId", "timestamp"])
    starts = (rows.userId != rows.userId.shift()) | (rows.timestamp - rows.timestamp.shift() > 6 * 3600)
    sizes = rows.groupby(starts.cumsum()).agg(user=("userId", "first"), n=("userId", "size")).groupby("user").n
    largest = sizes.max() / sizes.sum()
    assert largest.median() > 0.7 and (largest > 0.999).mean() > 0.3
    assert sizes.size().max() > 5 and (sizes.size() > 1).mean() > 0.2


def test_no_movie_is_rated_before_its_year(twin):
    years = twin.ratings.movieId.map(pd.Series(twin.years.to_numpy(), index=twin.movies.movieId))
    assert (years > twin.times.dt.year).mean() < 1e-4


def test_popular_movies_are_liked(twin):
    movies = twin.ratings.groupby("movieId").rating.agg(["mean", "size"])
    movies = movies[movies["size"] >= 20]
    assert 0.1 < np.corrcoef(np.log(movies["size"]), movies["mean"])[0, 1] < 0.5
    assert 0.3 < movies["mean"].std() < 0.65


def test_links_and_tags(twin):
    links = pd.read_csv(twin.folder / "links.csv", dtype=str)
    assert list(links.columns) == ["movieId", "imdbId", "tmdbId"]
    assert (links.movieId.astype(int) == twin.movies.movieId).all()
    assert links.imdbId.str.fullmatch(r"\d{7,}").all()
    tags = pd.read_csv(twin.folder / "tags.csv")
    assert list(tags.columns) == ["userId", "movieId", "tag", "timestamp"]
    assert (len(tags) > 0) == (twin.name != "ml-1m")
    rated = tags.merge(twin.ratings, on=["userId", "movieId"], suffixes=("", "_rated"))
    assert len(rated) == len(tags) and (rated.timestamp >= rated.timestamp_rated).all()


def test_import_takes_it_whole(twin, tmp_path):
    report = reel_json("import", twin.folder, "-o", tmp_path / "twin.reel")
    assert report["n_ratings"] == twin.real["ratings"] and report["n_movies"] == twin.real["movies"]


# ---- the planted truth ----


def test_trainers_score_as_on_the_real_set_and_above_the_oracle(twin, tmp_path):
    reel("import", twin.folder, "-o", tmp_path / "twin.reel")
    scores = {algo: reel_json("cv", tmp_path / "twin.reel", "-m", algo)["mean"]["rmse"] for algo in ("bias", "svd")}
    bias, svd, tolerance = {"ml-20m": (0.860, 0.7861, 0.002), "ml-1m": (0.909, 0.874, 0.006),
                            "ml-latest-small": (0.873, 0.874, 0.02)}[twin.name]
    assert scores["svd"] == pytest.approx(svd, abs=tolerance)
    assert scores["bias"] == pytest.approx(bias, abs=2 * tolerance)
    assert min(scores.values()) - 0.2 < twin.report["oracle_rmse"] < min(scores.values()) - 0.03


def test_oracle_is_the_noise(tmp_path):
    """A floor must not depend on what trainers can learn from: the same world with ten times the ratings has it too."""
    small = reel_json("gen", "--like", "ml-1m", "--ratings", "100k", "-o", tmp_path / "small")
    large = reel_json("gen", "--like", "ml-1m", "-o", tmp_path / "large")
    assert small["oracle_rmse"] == pytest.approx(large["oracle_rmse"], abs=0.01)


# ---- catalogues ----


@pytest.fixture(scope="session")
def made_up(tmp_path_factory):
    """The full ML-20M catalogue under few ratings."""
    return Twin(tmp_path_factory.mktemp("made-up"), "--like", "ml-20m", "--ratings", "300k", "--seed", 2)


def test_made_up_genres(made_up):
    sets = made_up.movies.genres.str.split("|")
    assert len(sets) == 27278
    assert sets.explode().value_counts().to_dict() == GENRES
    sizes = sets.str.len().value_counts().to_dict()
    assert sizes == {1: 10829, 2: 8809, 3: 5330, 4: 1724, 5: 477, 6: 83, 7: 20, 8: 5, 10: 1}
    pairs = sets[sets.map(lambda s: {"Drama", "Romance"} <= set(s))]
    assert len(pairs) == 2573


def test_made_up_years(made_up):
    assert made_up.years.isna().sum() == 23
    assert (made_up.years.min(), made_up.years.median(), made_up.years.max()) == (1891, 1998, 2015)
    assert made_up.years.mean() == pytest.approx(1989.37, abs=0.01)
    noir = made_up.years[made_up.movies.genres.str.contains("Film-Noir")]
    assert noir.mean() < made_up.years.mean() - 15, "genres keep their times"


def test_made_up_titles_try_the_readers(made_up):
    text = (made_up.folder / "movies.csv").read_text(encoding="utf-8")
    assert '""' in text and ', The (' in text and "é" in text
    assert made_up.movies.title.notna().all() and made_up.movies.title.nunique() > 5000


@pytest.fixture
def catalogue(tmp_path):
    """The embedded catalogue, as a folder of its own."""
    folder = tmp_path / "catalogue"
    folder.mkdir()
    (folder / "movies.csv").write_bytes((EMBEDDED / "movies.csv").read_bytes())
    return folder / "movies.csv"


def gen_with(catalogue, out, *options):
    return Twin(out, "--like", "ml-latest-small", "--catalogue", catalogue, *options)


def test_catalogue_is_used(catalogue, tmp_path):
    twin = gen_with(catalogue, tmp_path / "twin")
    assert twin.movies.equals(pd.read_csv(catalogue))
    assert twin.report["n_movies"] == len(twin.movies)
    assert twin.report["n_rated_movies"] == round(len(twin.movies) * 9724 / 9742)


def test_catalogue_with_bom_crlf_and_links(catalogue, tmp_path):
    plain = gen_with(catalogue, tmp_path / "plain")
    text = catalogue.read_bytes().replace(b"\r\n", b"\n")
    catalogue.write_bytes(b"\xef\xbb\xbf" + text.rstrip(b"\n").replace(b"\n", b"\r\n"))
    ids = plain.movies.movieId
    links = "".join(f"{m},{m + 1000000},\r\n" for m in [*ids, ids.max() + 1])
    (catalogue.parent / "links.csv").write_text("movieId,imdbId,tmdbId\r\n" + links, newline="")
    dressed = gen_with(catalogue, tmp_path / "dressed")
    assert digests(plain.folder)[1:] == digests(dressed.folder)[1:]
    copied = pd.read_csv(dressed.folder / "links.csv")
    assert (copied.movieId == ids).all() and (copied.imdbId == ids + 1000000).all()


def test_catalogue_cut_short(catalogue, tmp_path):
    twin = gen_with(catalogue, tmp_path / "twin", "--movies", 4000)
    assert twin.movies.equals(pd.read_csv(catalogue).head(4000))


@pytest.mark.parametrize("text, said", [
    ("", ":1: the first line must be movieId,title,genres"),
    ("id,title,genres\n1,A (1990),Drama\n", ":1: the first line must be movieId,title,genres"),
    ("movieId,title,genres\n", ":1: no movie follows the header"),
    ("movieId,title,genres\n1,A (1990),Drama\nx,B,Drama\n", ":3: not a movie id (x,B,Drama)"),
    ("movieId,title,genres\n1,A (1990),Drama\n99999999999,B,Drama\n", ":3: not a movie id (99999999999,B,Drama)"),
    ("movieId,title,genres\n5,A (1990),Drama\n\n5,B,Drama\n", ":4: movie ids must ascend (5 after 5)"),
    ("movieId,title,genres\n5,Drama\n", ":2: a row needs movieId,title,genres (found '5,Drama')"),
    ('movieId,title,genres\n5,"A (1990),Drama\n', ":2: a quote is not closed (movie 5)"),
])
def test_bad_catalogue(tmp_path, text, said):
    path = tmp_path / "movies.csv"
    path.write_text(text)
    line = refused(1, "gen", "--like", "ml-1m", "--catalogue", path, "-o", tmp_path / "out")
    assert line == f"reel: {path}{said}"
    assert not (tmp_path / "out").exists()


def test_no_catalogue(tmp_path):
    line = refused(1, "gen", "--catalogue", tmp_path / "none.csv", "-o", tmp_path / "out")
    assert str(tmp_path / "none.csv") in line
    assert str(tmp_path) in refused(1, "gen", "--catalogue", tmp_path, "-o", tmp_path / "out")


@pytest.mark.skipif(not (SHARED / "ml-20m-catalogue").exists(), reason="ml-20m-catalogue is not in the shared data folder")
def test_real_catalogue(tmp_path):
    folder = SHARED / "ml-20m-catalogue"
    twin = Twin(tmp_path / "twin", "--ratings", "300k", "--catalogue", folder / "movies.csv")
    assert twin.movies.equals(pd.read_csv(folder / "movies.csv"))
    assert pd.read_csv(tmp_path / "twin" / "links.csv").equals(pd.read_csv(folder / "links.csv"))


# ---- sizes ----


@pytest.mark.parametrize("options, users, ratings", [
    (("--ratings", "200k"), 1210, 200000),
    (("--users", 1000), 1000, 165305),
    (("--users", 300, "--ratings", 6000), 300, 6000),
    (("--users", 70, "--movies", 90, "--ratings", 6300), 70, 6300),
    (("--users", 70, "--movies", 90, "--ratings", 6290, "--factors", 1), 70, 6290),
    (("--users", 200, "--movies", 3000, "--ratings", "500k", "--factors", 128), 200, 500000),
    (("--users", 1, "--ratings", 20), 1, 20),
])
def test_other_sizes(tmp_path, options, users, ratings):
    twin = Twin(tmp_path / "twin", "--like", "ml-latest-small", *options)
    assert (twin.report["n_users"], twin.report["n_ratings"]) == (users, ratings)
    assert (twin.ratings.userId.nunique(), len(twin.ratings)) == (users, ratings)
    assert twin.ratings.movieId.nunique() == twin.report["n_rated_movies"]
    assert not twin.ratings.duplicated(["userId", "movieId"]).any()
    assert twin.ratings.groupby("userId").size().min() >= 20
    if ratings > 10000:
        share = np.array(REAL["ml-latest-small"]["histogram"]) / 100836
        found = twin.ratings.rating.value_counts(normalize=True).sort_index()
        assert np.abs(found.to_numpy() - share).max() < 0.001


@pytest.mark.parametrize("options, said", [
    (("--like", "ml-30m"), "nothing like 'ml-30m' is known (known: ml-20m, ml-1m, ml-latest-small)"),
    (("--like", "ml-1m", "--users", 10, "--ratings", "100M"), "100000000 ratings do not fit 10 users x 3883 movies"),
    (("--users", 100, "--ratings", 1999), "1999 ratings are too few for 100 users: each rates at least 20"),
    (("--users", 100, "--movies", 19, "--ratings", 2000), "2000 ratings do not fit 100 users x 19 movies"),
    (("--factors", 129), "factors must be 1..128 (found 129)"),
    (("--factors", -1), "factors must be 1..128 (found -1)"),
    (("--ratings", -5), "users, movies and ratings cannot be negative"),
    (("--users", -5), "--users must be"),
    (("--movies", "11M"), "--movies must be"),
    (("--ratings", "9999999M"), "at most"),
])
def test_impossible_wishes(tmp_path, options, said):
    assert said in refused(2, "gen", *options, "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_more_movies_than_the_catalogue_has(catalogue, tmp_path):
    line = refused(2, "gen", "--like", "ml-1m", "--catalogue", catalogue, "--movies", 20000, "-o", tmp_path / "out")
    assert f"{catalogue} has 9066 movies, 20000 were asked for" in line


def test_output_folder(tmp_path):
    assert "-o DIR is needed" in refused(2, "gen", "--like", "ml-1m")
    reel("gen", "--like", "ml-latest-small", "-o", tmp_path / "a" / "b")
    assert sorted(os.listdir(tmp_path / "a" / "b")) == FILES
    (tmp_path / "file").write_text("")
    assert str(tmp_path / "file") in refused(1, "gen", "--like", "ml-latest-small", "-o", tmp_path / "file")


# ---- repeatability ----


def test_same_bytes_at_any_thread_count(tmp_path):
    made = []
    for threads in (1, 2, 3, 8):
        reel("gen", "--like", "ml-latest-small", "--ratings", "150k", "--seed", 7, "--threads", threads, "-o",
             tmp_path / str(threads))
        made.append(digests(tmp_path / str(threads)))
    assert made[1:] == made[:-1]


def test_seeds(tmp_path):
    reports = []
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        report = reel_json("gen", "--like", "ml-latest-small", "--seed", seed, "-o", tmp_path / name)
        reports.append(report["oracle_rmse"])
    a, b, c = (digests(tmp_path / name) for name in "abc")
    assert a == b and reports[0] == reports[1]
    assert all(one != other for one, other in zip(a, c)) and reports[0] != reports[2]


def test_text_report(tmp_path):
    done = run("gen", "--like", "ml-latest-small", "-o", tmp_path / "twin", "--progress", "plain")
    assert done.returncode == 0
    assert "100,836 ratings by 610 users of 9,724 movies (9,742 in the catalogue)" in done.stdout
    assert "oracle RMSE 0.7" in done.stdout and "write ratings" in done.stderr


def test_interrupt_leaves_nothing(tmp_path):
    out = tmp_path / "out"
    command = [REEL, "gen", "--like", "ml-20m", "--ratings", "100M", "-o", str(out), "--progress", "plain", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr.readline().startswith("plan sessions")
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate()
    assert process.returncode == 1 and "interrupted" in stderr
    assert json.loads(stdout)["error"]["code"] == "cancelled"
    assert not out.exists() or os.listdir(out) == []
