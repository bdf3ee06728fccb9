#include "data/id_table.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/error.h"
#include "core/file.h"
#include "core/mem.h"

enum { CHUNK_BYTES = 1 << 22, FIELDS_MAX = 64 };

struct text {
    const char *begin, *end;
};

struct chunk {
    const char *begin, *end; /* whole lines */
    int64_t first_row, n_rows;
    int64_t bad_row; /* first row at fault, -1 = none */
    reel_error err;  /* its message without file and line */
};

struct table {
    struct id_column *columns;
    int n_columns;
    struct chunk *chunks;
};

/* ---- one line ---- */

/* The next field of a line; 0 when there is none. *at becomes NULL after the last. */
static int next_field(const char **at, const char *end, struct text *field) {
    if (!*at) return 0;
    const char *comma = memchr(*at, ',', (size_t)(end - *at));
    *field = (struct text){*at, comma ? comma : end};
    *at = comma ? comma + 1 : NULL;
    return 1;
}

static int parse_integer(struct text text, uint64_t highest, uint64_t *out) {
    uint64_t value = 0;
    if (text.begin == text.end || text.end - text.begin > 10) return 0;
    for (const char *at = text.begin; at < text.end; at++) {
        if (*at < '0' || *at > '9') return 0;
        value = value * 10 + (uint64_t)(*at - '0');
    }
    *out = value;
    return value <= highest;
}

/* "4", "4.5", "4.50": half stars 1..10. */
static int parse_rating(struct text text, uint64_t *out) {
    if (text.begin == text.end || *text.begin < '0' || *text.begin > '5') return 0;
    uint64_t half_stars = 2 * (uint64_t)(*text.begin++ - '0');
    if (text.begin < text.end && *text.begin++ != '.') return 0;
    if (text.begin < text.end && *text.begin == '5') half_stars++, text.begin++;
    for (; text.begin < text.end; text.begin++)
        if (*text.begin != '0') return 0;
    *out = half_stars;
    return half_stars >= 1 && half_stars <= 10;
}

static const char *kind_text(enum id_column_kind kind) {
    return kind == ID_COLUMN_ID     ? "an id 0..2147483647"
           : kind == ID_COLUMN_TIME ? "a time in seconds since 1970"
                                    : "a rating 0.5..5 in half steps";
}

static int parse_value(enum id_column_kind kind, struct text text, int32_t *out) {
    uint64_t value = 0;
    int good = kind == ID_COLUMN_RATING ? parse_rating(text, &value)
                                        : parse_integer(text, kind == ID_COLUMN_ID ? INT32_MAX : UINT32_MAX, &value);
    *out = (int32_t)(uint32_t)value;
    return good;
}

/* The name that error messages give a column: the first of its names. */
static int name_length(const struct id_column *column) {
    return (int)strcspn(column->names, "|");
}

static reel_status parse_line(const struct table *table, struct text line, int64_t row, reel_error *err) {
    struct text fields[FIELDS_MAX];
    const char *at = line.begin;
    int n = 0;
    if (line.begin == line.end) return error_set(err, REEL_BAD_INPUT, "the line is empty");
    while (n < FIELDS_MAX && next_field(&at, line.end, &fields[n])) n++;
    for (int c = 0; c < table->n_columns; c++) {
        const struct id_column *column = &table->columns[c];
        if (column->field < 0) continue;
        if (column->field >= n)
            return error_set(err, REEL_BAD_INPUT, "the field %.*s is missing (found \"%.*s\")", name_length(column),
                             column->names, (int)(line.end - line.begin < 60 ? line.end - line.begin : 60), line.begin);
        struct text text = fields[column->field];
        if (!parse_value(column->kind, text, &column->values[row]))
            return error_set(err, REEL_BAD_INPUT, "%.*s must be %s (found \"%.*s\")", name_length(column),
                             column->names, kind_text(column->kind),
                             (int)(text.end - text.begin < 60 ? text.end - text.begin : 60), text.begin);
    }
    return REEL_OK;
}

/* ---- the header ---- */

static int is_named(const char *names, struct text text) {
    size_t length = (size_t)(text.end - text.begin);
    for (const char *at = names;; at++) {
        size_t name = strcspn(at, "|");
        if (name == length && strncasecmp(at, text.begin, length) == 0) return 1;
        at += name;
        if (!*at) return 0;
    }
}

static struct text first_line(const char *begin, const char *end) {
    const char *newline = memchr(begin, '\n', (size_t)(end - begin));
    const char *line_end = newline ? newline : end;
    if (line_end > begin && line_end[-1] == '\r') line_end--;
    return (struct text){begin, line_end};
}

static reel_status read_header(const char *path, struct text line, struct id_column *columns, int n_columns,
                               reel_error *err) {
    for (int c = 0; c < n_columns; c++) {
        const char *at = line.begin;
        struct text field;
        columns[c].field = -1;
        for (int i = 0; i < FIELDS_MAX && next_field(&at, line.end, &field); i++)
            if (columns[c].field < 0 && is_named(columns[c].names, field)) columns[c].field = i;
        if (columns[c].field < 0 && columns[c].required)
            return error_set(err, REEL_BAD_INPUT, "%s:1: the header has no column %.*s (found \"%.*s\")", path,
                             name_length(&columns[c]), columns[c].names,
                             (int)(line.end - line.begin < 100 ? line.end - line.begin : 100), line.begin);
    }
    return REEL_OK;
}

