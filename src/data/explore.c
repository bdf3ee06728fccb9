/* reel_explore: opens or imports what it is pointed at, and keeps the figures. */
#include <reel/explore.h>

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/error.h"
#include "data/dataset_builder.h"
#include "data/explore_facts.h"
#include "data/source_layout.h"

struct reel_explore_report {
    struct explore_facts facts;
};

/* 1 if the file's name or first bytes are those of a dataset (or model) file. */
static int looks_like_dataset(const char *path) {
    size_t length = strlen(path);
    char start[9];
    if (length > 5 && strcmp(path + length - 5, ".reel") == 0) return 1;
    FILE *file = fopen(path, "rb");
    int found = file && fread(start, 1, sizeof start, file) == sizeof start && start[8] == '{';
    if (file) fclose(file);
    return found;
}

static reel_status explore_dataset(reel_context *ctx, const char *path, struct explore_facts *facts, reel_error *err) {
    reel_dataset *dataset;
    TRY_RETURN(reel_dataset_open(ctx, path, &dataset, err));
    reel_status status = explore_facts_of(ctx, dataset, path, facts, err);
    reel_dataset_free(dataset);
    return status;
}

static reel_status open_source(reel_context *ctx, const char *path, struct source *source, reel_error *err) {
    struct stat info;
    int is_movies = 0;
    if (stat(path, &info) == 0 && S_ISREG(info.st_mode)) TRY_RETURN(source_open_movies(path, source, &is_movies, err));
    return is_movies ? REEL_OK : source_open(ctx, path, NULL, source, err);
}

/* Imports into memory, whole or one bare file. */
static reel_status explore_source(reel_context *ctx, const char *path, struct explore_facts *facts, reel_error *err) {
    reel_status status = REEL_OK;
    struct source source = {0};
    struct dataset_build build = {0};
    reel_dataset *dataset = NULL;
    reel_import_options options;
    reel_import_report report = {0};
    reel_import_options_default(&options);
    TRY(open_source(ctx, path, &source, err));
    TRY(dataset_build(ctx, &source, &options, &build, &report, err));
    source_close(&source);
    struct tensor_set *set = build.set;
    build.set = NULL; /* the dataset's now; what it borrows is the build's */
    TRY(dataset_of_set(ctx, set, &dataset, err));
    TRY(explore_facts_of(ctx, dataset, path, facts, err));
cleanup:
    reel_dataset_free(dataset);
    dataset_build_free(&build);
    source_close(&source);
    return status;
}

reel_status reel_explore(reel_context *ctx, const char *path, reel_explore_report **out, reel_error *err) {
    struct reel_explore_report *report = NULL;
    *out = NULL;
    if (!path || !*path) return error_set(err, REEL_INVALID_ARGUMENT, "the path to explore is empty");
    TRY_RETURN(MEM_NEW(&report, 1, err));
    reel_status status = looks_like_dataset(path) ? explore_dataset(ctx, path, &report->facts, err)
                                                  : explore_source(ctx, path, &report->facts, err);
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
