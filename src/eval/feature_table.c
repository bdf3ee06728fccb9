/* The wide table of features, for other programs: rows are made a chunk at a time from the star. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/file.h"
#include "core/mem.h"
#include "eval/folds.h"
#include "model/features.h"

enum { CHUNK_ROWS = 8192, TEXT_MAX = 32, HEADER_MAX = 256 };

void reel_features_options_default(reel_features_options *options) {
    *options = (reel_features_options){.part = REEL_FEATURES_ALL};
    reel_protocol_default(&options->protocol);
}

void reel_features_report_free(reel_features_report *report) {
    if (!report) return;
    for (int c = 0; c < report->n_columns && report->columns; c++) reel_string_free(report->columns[c]);
    mem_free(report->columns);
    *report = (reel_features_report){0};
}

/* ---- rows ---- */

struct table {
    const struct star *star;
    int stride, with_rating, n; /* columns */
    int64_t n_rows;
    /* The rows: ratings in by-user order, or pairs. */
    const struct ratings *ratings;
    const struct rating_pairs *pairs;
    int32_t user; /* of the row that comes next, with ratings */
};

/* Row i, values (n,); rows are asked for in order. */
static void make_row(struct table *table, int64_t i, float *values) {
    const struct star *star = table->star;
    int32_t user, movie;
    uint8_t stars;
    uint32_t time;
    if (table->ratings) {
        while (table->ratings->user_offsets[table->user + 1] <= i) table->user++;
        stars = table->ratings->user_ratings[i];
        user = features_row(table->stride, table->user, stars);
        movie = features_row(table->stride, table->ratings->user_movies[i], stars);
        time = table->ratings->user_times ? table->ratings->user_times[i] : 0;
    } else {
        stars = table->pairs->ratings[i];
        user = table->pairs->users[i] < 0 ? star->n_rows[STAR_USER] : table->pairs->users[i];
        movie = table->pairs->movies[i] < 0 ? star->n_rows[STAR_MOVIE] : table->pairs->movies[i];
        time = table->pairs->times ? table->pairs->times[i] : 0;
    }
    const int32_t at[STAR_TABLES] = {user, movie, star_hour(time)};
    for (int c = 0; c < star->n_columns; c++) values[c] = star->columns[c].values[at[star->columns[c].table]];
    if (table->with_rating) values[star->n_columns] = 0.5f * (float)stars;
}

/* ---- files ---- */

static reel_status write_npy_header(const struct table *table, const struct atomic_file *file, reel_error *err) {
    char header[HEADER_MAX];
    int length =
        snprintf(header + 10, sizeof header - 10, "{'descr': '<f4', 'fortran_order': False, 'shape': (%lld, %d), }",
                 (long long)table->n_rows, table->n);
    int total = (10 + length + 1 + 63) / 64 * 64;
    memcpy(header, "\x93NUMPY\x01\x00", 8);
    header[8] = (char)((total - 10) & 0xff);
    header[9] = (char)((total - 10) >> 8);
    memset(header + 10 + length, ' ', (size_t)(total - 10 - length));
    header[total - 1] = '\n';
    return file_write_all(file->fd, header, (size_t)total, file->path, err);
}

static reel_status write_csv_header(const struct table *table, const struct atomic_file *file, reel_error *err) {
    struct strbuf text = {0};
    for (int c = 0; c < table->star->n_columns; c++) {
        const char *name = table->star->columns[c].name;
        int quoted = strpbrk(name, ",\"") != NULL;
        strbuf_printf(&text, "%s%s", c ? "," : "", quoted ? "\"" : "");
        for (const char *at = name; *at; at++) strbuf_printf(&text, *at == '"' ? "\"\"" : "%c", *at);
        strbuf_puts(&text, quoted ? "\"" : "");
    }
    strbuf_puts(&text, table->with_rating ? ",rating\n" : "\n");
    reel_status status =
        text.failed ? error_no_memory(err, 0) : file_write_all(file->fd, text.data, text.length, file->path, err);
    strbuf_free(&text);
    return status;
}

/* The shortest text that reads back as the same float. */
static size_t put_number(char *to, float value) {
    if (value >= 0 && value < 10 && value == floorf(value)) {
        *to = (char)('0' + (int)value);
        return 1;
    }
    for (int digits = 6;; digits++) {
        size_t length = (size_t)snprintf(to, TEXT_MAX, "%.*g", digits, (double)value);
        if (digits == 9 || strtof(to, NULL) == value) return length;
    }
}

static size_t put_line(char *to, const float *values, int n) {
    size_t length = 0;
    for (int c = 0; c < n; c++) {
        if (c) to[length++] = ',';
        length += put_number(to + length, values[c]);
    }
    to[length++] = '\n';
    return length;
}

