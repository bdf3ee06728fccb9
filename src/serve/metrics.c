#include "serve/metrics.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/context.h"
#include "core/error.h"
#include "serve/daemon.h"
#include "serve/server.h"
#include "serve/snapshot_parts.h"

static const int statuses[] = {200, 201, 202, 204, 400, 401, 403, 404, 405, 409, 413, 415, 422, 429, 499, 500, 503};
static const double bounds[] = {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01,
                                0.025,  0.05,    0.1,    0.25,  0.5,    1,     2.5};
enum {
    STATUSES = (int)(sizeof statuses / sizeof statuses[0]) + 1, /* the last one: any other */
    BUCKETS = (int)(sizeof bounds / sizeof bounds[0]) + 1
};

/* Written by one thread, read by scrapes: relaxed loads and stores suffice. */
struct route_counts {
    _Atomic int64_t by_status[STATUSES];
    _Atomic int64_t by_latency[BUCKETS];
    _Atomic int64_t ns_sum, bytes_sum;
};

struct metrics {
    int daemons, n_routes; /* the last "route" takes requests without one */
    const struct router *router;
    struct route_counts *counts; /* (daemons, n_routes) */
};

reel_status metrics_new(int daemons, const struct router *router, struct metrics **out, reel_error *err) {
    reel_status status = REEL_OK;
    struct metrics *metrics;
    *out = NULL;
    TRY_RETURN(MEM_NEW(&metrics, 1, err));
    metrics->daemons = daemons;
    metrics->n_routes = router_count(router) + 1;
    metrics->router = router;
    TRY(MEM_NEW(&metrics->counts, (size_t)daemons * (size_t)metrics->n_routes, err));
    *out = metrics;
    metrics = NULL;
cleanup:
    metrics_free(metrics);
    return status;
}

void metrics_free(struct metrics *metrics) {
    if (!metrics) return;
    mem_free(metrics->counts);
    mem_free(metrics);
}

static void add(_Atomic int64_t *counter, int64_t value) {
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + value, memory_order_relaxed);
}

void metrics_record(struct metrics *metrics, const struct access_record *record) {
    int route = record->route < 0 ? metrics->n_routes - 1 : record->route, status = 0, bucket = 0;
    struct route_counts *counts = &metrics->counts[record->daemon * metrics->n_routes + route];
    double seconds = (double)record->ns * 1e-9;
    while (status < STATUSES - 1 && statuses[status] != record->status) status++;
    while (bucket < BUCKETS - 1 && seconds > bounds[bucket]) bucket++;
    add(&counts->by_status[status], 1);
    add(&counts->by_latency[bucket], 1);
    add(&counts->ns_sum, record->ns);
    add(&counts->bytes_sum, record->bytes);
}

/* ---- text ---- */

struct route_totals {
    int64_t by_status[STATUSES], by_latency[BUCKETS], count, ns_sum, bytes_sum;
};

static void add_up(const struct metrics *metrics, int route, struct route_totals *totals) {
    *totals = (struct route_totals){0};
    for (int d = 0; d < metrics->daemons; d++) {
        const struct route_counts *counts = &metrics->counts[d * metrics->n_routes + route];
        for (int i = 0; i < STATUSES; i++)
            totals->by_status[i] += atomic_load_explicit(&counts->by_status[i], memory_order_relaxed);
        for (int i = 0; i < BUCKETS; i++) {
            int64_t n = atomic_load_explicit(&counts->by_latency[i], memory_order_relaxed);
            totals->by_latency[i] += n;
            totals->count += n;
        }
        totals->ns_sum += atomic_load_explicit(&counts->ns_sum, memory_order_relaxed);
        totals->bytes_sum += atomic_load_explicit(&counts->bytes_sum, memory_order_relaxed);
    }
}

static void route_labels(const struct metrics *metrics, int route, char *out, size_t size) {
    static const char *const methods[] = {[HTTP_GET] = "GET", [HTTP_POST] = "POST", [HTTP_DELETE] = "DELETE"};
    if (route == metrics->n_routes - 1) {
        snprintf(out, size, "method=\"\",route=\"\"");
        return;
    }
    const struct route *known = router_route(metrics->router, route);
    snprintf(out, size, "method=\"%s\",route=\"%s\"", methods[known->method], known->pattern);
}

