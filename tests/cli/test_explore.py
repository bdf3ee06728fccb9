"""reel explore: every published figure of the catalogue; rating figures against pandas on the same CSV; text, JSON
and page agree; the page is self-contained and titles are only text."""

import collections
import itertools
import json
import re
import shutil
import xml.etree.ElementTree as ElementTree

import numpy as np
import pandas as pd
import pytest

from eval_tools import EMBEDDED, SHARED, reel, reel_json, refused, run

CATALOGUE = SHARED / "ml-20m-catalogue" / "movies.csv"
NO_GENRES = "(no genres listed)"


def need(path):
    if not path.exists():
        pytest.skip(f"{path} is not there")
    return path


def check_spread(found, values):
    """min, max, mean, median, std (population) as NumPy has them."""
    values = np.asarray(values, dtype=float)
    expected = [values.min(), values.max(), values.mean(), np.median(values), values.std()]
    assert [found[key] for key in ("min", "max", "mean", "median", "std")] == pytest.approx(expected, rel=1e-12)


# ---- movies ----


@pytest.fixture(scope="module")
def catalogue():
    return reel_json("explore", need(CATALOGUE))["movies"]


def test_catalogue_figures(catalogue):
    assert catalogue["count"] == 27278
    each, year = catalogue["genres_per_movie"], catalogue["year"]
    assert (each["min"], each["max"], each["median"]) == (1, 10, 2)
    assert (round(each["mean"], 2), round(each["std"], 2)) == (1.99, 1.04)
    assert {row["genres"]: row["movies"] for row in each["distribution"]} == {
        1: 10829, 2: 8809, 3: 5330, 4: 1724, 5: 477, 6: 83, 7: 20, 8: 5, 10: 1}  # fmt: skip
    assert (year["min"], year["max"], year["median"], year["without"]) == (1891, 2015, 1998, 22)
    assert (round(year["mean"], 2), round(year["std"], 2)) == (1989.37, 23.34)
    assert sum(row["movies"] for row in year["histogram"]) == 27278 - 22


def test_catalogue_genres(catalogue):
    expected = (
        "Drama 13344, Comedy 8374, Thriller 4178, Romance 4127, Action 3520, Crime 2939, Horror 2611, "
        "Documentary 2471, Adventure 2329, Sci-Fi 1743, Mystery 1514, Fantasy 1412, War 1194, Children 1139, "
        "Musical 1036, Animation 1027, Western 676, Film-Noir 330, (no genres listed) 246, IMAX 196"
    )
    assert ", ".join(f"{row['name']} {row['movies']}" for row in catalogue["genres"]) == expected


def test_catalogue_pairs(catalogue):
    pairs = catalogue["genre_pairs"]
    assert (pairs["distinct"], pairs["occurrences"]) == (168, 41763)
    assert pairs["ranked"][:2] == [{"name": "Drama_Romance", "movies": 2573}, {"name": "Comedy_Drama", "movies": 2546}]


def test_catalogue_text():
    text = reel("explore", need(CATALOGUE))
    assert re.search(r"^movies +27,278$", text, re.M)
    assert re.search(r"^titles without a year +22$", text, re.M)
    assert re.search(r"^genres a movie +1 +10 +1\.99 +2 +1\.04$", text, re.M)
    assert re.search(r"^year +1891 +2015 +1989\.37 +1998 +23\.34$", text, re.M)
    assert "168 distinct pairs, 41,763 occurrences in all" in text
    assert re.search(r"^Drama_Romance +2573 ", text, re.M)
    assert "no ratings here" in text and "nan" not in text.lower()


def check_movies(found, frame):
    """frame: title, genres, year (nan = none) of each movie."""
    genres = [set(text.split("|")) for text in frame.genres]
    assert found["count"] == len(frame)
    check_spread(found["genres_per_movie"], [len(names) for names in genres])
    check_spread(found["year"], frame.year.dropna())
    counts = collections.Counter(name for names in genres for name in names)
    assert [(row["name"], row["movies"]) for row in found["genres"]] == sorted(
        counts.items(), key=lambda item: (-item[1], item[0])
    )
    pairs = collections.Counter(pair for names in genres for pair in itertools.combinations(sorted(names), 2))
    ranked = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))
    assert [(row["name"], row["movies"]) for row in found["genre_pairs"]["ranked"]] == [
        ("_".join(pair), count) for pair, count in ranked
    ]
    assert found["genre_pairs"]["distinct"] == len(pairs)
    assert found["genre_pairs"]["occurrences"] == sum(pairs.values())


