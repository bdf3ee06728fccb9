#include "serve/access_log.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/error.h"
#include "core/mem.h"

enum { BUFFER_BYTES = 65536, LINE_MAX_BYTES = 1024 };

struct log_buffer {
    pthread_mutex_t lock; /* its thread and the flushing one */
    size_t used;
    char data[BUFFER_BYTES];
};

struct access_log {
    char *path;
    int fd;
    pthread_mutex_t file_lock;
    int daemons;
    struct log_buffer *buffers;
};

static int open_file(const char *path) {
    return strcmp(path, "-") == 0 ? fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0)
                                  : open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
}

reel_status access_log_new(const char *path, int daemons, struct access_log **out, reel_error *err) {
    reel_status status = REEL_OK;
    struct access_log *log;
    *out = NULL;
    if (!path) return REEL_OK;
    TRY_RETURN(MEM_NEW(&log, 1, err));
    log->fd = -1;
    log->daemons = daemons;
    pthread_mutex_init(&log->file_lock, NULL);
    TRY(MEM_NEW(&log->buffers, daemons, err));
    for (int i = 0; i < daemons; i++) pthread_mutex_init(&log->buffers[i].lock, NULL);
    log->path = strdup(path);
    if (!log->path) TRY(error_no_memory(err, 0));
    log->fd = open_file(path);
    if (log->fd < 0) TRY(error_errno(err, REEL_IO, "cannot write the access log %s", path));
    *out = log;
    log = NULL;
cleanup:
    access_log_free(log);
    return status;
}

/* What cannot be written is dropped: a full disk must not stop the service. */
static void write_out(struct access_log *log, const char *data, size_t size) {
    pthread_mutex_lock(&log->file_lock);
    while (size > 0) {
        ssize_t wrote = write(log->fd, data, size);
        if (wrote <= 0) break;
        data += wrote;
        size -= (size_t)wrote;
    }
    pthread_mutex_unlock(&log->file_lock);
}

static void flush_buffer(struct access_log *log, struct log_buffer *buffer) {
    if (buffer->used) write_out(log, buffer->data, buffer->used);
    buffer->used = 0;
}

/* The path for a JSON string: printable ASCII, quotes and backslashes escaped, cut at `size`. */
static void escape_path(const char *target, char *out, size_t size) {
    size_t used = 0;
    for (; target && *target && *target != '?' && used + 3 < size; target++) {
        if (*target == '"' || *target == '\\') out[used++] = '\\';
        out[used++] = *target;
    }
    out[used] = '\0';
}

static int format_line(const struct access_record *record, char *line) {
    char path[512], method[32], stamp[32];
    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &utc);
    escape_path(record->target, path, sizeof path);
    escape_path(record->method, method, sizeof method);
    return snprintf(line, LINE_MAX_BYTES,
                    "{\"time\":\"%s.%03dZ\",\"address\":\"%s\",\"method\":\"%s\",\"path\":\"%s\",\"status\":%d,"
                    "\"bytes\":%" PRId64 ",\"ms\":%.3f}\n",
                    stamp, (int)(now.tv_nsec / 1000000), record->address, method, path, record->status, record->bytes,
                    (double)record->ns * 1e-6);
}

void access_log_write(struct access_log *log, const struct access_record *record) {
    char line[LINE_MAX_BYTES];
    if (!log) return;
    int length = format_line(record, line);
    struct log_buffer *buffer = &log->buffers[record->daemon];
    pthread_mutex_lock(&buffer->lock);
    if (buffer->used + (size_t)length > BUFFER_BYTES) flush_buffer(log, buffer);
    memcpy(buffer->data + buffer->used, line, (size_t)length);
    buffer->used += (size_t)length;
    pthread_mutex_unlock(&buffer->lock);
}

void access_log_flush(struct access_log *log) {
    for (int i = 0; log && i < log->daemons; i++) {
        pthread_mutex_lock(&log->buffers[i].lock);
        flush_buffer(log, &log->buffers[i]);
        pthread_mutex_unlock(&log->buffers[i].lock);
    }
}

reel_status access_log_reopen(struct access_log *log, reel_error *err) {
    if (!log) return REEL_OK;
    int fd = open_file(log->path);
    if (fd < 0) return error_errno(err, REEL_IO, "cannot write the access log %s", log->path);
    access_log_flush(log);
    pthread_mutex_lock(&log->file_lock);
    close(log->fd);
    log->fd = fd;
    pthread_mutex_unlock(&log->file_lock);
    return REEL_OK;
}

void access_log_free(struct access_log *log) {
    if (!log) return;
    if (log->fd >= 0) {
        access_log_flush(log);
        close(log->fd);
    }
    for (int i = 0; log->buffers && i < log->daemons; i++) pthread_mutex_destroy(&log->buffers[i].lock);
    pthread_mutex_destroy(&log->file_lock);
    mem_free(log->buffers);
    free(log->path);
    mem_free(log);
}
