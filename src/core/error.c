#include "core/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name, *sentence;
} status_text[] = {
#define STATUS_TEXT(code, name, sentence) {name, sentence},
    REEL_STATUS_LIST(STATUS_TEXT)
#undef STATUS_TEXT
};

static size_t status_index(reel_status status) {
    size_t index = (size_t)status;
    return index < sizeof status_text / sizeof status_text[0] ? index : (size_t)REEL_INTERNAL;
}

const char *reel_status_name(reel_status status) {
    return status_text[status_index(status)].name;
}

const char *reel_status_sentence(reel_status status) {
    return status_text[status_index(status)].sentence;
}

void reel_string_free(char *string) {
    free(string);
}

/* Hostile text must not forge a second line or drive a terminal. */
static void make_one_line(char *text) {
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f) *text = '?';
}

void error_fill(reel_error *err, reel_status status, const char *format, ...) {
    if (err) {
        va_list args;
        va_start(args, format);
        vsnprintf(err->message, sizeof err->message, format, args);
        va_end(args);
        make_one_line(err->message);
        err->status = status;
    }
}

void error_fill_errno(reel_error *err, reel_status status, const char *format, ...) {
    int code = errno;
    if (err) {
        va_list args;
        va_start(args, format);
        vsnprintf(err->message, sizeof err->message, format, args);
        va_end(args);
        size_t used = strlen(err->message);
        char reason[128];
        snprintf(err->message + used, sizeof err->message - used, ": %s",
                 strerror_r(code, reason, sizeof reason) ? "unknown error" : reason);
        make_one_line(err->message);
        err->status = status;
    }
    errno = code; /* a caller may choose the status by it */
}
