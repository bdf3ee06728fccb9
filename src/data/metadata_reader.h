/* Reads movies_metadata.csv of The Movies Dataset (Kaggle): the columns genres, id, imdb_id, revenue, runtime. */
#ifndef DATA_METADATA_READER_H
#define DATA_METADATA_READER_H

#include "data/row_key.h"
#include "data/text_file.h"

struct metadata_record {
    struct row_key key; /* TMDB id */
    uint32_t genres;    /* bits of data/metadata.h */
    int32_t imdb;       /* -1 = none */
    int64_t revenue;    /* US dollars, 0 = unknown */
    float runtime;      /* minutes, 0 = unknown */
};

struct metadata_table {
    int64_t n;
    struct metadata_record *records; /* (n,) ascending by TMDB id, no repeats */
};

/* The published file has three rows torn apart by stray line ends and some thirty movies twice. Such rows are
 * always skipped (the first of a repeated movie stays), counted and listed as notes, with or without
 * bad->skip; a file that is empty or lacks the columns is BAD_INPUT. *out must be freed, whatever the result. */
reel_status metadata_reader_read(const struct text_file *file, struct bad_lines *bad, struct metadata_table *out,
                                 reel_error *err);
void metadata_table_free(struct metadata_table *table);
/* The record of a TMDB id, NULL if there is none. */
const struct metadata_record *metadata_table_find(const struct metadata_table *table, int32_t tmdb);

#endif