# ---- ratings, recomputed with pandas ----


def read_movies(folder):
    if (folder / "movies.csv").exists():
        movies = pd.read_csv(folder / "movies.csv")
    else:
        rows = [line.rstrip("\n").split("::") for line in open(folder / "movies.dat", encoding="latin-1")]
        movies = pd.DataFrame(rows, columns=["movieId", "title", "genres"]).astype({"movieId": int})
    movies["year"] = movies.title.str.extract(r"\((\d{4})(?:[-–]\d{4})?\)\s*$")[0].astype(float)
    return movies.set_index("movieId")


def read_ratings(folder):
    if (folder / "ratings.csv").exists():
        return pd.read_csv(folder / "ratings.csv")
    names = ["userId", "movieId", "rating", "timestamp"]
    return pd.read_csv(folder / "ratings.dat", sep="::", engine="python", names=names)


def check_ranked(rows, table, columns, titles=None):
    """rows: the first five of `table` (votes, mean by id), ordered by `columns`: (name, ascending), then id."""
    table = table.assign(id=table.index)
    names, directions = [name for name, _ in columns] + ["id"], [up for _, up in columns] + [True]
    expected = table.sort_values(names, ascending=directions).head(5)
    assert [row["id"] for row in rows] == expected.index.tolist()
    assert [row["votes"] for row in rows] == expected.votes.tolist()
    assert [row["mean_rating"] for row in rows] == pytest.approx(expected["mean"].tolist(), rel=1e-12)
    if titles is not None:
        assert [row["title"] for row in rows] == titles[expected.index].tolist()


def check_votes(found, ratings, key, titles=None):
    group = ratings.groupby(key).half
    table = pd.DataFrame({"votes": group.size(), "mean": group.sum() / group.size() / 2})
    check_spread(found["votes"], table.votes)
    check_spread(found["mean_rating"], table["mean"])
    check_ranked(found["most_votes"], table, [("votes", False)], titles)
    check_ranked(found["fewest_votes"], table, [("votes", True)], titles)
    check_ranked(found["highest_mean"], table, [("mean", False)], titles)
    check_ranked(found["lowest_mean"], table, [("mean", True)], titles)
    many = table[table.votes >= found["with_many_votes"]["min_votes"]]
    assert found["with_many_votes"]["count"] == len(many)
    check_ranked(found["with_many_votes"]["highest_mean"], many, [("mean", False)], titles)
    check_ranked(found["with_many_votes"]["lowest_mean"], many, [("mean", True)], titles)
    for row in found["votes"]["histogram"]:
        who = row.get("users", row.get("movies"))
        assert who == ((table.votes >= row["from"]) & (table.votes <= row["to"])).sum()
    return len(table)


def check_ratings(found, ratings):
    assert found["count"] == len(ratings)
    check_spread(found, ratings.rating)
    counts = ratings.rating.value_counts()
    assert [(row["rating"], row["count"]) for row in found["histogram"]] == [
        (half / 2, counts.get(half / 2, 0)) for half in range(1, 11)
    ]
    time = pd.to_datetime(ratings.timestamp, unit="s")
    assert (found["first"], found["last"]) == tuple(t.strftime("%Y-%m-%dT%H:%M:%SZ") for t in (time.min(), time.max()))
    months = ratings.groupby(time.dt.strftime("%Y-%m")).rating
    expected = pd.DataFrame({"count": months.size(), "mean": months.mean()})
    rows = [row for row in found["months"] if row["count"]]
    assert [row["month"] for row in rows] == expected.index.tolist()
    assert [row["count"] for row in rows] == expected["count"].tolist()
    assert [row["mean"] for row in rows] == pytest.approx(expected["mean"].tolist(), rel=1e-12)
    every = [row["month"] for row in found["months"]]
    assert every == [str(month) for month in pd.period_range(every[0], every[-1], freq="M")]
    assert all(row["mean"] is None for row in found["months"] if row["count"] == 0)


@pytest.fixture(scope="module")
def twin(tmp_path_factory):
    """A small synthetic twin; its catalogue has movies that nobody rated."""
    folder = tmp_path_factory.mktemp("twin")
    reel("gen", "--like", "ml-20m", "--ratings", 300000, "--seed", 5, "-o", folder, "--progress", "none")
    return folder


