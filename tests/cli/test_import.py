"""reel import: every format against an independent reading with Python's csv module, every fault with its exact line."""

import csv
import json
import os
import pathlib
import random
import re
import signal
import struct
import subprocess
import time
import zipfile

import pytest

from reel_files import TensorFile

ROOT = pathlib.Path(__file__).resolve().parents[2]
REEL = os.environ.get("REEL_BIN", str(ROOT / "build" / "release" / "reel"))
SHARED = pathlib.Path(os.environ.get("REEL_SHARED_DATA", ROOT.parent / "shared" / "data"))
EMBEDDED = ROOT / "data" / "ml-latest-small"
HEADER = "userId,movieId,rating,timestamp\n"
MOVIES = "movieId,title,genres\n1,Toy Story (1995),Adventure|Animation\n2,Jumanji (1995),Adventure\n3,Heat (1995),Crime\n"


def shared(name):
    folder = SHARED / name
    if not folder.exists():
        pytest.skip(f"{name} is not in the shared data folder")
    return folder


def run_import(source, out, *options):
    command = [REEL, "import", str(source), "-o", str(out), "--quiet", *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True)


def imported(source, out, *options):
    """The JSON report and the dataset."""
    done = run_import(source, out, "--json", *options)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    dataset = TensorFile(out)
    assert report["bytes"] == os.path.getsize(out)
    assert report["fingerprint"] == dataset.metadata["fingerprint"]
    assert report["format"] == dataset.metadata["source.format"]
    return report, dataset


def failure(source, tmp_path, *options):
    """The one line on stderr of an import that must fail and leave nothing behind."""
    out = tmp_path / "failed.reel"
    done = run_import(source, out, *options)
    assert done.returncode == 1, (done.returncode, done.stdout, done.stderr)
    assert not out.exists() and not list(tmp_path.glob("failed.reel*"))
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("reel: "), done.stderr
    return lines[0][len("reel: ") :].replace(str(source) + "/", "").replace(str(source), "SOURCE")


