/* Small CSV tables of numbers: pairs to predict, users to recommend for, one visitor's ratings. One pass counts
 * lines, one parses them, both over chunks of the mapped file in parallel. */
#ifndef DATA_ID_TABLE_H
#define DATA_ID_TABLE_H

#include <stddef.h>
#include <stdint.h>
#include "core/context.h"

enum id_column_kind {
    ID_COLUMN_ID,    /* 0..2^31-1 */
    ID_COLUMN_TIME,  /* 0..2^32-1, stored as its bits */
    ID_COLUMN_RATING /* 0.5, 1, ... 5 in the file, half stars 1..10 in `values` */
};

struct id_column {
    const char *names; /* what a header may call it, in any case: "userId|user_id|user" */
    enum id_column_kind kind;
    int required;
    int field;       /* set by id_table_read: place in a line, -1 = the file has no such column */
    int32_t *values; /* set by id_table_read: (n_rows,), NULL without the column; freed with mem_free */
};

/* Reads the columns (n_columns,). A first line that does not begin with a digit is a header, whose other columns are
 * passed over; without one the fields come in the order of `columns`. *first_line_number is the line of row 0 (1 or 2).
 * BAD_INPUT names the first line at fault. On failure no `values` remain. */
reel_status id_table_read(reel_context *ctx, const char *path, struct id_column *columns, int n_columns,
                          int64_t *n_rows, int *first_line_number, reel_error *err);
/* The same of text in memory; `path` is what errors name. */
reel_status id_table_parse(reel_context *ctx, const char *path, const char *data, size_t size,
                           struct id_column *columns, int n_columns, int64_t *n_rows, int *first_line_number,
                           reel_error *err);

#endif
