#include "data/movie_reader.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "data/utf8.h"

enum { ITEM_FIRST_GENRE = 5, FIELDS_MAX = 64 };

static const char *const item_genres[] = {"unknown",   "Action",   "Adventure",   "Animation", "Children's",
                                          "Comedy",    "Crime",    "Documentary", "Drama",     "Fantasy",
                                          "Film-Noir", "Horror",   "Musical",     "Mystery",   "Romance",
                                          "Sci-Fi",    "Thriller", "War",         "Western"};

/* One movie as its line has it. */
struct movie_text {
    struct text_span id, title, genres;
    uint64_t genre_bits; /* u.item: its flags */
};

struct movie_reader {
    const struct text_file *file;
    enum movie_format format;
    struct bad_lines *bad;
    struct movie_table *table;
    struct csv_reader csv;
    int latin1;
    int id_column, title_column, genres_column, n_columns;
    int item_bits[GENRES_MAX]; /* u.item: genre of each flag, -1 = none */
    int n_item_genres;
    size_t titles_used;
};

/* ---- years and genres ---- */

static int four_digits(const char *text) {
    int year = 0;
    for (int i = 0; i < 4; i++) {
        if (text[i] < '0' || text[i] > '9') return 0;
        year = year * 10 + (text[i] - '0');
    }
    return year;
}

int movie_title_year(const char *title, size_t length) {
    while (length && (title[length - 1] == ' ' || title[length - 1] == '\t')) length--;
    if (length < 6 || title[length - 1] != ')') return 0;
    const char *end = title + length - 5; /* the last four digits */
    int last = four_digits(end);
    if (last == 0 || end[-1] == '(') return last;
    size_t left = (size_t)(end - title), dash = end[-1] == '-' ? 1 : 0;
    if (left >= 3 && memcmp(end - 3, "\xe2\x80\x93", 3) == 0) dash = 3;
    if (dash == 0 || left < dash + 5 || end[-(ptrdiff_t)dash - 5] != '(') return 0;
    return four_digits(end - dash - 4);
}

/* Number of the genre called `name`, added if it is new; -1 if there is no room for it. */
static int genre_number(struct genre_names *genres, struct text_span name) {
    for (int g = 0; g < genres->n; g++)
        if (strlen(genres->names[g]) == name.length && memcmp(genres->names[g], name.text, name.length) == 0) return g;
    if (genres->n == GENRES_MAX || name.length > GENRE_NAME_MAX) return -1;
    memcpy(genres->names[genres->n], name.text, name.length);
    genres->names[genres->n][name.length] = '\0';
    return genres->n++;
}

static int span_is(struct text_span span, const char *text) {
    return span.length == strlen(text) && memcmp(span.text, text, span.length) == 0;
}

/* "Action|Comedy" to bits; 0 if a name does not fit. */
static int genre_field_bits(struct genre_names *genres, struct text_span field, uint64_t *bits) {
    *bits = 0;
    for (const char *at = field.text, *end = at + field.length; at < end;) {
        const char *bar = memchr(at, '|', (size_t)(end - at));
        const char *stop = bar ? bar : end;
        struct text_span name = span_trim((struct text_span){at, (size_t)(stop - at)});
        at = bar ? bar + 1 : end;
        if (name.length == 0 || span_is(name, "(no genres listed)")) continue;
        int g = genre_number(genres, name);
        if (g < 0) return 0;
        *bits |= (uint64_t)1 << g;
    }
    return 1;
}

static int compare_names(const void *a, const void *b) {
    return strcmp(a, b);
}

/* Puts the names in order and moves the movies' bits accordingly. */
static void sort_genres(struct movie_table *table) {
    struct genre_names sorted = table->genres;
    int place[GENRES_MAX];
    qsort(sorted.names, (size_t)sorted.n, sizeof sorted.names[0], compare_names);
    for (int g = 0; g < sorted.n; g++)
        for (int s = 0; s < sorted.n; s++)
            if (strcmp(table->genres.names[g], sorted.names[s]) == 0) place[g] = s;
    for (int64_t i = 0; i < table->n; i++) {
        uint64_t moved = 0;
        for (uint64_t bits = table->records[i].genres; bits; bits &= bits - 1)
            moved |= (uint64_t)1 << place[__builtin_ctzll(bits)];
        table->records[i].genres = moved;
    }
    table->genres = sorted;
}

/* ---- lines of the three formats ---- */

static reel_status read_genre_file(struct movie_reader *reader, const struct text_file *file, reel_error *err) {
    struct csv_reader csv;
    struct text_span fields[2];
    int n;
    csv_reader_init(&csv, file->data, file->size, '|', 0);
    while (csv_reader_next(&csv, fields, 2, &n) == CSV_ROW) {
        uint64_t number;
        if (n != 2 || span_to_int(fields[1], GENRES_MAX - 1, &number) != 1 ||
            number != (uint64_t)reader->n_item_genres || !utf8_valid(fields[0].text, fields[0].length))
            return error_set(err, REEL_BAD_INPUT, "%s:%" PRId64 ": this is no genre line, name|%d (found '%s')",
                             file->name, csv.row_line, reader->n_item_genres,
                             utf8_shown(fields[0].text, fields[0].length).text);
        int g = span_is(fields[0], "unknown") ? -1 : genre_number(&reader->table->genres, fields[0]);
        reader->item_bits[reader->n_item_genres++] = g;
    }
    if (reader->n_item_genres == 0) return error_set(err, REEL_BAD_INPUT, "%s: the file is empty", file->name);
    return REEL_OK;
}