static reel_status write_rows(reel_context *ctx, struct table *table, const struct atomic_file *file, int npy,
                              reel_error *err) {
    reel_status status = REEL_OK;
    float *values = NULL;
    char *text = NULL;
    TRY(MEM_RAW(&values, (int64_t)CHUNK_ROWS * table->n, err));
    if (!npy) TRY(MEM_RAW(&text, (int64_t)CHUNK_ROWS * table->n * TEXT_MAX, err));
    for (int64_t first = 0; first < table->n_rows; first += CHUNK_ROWS) {
        int64_t n = table->n_rows - first < CHUNK_ROWS ? table->n_rows - first : CHUNK_ROWS;
        size_t length = 0;
        TRY(context_check(ctx, err));
        for (int64_t i = 0; i < n; i++) {
            float *row = values + i * table->n;
            make_row(table, first + i, row);
            if (!npy) length += put_line(text + length, row, table->n);
        }
        if (npy)
            TRY(file_write_all(file->fd, values, (size_t)(n * table->n) * sizeof *values, file->path, err));
        else
            TRY(file_write_all(file->fd, text, length, file->path, err));
        context_progress(ctx, "features", "ratings", first + n, table->n_rows, NULL, 0, first + n == table->n_rows);
    }
cleanup:
    mem_free(values);
    mem_free(text);
    return status;
}

static reel_status write_table(reel_context *ctx, struct table *table, const char *path, reel_error *err) {
    reel_status status = REEL_OK;
    struct atomic_file file = {0};
    size_t length = strlen(path);
    int npy = length > 4 && strcmp(path + length - 4, ".npy") == 0;
    TRY(atomic_file_begin(path, &file, err));
    TRY(npy ? write_npy_header(table, &file, err) : write_csv_header(table, &file, err));
    TRY(write_rows(ctx, table, &file, npy, err));
    return atomic_file_commit(&file, err);
cleanup:
    atomic_file_abort(&file);
    return status;
}

/* ---- the command ---- */

struct extraction {
    struct folds folds;
    struct ratings train;
    struct rating_pairs test;
    struct features features;
    struct fit_output output;
};

static reel_status fill_report(const struct table *table, reel_features_report *report, reel_error *err) {
    report->n_rows = table->n_rows;
    TRY_RETURN(MEM_NEW(&report->columns, table->n, err));
    for (; report->n_columns < table->n; report->n_columns++) {
        int c = report->n_columns;
        struct strbuf name = {0};
        strbuf_puts(&name, c < table->star->n_columns ? table->star->columns[c].name : "rating");
        report->columns[c] = strbuf_take(&name);
        if (!report->columns[c]) return error_no_memory(err, 0);
    }
    return REEL_OK;
}

static reel_status load_parts(reel_context *ctx, const reel_dataset *dataset, const reel_features_options *options,
                              struct extraction *extraction, reel_error *err) {
    if (options->part == REEL_FEATURES_ALL) {
        ratings_of_dataset(dataset, &extraction->train);
        return REEL_OK;
    }
    TRY_RETURN(folds_init(ctx, dataset, &options->protocol, &extraction->folds, err));
    return folds_load(ctx, &extraction->folds, 0, RATINGS_TIMES, &extraction->train, &extraction->test, err);
}

static struct table make_table(const struct extraction *extraction, const reel_features_options *options) {
    int test = options->part == REEL_FEATURES_TEST;
    const struct features *features = &extraction->features;
    struct table table = {.star = test ? &features->star : features_training(features),
                          .stride = test ? 1 : features->stride,
                          .with_rating = options->with_rating,
                          .n_rows = test ? extraction->test.n : extraction->train.n_ratings};
    table.ratings = test ? NULL : &extraction->train;
    table.pairs = &extraction->test;
    table.n = table.star->n_columns + (options->with_rating != 0);
    return table;
}

reel_status reel_features(reel_context *ctx, const reel_dataset *dataset, const reel_features_options *options,
                          const char *path, reel_features_report *report, reel_error *err) {
    static const struct param_spec params[] = {FEATURE_PARAMS};
    reel_status status = REEL_OK;
    struct extraction extraction = {0};
    struct param_values values;
    *report = (reel_features_report){0};
    TRY(params_parse(params, sizeof params / sizeof params[0], options->params, options->n_params, &values, err));
    TRY(load_parts(ctx, dataset, options, &extraction, err));
    struct fit_input input = {.dataset = dataset,
                              .ratings = &extraction.train,
                              .params = &values,
                              .leak_means = options->protocol.leak_means,
                              .seed = options->seed,
                              .stage = ""};
    TRY(features_new(ctx, &input, &extraction.features, &extraction.output, err));
    struct table table = make_table(&extraction, options);
    TRY(write_table(ctx, &table, path, err));
    TRY(fill_report(&table, report, err));
cleanup:
    features_free(&extraction.features);
    ratings_free(&extraction.train);
    rating_pairs_free(&extraction.test);
    folds_free(&extraction.folds);
    if (status != REEL_OK) reel_features_report_free(report);
    return status;
}
