/* A text file cut into runs of whole lines that can be parsed in parallel. */
#ifndef DATA_LINE_CHUNKS_H
#define DATA_LINE_CHUNKS_H

#include "core/context.h"
#include "data/text_file.h"

struct line_chunk {
    size_t begin, end;  /* bytes of the file; empty where one line is longer than a chunk */
    int64_t first_line; /* number of its first line, from 1 */
    int64_t n_lines;    /* lines it may have: line ends, and one more in the last chunk */
};

struct line_chunks {
    int64_t n;
    struct line_chunk *chunks; /* (n,), owned */
    int64_t n_lines;           /* in all */
    int quoted;                /* a '"' occurs somewhere, so that a line end may not end a row */
};

/* Cuts the text behind `offset`, where line `line` begins, at the first line start at or behind each MiB: the
 * borders depend on the file alone. NO_MEMORY. */
reel_status line_chunks_cut(reel_context *ctx, const struct text_file *file, size_t offset, int64_t line,
                            struct line_chunks *out, reel_error *err);
void line_chunks_free(struct line_chunks *chunks);

#endif
