/* Text of unknown origin on its way to a terminal or a page. */
#ifndef DATA_DISPLAY_TEXT_H
#define DATA_DISPLAY_TEXT_H

#include <stdint.h>
#include "core/mem.h"

/* A copy in which bytes that are no UTF-8, control characters and the marks that turn the writing direction
 * became U+FFFD; NULL when memory runs out. */
char *text_clean(struct arena *arena, const char *text);
/* Columns that valid UTF-8 takes on a terminal: combining marks none, East Asian wide characters two. */
int text_width(const char *text);
/* Appends the text in exactly `width` columns: filled up with spaces on the right (`align` >= 0: left-aligned)
 * or on the left (`align` < 0), cut with an ellipsis where it is too wide. */
void text_fit(struct strbuf *out, const char *text, int width, int align);
/* Appends a bar `width` columns wide at share 1, in steps of an eighth of a column, without trailing spaces. A
 * share above 0 shows at least the smallest step. */
void text_bar(struct strbuf *out, double share, int width);
/* Appends one column of eight heights for share 0..1, a space for 0. */
void text_spark(struct strbuf *out, double share);
/* "12,345,678" in `buffer`. */
struct number_text {
    char text[32];
};
struct number_text text_thousands(int64_t n);

#endif
