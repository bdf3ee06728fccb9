#include "data/tag_reader.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "data/csv_reader.h"
#include "data/utf8.h"

enum { FIELDS_MAX = 32 };

struct tag_text {
    struct text_span user, movie, tag, time;
};

struct tag_reader {
    const struct text_file *file;
    enum tag_format format;
    struct bad_lines *bad;
    struct tag_table *table;
    struct csv_reader csv;
    int latin1;
    int user_column, movie_column, tag_column, time_column, n_columns;
    size_t texts_used;
};

/* *ours = 0 for a file of another kind. */
static reel_status read_header(struct tag_reader *reader, int *ours, reel_error *err) {
    struct text_span fields[FIELDS_MAX];
    int n = 0;
    *ours = 1;
    if (csv_reader_next(&reader->csv, fields, FIELDS_MAX, &n) != CSV_ROW || n > FIELDS_MAX)
        return error_set(err, REEL_BAD_INPUT, "%s:%" PRId64 ": the header cannot be read", reader->file->name,
                         reader->csv.row_line);
    reader->n_columns = n;
    reader->user_column = csv_find_column(fields, n, "userid|user");
    reader->movie_column = csv_find_column(fields, n, "movieid|movie|itemid|item");
    reader->tag_column = csv_find_column(fields, n, "tag");
    reader->time_column = csv_find_column(fields, n, "timestamp|time");
    if (reader->user_column < 0 && csv_find_column(fields, n, "tagid") >= 0)
        *ours = 0;
    else if (reader->user_column < 0 || reader->movie_column < 0 || reader->tag_column < 0)
        return error_set(err, REEL_BAD_INPUT,
                         "%s:%" PRId64 ": the header names no userId, movieId and tag columns (found '%s')",
                         reader->file->name, reader->csv.row_line,
                         utf8_shown(reader->csv.row_start, (size_t)(reader->csv.at - reader->csv.row_start)).text);
    return REEL_OK;
}

/* user::movie::tag::time, where the tag may hold "::" itself. */
static const char *split_dat(struct text_span line, struct tag_text *tag) {
    const char *cuts[3] = {NULL}, *end = line.text + line.length;
    int n = 0;
    for (const char *at = line.text; at + 1 < end; at++) {
        if (at[0] != ':' || at[1] != ':') continue;
        if (n < 2) {
            cuts[n] = at;
            at++;
        } else {
            cuts[2] = at;
        }
        n++;
    }
    if (n < 3) return "too few columns: user::movie::tag::time is needed";
    tag->user = (struct text_span){line.text, (size_t)(cuts[0] - line.text)};
    tag->movie = (struct text_span){cuts[0] + 2, (size_t)(cuts[1] - cuts[0] - 2)};
    tag->tag = (struct text_span){cuts[1] + 2, (size_t)(cuts[2] - cuts[1] - 2)};
    tag->time = (struct text_span){cuts[2] + 2, (size_t)(end - cuts[2] - 2)};
    return NULL;
}

static int next_tag(struct tag_reader *reader, struct tag_text *tag, const char **fault) {
    struct text_span fields[FIELDS_MAX];
    int n = 0;
    *fault = NULL;
    *tag = (struct tag_text){{"", 0}, {"", 0}, {"", 0}, {"0", 1}};
    if (reader->format == TAGS_DAT) {
        struct text_span line;
        if (!csv_reader_line(&reader->csv, &line)) return 0;
        *fault = split_dat(line, tag);
        return 1;
    }
    enum csv_result result = csv_reader_next(&reader->csv, fields, FIELDS_MAX, &n);
    if (result == CSV_END) return 0;
    if (result != CSV_ROW) {
        *fault = csv_result_text(result);
    } else if (n != reader->n_columns) {
        *fault = n < reader->n_columns ? "too few columns" : "too many columns (is a comma not quoted?)";
    } else {
        tag->user = fields[reader->user_column];
        tag->movie = fields[reader->movie_column];
        tag->tag = fields[reader->tag_column];
        if (reader->time_column >= 0) tag->time = fields[reader->time_column];
    }
    return 1;
}

static reel_status bad_number(struct tag_reader *reader, struct text_span field, const char *what, uint64_t max,
                              reel_error *err) {
    uint64_t value;
    struct shown_text shown = utf8_shown(field.text, field.length);
    if (span_to_int(field, max, &value) < 0 && max == INT32_MAX)
        return bad_lines_add(reader->bad, reader->file->name, reader->csv.row_line, err,
                             "%s id overflow: ids go up to 2147483647 (found %s)", what, shown.text);
    return bad_lines_add(reader->bad, reader->file->name, reader->csv.row_line, err,
                         "%s is not a whole number 0..%" PRIu64 " (found '%s')", what, max, shown.text);
}

