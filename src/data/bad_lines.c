#include "data/bad_lines.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "core/error.h"

static int list_reason(struct bad_lines *bad, const char *file, int64_t line, const char *reason) {
    if (bad->listed >= bad->max_listed) return 0;
    reel_error shown; /* error_set keeps hostile text on one line */
    error_set(&shown, REEL_BAD_INPUT, "%s:%" PRId64 ": %s, skipped", file, line, reason);
    context_log(bad->ctx, REEL_LOG_WARNING, "%s", shown.message);
    bad->listed++;
    return 1;
}

reel_status bad_lines_add(struct bad_lines *bad, const char *file, int64_t line, reel_error *err, const char *format,
                          ...) {
    char reason[320];
    va_list args;
    va_start(args, format);
    vsnprintf(reason, sizeof reason, format, args);
    va_end(args);
    if (!bad->skip) return error_set(err, REEL_BAD_INPUT, "%s:%" PRId64 ": %s", file, line, reason);
    bad->count++;
    list_reason(bad, file, line, reason);
    return REEL_OK;
}

int bad_lines_list(struct bad_lines *bad, const char *file, int64_t line, const char *format, ...) {
    char reason[320];
    va_list args;
    va_start(args, format);
    vsnprintf(reason, sizeof reason, format, args);
    va_end(args);
    return list_reason(bad, file, line, reason);
}
