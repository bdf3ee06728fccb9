#include "data/zip_reader.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/error.h"
#include "core/mem.h"
#include "reel_build.h"

int zip_reader_is_zip(const char *path) {
    char magic[4] = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return 0;
    ssize_t n = read(fd, magic, sizeof magic);
    close(fd);
    return n == 4 && (memcmp(magic, "PK\3\4", 4) == 0 || memcmp(magic, "PK\5\6", 4) == 0);
}

#if REEL_WITH_ZIP

#include <zip.h>

#define MEMBER_MAX   ((uint64_t)64 << 30)
#define SMALL_MEMBER ((uint64_t)16 << 20)
enum { RATIO_MAX = 200, BLOCK = 1 << 20 };

struct zip_reader {
    zip_t *archive;
    char *path;
};

reel_status zip_reader_open(const char *path, struct zip_reader **out, reel_error *err) {
    reel_status status = REEL_OK;
    *out = NULL;
    struct zip_reader *reader;
    TRY_RETURN(MEM_NEW(&reader, 1, err));
    reader->path = strdup(path);
    if (!reader->path) {
        status = error_no_memory(err, strlen(path));
        goto cleanup;
    }
    int code = 0;
    reader->archive = zip_open(path, ZIP_RDONLY, &code);
    if (!reader->archive) {
        zip_error_t error;
        zip_error_init_with_code(&error, code);
        status =
            error_set(err, REEL_BAD_INPUT, "%s: the ZIP archive cannot be read (%s)", path, zip_error_strerror(&error));
        zip_error_fini(&error);
        goto cleanup;
    }
    *out = reader;
    return REEL_OK;
cleanup:
    zip_reader_close(reader);
    return status;
}

void zip_reader_close(struct zip_reader *reader) {
    if (!reader) return;
    if (reader->archive) zip_discard(reader->archive);
    free(reader->path);
    mem_free(reader);
}

int64_t zip_reader_count(const struct zip_reader *reader) {
    return zip_get_num_entries(reader->archive, 0);
}

const char *zip_reader_name(const struct zip_reader *reader, int64_t index) {
    return zip_get_name(reader->archive, (zip_uint64_t)index, ZIP_FL_ENC_GUESS);
}

/* The member's size as the archive declares it, if that is believable. */
static reel_status check_size(const struct zip_reader *reader, int64_t index, const char *shown, uint64_t *size,
                              reel_error *err) {
    zip_stat_t info;
    zip_stat_init(&info);
    if (zip_stat_index(reader->archive, (zip_uint64_t)index, 0, &info) != 0 || !(info.valid & ZIP_STAT_SIZE) ||
        !(info.valid & ZIP_STAT_COMP_SIZE))
        return error_set(err, REEL_BAD_INPUT, "%s: the ZIP archive does not tell the member's size", shown);
    *size = info.size;
    if (info.size > MEMBER_MAX)
        return error_set(err, REEL_BAD_INPUT, "%s: unpacks to more than 64 GiB (found %" PRIu64 " bytes)", shown,
                         (uint64_t)info.size);
    if (info.size > SMALL_MEMBER && info.size / RATIO_MAX > info.comp_size)
        return error_set(err, REEL_BAD_INPUT,
                         "%s: unpacks to more than 200 times its packed size (found %" PRIu64 " of %" PRIu64 " bytes)",
                         shown, (uint64_t)info.size, (uint64_t)info.comp_size);
    return REEL_OK;
}

/* A file without a name. */
static reel_status open_temporary(int *fd, reel_error *err) {
    const char *folder = getenv("TMPDIR");
    char path[4096];
    int length = snprintf(path, sizeof path, "%s/reel-unzip-XXXXXX", folder && *folder ? folder : "/tmp");
    if (length < 0 || (size_t)length >= sizeof path)
        return error_set(err, REEL_INVALID_ARGUMENT, "TMPDIR is too long a path");
    *fd = mkstemp(path);
    if (*fd < 0) return error_errno(err, REEL_IO, "%s: cannot be made", path);
    unlink(path);
    return REEL_OK;
}

static reel_status unpack(reel_context *ctx, zip_file_t *member, int fd, uint64_t size, const char *shown,
                          reel_error *err) {
    reel_status status = REEL_OK;
    char *block = NULL;
    uint64_t done = 0;
    TRY(MEM_RAW(&block, BLOCK, err));
    for (;;) {
        zip_int64_t n = zip_fread(member, block, BLOCK);
        if (n < 0) {
            status =
                error_set(err, REEL_BAD_INPUT, "%s: the ZIP member is damaged (%s)", shown, zip_file_strerror(member));
            goto cleanup;
        }
        if (n == 0) break;
        done += (uint64_t)n;
        if (done > size) break;
        TRY(file_write_all(fd, block, (size_t)n, "temporary file for a ZIP member", err));
        context_progress(ctx, "unpack", "bytes", (int64_t)done, (int64_t)size, NULL, 0, 0);
        TRY(context_check(ctx, err));
    }
    if (done != size)
        status = error_set(err, REEL_BAD_INPUT, "%s: the ZIP member has not the size that the archive declares", shown);
    context_progress(ctx, "unpack", "bytes", (int64_t)done, (int64_t)size, NULL, 0, 1);
cleanup:
    mem_free(block);
    return status;
}

reel_status zip_reader_extract(reel_context *ctx, const struct zip_reader *reader, int64_t index, const char *shown,
                               struct file_map *map, reel_error *err) {
    reel_status status = REEL_OK;
    int fd = -1;
    zip_file_t *member = NULL;
    uint64_t size = 0;
    *map = (struct file_map){0};
    TRY(check_size(reader, index, shown, &size, err));
    member = zip_fopen_index(reader->archive, (zip_uint64_t)index, 0);
    if (!member) {
        status = error_set(err, REEL_BAD_INPUT, "%s: the ZIP member cannot be opened (%s)", shown,
                           zip_strerror(reader->archive));
        goto cleanup;
    }
    TRY(open_temporary(&fd, err));
    TRY(unpack(ctx, member, fd, size, shown, err));
    if (size == 0) goto cleanup;
    void *data = mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED)
        status = error_errno(err, REEL_IO, "%s: cannot be mapped", shown);
    else
        *map = (struct file_map){data, (size_t)size};
cleanup:
    if (member) zip_fclose(member);
    if (fd >= 0) close(fd);
    return status;
}

#else

reel_status zip_reader_open(const char *path, struct zip_reader **out, reel_error *err) {
    *out = NULL;
    return error_set(err, REEL_UNSUPPORTED,
                     "%s: this build reads no ZIP archives (it was made without libzip); unpack it first", path);
}

void zip_reader_close(struct zip_reader *reader) {
    (void)reader;
}

int64_t zip_reader_count(const struct zip_reader *reader) {
    (void)reader;
    return 0;
}

const char *zip_reader_name(const struct zip_reader *reader, int64_t index) {
    (void)reader, (void)index;
    return NULL;
}

reel_status zip_reader_extract(reel_context *ctx, const struct zip_reader *reader, int64_t index, const char *shown,
                               struct file_map *map, reel_error *err) {
    (void)ctx, (void)reader, (void)index;
    *map = (struct file_map){0};
    return error_set(err, REEL_UNSUPPORTED, "%s: this build reads no ZIP archives", shown);
}

#endif
