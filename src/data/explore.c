/* reel_explore: opens or imports what it is pointed at, and keeps the figures. */
#include <reel/explore.h>

#include "core/error.h"
#include "data/explore_facts.h"

struct reel_explore_report {
    struct explore_facts facts;
};

static reel_status explore_file(reel_context *ctx, const char *path, struct explore_facts *facts, reel_error *err) {
    reel_dataset *dataset;
    TRY_RETURN(reel_dataset_open(ctx, path, &dataset, err));
    reel_status status = explore_facts_of(ctx, dataset, path, facts, err);
    reel_dataset_free(dataset);
    return status;
}

reel_status reel_explore(reel_context *ctx, const char *path, reel_explore_report **out, reel_error *err) {
    struct reel_explore_report *report = NULL;
    *out = NULL;
    if (!path || !*path) return error_set(err, REEL_INVALID_ARGUMENT, "the path to explore is empty");
    TRY_RETURN(MEM_NEW(&report, 1, err));
    reel_status status = explore_file(ctx, path, &report->facts, err);
    if (status == REEL_OK)
        *out = report;
    else
        reel_explore_free(report);
    return status;
}

void reel_explore_free(reel_explore_report *report) {
    if (!report) return;
    explore_facts_free(&report->facts);
    mem_free(report);
}

char *reel_explore_text(const reel_explore_report *report) {
    return explore_text(&report->facts);
}

char *reel_explore_json(const reel_explore_report *report) {
    return explore_json(&report->facts);
}

char *reel_explore_html(const reel_explore_report *report) {
    return explore_html(&report->facts);
}
