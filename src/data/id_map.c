#include "data/id_map.h"

#include <string.h>

#include "core/error.h"
#include "core/mem.h"
#include "core/sorted_ids.h"

enum { PARTS = 64, RADIX_BITS = 11, RADIX = 1 << RADIX_BITS, TABLE_MAX = 1 << 24 };

static inline int32_t id_at(const struct id_list *list, int64_t index) {
    int32_t id;
    memcpy(&id, (const char *)list->ids + (size_t)index * list->stride, sizeof id);
    return id;
}

/* ---- a table over all ids ---- */

struct mark {
    const struct id_list *list;
    int32_t *table;
};

/* Several workers may set the same mark, all to the same value. It is read first, so that the lines stay shared. */
static void mark_part(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct mark *mark = arg;
    int64_t begin = part_begin(mark->list->n, PARTS, task), end = part_begin(mark->list->n, PARTS, task + 1);
    int32_t previous = -1;
    for (int64_t i = begin; i < end; i++) {
        int32_t id = id_at(mark->list, i);
        if (id == previous) continue;
        previous = id;
        if (!__atomic_load_n(&mark->table[id], __ATOMIC_RELAXED))
            __atomic_store_n(&mark->table[id], 1, __ATOMIC_RELAXED);
    }
}

static reel_status build_table(reel_context *ctx, const struct id_list *lists, int n_lists, int32_t max_id,
                               struct id_map *map, reel_error *err) {
    map->table_size = max_id + 1;
    TRY_RETURN(MEM_NEW(&map->table, map->table_size, err));
    for (int i = 0; i < n_lists; i++) {
        struct mark mark = {&lists[i], map->table};
        thread_pool_run(ctx->pool, PARTS, mark_part, &mark);
    }
    int32_t n = 0;
    for (int32_t id = 0; id < map->table_size; id++) n += map->table[id];
    TRY_RETURN(MEM_RAW(&map->ids, n, err));
    for (int32_t id = 0; id < map->table_size; id++) {
        if (map->table[id]) map->ids[map->n] = id;
        map->table[id] = map->table[id] ? map->n++ : -1;
    }
    return REEL_OK;
}

/* ---- thinly spread ids: sort ---- */

/* One pass of a stable radix sort. */
static void radix_pass(const int32_t *from, int32_t *to, int64_t n, int shift) {
    int64_t starts[RADIX + 1] = {0};
    for (int64_t i = 0; i < n; i++) starts[((from[i] >> shift) & (RADIX - 1)) + 1]++;
    for (int i = 0; i < RADIX; i++) starts[i + 1] += starts[i];
    for (int64_t i = 0; i < n; i++) to[starts[(from[i] >> shift) & (RADIX - 1)]++] = from[i];
}

static reel_status build_sorted(const struct id_list *lists, int n_lists, struct id_map *map, reel_error *err) {
    reel_status status = REEL_OK;
    int32_t *ids = NULL, *other = NULL;
    int64_t total = 0, n = 0;
    for (int i = 0; i < n_lists; i++) total += lists[i].n;
    TRY(MEM_RAW(&ids, total, err));
    TRY(MEM_RAW(&other, total, err));
    for (int i = 0; i < n_lists; i++)
        for (int64_t j = 0; j < lists[i].n; j++) {
            int32_t id = id_at(&lists[i], j);
            if (n == 0 || other[n - 1] != id) other[n++] = id;
        }
    radix_pass(other, ids, n, 0);
    radix_pass(ids, other, n, RADIX_BITS);
    radix_pass(other, ids, n, 2 * RADIX_BITS);
    for (int64_t i = 0; i < n; i++)
        if (map->n == 0 || ids[map->n - 1] != ids[i]) ids[map->n++] = ids[i];
    map->ids = ids;
    ids = NULL;
cleanup:
    mem_free(ids);
    mem_free(other);
    return status;
}

reel_status id_map_build(reel_context *ctx, const struct id_list *lists, int n_lists, int32_t max_id,
                         struct id_map *out, reel_error *err) {
    *out = (struct id_map){0};
    int64_t total = 0;
    for (int i = 0; i < n_lists; i++) total += lists[i].n;
    /* A table pays while it is small beside the ids, and costs 64 MB at most. */
    int64_t largest = total < TABLE_MAX / 16 ? total * 16 + 4096 : TABLE_MAX;
    reel_status status =
        max_id < largest ? build_table(ctx, lists, n_lists, max_id, out, err) : build_sorted(lists, n_lists, out, err);
    if (status != REEL_OK) id_map_free(out);
    return status;
}

void id_map_free(struct id_map *map) {
    mem_free(map->ids);
    mem_free(map->table);
    *map = (struct id_map){0};
}

int32_t id_map_search(const struct id_map *map, int32_t id) {
    return (int32_t)sorted_ids_find(map->ids, map->n, id);
}
