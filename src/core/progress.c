#include "core/progress.h"

#include <math.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "core/context.h"
#include "core/mem.h"

#define REDRAW_SECONDS 0.1
#define PLAIN_SECONDS  10.0
enum { STAGE_BYTES = 96, BAR_MIN = 8, BAR_MAX = 40 };

struct progress_display {
    pthread_mutex_t mutex; /* stages may report from worker threads */
    int live;              /* a bar that is redrawn, else lines */
    int utf8, color;
    int drawn; /* the bar is on the terminal now */
    char stage[STAGE_BYTES];
    double started, shown; /* seconds: start of the stage, last output */
    int64_t done;
};

/* ---- what the terminal can do ---- */

static int locale_is_utf8(void) {
    static const char *const variables[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++) {
        const char *value = getenv(variables[i]);
        if (value && *value) return strstr(value, "UTF-8") || strstr(value, "utf8") || strstr(value, "UTF8");
    }
    return 0;
}

static int terminal_is_smart(void) {
    const char *term = getenv("TERM");
    return isatty(STDERR_FILENO) && term && *term && strcmp(term, "dumb") != 0;
}

static int terminal_width(void) {
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
    return size.ws_col;
}

struct progress_display *progress_display_new(reel_progress_mode mode) {
    if (mode == REEL_PROGRESS_NONE) return NULL;
    struct progress_display *display = calloc(1, sizeof *display);
    if (!display) return NULL;
    pthread_mutex_init(&display->mutex, NULL);
    const char *no_color = getenv("NO_COLOR");
    display->live = mode == REEL_PROGRESS_AUTO && terminal_is_smart();
    display->utf8 = locale_is_utf8();
    display->color = !no_color || !*no_color;
    return display;
}

/* ---- text ---- */

/* Columns of UTF-8 text, one a character. */
static int columns_of(const char *text) {
    int columns = 0;
    for (; *text; text++) columns += ((unsigned char)*text & 0xc0) != 0x80;
    return columns;
}

/* "987", "12.3 k", "4.56 M": three digits, decimal prefixes. */
static void add_scaled(struct strbuf *out, double value) {
    static const char *const prefixes[] = {"", " k", " M", " G", " T"};
    size_t prefix = 0;
    for (; value >= 999.5 && prefix + 1 < sizeof prefixes / sizeof prefixes[0]; prefix++) value /= 1000;
    int decimals = prefix == 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
    strbuf_printf(out, "%.*f%s", decimals, value, prefixes[prefix]);
}

/* "12.3 M ratings", "280 MB" */
static void add_amount(struct strbuf *out, double value, const char *unit) {
    add_scaled(out, value);
    if (unit && strcmp(unit, "bytes") == 0)
        strbuf_puts(out, value >= 999.5 ? "B" : " B");
    else if (unit && *unit)
        strbuf_printf(out, " %s", unit);
}

/* "0:07", "1:02:03" */
static void add_clock(struct strbuf *out, double seconds) {
    long whole = seconds < 359999.0 ? lround(seconds) : 359999;
    if (whole >= 3600)
        strbuf_printf(out, "%ld:%02ld:%02ld", whole / 3600, whole / 60 % 60, whole % 60);
    else
        strbuf_printf(out, "%ld:%02ld", whole / 60, whole % 60);
}

static double rate_of(const reel_progress *progress, double elapsed) {
    return elapsed > 0.05 && progress->done > 0 ? (double)progress->done / elapsed : 0;
}

static void add_metric(struct strbuf *out, const reel_progress *progress) {
    if (progress->metric_name && !isnan(progress->metric))
        strbuf_printf(out, "  %s %.4f", progress->metric_name, progress->metric);
}

/* What stands behind the bar, most important first; `level` 0 is all of it, each further one leaves a part out. */
static void add_details(struct strbuf *out, const reel_progress *progress, double elapsed, int level) {
    double rate = rate_of(progress, elapsed);
    if (progress->total > 0) {
        double share = (double)progress->done / (double)progress->total;
        strbuf_printf(out, "  %3d%%", (int)(100 * (share < 1 ? share : 1)));
    } else {
        strbuf_puts(out, "  ");
        add_amount(out, (double)progress->done, progress->unit);
    }
    if (level < 3 && rate > 0 && progress->total > progress->done) {
        strbuf_puts(out, "  ETA ");
        add_clock(out, (double)(progress->total - progress->done) / rate);
    }
    if (level < 2) add_metric(out, progress);
    if (level < 1 && rate > 0) {
        strbuf_puts(out, "  ");
        add_amount(out, rate, progress->unit);
        strbuf_puts(out, "/s");
    }
}

static void add_bar(struct strbuf *out, const struct progress_display *display, const reel_progress *progress,
                    int width) {
    double share = (double)progress->done / (double)progress->total;
    int filled = (int)(width * (share < 1 ? share : 1));
    strbuf_puts(out, display->utf8 ? "  " : "  [");
    if (display->color) strbuf_puts(out, "\033[36m");
    for (int i = 0; i < filled; i++) strbuf_puts(out, display->utf8 ? "\u2501" : "#");
    if (display->color) strbuf_puts(out, "\033[2m");
    for (int i = filled; i < width; i++) strbuf_puts(out, display->utf8 ? "\u2500" : "-");
    if (display->color) strbuf_puts(out, "\033[0m");
    if (!display->utf8) strbuf_puts(out, "]");
}

