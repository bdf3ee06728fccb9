/* Folds as CSV files that other tools read. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/file.h"
#include "core/mem.h"
#include "data/dataset.h"
#include "data/split.h"
#include <reel/eval.h>

/* Ratings are formatted once, block by block; then every fold takes each row for its train or its test file. The
 * places in the files are known by then, so that blocks are written in any order. */
enum { BLOCK_RATINGS = 1 << 15, BLOCKS_AT_ONCE = 16, ROW_MAX = 40 };

static const char header[] = "userId,movieId,rating,timestamp\n";

struct block {
    int64_t begin, n;   /* ratings, by-user order */
    char *rows;         /* text of all its rows */
    uint32_t *row_ends; /* (n,) */
};

struct split_writer {
    const struct reel_dataset *dataset;
    const uint8_t *labels; /* (n_ratings,) */
    int64_t folds;
    struct atomic_file *files; /* (2 folds,): train and test of fold f are 2 f and 2 f + 1 */
    char **paths;              /* (2 folds,) */
    size_t *file_bytes;        /* (2 folds,) placed so far */
    struct block blocks[BLOCKS_AT_ONCE];
    size_t *places;     /* (BLOCKS_AT_ONCE, 2 folds): sizes, then where each block's part of a file goes */
    char **scratch;     /* (threads,) room for one block's rows */
    reel_error *errors; /* (threads,) first of each worker */
};

/* ---- formatting ---- */

/* Writes n in decimal; returns the end. */
static char *put_number(char *out, uint32_t n) {
    static const char pairs[] = "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
                                "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
                                "8081828384858687888990919293949596979899";
    char digits[10];
    int at = 10;
    while (n >= 100) {
        at -= 2;
        memcpy(digits + at, pairs + (size_t)(n % 100) * 2, 2);
        n /= 100;
    }
    if (n >= 10) {
        at -= 2;
        memcpy(digits + at, pairs + (size_t)n * 2, 2);
    } else {
        digits[--at] = (char)('0' + n);
    }
    memcpy(out, digits + at, (size_t)(10 - at));
    return out + (10 - at);
}

