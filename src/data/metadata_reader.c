#include "data/metadata_reader.h"

#include <inttypes.h>
#include <string.h>

#include "core/error.h"
#include "core/mem.h"
#include "data/csv_reader.h"
#include "data/genome_reader.h"
#include "data/metadata.h"
#include "data/utf8.h"

enum { FIELDS_MAX = 64, GENRES = 0, TMDB = 1, IMDB = 2, REVENUE = 3, RUNTIME = 4, COLUMNS = 5 };

static const char *const column_names[COLUMNS] = {"genres", "id", "imdbid", "revenue", "runtime"};

struct metadata_reader {
    const struct text_file *file;
    struct bad_lines *bad;
    struct metadata_table *table;
    struct csv_reader csv;
    int columns[COLUMNS], n_columns;
};

static reel_status read_header(struct metadata_reader *reader, reel_error *err) {
    struct text_span fields[FIELDS_MAX];
    int n = 0;
    if (csv_reader_next(&reader->csv, fields, FIELDS_MAX, &n) != CSV_ROW || n > FIELDS_MAX)
        return error_set(err, REEL_BAD_INPUT, "%s:%" PRId64 ": the header cannot be read", reader->file->name,
                         reader->csv.row_line);
    reader->n_columns = n;
    for (int i = 0; i < COLUMNS; i++) {
        reader->columns[i] = csv_find_column(fields, n, column_names[i]);
        if (reader->columns[i] < 0)
            return error_set(err, REEL_BAD_INPUT, "%s:%" PRId64 ": the header has no column %s", reader->file->name,
                             reader->csv.row_line, column_names[i]);
    }
    return REEL_OK;
}

/* "[{'id': 16, 'name': 'Animation'}, ...]", a Python literal, or the same as JSON. Names that TMDB does not have
 * are passed over. */
static uint32_t genre_bits(struct text_span field) {
    static const char key[] = "name";
    uint32_t bits = 0;
    const char *end = field.text + field.length;
    for (const char *at = field.text; end - at > (ptrdiff_t)sizeof key; at++) {
        if (memcmp(at, key, sizeof key - 1) != 0) continue;
        const char *value = at + sizeof key - 1;
        while (value < end && (*value == '\'' || *value == '"' || *value == ':' || *value == ' ')) value++;
        const char *stop = value;
        while (stop < end && *stop != '\'' && *stop != '"') stop++;
        int genre = metadata_genre_find(value, (size_t)(stop - value));
        if (genre >= 0) bits |= (uint32_t)1 << genre;
        at = stop - 1 > at ? stop - 1 : at;
    }
    return bits;
}

/* A number >= 0 such as "373554033" or "81.0"; 0 where there is none. */
static float number(struct text_span field) {
    float value;
    field = span_trim(field);
    return span_to_float(field.text, field.length, &value) && value >= 0 && value <= 1e9f ? value : 0;
}

/* Whole dollars; a fraction is dropped. */
static int64_t dollars(struct text_span field) {
    uint64_t value = 0;
    field = span_trim(field);
    const char *dot = field.length ? memchr(field.text, '.', field.length) : NULL;
    if (dot) field.length = (size_t)(dot - field.text);
    return span_to_int(field, INT64_MAX, &value) == 1 ? (int64_t)value : 0;
}

static void skip_row(struct metadata_reader *reader, const char *reason, struct text_span found) {
    reader->bad->count++;
    bad_lines_list(reader->bad, reader->file->name, reader->csv.row_line, "%s (found '%s')", reason,
                   utf8_shown(found.text, found.length).text);
}

static void keep_row(struct metadata_reader *reader, const struct text_span *fields, int n) {
    uint64_t tmdb, imdb;
    if (n != reader->n_columns) {
        skip_row(reader, "the row has not the header's number of columns", n > 0 ? fields[0] : (struct text_span){0});
        return;
    }
    struct text_span id = fields[reader->columns[TMDB]], imdb_field = span_trim(fields[reader->columns[IMDB]]);
    if (span_to_int(id, INT32_MAX, &tmdb) != 1) {
        skip_row(reader, "the TMDB id is not a whole number", id);
        return;
    }
    struct metadata_record record = {.key = {(int32_t)tmdb, reader->csv.row_line}, .imdb = -1};
    if (imdb_field.length > 2 && memcmp(imdb_field.text, "tt", 2) == 0)
        imdb_field = (struct text_span){imdb_field.text + 2, imdb_field.length - 2};
    if (span_to_int(imdb_field, INT32_MAX, &imdb) == 1) record.imdb = (int32_t)imdb;
    record.genres = genre_bits(fields[reader->columns[GENRES]]);
    record.revenue = dollars(fields[reader->columns[REVENUE]]);
    record.runtime = number(fields[reader->columns[RUNTIME]]);
    reader->table->records[reader->table->n++] = record;
}

static reel_status read_rows(struct metadata_reader *reader, reel_error *err) {
    struct text_span fields[FIELDS_MAX];
    int n;
    for (int64_t i = 0;; i++) {
        enum csv_result result = csv_reader_next(&reader->csv, fields, FIELDS_MAX, &n);
        if (result == CSV_END) break;
        TRY_RETURN(csv_reader_check(&reader->csv, err));
        if (result == CSV_ROW)
            keep_row(reader, fields, n);
        else
            skip_row(reader, csv_result_text(result), (struct text_span){"", 0});
        if ((i & 0xfff) == 0) TRY_RETURN(context_check(reader->bad->ctx, err));
    }
    struct bad_lines skipping = *reader->bad;
    skipping.skip = 1;
    reel_status status = row_key_unique(reader->table->records, &reader->table->n, sizeof *reader->table->records,
                                        "TMDB id", "listed", reader->file->name, &skipping, err);
    reader->bad->count = skipping.count;
    reader->bad->listed = skipping.listed;
    return status;
}

reel_status metadata_reader_read(const struct text_file *file, struct bad_lines *bad, struct metadata_table *out,
                                 reel_error *err) {
    reel_status status = REEL_OK;
    struct metadata_reader reader = {.file = file, .bad = bad, .table = out};
    *out = (struct metadata_table){0};
    if (file->size == 0) return error_set(err, REEL_BAD_INPUT, "%s: the file is empty", file->name);
    csv_reader_init(&reader.csv, file->data, file->size, ',', 1);
    TRY(MEM_RAW(&out->records, csv_count_lines(file->data, file->size), err));
    TRY(read_header(&reader, err));
    TRY(read_rows(&reader, err));
cleanup:
    csv_reader_free(&reader.csv);
    return status;
}

void metadata_table_free(struct metadata_table *table) {
    mem_free(table->records);
    *table = (struct metadata_table){0};
}

const struct metadata_record *metadata_table_find(const struct metadata_table *table, int32_t tmdb) {
    int64_t low = 0, high = table->n;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (table->records[middle].key.id < tmdb)
            low = middle + 1;
        else
            high = middle;
    }
    return low < table->n && table->records[low].key.id == tmdb ? &table->records[low] : NULL;
}
