/* Feature columns that a CSV declares. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/file.h"
#include "core/mem.h"
#include "data/csv_reader.h"
#include "data/star.h"
#include "data/utf8.h"

enum { FIELDS_MAX = STAR_COLUMNS_MAX + 1, NUMBER_MAX = 63 };
enum key { KEY_USER, KEY_MOVIE, KEY_WEEKDAY, KEY_HOUR, KEYS };

static const char *const key_names[KEYS] = {"userid|user", "movieid|movie|itemid", "weekday", "hour"};
static const char *const key_words[KEYS] = {"user id", "movie id", "weekday", "hour"};
static const uint64_t key_limits[KEYS] = {INT32_MAX, INT32_MAX, 6, 23};

struct declared {
    const struct reel_dataset *dataset;
    const char *path;
    struct star *star;
    struct csv_reader csv;
    enum key key;
    int first, n;   /* the star's columns that come from here */
    int64_t n_keys; /* users, movies, days or hours */
    int64_t *lines; /* (n_keys,) where a key was given, 0 = not yet */
    uint8_t *given; /* (n, n_keys) 1 = has a value */
    float *values;  /* (n, n_keys) */
};

/* ---- the header ---- */

static reel_status add_named(struct declared *declared, struct text_span name, reel_error *err) {
    static const enum star_table tables[KEYS] = {STAR_USER, STAR_MOVIE, STAR_CALENDAR, STAR_CALENDAR};
    struct star *star = declared->star;
    char text[sizeof star->columns->name];
    float *unused;
    name = span_trim(name);
    if (name.length == 0 || name.length >= sizeof text)
        return error_set(err, REEL_BAD_INPUT, "%s:1: a column name must have 1 to %zu bytes (found %zu)",
                         declared->path, sizeof text - 1, name.length);
    memcpy(text, name.text, name.length);
    text[name.length] = '\0';
    for (int c = 0; c < star->n_columns; c++)
        if (strcmp(star->columns[c].name, text) == 0)
            return error_set(err, REEL_BAD_INPUT, "%s:1: there is a feature '%s' already", declared->path,
                             utf8_shown(name.text, name.length).text);
    return star_add_column(star, tables[declared->key], text, &unused, err);
}

static reel_status read_header(struct declared *declared, reel_error *err) {
    struct text_span fields[FIELDS_MAX];
    int n = 0, key = 0;
    if (csv_reader_next(&declared->csv, fields, FIELDS_MAX, &n) != CSV_ROW || n > FIELDS_MAX)
        return error_set(err, REEL_BAD_INPUT, "%s:1: the header cannot be read (at most %d columns are possible)",
                         declared->path, FIELDS_MAX);
    while (key < KEYS && csv_find_column(fields, 1, key_names[key]) != 0) key++;
    if (key == KEYS || n < 2)
        return error_set(err, REEL_BAD_INPUT,
                         "%s:1: the header must be userId, movieId, weekday or hour and then names of columns (found "
                         "'%s')",
                         declared->path, utf8_shown(fields[0].text, fields[0].length).text);
    declared->key = (enum key)key;
    declared->n_keys = key == KEY_USER    ? declared->dataset->n_users
                       : key == KEY_MOVIE ? declared->dataset->n_movies
                                          : (int64_t)key_limits[key] + 1;
    declared->first = declared->star->n_columns;
    declared->n = n - 1;
    for (int i = 1; i < n; i++) TRY_RETURN(add_named(declared, fields[i], err));
    TRY_RETURN(MEM_NEW(&declared->lines, declared->n_keys, err));
    TRY_RETURN(MEM_NEW(&declared->given, declared->n_keys * declared->n, err));
    return MEM_NEW(&declared->values, declared->n_keys * declared->n, err);
}

/* ---- rows ---- */

static reel_status read_value(const struct declared *declared, struct text_span field, float *value, reel_error *err) {
    char text[NUMBER_MAX + 1], *end;
    size_t length = field.length < NUMBER_MAX ? field.length : NUMBER_MAX;
    memcpy(text, field.text, length);
    text[length] = '\0';
    *value = (float)strtod(text, &end);
    if (length == field.length && end == text + length && isfinite(*value)) return REEL_OK;
    return error_set(err, REEL_BAD_INPUT, "%s:%" PRId64 ": a value is not a finite number (found '%s')", declared->path,
                     declared->csv.row_line, utf8_shown(field.text, field.length).text);
}