static reel_status keep_tag(struct tag_reader *reader, const struct tag_text *tag, const char *fault, reel_error *err) {
    struct tag_table *table = reader->table;
    uint64_t user, movie, time;
    if (fault) return bad_lines_add(reader->bad, reader->file->name, reader->csv.row_line, err, "%s", fault);
    if (span_to_int(tag->user, INT32_MAX, &user) != 1) return bad_number(reader, tag->user, "user", INT32_MAX, err);
    if (span_to_int(tag->movie, INT32_MAX, &movie) != 1) return bad_number(reader, tag->movie, "movie", INT32_MAX, err);
    if (span_to_int(tag->time, UINT32_MAX, &time) != 1) return bad_number(reader, tag->time, "time", UINT32_MAX, err);
    if (tag->tag.length >= UINT32_MAX / 2 || memchr(tag->tag.text, 0, tag->tag.length) ||
        (!reader->latin1 && !utf8_valid(tag->tag.text, tag->tag.length)))
        return bad_lines_add(reader->bad, reader->file->name, reader->csv.row_line, err,
                             "the tag is not UTF-8 text (found '%s')", utf8_shown(tag->tag.text, tag->tag.length).text);
    char *out = table->texts + reader->texts_used;
    size_t length = tag->tag.length;
    if (reader->latin1)
        length = utf8_from_latin1(tag->tag.text, length, out);
    else
        memcpy(out, tag->tag.text, length);
    out[length] = '\0';
    table->records[table->n++] = (struct tag_record){(int32_t)user, (int32_t)movie, (uint32_t)time, (uint32_t)length,
                                                     (int64_t)reader->texts_used};
    reader->texts_used += length + 1;
    if ((int32_t)user > table->max_user) table->max_user = (int32_t)user;
    if ((int32_t)movie > table->max_movie) table->max_movie = (int32_t)movie;
    return REEL_OK;
}

/* ---- order ---- */

static int compare_tags(const struct tag_record *a, const struct tag_record *b, const char *texts) {
    if (a->user != b->user) return a->user < b->user ? -1 : 1;
    if (a->movie != b->movie) return a->movie < b->movie ? -1 : 1;
    if (a->time != b->time) return a->time < b->time ? -1 : 1;
    return strcmp(texts + a->text, texts + b->text);
}

/* Merges runs of `width` records from `from` to `to`. */
static void merge_pass(const struct tag_record *from, struct tag_record *to, int64_t n, int64_t width,
                       const char *texts) {
    for (int64_t begin = 0; begin < n; begin += 2 * width) {
        int64_t middle = begin + width < n ? begin + width : n, end = begin + 2 * width < n ? begin + 2 * width : n;
        int64_t a = begin, b = middle;
        for (int64_t i = begin; i < end; i++) {
            int left = b == end || (a < middle && compare_tags(&from[a], &from[b], texts) <= 0);
            to[i] = left ? from[a++] : from[b++];
        }
    }
}

/* Stable merge sort; real files are nearly in order and cost one look. */
static reel_status sort_tags(struct tag_table *table, reel_error *err) {
    int64_t n = table->n;
    int sorted = 1;
    for (int64_t i = 1; i < n && sorted; i++)
        sorted = compare_tags(&table->records[i - 1], &table->records[i], table->texts) <= 0;
    if (sorted) return REEL_OK;
    struct tag_record *other;
    TRY_RETURN(MEM_RAW(&other, n, err));
    for (int64_t width = 1; width < n; width *= 2) {
        merge_pass(table->records, other, n, width, table->texts);
        struct tag_record *swap = table->records;
        table->records = other;
        other = swap;
    }
    mem_free(other);
    return REEL_OK;
}

reel_status tag_reader_read(const struct text_file *file, enum tag_format format, struct bad_lines *bad,
                            struct tag_table *out, reel_error *err) {
    reel_status status = REEL_OK;
    struct tag_reader reader = {.file = file, .format = format, .bad = bad, .table = out};
    *out = (struct tag_table){0};
    if (file->size == 0) return error_set(err, REEL_BAD_INPUT, "%s: the file is empty", file->name);
    csv_reader_init(&reader.csv, file->data, file->size, ',', format == TAGS_CSV);
    reader.latin1 = format == TAGS_DAT && !utf8_valid(file->data, file->size);
    int64_t lines = csv_count_lines(file->data, file->size);
    int ours = 1;
    if (format == TAGS_CSV) TRY(read_header(&reader, &ours, err));
    if (!ours) goto cleanup;
    TRY(MEM_RAW(&out->records, lines, err));
    TRY(MEM_RAW(&out->texts, file->size * (reader.latin1 ? 2 : 1) + (size_t)lines, err));
    struct tag_text tag;
    const char *fault;
    while (next_tag(&reader, &tag, &fault)) {
        TRY(csv_reader_check(&reader.csv, err));
        TRY(keep_tag(&reader, &tag, fault, err));
        if ((out->n & 0xfff) == 0) TRY(context_check(bad->ctx, err));
    }
    TRY(sort_tags(out, err));
cleanup:
    csv_reader_free(&reader.csv);
    return status;
}

void tag_table_free(struct tag_table *table) {
    mem_free(table->records);
    mem_free(table->texts);
    *table = (struct tag_table){0};
}
