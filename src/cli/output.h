/* Result files: written under a temporary name and renamed when complete, so that a failure leaves nothing behind. */
#ifndef CLI_OUTPUT_H
#define CLI_OUTPUT_H

#include <stddef.h>
#include <stdint.h>
#include <reel/status.h>

enum { OUTPUT_BUFFER = 1 << 16 };

struct output {
    int fd;
    char *path, *temporary; /* NULL for stdout */
    int failed;             /* errno of the first failed write, 0 = none */
    size_t used;
    char buffer[OUTPUT_BUFFER];
};

/* `path` NULL = stdout. */
reel_status output_begin(struct output *out, const char *path, reel_error *err);
/* Writes what is left, makes it durable and gives the file its name. */
reel_status output_commit(struct output *out, reel_error *err);
/* Removes the temporary file; takes an output that was committed or zeroed. */
void output_abort(struct output *out);

void output_bytes(struct output *out, const void *bytes, size_t size);
void output_text(struct output *out, const char *text);
void output_integer(struct output *out, int64_t value);
/* A score with `decimals` (0..6) digits after the point; nothing for NaN. */
void output_decimal(struct output *out, double value, int decimals);
/* The header of a .npy file of `rows` records; `descr` is the Python literal of its dtype. */
void output_npy_header(struct output *out, const char *descr, int64_t rows);

/* 1 if `path` is not NULL and ends in ".npy". */
int output_is_npy(const char *path);

#endif
