/* Plots as inline SVG for the pages of html_page.h, whose style sheet colours them by class.
 *
 * Each is an image with a title and a description for screen readers; marks carry their value as a tooltip.
 * Values must be finite unless said otherwise. An empty plot (n = 0) says "no data". All texts are escaped. */
#ifndef DATA_SVG_PLOT_H
#define DATA_SVG_PLOT_H

#include <stdint.h>
#include "core/mem.h"

struct svg_plot {
    const char *id;                /* [a-z0-9-], unique in the page */
    const char *title;             /* what it shows */
    const char *description;       /* what is to be seen, in a sentence */
    const char *x_label, *y_label; /* of the axes, NULL = none */
    int log_x, log_y;              /* logarithmic axes (scatter) */
    int plain_x;                   /* the x axis has whole numbers, written plainly: years */
    double y_low, y_high;          /* y axis of a line, where y_high > y_low; else from zero, the area filled */
};

struct svg_bar {
    const char *label;
    double value;      /* >= 0 */
    const char *shown; /* the value as it is to be read */
};

/* Standing bars over a few labels, each with its value on top. */
void svg_columns(struct strbuf *out, const struct svg_plot *plot, const struct svg_bar *bars, int n);
/* Lying bars under each other, labels on the left, values behind; the plot grows with n. */
void svg_rows(struct strbuf *out, const struct svg_plot *plot, const struct svg_bar *bars, int n);
/* counts (n,) >= 0 of equal steps first + i * step .. first + (i+1) * step on a numeric axis. */
void svg_histogram(struct strbuf *out, const struct svg_plot *plot, double first, double step, const double *counts,
                   int n);
/* Points (n,); on a logarithmic axis those that are not positive are left out. Points that would cover each
 * other at half a pixel are drawn once. */
void svg_scatter(struct strbuf *out, const struct svg_plot *plot, const double *x, const double *y, int64_t n);
/* The same with a colour a group: groups (n,) 0..n_groups-1, others are left out. */
void svg_scatter_groups(struct strbuf *out, const struct svg_plot *plot, const double *x, const double *y,
                        const int32_t *groups, int n_groups, int64_t n);
/* A line through (x, y) (n,), x ascending; a y that is NaN makes a gap. */
void svg_line(struct strbuf *out, const struct svg_plot *plot, const double *x, const double *y, int64_t n);
/* values (n_rows, n_columns) >= 0 by colour, darker (lighter on dark pages) for more, on a square-root scale;
 * NaN leaves a cell out. */
void svg_heat_map(struct strbuf *out, const struct svg_plot *plot, const char *const *row_labels, int n_rows,
                  const char *const *column_labels, int n_columns, const double *values);

#endif