/* Adds at most `columns` characters of `text`. */
static void add_clipped(struct strbuf *out, const char *text, int columns) {
    const char *end = text;
    for (; *end; end++)
        if (((unsigned char)*end & 0xc0) != 0x80 && columns-- == 0) break;
    strbuf_add(out, text, (size_t)(end - text));
}

/* ---- drawing; the caller holds the mutex ---- */

static void print_text(struct strbuf *text) {
    if (!text->failed && text->length) fwrite(text->data, 1, text->length, stderr);
    fflush(stderr);
    strbuf_free(text);
}

static void erase(struct progress_display *display) {
    if (display->drawn) fputs("\r\033[K", stderr);
    display->drawn = 0;
}

static void draw_bar(struct progress_display *display, const reel_progress *progress, double elapsed) {
    struct strbuf line = {0}, details = {0};
    int width = terminal_width() - 1; /* a full last column would wrap */
    int stage = columns_of(display->stage);
    int bar_min = progress->total > 0 ? BAR_MIN + 4 : 0;
    for (int level = 0;; level++) {
        add_details(&details, progress, elapsed, level);
        if (details.failed || level == 3 || stage + bar_min + columns_of(details.data) <= width) break;
        strbuf_free(&details);
    }
    int room = details.failed ? 0 : width - columns_of(details.data);
    strbuf_puts(&line, "\r");
    add_clipped(&line, display->stage, room > 0 ? room : 0);
    int bar = room - stage - 2 - (display->utf8 ? 0 : 2);
    if (progress->total > 0 && bar >= BAR_MIN) add_bar(&line, display, progress, bar < BAR_MAX ? bar : BAR_MAX);
    if (!details.failed) add_clipped(&line, details.data, width);
    strbuf_puts(&line, "\033[K");
    strbuf_free(&details);
    print_text(&line);
    display->drawn = 1;
}

/* "parse ratings: 20.0 M ratings in 1.24 s (16.1 M ratings/s)  rmse 0.8123" */
static void print_finished(struct progress_display *display, const reel_progress *progress, double elapsed) {
    struct strbuf line = {0};
    double rate = rate_of(progress, elapsed);
    strbuf_printf(&line, "%s: ", display->stage);
    add_amount(&line, (double)progress->done, progress->unit);
    strbuf_puts(&line, " in ");
    if (elapsed < 100)
        strbuf_printf(&line, "%.2f s", elapsed);
    else
        add_clock(&line, elapsed);
    if (rate > 0) {
        strbuf_puts(&line, " (");
        add_amount(&line, rate, progress->unit);
        strbuf_puts(&line, "/s)");
    }
    add_metric(&line, progress);
    strbuf_puts(&line, "\n");
    erase(display);
    print_text(&line);
}

static void print_running(struct progress_display *display, const reel_progress *progress, double elapsed) {
    struct strbuf line = {0};
    strbuf_printf(&line, "%s:", display->stage);
    add_details(&line, progress, elapsed, 0);
    strbuf_puts(&line, "\n");
    print_text(&line);
}

static void start_stage(struct progress_display *display, const char *stage, double now) {
    snprintf(display->stage, sizeof display->stage, "%s", stage);
    /* A bar shows at once, a line only once a stage has lasted. */
    display->started = now;
    display->shown = display->live ? 0 : now;
    display->done = 0;
}

static void update(struct progress_display *display, const reel_progress *progress) {
    double now = clock_seconds();
    const char *stage = progress->stage ? progress->stage : "";
    if (strncmp(display->stage, stage, sizeof display->stage - 1) != 0 || progress->done < display->done ||
        display->started == 0)
        start_stage(display, stage, now);
    display->done = progress->done;
    double elapsed = now - display->started;
    if (progress->finished) {
        print_finished(display, progress, elapsed);
        display->started = 0;
    } else if (now - display->shown >= (display->live ? REDRAW_SECONDS : PLAIN_SECONDS)) {
        display->shown = now;
        if (display->live)
            draw_bar(display, progress, elapsed);
        else
            print_running(display, progress, elapsed);
    }
}

void progress_display_update(struct progress_display *display, const reel_progress *progress) {
    pthread_mutex_lock(&display->mutex);
    update(display, progress);
    pthread_mutex_unlock(&display->mutex);
}

void progress_display_clear(struct progress_display *display) {
    if (!display) return;
    pthread_mutex_lock(&display->mutex);
    erase(display);
    /* The bar comes back with the next report. */
    if (display->live) display->shown = 0;
    pthread_mutex_unlock(&display->mutex);
}

void progress_display_free(struct progress_display *display) {
    if (!display) return;
    progress_display_clear(display);
    pthread_mutex_destroy(&display->mutex);
    free(display);
}
