#!/usr/bin/env python3
"""XGBoost's hist on a table of `reel features --with-rating -o TABLE.npy`, for bench/gpu.sh.

    xgboost_hist.py TABLE.npy [--trees 100] [--depth 3] [--device cuda]

Trees of gbdt's defaults on 255 bins; reading the table and binning it are not counted, nor is a first tree that wakes
the device. Prints `SECONDS TRAINING_RMSE`."""

import argparse
import json
import sys
import time

import numpy as np
import xgboost

parser = argparse.ArgumentParser()
parser.add_argument("table")
parser.add_argument("--trees", type=int, default=100)
parser.add_argument("--depth", type=int, default=3)
parser.add_argument("--device", default="cuda")
args = parser.parse_args()

table = np.load(args.table)
stars = table[:, -1].copy()
data = xgboost.QuantileDMatrix(table[:, :-1], stars, max_bin=255)
params = {"objective": "reg:squarederror", "max_depth": args.depth, "eta": 0.1, "max_bin": 255, "lambda": 0,
          "min_child_weight": 0, "tree_method": "hist", "device": args.device}
waking = xgboost.train(params, data, 1)
used = json.loads(waking.save_config())["learner"]["generic_param"]["device"]
if not used.startswith(args.device):  # without a GPU it only warns, and goes on with the CPU
    sys.exit(f"XGBoost ran on {used}, not on {args.device}")
begin = time.perf_counter()
model = xgboost.train(params, data, args.trees)
seconds = time.perf_counter() - begin
scores = model.predict(data)
print(f"{seconds:.4f} {np.sqrt(np.mean((scores.astype('f8') - stars) ** 2)):.6f}")
