#include "data/source_layout.h"

#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "core/error.h"
#include "core/mem.h"
#include "data/zip_reader.h"

enum { ENTRIES_MAX = 4096 };

/* File name of each part in the three families. */
enum family { FAMILY_CSV, FAMILY_DAT, FAMILY_100K, FAMILIES };
static const char *const part_names[FAMILIES][SOURCE_PARTS] = {
    {"ratings.csv", "movies.csv", "tags.csv", "links.csv", "genome-scores.csv", "genome-tags.csv", NULL, NULL},
    {"ratings.dat", "movies.dat", "tags.dat", NULL, NULL, NULL, NULL, NULL},
    {"u.data", "u.item", NULL, NULL, NULL, NULL, "u.genre", NULL},
};

const char *source_kind_name(enum source_kind kind) {
    static const char *const names[] = {"ml-100k", "ml-1m", "ml-10m", "ml-csv", "csv"};
    return names[kind];
}

/* Files of a folder or an archive and of the folders in it, one level deep: "movies.csv", "ml-1m/movies.dat". */
struct entry {
    const char *name;
    int64_t index; /* in the archive */
};

struct listing {
    const char *path;
    struct zip_reader *zip; /* NULL: a folder */
    struct arena arena;
    struct entry entries[ENTRIES_MAX];
    int n;
};

/* ---- what there is ---- */

static reel_status add_entry(struct listing *list, const char *folder, const char *name, int64_t index,
                             reel_error *err) {
    char joined[1024];
    int length = snprintf(joined, sizeof joined, "%s%s%s", folder, *folder ? "/" : "", name);
    if (length < 0 || (size_t)length >= sizeof joined) return REEL_OK; /* none of the names we look for */
    if (list->n == ENTRIES_MAX)
        return error_set(err, REEL_BAD_INPUT, "%s: holds more than %d files; name the folder of one data set",
                         list->path, ENTRIES_MAX);
    char *copy = arena_strndup(&list->arena, joined, (size_t)length);
    if (!copy) return error_no_memory(err, (size_t)length);
    list->entries[list->n++] = (struct entry){copy, index};
    return REEL_OK;
}

static reel_status list_folder(struct listing *list, const char *folder, reel_error *err) {
    reel_status status = REEL_OK;
    char path[4096];
    int length = snprintf(path, sizeof path, "%s%s%s", list->path, *folder ? "/" : "", folder);
    if (length < 0 || (size_t)length >= sizeof path)
        return error_set(err, REEL_INVALID_ARGUMENT, "%.80s...: the path is too long", list->path);
    DIR *directory = opendir(path);
    if (!directory) return *folder ? REEL_OK : error_errno(err, REEL_IO, "%s: cannot be listed", path);
    for (const struct dirent *item; (item = readdir(directory)) != NULL;) {
        char full[4096];
        struct stat info;
        if (item->d_name[0] == '.') continue;
        length = snprintf(full, sizeof full, "%s/%s", path, item->d_name);
        if (length < 0 || (size_t)length >= sizeof full || stat(full, &info) != 0) continue;
        if (S_ISREG(info.st_mode)) TRY(add_entry(list, folder, item->d_name, -1, err));
        if (S_ISDIR(info.st_mode) && !*folder) TRY(list_folder(list, item->d_name, err));
    }
cleanup:
    closedir(directory);
    return status;
}

static reel_status list_archive(struct listing *list, reel_error *err) {
    TRY_RETURN(zip_reader_open(list->path, &list->zip, err));
    int64_t n = zip_reader_count(list->zip);
    for (int64_t i = 0; i < n; i++) {
        const char *name = zip_reader_name(list->zip, i);
        if (!name || strncmp(name, "__MACOSX/", 9) == 0) continue;
        const char *slash = strchr(name, '/');
        if (slash && (slash[1] == '\0' || strchr(slash + 1, '/'))) continue; /* a folder, or too deep */
        TRY_RETURN(add_entry(list, "", name, i, err));
    }
    return REEL_OK;
}

static int compare_entries(const void *a, const void *b) {
    const struct entry *left = a, *right = b;
    return strcmp(left->name, right->name);
}

/* ---- what it is ---- */

static const struct entry *find_entry(const struct listing *list, const char *folder, const char *name) {
    size_t length = strlen(folder);
    for (int i = 0; i < list->n; i++) {
        const char *entry = list->entries[i].name;
        if (strncmp(entry, folder, length) != 0) continue;
        if (length && entry[length] != '/') continue;
        if (strcmp(entry + length + (length != 0), name) == 0) return &list->entries[i];
    }
    return NULL;
}

