#include "data/csv_reader.h"

#include <string.h>

#include "core/error.h"

void csv_reader_init(struct csv_reader *reader, const char *data, size_t size, char separator, int quotes) {
    *reader = (struct csv_reader){
        .at = data, .end = size ? data + size : data, .separator = separator, .quotes = quotes, .line = 1};
    if (size >= 3 && memcmp(data, "\xef\xbb\xbf", 3) == 0) reader->at += 3;
    reader->row_start = reader->at;
}

void csv_reader_free(struct csv_reader *reader) {
    strbuf_free(&reader->scratch);
}

/* Passes blank lines and notes where the row begins; 0 at the end of the text. */
static int begin_row(struct csv_reader *reader) {
    for (;;) {
        if (reader->at == reader->end) return 0;
        const char *at = reader->at;
        if (*at == '\r' && at + 1 < reader->end) at++;
        if (*at != '\n' && (*at != '\r' || at + 1 < reader->end)) break;
        reader->at = at + 1;
        reader->line++;
    }
    reader->row_start = reader->at;
    reader->row_line = reader->line;
    return 1;
}

/* Reading goes on after the first line of a row that has no end of its own. */
static enum csv_result give_up_row(struct csv_reader *reader, enum csv_result result) {
    const char *end = memchr(reader->row_start, '\n', (size_t)(reader->end - reader->row_start));
    reader->at = end ? end + 1 : reader->end;
    reader->line = reader->row_line + 1;
    return result;
}

/* A field that begins with a quote, *at behind that quote. Text with doubled quotes goes to the scratch buffer and
 * field->text stays NULL until the row is complete, because the buffer may move. */
static enum csv_result quoted_field(struct csv_reader *reader, const char **position, struct text_span *field) {
    const char *at = *position, *begin = at;
    int copied = 0;
    size_t length = 0;
    for (;;) {
        const char *quote = memchr(at, '"', (size_t)(reader->end - at));
        if (!quote) return CSV_OPEN_QUOTE;
        for (const char *p = at; (p = memchr(p, '\n', (size_t)(quote - p))) != NULL; p++) reader->line++;
        int doubled = quote + 1 < reader->end && quote[1] == '"';
        if (doubled || copied) {
            size_t more = (size_t)(quote - at) + (size_t)doubled;
            strbuf_add(&reader->scratch, at, more);
            length += more;
            copied = 1;
        }
        at = quote + 1 + doubled;
        if (!doubled) break;
    }
    if (reader->scratch.failed) return CSV_NO_MEMORY;
    *field = copied ? (struct text_span){NULL, length} : (struct text_span){begin, (size_t)(at - 1 - begin)};
    *position = at;
    return CSV_ROW;
}

static inline int at_line_end(const struct csv_reader *reader, const char *at) {
    return at == reader->end || *at == '\n' || (*at == '\r' && (at + 1 == reader->end || at[1] == '\n'));
}

static struct text_span plain_field(const struct csv_reader *reader, const char **position) {
    const char *begin = *position, *at = begin;
    while (at < reader->end && *at != reader->separator && *at != '\n') at++;
    const char *end = at;
    if (end > begin && end[-1] == '\r' && (at == reader->end || *at == '\n')) end--;
    *position = at;
    return (struct text_span){begin, (size_t)(end - begin)};
}

static void resolve_copies(struct csv_reader *reader, struct text_span *fields, int n) {
    size_t at = 0;
    for (int i = 0; i < n; i++) {
        if (fields[i].text) continue;
        fields[i].text = reader->scratch.data + at;
        at += fields[i].length;
    }
}