static void family(struct strbuf *out, const char *name, const char *type, const char *help) {
    strbuf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void request_text(const struct metrics *metrics, struct strbuf *out) {
    char labels[256];
    struct route_totals totals;
    family(out, "reel_requests_total", "counter", "Requests by route and status (499: the client left).");
    for (int r = 0; r < metrics->n_routes; r++) {
        add_up(metrics, r, &totals);
        route_labels(metrics, r, labels, sizeof labels);
        for (int s = 0; s < STATUSES; s++)
            if (totals.by_status[s])
                strbuf_printf(out, "reel_requests_total{%s,status=\"%d\"} %" PRId64 "\n", labels,
                              s < STATUSES - 1 ? statuses[s] : 0, totals.by_status[s]);
    }
    family(out, "reel_response_bytes_total", "counter", "Bytes of bodies sent, by route.");
    for (int r = 0; r < metrics->n_routes; r++) {
        add_up(metrics, r, &totals);
        route_labels(metrics, r, labels, sizeof labels);
        if (totals.count) strbuf_printf(out, "reel_response_bytes_total{%s} %" PRId64 "\n", labels, totals.bytes_sum);
    }
    family(out, "reel_request_seconds", "histogram", "From the request line to the last byte of the answer, by route.");
    for (int r = 0; r < metrics->n_routes; r++) {
        add_up(metrics, r, &totals);
        route_labels(metrics, r, labels, sizeof labels);
        int64_t below = 0;
        for (int b = 0; totals.count && b < BUCKETS; b++) {
            char bound[32] = "+Inf";
            if (b < BUCKETS - 1) snprintf(bound, sizeof bound, "%g", bounds[b]);
            below += totals.by_latency[b];
            strbuf_printf(out, "reel_request_seconds_bucket{%s,le=\"%s\"} %" PRId64 "\n", labels, bound, below);
        }
        if (totals.count)
            strbuf_printf(out, "reel_request_seconds_sum{%s} %.6f\nreel_request_seconds_count{%s} %" PRId64 "\n",
                          labels, (double)totals.ns_sum * 1e-9, labels, totals.count);
    }
}

static void gauge(struct strbuf *out, const char *name, const char *type, const char *help, double value) {
    family(out, name, type, help);
    strbuf_printf(out, "%s %.15g\n", name, value);
}

static void queue_text(const struct service *service, struct strbuf *out) {
    struct batcher_stats batches = {0};
    if (service->batcher) batcher_get_stats(service->batcher, &batches);
    gauge(out, "reel_queue_depth", "gauge", "Scoring requests that wait.", batches.queued);
    gauge(out, "reel_queue_refused_total", "counter", "Scoring requests refused because the queue was full.",
          (double)batches.refused);
    gauge(out, "reel_batched_requests_total", "counter", "Scoring requests that were queued.",
          (double)batches.submitted);
    gauge(out, "reel_batches_total", "counter", "Batches they ran in.", (double)batches.batches);
    gauge(out, "reel_queue_wait_seconds_total", "counter", "Time they waited.", (double)batches.wait_ns_sum * 1e-9);
    struct cache_stats cache;
    cache_get_stats(service->cache, &cache);
    gauge(out, "reel_cache_hits_total", "counter", "Finished bodies found in the cache.", (double)cache.hits);
    gauge(out, "reel_cache_misses_total", "counter", "Finished bodies not found there.", (double)cache.misses);
    gauge(out, "reel_cache_bytes", "gauge", "Bytes of finished bodies kept.", (double)cache.bytes);
    gauge(out, "reel_cache_entries", "gauge", "Finished bodies kept.", (double)cache.entries);
    if (service->scheduler)
        gauge(out, "reel_jobs_queued", "gauge", "Jobs that wait.", scheduler_queued(service->scheduler));
}

static void model_text(const struct snapshot *snapshot, struct strbuf *out) {
    family(out, "reel_model_info", "gauge", "Models that are loaded; the value is 1.");
    for (int i = 0; i < snapshot->n_models; i++) {
        const struct snapshot_model *model = &snapshot->models[i];
        strbuf_printf(out, "reel_model_info{name=\"%s\",algorithm=\"%s\",generation=\"%" PRIu64 "\"} 1\n", model->name,
                      reel_model_algorithm(model->model), model->generation);
    }
    family(out, "reel_dataset_info", "gauge", "The dataset that is loaded; the value is 1.");
    strbuf_printf(out, "reel_dataset_info{fingerprint=\"%s\"} 1\n", snapshot->dataset->fingerprint);
    gauge(out, "reel_snapshot_generation", "gauge", "Differs after every reload.", (double)snapshot->generation);
}

static double resident_bytes(void) {
    FILE *file = fopen("/proc/self/statm", "r");
    long long pages = 0;
    if (file && fscanf(file, "%*s %lld", &pages) != 1) pages = 0;
    if (file) fclose(file);
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

void metrics_text(const struct service *service, struct strbuf *out) {
    request_text(service->metrics, out);
    queue_text(service, out);
    gauge(out, "reel_connections", "gauge", "Open connections.", service_connections(service));
    gauge(out, "process_resident_memory_bytes", "gauge", "Resident memory.", resident_bytes());
    const struct snapshot *snapshot = snapshot_pin(service->snapshots, -1);
    if (snapshot) model_text(snapshot, out);
    snapshot_release(snapshot);
}