/* The family whose ratings lie in `folder`; FAMILIES if there are none. */
static enum family folder_family(const struct listing *list, const char *folder) {
    int family = 0;
    while (family < FAMILIES && !find_entry(list, folder, part_names[family][PART_RATINGS])) family++;
    return (enum family)family;
}

static int ends_with(const char *text, const char *ending) {
    size_t length = strlen(text), end = strlen(ending);
    return length >= end && strcmp(text + length - end, ending) == 0;
}

/* The only CSV at the top that is no known part; NULL if there is none or more than one. */
static const struct entry *only_csv(const struct listing *list) {
    const struct entry *found = NULL;
    for (int i = 0; i < list->n; i++) {
        const char *name = list->entries[i].name;
        int known = strchr(name, '/') != NULL || !ends_with(name, ".csv");
        for (int part = PART_MOVIES; part < SOURCE_PARTS; part++)
            known |= part_names[FAMILY_CSV][part] && strcmp(name, part_names[FAMILY_CSV][part]) == 0;
        if (known) continue;
        if (found) return NULL;
        found = &list->entries[i];
    }
    return found;
}

/* The one folder that holds ratings: the top, else a sub-folder. *family = FAMILIES where there are none. */
static reel_status choose_folder(const struct listing *list, char *folder, size_t size, enum family *family,
                                 reel_error *err) {
    folder[0] = '\0';
    *family = folder_family(list, "");
    if (*family != FAMILIES) return REEL_OK;
    for (int i = 0; i < list->n; i++) {
        const char *name = list->entries[i].name, *slash = strchr(name, '/');
        if (!slash || (size_t)(slash - name) >= size) continue;
        char candidate[1024];
        snprintf(candidate, sizeof candidate, "%.*s", (int)(slash - name), name);
        if (strcmp(candidate, folder) == 0) continue;
        enum family found = folder_family(list, candidate);
        if (found == FAMILIES) continue;
        if (*family != FAMILIES)
            return error_set(err, REEL_BAD_INPUT, "%s: holds several data sets (found %s and %s): name one", list->path,
                             folder, candidate);
        *family = found;
        snprintf(folder, size, "%s", candidate);
    }
    return REEL_OK;
}

/* ---- opening ---- */

static reel_status open_part(reel_context *ctx, const struct listing *list, const struct entry *entry,
                             enum source_part part, struct source *source, reel_error *err) {
    size_t size = strlen(list->path) + strlen(entry->name) + 2;
    int slash = ends_with(list->path, "/");
    source->names[part] = malloc(size);
    if (!source->names[part]) return error_no_memory(err, size);
    snprintf(source->names[part], size, "%s%s%s", list->path, slash ? "" : "/", entry->name);
    struct file_map *map = &source->maps[part];
    if (list->zip)
        TRY_RETURN(zip_reader_extract(ctx, list->zip, entry->index, source->names[part], map, err));
    else
        TRY_RETURN(file_map_open(source->names[part], map, err));
    source->files[part] = (struct text_file){source->names[part], map->data, map->size};
    return REEL_OK;
}

static reel_status open_parts(reel_context *ctx, const struct listing *list, const char *columns, struct source *source,
                              reel_error *err) {
    char folder[1024];
    enum family family;
    TRY_RETURN(choose_folder(list, folder, sizeof folder, &family, err));
    const struct entry *ratings =
        family == FAMILIES ? NULL : find_entry(list, folder, part_names[family][PART_RATINGS]);
    if (columns && !(ratings && family == FAMILY_CSV)) {
        ratings = only_csv(list);
        family = FAMILY_CSV;
        folder[0] = '\0';
    }
    if (!ratings)
        return error_set(err, REEL_NOT_FOUND,
                         "%s: no ratings were found (looked for ratings.csv, ratings.dat, u.data%s)", list->path,
                         columns ? ", or one single .csv" : "");
    source->kind = family == FAMILY_100K                   ? SOURCE_ML_100K
                   : family == FAMILY_CSV                  ? (columns ? SOURCE_CSV : SOURCE_ML_CSV)
                   : find_entry(list, folder, "users.dat") ? SOURCE_ML_1M
                                                           : SOURCE_ML_10M;
    TRY_RETURN(open_part(ctx, list, ratings, PART_RATINGS, source, err));
    for (int part = PART_MOVIES; part < SOURCE_PARTS; part++) {
        const char *name = part_names[family][part];
        const struct entry *entry = name ? find_entry(list, folder, name) : NULL;
        if (entry && entry != ratings) TRY_RETURN(open_part(ctx, list, entry, (enum source_part)part, source, err));
    }
    return REEL_OK;
}

