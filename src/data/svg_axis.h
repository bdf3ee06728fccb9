/* Axes of plots: scales, round ticks, short numbers. */
#ifndef DATA_SVG_AXIS_H
#define DATA_SVG_AXIS_H

#include "core/mem.h"

/* Values low..high, which lie at from..to in the drawing. */
struct svg_axis {
    double low, high;
    double from, to;
    int log;
};

enum { SVG_TICKS = 16 };

/* A linear axis that begins and ends on round values around low..high. */
struct svg_axis svg_axis_round(double low, double high, double from, double to);
/* A linear axis over exactly low..high. */
struct svg_axis svg_axis_exact(double low, double high, double from, double to);
/* A logarithmic axis with a little room around low..high, both positive. */
struct svg_axis svg_axis_log(double low, double high, double from, double to);
/* Where `value` lies in the drawing. */
double svg_axis_at(const struct svg_axis *axis, double value);
/* Round values inside the axis; returns how many. */
int svg_axis_ticks(const struct svg_axis *axis, double ticks[SVG_TICKS]);

/* "950", "12k", "1.5M"; plain writes 2005 as "2005". Points, never a locale's comma. */
struct svg_number {
    char text[32];
};
struct svg_number svg_number(double value, int plain);
/* A coordinate with one decimal. */
struct svg_number svg_coordinate(double value);

#endif
