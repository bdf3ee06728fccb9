#define _GNU_SOURCE
#include "core/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/error.h"

/* ---- reading ---- */

static reel_status map_descriptor(int fd, const char *path, struct file_map *map, reel_error *err) {
    struct stat info;
    if (fstat(fd, &info) != 0) return error_errno(err, REEL_IO, "%s: cannot be read", path);
    if (S_ISDIR(info.st_mode)) return error_set(err, REEL_BAD_INPUT, "%s: is a folder, not a file", path);
    if (!S_ISREG(info.st_mode)) return error_set(err, REEL_BAD_INPUT, "%s: is not a regular file", path);
    if (info.st_size == 0) return REEL_OK;
    void *data = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED) return error_errno(err, REEL_IO, "%s: cannot be mapped", path);
    *map = (struct file_map){data, (size_t)info.st_size};
    return REEL_OK;
}

reel_status file_map_open(const char *path, struct file_map *map, reel_error *err) {
    *map = (struct file_map){0};
    /* NONBLOCK: a named pipe is to be refused, not waited for. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return error_errno(err, errno == ENOENT || errno == ENOTDIR ? REEL_NOT_FOUND : REEL_IO, "%s: cannot be opened",
                           path);
    reel_status status = map_descriptor(fd, path, map, err);
    close(fd);
    return status;
}

void file_map_close(struct file_map *map) {
    if (map->size) munmap((void *)(uintptr_t)map->data, map->size);
    *map = (struct file_map){0};
}

/* ---- writing ---- */

reel_status file_write_all(int fd, const void *data, size_t size, const char *path, reel_error *err) {
    for (const char *at = data; size > 0;) {
        ssize_t written = write(fd, at, size);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return error_errno(err, REEL_IO, "%s: cannot be written", path);
        at += written;
        size -= (size_t)written;
    }
    return REEL_OK;
}

reel_status file_pwrite_all(int fd, const void *data, size_t size, size_t offset, const char *path, reel_error *err) {
    for (const char *at = data; size > 0;) {
        ssize_t written = pwrite(fd, at, size, (off_t)offset);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return error_errno(err, REEL_IO, "%s: cannot be written", path);
        at += written;
        offset += (size_t)written;
        size -= (size_t)written;
    }
    return REEL_OK;
}

/* The folder that holds `path`, malloc'd: "." for a bare name. */
static char *folder_of(const char *path) {
    const char *slash = strrchr(path, '/');
    if (!slash) return strdup(".");
    return strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

/* What `path` will be replaced: the file behind a link, `path` itself where there is nothing yet. A device
 * or a folder is refused: rename() would put a file in its place. */
static reel_status resolve_target(const char *path, char **out, reel_error *err) {
    struct stat info;
    *out = NULL;
    if (stat(path, &info) != 0) {
        *out = strdup(path);
    } else {
        if (!S_ISREG(info.st_mode)) {
            error_set(err, REEL_IO, "%s: cannot be written: is not a regular file", path);
            return REEL_IO;
        }
        *out = realpath(path, NULL);
    }
    return *out ? REEL_OK : error_no_memory(err, strlen(path));
}

/* A name beside `path` that nobody uses: malloc'd, NULL when memory is out. */
static char *temporary_name(const char *path, unsigned attempt) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    char *name = NULL;
    if (asprintf(&name, "%s.%ld-%lx-%u.tmp", path, (long)getpid(), (unsigned long)now.tv_nsec, attempt) < 0)
        return NULL;
    return name;
}

/* An unnamed file: the kernel removes it with the process, however that ends. -1 where the file system or a
 * missing /proc (which naming it later needs) does not allow it. */
static int open_unnamed(const char *path) {
    char *folder = folder_of(path);
    if (!folder) return -1;
    int fd = access("/proc/self/fd", X_OK) == 0 ? open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0666) : -1;
    free(folder);
    return fd;
}

