/* A folder of its own for one test program, and stores inside it. */
#ifndef TESTS_STORE_SCRATCH_H
#define TESTS_STORE_SCRATCH_H

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/store.h"

static inline const char *scratch_dir(void) {
    static char dir[256];
    const char *given = getenv("REEL_TEST_DIR"); /* of a parent process */
    if (given) return given;
    if (!dir[0]) {
        const char *top = getenv("TMPDIR");
        snprintf(dir, sizeof dir, "%s/reel-store-%ld", top ? top : "/tmp", (long)getpid());
        mkdir(dir, 0700);
    }
    return dir;
}

static inline const char *scratch_file(const char *name) {
    static char paths[8][512];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", scratch_dir(), name);
    return path;
}

/* Removes a folder and everything in it. */
static inline void remove_tree(const char *path) {
    if (strlen(path) > 700) return;
    DIR *dir = opendir(path);
    char child[1024 + 256];
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        snprintf(child, sizeof child, "%s/%s", path, entry->d_name);
        if (entry->d_type == DT_DIR)
            remove_tree(child);
        else
            unlink(child);
    }
    if (dir) closedir(dir);
    rmdir(path);
}

/* The text of a file, malloc'd; NULL if there is none. */
static inline char *file_text(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) return NULL;
    char *text = calloc(1, 1 << 20);
    if (!text) exit(1);
    if (fread(text, 1, (1 << 20) - 1, file) == 0) text[0] = '\0';
    fclose(file);
    return text;
}

static inline void write_text(const char *path, const char *text, size_t size) {
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(text, 1, size, file) != size) exit(1);
    fclose(file);
}

static inline struct store *open_store(const char *path) {
    struct store *store;
    reel_error err;
    REQUIRE_OK(store_open(path, 0, &store, &err), err);
    return store;
}

static inline struct store_rating rating_of(int32_t movie, int half_stars, uint32_t time) {
    return (struct store_rating){movie, (uint8_t)half_stars, time};
}

#endif