/* Without a header the fields come in order; optional ones are there if the first line has that many. */
static void number_columns(struct text line, struct id_column *columns, int n_columns) {
    const char *at = line.begin;
    struct text field;
    int n = 0;
    while (next_field(&at, line.end, &field)) n++;
    for (int c = 0; c < n_columns; c++) columns[c].field = c < n || columns[c].required ? c : -1;
}

/* ---- all lines ---- */

static void count_chunk(void *arg, int64_t index, int worker) {
    (void)worker;
    const struct table *table = arg;
    struct chunk *chunk = &table->chunks[index];
    chunk->n_rows = 0;
    for (const char *at = chunk->begin; at < chunk->end; chunk->n_rows++) {
        const char *newline = memchr(at, '\n', (size_t)(chunk->end - at));
        at = newline ? newline + 1 : chunk->end;
    }
}

static void parse_chunk(void *arg, int64_t index, int worker) {
    (void)worker;
    const struct table *table = arg;
    struct chunk *chunk = &table->chunks[index];
    const char *at = chunk->begin;
    for (int64_t row = chunk->first_row; at < chunk->end && chunk->bad_row < 0; row++) {
        const char *newline = memchr(at, '\n', (size_t)(chunk->end - at));
        struct text line = {at, newline ? newline : chunk->end};
        at = newline ? newline + 1 : chunk->end;
        if (line.end > line.begin && line.end[-1] == '\r') line.end--;
        if (parse_line(table, line, row, &chunk->err) != REEL_OK) chunk->bad_row = row;
    }
}

/* Cuts begin..end at line ends near multiples of CHUNK_BYTES. */
static int64_t cut(const char *begin, const char *end, struct chunk *chunks) {
    int64_t n = 0;
    while (begin < end) {
        const char *stop = end - begin > CHUNK_BYTES ? begin + CHUNK_BYTES : end;
        const char *newline = stop < end ? memchr(stop, '\n', (size_t)(end - stop)) : NULL;
        stop = newline ? newline + 1 : end;
        chunks[n++] = (struct chunk){.begin = begin, .end = stop, .bad_row = -1};
        begin = stop;
    }
    return n;
}

static reel_status read_rows(reel_context *ctx, const char *path, struct table *table, int64_t n_chunks,
                             int first_row_line, int64_t *n_rows, reel_error *err) {
    thread_pool_run(ctx->pool, n_chunks, count_chunk, table);
    *n_rows = 0;
    for (int64_t i = 0; i < n_chunks; i++) {
        table->chunks[i].first_row = *n_rows;
        *n_rows += table->chunks[i].n_rows;
    }
    for (int c = 0; c < table->n_columns; c++)
        if (table->columns[c].field >= 0) TRY_RETURN(MEM_RAW(&table->columns[c].values, *n_rows, err));
    TRY_RETURN(context_check(ctx, err));
    thread_pool_run(ctx->pool, n_chunks, parse_chunk, table);
    for (int64_t i = 0; i < n_chunks; i++)
        if (table->chunks[i].bad_row >= 0)
            return error_set(err, REEL_BAD_INPUT, "%s:%lld: %s", path,
                             (long long)table->chunks[i].bad_row + first_row_line, table->chunks[i].err.message);
    return REEL_OK;
}

reel_status id_table_parse(reel_context *ctx, const char *path, const char *data, size_t size,
                           struct id_column *columns, int n_columns, int64_t *n_rows, int *first_line_number,
                           reel_error *err) {
    reel_status status = REEL_OK;
    struct table table = {columns, n_columns, NULL};
    *n_rows = 0, *first_line_number = 1;
    for (int c = 0; c < n_columns; c++) columns[c].values = NULL, columns[c].field = -1;
    if (size >= 3 && memcmp(data, "\xef\xbb\xbf", 3) == 0) data += 3, size -= 3;
    while (size > 0 && (data[size - 1] == '\n' || data[size - 1] == '\r')) size--; /* empty lines at the end are none */
    if (size == 0) return error_set(err, REEL_BAD_INPUT, "%s:1: the file is empty", path);
    const char *begin = data, *end = data + size;
    struct text line = first_line(begin, end);
    if (isdigit((unsigned char)*begin)) {
        number_columns(line, columns, n_columns);
    } else {
        TRY(read_header(path, line, columns, n_columns, err));
        const char *newline = memchr(begin, '\n', size);
        begin = newline ? newline + 1 : end;
        *first_line_number = 2;
    }
    TRY(MEM_NEW(&table.chunks, (end - begin) / CHUNK_BYTES + 1, err));
    TRY(read_rows(ctx, path, &table, cut(begin, end, table.chunks), *first_line_number, n_rows, err));
cleanup:
    for (int c = 0; status != REEL_OK && c < n_columns; c++) {
        mem_free(columns[c].values);
        columns[c].values = NULL;
    }
    mem_free(table.chunks);
    return status;
}

reel_status id_table_read(reel_context *ctx, const char *path, struct id_column *columns, int n_columns,
                          int64_t *n_rows, int *first_line_number, reel_error *err) {
    struct file_map map = {0};
    TRY_RETURN(file_map_open(path, &map, err));
    reel_status status =
        id_table_parse(ctx, path, map.data, map.size, columns, n_columns, n_rows, first_line_number, err);
    file_map_close(&map);
    return status;
}
