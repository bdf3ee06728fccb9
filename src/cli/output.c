#define _GNU_SOURCE
#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static reel_status io_error(reel_error *err, const char *what, const char *path, int code) {
    err->status = REEL_IO;
    snprintf(err->message, sizeof err->message, "%.400s: %s: %s", path, what, strerrordesc_np(code));
    return REEL_IO;
}

reel_status output_begin(struct output *out, const char *path, reel_error *err) {
    out->fd = STDOUT_FILENO;
    out->path = out->temporary = NULL;
    out->failed = 0;
    out->used = 0;
    if (!path) return REEL_OK;
    out->path = strdup(path);
    if (!out->path || asprintf(&out->temporary, "%s.%ld.tmp", path, (long)getpid()) < 0) {
        out->temporary = NULL;
        output_abort(out);
        return io_error(err, "cannot be written", path, ENOMEM);
    }
    out->fd = open(out->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (out->fd >= 0) return REEL_OK;
    int code = errno;
    free(out->temporary);
    out->temporary = NULL;
    output_abort(out);
    return io_error(err, "cannot be written", path, code);
}

static void write_all(struct output *out, const char *bytes, size_t size) {
    while (size > 0 && !out->failed) {
        ssize_t written = write(out->fd, bytes, size);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) {
            out->failed = errno;
            return;
        }
        bytes += written;
        size -= (size_t)written;
    }
}

static void flush(struct output *out) {
    write_all(out, out->buffer, out->used);
    out->used = 0;
}

static reel_status commit_file(struct output *out, reel_error *err) {
    if (!out->failed && fsync(out->fd) != 0) out->failed = errno;
    if (close(out->fd) != 0 && !out->failed) out->failed = errno;
    out->fd = -1;
    if (!out->failed && rename(out->temporary, out->path) != 0) out->failed = errno;
    if (out->failed) return io_error(err, "writing failed", out->path, out->failed);
    free(out->temporary);
    out->temporary = NULL;
    return REEL_OK;
}

reel_status output_commit(struct output *out, reel_error *err) {
    flush(out);
    reel_status status = REEL_OK;
    if (out->path)
        status = commit_file(out, err);
    else if (out->failed)
        status = io_error(err, "writing failed", "standard output", out->failed);
    output_abort(out);
    return status;
}

void output_abort(struct output *out) {
    if (out->temporary) {
        if (out->fd >= 0) close(out->fd);
        unlink(out->temporary);
    }
    free(out->temporary);
    free(out->path);
    out->path = out->temporary = NULL;
    out->used = 0;
}

void output_bytes(struct output *out, const void *bytes, size_t size) {
    if (size > OUTPUT_BUFFER - out->used) flush(out);
    if (size > OUTPUT_BUFFER) {
        write_all(out, bytes, size);
        return;
    }
    memcpy(out->buffer + out->used, bytes, size);
    out->used += size;
}

void output_text(struct output *out, const char *text) {
    output_bytes(out, text, strlen(text));
}

static void output_digits(struct output *out, uint64_t value, int least) {
    char digits[24];
    int at = (int)sizeof digits;
    for (; value || least > 0; value /= 10, least--) digits[--at] = (char)('0' + value % 10);
    output_bytes(out, digits + at, sizeof digits - (size_t)at);
}

void output_integer(struct output *out, int64_t value) {
    if (value < 0) output_text(out, "-");
    output_digits(out, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, 1);
}

void output_decimal(struct output *out, double value, int decimals) {
    static const double scales[] = {1, 10, 100, 1000, 1e4, 1e5, 1e6};
    if (isnan(value)) return;
    int64_t scaled = llround(fabs(value) * scales[decimals]), scale = (int64_t)scales[decimals];
    if (value < 0 && scaled > 0) output_text(out, "-");
    output_digits(out, (uint64_t)(scaled / scale), 1);
    if (decimals == 0) return;
    output_text(out, ".");
    output_digits(out, (uint64_t)(scaled % scale), decimals);
}

/* Format version 1.0: magic, version, little-endian length, a dict padded with blanks to a multiple of 64 bytes. */
void output_npy_header(struct output *out, const char *descr, int64_t rows) {
    char text[512];
    int length =
        snprintf(text, sizeof text, "{'descr': %s, 'fortran_order': False, 'shape': (%" PRId64 ",), }", descr, rows);
    int padded = (10 + length + 1 + 63) / 64 * 64 - 10;
    const unsigned char magic[] = {
        0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (unsigned char)(padded & 255), (unsigned char)(padded >> 8)};
    output_bytes(out, magic, sizeof magic);
    output_bytes(out, text, (size_t)length);
    for (int i = length; i < padded - 1; i++) output_bytes(out, " ", 1);
    output_bytes(out, "\n", 1);
}

int output_is_npy(const char *path) {
    size_t length = path ? strlen(path) : 0;
    return length > 4 && strcmp(path + length - 4, ".npy") == 0;
}
