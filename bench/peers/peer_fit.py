#!/usr/bin/env python3
"""Fits one peer on one pair of rating files and prints {"rmse" or "ndcg", "fit_seconds", "cpu_seconds"} as JSON.

    peer_fit.py PEER TRAIN.csv TEST.csv [--factors N] [--iterations N] [--burn-in N] [--threads N] [--seed N]

PEER is surprise-svd, surprise-svdpp (both at their own defaults), smurff (BPMF), cmfrec (biased ALS at its own defaults
but for factors and threads), cmfrec-same (Reel's als settings), implicit (NDCG of ten unseen movies), or myfm, myfm+time,
myfm+implicit_sets ... with bmf's switches as features: myfm+time+implicit_sets+flipped is everything. Predictions are
clipped to the scale of the training part. Only the fit is timed: neither reading nor feature tables nor predicting
(SMURFF predicts while it fits). ladder.py runs it, each peer in a process of its own."""

import argparse
import json
import resource
import time

import numpy as np
import pandas as pd
import scipy.sparse as sparse

SECONDS_PER_DAY, SPAN_DAYS = 86400, 60  # as in src/model/bmf_time.h


class Split:
    """Ratings of both parts with dense indices; -1 = without training ratings."""

    def __init__(self, train, test):
        self.train_path, self.test_path = train, test
        self.train, self.test = pd.read_csv(train), pd.read_csv(test)
        self.users, self.movies = (np.unique(self.train[name]) for name in ("userId", "movieId"))
        self.low, self.high = self.train.rating.min(), self.train.rating.max()
        for part in (self.train, self.test):
            part["user"] = pd.Index(self.users).get_indexer(part.userId)
            part["movie"] = pd.Index(self.movies).get_indexer(part.movieId)

    def matrix(self, values=None):
        values = self.train.rating.to_numpy(float) if values is None else values
        shape = (len(self.users), len(self.movies))
        return sparse.csr_matrix((values, (self.train.user, self.train.movie)), shape=shape)

    def rmse(self, predicted, truth=None):
        truth = self.test.rating.to_numpy(float) if truth is None else truth
        return float(np.sqrt(np.mean((np.clip(predicted, self.low, self.high) - truth) ** 2)))


def timed(action):
    begun = time.perf_counter()
    result = action()
    return time.perf_counter() - begun, result


# ---- peers: each returns (seconds, {metric: value}) ----


def surprise_peer(split, algorithm):
    import surprise

    reader = surprise.Reader(
        line_format="user item rating timestamp", sep=",", skip_lines=1, rating_scale=(split.low, split.high)
    )
    data = surprise.Dataset.load_from_folds([(split.train_path, split.test_path)], reader)
    trainset, testset = next(surprise.model_selection.PredefinedKFold().split(data))
    seconds, _ = timed(lambda: algorithm.fit(trainset))
    return seconds, {"rmse": surprise.accuracy.rmse(algorithm.test(testset), verbose=False)}


def surprise_svd(split, args):
    import surprise

    return surprise_peer(split, surprise.SVD(random_state=args.seed))


def surprise_svdpp(split, args):
    import surprise

    return surprise_peer(split, surprise.SVDpp(random_state=args.seed, cache_ratings=True))


def smurff(split, args):
    import smurff

    mean = split.train.rating.mean()
    known = split.test[(split.test.user >= 0) & (split.test.movie >= 0)]
    shape = (len(split.users), len(split.movies))
    held_out = sparse.csr_matrix((known.rating - mean, (known.user, known.movie)), shape=shape)
    session = smurff.TrainSession(
        priors=["normal", "normal"],
        num_latent=args.factors,
        num_threads=args.threads,
        burnin=args.burn_in,
        nsamples=args.iterations,
        seed=args.seed,
        verbose=0,
    )
    session.addTrainAndTest(split.matrix(split.train.rating.to_numpy(float) - mean), held_out, smurff.SampledNoise(1.0))
    seconds, predictions = timed(session.run)
    scores = {tuple(p.coords): mean + p.pred_avg for p in predictions}
    predicted = [scores.get((u, m), mean) for u, m in zip(split.test.user, split.test.movie)]
    return seconds, {"rmse": split.rmse(np.array(predicted))}


def cmfrec(split, args, **settings):
    from cmfrec import CMF

    def frame(part):
        return pd.DataFrame({"UserId": part.user, "ItemId": part.movie, "Rating": part.rating})

    model = CMF(k=args.factors, nthreads=args.threads, random_state=args.seed, verbose=False, **settings)
    table = frame(split.train)
    seconds, _ = timed(lambda: model.fit(table))
    return seconds, {"rmse": split.rmse(model.predict(split.test.user.to_numpy(), split.test.movie.to_numpy()))}


def cmfrec_same(split, args):
    return cmfrec(split, args, lambda_=0.05, scale_lam=True, use_cg=False, niter=args.iterations)