reel_status source_add(struct source *source, enum source_part part, const char *path, reel_error *err) {
    source->names[part] = strdup(path);
    if (!source->names[part]) return error_no_memory(err, strlen(path));
    struct file_map *map = &source->maps[part];
    TRY_RETURN(file_map_open(path, map, err));
    source->files[part] = (struct text_file){source->names[part], map->data, map->size};
    return REEL_OK;
}

/* 1 if `line` (n characters) holds `word`, whatever the case. */
static int line_has(const char *line, size_t n, const char *word) {
    size_t length = strlen(word);
    for (size_t i = 0; i + length <= n; i++)
        if (strncasecmp(line + i, word, length) == 0) return 1;
    return 0;
}

/* The kind of source whose movie file begins with this text; 0 in *is_movies if it looks like none. */
static enum source_kind movie_file_kind(const char *text, size_t size, int *is_movies) {
    enum { ITEM_BARS = 20 };
    const char *end = size ? memchr(text, '\n', size) : NULL;
    size_t n = end ? (size_t)(end - text) : size, id = 0, bars = 0;
    for (size_t i = 0; i < n; i++) bars += text[i] == '|';
    while (id < n && text[id] >= '0' && text[id] <= '9') id++;
    if (id && id + 2 < n && text[id] == ':' && text[id + 1] == ':') { /* ratings.dat has a number there */
        size_t field = id + 2;
        while (field < n && text[field] >= '0' && text[field] <= '9') field++;
        *is_movies = field < n && text[field] != ':';
        return SOURCE_ML_10M;
    }
    if (id && bars >= ITEM_BARS) {
        *is_movies = 1;
        return SOURCE_ML_100K;
    }
    *is_movies = line_has(text, n, "title") && !line_has(text, n, "rating");
    return SOURCE_ML_CSV;
}

reel_status source_open_movies(const char *path, struct source *out, int *is_movies, reel_error *err) {
    *out = (struct source){0};
    *is_movies = 0;
    reel_status status = source_add(out, PART_MOVIES, path, err);
    if (status == REEL_OK)
        out->kind = movie_file_kind(out->files[PART_MOVIES].data, out->files[PART_MOVIES].size, is_movies);
    if (!*is_movies) source_close(out);
    return status;
}

static reel_status open_collection(reel_context *ctx, const char *path, int is_folder, const char *columns,
                                   struct source *out, reel_error *err) {
    reel_status status = REEL_OK;
    struct listing *list;
    TRY_RETURN(MEM_NEW(&list, 1, err));
    list->path = path;
    if (is_folder)
        TRY(list_folder(list, "", err));
    else
        TRY(list_archive(list, err));
    qsort(list->entries, (size_t)list->n, sizeof list->entries[0], compare_entries);
    TRY(open_parts(ctx, list, columns, out, err));
cleanup:
    zip_reader_close(list->zip);
    arena_free(&list->arena);
    mem_free(list);
    return status;
}

reel_status source_open(reel_context *ctx, const char *path, const char *columns, struct source *out, reel_error *err) {
    struct stat info;
    *out = (struct source){0};
    if (stat(path, &info) != 0)
        return error_errno(err, errno == ENOENT || errno == ENOTDIR ? REEL_NOT_FOUND : REEL_IO, "%s: cannot be opened",
                           path);
    reel_status status;
    out->kind = SOURCE_CSV;
    if (S_ISDIR(info.st_mode) || zip_reader_is_zip(path))
        status = open_collection(ctx, path, S_ISDIR(info.st_mode), columns, out, err);
    else
        status = source_add(out, PART_RATINGS, path, err);
    if (status != REEL_OK) source_close(out);
    return status;
}

void source_forget(const struct source *source, enum source_part part) {
    const struct file_map *map = &source->maps[part];
    if (map->size) (void)madvise((void *)(uintptr_t)map->data, map->size, MADV_DONTNEED);
}

void source_close(struct source *source) {
    for (int part = 0; part < SOURCE_PARTS; part++) {
        file_map_close(&source->maps[part]);
        free(source->names[part]);
    }
    *source = (struct source){0};
}
