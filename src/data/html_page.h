/* Self-contained HTML pages: frame, style, cards and tables. A page loads nothing from anywhere, follows the
 * reader's light or dark theme, works from 360 pixels up, and parses as XML. Every text handed in is escaped. */
#ifndef DATA_HTML_PAGE_H
#define DATA_HTML_PAGE_H

#include "core/mem.h"

/* Appends text so that it is only text, inside elements and quoted attributes alike. */
void html_escape(struct strbuf *out, const char *text);

/* Everything up to the first section; `about` is a line under the heading. */
void html_page_begin(struct strbuf *out, const char *title, const char *about);
void html_page_end(struct strbuf *out);

/* A row of key figures. */
struct html_figure {
    const char *name, *value;
};
void html_figures(struct strbuf *out, const struct html_figure *figures, int n);

/* A section is a heading over a grid of cards. */
void html_section_begin(struct strbuf *out, const char *id, const char *title);
void html_section_end(struct strbuf *out);
/* A card holds one plot or table. `note` may be NULL. */
enum html_width { HTML_NARROW, HTML_WIDE, HTML_FULL }; /* one column, two, the whole row */
void html_card_begin(struct strbuf *out, const char *title, const char *note, enum html_width width);
void html_card_end(struct strbuf *out);
/* Between these, what a reader opens to see the figures behind a plot. */
void html_details_begin(struct strbuf *out, const char *summary);
void html_details_end(struct strbuf *out);

/* A table: headers (n_columns,) of which those in the bit set `numeric` hold numbers, then its rows, cell by
 * cell. `caption` is for screen readers. */
void html_table_begin(struct strbuf *out, const char *caption, const char *const *headers, int n_columns,
                      unsigned numeric);
void html_row_begin(struct strbuf *out);
void html_cell(struct strbuf *out, const char *text);
__attribute__((format(printf, 2, 3))) void html_number(struct strbuf *out, const char *format, ...);
void html_row_end(struct strbuf *out);
void html_table_end(struct strbuf *out);

#endif
