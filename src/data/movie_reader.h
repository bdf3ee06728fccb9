/* Reads movies: movies.csv (movieId,title,genres), movies.dat (id::title::genres|...) and ml-100k's u.item
 * with u.genre. Titles become UTF-8 (`.dat` and u.item files that are no valid UTF-8 are ISO-8859-1). */
#ifndef DATA_MOVIE_READER_H
#define DATA_MOVIE_READER_H

#include "data/bad_lines.h"
#include "data/csv_reader.h"
#include "data/row_key.h"
#include "data/text_file.h"

enum movie_format { MOVIES_CSV, MOVIES_DAT, MOVIES_ITEM };

#define GENRES_MAX     64
#define GENRE_NAME_MAX 63

/* Genre names in ascending order (strcmp) once a reader is done: genre g is bit g. */
struct genre_names {
    int n;
    char names[GENRES_MAX][GENRE_NAME_MAX + 1];
};

struct movie_record {
    struct row_key key;
    int16_t year;    /* 0 = unknown */
    uint64_t genres; /* bits; 0 = none listed */
    int64_t title;   /* offset in titles */
};

struct movie_table {
    int64_t n;
    struct movie_record *records; /* (n,) ascending by id, no repeats */
    char *titles;                 /* NUL-terminated UTF-8 */
    struct genre_names genres;
};

/* `genre_file` is u.genre for MOVIES_ITEM, or NULL (its known nineteen names). A repeated id is a bad line;
 * skipping keeps the first. *out must be freed, whatever the result. BAD_INPUT with file and line, also for
 * more than 64 genres or a file without a movie; NO_MEMORY. */
reel_status movie_reader_read(const struct text_file *file, enum movie_format format,
                              const struct text_file *genre_file, struct bad_lines *bad, struct movie_table *out,
                              reel_error *err);
void movie_table_free(struct movie_table *table);

/* The year at the end of a title, blanks behind it allowed: "(1995)" or the first of "(1995-1998)" (also with
 * an en dash); 0 if there is none. Open ranges, "(2007-)", have none: they are no film's year. */
int movie_title_year(const char *title, size_t length);

#endif
