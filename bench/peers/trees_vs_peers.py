#!/usr/bin/env python3
"""gbdt beside LightGBM and XGBoost hist (training) and beside both and tl2cgen (scoring), on the same rows and pairs.

    trees_vs_peers.py [--dataset DATASET --csv FOLDER] [--trees 100] [--depth 3] [--users 200] [--rounds 2]
                      [--only train|score] [--peers ...] [--into DIR]

Training: 90 % of the ratings of the dataset (the 20 M twin, made where none is given), 30 features of honest-a, 100 trees
of depth 3, learning rate 0.1, 255 bins, all threads. The peers get the expanded float32 table; making that table and
their data set from it is not counted. CPU time tells on a machine that others use; Reel's is of the whole command, reading and
measuring included. RMSE is on the same held-out 10 %. "Extra memory" is the highest resident size
during training less that before it.

Scoring: all movies for --users users. XGBoost and tl2cgen score the very trees (reel export), LightGBM those of its own,
of the same number and depth; their table of (user, movie) rows is made beforehand, Reel makes what it needs. The
differences of scores are printed. Each program runs by itself, in turns, --rounds times; the best counts.

Run it with the Python that bench/peers/setup.sh prints. It appends rows to bench/results/<machine>.csv."""

import argparse
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))
import rows  # noqa: E402

REEL = ROOT / "build" / "release" / "reel"
BENCH = ROOT / "build" / "release" / "bench" / "bench_forest_score"


def run(*command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"trees_vs_peers.py: {' '.join(map(str, command))}\n{done.stderr}")
    return done.stdout


def resident(key):
    """MB of VmRSS or VmHWM."""
    for line in open("/proc/self/status"):
        if line.startswith(key):
            return int(line.split()[1]) / 1024
    return 0.0


def forget_peak():
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")


# ---- the expanded table ----


def read_ratings(folder):
    import pandas as pd

    data = pd.read_csv(folder / "ratings.csv", dtype={"userId": "i4", "movieId": "i4", "rating": "f4", "timestamp": "i8"})
    return [data[name].to_numpy() for name in ("userId", "movieId", "rating", "timestamp")]


def genre_table(folder):
    import pandas as pd

    movies = pd.read_csv(folder / "movies.csv")
    genres = movies.genres.str.get_dummies()
    genres = genres[[name for name in sorted(genres.columns) if not name.startswith("(")]]
    table = np.zeros((movies.movieId.max() + 1, genres.shape[1]), "f4")
    table[movies.movieId] = genres.to_numpy("f4")
    return table, list(genres.columns)


