#include "data/genome_reader.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "data/csv_reader.h"
#include "data/id_map.h"
#include "data/line_chunks.h"
#include "data/row_key.h"
#include "data/utf8.h"

enum { FIELDS_MAX = 8, NUMBER_MAX = 64 };

struct tag_row {
    struct row_key key; /* tag id */
    int64_t text;
    int64_t length;
};

/* One line of scores. */
struct score {
    int32_t movie; /* id */
    int32_t tag;   /* index */
    float relevance;
    uint32_t line;
};

struct genome_reader {
    reel_context *ctx;
    const struct text_file *scores, *tags;
    struct bad_lines *bad;
    struct genome_table *table;
    struct csv_reader csv;
    struct tag_row *tag_rows; /* (n_tags,) ascending by id */
    struct id_map tag_map;
    struct score *rows; /* (n_rows,) in file order */
    int64_t n_rows;
    int32_t max_movie;
};

int span_to_float(const char *text, size_t length, float *value) {
    static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,
                                    1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19};
    uint64_t digits = 0;
    size_t n = 0, decimals = 0;
    int dot = 0;
    for (size_t i = 0; i < length; i++) {
        unsigned digit = (unsigned)(unsigned char)text[i] - '0';
        if (text[i] == '.' && !dot) {
            dot = 1;
            continue;
        }
        if (digit > 9) break;
        n++;
        decimals += (size_t)dot;
        if (n <= 18) digits = digits * 10 + digit;
    }
    if (n >= 1 && n <= 18 && n + (size_t)dot == length) {
        /* Three roundings, each within 2^-53: where the floats on both sides of that agree, so does the exact value. */
        double near = (double)digits / powers[decimals];
        float low = (float)(near * (1 - 0x1p-50)), high = (float)(near * (1 + 0x1p-50));
        *value = low;
        if (low == high) return 1;
    }
    char copy[NUMBER_MAX], *end;
    if (length == 0 || length >= sizeof copy) return 0;
    memcpy(copy, text, length);
    copy[length] = '\0';
    if (strspn(copy, "0123456789.eE-") < length) return 0;
    *value = strtof(copy, &end);
    return end == copy + length;
}

/* The header's columns by name into columns (n,). */
static reel_status read_header(struct genome_reader *reader, const struct text_file *file, const char *const *names,
                               int n_names, int *columns, int *n_columns, reel_error *err) {
    struct text_span fields[FIELDS_MAX];
    if (file->size == 0) return error_set(err, REEL_BAD_INPUT, "%s: the file is empty", file->name);
    csv_reader_free(&reader->csv);
    csv_reader_init(&reader->csv, file->data, file->size, ',', 1);
    if (csv_reader_next(&reader->csv, fields, FIELDS_MAX, n_columns) != CSV_ROW || *n_columns > FIELDS_MAX)
        return error_set(err, REEL_BAD_INPUT, "%s:%" PRId64 ": the header cannot be read", file->name,
                         reader->csv.row_line);
    for (int i = 0; i < n_names; i++) {
        columns[i] = csv_find_column(fields, *n_columns, names[i]);
        if (columns[i] < 0)
            return error_set(err, REEL_BAD_INPUT, "%s:%" PRId64 ": the header has no column %s", file->name,
                             reader->csv.row_line, names[i]);
    }
    return REEL_OK;
}

/* One row of `file`: *fault says what is wrong with its form. 0 at the end. */
static int next_row(struct genome_reader *reader, struct text_span *fields, int n_columns, const char **fault) {
    int n;
    enum csv_result result = csv_reader_next(&reader->csv, fields, FIELDS_MAX, &n);
    if (result == CSV_END) return 0;
    *fault = NULL;
    if (result != CSV_ROW)
        *fault = csv_result_text(result);
    else if (n != n_columns)
        *fault = n < n_columns ? "too few columns" : "too many columns";
    return 1;
}

