/* Fields of separated text, row by row, straight from memory.
 *
 * RFC 4180 with what real files add: LF or CRLF line ends, a UTF-8 byte order mark, a last line without an
 * end, blank lines (skipped), and quotes inside an unquoted field (ordinary text, as Python's csv has it).
 * No allocation a row: a field is a view into the input, or into one scratch buffer where doubled quotes had
 * to be undone. */
#ifndef DATA_CSV_READER_H
#define DATA_CSV_READER_H

#include <stddef.h>
#include <stdint.h>
#include <reel/status.h>
#include "core/mem.h"

/* A piece of text that someone else keeps alive; not NUL-terminated. */
struct text_span {
    const char *text;
    size_t length;
};

static inline struct text_span span_trim(struct text_span span) {
    while (span.length && (*span.text == ' ' || *span.text == '\t')) span.text++, span.length--;
    while (span.length && (span.text[span.length - 1] == ' ' || span.text[span.length - 1] == '\t')) span.length--;
    return span;
}

struct csv_reader {
    const char *at, *end;
    const char *row_start; /* of the latest row */
    char separator;
    int quotes;       /* 0: a quote is ordinary text */
    int64_t line;     /* number of the line at `at`, from 1 */
    int64_t row_line; /* number of the line on which the latest row began */
    struct strbuf scratch;
};

enum csv_result {
    CSV_ROW,
    CSV_END,
    CSV_OPEN_QUOTE,  /* a quoted field without its closing quote; the next call goes on after the row's first line */
    CSV_AFTER_QUOTE, /* text between a closing quote and the separator; the next call goes on likewise */
    CSV_NO_MEMORY
};

/* Reads `size` bytes at `data`; skips a byte order mark. `data` may be NULL when size is 0. */
void csv_reader_init(struct csv_reader *reader, const char *data, size_t size, char separator, int quotes);
void csv_reader_free(struct csv_reader *reader);
/* The next row: the first `max` fields, valid until the next call, and how many fields it has in all. */
enum csv_result csv_reader_next(struct csv_reader *reader, struct text_span *fields, int max, int *n_fields);
/* NO_MEMORY once CSV_NO_MEMORY was returned, else OK. */
reel_status csv_reader_check(const struct csv_reader *reader, reel_error *err);
/* The next whole line that is not blank, without its end; no quotes. 0 at the end. */
int csv_reader_line(struct csv_reader *reader, struct text_span *line);
/* What a result other than CSV_ROW means, for messages. */
const char *csv_result_text(enum csv_result result);

/* Number of line ends in the text plus one: no file of this text has more rows. */
int64_t csv_count_lines(const char *data, size_t size);

/* Position of the first column that goes by one of `names` ("movieid|movie|item": lower case; the header's
 * case, '_', '-' and ' ' do not matter), earlier names first; -1 if there is none. */
int csv_find_column(const struct text_span *header, int n, const char *names);

/* Whole number 0..max of the trimmed field: 1 on success, 0 if it is no number, -1 if it is above max. */
int span_to_int(struct text_span field, uint64_t max, uint64_t *value);

#endif