def expand(folder, into):
    """train.npy, test.npy (float32 tables), their ratings, and test.csv; the same columns as reel features."""
    users, movies, stars, times = read_ratings(folder)
    held_out = np.random.default_rng(1).random(len(users)) < 0.1
    train = ~held_out
    table, names = genre_table(folder)
    sums = lambda keys: np.bincount(keys[train], stars[train], keys.max() + 1)  # noqa: E731
    counts = lambda keys: np.bincount(keys[train], minlength=keys.max() + 1)  # noqa: E731
    mean = float(stars[train].mean(dtype="f8"))
    of_user = np.where(counts(users), sums(users) / np.maximum(counts(users), 1), mean).astype("f4")
    of_movie = np.where(counts(movies), sums(movies) / np.maximum(counts(movies), 1), mean).astype("f4")
    popularity = counts(movies).astype("f4")
    for part, chosen in (("train", train), ("test", held_out)):
        rows_of = np.flatnonzero(chosen)
        out = np.lib.format.open_memmap(into / f"{part}.npy", "w+", "f4", (len(rows_of), 10 + len(names)))
        for first in range(0, len(rows_of), 1 << 20):
            at = rows_of[first : first + (1 << 20)]
            to = out[first : first + len(at)]
            to[:, 0], to[:, 1], to[:, 2] = of_user[users[at]], of_movie[movies[at]], popularity[movies[at]]
            to[:, 3:10] = ((times[at] // 86400 + 3) % 7)[:, None] == np.arange(7)
            to[:, 10:] = table[movies[at]]
        out.flush()
        np.save(into / f"{part}-stars.npy", stars[rows_of])
    with open(into / "test.csv", "w") as file:
        file.write("userId,movieId,rating,timestamp\n")
        for at in np.flatnonzero(held_out):
            file.write(f"{users[at]},{movies[at]},{stars[at]:.1f},{times[at]}\n")


# ---- training; each in a process of its own ----


def rmse(scores, stars):
    return float(np.sqrt(np.mean((np.clip(scores, 0.5, 5).astype("f8") - stars) ** 2)))


def train_lightgbm(args, x, y):
    import lightgbm

    params = {"objective": "regression", "num_leaves": 1 << args.depth, "max_depth": args.depth, "learning_rate": 0.1,
              "max_bin": 255, "min_data_in_leaf": 1, "min_sum_hessian_in_leaf": 0, "num_threads": args.threads,
              "verbosity": -1}
    data = lightgbm.Dataset(x, y, params=params, free_raw_data=True).construct()
    before = resident("VmRSS")
    forget_peak()
    begin, cpu = time.perf_counter(), time.process_time()
    model = lightgbm.train(params, data, args.trees)
    seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
    extra = resident("VmHWM") - before
    model.save_model(args.into / "lightgbm.txt")
    return cpu, seconds, extra, lambda test: model.predict(test, num_threads=args.threads)


def train_xgboost(args, x, y):
    import xgboost

    params = {"objective": "reg:squarederror", "max_depth": args.depth, "eta": 0.1, "max_bin": 255, "lambda": 0,
              "min_child_weight": 0, "tree_method": "hist", "nthread": args.threads}
    data = xgboost.QuantileDMatrix(x, y, max_bin=255, nthread=args.threads)
    before = resident("VmRSS")
    forget_peak()
    begin, cpu = time.perf_counter(), time.process_time()
    model = xgboost.train(params, data, args.trees)
    seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
    extra = resident("VmHWM") - before
    return cpu, seconds, extra, lambda test: model.inplace_predict(test)


def train_worker(args):
    x, y = np.load(args.into / "train.npy", mmap_mode="r"), np.load(args.into / "train-stars.npy")
    begin = time.perf_counter()
    cpu, seconds, extra, predict = {"lightgbm": train_lightgbm, "xgboost": train_xgboost}[args.worker](args, x, y)
    total = time.perf_counter() - begin
    test, stars = np.load(args.into / "test.npy"), np.load(args.into / "test-stars.npy")
    print(json.dumps({"seconds": seconds, "cpu_seconds": cpu, "with_dataset": total, "extra_mb": extra, "rmse": rmse(predict(test), stars)}))


def train_reel(args):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    answer = json.loads(run(REEL, "train", args.dataset, "-m", "gbdt", "-p", f"n_estimators={args.trees}", "-p",
                            f"max_depth={args.depth}", "--test", args.into / "test.csv", "-o", args.into / "gbdt.reel",
                            "--threads", args.threads, "--json", "--progress", "none"))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": answer["fit_seconds"], "cpu_seconds": cpu, "rmse": answer["rmse"], "n": answer["n_ratings"],
            "extra_mb": (answer["peak_rss_bytes"] - os.path.getsize(args.dataset)) / 2**20}


def compare_training(args):
    best = {}
    for turn in range(args.rounds):
        for name in ("reel", *args.peers):
            answer = train_reel(args) if name == "reel" else json.loads(worker(args, name))
            print(f"round {turn + 1}: {name} {json.dumps(answer)}", flush=True)
            if name not in best or answer["seconds"] < best[name]["seconds"]:
                best[name] = answer
    shape = f"ratings={best['reel']['n']} trees={args.trees} depth={args.depth} bins=255"
    result = []
    for name in args.peers:
        peer = {"lightgbm": "LightGBM", "xgboost": "XGBoost hist"}[name]
        for what, key, unit in (("", "seconds", "s"), (" CPU time", "cpu_seconds", "s"), (" RMSE", "rmse", "RMSE"), (" extra memory", "extra_mb", "MB")):
            result.append(("gbdt fit" + what, args.threads, shape, f"{best['reel'][key]:.5g}", peer,
                           f"{best[name][key]:.5g}", unit))
    rows.append(result)


# ---- scoring ----


def score_table(args):
    """All movies for the first users, hour 0, as Reel's model has their columns."""
    exported = args.into / "exported"
    load = lambda name: np.load(exported / f"{name}.npy")  # noqa: E731
    tables, n_movies = load("column_tables"), load("movie_columns").shape[1] - 1
    out = np.empty((args.users * n_movies, len(tables)), "f4")
    cube = out.reshape(args.users, n_movies, len(tables))
    used = [0, 0, 0]
    for c, table in enumerate(tables):
        values = load(("user_columns", "movie_columns", "hour_columns")[table])[used[table]]
        used[table] += 1
        cube[:, :, c] = (values[: args.users, None], values[None, :n_movies], values[:1, None])[table]
    np.save(args.into / "pairs.npy", out)
    return len(out)


def scorer_of(args, x):
    if args.worker == "lightgbm-score":
        import lightgbm

        model = lightgbm.Booster(model_file=args.into / "lightgbm.txt")
        return lambda: model.predict(x, num_threads=args.threads)
    if args.worker == "xgboost-score":
        import xgboost

        model = xgboost.Booster({"nthread": args.threads}, model_file=args.into / "exported" / "forest.json")
        return lambda: model.inplace_predict(x)
    import tl2cgen
    import treelite

    model = treelite.frontend.load_xgboost_model(args.into / "exported" / "forest.json")
    library = args.into / "trees.so"
    tl2cgen.export_lib(model, toolchain="gcc", libpath=library, params={}, verbose=False)
    predictor = tl2cgen.Predictor(library, nthread=args.threads, verbose=False)
    table = tl2cgen.DMatrix(x, dtype="float32")
    return lambda: predictor.predict(table).ravel()


def score_worker(args):
    x = np.load(args.into / "pairs.npy")
    score = scorer_of(args, x)
    seconds = []
    for _ in range(3):
        begin = time.perf_counter()
        scores = score()
        seconds.append(time.perf_counter() - begin)
    answer = {"rate": len(x) / min(seconds)}
    if args.worker != "lightgbm-score":
        ours = np.fromfile(args.into / "scores.f4", "f4")
        answer["worst_difference"] = float(np.abs(scores[: len(ours)].astype("f8") - ours).max())
    print(json.dumps(answer))


def score_reel(args):
    lines = run(BENCH, args.dataset, args.into / "gbdt.reel", args.reel_users, args.threads, args.into / "scores.f4")
    return {line.split(",")[1]: float(line.split(",")[4]) for line in lines.splitlines() if line.startswith("row,")}


def compare_scoring(args):
    run(REEL, "export", args.into / "gbdt.reel", "-o", args.into / "exported", "--quiet")
    n_pairs = score_table(args)
    best = {}
    for turn in range(args.rounds):
        for name in ("reel", "lightgbm", "xgboost", "tl2cgen"):
            answer = score_reel(args) if name == "reel" else json.loads(worker(args, f"{name}-score"))
            print(f"round {turn + 1}: {name} {json.dumps(answer)}", flush=True)
            rate = answer["forest_movies"] if name == "reel" else answer["rate"]
            if name not in best or rate > best[name]:
                best[name] = rate
    shape = f"trees={args.trees} depth={args.depth} pairs={n_pairs}"
    names = {"lightgbm": "LightGBM", "xgboost": "XGBoost", "tl2cgen": "tl2cgen"}
    rows.append([("forest scoring", args.threads, shape, f"{best['reel']:.4g}", names[name], f"{best[name]:.4g}", "pairs/s")
                 for name in names])


def worker(args, name):
    lock = ["flock", args.lock] if args.lock else []
    out = run(*lock, sys.executable, __file__, "--worker", name, "--into", args.into, "--trees", args.trees, "--depth",
              args.depth, "--threads", args.threads)
    return out.splitlines()[-1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=pathlib.Path)
    parser.add_argument("--csv", type=pathlib.Path, help="the folder that the dataset was imported from")
    parser.add_argument("--trees", type=int, default=100)
    parser.add_argument("--depth", type=int, default=3)
    parser.add_argument("--users", type=int, default=200, help="users whose pairs the peers score")
    parser.add_argument("--reel-users", type=int, default=20000, help="users whose pairs Reel scores")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=rows.cores())
    parser.add_argument("--peers", nargs="*", choices=("lightgbm", "xgboost"), default=("lightgbm", "xgboost"),
                        help="whom to train beside")
    parser.add_argument("--only", choices=("train", "score"))
    parser.add_argument("--into", type=pathlib.Path, help="scratch folder to keep and use again (5 GB)")
    parser.add_argument("--lock", help="file that flock(1) holds while a peer runs")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        (score_worker if args.worker.endswith("-score") else train_worker)(args)
        return
    with tempfile.TemporaryDirectory(prefix="trees-vs-peers.") as scratch:
        args.into = args.into or pathlib.Path(scratch)
        args.into.mkdir(exist_ok=True)
        if not args.dataset:
            args.csv, args.dataset = args.into / "csv", args.into / "twin.reel"
            run(REEL, "gen", "--like", "ml-20m", "-o", args.csv, "--quiet")
            run(REEL, "import", args.csv, "-o", args.dataset, "--quiet")
        if not (args.into / "test.csv").exists():
            expand(args.csv, args.into)
        if args.only != "score":
            compare_training(args)
        elif not (args.into / "gbdt.reel").exists():
            train_reel(args)
        if args.only != "train":
            compare_scoring(args)


if __name__ == "__main__":
    main()
