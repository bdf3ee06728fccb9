#include "data/rating_reader.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>

#include "core/error.h"
#include "data/rating_row.h"

enum { FAST_MARGIN = 64 }; /* what row_parse_fast may read past the start of a line */

/* ---- the slow walk over a chunk: every row with its line, good or bad ---- */

struct row_walk {
    const struct raw_ratings *raw;
    struct csv_reader reader;
    struct text_span fields[64];
    struct row_text text;
    struct rating_row row;
    enum row_fault fault;
};

static void walk_begin(struct row_walk *walk, const struct raw_ratings *raw, const struct rating_chunk *chunk) {
    walk->raw = raw;
    csv_reader_init(&walk->reader, NULL, 0, raw->format.separator[0], 1);
    walk->reader.at = raw->file.data + chunk->text.begin;
    walk->reader.end = raw->file.data + chunk->text.end;
    walk->reader.line = chunk->text.first_line;
}

/* The next row that is not blank; 0 at the end. */
static int walk_next(struct row_walk *walk) {
    const struct rating_format *format = &walk->raw->format;
    struct text_span line;
    if (!walk->raw->quoted) {
        if (!csv_reader_line(&walk->reader, &line)) return 0;
        row_split(format, line.text, line.text + line.length, &walk->text);
    } else {
        int n;
        walk->text = (struct row_text){.csv = csv_reader_next(&walk->reader, walk->fields, 64, &n)};
        if (walk->text.csv == CSV_END) return 0;
        walk->text.n_columns = n;
        for (int i = 0; i < RATING_FIELDS; i++)
            if (format->columns[i] >= 0 && format->columns[i] < n)
                walk->text.fields[i] = walk->fields[format->columns[i]];
    }
    walk->fault = row_parse(format, &walk->text, &walk->row);
    return 1;
}

static void walk_describe(const struct row_walk *walk, char *out, size_t size) {
    row_describe(&walk->raw->format, &walk->text, walk->fault, out, size);
}

/* ---- parsing a chunk ---- */

struct parse {
    reel_context *ctx;
    struct raw_ratings *raw;
    int skip;               /* go on past bad lines */
    int fast;               /* the columns are user, movie, rating, time and nothing else */
    int n_separator;        /* length of the separator */
    atomic_llong bad_chunk; /* lowest chunk known to hold a bad line: later ones need no parsing */
    atomic_llong bytes_done;
    int no_memory; /* while undoing quotes */
};

struct chunk_state {
    int64_t row;
    int64_t previous; /* key of the row before, -1 = none */
};

static inline void store_row(struct raw_ratings *raw, struct rating_chunk *chunk, struct chunk_state *state,
                             const struct rating_row *row) {
    int64_t at = state->row++;
    raw->users[at] = (int32_t)row->user;
    raw->movies[at] = (int32_t)row->movie;
    raw->ratings[at] = row->rating;
    raw->times[at] = row->time;
    if ((int32_t)row->user > chunk->max_user) chunk->max_user = (int32_t)row->user;
    if ((int32_t)row->movie > chunk->max_movie) chunk->max_movie = (int32_t)row->movie;
    int64_t key = (int64_t)row->user << 32 | row->movie;
    chunk->ascending &= key > state->previous;
    state->previous = key;
}

/* Notes a malformed line; 1 = go on. */
static int note_bad(struct parse *parse, struct rating_chunk *chunk, int64_t line) {
    chunk->n_bad++;
    if (chunk->bad_line == 0) chunk->bad_line = line;
    if (parse->skip) return 1;
    long long index = chunk - parse->raw->chunks, lowest = atomic_load(&parse->bad_chunk);
    while (index < lowest && !atomic_compare_exchange_weak(&parse->bad_chunk, &lowest, index)) {
    }
    return 0;
}

/* The lines of one chunk; the separator is a constant where it is inlined. */
static inline __attribute__((always_inline)) void parse_lines(struct parse *parse, struct rating_chunk *chunk,
                                                              char separator, int n_separator) {
    struct raw_ratings *raw = parse->raw;
    const char *at = raw->file.data + chunk->text.begin, *end = raw->file.data + chunk->text.end;
    const char *file_end = raw->file.data + raw->file.size;
    const char *fast_end = file_end - at > FAST_MARGIN ? file_end - FAST_MARGIN : at;
    if (!parse->fast) fast_end = at;
    unsigned half_mask = raw->format.whole_stars ? 1 : 0;
    struct chunk_state state = {chunk->first_row, -1};
    int64_t line = chunk->text.first_line;
    for (; at < end; line++) {
        struct rating_row row;
        const char *next = at < fast_end ? row_parse_fast(at, separator, n_separator, &row) : NULL;
        if (__builtin_expect(next != NULL && row.user <= INT32_MAX && !(row.rating & half_mask), 1)) {
            store_row(raw, chunk, &state, &row);
            at = next;
            continue;
        }
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        if (!stop) stop = end;
        if (stop > at && !(stop == at + 1 && *at == '\r')) {
            struct row_text text;
            row_split(&raw->format, at, stop, &text);
            if (row_parse(&raw->format, &text, &row) == ROW_GOOD)
                store_row(raw, chunk, &state, &row);
            else if (!note_bad(parse, chunk, line))
                break;
        }
        at = stop < end ? stop + 1 : end;
    }
    chunk->n_rows = state.row - chunk->first_row;
}