enum csv_result csv_reader_next(struct csv_reader *reader, struct text_span *fields, int max, int *n_fields) {
    *n_fields = 0;
    if (!begin_row(reader)) return CSV_END;
    reader->scratch.length = 0;
    const char *at = reader->at;
    int n = 0;
    for (;;) {
        struct text_span field;
        if (reader->quotes && at < reader->end && *at == '"') {
            at++;
            size_t kept = reader->scratch.length;
            enum csv_result result = quoted_field(reader, &at, &field);
            if (result != CSV_ROW) return give_up_row(reader, result);
            if (!at_line_end(reader, at) && *at != reader->separator) return give_up_row(reader, CSV_AFTER_QUOTE);
            if (n >= max) reader->scratch.length = kept;
            if (at < reader->end && *at == '\r') at++;
        } else {
            field = plain_field(reader, &at);
        }
        if (n < max) fields[n] = field;
        n++;
        if (at == reader->end || *at == '\n') break;
        at++; /* the separator */
    }
    if (at < reader->end) at++;
    reader->at = at;
    reader->line++;
    *n_fields = n;
    resolve_copies(reader, fields, n < max ? n : max);
    return CSV_ROW;
}

int csv_reader_line(struct csv_reader *reader, struct text_span *line) {
    if (!begin_row(reader)) return 0;
    const char *end = memchr(reader->at, '\n', (size_t)(reader->end - reader->at));
    const char *stop = end ? end : reader->end;
    *line = (struct text_span){reader->at, (size_t)(stop - reader->at)};
    if (line->length && line->text[line->length - 1] == '\r') line->length--;
    reader->at = end ? end + 1 : reader->end;
    reader->line++;
    return 1;
}

reel_status csv_reader_check(const struct csv_reader *reader, reel_error *err) {
    return reader->scratch.failed ? error_set(err, REEL_NO_MEMORY, "out of memory for a row of text") : REEL_OK;
}

const char *csv_result_text(enum csv_result result) {
    switch (result) {
    case CSV_OPEN_QUOTE:
        return "a quoted field is never closed";
    case CSV_AFTER_QUOTE:
        return "text follows a closing quote";
    case CSV_NO_MEMORY:
        return "memory ran out";
    case CSV_ROW:
    case CSV_END:
        break;
    }
    return "";
}

int64_t csv_count_lines(const char *data, size_t size) {
    enum { BLOCK = 240 }; /* a byte counts at most 255 */
    int64_t lines = 1;
    size_t at = 0;
    for (; at + BLOCK <= size; at += BLOCK) {
        uint8_t block = 0;
        for (size_t i = 0; i < BLOCK; i++) block = (uint8_t)(block + (data[at + i] == '\n'));
        lines += block;
    }
    for (; at < size; at++) lines += data[at] == '\n';
    return lines;
}

/* 1 if the header's field is `name` once case, '_', '-' and ' ' are taken away. */
static int is_named(struct text_span field, const char *name, size_t length) {
    size_t n = 0;
    for (size_t i = 0; i < field.length; i++) {
        char c = field.text[i];
        if (c == '_' || c == '-' || c == ' ') continue;
        if (c >= 'A' && c <= 'Z') c = (char)(c - 'A' + 'a');
        if (n == length || name[n] != c) return 0;
        n++;
    }
    return n == length;
}

int csv_find_column(const struct text_span *header, int n, const char *names) {
    for (const char *name = names; *name;) {
        size_t length = strcspn(name, "|");
        for (int i = 0; i < n; i++)
            if (is_named(header[i], name, length)) return i;
        name += length + (name[length] == '|');
    }
    return -1;
}

int span_to_int(struct text_span field, uint64_t max, uint64_t *value) {
    field = span_trim(field);
    if (field.length == 0) return 0;
    uint64_t number = 0;
    int above = 0;
    for (size_t i = 0; i < field.length; i++) {
        unsigned digit = (unsigned)(unsigned char)field.text[i] - '0';
        if (digit > 9) return 0;
        if (number > (max - digit) / 10 || max < digit) above = 1;
        if (!above) number = number * 10 + digit;
    }
    *value = number;
    return above ? -1 : 1;
}
