/* Reads links.csv (movieId,imdbId,tmdbId): a movie's ids elsewhere. */
#ifndef DATA_LINK_READER_H
#define DATA_LINK_READER_H

#include "data/row_key.h"
#include "data/text_file.h"

struct link_record {
    struct row_key key; /* movie id */
    int32_t imdb, tmdb; /* -1 = none */
};

struct link_table {
    int64_t n;
    struct link_record *records; /* (n,) ascending by movie, no repeats */
};

/* A movie linked again is a bad line; skipping keeps the first. *out must be freed, whatever the result.
 * BAD_INPUT with file and line, NO_MEMORY. */
reel_status link_reader_read(const struct text_file *file, struct bad_lines *bad, struct link_table *out,
                             reel_error *err);
void link_table_free(struct link_table *table);

#endif