static void parse_quoted(struct parse *parse, struct rating_chunk *chunk) {
    struct chunk_state state = {chunk->first_row, -1};
    struct row_walk walk;
    walk_begin(&walk, parse->raw, chunk);
    while (walk_next(&walk)) {
        parse->no_memory = walk.text.csv == CSV_NO_MEMORY;
        if (parse->no_memory) break;
        if (walk.fault == ROW_GOOD)
            store_row(parse->raw, chunk, &state, &walk.row);
        else if (!note_bad(parse, chunk, walk.reader.row_line))
            break;
        if ((state.row & 0xffff) == 0 && context_check(parse->ctx, NULL) != REEL_OK) break;
    }
    chunk->n_rows = state.row - chunk->first_row;
    csv_reader_free(&walk.reader);
}

static void parse_chunk(void *arg, int64_t task, int worker) {
    struct parse *parse = arg;
    struct raw_ratings *raw = parse->raw;
    struct rating_chunk *chunk = &raw->chunks[task];
    chunk->ascending = 1;
    if (task > atomic_load_explicit(&parse->bad_chunk, memory_order_relaxed)) return;
    if (context_check(parse->ctx, NULL) != REEL_OK) return;
    if (raw->quoted)
        parse_quoted(parse, chunk);
    else if (parse->n_separator == 2)
        parse_lines(parse, chunk, ':', 2);
    else if (raw->format.separator[0] == ',')
        parse_lines(parse, chunk, ',', 1);
    else
        parse_lines(parse, chunk, raw->format.separator[0], 1);
    long long bytes = (long long)(chunk->text.end - chunk->text.begin);
    long long done = atomic_fetch_add_explicit(&parse->bytes_done, bytes, memory_order_relaxed) + bytes;
    if (worker == 0) context_progress(parse->ctx, "parse ratings", "bytes", done, (int64_t)raw->file.size, NULL, 0, 0);
}

/* ---- cutting the file ---- */

/* Gives each run of lines its place in the arrays; *rows_max = rows there may be. */
static reel_status plan_chunks(reel_context *ctx, struct raw_ratings *raw, int64_t *rows_max, reel_error *err) {
    reel_status status = REEL_OK;
    struct line_chunks cut = {0};
    TRY(line_chunks_cut(ctx, &raw->file, raw->format.body_offset, raw->format.body_line, &cut, err));
    *rows_max = cut.n_lines;
    if (cut.n_lines > (int64_t)UINT32_MAX - 1) {
        status = error_set(err, REEL_BAD_INPUT, "%s: more than 4294967294 lines of ratings", raw->file.name);
        goto cleanup;
    }
    raw->quoted = cut.quoted && !raw->format.separator[1]; /* `::` files know no quotes */
    raw->n_chunks = raw->quoted ? 1 : cut.n;
    TRY(MEM_NEW(&raw->chunks, raw->n_chunks, err));
    for (int64_t i = 0; i < raw->n_chunks; i++) {
        raw->chunks[i].text = cut.chunks[i];
        raw->chunks[i].first_row = cut.chunks[i].first_line - raw->format.body_line;
    }
    if (raw->quoted) raw->chunks[0].text.end = raw->file.size;
cleanup:
    line_chunks_free(&cut);
    return status;
}

/* ---- after the parse ---- */

/* Closes the gaps that blank and bad lines left, and draws the chunks' findings together. */
static void join_chunks(struct raw_ratings *raw, int64_t n_chunks) {
    int64_t n = 0, last_key = -1;
    raw->ascending = 1;
    for (int64_t i = 0; i < n_chunks; i++) {
        struct rating_chunk *chunk = &raw->chunks[i];
        int64_t from = chunk->first_row, rows = chunk->n_rows;
        chunk->first_row = n;
        if (rows == 0) continue;
        if (from != n) {
            memmove(raw->users + n, raw->users + from, (size_t)rows * sizeof *raw->users);
            memmove(raw->movies + n, raw->movies + from, (size_t)rows * sizeof *raw->movies);
            memmove(raw->ratings + n, raw->ratings + from, (size_t)rows * sizeof *raw->ratings);
            memmove(raw->times + n, raw->times + from, (size_t)rows * sizeof *raw->times);
        }
        int64_t first_key = (int64_t)raw->users[n] << 32 | raw->movies[n];
        raw->ascending &= chunk->ascending && first_key > last_key;
        n += rows;
        last_key = (int64_t)raw->users[n - 1] << 32 | raw->movies[n - 1];
        if (chunk->max_user > raw->max_user) raw->max_user = chunk->max_user;
        if (chunk->max_movie > raw->max_movie) raw->max_movie = chunk->max_movie;
    }
    raw->n = n;
}

