/* The data set's ids and their dense indices, ascending by id. */
#ifndef DATA_ID_MAP_H
#define DATA_ID_MAP_H

#include <stddef.h>
#include <stdint.h>
#include "core/context.h"

struct id_map {
    int32_t n;
    int32_t *ids;   /* (n,) ascending */
    int32_t *table; /* (table_size,) index by id, -1 = none; NULL when the ids are too thinly spread for it */
    int32_t table_size;
};

/* One source of ids >= 0, repeats welcome, `stride` bytes apart. */
struct id_list {
    const void *ids;
    int64_t n;
    size_t stride;
};

/* The union of the lists; `max_id` is at least the largest id. NO_MEMORY. */
reel_status id_map_build(reel_context *ctx, const struct id_list *lists, int n_lists, int32_t max_id,
                         struct id_map *out, reel_error *err);
void id_map_free(struct id_map *map);
/* Index of `id` by binary search, -1 if absent. */
int32_t id_map_search(const struct id_map *map, int32_t id);

/* Index of `id` >= 0, -1 if absent. */
static inline int32_t id_map_find(const struct id_map *map, int32_t id) {
    if (map->table) return id < map->table_size ? map->table[id] : -1;
    return id_map_search(map, id);
}

#endif