static reel_status read_tag_rows(struct genome_reader *reader, int64_t *n, reel_error *err) {
    static const char *const names[2] = {"tagid", "tag"};
    int columns[2] = {0}, n_columns;
    struct text_span fields[FIELDS_MAX];
    const char *fault;
    const struct text_file *file = reader->tags;
    size_t used = 0;
    TRY_RETURN(read_header(reader, file, names, 2, columns, &n_columns, err));
    while (next_row(reader, fields, n_columns, &fault)) {
        uint64_t id = 0;
        TRY_RETURN(csv_reader_check(&reader->csv, err));
        int64_t line = reader->csv.row_line;
        struct text_span tag = fault ? (struct text_span){"", 0} : fields[columns[1]];
        if (!fault && span_to_int(fields[columns[0]], INT32_MAX, &id) != 1) fault = "the tag id is not a whole number";
        if (!fault && !utf8_valid(tag.text, tag.length)) fault = "the tag is not UTF-8 text";
        if (fault) {
            TRY_RETURN(bad_lines_add(reader->bad, file->name, line, err, "%s", fault));
            continue;
        }
        memcpy(reader->table->tags + used, tag.text, tag.length);
        reader->tag_rows[(*n)++] = (struct tag_row){{(int32_t)id, line}, (int64_t)used, (int64_t)tag.length};
        used += tag.length;
    }
    return row_key_unique(reader->tag_rows, n, sizeof *reader->tag_rows, "tag", "listed", file->name, reader->bad, err);
}

/* Tags in the order of their ids, each followed by NUL. */
static reel_status read_tags(struct genome_reader *reader, reel_error *err) {
    struct genome_table *table = reader->table;
    const struct text_file *file = reader->tags;
    int64_t lines = csv_count_lines(file->data, file->size), n = 0;
    TRY_RETURN(MEM_RAW(&reader->tag_rows, lines, err));
    TRY_RETURN(MEM_RAW(&table->tags, file->size, err));
    TRY_RETURN(read_tag_rows(reader, &n, err));
    if (n == 0) return error_set(err, REEL_BAD_INPUT, "%s: the file has no tags", file->name);
    if (n > INT32_MAX) return error_set(err, REEL_BAD_INPUT, "%s: more than 2147483647 tags", file->name);
    char *sorted;
    size_t used = 0;
    TRY_RETURN(MEM_RAW(&sorted, file->size + (size_t)lines, err));
    reel_status status = MEM_RAW(&table->tag_offsets, n + 1, err);
    for (int64_t i = 0; i < n && status == REEL_OK; i++) {
        const struct tag_row *row = &reader->tag_rows[i];
        table->tag_offsets[i] = (int64_t)used;
        memcpy(sorted + used, table->tags + row->text, (size_t)row->length);
        used += (size_t)row->length;
        sorted[used++] = '\0';
    }
    mem_free(table->tags);
    table->tags = sorted;
    if (status != REEL_OK) return status;
    table->tag_offsets[n] = (int64_t)used;
    table->n_tags = (int32_t)n;
    struct id_list list = {&reader->tag_rows[0].key.id, n, sizeof *reader->tag_rows};
    return id_map_build(reader->ctx, &list, 1, reader->tag_rows[n - 1].key.id, &reader->tag_map, err);
}

static const char *parse_score(const struct genome_reader *reader, const struct text_span *fields, const int *columns,
                               struct score *score, struct text_span *found) {
    uint64_t movie, tag;
    *found = fields[columns[0]];
    if (span_to_int(*found, INT32_MAX, &movie) != 1) return "movie id is not a whole number 0..2147483647";
    *found = fields[columns[1]];
    if (span_to_int(*found, INT32_MAX, &tag) != 1) return "tag id is not a whole number 0..2147483647";
    score->movie = (int32_t)movie;
    score->tag = id_map_find(&reader->tag_map, (int32_t)tag);
    if (score->tag < 0) return "genome-tags has no such tag";
    *found = span_trim(fields[columns[2]]);
    if (!span_to_float(found->text, found->length, &score->relevance) || !(score->relevance >= 0) ||
        !(score->relevance <= 1))
        return "relevance is not a number 0..1";
    return NULL;
}

/* ---- the usual file, in parallel ---- */

struct score_job {
    struct genome_reader *reader;
    const struct line_chunk *chunks;
    int64_t first_line; /* of the file's body */
    const int *columns;
    int n_columns;
    int64_t *n_rows;     /* (n_chunks,) */
    int32_t *max_movies; /* (n_chunks,) */
    atomic_int unusual;  /* a chunk met a line that is no score */
};

/* Cuts a line without quotes; returns the number of fields. */
static int split_line(struct text_span line, struct text_span *fields) {
    const char *at = line.text, *end = at + line.length;
    for (int n = 0; n < FIELDS_MAX; n++) {
        const char *stop = at;
        while (stop < end && *stop != ',') stop++;
        fields[n] = (struct text_span){at, (size_t)(stop - at)};
        if (stop == end) return n + 1;
        at = stop + 1;
    }
    return FIELDS_MAX + 1;
}

