/* What shape a file of ratings has. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/error.h"
#include "data/rating_reader.h"
#include "data/utf8.h"

enum { COLUMNS_MAX = 64, NAME_MAX_LENGTH = 64 };

/* Names that columns of users, movies, ratings and times go by. */
static const char *const known_names[RATING_FIELDS] = {
    "userid|user|uid|reviewerid",
    "movieid|movie|itemid|item|filmid",
    "rating|ratings|stars|score",
    "timestamp|time|unixtime|ratingtimestamp",
};

static int is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* The first line that is not blank, empty text if there is none. */
static struct text_span first_line(const struct text_file *file, int64_t *number) {
    struct csv_reader reader;
    struct text_span line = {"", 0};
    csv_reader_init(&reader, file->data, file->size, ',', 0);
    csv_reader_line(&reader, &line);
    *number = reader.row_line;
    return line;
}

/* The separator that the line has most of. */
static void find_separator(struct text_span line, char separator[3]) {
    static const char candidates[] = ",\t;|";
    size_t most = 0, doubles = 0;
    strcpy(separator, ",");
    for (const char *candidate = candidates; *candidate; candidate++) {
        size_t n = 0;
        for (size_t i = 0; i < line.length; i++) n += line.text[i] == *candidate;
        if (n > most) {
            most = n;
            separator[0] = *candidate;
        }
    }
    for (size_t i = 0; i + 1 < line.length; i++) {
        if (line.text[i] != ':' || line.text[i + 1] != ':') continue;
        doubles++;
        i++;
    }
    if (doubles > most) strcpy(separator, "::");
}

static int count_columns(struct text_span line, const char *separator) {
    struct text_span fields[1];
    int n = 1;
    if (separator[1]) {
        for (size_t i = 0; i + 1 < line.length; i++)
            if (line.text[i] == ':' && line.text[i + 1] == ':') n++, i++;
        return n;
    }
    struct csv_reader reader;
    csv_reader_init(&reader, line.text, line.length, separator[0], 1);
    csv_reader_next(&reader, fields, 1, &n);
    csv_reader_free(&reader);
    return n;
}

static int find_exact(const struct text_span *fields, int n, const char *name) {
    size_t length = strlen(name);
    for (int i = 0; i < n; i++) {
        struct text_span field = span_trim(fields[i]);
        if (field.length == length && memcmp(field.text, name, length) == 0) return i;
    }
    return -1;
}

/* Finds the columns that the caller named. */
static reel_status find_named(const struct text_file *file, const struct text_span *fields, int n, const char *columns,
                              struct rating_format *format, reel_error *err) {
    int64_t number;
    struct text_span line = first_line(file, &number);
    int field = 0;
    format->columns[RATING_TIME] = -1;
    for (const char *at = columns; *at || field == 0; field++) {
        const char *comma = strchr(at, ',');
        size_t length = comma ? (size_t)(comma - at) : strlen(at);
        char name[NAME_MAX_LENGTH] = "";
        if (field == RATING_FIELDS || length == 0 || length >= sizeof name)
            return error_set(err, REEL_INVALID_ARGUMENT, "columns must be user,movie,rating[,time] (found '%s')",
                             columns);
        memcpy(name, at, length);
        format->columns[field] = find_exact(fields, n, name);
        if (format->columns[field] < 0)
            return error_set(err, REEL_BAD_INPUT, "%s:%" PRId64 ": no column is called '%s' (found '%s')", file->name,
                             number, name, utf8_shown(line.text, line.length).text);
        at += length + (comma != NULL);
    }
    if (field < RATING_TIME)
        return error_set(err, REEL_INVALID_ARGUMENT, "columns must be user,movie,rating[,time] (found '%s')", columns);
    return REEL_OK;
}

static reel_status read_header(const struct text_file *file, const char *columns, struct rating_format *format,
                               reel_error *err) {
    reel_status status = REEL_OK;
    struct csv_reader reader;
    int64_t number;
    struct text_span fields[COLUMNS_MAX], line = first_line(file, &number);
    csv_reader_init(&reader, file->data, file->size, format->separator[0], 1);
    int n = 0;
    enum csv_result result = csv_reader_next(&reader, fields, COLUMNS_MAX, &n);
    if (result != CSV_ROW || n > COLUMNS_MAX) {
        status = error_set(err, REEL_BAD_INPUT, "%s:%" PRId64 ": the header cannot be read (%s)", file->name, number,
                           result == CSV_ROW ? "more than 64 columns" : csv_result_text(result));
        goto cleanup;
    }
    format->n_columns = n;
    format->body_offset = (size_t)(reader.at - file->data);
    format->body_line = reader.line;
    if (columns) {
        TRY(find_named(file, fields, n, columns, format, err));
        goto cleanup;
    }
    format->movielens = find_exact(fields, n, "userId") == 0 && find_exact(fields, n, "movieId") == 1 &&
                        find_exact(fields, n, "rating") == 2;
    for (int field = 0; field < RATING_FIELDS; field++)
        format->columns[field] = csv_find_column(fields, n, known_names[field]);
    if (format->columns[RATING_USER] < 0 || format->columns[RATING_MOVIE] < 0 || format->columns[RATING_STARS] < 0)
        status = error_set(err, REEL_BAD_INPUT,
                           "%s:%" PRId64 ": the header names no user, movie and rating columns; name them with "
                           "columns user,movie,rating[,time] (found '%s')",
                           file->name, number, utf8_shown(line.text, line.length).text);
cleanup:
    csv_reader_free(&reader);
    return status;
}

static void skip_mark(const struct text_file *file, struct rating_format *format) {
    format->body_offset = file->size >= 3 && memcmp(file->data, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    format->body_line = 1;
}

void rating_format_plain(const struct text_file *file, const char *separator, int whole_stars,
                         struct rating_format *format) {
    *format = (struct rating_format){.n_columns = RATING_FIELDS,
                                     .columns = {RATING_USER, RATING_MOVIE, RATING_STARS, RATING_TIME},
                                     .whole_stars = whole_stars};
    snprintf(format->separator, sizeof format->separator, "%s", separator);
    skip_mark(file, format);
}

reel_status rating_format_detect(const struct text_file *file, const char *columns, struct rating_format *format,
                                 reel_error *err) {
    *format = (struct rating_format){.columns = {RATING_USER, RATING_MOVIE, RATING_STARS, RATING_TIME}};
    int64_t number;
    struct text_span line = first_line(file, &number);
    if (line.length == 0) return error_set(err, REEL_BAD_INPUT, "%s: the file is empty", file->name);
    find_separator(line, format->separator);
    int quoted_digit = line.text[0] == '"' && line.length > 1 && is_digit(line.text[1]);
    if (columns || !(is_digit(line.text[0]) || quoted_digit || format->separator[1]))
        return read_header(file, columns, format, err);
    skip_mark(file, format);
    format->n_columns = count_columns(line, format->separator);
    if (format->n_columns == 3) format->columns[RATING_TIME] = -1;
    if (format->n_columns != 3 && format->n_columns != 4)
        return error_set(err, REEL_BAD_INPUT,
                         "%s:%" PRId64 ": this is no line of ratings: user, movie, rating[, time] (found '%s')",
                         file->name, number, utf8_shown(line.text, line.length).text);
    return REEL_OK;
}