@pytest.mark.parametrize("source", ["embedded", "ml-latest-small", "ml-1m", "twin"])
def test_figures_match_pandas(source, request):
    folder = {"embedded": EMBEDDED, "twin": None}.get(source, SHARED / source)
    folder = need(folder or request.getfixturevalue("twin"))
    found = reel_json("explore", folder)
    movies, ratings = read_movies(folder), read_ratings(folder)
    ratings["half"] = (ratings.rating * 2).round().astype(int)
    check_movies(found["movies"], movies)
    n_movies = check_votes(found["movies"], ratings, "movieId", movies.title)
    n_users = check_votes(found["users"], ratings, "userId")
    check_ratings(found["ratings"], ratings)
    assert found["movies"]["rated"] == n_movies
    assert found["users"]["count"] == found["users"]["rating"] == n_users
    assert found["ratings"]["density"] == pytest.approx(len(ratings) / n_users / n_movies, rel=1e-12)


# ---- sources ----


def test_every_form_of_the_same_data_gives_the_same_figures(tmp_path):
    dataset = tmp_path / "small.data"  # known by its content, not its name
    reel("import", EMBEDDED, "-o", dataset)
    whole = reel_json("explore", dataset)
    folder = reel_json("explore", EMBEDDED)
    assert {**folder, "source": ""} == {**whole, "source": ""}
    movies = reel_json("explore", EMBEDDED / "movies.csv")
    for key in ("count", "genres_per_movie", "year", "genres", "genre_pairs"):
        assert movies["movies"][key] == whole["movies"][key]
    assert movies["users"]["count"] == movies["ratings"]["count"] == movies["movies"]["rated"] == 0
    assert movies["ratings"]["mean"] is None and movies["users"]["votes"]["max"] is None
    ratings = reel_json("explore", EMBEDDED / "ratings.csv")
    assert ratings["ratings"] == whole["ratings"]
    assert ratings["users"] == whole["users"]
    assert ratings["movies"]["votes"] == whole["movies"]["votes"]
    assert ratings["movies"]["placeholders"] == ratings["movies"]["count"] == 9066
    assert ratings["movies"]["genres"] == [] and ratings["movies"]["genres_per_movie"]["mean"] is None


def test_threads_change_nothing(tmp_path):
    outputs = []
    for threads in (1, 2, 3, 8):
        page = tmp_path / f"{threads}.html"
        outputs.append((reel("explore", EMBEDDED, "--threads", threads, "--html", page), page.read_bytes()))
    assert all(output == outputs[0] for output in outputs)


def test_movies_dat_and_u_item(tmp_path):
    dat = tmp_path / "movies.dat"
    dat.write_bytes("1::Café (1995)::Drama|War\n2::Two (1996)::Drama\n".encode("latin-1"))
    found = reel_json("explore", dat)["movies"]
    assert found["count"] == 2 and found["year"]["mean"] == 1995.5
    item = tmp_path / "u.item"
    item.write_text("1|One (1995)|01-Jan-1995||http://x|" + "|".join("0" * 8 + "1" + "0" * 10) + "\n")
    assert reel_json("explore", item)["movies"]["genres"] == [{"name": "Drama", "movies": 1}]


# ---- text ----


