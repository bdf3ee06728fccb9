#include "data/link_reader.h"

#include <inttypes.h>
#include <string.h>

#include "core/error.h"
#include "data/csv_reader.h"
#include "data/utf8.h"

enum { FIELDS_MAX = 16, MOVIE = 0, IMDB = 1, TMDB = 2 };

static const char *const column_names[3] = {"movieid|movie|itemid", "imdbid|imdb", "tmdbid|tmdb"};

struct link_reader {
    const struct text_file *file;
    struct bad_lines *bad;
    struct link_table *table;
    struct csv_reader csv;
    int columns[3], n_columns;
};

static reel_status read_header(struct link_reader *reader, reel_error *err) {
    struct text_span fields[FIELDS_MAX];
    int n = 0;
    if (csv_reader_next(&reader->csv, fields, FIELDS_MAX, &n) != CSV_ROW || n > FIELDS_MAX)
        return error_set(err, REEL_BAD_INPUT, "%s:%" PRId64 ": the header cannot be read", reader->file->name,
                         reader->csv.row_line);
    reader->n_columns = n;
    for (int i = 0; i < 3; i++) reader->columns[i] = csv_find_column(fields, n, column_names[i]);
    if (reader->columns[MOVIE] >= 0) return REEL_OK;
    return error_set(err, REEL_BAD_INPUT, "%s:%" PRId64 ": the header names no movieId column (found '%s')",
                     reader->file->name, reader->csv.row_line,
                     utf8_shown(reader->csv.row_start, (size_t)(reader->csv.at - reader->csv.row_start)).text);
}

static reel_status keep_link(struct link_reader *reader, const struct text_span *fields, int n, reel_error *err) {
    static const char *const what[3] = {"movie id", "imdb id", "tmdb id"};
    int64_t line = reader->csv.row_line;
    if (n != reader->n_columns)
        return bad_lines_add(reader->bad, reader->file->name, line, err, "too %s columns: %d are needed (found %d)",
                             n < reader->n_columns ? "few" : "many", reader->n_columns, n);
    int32_t values[3] = {-1, -1, -1};
    for (int i = 0; i < 3; i++) {
        if (reader->columns[i] < 0) continue;
        struct text_span field = span_trim(fields[reader->columns[i]]);
        if (i != MOVIE && field.length == 0) continue; /* no such page */
        uint64_t value;
        if (span_to_int(field, INT32_MAX, &value) != 1)
            return bad_lines_add(reader->bad, reader->file->name, line, err,
                                 "%s is not a whole number 0..2147483647 (found '%s')", what[i],
                                 utf8_shown(field.text, field.length).text);
        values[i] = (int32_t)value;
    }
    reader->table->records[reader->table->n++] = (struct link_record){{values[0], line}, values[1], values[2]};
    return REEL_OK;
}

static reel_status read_rows(struct link_reader *reader, reel_error *err) {
    for (;;) {
        struct text_span fields[FIELDS_MAX];
        int n;
        enum csv_result result = csv_reader_next(&reader->csv, fields, FIELDS_MAX, &n);
        if (result == CSV_END) return REEL_OK;
        TRY_RETURN(csv_reader_check(&reader->csv, err));
        if (result == CSV_ROW)
            TRY_RETURN(keep_link(reader, fields, n, err));
        else
            TRY_RETURN(bad_lines_add(reader->bad, reader->file->name, reader->csv.row_line, err, "%s",
                                     csv_result_text(result)));
    }
}

reel_status link_reader_read(const struct text_file *file, struct bad_lines *bad, struct link_table *out,
                             reel_error *err) {
    reel_status status = REEL_OK;
    struct link_reader reader = {.file = file, .bad = bad, .table = out};
    *out = (struct link_table){0};
    if (file->size == 0) return error_set(err, REEL_BAD_INPUT, "%s: the file is empty", file->name);
    csv_reader_init(&reader.csv, file->data, file->size, ',', 1);
    TRY(MEM_RAW(&out->records, csv_count_lines(file->data, file->size), err));
    TRY(read_header(&reader, err));
    status = read_rows(&reader, err);
    if (status != REEL_OK && status != REEL_BAD_INPUT) goto cleanup;
    /* A repeated movie further up goes before the bad line that ended the reading. */
    reel_error repeated;
    if (row_key_unique(out->records, &out->n, sizeof *out->records, "movie", "linked", file->name, bad, &repeated) !=
        REEL_OK) {
        status = repeated.status;
        if (err) *err = repeated;
    }
cleanup:
    csv_reader_free(&reader.csv);
    return status;
}

void link_table_free(struct link_table *table) {
    mem_free(table->records);
    *table = (struct link_table){0};
}
