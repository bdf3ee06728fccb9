"""Source system B's way, as a peer for the load test: Flask in front of Surprise's SVD.

Every request scores the user's unseen movies one by one with algo.predict, sorts them and answers the 150 best, as
GET /api/v1/users/<id>/suggested_movies does; GET /api/v1/movies/<id> looks a movie up. Run it as

    python flask_surprise.py --data FOLDER --model svd.reel --port 5000

Model and ratings are the same as Reel's: the factors of a Reel svd model file are put into Surprise's SVD object, so that
both serve the same scores and nobody waits for a training of 20 M ratings in Python. Without --model it trains.
"""
import argparse

import pandas as pd
from flask import Flask, abort, jsonify
from surprise import SVD, Dataset, Reader

app = Flask(__name__)
state = {}


class Known:
    """What SVD.estimate asks of a trainset."""

    def __init__(self, user_ids, movie_ids, mean, scale):
        self.users = {int(raw): inner for inner, raw in enumerate(user_ids)}
        self.movies = {int(raw): inner for inner, raw in enumerate(movie_ids)}
        self.global_mean, self.rating_scale = mean, scale

    def knows_user(self, inner):
        return isinstance(inner, int)

    knows_item = knows_user

    def to_inner_uid(self, raw):
        if raw not in self.users:
            raise ValueError(raw)
        return self.users[raw]

    def to_inner_iid(self, raw):
        if raw not in self.movies:
            raise ValueError(raw)
        return self.movies[raw]


def take_over(path):
    """Surprise's SVD with the factors of a Reel model file."""
    from safetensors import safe_open
    from safetensors.numpy import load_file

    tensors = load_file(path)
    with safe_open(path, "np") as file:
        metadata = file.metadata()
    scale = (float(metadata["scale.min"]) / 2, float(metadata["scale.max"]) / 2)
    algo = SVD(n_factors=tensors["movie_factors"].shape[1])
    algo.trainset = Known(tensors["user_ids"], tensors["movie_ids"], float(tensors["mean"][0]), scale)
    algo.bu, algo.bi = tensors["user_bias"].astype(float), tensors["movie_bias"].astype(float)
    algo.pu, algo.qi = tensors["user_factors"].astype(float), tensors["movie_factors"].astype(float)
    return algo


def load(folder, model):
    movies = pd.read_csv(f"{folder}/movies.csv")
    state["movies"] = {
        int(row.movieId): {"id": int(row.movieId), "title": row.title, "genres": row.genres.split("|")}
        for row in movies.itertuples()
    }
    ratings = pd.read_csv(f"{folder}/ratings.csv", usecols=["userId", "movieId", "rating"])
    state["seen"] = {int(user): set(group) for user, group in ratings.groupby("userId")["movieId"]}
    if model:
        state["algo"] = take_over(model)
    else:
        data = Dataset.load_from_df(ratings, Reader(rating_scale=(0.5, 5)))
        state["algo"] = SVD().fit(data.build_full_trainset())


@app.get("/api/v1/users/<int:user>/suggested_movies")
def suggested_movies(user):
    seen = state["seen"].get(user)
    if seen is None:
        abort(404)
    estimates = [
        (state["algo"].predict(user, movie).est, movie) for movie in state["movies"] if movie not in seen
    ]
    estimates.sort(key=lambda pair: (-pair[0], pair[1]))
    return jsonify(
        suggested_movies=[
            {**state["movies"][movie], "estimated_score": round(score, 3)} for score, movie in estimates[:150]
        ]
    )


@app.get("/api/v1/movies/<int:movie>")
def one_movie(movie):
    found = state["movies"].get(movie)
    return jsonify(found) if found else abort(404)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder with ratings.csv and movies.csv")
    parser.add_argument("--model", help="svd model file of Reel; default: train")
    parser.add_argument("--port", type=int, default=5000)
    args = parser.parse_args()
    load(args.data, args.model)
    print(f"listening on http://127.0.0.1:{args.port}", flush=True)
    app.run("127.0.0.1", args.port, threaded=True)


if __name__ == "__main__":
    main()