def test_text_and_json_agree():
    text, found = reel("explore", EMBEDDED), reel_json("explore", EMBEDDED)
    assert max(map(len, text.splitlines())) <= 80
    assert all(line == line.rstrip() for line in text.splitlines())

    def line(name, *figures):
        pattern = rf"^{re.escape(name)} +" + " +".join(map(re.escape, figures)) + r"(?!\w)"
        assert re.search(pattern, text, re.M), pattern

    def spread(name, values, digits):
        figures = [f"{values[key]:.{digits}f}" for key in ("min", "max")] + [f"{values['mean']:.2f}"]
        line(name, *figures, f"{values['median']:.{digits}f}", f"{values['std']:.2f}")

    movies, users, ratings = found["movies"], found["users"], found["ratings"]
    line("movies", f"{movies['count']:,}")
    line("users", f"{users['count']:,}")
    line("ratings", f"{ratings['count']:,}")
    spread("genres a movie", movies["genres_per_movie"], 0)
    spread("year", movies["year"], 0)
    spread("votes a user", users["votes"], 0)
    spread("votes a movie", movies["votes"], 0)
    spread("stars", ratings, 1)
    for row in ratings["histogram"]:
        line(f"{row['rating']:.1f}", f"{row['count']:,}", f"{100 * row['count'] / ratings['count']:.2f} %")
    for row in movies["genres"]:
        line(row["name"], f"{row['movies']:,}")
    for row in movies["genre_pairs"]["ranked"]:
        assert re.search(rf"(^| ){row['name']} +{row['movies']}\b", text, re.M)
    for key in ("most_votes", "fewest_votes", "highest_mean", "lowest_mean"):
        for row in movies[key]:
            title = row["title"] if len(row["title"]) <= 48 else row["title"][:47] + "…"
            line(f"  {title}", str(row["id"]), f"{row['votes']:,}", f"{row['mean_rating']:.4f}")
        for row in users[key]:
            line(f"  user {row['id']}", f"{row['votes']:,}", f"{row['mean_rating']:.4f}")
    for year, rows in itertools.groupby(ratings["months"], key=lambda row: row["month"][:4]):
        line(year, f"{sum(row['count'] for row in rows):,}")


# ---- the page ----


def write_hostile(folder):
    folder.mkdir()
    titles = ['<script>alert(1)</script> (1999)', '"><img src=x onerror=alert(1)> (2000)', "A & B's ]]> (2001)",
              "漢字の映画 <b>(2002)", "</title></svg><svg onload=alert(2)> (2003)"]  # fmt: skip
    quoted = [title.replace('"', '""') for title in titles]
    rows = [f'{i + 1},"{title}","<i>Drama|War & ""Peace"""' for i, title in enumerate(quoted)]
    (folder / "movies.csv").write_text("movieId,title,genres\n" + "\n".join(rows) + "\n")
    lines = [f"{user},{movie},{(user + movie) % 10 / 2 + 0.5},{10**9 + user}" for user in (1, 2) for movie in range(1, 6)]
    (folder / "ratings.csv").write_text("userId,movieId,rating,timestamp\n" + "\n".join(lines) + "\n")
    return titles


def page_of(source, path):
    reel("explore", source, "--html", path)
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"https?:|//[a-z]|url\(|@import|\bsrc=|javascript:", text.replace("&lt;img src=x", ""), re.I)
    assert text.startswith("<!DOCTYPE html>")
    root = ElementTree.fromstring(text.split("\n", 1)[1])  # parses as XML: every tag is closed
    assert {element.tag for element in root.iter()} <= set(
        "html head meta title style body header main h1 h2 h3 p dl div dt dd section article details summary table "
        "caption thead tbody tr th td svg desc g rect path text".split()
    )
    assert all(name not in ("href", "style") and not name.startswith("on")
               for element in root.iter() for name in element.attrib)  # fmt: skip
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    for plot in root.iter("svg"):
        assert plot.get("role") == "img"
        title, description = plot.get("aria-labelledby").split()
        assert {title, description} <= set(ids)
        assert plot.find("title").text and plot.find("desc").text.endswith(".")
    assert "nan" not in re.sub("[a-z]*nan[a-z]+|[a-z]+nan[a-z]*", "", "".join(root.itertext()).lower())
    return root


def cells(root):
    return [cell.text for cell in root.iter("td")]


def test_page_is_whole_and_self_contained(tmp_path):
    found = reel_json("explore", EMBEDDED)
    root = page_of(EMBEDDED, tmp_path / "page.html")
    plots = {plot.get("aria-labelledby").split("-t")[0] for plot in root.iter("svg")}
    assert plots == {"stars", "months", "means", "user-votes", "movie-votes", "genres", "genres-each", "years", "pairs"}
    texts = cells(root)
    for row in found["movies"]["most_votes"] + found["movies"]["lowest_mean"]:
        assert row["title"] in texts
    for row in found["movies"]["genre_pairs"]["ranked"]:
        assert texts[texts.index(row["name"]) + 1] == f"{row['movies']:,}"
    for row in found["ratings"]["months"]:
        assert texts[texts.index(row["month"]) + 1] == f"{row['count']:,}"
    heat = [plot for plot in root.iter("svg") if plot.get("aria-labelledby").startswith("pairs")][0]
    tooltips = {title.text for title in heat.iter("title")}
    for row in found["movies"]["genre_pairs"]["ranked"]:
        first, second = row["name"].split("_")
        assert {f"{first}, {second}: {row['movies']}", f"{second}, {first}: {row['movies']}"} & tooltips