static void known_item_genres(struct movie_reader *reader) {
    for (size_t i = 0; i < sizeof item_genres / sizeof item_genres[0]; i++) {
        struct text_span name = {item_genres[i], strlen(item_genres[i])};
        reader->item_bits[reader->n_item_genres++] = i == 0 ? -1 : genre_number(&reader->table->genres, name);
    }
}

static reel_status read_header(struct movie_reader *reader, reel_error *err) {
    struct text_span fields[FIELDS_MAX];
    int n = 0;
    if (csv_reader_next(&reader->csv, fields, FIELDS_MAX, &n) != CSV_ROW || n > FIELDS_MAX)
        return error_set(err, REEL_BAD_INPUT, "%s:%" PRId64 ": the header cannot be read", reader->file->name,
                         reader->csv.row_line);
    reader->n_columns = n;
    reader->id_column = csv_find_column(fields, n, "movieid|movie|itemid|item|id");
    reader->title_column = csv_find_column(fields, n, "title|movietitle|name");
    reader->genres_column = csv_find_column(fields, n, "genres|genre");
    if (reader->id_column >= 0 && reader->title_column >= 0) return REEL_OK;
    return error_set(err, REEL_BAD_INPUT, "%s:%" PRId64 ": the header names no movieId and title columns (found '%s')",
                     reader->file->name, reader->csv.row_line,
                     utf8_shown(reader->csv.row_start, (size_t)(reader->csv.at - reader->csv.row_start)).text);
}

/* id::title::genres, where the title may hold "::" itself. */
static const char *split_dat(struct text_span line, struct movie_text *movie) {
    const char *first = NULL, *last = NULL, *end = line.text + line.length;
    for (const char *at = line.text; at + 1 < end; at++) {
        if (at[0] != ':' || at[1] != ':') continue;
        if (!first) first = at;
        last = at;
    }
    if (!first || last < first + 2) return "too few columns: id::title::genres is needed";
    movie->id = (struct text_span){line.text, (size_t)(first - line.text)};
    movie->title = (struct text_span){first + 2, (size_t)(last - first - 2)};
    movie->genres = (struct text_span){last + 2, (size_t)(end - last - 2)};
    return NULL;
}

static const char *split_item(const struct movie_reader *reader, const struct text_span *fields, int n,
                              struct movie_text *movie) {
    if (n != ITEM_FIRST_GENRE + reader->n_item_genres) return "the number of columns is not that of u.item";
    movie->id = fields[0];
    movie->title = fields[1];
    for (int i = 0; i < reader->n_item_genres; i++) {
        struct text_span flag = fields[ITEM_FIRST_GENRE + i];
        if (!span_is(flag, "0") && !span_is(flag, "1")) return "a genre flag is neither 0 nor 1";
        if (*flag.text == '1' && reader->item_bits[i] >= 0) movie->genre_bits |= (uint64_t)1 << reader->item_bits[i];
    }
    return NULL;
}

/* Reads one line: 0 at the end; *fault says what is wrong with its form, NULL = nothing. */
static int next_movie(struct movie_reader *reader, struct movie_text *movie, const char **fault) {
    struct text_span fields[ITEM_FIRST_GENRE + GENRES_MAX];
    int n = 0;
    *movie = (struct movie_text){.id = {"", 0}, .title = {"", 0}, .genres = {"", 0}};
    *fault = NULL;
    if (reader->format == MOVIES_DAT) {
        struct text_span line;
        if (!csv_reader_line(&reader->csv, &line)) return 0;
        *fault = split_dat(line, movie);
        return 1;
    }
    enum csv_result result = csv_reader_next(&reader->csv, fields, ITEM_FIRST_GENRE + GENRES_MAX, &n);
    if (result == CSV_END) return 0;
    if (result != CSV_ROW) {
        *fault = csv_result_text(result);
    } else if (reader->format == MOVIES_ITEM) {
        *fault = split_item(reader, fields, n, movie);
    } else if (n != reader->n_columns) {
        *fault = n < reader->n_columns ? "too few columns" : "too many columns (is a comma not quoted?)";
    } else {
        movie->id = fields[reader->id_column];
        movie->title = fields[reader->title_column];
        if (reader->genres_column >= 0) movie->genres = fields[reader->genres_column];
    }
    return 1;
}

/* ---- records ---- */

