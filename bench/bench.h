/* How a benchmark program reports: one line a figure, which bench/rows.py collects into
 * bench/results/<machine>.csv with date, commit and machine added. */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <math.h>
#include <stdio.h>

/* `parameters` is "k=100 ratings=20M" (no commas); `unit` says which way is better: s, ms, us, ns, MB, RMSE and MAE
 * down, everything else ("ratings/s", "GFLOP/s") up. Without a peer: peer = "" and peer_value = NAN. */
static inline void bench_row(const char *benchmark, int threads, const char *parameters, double ours, const char *peer,
                             double peer_value, const char *unit) {
    printf("row,%s,%d,%s,%.6g,%s,", benchmark, threads, parameters, ours, peer);
    if (!isnan(peer_value)) printf("%.6g", peer_value);
    printf(",%s\n", unit);
    fflush(stdout);
}

#endif
