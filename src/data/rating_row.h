/* One line of a ratings file: the general parser that knows every fault, and the fast one that takes the
 * usual line and leaves everything else to the general one. */
#ifndef DATA_RATING_ROW_H
#define DATA_RATING_ROW_H

#include <string.h>
#include "data/rating_reader.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "digits are read eight at a time, lowest byte first");

struct rating_row {
    uint32_t user, movie, time;
    uint8_t rating; /* half stars */
};

enum row_fault { ROW_GOOD, ROW_BROKEN_QUOTE, ROW_COLUMNS, ROW_USER, ROW_MOVIE, ROW_STARS, ROW_TIME };

/* A line cut into the fields that matter. */
struct row_text {
    struct text_span fields[RATING_FIELDS];
    int n_columns;       /* how many the line has */
    enum csv_result csv; /* CSV_ROW, or what is wrong with its quotes */
};

/* Cuts one line without quotes. */
void row_split(const struct rating_format *format, const char *begin, const char *end, struct row_text *text);
/* The first fault of the row, in the order of enum row_fault; fills *row if there is none. */
enum row_fault row_parse(const struct rating_format *format, const struct row_text *text, struct rating_row *row);
/* What is wrong, with what was found, as one line. */
void row_describe(const struct rating_format *format, const struct row_text *text, enum row_fault fault, char *out,
                  size_t size);

/* Value of the run of digits at `at`, at most eight of them; returns their number. Reads 8 bytes. The digits
 * become a number in three multiplications: pairs, fours, eight (D. Lemire's SWAR parse). */
static inline int row_digits(const char *at, uint32_t *value) {
    uint64_t word;
    memcpy(&word, at, 8);
    word ^= 0x3030303030303030u;
    /* High bit of each byte that is no digit; a carry only spoils bytes behind the first of them. */
    uint64_t other = ((word + 0x7676767676767676u) | word) & 0x8080808080808080u;
    int n = other ? __builtin_ctzll(other) >> 3 : 8;
    if (n == 0) return 0;
    word <<= 64 - 8 * n;
    word = (word * 10 + (word >> 8)) & 0x00ff00ff00ff00ffu;
    word = (word * 100 + (word >> 16)) & 0x0000ffff0000ffffu;
    *value = (uint32_t)(word * 10000 + (word >> 32));
    return n;
}

/* Parses the usual "user,movie,rating,time" line at `at`, separators being `length` times `separator`, and
 * returns where the next line begins; NULL for any other line, good or bad. Reads at most 64 bytes. */
static inline const char *row_parse_fast(const char *at, char separator, int length, struct rating_row *row) {
    int n = row_digits(at, &row->user);
    at += n;
    if (n == 0 || at[0] != separator || (length == 2 && at[1] != separator)) return NULL;
    at += length;
    n = row_digits(at, &row->movie);
    at += n;
    if (n == 0 || at[0] != separator || (length == 2 && at[1] != separator)) return NULL;
    at += length;
    unsigned half = (unsigned)(unsigned char)at[0] * 2 - 2 * '0';
    if (at[1] == '.') {
        if (at[2] != '0' && at[2] != '5') return NULL;
        half += at[2] == '5';
        at += 2;
    }
    if (half - 1 > 9 || at[1] != separator || (length == 2 && at[2] != separator)) return NULL;
    row->rating = (uint8_t)half;
    at += 1 + length;
    uint32_t first = 0;
    n = row_digits(at, &first);
    if (n == 0) return NULL;
    at += n;
    uint64_t time = first;
    for (int more = 0; n == 8 && more < 2 && (unsigned)(unsigned char)*at - '0' <= 9; more++, at++)
        time = time * 10 + ((unsigned)(unsigned char)*at - '0');
    if (time > UINT32_MAX) return NULL;
    row->time = (uint32_t)time;
    at += *at == '\r';
    return *at == '\n' ? at + 1 : NULL;
}

#endif