static int32_t user_of(const struct ratings *all, int64_t rating) {
    int32_t low = 0, high = all->n_users;
    while (high - low > 1) {
        int32_t middle = low + (high - low) / 2;
        if (all->user_offsets[middle] <= rating)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* Formats one block and adds up how many bytes of it each file gets. */
static void format_block(void *arg, int64_t index, int worker) {
    (void)worker;
    struct split_writer *writer = arg;
    struct block *block = &writer->blocks[index];
    const struct ratings *all = &writer->dataset->ratings;
    size_t *sizes = writer->places + index * 2 * writer->folds;
    memset(sizes, 0, (size_t)writer->folds * 2 * sizeof *sizes);
    if (block->n == 0) return;
    int32_t user = user_of(all, block->begin);
    char *out = block->rows;
    for (int64_t j = 0; j < block->n; j++) {
        int64_t i = block->begin + j;
        char *row = out;
        while (i >= all->user_offsets[user + 1]) user++;
        out = put_number(out, (uint32_t)writer->dataset->user_ids[user]);
        *out++ = ',';
        out = put_number(out, (uint32_t)writer->dataset->movie_ids[all->user_movies[i]]);
        *out++ = ',';
        *out++ = (char)('0' + all->user_ratings[i] / 2);
        *out++ = '.';
        *out++ = all->user_ratings[i] % 2 ? '5' : '0';
        *out++ = ',';
        out = put_number(out, all->user_times[i]);
        *out++ = '\n';
        block->row_ends[j] = (uint32_t)(out - block->rows);
        if (writer->labels[i] < writer->folds) sizes[2 * writer->labels[i] + 1] += (size_t)(out - row);
    }
    for (int64_t f = 0; f < writer->folds; f++) sizes[2 * f] = (size_t)(out - block->rows) - sizes[2 * f + 1];
}

/* ---- writing ---- */

/* One block's rows for one fold: train rows from the front of the scratch room, test rows behind them. */
static void write_part(void *arg, int64_t task, int worker) {
    struct split_writer *writer = arg;
    int64_t index = task / writer->folds;
    int64_t fold = task % writer->folds;
    const struct block *block = &writer->blocks[index];
    if (block->n == 0 || writer->errors[worker].status != REEL_OK) return;
    const size_t *places = writer->places + index * 2 * writer->folds + 2 * fold;
    size_t test_bytes = 0, begin = 0;
    for (int64_t j = 0; j < block->n; j++) {
        size_t length = block->row_ends[j] - begin;
        test_bytes += writer->labels[block->begin + j] == fold ? length : 0;
        begin = block->row_ends[j];
    }
    char *train = writer->scratch[worker], *test = train + (begin - test_bytes);
    char *train_out = train, *test_out = test;
    begin = 0;
    for (int64_t j = 0; j < block->n; j++) {
        size_t length = block->row_ends[j] - begin;
        char **out = writer->labels[block->begin + j] == fold ? &test_out : &train_out;
        memcpy(*out, block->rows + begin, length);
        *out += length;
        begin = block->row_ends[j];
    }
    reel_error *err = &writer->errors[worker];
    if (file_pwrite_all(writer->files[2 * fold].fd, train, (size_t)(train_out - train), places[0],
                        writer->paths[2 * fold], err) != REEL_OK)
        return;
    (void)file_pwrite_all(writer->files[2 * fold + 1].fd, test, (size_t)(test_out - test), places[1],
                          writer->paths[2 * fold + 1], err);
}

/* Turns the sizes of the parts into their places in the files. */
static void place_parts(struct split_writer *writer) {
    for (int64_t b = 0; b < BLOCKS_AT_ONCE; b++) {
        for (int64_t file = 0; file < 2 * writer->folds; file++) {
            size_t *place = &writer->places[b * 2 * writer->folds + file], size = *place;
            *place = writer->file_bytes[file];
            writer->file_bytes[file] += size;
        }
    }
}

static reel_status write_blocks(reel_context *ctx, struct split_writer *writer, reel_error *err) {
    int64_t n = writer->dataset->n_ratings;
    for (int64_t begin = 0; begin < n;) {
        TRY_RETURN(context_check(ctx, err));
        for (int b = 0; b < BLOCKS_AT_ONCE; b++) {
            writer->blocks[b].begin = begin;
            writer->blocks[b].n = n - begin < BLOCK_RATINGS ? n - begin : BLOCK_RATINGS;
            begin += writer->blocks[b].n;
        }
        thread_pool_run(ctx->pool, BLOCKS_AT_ONCE, format_block, writer);
        place_parts(writer);
        thread_pool_run(ctx->pool, (int64_t)BLOCKS_AT_ONCE * writer->folds, write_part, writer);
        for (int t = 0; t < thread_pool_size(ctx->pool); t++)
            if (writer->errors[t].status != REEL_OK)
                return error_set(err, writer->errors[t].status, "%s", writer->errors[t].message);
        context_progress(ctx, "write folds", "ratings", begin, n, NULL, 0, begin == n);
    }
    return REEL_OK;
}

/* ---- files ---- */

static reel_status begin_files(struct split_writer *writer, const char *out_dir, reel_error *err) {
    TRY_RETURN(file_make_dir(out_dir, err));
    size_t room = strlen(out_dir) + 32;
    for (int64_t file = 0; file < 2 * writer->folds; file++) {
        TRY_RETURN(MEM_RAW(&writer->paths[file], room, err));
        snprintf(writer->paths[file], room, "%s/fold%lld.%s.csv", out_dir, (long long)file / 2 + 1,
                 file % 2 ? "test" : "train");
        TRY_RETURN(atomic_file_begin(writer->paths[file], &writer->files[file], err));
        writer->file_bytes[file] = sizeof header - 1;
        TRY_RETURN(file_pwrite_all(writer->files[file].fd, header, sizeof header - 1, 0, writer->paths[file], err));
    }
    return REEL_OK;
}

static reel_status writer_init(reel_context *ctx, struct split_writer *writer, reel_error *err) {
    int threads = thread_pool_size(ctx->pool);
    TRY_RETURN(MEM_NEW(&writer->files, 2 * writer->folds, err));
    TRY_RETURN(MEM_NEW(&writer->paths, 2 * writer->folds, err));
    TRY_RETURN(MEM_NEW(&writer->file_bytes, 2 * writer->folds, err));
    TRY_RETURN(MEM_NEW(&writer->places, (int64_t)BLOCKS_AT_ONCE * 2 * writer->folds, err));
    TRY_RETURN(MEM_NEW(&writer->errors, threads, err));
    TRY_RETURN(MEM_NEW(&writer->scratch, threads, err));
    for (int t = 0; t < threads; t++) TRY_RETURN(MEM_RAW(&writer->scratch[t], BLOCK_RATINGS * ROW_MAX, err));
    for (int b = 0; b < BLOCKS_AT_ONCE; b++) {
        TRY_RETURN(MEM_RAW(&writer->blocks[b].rows, BLOCK_RATINGS * ROW_MAX, err));
        TRY_RETURN(MEM_RAW(&writer->blocks[b].row_ends, BLOCK_RATINGS, err));
    }
    return REEL_OK;
}

/* Files that were not committed vanish. */
static void writer_free(reel_context *ctx, struct split_writer *writer) {
    for (int64_t file = 0; writer->files && file < 2 * writer->folds; file++) atomic_file_abort(&writer->files[file]);
    for (int64_t file = 0; writer->paths && file < 2 * writer->folds; file++) mem_free(writer->paths[file]);
    for (int t = 0; writer->scratch && t < thread_pool_size(ctx->pool); t++) mem_free(writer->scratch[t]);
    for (int b = 0; b < BLOCKS_AT_ONCE; b++) {
        mem_free(writer->blocks[b].rows);
        mem_free(writer->blocks[b].row_ends);
    }
    mem_free(writer->files);
    mem_free(writer->paths);
    mem_free(writer->file_bytes);
    mem_free(writer->places);
    mem_free(writer->errors);
    mem_free(writer->scratch);
}

static reel_status fill_report(const struct split_writer *writer, reel_split_report *report, reel_error *err) {
    report->n_folds = (int)writer->folds;
    TRY_RETURN(MEM_NEW(&report->train_counts, writer->folds, err));
    TRY_RETURN(MEM_NEW(&report->test_counts, writer->folds, err));
    int64_t n = writer->dataset->n_ratings, counts[256] = {0};
    for (int64_t i = 0; i < n; i++) counts[writer->labels[i]]++;
    for (int64_t f = 0; f < writer->folds; f++) {
        report->test_counts[f] = counts[f];
        report->train_counts[f] = n - counts[f];
    }
    return REEL_OK;
}

void reel_split_report_free(reel_split_report *report) {
    if (!report) return;
    mem_free(report->train_counts);
    mem_free(report->test_counts);
    *report = (reel_split_report){0};
}

reel_status reel_split(reel_context *ctx, const reel_dataset *dataset, reel_split_kind kind, int folds, uint64_t seed,
                       const char *out_dir, reel_split_report *report, reel_error *err) {
    reel_status status = REEL_OK;
    struct split_writer writer = {.dataset = dataset, .folds = kind == REEL_SPLIT_TIME ? 1 : folds};
    uint8_t *labels = NULL;
    if (report) *report = (reel_split_report){0};
    TRY(MEM_RAW(&labels, dataset->n_ratings, err));
    TRY(split_folds(ctx, &dataset->ratings, kind, folds, seed, labels, err));
    writer.labels = labels;
    TRY(writer_init(ctx, &writer, err));
    TRY(begin_files(&writer, out_dir, err));
    TRY(write_blocks(ctx, &writer, err));
    if (report) TRY(fill_report(&writer, report, err));
    for (int64_t file = 0; file < 2 * writer.folds; file++) TRY(atomic_file_commit(&writer.files[file], err));
cleanup:
    writer_free(ctx, &writer);
    mem_free(labels);
    if (status != REEL_OK) reel_split_report_free(report);
    return status;
}
