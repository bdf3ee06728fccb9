/* Reads the tag genome: genome-tags.csv (tagId,tag) and genome-scores.csv (movieId,tagId,relevance). */
#ifndef DATA_GENOME_READER_H
#define DATA_GENOME_READER_H

#include "data/bad_lines.h"
#include "data/text_file.h"

struct genome_table {
    int32_t n_movies, n_tags;
    int32_t *movies;      /* (n_movies,) ids, ascending */
    float *relevance;     /* (n_movies, n_tags) 0..1, 0 where the file has none; tags ascending by tag id */
    int64_t *tag_offsets; /* (n_tags + 1,) into tags */
    char *tags;           /* each followed by NUL */
    int64_t n_missing;    /* pairs without a score */
};

/* BAD_INPUT with file and line: a relevance outside 0..1, an unknown tag, a pair scored twice, or scores
 * for fewer than a quarter of the pairs. *out must be freed, whatever the result. */
reel_status genome_reader_read(reel_context *ctx, const struct text_file *scores, const struct text_file *tags,
                               struct bad_lines *bad, struct genome_table *out, reel_error *err);
void genome_table_free(struct genome_table *table);

/* The float nearest to a decimal number "0.025000000000000022" without sign or exponent; 0 if it is none.
 * Rounded once, as strtof does. */
int span_to_float(const char *text, size_t length, float *value);

#endif