static reel_status open_named(struct atomic_file *file, reel_error *err) {
    for (unsigned attempt = 0; attempt < 100; attempt++) {
        file->temporary = temporary_name(file->path, attempt);
        if (!file->temporary) return error_no_memory(err, strlen(file->path));
        file->fd = open(file->temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (file->fd >= 0) return REEL_OK;
        int code = errno;
        free(file->temporary);
        file->temporary = NULL;
        errno = code;
        if (code != EEXIST) break;
    }
    return error_errno(err, REEL_IO, "%s: cannot be written", file->path);
}

reel_status atomic_file_begin(const char *path, struct atomic_file *file, reel_error *err) {
    reel_status status = REEL_OK;
    *file = (struct atomic_file){.fd = -1};
    TRY(resolve_target(path, &file->path, err));
    file->fd = open_unnamed(file->path);
    if (file->fd < 0) TRY(open_named(file, err));
    return REEL_OK;
cleanup:
    atomic_file_abort(file);
    return status;
}

/* Gives the unnamed file a name: its final one if that is free, else a temporary one to rename from. */
static reel_status name_file(struct atomic_file *file, int *final, reel_error *err) {
    char source[64];
    snprintf(source, sizeof source, "/proc/self/fd/%d", file->fd);
    *final = linkat(AT_FDCWD, source, AT_FDCWD, file->path, AT_SYMLINK_FOLLOW) == 0;
    for (unsigned attempt = 0; !*final && errno == EEXIST && attempt < 100; attempt++) {
        char *name = temporary_name(file->path, attempt);
        if (!name) return error_no_memory(err, strlen(file->path));
        if (linkat(AT_FDCWD, source, AT_FDCWD, name, AT_SYMLINK_FOLLOW) == 0) {
            file->temporary = name;
            return REEL_OK;
        }
        int code = errno;
        free(name);
        errno = code;
    }
    return *final ? REEL_OK : error_errno(err, REEL_IO, "%s: cannot be written", file->path);
}

/* The folder of `path`, opened; -1 where that fails. */
static int open_folder(const char *path) {
    char *folder = folder_of(path);
    int fd = folder ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    free(folder);
    return fd;
}

static reel_status rename_file(struct atomic_file *file, reel_error *err) {
    int final = 0;
    if (!file->temporary) TRY_RETURN(name_file(file, &final, err));
    if (!final && rename(file->temporary, file->path) != 0)
        return error_errno(err, REEL_IO, "%s: cannot be replaced", file->path);
    free(file->temporary);
    file->temporary = NULL;
    return REEL_OK;
}

reel_status atomic_file_commit(struct atomic_file *file, reel_error *err) {
    reel_status status = REEL_OK;
    /* All that can fail for want of memory or descriptors comes before the file gets its name. */
    int folder = open_folder(file->path);
    if (folder < 0 || fsync(file->fd) != 0) {
        status = error_errno(err, errno == ENOMEM ? REEL_NO_MEMORY : REEL_IO, "%s: cannot be written", file->path);
        goto cleanup;
    }
    TRY(rename_file(file, err));
    /* Some file systems cannot sync a folder (EINVAL): then there is nothing more to be done. */
    if (fsync(folder) != 0 && errno != EINVAL)
        status = error_errno(err, REEL_IO, "%s: its folder cannot be synced", file->path);
cleanup:
    if (folder >= 0) close(folder);
    atomic_file_abort(file);
    return status;
}

void atomic_file_abort(struct atomic_file *file) {
    if (!file->path) return;
    if (file->fd >= 0) close(file->fd);
    if (file->temporary) unlink(file->temporary);
    free(file->temporary);
    free(file->path);
    *file = (struct atomic_file){.fd = -1};
}

reel_status file_replace(const char *path, const void *data, size_t size, reel_error *err) {
    reel_status status = REEL_OK;
    struct atomic_file file = {0};
    TRY(atomic_file_begin(path, &file, err));
    TRY(file_write_all(file.fd, data, size, path, err));
    TRY(atomic_file_commit(&file, err));
cleanup:
    atomic_file_abort(&file);
    return status;
}

static reel_status make_one_dir(const char *path, reel_error *err) {
    struct stat info;
    if (mkdir(path, 0777) == 0 || (errno == EEXIST && stat(path, &info) == 0 && S_ISDIR(info.st_mode))) return REEL_OK;
    return error_errno(err, REEL_IO, "%s: cannot be made a folder", path);
}

reel_status file_make_dir(const char *path, reel_error *err) {
    char *copy = strdup(path);
    if (!copy) return error_no_memory(err, strlen(path));
    reel_status status = REEL_OK;
    for (char *at = copy; status == REEL_OK; at++) {
        if (*at && (*at != '/' || at == copy)) continue;
        char separator = *at;
        *at = '\0';
        status = make_one_dir(copy, err);
        *at = separator;
        if (!separator) break;
    }
    free(copy);
    return status;
}