/* Describes the first malformed line of a chunk that has one. */
static void first_bad_line(const struct raw_ratings *raw, const struct rating_chunk *chunk, reel_error *first_bad) {
    struct row_walk walk;
    char reason[256];
    walk_begin(&walk, raw, chunk);
    while (walk_next(&walk)) {
        if (walk.fault == ROW_GOOD) continue;
        walk_describe(&walk, reason, sizeof reason);
        error_set(first_bad, REEL_BAD_INPUT, "%s:%" PRId64 ": %s", raw->file.name, walk.reader.row_line, reason);
        break;
    }
    csv_reader_free(&walk.reader);
}

static void list_bad_lines(const struct raw_ratings *raw, struct bad_lines *bad) {
    for (int64_t i = 0; i < raw->n_chunks; i++) {
        const struct rating_chunk *chunk = &raw->chunks[i];
        bad->count += chunk->n_bad;
        if (chunk->n_bad == 0 || bad->listed >= bad->max_listed) continue;
        struct row_walk walk;
        char reason[256];
        walk_begin(&walk, raw, chunk);
        int room = 1;
        while (room && walk_next(&walk)) {
            if (walk.fault == ROW_GOOD) continue;
            walk_describe(&walk, reason, sizeof reason);
            room = bad_lines_list(bad, raw->file.name, walk.reader.row_line, "%s", reason);
        }
        csv_reader_free(&walk.reader);
    }
}

static int standard_columns(const struct rating_format *format) {
    for (int i = 0; i < RATING_FIELDS; i++)
        if (format->columns[i] != i) return 0;
    return format->n_columns == RATING_FIELDS;
}

reel_status rating_reader_read(reel_context *ctx, const struct text_file *file, const struct rating_format *format,
                               struct bad_lines *bad, struct raw_ratings *out, reel_error *first_bad, reel_error *err) {
    *out = (struct raw_ratings){.file = *file, .format = *format};
    *first_bad = (reel_error){.status = REEL_OK};
    int64_t rows_max;
    TRY_RETURN(plan_chunks(ctx, out, &rows_max, err));
    TRY_RETURN(MEM_RAW(&out->users, rows_max, err));
    TRY_RETURN(MEM_RAW(&out->movies, rows_max, err));
    TRY_RETURN(MEM_RAW(&out->ratings, rows_max, err));
    TRY_RETURN(MEM_RAW(&out->times, rows_max, err));
    struct parse parse = {.ctx = ctx,
                          .raw = out,
                          .skip = bad->skip,
                          .fast = standard_columns(format),
                          .n_separator = format->separator[1] ? 2 : 1};
    atomic_init(&parse.bad_chunk, INT64_MAX);
    atomic_init(&parse.bytes_done, 0);
    thread_pool_run(ctx->pool, out->n_chunks, parse_chunk, &parse);
    TRY_RETURN(context_check(ctx, err));
    if (parse.no_memory) return error_set(err, REEL_NO_MEMORY, "out of memory for a row of text");
    context_progress(ctx, "parse ratings", "bytes", (int64_t)file->size, (int64_t)file->size, NULL, 0, 1);
    int64_t n_chunks = out->n_chunks, bad_chunk = atomic_load(&parse.bad_chunk);
    if (bad_chunk < n_chunks) {
        n_chunks = bad_chunk + 1;
        first_bad_line(out, &out->chunks[bad_chunk], first_bad);
    }
    join_chunks(out, n_chunks);
    if (bad->skip) list_bad_lines(out, bad);
    return REEL_OK;
}

void raw_ratings_free(struct raw_ratings *raw) {
    mem_free(raw->users);
    mem_free(raw->movies);
    mem_free(raw->ratings);
    mem_free(raw->times);
    mem_free(raw->chunks);
    *raw = (struct raw_ratings){0};
}

int64_t raw_ratings_line(const struct raw_ratings *raw, int64_t row) {
    int64_t chunk = 0;
    while (chunk + 1 < raw->n_chunks && (raw->chunks[chunk].first_row + raw->chunks[chunk].n_rows) <= row) chunk++;
    struct row_walk walk;
    walk_begin(&walk, raw, &raw->chunks[chunk]);
    int64_t left = row - raw->chunks[chunk].first_row;
    while (walk_next(&walk))
        if (walk.fault == ROW_GOOD && left-- == 0) break;
    csv_reader_free(&walk.reader);
    return walk.reader.row_line;
}
