/* Reads tags: tags.csv (userId,movieId,tag,timestamp) and tags.dat (user::movie::tag::time). */
#ifndef DATA_TAG_READER_H
#define DATA_TAG_READER_H

#include "data/bad_lines.h"
#include "data/text_file.h"

enum tag_format { TAGS_CSV, TAGS_DAT };

struct tag_record {
    int32_t user, movie; /* ids */
    uint32_t time;       /* seconds since 1970 */
    uint32_t length;     /* bytes of the text */
    int64_t text;        /* offset in texts */
};

struct tag_table {
    int64_t n;
    struct tag_record *records; /* (n,) by (user, movie, time, text) */
    char *texts;                /* NUL-terminated UTF-8 */
    int32_t max_user, max_movie;
};

/* A tags.csv that lists the tags of a genome (tagId,tag) is none of ours: *out is empty then. *out must be
 * freed, whatever the result. BAD_INPUT with file and line, NO_MEMORY, CANCELLED. */
reel_status tag_reader_read(const struct text_file *file, enum tag_format format, struct bad_lines *bad,
                            struct tag_table *out, reel_error *err);
void tag_table_free(struct tag_table *table);

#endif
