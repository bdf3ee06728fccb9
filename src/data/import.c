/* reel_dataset_import: source files to a finished, verified dataset file. */
#include <string.h>
#include <sys/stat.h>

#include "core/error.h"
#include "data/dataset.h"
#include "data/dataset_builder.h"
#include "data/dataset_write.h"

void reel_import_options_default(reel_import_options *options) {
    *options = (reel_import_options){.max_listed = 20};
}

static reel_status check_arguments(const char *source, const reel_import_options *options, const char *out_path,
                                   reel_error *err) {
    if (!source || !*source) return error_set(err, REEL_INVALID_ARGUMENT, "the source's path is empty");
    if (!out_path || !*out_path) return error_set(err, REEL_INVALID_ARGUMENT, "the dataset's path is empty");
    struct stat from, to;
    if (stat(source, &from) == 0 && stat(out_path, &to) == 0 && from.st_dev == to.st_dev && from.st_ino == to.st_ino)
        return error_set(err, REEL_INVALID_ARGUMENT, "%s: the dataset would replace its own source", out_path);
    if (options->max_listed < 0)
        return error_set(err, REEL_INVALID_ARGUMENT, "max_listed must be >= 0 (found %d)", options->max_listed);
    return REEL_OK;
}

reel_status reel_dataset_import(reel_context *ctx, const char *source_path, const reel_import_options *options,
                                const char *out_path, reel_import_report *report, reel_error *err) {
    reel_status status = REEL_OK;
    double begin = clock_seconds();
    reel_import_options defaults;
    reel_import_report counts = {0};
    struct source source = {0};
    struct dataset_build build = {0};
    reel_import_options_default(&defaults);
    if (!options) options = &defaults;
    TRY(check_arguments(source_path, options, out_path, err));
    TRY(source_open(ctx, source_path, options->columns, &source, err));
    if (options->metadata) TRY(source_add(&source, PART_METADATA, options->metadata, err));
    TRY(dataset_build(ctx, &source, options, &build, &counts, err));
    source_close(&source);
    TRY(dataset_write(ctx, build.set, out_path, &counts.bytes, err));
    counts.seconds = clock_seconds() - begin;
    if (report) *report = counts;
cleanup:
    source_close(&source);
    dataset_build_free(&build);
    return status;
}