def write(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def read_csv(path):
    with open(path, newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def half_stars(text):
    return round(2 * float(text))


def ratings_of_csv(path):
    return [
        (int(row["userId"]), int(row["movieId"]), half_stars(row["rating"]), int(row["timestamp"]))
        for row in read_csv(path)
    ]


def check_ratings(dataset, rows, movie_ids=()):
    """Both orders hold exactly `rows` of (user, movie, half stars, time)."""
    users = sorted({row[0] for row in rows})
    movies = sorted({row[1] for row in rows} | set(movie_ids))
    assert list(dataset["movie_ids"]) == movies
    assert set(users) <= set(dataset["user_ids"])
    found, offsets = [], dataset["user_offsets"]
    for u, user in enumerate(dataset["user_ids"]):
        for i in range(offsets[u], offsets[u + 1]):
            found.append((user, movies[dataset["user_movies"][i]], dataset["user_ratings"][i], dataset["user_times"][i]))
    assert found == sorted(rows)
    found, offsets = [], dataset["movie_offsets"]
    for m, movie in enumerate(movies):
        for i in range(offsets[m], offsets[m + 1]):
            found.append((movie, dataset["user_ids"][dataset["movie_users"][i]], dataset["movie_ratings"][i]))
    assert found == sorted((movie, user, stars) for user, movie, stars, _ in rows)
    seen = {row[2] for row in rows}
    assert dataset.metadata["scale.min"] == str(min(seen)) and dataset.metadata["scale.max"] == str(max(seen))


def year_of(title):
    match = re.search(r"\((\d{4})(?:(?:-|\u2013)\d{4})?\)\s*$", title)
    return int(match.group(1)) if match else 0


def check_movies(dataset, movies):
    """`movies`: id -> (title, set of genres); others are placeholders."""
    names = dataset.texts("genre_name_offsets", "genre_names")
    assert names == sorted(names)
    titles = dataset.texts("movie_title_offsets", "movie_titles")
    n_placeholders = 0
    for m, movie in enumerate(dataset["movie_ids"]):
        title, genres = movies.get(movie, (f"movie {movie}", set()))
        n_placeholders += movie not in movies
        assert titles[m] == title
        assert {name for g, name in enumerate(names) if dataset["movie_genres"][m] >> g & 1} == genres
        assert dataset["movie_years"][m] == year_of(title)
    assert dataset.metadata["n_placeholders"] == str(n_placeholders)


def movies_of_csv(path):
    return {
        int(row["movieId"]): (row["title"], set(row["genres"].split("|")) - {"(no genres listed)"})
        for row in read_csv(path)
    }


def check_tags(dataset, rows):
    texts = dataset.texts("tag_text_offsets", "tag_texts")
    found = [
        (dataset["user_ids"][u], dataset["movie_ids"][m], t, text)
        for u, m, t, text in zip(dataset["tag_users"], dataset["tag_movies"], dataset["tag_times"], texts)
    ]
    assert found == sorted(rows, key=lambda row: (*row[:3], row[3].encode()))


# ---- the formats ----


def test_embedded_data(tmp_path):
    report, dataset = imported(EMBEDDED, tmp_path / "small.reel")
    movies = movies_of_csv(EMBEDDED / "movies.csv")
    check_ratings(dataset, ratings_of_csv(EMBEDDED / "ratings.csv"), movies)
    check_movies(dataset, movies)
    assert (report["n_users"], report["n_movies"], report["n_ratings"]) == (671, 9066, 100004)
    assert report["format"] == "ml-csv" and report["n_tags"] == 0 and report["n_placeholders"] == 0
    assert report["source_bytes"] == (EMBEDDED / "ratings.csv").stat().st_size


def test_latest_small_with_tags_and_links(tmp_path):
    folder = shared("ml-latest-small")
    report, dataset = imported(folder, tmp_path / "small.reel")
    movies = movies_of_csv(folder / "movies.csv")
    check_ratings(dataset, ratings_of_csv(folder / "ratings.csv"), movies)
    check_movies(dataset, movies)
    check_tags(
        dataset,
        [(int(r["userId"]), int(r["movieId"]), int(r["timestamp"]), r["tag"]) for r in read_csv(folder / "tags.csv")],
    )
    links = {int(row["movieId"]): row for row in read_csv(folder / "links.csv")}
    for m, movie in enumerate(dataset["movie_ids"]):
        assert dataset["movie_imdb_ids"][m] == int(links[movie]["imdbId"] or -1)
        assert dataset["movie_tmdb_ids"][m] == int(links[movie]["tmdbId"] or -1)
    assert (report["n_users"], report["n_movies"], report["n_ratings"], report["n_tags"]) == (610, 9742, 100836, 3683)


def test_ml_1m(tmp_path):
    folder = shared("ml-1m")
    report, dataset = imported(folder, tmp_path / "ml-1m.reel")
    rows = []
    with open(folder / "ratings.dat", encoding="ascii") as file:
        for line in file:
            user, movie, stars, when = line.split("::")
            rows.append((int(user), int(movie), 2 * int(stars), int(when)))
    movies = {}
    with open(folder / "movies.dat", encoding="iso-8859-1") as file:
        for line in file:
            movie, title, genres = line.rstrip("\n").split("::")
            movies[int(movie)] = (title, set(genres.split("|")))
    check_ratings(dataset, rows, movies)
    check_movies(dataset, movies)
    assert report["format"] == "ml-1m"
    assert any("é" in title for title in dataset.texts("movie_title_offsets", "movie_titles"))


def test_catalogue_years(tmp_path):
    """22 titles of the real ML-20M catalogue have no year, and 246 movies no genre."""
    catalogue = shared("ml-20m-catalogue")
    folder = write(tmp_path / "ml", {"ratings.csv": HEADER + "1,1,5.0,0\n"})
    for name in ("movies.csv", "links.csv", "genome-tags.csv"):
        (folder / name).write_bytes((catalogue / name).read_bytes())
    report, dataset = imported(folder, tmp_path / "out.reel")
    check_movies(dataset, movies_of_csv(catalogue / "movies.csv"))
    years = list(dataset["movie_years"])
    assert report["n_movies"] == 27278 and years.count(0) == 22
    assert min(filter(None, years)) == 1891 and max(years) == 2015
    assert list(dataset["movie_genres"]).count(0) == 246


def make_100k(folder, latin1=True):
    names = ["unknown", "Action", "Adventure", "Animation"]
    movies = {1: ("Toy Story (1995)", [3, 2]), 2: ("Misérables, Les (1995)", [1]), 267: ("unknown", [0])}
    items = "".join(
        f"{m}|{title}|01-Jan-1995||http://x/{m}|" + "|".join("1" if g in genres else "0" for g in range(4)) + "\n"
        for m, (title, genres) in movies.items()
    )
    shuffle = random.Random(1)
    rows = [(u, m, 2 * shuffle.randint(1, 5), shuffle.randrange(2**32)) for u in range(1, 40) for m in (1, 2, 267, 1682)]
    shuffle.shuffle(rows)
    write(
        folder,
        {
            "u.data": "".join(f"{u}\t{m}\t{r // 2}\t{t}\n" for u, m, r, t in rows),
            "u.item": items.encode("iso-8859-1" if latin1 else "utf-8"),
            "u.genre": "".join(f"{name}|{g}\n" for g, name in enumerate(names)) + "\n",
            "u1.base": "1\t1\t5\t1\n",
            "README": "text",
        },
    )
    return rows, {m: (title, {names[g] for g in genres} - {"unknown"}) for m, (title, genres) in movies.items()}


@pytest.mark.parametrize("latin1", [True, False])
def test_ml_100k(tmp_path, latin1):
    rows, movies = make_100k(tmp_path / "ml-100k", latin1)
    report, dataset = imported(tmp_path / "ml-100k", tmp_path / "out.reel")
    check_ratings(dataset, rows, movies)
    check_movies(dataset, movies)
    assert dataset.texts("genre_name_offsets", "genre_names") == ["Action", "Adventure", "Animation"]
    assert report["format"] == "ml-100k" and report["n_placeholders"] == 1
    (tmp_path / "ml-100k" / "u.genre").unlink()
    assert "19" not in failure(tmp_path / "ml-100k", tmp_path)  # four flags are not the known nineteen


def test_ml_10m(tmp_path):
    rows = [(u, m, (u * 7 + m) % 10 + 1, 800000000 + u * m) for u in range(1, 30) for m in (1, 5, 122)]
    movies = {1: ("Toy Story (1995)", {"Animation"}), 5: ("A :: B: é (1997)", set()), 122: ("x", {"War", "Drama"})}
    tags = [(15, 122, 1215184630, "excellent!"), (1, 5, 0, "a::b"), (1, 5, 0, "\u00e9toile"), (999, 7, 3, "only tagged")]
    write(
        tmp_path / "ml-10m",
        {
            "ratings.dat": "".join(f"{u}::{m}::{r / 2:g}::{t}\n" for u, m, r, t in rows),
            "movies.dat": "".join(f"{m}::{t}::{'|'.join(g) or '(no genres listed)'}\n" for m, (t, g) in movies.items()),
            "tags.dat": "".join(f"{u}::{m}::{text}::{t}\n" for u, m, t, text in tags),
        },
    )
    report, dataset = imported(tmp_path / "ml-10m", tmp_path / "out.reel")
    check_ratings(dataset, rows, [1, 5, 7, 122])
    check_movies(dataset, movies)
    check_tags(dataset, tags)
    assert report["format"] == "ml-10m" and 999 in dataset["user_ids"] and report["n_placeholders"] == 1
    offsets = dataset["user_offsets"]
    assert offsets[report["n_users"] - 1] == offsets[report["n_users"]] == len(rows)  # the user who only tagged


def test_genome(tmp_path):
    relevance = {(m, t): f"{abs(m * 31 % 7 - t) / 7:.17g}" for m in (1, 3) for t in (1, 2, 9)}
    files = {
        "ratings.csv": HEADER + "1,1,0.5,4294967295\n1,3,5,0\n",
        "movies.csv": MOVIES,
        "genome-tags.csv": 'tagId,tag\r\n9,zombies\r\n1,007\r\n2,"007, (series)"\r\n',
        "genome-scores.csv": "movieId,tagId,relevance\n"
        + "".join(f"{m},{t},{r}\n" for (m, t), r in relevance.items())
        + "77,1,0.5\n77,2,0.25\n77,9,1\n",  # a movie that the dataset does not have
    }
    _, dataset = imported(write(tmp_path / "ml", files), tmp_path / "out.reel")
    assert [dataset["movie_ids"][m] for m in dataset["genome_movies"]] == [1, 3]
    assert dataset.texts("genome_tag_offsets", "genome_tags") == ["007", "007, (series)", "zombies"]
    assert dataset.shapes["genome_relevance"] == [2, 3]
    single = [struct.unpack("f", struct.pack("f", float(relevance[m, t])))[0] for m in (1, 3) for t in (1, 2, 9)]
    assert list(dataset["genome_relevance"]) == single


def test_tags_csv_of_a_genome_is_no_tag_file(tmp_path):
    files = {"ratings.csv": HEADER + "1,1,4,0\n", "movies.csv": MOVIES, "tags.csv": "tagId,tag\n1,007\n"}
    report, _ = imported(write(tmp_path / "ml", files), tmp_path / "out.reel")
    assert report["n_tags"] == 0


METADATA_HEADER = (
    "adult,belongs_to_collection,budget,genres,homepage,id,imdb_id,original_language,original_title,overview,popularity,"
    "poster_path,production_companies,production_countries,release_date,revenue,runtime,spoken_languages,status,tagline,"
    "title,video,vote_average,vote_count\n"
)


def metadata_row(genres, tmdb, imdb, revenue, runtime):
    names = str([{"id": i, "name": name} for i, name in enumerate(genres)])
    overview = '"Led by Woody,\nAndy\'s toys say ""hello"", \'name\': \'War\'"'
    return (
        f'False,"{{\'id\': 1, \'name\': \'Comedy\'}}",3,"{names}",,{tmdb},{imdb},en,x,{overview},21.9,/p.jpg,'
        f"\"[{{'name': 'Drama', 'id': 3}}]\",,1995-10-30,{revenue},{runtime},,Released,,x,False,7.7,5415\n"
    )


def test_movies_metadata(tmp_path):
    folder = write(
        tmp_path / "ml",
        {
            "ratings.csv": HEADER + "1,1,4.0,5\n",
            "movies.csv": MOVIES,
            "links.csv": "movieId,imdbId,tmdbId\n1,0114709,862\n2,1,\n3,0113277,949\n",
        },
    )
    metadata = tmp_path / "movies_metadata.csv"
    metadata.write_text(
        METADATA_HEADER
        + metadata_row(["Action", "Western", "Science Fiction"], 949, "tt0113277", 187436818, "170.0")
        + "torn,row\n"
        + metadata_row([], 999, "", 0, "")
        + metadata_row(["Family", "Carousel Productions"], 862, "tt0114709", "373554033.0", 81)
        + metadata_row(["War"], "1997-08-20", "0", 0, 0)
        + metadata_row(["Horror"], 862, "", 0, 0)
    )
    report, dataset = imported(folder, tmp_path / "out.reel", "--metadata", metadata)
    tmdb = ["Action", "Adventure", "Animation", "Comedy", "Crime", "Documentary", "Drama", "Family", "Fantasy", "Foreign"]
    tmdb += ["History", "Horror", "Music", "Mystery", "Romance", "Science Fiction", "TV Movie", "Thriller", "War", "Western"]
    bits = [sum(1 << tmdb.index(name) for name in names) for names in (["Family"], ["Action", "Western", "Science Fiction"])]
    assert [dataset["movie_ids"][m] for m in dataset["metadata_movies"]] == [1, 3]
    assert list(dataset["metadata_genres"]) == bits
    assert list(dataset["metadata_imdb_ids"]) == [114709, 113277]
    assert list(dataset["metadata_revenue"]) == [373554033, 187436818]
    assert list(dataset["metadata_runtime"]) == [81, 170]
    assert report["n_metadata"] == 2 and report["n_bad_lines"] == 3
    metadata.write_text("id,genres\n")
    assert failure(folder, tmp_path, "--metadata", metadata).endswith("movies_metadata.csv:1: the header has no column imdbid")
    assert failure(folder, tmp_path, "--metadata", tmp_path / "none").endswith("none: cannot be opened: No such file or directory")
    (folder / "links.csv").unlink()
    assert failure(folder, tmp_path, "--metadata", metadata).endswith(
        "movies_metadata.csv: links.csv, which joins it to the movies, is missing"
    )


# ---- where the files lie ----


def test_zip_and_subfolder_give_the_same_dataset(tmp_path):
    whole, _ = imported(EMBEDDED, tmp_path / "folder.reel")
    unpacked = tmp_path / "unpacked"
    write(unpacked / "ml-latest-small", {p.name: p.read_bytes() for p in EMBEDDED.iterdir() if p.is_file()})
    archive = tmp_path / "ml-latest-small.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("__MACOSX/._ratings.csv", "x")
        for path in EMBEDDED.iterdir():
            packed.write(path, f"ml-latest-small/{path.name}")
    for source in (unpacked, archive):
        report, _ = imported(source, tmp_path / "other.reel")
        assert report["fingerprint"] == whole["fingerprint"]
        assert (tmp_path / "other.reel").read_bytes() == (tmp_path / "folder.reel").read_bytes()


def test_stored_zip_at_its_top(tmp_path):
    rows, movies = make_100k(tmp_path / "ml-100k")
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_STORED) as packed:
        for path in sorted((tmp_path / "ml-100k").iterdir()):
            packed.write(path, path.name)
    _, dataset = imported(tmp_path / "a.zip", tmp_path / "out.reel")
    check_ratings(dataset, rows, movies)


def test_bad_zips(tmp_path):
    archive = tmp_path / "ml.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("ml/ratings.csv", HEADER + "1,1,4.0,0\n" * 5)
    good = archive.read_bytes()
    assert failure(archive, tmp_path) == "ml/ratings.csv:3: user 1 rated movie 1 before, in line 2"
    archive.write_bytes(good[:-30])
    assert failure(archive, tmp_path).startswith("SOURCE: the ZIP archive cannot be read (")
    damaged = bytearray(good)
    damaged[60] ^= 0x55
    archive.write_bytes(damaged)
    assert failure(archive, tmp_path).startswith("ml/ratings.csv: the ZIP member is damaged (")
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("ml/readme.txt", "nothing")
    assert failure(archive, tmp_path) == (
        "SOURCE: no ratings were found (looked for ratings.csv, ratings.dat, u.data)"
    )
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("ratings.csv", b"\n" * (40 << 20))
    assert re.fullmatch(
        r"ratings\.csv: unpacks to more than 200 times its packed size \(found 41943040 of \d+ bytes\)",
        failure(archive, tmp_path),
    )


def test_no_or_several_data_sets(tmp_path):
    message = "no ratings were found (looked for ratings.csv, ratings.dat, u.data)"
    assert failure(write(tmp_path / "none", {"README": "x"}), tmp_path) == f"SOURCE: {message}"
    two = write(tmp_path / "two", {"a/ratings.csv": HEADER, "b/u.data": "", "c/x": ""})
    assert failure(two, tmp_path) == "SOURCE: holds several data sets (found a and b): name one"
    assert failure(tmp_path / "missing", tmp_path) == "SOURCE: cannot be opened: No such file or directory"


@pytest.mark.parametrize(
    "content, kind",
    [
        ("1,10,4.0,5\n2,10,0.5,6\n", "csv"),
        ("1,10,4.0,5\r\n2,10,0.5,6\r\n", "csv"),
        ("\ufeff1,10,4.0,5\n\n2,10,.5,6", "csv"),
        (HEADER + "1,10,4.0,5\n2,10,0.5,6", "ml-csv"),
        ("\ufeff" + HEADER + "1,10,4.0,5\n2,10,0.5,6", "ml-csv"),
        ("1::10::4::5\n2::10::0.5::6\n", "ml-10m"),
        ("1\t10\t4\t5\n2\t10\t0.5\t6\n", "ml-100k"),
        ("user_id;item_id;score;time\n 1 ; 10 ; 4 ; 5 \n2;10;0.50;6\n", "csv"),
        ("rating,movie,x,user,timestamp\n4,10,?,1,5\n0.5,10,,2,6\n", "csv"),
        ('"userId","movieId","rating","timestamp","note"\n"1","10","4.0","5","a\nb"\n2,10,0.5,6,"say ""x"", y"\n', "ml-csv"),
    ],
)
def test_bare_files(tmp_path, content, kind):
    path = tmp_path / "some.txt"
    path.write_text(content, newline="")
    report, dataset = imported(path, tmp_path / "out.reel")
    check_ratings(dataset, [(1, 10, 8, 5), (2, 10, 1, 6)])
    assert report["format"] == kind and report["n_placeholders"] == 1
    assert dataset.texts("movie_title_offsets", "movie_titles") == ["movie 10"]


def test_named_columns(tmp_path):
    folder = write(tmp_path / "shop", {"reviews.csv": "when,stars,who,what\n7,2.5,3,4\n8,5,3,5\n", "movies.csv": MOVIES})
    report, dataset = imported(folder, tmp_path / "out.reel", "--columns", "who,what,stars,when")
    check_ratings(dataset, [(3, 4, 5, 7), (3, 5, 10, 8)], [1, 2, 3])
    assert report["format"] == "csv"
    _, dataset = imported(folder / "reviews.csv", tmp_path / "out.reel", "--columns", "who,what,stars")
    check_ratings(dataset, [(3, 4, 5, 0), (3, 5, 10, 0)])
    assert failure(folder, tmp_path, "--columns", "who,what,points") == (
        "reviews.csv:1: no column is called 'points' (found 'when,stars,who,what')"
    )
    done = run_import(folder, tmp_path / "x.reel", "--columns", "who,what")
    assert done.returncode == 2
    assert done.stderr == "reel: columns must be user,movie,rating[,time] (found 'who,what')\n"


# ---- bad input ----

BAD_ID = "is not a whole number 0..2147483647"
BAD_RATINGS = [
    ("", "ratings.csv: the file is empty"),
    ("\n\n", "ratings.csv: the file is empty"),
    (HEADER, "ratings.csv: the file has no ratings"),
    ("a,b,c\n1,1,5\n", "ratings.csv:1: the header names no user, movie and rating columns; name them with "
     "columns user,movie,rating[,time] (found 'a,b,c')"),
    (HEADER + "1,1,4.0\n", "ratings.csv:2: too few columns: 4 are needed (found 3)"),
    (HEADER + "1,1,4.0,5,6\n", "ratings.csv:2: too many columns: 4 are needed (found 5)"),
    (HEADER + "1,2,4.0,5\nx,1,4.0,5\n", f"ratings.csv:3: user id {BAD_ID} (found 'x')"),
    (HEADER + "-1,1,4.0,5\n", f"ratings.csv:2: user id {BAD_ID} (found '-1')"),
    (HEADER + ",1,4.0,5\n", f"ratings.csv:2: user id {BAD_ID} (found '')"),
    (HEADER + "1,1.5,4.0,5\n", f"ratings.csv:2: movie id {BAD_ID} (found '1.5')"),
    (HEADER + "2147483648,1,4.0,5\n", "ratings.csv:2: user id overflow: ids go up to 2147483647 (found 2147483648)"),
    (HEADER + "1,9999999999999999999999,4.0,5\n",
     "ratings.csv:2: movie id overflow: ids go up to 2147483647 (found 9999999999999999999999)"),
    (HEADER + "1,1,0.0,5\n", "ratings.csv:2: rating is off the half-star scale 0.5..5 (found 0.0)"),
    (HEADER + "1,1,5.5,5\n", "ratings.csv:2: rating is off the half-star scale 0.5..5 (found 5.5)"),
    (HEADER + "1,1,3.7,5\n", "ratings.csv:2: rating is off the half-star scale 0.5..5 (found 3.7)"),
    (HEADER + "1,1,-1,5\n", "ratings.csv:2: rating is off the half-star scale 0.5..5 (found -1)"),
    (HEADER + "1,1,45,5\n", "ratings.csv:2: rating is off the half-star scale 0.5..5 (found 45)"),
    (HEADER + "1,1,3.55,5\n", "ratings.csv:2: rating is off the half-star scale 0.5..5 (found 3.55)"),
    (HEADER + "1,1,good,5\n", "ratings.csv:2: rating is not a number (found 'good')"),
    (HEADER + "1,1,nan,5\n", "ratings.csv:2: rating is not a number (found 'nan')"),
    (HEADER + "1,1,.,5\n", "ratings.csv:2: rating is not a number (found '.')"),
    (HEADER + "1,1,4.0,4294967296\n",
     "ratings.csv:2: time is not a whole number of seconds 0..4294967295 (found '4294967296')"),
    (HEADER + "1,1,4.0,2001-01-01\n",
     "ratings.csv:2: time is not a whole number of seconds 0..4294967295 (found '2001-01-01')"),
    (HEADER + '1,1,4.0,"5"x\n', "ratings.csv:2: text follows a closing quote"),
    (HEADER + '1,1,4.0,5\n1,2,4.0,"5\n', "ratings.csv:3: a quoted field is never closed"),
    (HEADER + "1,1,4.0,\x00\n", "ratings.csv:2: time is not a whole number of seconds 0..4294967295 (found '?')"),
    (HEADER + "\r\n1,1,4.0,5\r\n\n1,1,3.0,6\r\n", "ratings.csv:5: user 1 rated movie 1 before, in line 3"),
    (HEADER + "5,1,4.0,5\n1,1,3.0,6\n5,1,4.0,5\n1,1,3,0\nbad\n", "ratings.csv:4: user 5 rated movie 1 before, in line 2"),
    (HEADER + "1,1,4.0,5\n1,2,nine,5\n1,1,4.0,5\n", "ratings.csv:3: rating is not a number (found 'nine')"),
    (HEADER + "1,1,4.0," + "9" * 60 + "\n",
     f"ratings.csv:2: time is not a whole number of seconds 0..4294967295 (found '{'9' * 40}...')"),
]


@pytest.mark.parametrize("content, message", BAD_RATINGS)
def test_bad_ratings(tmp_path, content, message):
    folder = write(tmp_path / "ml", {"ratings.csv": content, "movies.csv": MOVIES})
    assert failure(folder, tmp_path) == message


BAD_OTHERS = [
    ({"movies.csv": ""}, "movies.csv: the file is empty"),
    ({"movies.csv": "movieId,title,genres\n"}, "movies.csv: the file has no movies"),
    ({"movies.csv": "id;title\n1;x\n"}, "movies.csv:1: the header names no movieId and title columns (found 'id;title?')"),
    ({"movies.csv": MOVIES + "4,Ben, Hur (1959),Drama\n"}, "movies.csv:5: too many columns (is a comma not quoted?)"),
    ({"movies.csv": MOVIES + "4,x\n"}, "movies.csv:5: too few columns"),
    ({"movies.csv": MOVIES + "4294967297,x,Drama\n"},
     "movies.csv:5: movie id overflow: ids go up to 2147483647 (found 4294967297)"),
    ({"movies.csv": MOVIES + "x,x,Drama\n"}, f"movies.csv:5: movie id {BAD_ID} (found 'x')"),
    ({"movies.csv": MOVIES + "4,,Drama\n"}, "movies.csv:5: the title is empty"),
    ({"movies.csv": MOVIES.encode() + b"4,caf\xe9,Drama\n"},
     "movies.csv:5: the title is not UTF-8 text (found 'caf?')"),
    ({"movies.csv": MOVIES.encode() + b"4,cafe,Dr\xe9\n"}, "movies.csv:5: the genres are not UTF-8 text"),
    ({"movies.csv": MOVIES + "7,a,A\n2,Jumanji again,A\nbad\n"}, "movies.csv:6: movie 2 was listed before, in line 3"),
    ({"movies.csv": MOVIES + "7,a,A\nbad\n2,Jumanji again,A\n"}, "movies.csv:6: too few columns"),
    ({"movies.csv": MOVIES + '4,"never closed,Drama\n'}, "movies.csv:5: a quoted field is never closed"),
    ({"tags.csv": ""}, "tags.csv: the file is empty"),
    ({"tags.csv": "userId,movieId,tag,timestamp\n1,1,fun\n"}, "tags.csv:2: too few columns"),
    ({"tags.csv": "userId,movieId,tag,timestamp\n1,y,fun,3\n"}, f"tags.csv:2: movie {BAD_ID} (found 'y')"),
    ({"tags.csv": b"userId,movieId,tag,timestamp\n1,1,\xff,3\n"}, "tags.csv:2: the tag is not UTF-8 text (found '?')"),
    ({"tags.csv": "userId,movieId,tag,timestamp\n1,1,a,b\n"},
     "tags.csv:2: time is not a whole number 0..4294967295 (found 'b')"),
    ({"tags.csv": "a,b\n1,1\n"}, "tags.csv:1: the header names no userId, movieId and tag columns (found 'a,b?')"),
    ({"links.csv": ""}, "links.csv: the file is empty"),
    ({"links.csv": "movieId,imdbId,tmdbId\n1,0114709,862\n2,tt1,3\n"}, f"links.csv:3: imdb id {BAD_ID} (found 'tt1')"),
    ({"links.csv": "movieId,imdbId,tmdbId\n1,1,1\n3,1,1\n1,2,\n"}, "links.csv:4: movie 1 was linked before, in line 2"),
    ({"links.csv": "movieId,imdbId,tmdbId\n1,1\n"}, "links.csv:2: too few columns: 3 are needed (found 2)"),
    ({"genome-scores.csv": "movieId,tagId,relevance\n1,1,0.5\n"},
     "genome-scores.csv: genome-tags.csv, which names its tags, is missing"),
    ({"genome-scores.csv": "movieId,tagId,relevance\n1,1,1.5\n", "genome-tags.csv": "tagId,tag\n1,x\n"},
     "genome-scores.csv:2: relevance is not a number 0..1 (found '1.5')"),
    ({"genome-scores.csv": "movieId,tagId,relevance\n1,1,0.5\n1,2,0.5\n", "genome-tags.csv": "tagId,tag\n1,x\n"},
     "genome-scores.csv:3: genome-tags has no such tag (found '2')"),
    ({"genome-scores.csv": "movieId,tagId,relevance\n1,1,0.5\n1,1,0.6\n", "genome-tags.csv": "tagId,tag\n1,x\n"},
     "genome-scores.csv:3: movie 1 has a score for tag 1 already"),
    ({"genome-scores.csv": "movieId,tagId,relevance\n1,1,0.5\n", "genome-tags.csv": "tagId,tag\n1,x\n3,y\n1,z\n"},
     "genome-tags.csv:4: tag 1 was listed before, in line 2"),
    ({"movies.csv": "movieId,title,genres\n1,x," + "|".join(f"g{i:02}" for i in range(65)) + "\n"},
     "movies.csv:2: more than 64 genres, or a name longer than 63 bytes (found 'g00|g01|g02|g03|g04|g05|g06|g07|g08|g09|...')"),
]


@pytest.mark.parametrize("files, message", BAD_OTHERS)
def test_bad_other_files(tmp_path, files, message):
    folder = write(tmp_path / "ml", {"ratings.csv": HEADER + "1,1,4.0,5\n", "movies.csv": MOVIES, **files})
    assert failure(folder, tmp_path) == message


BAD_DAT = [
    ({"u.data": "1\t1\t3.5\t4\n"}, "u.data:1: rating is off the scale of whole stars 1..5 (found 3.5)"),
    ({"u.data": "1\t1\t3\t4\n1 2 3 4\n"}, "u.data:2: too few columns: 4 are needed (found 1)"),
    ({"u.data": "1\t1\t3\t4\n", "u.item": "1|Toy Story|x\n"}, "u.item:1: the number of columns is not that of u.item"),
    ({"u.data": "1\t1\t3\t4\n", "u.genre": "Action|1\n", "u.item": "x\n"},
     "u.genre:1: this is no genre line, name|0 (found 'Action')"),
    ({"ratings.dat": "1::1::6::4\n", "users.dat": ""}, "ratings.dat:1: rating is off the scale of whole stars 1..5 (found 6)"),
    ({"ratings.dat": "1::1::4::4\nx::1::4::4\n"}, f"ratings.dat:2: user id {BAD_ID} (found 'x')"),
    ({"ratings.dat": "1::1::4::4\n", "movies.dat": "1:Toy Story\n"},
     "movies.dat:1: too few columns: id::title::genres is needed"),
    ({"ratings.dat": "1::1::4::4\n", "tags.dat": "1::1::a\n"},
     "tags.dat:1: too few columns: user::movie::tag::time is needed"),
]


@pytest.mark.parametrize("files, message", BAD_DAT)
def test_bad_dat_files(tmp_path, files, message):
    assert failure(write(tmp_path / "ml", files), tmp_path).splitlines()[-1] == message


def long_ratings(n):
    """More lines than one chunk of the parallel parse holds."""
    return [f"{u},{m},{(u + m) % 10 / 2 + 0.5},{1000000000 + m}" for u in range(1, n // 50 + 1) for m in range(1, 51)]


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_first_bad_line_of_a_long_file_is_told(tmp_path, threads):
    lines = long_ratings(150000)
    for bad in (149990, 100001, 60000):
        lines[bad] = "bad"
        folder = write(tmp_path / "ml", {"ratings.csv": HEADER + "\n".join(lines)})
        assert failure(folder, tmp_path, "--threads", threads) == (
            f"ratings.csv:{bad + 2}: too few columns: 4 are needed (found 1)"
        )
    lines[59000] = lines[3]
    write(tmp_path / "ml", {"ratings.csv": HEADER + "\n".join(lines)})
    assert failure(folder, tmp_path, "--threads", threads) == "ratings.csv:59002: user 1 rated movie 4 before, in line 5"


def test_skip_bad(tmp_path):
    files = {
        "ratings.csv": HEADER + "1,1,4.0,5\nbad\n1,2,9,5\n2,1,0.5,7\n",
        "movies.csv": MOVIES + "9\n1,again,Drama\n",
        "tags.csv": "userId,movieId,tag,timestamp\n1,1,fun,x\n1,1,fun,3\n",
        "links.csv": "movieId,imdbId,tmdbId\n1,1,\n1,2,3\n2,,x\n3,,\n",
    }
    folder = write(tmp_path / "ml", files)
    report, dataset = imported(folder, tmp_path / "out.reel", "--skip-bad")
    check_ratings(dataset, [(1, 1, 8, 5), (2, 1, 1, 7)], [1, 2, 3])
    check_tags(dataset, [(1, 1, 3, "fun")])
    assert report["n_bad_lines"] == 7 and report["n_duplicates"] == 0
    assert list(dataset["movie_imdb_ids"]) == [1, -1, -1] and list(dataset["movie_tmdb_ids"]) == [-1, -1, -1]
    done = subprocess.run([REEL, "import", folder, "-o", tmp_path / "out.reel", "--skip-bad"], capture_output=True, text=True)
    notes = [line.replace(f"reel: note: {folder}/", "") for line in done.stderr.splitlines() if "note" in line]
    assert notes == [
        "ratings.csv:3: too few columns: 4 are needed (found 1), skipped",
        "ratings.csv:4: rating is off the half-star scale 0.5..5 (found 9), skipped",
        "movies.csv:5: too few columns, skipped",
        "movies.csv:6: movie 1 was listed before, in line 2, skipped",
        "tags.csv:2: time is not a whole number 0..4294967295 (found 'x'), skipped",
        f"links.csv:4: tmdb id {BAD_ID} (found 'x'), skipped",
        "links.csv:3: movie 1 was linked before, in line 2, skipped",
    ]
    assert failure(write(folder, {"ratings.csv": HEADER + "bad\n"}), tmp_path, "--skip-bad").endswith(
        "ratings.csv: the file has no ratings"
    )


def test_skip_bad_in_a_long_file(tmp_path):
    lines = long_ratings(150000)
    good = [line.split(",") for line in lines]
    for bad in range(100, 150000, 1000):
        lines[bad] = "1,1,4.0"
        good[bad] = None
    lines.insert(77777, "")
    folder = write(tmp_path / "ml", {"ratings.csv": HEADER + "\n".join(lines)})
    report, dataset = imported(folder, tmp_path / "out.reel", "--skip-bad")
    check_ratings(dataset, [(int(r[0]), int(r[1]), half_stars(r[2]), int(r[3])) for r in good if r])
    assert report["n_bad_lines"] == 150
    done = subprocess.run([REEL, "import", folder, "-o", tmp_path / "out.reel", "--skip-bad"], capture_output=True, text=True)
    listed = [line for line in done.stderr.splitlines() if "too few columns" in line]
    assert len(listed) == 20 and ":102: " in listed[0] and ":19102: " in listed[19]
    assert "150 bad lines and repeated ratings in all were skipped" in done.stderr


def test_the_latest_of_repeated_ratings_wins(tmp_path):
    lines = ["5,1,1.0,50", "2,9,2.0,10", "5,1,3.0,70", "2,9,2.5,10", "5,1,4.0,60", "2,8,0.5,1", "2,9,4.5,9"]
    folder = write(tmp_path / "ml", {"ratings.csv": HEADER + "\n".join(lines) + "\n"})
    report, dataset = imported(folder, tmp_path / "out.reel", "--skip-bad")
    check_ratings(dataset, [(5, 1, 6, 70), (2, 9, 5, 10), (2, 8, 1, 1)])
    assert report["n_duplicates"] == 4 and report["n_bad_lines"] == 0 and report["n_ratings"] == 3
    done = subprocess.run([REEL, "import", folder, "-o", tmp_path / "out.reel", "--skip-bad"], capture_output=True, text=True)
    repeats = [line.split("ratings.csv:")[1] for line in done.stderr.splitlines() if "more than once" in line]
    assert repeats == [
        f"{line}: user {user} rated movie {movie} more than once; the rating in line {winner} wins, skipped"
        for line, user, movie, winner in [(2, 5, 1, 4), (3, 2, 9, 5), (6, 5, 1, 4), (8, 2, 9, 5)]
    ]


# ---- promises ----


def test_same_bytes_at_any_number_of_threads(tmp_path):
    lines = long_ratings(150000)
    for shuffled in (False, True):
        if shuffled:
            random.Random(3).shuffle(lines)
        folder = write(tmp_path / "ml", {"ratings.csv": HEADER + "\n".join(lines), "movies.csv": MOVIES})
        results = set()
        for threads in (1, 2, 3, 8):
            imported(folder, tmp_path / "out.reel", "--threads", threads)
            results.add((tmp_path / "out.reel").read_bytes())
        assert len(results) == 1
    rows = [(int(u), int(m), half_stars(r), int(t)) for u, m, r, t in (line.split(",") for line in lines)]
    check_ratings(TensorFile(tmp_path / "out.reel"), rows, [1, 2, 3])


@pytest.mark.parametrize("spread", [1, 1000003])
def test_ids_near_and_far(tmp_path, spread):
    """Ids that need a table and ids that need a search."""
    pick = random.Random(5)
    rows = {(pick.randrange(2000) * spread, pick.randrange(2000) * spread): pick.randint(1, 10) for _ in range(5000)}
    rows[2147483647, 0] = 1
    rows[0, 2147483647] = 2
    text = HEADER + "".join(f"{u},{m},{r / 2},{r}\n" for (u, m), r in rows.items())
    _, dataset = imported(write(tmp_path / "ml", {"ratings.csv": text}), tmp_path / "out.reel")
    check_ratings(dataset, [(u, m, r, r) for (u, m), r in rows.items()])


def test_failure_leaves_the_old_dataset(tmp_path):
    out = tmp_path / "out.reel"
    imported(write(tmp_path / "ml", {"ratings.csv": HEADER + "1,1,4.0,5\n"}), out)
    before = out.read_bytes()
    write(tmp_path / "ml", {"ratings.csv": HEADER + "1,1,4.0\n"})
    done = run_import(tmp_path / "ml", out, "--json")
    assert done.returncode == 1 and out.read_bytes() == before and sorted(os.listdir(tmp_path)) == ["ml", "out.reel"]
    error = json.loads(done.stdout)["error"]
    assert error["code"] == "bad_input" and error["message"] in done.stderr
    assert run_import(tmp_path / "ml", tmp_path / "no" / "such" / "folder").returncode == 1


def test_the_source_is_never_replaced(tmp_path):
    path = tmp_path / "ratings.csv"
    path.write_text(HEADER + "1,1,4.0,5\n")
    done = run_import(path, path)
    assert done.returncode == 2 and "would replace its own source" in done.stderr
    assert path.read_text() == HEADER + "1,1,4.0,5\n"


def test_verify_accepts_and_info_describes(tmp_path):
    imported(EMBEDDED, tmp_path / "out.reel")
    done = subprocess.run([REEL, "verify", tmp_path / "out.reel", "--json"], capture_output=True, text=True)
    assert done.returncode == 0 and json.loads(done.stdout)["ok"] is True


def test_killed_at_any_moment(tmp_path):
    """Whatever lies under the final name after kill -9 passes verify."""
    out, pick = tmp_path / "out.reel", random.Random(11)
    begin = time.monotonic()
    imported(EMBEDDED, out)
    usual = time.monotonic() - begin
    fresh = tmp_path / "fresh.reel"
    for round in range(20):
        target = out if round % 2 else fresh
        running = subprocess.Popen([REEL, "import", EMBEDDED, "-o", target, "--quiet"], stdout=subprocess.DEVNULL)
        time.sleep(pick.random() * usual)
        running.send_signal(signal.SIGKILL)
        running.wait()
        for path in (out, fresh):
            if path.exists():
                assert subprocess.run([REEL, "verify", path, "--quiet"], capture_output=True).returncode == 0
        fresh.unlink(missing_ok=True)


def test_usage(tmp_path):
    assert subprocess.run([REEL, "import", EMBEDDED], capture_output=True).returncode == 2
    done = subprocess.run([REEL, "import", "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and "reel import ml-20m.zip -o ml-20m.reel" in done.stdout