/* Rows go to the place of their lines. */
static void score_chunk(void *arg, int64_t task, int worker) {
    struct score_job *job = arg;
    struct genome_reader *reader = job->reader;
    const struct line_chunk *chunk = &job->chunks[task];
    struct score *rows = reader->rows + (chunk->first_line - job->first_line);
    struct text_span line, fields[FIELDS_MAX], found;
    struct csv_reader csv;
    int64_t n = 0;
    csv_reader_init(&csv, NULL, 0, ',', 0);
    csv.at = reader->scores->data + chunk->begin;
    csv.end = reader->scores->data + chunk->end;
    csv.line = chunk->first_line;
    if (atomic_load_explicit(&job->unusual, memory_order_relaxed) || context_check(reader->ctx, NULL) != REEL_OK)
        return;
    for (; csv_reader_line(&csv, &line); n++) {
        rows[n].line = (uint32_t)csv.row_line;
        if (split_line(line, fields) != job->n_columns ||
            parse_score(reader, fields, job->columns, &rows[n], &found) != NULL) {
            atomic_store_explicit(&job->unusual, 1, memory_order_relaxed);
            return;
        }
        if (rows[n].movie > job->max_movies[task]) job->max_movies[task] = rows[n].movie;
    }
    job->n_rows[task] = n;
    if (worker == 0)
        context_progress(reader->ctx, "parse genome", "bytes", (int64_t)chunk->end, (int64_t)reader->scores->size, NULL,
                         0, 0);
}

static void join_scores(struct genome_reader *reader, const struct score_job *job, int64_t n_chunks) {
    for (int64_t i = 0; i < n_chunks; i++) {
        const struct score *from = reader->rows + (job->chunks[i].first_line - job->first_line);
        if (from != reader->rows + reader->n_rows)
            memmove(reader->rows + reader->n_rows, from, (size_t)job->n_rows[i] * sizeof *from);
        reader->n_rows += job->n_rows[i];
        if (job->max_movies[i] > reader->max_movie) reader->max_movie = job->max_movies[i];
    }
}

/* Reads the rows behind the header if there is no quote and no fault among them; *done = 0 leaves the file to
 * read_rows, which knows what to do and to say. */
static reel_status read_rows_fast(struct genome_reader *reader, const int *columns, int n_columns, int *done,
                                  reel_error *err) {
    reel_status status = REEL_OK;
    const struct text_file *file = reader->scores;
    struct line_chunks cut = {0};
    struct score_job job = {
        .reader = reader, .first_line = reader->csv.line, .columns = columns, .n_columns = n_columns};
    *done = 0;
    TRY(line_chunks_cut(reader->ctx, file, (size_t)(reader->csv.at - file->data), reader->csv.line, &cut, err));
    if (cut.quoted) goto cleanup;
    job.chunks = cut.chunks;
    atomic_init(&job.unusual, 0);
    TRY(MEM_NEW(&job.n_rows, cut.n, err));
    TRY(MEM_NEW(&job.max_movies, cut.n, err));
    thread_pool_run(reader->ctx->pool, cut.n, score_chunk, &job);
    TRY(context_check(reader->ctx, err));
    if (atomic_load(&job.unusual)) goto cleanup;
    join_scores(reader, &job, cut.n);
    *done = 1;
cleanup:
    line_chunks_free(&cut);
    mem_free(job.n_rows);
    mem_free(job.max_movies);
    return status;
}

/* ---- any file, front to back ---- */

static reel_status read_rows(struct genome_reader *reader, const int *columns, int n_columns, reel_error *err) {
    struct text_span fields[FIELDS_MAX], found;
    const char *fault;
    const struct text_file *file = reader->scores;
    for (int64_t i = 0; next_row(reader, fields, n_columns, &fault); i++) {
        TRY_RETURN(csv_reader_check(&reader->csv, err));
        struct score score = {.line = (uint32_t)reader->csv.row_line};
        found = (struct text_span){reader->csv.row_start, (size_t)(reader->csv.at - reader->csv.row_start)};
        if (!fault) fault = parse_score(reader, fields, columns, &score, &found);
        if (fault)
            TRY_RETURN(bad_lines_add(reader->bad, file->name, reader->csv.row_line, err, "%s (found '%s')", fault,
                                     utf8_shown(found.text, found.length).text));
        else
            reader->rows[reader->n_rows++] = score;
        if (!fault && score.movie > reader->max_movie) reader->max_movie = score.movie;
        if ((i & 0xffff) == 0) TRY_RETURN(context_check(reader->ctx, err));
    }
    return REEL_OK;
}

