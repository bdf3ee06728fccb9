"""What the tests of algorithms on the feature star share: the rows of source system A and its columns as one table."""

import numpy as np
import pandas as pd

from eval_tools import EMBEDDED


def seed_a_parts():
    """Training and test rows of the users that seed-a keeps."""
    rows = pd.read_csv(EMBEDDED / "ratings.csv")
    counts = rows.groupby("userId").size()
    kept = rows[rows.userId.isin(counts[(counts > 100) & (counts < 1000)].index)].sample(frac=1, random_state=0)
    n_test = len(kept) // 10
    order = ["userId", "movieId"]
    return kept[n_test:].sort_values(order), kept[:n_test].sort_values(order)


def features(rows, means_of):
    """System A's columns, with MovieLens's genres, as one wide table."""
    movies = pd.read_csv(EMBEDDED / "movies.csv").set_index("movieId")
    genres = movies.genres.str.get_dummies()
    genres = genres[[name for name in sorted(genres.columns) if not name.startswith("(")]]
    by_movie = means_of.groupby("movieId").rating
    columns = [
        rows.userId.map(means_of.groupby("userId").rating.mean()),
        rows.movieId.map(by_movie.mean()),
        rows.movieId.map(by_movie.size()),
    ]
    weekday = (rows.timestamp // 86400 + 3) % 7
    columns += [(weekday == day).astype(float) for day in range(7)]
    columns += [rows.movieId.map(genres[name]) for name in genres.columns]
    return np.column_stack([column.to_numpy(float) for column in columns])
