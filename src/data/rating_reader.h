/* Reads a file of ratings: "userId,movieId,rating,timestamp" CSV, `::` files, tab-separated u.data, or a CSV
 * of another shape. Files without quotes are cut at line ends into chunks of a fixed size and parsed in
 * parallel; a file with a quote anywhere is read front to back, because a quoted field may hold line ends. */
#ifndef DATA_RATING_READER_H
#define DATA_RATING_READER_H

#include "core/context.h"
#include "data/bad_lines.h"
#include "data/csv_reader.h"
#include "data/line_chunks.h"
#include "data/text_file.h"

enum { RATING_USER, RATING_MOVIE, RATING_STARS, RATING_TIME, RATING_FIELDS };

/* The shape of a ratings file. */
struct rating_format {
    char separator[3];          /* one character, or "::" */
    int n_columns;              /* every row has as many */
    int columns[RATING_FIELDS]; /* position of user, movie, rating, time; time -1 = none */
    int movielens;              /* the header begins userId,movieId,rating */
    size_t body_offset;         /* where the rows begin: behind byte order mark and header */
    int64_t body_line;          /* number of the first line there */
    int whole_stars;            /* ratings are 1..5 without halves (ml-100k, ml-1m) */
};

/* Finds out the shape from the first line. `columns` ("user,movie,rating[,time]") names the columns of the
 * header, NULL = known names, or no header at all. BAD_INPUT if the file is empty or of no known shape,
 * INVALID_ARGUMENT if `columns` is not three or four names. */
reel_status rating_format_detect(const struct text_file *file, const char *columns, struct rating_format *format,
                                 reel_error *err);

/* The shape of a file without header, four columns in order. */
void rating_format_plain(const struct text_file *file, const char *separator, int whole_stars,
                         struct rating_format *format);

/* What the parse of one run of lines found. */
struct rating_chunk {
    struct line_chunk text;
    int64_t first_row; /* its first entry in the arrays below */
    int64_t n_rows, n_bad;
    int64_t bad_line; /* first malformed line, 0 = none */
    int32_t max_user, max_movie;
    int ascending; /* strictly ascending by (user, movie) inside the chunk */
};

/* Ratings in file order; arrays (n,), owned. */
struct raw_ratings {
    int64_t n;
    int32_t *users, *movies;     /* ids 0..2^31-1 */
    uint8_t *ratings;            /* half stars 1..10 */
    uint32_t *times;             /* seconds since 1970; 0 where the file has none */
    int32_t max_user, max_movie; /* largest ids, 0 if n = 0 */
    int ascending;               /* strictly ascending by (user, movie): sorted and without repeats */
    struct text_file file;       /* borrowed */
    struct rating_format format;
    int quoted; /* the file has quotes: one chunk */
    struct rating_chunk *chunks;
    int64_t n_chunks;
};

/* Parses the file. Without bad->skip reading ends at the first malformed line: *out holds the rows before it,
 * *first_bad says what is wrong there (status REEL_OK when all is well), and the caller decides, since a
 * repeated pair further up comes first. Otherwise malformed lines are counted and listed in order. *out
 * must be freed, whatever the result. NO_MEMORY, CANCELLED, BAD_INPUT (more than 2^32-2 lines). */
reel_status rating_reader_read(reel_context *ctx, const struct text_file *file, const struct rating_format *format,
                               struct bad_lines *bad, struct raw_ratings *out, reel_error *first_bad, reel_error *err);
void raw_ratings_free(struct raw_ratings *raw);
/* The line of the file (which must still be mapped) that row `row` came from; reads its chunk again. */
int64_t raw_ratings_line(const struct raw_ratings *raw, int64_t row);

#endif
