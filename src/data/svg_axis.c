#include "data/svg_axis.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { WANTED_TICKS = 5 };

/* The round step (1, 2 or 5 times a power of ten) that cuts `range` into about WANTED_TICKS parts. */
static double round_step(double range) {
    double rough = range / WANTED_TICKS, power = pow(10.0, floor(log10(rough))), lead = rough / power;
    return power * (lead < 1.5 ? 1.0 : lead < 3.5 ? 2.0 : lead < 7.5 ? 5.0 : 10.0);
}

struct svg_axis svg_axis_exact(double low, double high, double from, double to) {
    if (!(high > low)) high = low + 1.0;
    return (struct svg_axis){low, high, from, to, 0};
}

struct svg_axis svg_axis_round(double low, double high, double from, double to) {
    struct svg_axis axis = svg_axis_exact(low, high, from, to);
    double step = round_step(axis.high - axis.low);
    axis.low = step * floor(axis.low / step + 1e-9);
    axis.high = step * ceil(axis.high / step - 1e-9);
    return axis;
}

struct svg_axis svg_axis_log(double low, double high, double from, double to) {
    if (!(high > low)) high = low * 10.0;
    double room = pow(high / low, 0.03);
    return (struct svg_axis){low / room, high * room, from, to, 1};
}

double svg_axis_at(const struct svg_axis *axis, double value) {
    double share = axis->log ? log(value / axis->low) / log(axis->high / axis->low)
                             : (value - axis->low) / (axis->high - axis->low);
    return axis->from + share * (axis->to - axis->from);
}

static int log_ticks(const struct svg_axis *axis, double ticks[SVG_TICKS]) {
    static const double leads[3] = {1.0, 2.0, 5.0};
    double decades = log10(axis->high / axis->low);
    int n = 0, per_decade = decades < 2.5 ? 3 : 1, skip = decades > 8 ? (int)ceil(decades / 8) : 1;
    int first = (int)floor(log10(axis->low)), last = (int)ceil(log10(axis->high));
    for (int power = first; power <= last; power += skip)
        for (int i = 0; i < per_decade && n < SVG_TICKS; i++) {
            double tick = leads[i] * pow(10.0, power);
            if (tick >= axis->low && tick <= axis->high) ticks[n++] = tick;
        }
    return n;
}

int svg_axis_ticks(const struct svg_axis *axis, double ticks[SVG_TICKS]) {
    if (axis->log) return log_ticks(axis, ticks);
    double step = round_step(axis->high - axis->low), first = ceil(axis->low / step - 1e-9);
    int n = 0;
    while (n < SVG_TICKS && step * (first + n) <= axis->high + step * 1e-9) {
        ticks[n] = step * (first + n);
        n++;
    }
    return n;
}

static void use_points(char *text) {
    for (; *text; text++)
        if (!strchr("0123456789+-ekMG", *text)) *text = '.';
}

struct svg_number svg_number(double value, int plain) {
    static const struct {
        double size;
        const char *suffix;
    } units[] = {{1e9, "G"}, {1e6, "M"}, {1e3, "k"}};
    struct svg_number out;
    const char *suffix = "";
    for (int i = 0; !plain && i < 3; i++)
        if (fabs(value) >= units[i].size) {
            value /= units[i].size;
            suffix = units[i].suffix;
            break;
        }
    snprintf(out.text, sizeof out.text, "%.*g%s", plain ? 10 : 4, value, suffix);
    use_points(out.text);
    return out;
}

struct svg_number svg_coordinate(double value) {
    struct svg_number out;
    snprintf(out.text, sizeof out.text, "%.1f", value);
    use_points(out.text);
    return out;
}
