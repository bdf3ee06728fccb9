#include "data/svg_plot.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "data/display_text.h"
#include "data/html_page.h"
#include "data/svg_axis.h"

/* Drawing units are about the pixels of a card. */
enum { WIDTH = 360, HEIGHT = 230, LEFT = 46, RIGHT = 18, TOP = 16, BOTTOM = 42, LABEL_COLUMNS = 18 };

/* ---- what every plot has ---- */

static void plot_begin(struct strbuf *out, const struct svg_plot *plot, int width, int height) {
    strbuf_printf(out, "<svg class=\"plot\" viewBox=\"0 0 %d %d\" role=\"img\" aria-labelledby=\"%s-t %s-d\">", width,
                  height, plot->id, plot->id);
    strbuf_printf(out, "<title id=\"%s-t\">", plot->id);
    html_escape(out, plot->title);
    strbuf_printf(out, "</title><desc id=\"%s-d\">", plot->id);
    html_escape(out, plot->description);
    strbuf_puts(out, "</desc>\n");
}

static void plot_end(struct strbuf *out) {
    strbuf_puts(out, "</svg>\n");
}

static void add_text(struct strbuf *out, const char *style, double x, double y, const char *text) {
    strbuf_printf(out, "<text class=\"%s\" x=\"%s\" y=\"%s\">", style, svg_coordinate(x).text, svg_coordinate(y).text);
    html_escape(out, text);
    strbuf_puts(out, "</text>\n");
}

/* The text cut to `columns` characters. */
static void add_short_text(struct strbuf *out, const char *style, double x, double y, const char *text, int columns) {
    struct strbuf cut = {0};
    text_fit(&cut, text, text_width(text) < columns ? text_width(text) : columns, 1);
    out->failed |= cut.failed;
    if (!cut.failed) add_text(out, style, x, y, cut.data);
    strbuf_free(&cut);
}

static void add_rect(struct strbuf *out, const char *style, double x, double y, double width, double height,
                     const char *tooltip) {
    strbuf_printf(out, "<rect class=\"%s\" x=\"%s\" y=\"%s\"", style, svg_coordinate(x).text, svg_coordinate(y).text);
    strbuf_printf(out, " width=\"%s\" height=\"%s\"><title>", svg_coordinate(width).text, svg_coordinate(height).text);
    html_escape(out, tooltip);
    strbuf_puts(out, "</title></rect>\n");
}

static void add_line(struct strbuf *out, const char *style, double x1, double y1, double x2, double y2) {
    strbuf_printf(out, "<path class=\"%s\" d=\"M%s %s", style, svg_coordinate(x1).text, svg_coordinate(y1).text);
    strbuf_printf(out, "L%s %s\"/>\n", svg_coordinate(x2).text, svg_coordinate(y2).text);
}

static void empty_plot(struct strbuf *out, const struct svg_plot *plot) {
    plot_begin(out, plot, WIDTH, HEIGHT / 2);
    add_text(out, "mid", WIDTH / 2.0, HEIGHT / 4.0, "no data");
    plot_end(out);
}

/* ---- axes ---- */

static void draw_y_axis(struct strbuf *out, const struct svg_plot *plot, const struct svg_axis *y) {
    double ticks[SVG_TICKS];
    int n = svg_axis_ticks(y, ticks);
    for (int i = 0; i < n; i++) {
        double at = svg_axis_at(y, ticks[i]);
        add_line(out, "grid", LEFT, at, WIDTH - RIGHT, at);
        add_text(out, "end", LEFT - 6, at + 4, svg_number(ticks[i], 0).text);
    }
    if (plot->y_label) add_text(out, "start name", 4, 10, plot->y_label);
}