def test_titles_are_only_text(tmp_path):
    titles = write_hostile(tmp_path / "hostile")
    root = page_of(tmp_path / "hostile", tmp_path / "page.html")
    assert set(titles) <= set(cells(root))
    assert '<i>Drama_War & "Peace"' in cells(root)
    rows = reel_json("explore", tmp_path / "hostile")["movies"]
    assert {row["title"] for row in rows["most_votes"]} == set(titles)
    assert rows["genres"][0]["name"] == "<i>Drama"


def test_control_characters_do_not_reach_the_terminal(tmp_path):
    (tmp_path / "movies.csv").write_text("movieId,title,genres\n1,\x1b[31mRed\u202e\x07 (1999),Drama\n")
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,1,4.0,1000000000\n")
    done = run("explore", tmp_path, "--html", tmp_path / "page.html")
    outputs = done.stdout + (tmp_path / "page.html").read_text()
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f\u202e]", outputs)
    if done.returncode == 0:  # an import may also refuse such a title
        assert "\ufffd[31mRed\ufffd\ufffd (1999)" in done.stdout


@pytest.mark.parametrize("source", ["movies.csv", "ratings.csv"])
def test_pages_of_bare_files(source, tmp_path):
    root = page_of(EMBEDDED / source, tmp_path / "page.html")
    sections = [section.get("id") for section in root.iter("section")]
    assert sections == (["movies"] if source == "movies.csv" else ["ratings", "votes"])


def test_one_rating_and_one_genre(tmp_path):
    folder = tmp_path / "one"
    folder.mkdir()
    (folder / "movies.csv").write_text("movieId,title,genres\n7,Seven,Drama\n")
    (folder / "ratings.csv").write_text("userId,movieId,rating,timestamp\n3,7,4.5,0\n")
    found = reel_json("explore", folder)
    assert found["ratings"]["months"] == [] and found["ratings"]["without_time"] == 1
    assert found["ratings"]["first"] is None and found["ratings"]["std"] == 0
    assert found["movies"]["year"]["mean"] is None and found["movies"]["year"]["without"] == 1
    assert found["movies"]["genre_pairs"] == {"distinct": 0, "occurrences": 0, "ranked": []}
    page_of(folder, tmp_path / "page.html")
    assert "nan" not in reel("explore", folder)


# ---- what goes wrong ----


def test_errors_name_the_file(tmp_path):
    assert "nothing.csv" in refused(1, "explore", tmp_path / "nothing.csv")
    bad = tmp_path / "movies.csv"
    bad.write_text("movieId,title,genres\n1,One (1999),Drama\nx,Two (2000),War\n")
    assert refused(1, "explore", bad).startswith(f"reel: {bad}:3: ")
    empty = tmp_path / "empty.csv"
    empty.write_text("")
    assert str(empty) in refused(1, "explore", empty)
    damaged = tmp_path / "damaged.reel"
    reel("import", EMBEDDED, "-o", damaged)
    damaged.write_bytes(damaged.read_bytes()[:-9])
    assert str(damaged) in refused(1, "explore", damaged)
    assert run("explore").returncode == 2
    assert run("explore", EMBEDDED, "--nonsense").returncode == 2


def test_a_page_that_cannot_be_written_leaves_nothing(tmp_path):
    message = refused(1, "explore", EMBEDDED, "--html", tmp_path / "none" / "page.html")
    assert "none/page.html" in message
    blocked = tmp_path / "folder"
    (blocked / "inside").mkdir(parents=True)
    refused(1, "explore", EMBEDDED, "--html", blocked)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_page_replaces_the_old_one(tmp_path):
    page = tmp_path / "page.html"
    page.write_text("old")
    shutil.copy(EMBEDDED / "movies.csv", tmp_path / "movies.csv")
    reel("explore", tmp_path / "movies.csv", "--html", page)
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["movies.csv", "page.html"]


def test_json_is_one_object():
    out = reel("explore", EMBEDDED, "--json", "--progress", "none")
    assert out.count("\n") == 1
    assert list(json.loads(out)) == ["source", "fingerprint", "movies", "users", "ratings"]
