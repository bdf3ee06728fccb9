/* What the import targets share. An input is one byte of switches and then the files of a source, separated by
 * the byte 0x01. They go through the whole import in memory; a dataset that comes out is written, opened (which
 * checks all that is indexed with) and verified. */
#ifndef TESTS_FUZZ_IMPORT_H
#define TESTS_FUZZ_IMPORT_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/dataset.h"
#include "data/dataset_builder.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static reel_context *ctx;
static char out_path[64];

static void demand(int condition) {
    if (!condition) abort();
}

static void no_log(void *user_data, reel_log_level level, const char *message) {
    (void)user_data, (void)level;
    demand(strchr(message, '\n') == NULL);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc, (void)argv;
    reel_context_options options;
    reel_context_options_default(&options);
    options.threads = 1;
    options.log = no_log;
    demand(reel_context_new(&options, &ctx, NULL) == REEL_OK);
    snprintf(out_path, sizeof out_path, "/dev/shm/fuzz_import.%ld", (long)getpid());
    return 0;
}

static void write_and_open(const struct dataset_build *build, const reel_import_report *report) {
    reel_error err;
    reel_dataset *dataset = NULL;
    demand(tensor_file_write(out_path, build->set, ctx->pool, &err) == REEL_OK);
    reel_status status = reel_dataset_open(ctx, out_path, &dataset, &err);
    if (status != REEL_OK) fprintf(stderr, "%s\n", err.message);
    demand(status == REEL_OK);
    demand(tensor_file_verify(dataset->set, ctx->pool, &err) == REEL_OK);
    demand(dataset->n_ratings == report->n_ratings && dataset->n_ratings > 0);
    demand(strcmp(dataset->fingerprint, report->fingerprint) == 0);
    reel_dataset_free(dataset);
    unlink(out_path);
}

/* Each file gets memory of its exact size, so that a read past its end is seen. */
static void import_parts(enum source_kind kind, const enum source_part *parts, int n_parts, const char *columns,
                         const uint8_t *data, size_t size) {
    static const char *const names[SOURCE_PARTS] = {"ratings", "movies",      "tags",  "links",
                                                    "scores",  "genome-tags", "genres"};
    struct source source = {.kind = kind};
    struct dataset_build build = {0};
    reel_import_report report = {0};
    reel_import_options options;
    reel_error err = {0};
    reel_import_options_default(&options);
    options.skip_bad = size > 0 && (data[0] & 1);
    options.columns = columns;
    const uint8_t *at = data + (size > 0), *end = data + size;
    for (int i = 0; i < n_parts && (i == 0 || at < end); i++) {
        const uint8_t *stop = at < end ? memchr(at, 1, (size_t)(end - at)) : NULL;
        size_t length = (size_t)((stop ? stop : end) - at);
        char *copy = length ? malloc(length) : NULL;
        if (copy) memcpy(copy, at, length);
        source.files[parts[i]] = (struct text_file){names[parts[i]], copy, length};
        at = stop ? stop + 1 : end;
    }
    reel_status status = dataset_build(ctx, &source, &options, &build, &report, &err);
    /* Writing takes ten times as long as reading: one success in eight goes to the file. */
    unsigned sum = 0;
    for (size_t i = 0; i < size; i++) sum += data[i];
    if (status == REEL_OK && sum % 8 == 0) write_and_open(&build, &report);
    if (status != REEL_OK) demand(err.status == status && err.message[0] && !strchr(err.message, '\n'));
    dataset_build_free(&build);
    for (int i = 0; i < SOURCE_PARTS; i++) free((char *)(uintptr_t)source.files[i].data);
}

#endif
