/* What a source is and where its files lie: a folder (or a folder with the data in its one sub-folder, as
 * unpacked), a ZIP as downloaded, or one bare ratings file. */
#ifndef DATA_SOURCE_LAYOUT_H
#define DATA_SOURCE_LAYOUT_H

#include "core/context.h"
#include "core/file.h"
#include "data/text_file.h"

enum source_kind {
    SOURCE_ML_100K, /* u.data, u.item, u.genre */
    SOURCE_ML_1M,   /* ratings.dat, movies.dat, users.dat: whole stars */
    SOURCE_ML_10M,  /* ratings.dat, movies.dat, tags.dat: half stars */
    SOURCE_ML_CSV,  /* ratings.csv with userId,movieId,rating,timestamp */
    SOURCE_CSV      /* any other table of ratings */
};
/* "ml-100k", ...: a static string. */
const char *source_kind_name(enum source_kind kind);

enum source_part {
    PART_RATINGS,
    PART_MOVIES,
    PART_TAGS,
    PART_LINKS,
    PART_GENOME_SCORES,
    PART_GENOME_TAGS,
    PART_GENRES,
    PART_METADATA, /* named by the caller, see source_add */
    SOURCE_PARTS
};

struct source {
    enum source_kind kind;
    struct text_file files[SOURCE_PARTS]; /* name NULL = there is none */
    struct file_map maps[SOURCE_PARTS];
    char *names[SOURCE_PARTS];
};

/* Opens and maps all files. `columns` as in reel_import_options: with it the ratings may lie in the only CSV
 * of the folder, whatever its name. NOT_FOUND (nothing there, no ratings), BAD_INPUT (several data sets, a
 * ZIP that is broken or absurd), UNSUPPORTED (a ZIP in a build without libzip), IO, NO_MEMORY, CANCELLED. On failure
 * there is nothing to close. */
reel_status source_open(reel_context *ctx, const char *path, const char *columns, struct source *out, reel_error *err);
/* Opens a bare movies.csv, movies.dat or u.item, by what its first line looks like, as a source without ratings;
 * *is_movies = 0 and nothing is opened if it is none. */
reel_status source_open_movies(const char *path, struct source *out, int *is_movies, reel_error *err);
/* Maps one more file as `part`, which the source must not have yet. NOT_FOUND, BAD_INPUT, IO, NO_MEMORY. */
reel_status source_add(struct source *source, enum source_part part, const char *path, reel_error *err);
/* Gives the memory of a mapped file back; its pages are read again where someone still looks at them. */
void source_forget(const struct source *source, enum source_part part);
void source_close(struct source *source);

#endif