def ndcg(split, scores_of_user, n=10, relevant=4):
    """As in src/eval/ranking.c: users with a relevant held-out movie, movies of the training part left out."""
    seen, gains = split.matrix(), []
    discount = 1 / np.log2(np.arange(2, n + 2))
    known = split.test[(split.test.rating >= relevant) & (split.test.user >= 0)]
    for user, wanted in known.groupby("user").movie:
        scores = scores_of_user(user).copy()
        scores[seen.indices[seen.indptr[user] : seen.indptr[user + 1]]] = -np.inf
        hits = np.isin(np.argsort(-scores, kind="stable")[:n], wanted)
        gains.append((discount * hits).sum() / discount[: min(n, len(wanted))].sum())
    return float(np.mean(gains))


def implicit(split, args):
    import implicit.als

    model = implicit.als.AlternatingLeastSquares(
        factors=args.factors,
        regularization=0.05,
        alpha=10,
        iterations=args.iterations,
        num_threads=args.threads,
        random_state=args.seed,
    )
    # confidence 1 + alpha stars, as Reel has it; implicit's own is alpha times the value
    confidence = split.matrix(split.train.rating.to_numpy(float) + 1 / 10).astype(np.float32)
    seconds, _ = timed(lambda: model.fit(confidence, show_progress=False))
    return seconds, {"ndcg": ndcg(split, lambda user: model.item_factors @ model.user_factors[user])}


def one_hot(train_keys, keys):
    """(rows, distinct training keys): a row of zeros where the key is not among them."""
    known = np.unique(train_keys)
    column = pd.Index(known).get_indexer(keys)
    row = np.flatnonzero(column >= 0)
    return sparse.csr_matrix((np.ones(len(row)), (row, column[row])), shape=(len(keys), len(known)))


def time_keys(part):
    day = part.timestamp.to_numpy(np.int64) // SECONDS_PER_DAY
    user, movie = part.userId.to_numpy(np.int64), part.movieId.to_numpy(np.int64)
    return [(user << 32) | day, (movie << 32) | (day // SPAN_DAYS), day]


def myfm(split, args, switches):
    from myfm import MyFMGibbsRegressor, RelationBlock

    shapes, parts = [], {}
    for name, part in (("train", split.train), ("test", split.test)):
        columns = []
        if "time" in switches:
            columns = [one_hot(a, b) for a, b in zip(time_keys(split.train), time_keys(part))]
        parts[name] = sparse.hstack(columns, format="csr") if columns else sparse.csr_matrix((len(part), 0))
        shapes = [column.shape[1] for column in columns]
    # one row an entity and an empty one for those without training ratings
    rated = split.matrix(np.ones(len(split.train)))
    blocks = {"train": [], "test": []}
    for index, table, switch in (("user", rated, "implicit_sets"), ("movie", rated.T.tocsr(), "flipped")):
        entity = sparse.vstack([sparse.identity(table.shape[0]), sparse.csr_matrix((1, table.shape[0]))], format="csr")
        shapes.append(entity.shape[1])
        if switch in switches:
            weight = sparse.diags(1 / np.sqrt(np.maximum(np.asarray(table.sum(axis=1)).ravel(), 1)))
            sets = sparse.vstack([weight @ table, sparse.csr_matrix((1, table.shape[1]))], format="csr")
            entity = sparse.hstack([entity, sets], format="csr")
            shapes.append(sets.shape[1])
        for name, part in (("train", split.train), ("test", split.test)):
            row = part[index].to_numpy()
            blocks[name].append(RelationBlock(np.where(row < 0, table.shape[0], row).tolist(), entity))
    model = MyFMGibbsRegressor(rank=args.factors, random_seed=args.seed)
    seconds, _ = timed(
        lambda: model.fit(
            parts["train"],
            split.train.rating.to_numpy(float),
            X_rel=blocks["train"],
            n_iter=args.iterations + args.burn_in,
            n_kept_samples=args.iterations,
            group_shapes=shapes,
        )
    )
    return seconds, {"rmse": split.rmse(model.predict(parts["test"], blocks["test"]))}


PEERS = {
    "surprise-svd": surprise_svd,
    "surprise-svdpp": surprise_svdpp,
    "smurff": smurff,
    "cmfrec": cmfrec,
    "cmfrec-same": cmfrec_same,
    "implicit": implicit,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer")
    parser.add_argument("train")
    parser.add_argument("test")
    for name, value in (("factors", 32), ("iterations", 100), ("burn-in", 10), ("threads", 2), ("seed", 1)):
        parser.add_argument(f"--{name}", type=int, default=value)
    args = parser.parse_args()
    name, *switches = args.peer.split("+")
    split = Split(args.train, args.test)
    before = resource.getrusage(resource.RUSAGE_SELF)
    seconds, metric = myfm(split, args, switches) if name == "myfm" else PEERS[name](split, args)
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({**metric, "fit_seconds": seconds, "cpu_seconds": cpu}))


if __name__ == "__main__":
    main()
