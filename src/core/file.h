/* Files: read-only mappings and atomic, durable replacement. */
#ifndef CORE_FILE_H
#define CORE_FILE_H

#include <stddef.h>
#include <stdio.h>
#include <reel/status.h>

struct file_map {
    const char *data; /* NULL for an empty file */
    size_t size;
};
/* Maps a regular file for reading. NOT_FOUND, IO, BAD_INPUT (a folder, a device). */
reel_status file_map_open(const char *path, struct file_map *map, reel_error *err);
void file_map_close(struct file_map *map); /* takes an empty map */

/* A file under construction: written under a temporary name beside `path`, visible only after commit. */
struct atomic_file {
    int fd;
    char *path, *temporary;
};
reel_status atomic_file_begin(const char *path, struct atomic_file *file, reel_error *err);
/* fsync, rename, fsync of the folder. Afterwards the struct is empty, whatever the result. */
reel_status atomic_file_commit(struct atomic_file *file, reel_error *err);
/* Removes the temporary file; takes a struct that was committed or never begun (zeroed). */
void atomic_file_abort(struct atomic_file *file);
/* write(2) until all is written. */
reel_status file_write_all(int fd, const void *data, size_t size, const char *path, reel_error *err);
/* pwrite(2) until all is written. */
reel_status file_pwrite_all(int fd, const void *data, size_t size, size_t offset, const char *path, reel_error *err);
/* Writes a whole small file atomically. */
reel_status file_replace(const char *path, const void *data, size_t size, reel_error *err);
/* Makes a folder and its parents; an existing folder is fine. */
reel_status file_make_dir(const char *path, reel_error *err);

#endif