/* Copies the title as UTF-8; -1 if it is not text. */
static int64_t keep_title(struct movie_reader *reader, struct text_span title) {
    char *out = reader->table->titles + reader->titles_used;
    size_t length = title.length;
    if (reader->latin1) {
        if (memchr(title.text, 0, length)) return -1;
        length = utf8_from_latin1(title.text, length, out);
    } else {
        if (!utf8_valid(title.text, length)) return -1;
        memcpy(out, title.text, length);
    }
    out[length] = '\0';
    int64_t offset = (int64_t)reader->titles_used;
    reader->titles_used += length + 1;
    return offset;
}

static reel_status keep_movie(struct movie_reader *reader, const struct movie_text *movie, const char *fault,
                              reel_error *err) {
    struct movie_table *table = reader->table;
    struct bad_lines *bad = reader->bad;
    const char *name = reader->file->name;
    int64_t line = reader->csv.row_line;
    if (fault) return bad_lines_add(bad, name, line, err, "%s", fault);
    uint64_t id;
    int known = span_to_int(movie->id, INT32_MAX, &id);
    struct shown_text shown = utf8_shown(movie->id.text, movie->id.length);
    if (known < 0)
        return bad_lines_add(bad, name, line, err, "movie id overflow: ids go up to 2147483647 (found %s)", shown.text);
    if (known == 0)
        return bad_lines_add(bad, name, line, err, "movie id is not a whole number 0..2147483647 (found '%s')",
                             shown.text);
    struct movie_record record = {.key = {(int32_t)id, line}, .genres = movie->genre_bits};
    if (movie->title.length == 0) return bad_lines_add(bad, name, line, err, "the title is empty");
    record.title = keep_title(reader, movie->title);
    if (record.title < 0)
        return bad_lines_add(bad, name, line, err, "the title is not UTF-8 text (found '%s')",
                             utf8_shown(movie->title.text, movie->title.length).text);
    if (!utf8_valid(movie->genres.text, movie->genres.length))
        return bad_lines_add(bad, name, line, err, "the genres are not UTF-8 text");
    if (reader->format != MOVIES_ITEM && !genre_field_bits(&table->genres, movie->genres, &record.genres))
        return error_set(err, REEL_BAD_INPUT,
                         "%s:%" PRId64 ": more than 64 genres, or a name longer than 63 bytes (found '%s')", name, line,
                         utf8_shown(movie->genres.text, movie->genres.length).text);
    const char *title = table->titles + record.title;
    record.year = (int16_t)movie_title_year(title, strlen(title));
    table->records[table->n++] = record;
    return REEL_OK;
}

/* A repeated movie further up goes before the bad line that ended the reading. */
static reel_status read_all(struct movie_reader *reader, reel_error *err) {
    struct movie_text movie;
    const char *fault;
    reel_status status = REEL_OK;
    while (status == REEL_OK && next_movie(reader, &movie, &fault)) {
        status = csv_reader_check(&reader->csv, err);
        if (status == REEL_OK) status = keep_movie(reader, &movie, fault, err);
        if (status == REEL_OK && (reader->table->n & 0xfff) == 0) status = context_check(reader->bad->ctx, err);
    }
    if (status != REEL_OK && status != REEL_BAD_INPUT) return status;
    reel_error repeated = {.status = REEL_OK};
    reel_status sorted = row_key_unique(reader->table->records, &reader->table->n, sizeof *reader->table->records,
                                        "movie", "listed", reader->file->name, reader->bad, &repeated);
    if (sorted == REEL_OK) return status;
    if (err) *err = repeated;
    return sorted;
}

reel_status movie_reader_read(const struct text_file *file, enum movie_format format,
                              const struct text_file *genre_file, struct bad_lines *bad, struct movie_table *out,
                              reel_error *err) {
    reel_status status = REEL_OK;
    struct movie_reader reader = {.file = file, .format = format, .bad = bad, .table = out};
    *out = (struct movie_table){0};
    csv_reader_init(&reader.csv, file->data, file->size, format == MOVIES_ITEM ? '|' : ',', format == MOVIES_CSV);
    if (file->size == 0) return error_set(err, REEL_BAD_INPUT, "%s: the file is empty", file->name);
    reader.latin1 = format != MOVIES_CSV && !utf8_valid(file->data, file->size);
    int64_t lines = csv_count_lines(file->data, file->size);
    TRY(MEM_RAW(&out->records, lines, err));
    /* A byte becomes two at most (ISO-8859-1), and each title gets its NUL. */
    TRY(MEM_RAW(&out->titles, file->size * 2 + (size_t)lines, err));
    if (format == MOVIES_CSV) TRY(read_header(&reader, err));
    if (format == MOVIES_ITEM && genre_file) TRY(read_genre_file(&reader, genre_file, err));
    if (format == MOVIES_ITEM && !genre_file) known_item_genres(&reader);
    TRY(read_all(&reader, err));
    if (out->n == 0) status = error_set(err, REEL_BAD_INPUT, "%s: the file has no movies", file->name);
    sort_genres(out);
cleanup:
    csv_reader_free(&reader.csv);
    return status;
}

void movie_table_free(struct movie_table *table) {
    mem_free(table->records);
    mem_free(table->titles);
    *table = (struct movie_table){0};
}