static void draw_x_axis(struct strbuf *out, const struct svg_plot *plot, const struct svg_axis *x) {
    double ticks[SVG_TICKS];
    int n = svg_axis_ticks(x, ticks);
    for (int i = 0; i < n; i++) {
        double at = svg_axis_at(x, ticks[i]);
        if (plot->plain_x && fabs(ticks[i] - round(ticks[i])) > 1e-6) continue;
        add_line(out, "axis", at, HEIGHT - BOTTOM, at, HEIGHT - BOTTOM + 4);
        add_text(out, "mid", at, HEIGHT - BOTTOM + 16, svg_number(ticks[i], plot->plain_x).text);
    }
    add_line(out, "axis", LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT, HEIGHT - BOTTOM);
    if (plot->x_label) add_text(out, "mid name", (LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 6, plot->x_label);
}

static struct svg_axis y_from_zero(const double *values, int64_t n) {
    double high = 0.0;
    for (int64_t i = 0; i < n; i++)
        if (values[i] > high) high = values[i];
    return svg_axis_round(0.0, high, HEIGHT - BOTTOM, TOP + 6);
}

/* ---- bars ---- */

static double largest_bar(const struct svg_bar *bars, int n) {
    double largest = 0.0;
    for (int i = 0; i < n; i++) largest = bars[i].value > largest ? bars[i].value : largest;
    return largest > 0.0 ? largest : 1.0;
}

static void add_bar(struct strbuf *out, const struct svg_bar *bar, double x, double y, double width, double height) {
    struct strbuf tooltip = {0};
    strbuf_printf(&tooltip, "%s: %s", bar->label, bar->shown);
    out->failed |= tooltip.failed;
    if (!tooltip.failed) add_rect(out, "mark", x, y, width, height, tooltip.data);
    strbuf_free(&tooltip);
}

void svg_columns(struct strbuf *out, const struct svg_plot *plot, const struct svg_bar *bars, int n) {
    if (n == 0) {
        empty_plot(out, plot);
        return;
    }
    double left = 10, slot = (WIDTH - 2 * left) / n, room = HEIGHT - BOTTOM - TOP - 6;
    double largest = largest_bar(bars, n), base = HEIGHT - BOTTOM;
    plot_begin(out, plot, WIDTH, HEIGHT);
    for (int i = 0; i < n; i++) {
        double height = room * bars[i].value / largest, x = left + slot * i;
        add_bar(out, &bars[i], x + slot * 0.1, base - height, slot * 0.8, height);
        add_text(out, "mid value", x + slot / 2, base - height - 4, bars[i].shown);
        add_short_text(out, "mid", x + slot / 2, base + 16, bars[i].label, LABEL_COLUMNS);
    }
    add_line(out, "axis", left, base, WIDTH - left, base);
    if (plot->x_label) add_text(out, "mid name", WIDTH / 2.0, HEIGHT - 6, plot->x_label);
    plot_end(out);
}

void svg_rows(struct strbuf *out, const struct svg_plot *plot, const struct svg_bar *bars, int n) {
    enum { LABELS = 112, VALUES = 48, ROW = 18 };
    if (n == 0) {
        empty_plot(out, plot);
        return;
    }
    double room = WIDTH - LABELS - VALUES, largest = largest_bar(bars, n);
    plot_begin(out, plot, WIDTH, n * ROW + 8);
    for (int i = 0; i < n; i++) {
        double y = 4 + i * ROW, width = room * bars[i].value / largest;
        add_short_text(out, "end", LABELS - 6, y + 13, bars[i].label, LABEL_COLUMNS);
        add_bar(out, &bars[i], LABELS, y + 2, width, ROW - 4);
        add_text(out, "start value", LABELS + width + 5, y + 13, bars[i].shown);
    }
    plot_end(out);
}

void svg_histogram(struct strbuf *out, const struct svg_plot *plot, double first, double step, const double *counts,
                   int n) {
    if (n == 0) {
        empty_plot(out, plot);
        return;
    }
    struct svg_axis x = svg_axis_exact(first, first + step * n, LEFT, WIDTH - RIGHT), y = y_from_zero(counts, n);
    plot_begin(out, plot, WIDTH, HEIGHT);
    draw_y_axis(out, plot, &y);
    for (int i = 0; i < n; i++) {
        double left = svg_axis_at(&x, first + step * i), right = svg_axis_at(&x, first + step * (i + 1));
        double top = svg_axis_at(&y, counts[i]), gap = right - left > 4.0 ? 0.8 : (right - left) * 0.15;
        char tooltip[96];
        if (!(counts[i] > 0.0)) continue;
        snprintf(tooltip, sizeof tooltip, "%s: %s", svg_number(first + step * i, plot->plain_x).text,
                 text_thousands((int64_t)counts[i]).text);
        add_rect(out, "mark flat", left, top, right - left - gap, HEIGHT - BOTTOM - top, tooltip);
    }
    draw_x_axis(out, plot, &x);
    plot_end(out);
}

/* ---- points and lines ---- */

static struct svg_axis axis_of(const double *values, int64_t n, int log, double from, double to) {
    double low = 0.0, high = 0.0;
    int any = 0;
    for (int64_t i = 0; i < n; i++) {
        if (log && !(values[i] > 0.0)) continue;
        low = !any || values[i] < low ? values[i] : low;
        high = !any || values[i] > high ? values[i] : high;
        any = 1;
    }
    if (log) return svg_axis_log(any ? low : 1.0, any ? high : 10.0, from, to);
    return svg_axis_round(low, high, from, to);
}

/* Points of one group as one path; `drawn` marks half pixels taken. */
static void add_points(struct strbuf *out, const struct svg_plot *plot, const struct svg_axis *across,
                       const struct svg_axis *up, const double *x, const double *y, const int32_t *groups, int group,
                       int64_t n, uint8_t drawn[2 * HEIGHT][2 * WIDTH / 8 + 1]) {
    for (int64_t i = 0; i < n; i++) {
        if (groups && groups[i] != group) continue;
        if ((plot->log_x && !(x[i] > 0.0)) || (plot->log_y && !(y[i] > 0.0))) continue;
        int column = (int)(2.0 * svg_axis_at(across, x[i]) + 0.5), row = (int)(2.0 * svg_axis_at(up, y[i]) + 0.5);
        uint8_t *cells = &drawn[row][column / 8], bit = (uint8_t)(1 << column % 8);
        if (*cells & bit) continue;
        *cells |= bit;
        strbuf_printf(out, "M%s %sh0", svg_coordinate(column / 2.0).text, svg_coordinate(row / 2.0).text);
    }
}

static void scatter(struct strbuf *out, const struct svg_plot *plot, const double *x, const double *y,
                    const int32_t *groups, int n_groups, int64_t n) {
    uint8_t drawn[2 * HEIGHT][2 * WIDTH / 8 + 1] = {{0}};
    if (n == 0) {
        empty_plot(out, plot);
        return;
    }
    struct svg_axis across = axis_of(x, n, plot->log_x, LEFT, WIDTH - RIGHT);
    struct svg_axis up = axis_of(y, n, plot->log_y, HEIGHT - BOTTOM, TOP + 6);
    plot_begin(out, plot, WIDTH, HEIGHT);
    draw_y_axis(out, plot, &up);
    draw_x_axis(out, plot, &across);
    for (int group = 0; group < n_groups; group++) {
        strbuf_puts(out, "<path class=\"points\"");
        /* hues a golden angle apart stay apart for any number of groups */
        if (groups) strbuf_printf(out, " style=\"stroke:hsl(%d,65%%,52%%)\"", (210 + group * 137) % 360);
        strbuf_puts(out, " d=\"");
        add_points(out, plot, &across, &up, x, y, groups, group, n, drawn);
        strbuf_puts(out, groups ? "\">" : "\"/>\n");
        if (groups) strbuf_printf(out, "<title>%d</title></path>\n", group);
    }
    plot_end(out);
}

void svg_scatter(struct strbuf *out, const struct svg_plot *plot, const double *x, const double *y, int64_t n) {
    scatter(out, plot, x, y, NULL, 1, n);
}

void svg_scatter_groups(struct strbuf *out, const struct svg_plot *plot, const double *x, const double *y,
                        const int32_t *groups, int n_groups, int64_t n) {
    scatter(out, plot, x, y, groups, n_groups, n);
}

/* The run of values without a gap that begins at `i`, as one path; returns its end. */
static int64_t add_run(struct strbuf *out, const double *x, const double *y, int64_t n, int64_t i,
                       const struct svg_axis *across, const struct svg_axis *up, int area) {
    int64_t begin = i;
    strbuf_printf(out, "<path class=\"%s\" d=\"", area ? "area" : "line");
    for (; i < n && !isnan(y[i]); i++) {
        strbuf_printf(out, "%s%s", i == begin ? "M" : "L", svg_coordinate(svg_axis_at(across, x[i])).text);
        strbuf_printf(out, " %s", svg_coordinate(svg_axis_at(up, y[i])).text);
    }
    if (area) {
        strbuf_printf(out, "L%s %d", svg_coordinate(svg_axis_at(across, x[i - 1])).text, HEIGHT - BOTTOM);
        strbuf_printf(out, "L%s %dZ", svg_coordinate(svg_axis_at(across, x[begin])).text, HEIGHT - BOTTOM);
    }
    strbuf_puts(out, "\"/>\n");
    return i;
}

void svg_line(struct strbuf *out, const struct svg_plot *plot, const double *x, const double *y, int64_t n) {
    if (n == 0) {
        empty_plot(out, plot);
        return;
    }
    int fixed = plot->y_high > plot->y_low;
    struct svg_axis across = svg_axis_exact(x[0], x[n - 1], LEFT, WIDTH - RIGHT), up = y_from_zero(y, n);
    if (fixed) up = svg_axis_exact(plot->y_low, plot->y_high, HEIGHT - BOTTOM, TOP + 6);
    plot_begin(out, plot, WIDTH, HEIGHT);
    draw_y_axis(out, plot, &up);
    for (int area = !fixed; area >= 0; area--)
        for (int64_t i = 0; i < n;) i = isnan(y[i]) ? i + 1 : add_run(out, x, y, n, i, &across, &up, area);
    draw_x_axis(out, plot, &across);
    plot_end(out);
}

/* ---- heat map ---- */

enum { HEAT_STEPS = 8, CELL = 18, HEAT_LEFT = 96, HEAT_BOTTOM = 88, LEGEND = 44 };

/* 0 for none, else 1..HEAT_STEPS. */
static int heat_step(double value, double largest) {
    if (!(value > 0.0)) return 0;
    int step = (int)(sqrt(value / largest) * HEAT_STEPS) + 1;
    return step > HEAT_STEPS ? HEAT_STEPS : step;
}

static void add_cell(struct strbuf *out, int step, double x, double y, const char *row, const char *column,
                     double value) {
    char style[16];
    struct strbuf tooltip = {0};
    snprintf(style, sizeof style, "heat%d", step);
    strbuf_printf(&tooltip, "%s, %s: %s", row, column, text_thousands((int64_t)value).text);
    out->failed |= tooltip.failed;
    if (!tooltip.failed) add_rect(out, style, x, y, CELL - 1, CELL - 1, tooltip.data);
    strbuf_free(&tooltip);
}

/* Each step's colour over the value from which it holds. */
static void heat_legend(struct strbuf *out, double left, double top, double largest) {
    enum { SWATCH = 32 };
    for (int step = 0; step <= HEAT_STEPS; step++) {
        char style[16];
        double share = (step - 1) / (double)HEAT_STEPS, from = step < 2 ? step : ceil(largest * share * share);
        struct svg_number shown = svg_number(from, largest < 10000.0);
        snprintf(style, sizeof style, "heat%d", step);
        add_rect(out, style, left + step * SWATCH, top, SWATCH - 1, 10, shown.text);
        add_text(out, "start value", left + step * SWATCH, top + 23, shown.text);
    }
}

void svg_heat_map(struct strbuf *out, const struct svg_plot *plot, const char *const *row_labels, int n_rows,
                  const char *const *column_labels, int n_columns, const double *values) {
    int width = HEAT_LEFT + n_columns * CELL + 10, height = n_rows * CELL + HEAT_BOTTOM + LEGEND;
    double largest = 0.0, bottom = 4 + n_rows * CELL;
    if (n_rows == 0 || n_columns == 0) {
        empty_plot(out, plot);
        return;
    }
    for (int64_t i = 0; i < (int64_t)n_rows * n_columns; i++)
        if (values[i] > largest) largest = values[i];
    plot_begin(out, plot, width < HEAT_LEFT + 300 ? HEAT_LEFT + 300 : width, height);
    for (int row = 0; row < n_rows; row++) {
        add_short_text(out, "end", HEAT_LEFT - 6, 4 + row * CELL + 13, row_labels[row], 15);
        for (int column = 0; column < n_columns; column++) {
            double value = values[(int64_t)row * n_columns + column];
            if (isnan(value)) continue;
            add_cell(out, heat_step(value, largest), HEAT_LEFT + column * CELL, 4 + row * CELL, row_labels[row],
                     column_labels[column], value);
        }
    }
    for (int column = 0; column < n_columns; column++) {
        double x = HEAT_LEFT + column * CELL + CELL / 2.0 + 3;
        strbuf_printf(out, "<g transform=\"translate(%s ", svg_coordinate(x).text);
        strbuf_printf(out, "%s) rotate(-60)\">", svg_coordinate(bottom + 9).text);
        add_short_text(out, "end", 0, 0, column_labels[column], 13);
        strbuf_puts(out, "</g>\n");
    }
    heat_legend(out, HEAT_LEFT, bottom + HEAT_BOTTOM, largest);
    plot_end(out);
}