static reel_status keep_row(struct declared *declared, const struct text_span *fields, int n, reel_error *err) {
    int64_t line = declared->csv.row_line, at;
    uint64_t key;
    if (n != declared->n + 1)
        return error_set(err, REEL_BAD_INPUT, "%s:%" PRId64 ": too %s columns: %d are needed (found %d)",
                         declared->path, line, n <= declared->n ? "few" : "many", declared->n + 1, n);
    if (span_to_int(span_trim(fields[0]), key_limits[declared->key], &key) != 1)
        return error_set(err, REEL_BAD_INPUT, "%s:%" PRId64 ": %s is not a whole number 0..%" PRIu64 " (found '%s')",
                         declared->path, line, key_words[declared->key], key_limits[declared->key],
                         utf8_shown(fields[0].text, fields[0].length).text);
    at = declared->key == KEY_USER    ? reel_dataset_user_index(declared->dataset, (int64_t)key)
         : declared->key == KEY_MOVIE ? reel_dataset_movie_index(declared->dataset, (int64_t)key)
                                      : (int64_t)key;
    if (at < 0) return REEL_OK; /* of another dataset */
    if (declared->lines[at])
        return error_set(err, REEL_BAD_INPUT, "%s:%" PRId64 ": %s %" PRIu64 " was given on line %" PRId64 " already",
                         declared->path, line, key_words[declared->key], key, declared->lines[at]);
    declared->lines[at] = line;
    for (int c = 0; c < declared->n; c++) {
        struct text_span field = span_trim(fields[c + 1]);
        int64_t to = c * declared->n_keys + at;
        if (field.length == 0) continue;
        TRY_RETURN(read_value(declared, field, &declared->values[to], err));
        declared->given[to] = 1;
    }
    return REEL_OK;
}

static reel_status read_rows(struct declared *declared, reel_error *err) {
    for (;;) {
        struct text_span fields[FIELDS_MAX];
        int n;
        enum csv_result result = csv_reader_next(&declared->csv, fields, FIELDS_MAX, &n);
        if (result == CSV_END) return REEL_OK;
        TRY_RETURN(csv_reader_check(&declared->csv, err));
        if (result != CSV_ROW)
            return error_set(err, REEL_BAD_INPUT, "%s:%" PRId64 ": %s", declared->path, declared->csv.row_line,
                             csv_result_text(result));
        TRY_RETURN(keep_row(declared, fields, n, err));
    }
}

/* ---- into the star ---- */

static int64_t key_of_row(const struct declared *declared, int64_t row) {
    return declared->key == KEY_WEEKDAY ? row / 24 : declared->key == KEY_HOUR ? row % 24 : row;
}

/* What has no value gets the mean of those that were given. */
static void fill_column(const struct declared *declared, int c) {
    const float *values = declared->values + c * declared->n_keys;
    const uint8_t *given = declared->given + c * declared->n_keys;
    struct star_column *column = &declared->star->columns[declared->first + c];
    int64_t n_rows = declared->star->n_rows[column->table], count = 0;
    double sum = 0;
    for (int64_t key = 0; key < declared->n_keys; key++) {
        if (!given[key]) continue;
        sum += (double)values[key];
        count++;
    }
    float mean = count ? (float)(sum / (double)count) : 0;
    for (int64_t row = 0; row < n_rows; row++) {
        int64_t key = key_of_row(declared, row);
        column->values[row] = given[key] ? values[key] : mean;
    }
    column->values[n_rows] = mean;
}

reel_status star_read_columns(const struct reel_dataset *dataset, const char *path, struct star *star,
                              reel_error *err) {
    reel_status status = REEL_OK;
    struct file_map map = {0};
    struct declared declared = {.dataset = dataset, .path = path, .star = star};
    TRY_RETURN(file_map_open(path, &map, err));
    csv_reader_init(&declared.csv, map.data, map.size, ',', 1);
    TRY(read_header(&declared, err));
    TRY(read_rows(&declared, err));
    for (int c = 0; c < declared.n; c++) fill_column(&declared, c);
cleanup:
    csv_reader_free(&declared.csv);
    file_map_close(&map);
    mem_free(declared.lines);
    mem_free(declared.given);
    mem_free(declared.values);
    return status;
}