static reel_status read_scores(struct genome_reader *reader, reel_error *err) {
    static const char *const names[3] = {"movieid", "tagid", "relevance"};
    int columns[3] = {0}, n_columns, done;
    const struct text_file *file = reader->scores;
    TRY_RETURN(read_header(reader, file, names, 3, columns, &n_columns, err));
    int64_t lines = csv_count_lines(file->data, file->size);
    if (lines > UINT32_MAX) return error_set(err, REEL_BAD_INPUT, "%s: more than 4294967295 lines", file->name);
    TRY_RETURN(MEM_RAW(&reader->rows, lines, err));
    TRY_RETURN(read_rows_fast(reader, columns, n_columns, &done, err));
    if (!done) TRY_RETURN(read_rows(reader, columns, n_columns, err));
    context_progress(reader->ctx, "parse genome", "bytes", (int64_t)file->size, (int64_t)file->size, NULL, 0, 1);
    if (reader->n_rows == 0) return error_set(err, REEL_BAD_INPUT, "%s: the file has no scores", file->name);
    return REEL_OK;
}

/* The matrix; a second score of a pair is an error, or dropped and counted. */
static reel_status fill_matrix(struct genome_reader *reader, const struct id_map *movies, reel_error *err) {
    struct genome_table *table = reader->table;
    int64_t cells = (int64_t)movies->n * table->n_tags;
    /* A genome is dense; a file of a few scattered scores must not become a huge matrix. */
    if (cells / 4 > reader->n_rows + 1024)
        return error_set(err, REEL_BAD_INPUT,
                         "%s: scores for fewer than a quarter of movies x tags (found %" PRId64 " of %" PRId64 ")",
                         reader->scores->name, reader->n_rows, cells);
    TRY_RETURN(MEM_RAW(&table->relevance, cells, err));
    for (int64_t i = 0; i < cells; i++) table->relevance[i] = -1;
    table->n_missing = cells;
    for (int64_t i = 0; i < reader->n_rows; i++) {
        const struct score *score = &reader->rows[i];
        float *cell = &table->relevance[(int64_t)id_map_find(movies, score->movie) * table->n_tags + score->tag];
        if (*cell >= 0) {
            TRY_RETURN(bad_lines_add(reader->bad, reader->scores->name, score->line, err,
                                     "movie %" PRId32 " has a score for tag %" PRId32 " already", score->movie,
                                     reader->tag_map.ids[score->tag]));
            continue;
        }
        *cell = score->relevance;
        table->n_missing--;
    }
    for (int64_t i = 0; table->n_missing > 0 && i < cells; i++)
        if (table->relevance[i] < 0) table->relevance[i] = 0;
    return REEL_OK;
}

static reel_status build_matrix(struct genome_reader *reader, reel_error *err) {
    struct id_map movies;
    struct id_list list = {&reader->rows[0].movie, reader->n_rows, sizeof *reader->rows};
    TRY_RETURN(id_map_build(reader->ctx, &list, 1, reader->max_movie, &movies, err));
    reel_status status = fill_matrix(reader, &movies, err);
    reader->table->n_movies = movies.n;
    reader->table->movies = movies.ids;
    movies.ids = NULL;
    id_map_free(&movies);
    return status;
}

reel_status genome_reader_read(reel_context *ctx, const struct text_file *scores, const struct text_file *tags,
                               struct bad_lines *bad, struct genome_table *out, reel_error *err) {
    reel_status status = REEL_OK;
    struct genome_reader reader = {.ctx = ctx, .scores = scores, .tags = tags, .bad = bad, .table = out};
    *out = (struct genome_table){0};
    TRY(read_tags(&reader, err));
    TRY(read_scores(&reader, err));
    TRY(build_matrix(&reader, err));
cleanup:
    csv_reader_free(&reader.csv);
    mem_free(reader.tag_rows);
    mem_free(reader.rows);
    id_map_free(&reader.tag_map);
    return status;
}

void genome_table_free(struct genome_table *table) {
    mem_free(table->movies);
    mem_free(table->relevance);
    mem_free(table->tag_offsets);
    mem_free(table->tags);
    *table = (struct genome_table){0};
}
