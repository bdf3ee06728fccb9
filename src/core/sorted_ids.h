/* Look-up in ascending ids. */
#ifndef CORE_SORTED_IDS_H
#define CORE_SORTED_IDS_H

#include <stdint.h>

/* Index of `id` among n ascending ids without repeats, -1 if it is not there. */
static inline int64_t sorted_ids_find(const int32_t *ids, int64_t n, int64_t id) {
    int64_t low = 0, high = n;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (ids[middle] < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < n && ids[low] == id ? low : -1;
}

#endif
