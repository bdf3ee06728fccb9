#include "core/top_n.h"

enum { RUN = 8 };

static void sort_run(uint64_t *keys, size_t n) {
    for (size_t i = 1; i < n; i++) {
        uint64_t key = keys[i];
        size_t j = i;
        for (; j > 0 && keys[j - 1] < key; j--) keys[j] = keys[j - 1];
        keys[j] = key;
    }
}

static void merge(const uint64_t *a, size_t n_a, const uint64_t *b, size_t n_b, uint64_t *out) {
    const uint64_t *a_end = a + n_a, *b_end = b + n_b;
    while (a < a_end && b < b_end) {
        int take_a = *a > *b;
        *out++ = take_a ? *a : *b;
        a += take_a;
        b += !take_a;
    }
    memcpy(out, a, (size_t)(a_end - a) * sizeof *a);
    memcpy(out + (a_end - a), b, (size_t)(b_end - b) * sizeof *b);
}

void top_n_sort(uint64_t *keys, size_t n, uint64_t *scratch) {
    for (size_t i = 0; i < n; i += RUN) sort_run(keys + i, n - i < RUN ? n - i : RUN);
    uint64_t *from = keys, *to = scratch;
    for (size_t width = RUN; width < n; width *= 2) {
        for (size_t i = 0; i < n; i += 2 * width) {
            size_t left = n - i < width ? n - i : width;
            size_t right = n - i - left < width ? n - i - left : width;
            merge(from + i, left, from + i + left, right, to + i);
        }
        uint64_t *swap = from;
        from = to;
        to = swap;
    }
    if (from != keys) memcpy(keys, from, n * sizeof *keys);
}

static uint64_t median_of_3(uint64_t a, uint64_t b, uint64_t c) {
    uint64_t low = a < b ? a : b, high = a < b ? b : a;
    return c < low ? low : c > high ? high : c;
}

/* Moves the keys above `pivot` to the front of keys[low..high) and returns where they end. Without a branch on the
 * keys: which side one falls on cannot be foretold. */
static size_t partition(uint64_t *keys, size_t low, size_t high, uint64_t pivot) {
    size_t end = low;
    for (size_t j = low; j < high; j++) {
        uint64_t key = keys[j];
        keys[j] = keys[end];
        keys[end] = key;
        end += key > pivot;
    }
    return end;
}

/* Moves the n greatest of `count` distinct keys to the front, n < count: quickselect. The median of three distinct
 * keys has one above it and is not above itself, so both sides are smaller than the whole. */
static void select_greatest(uint64_t *keys, size_t count, size_t n) {
    size_t low = 0, high = count; /* low <= n < high, or done */
    while (high - low > RUN) {
        size_t end = partition(keys, low, high, median_of_3(keys[low], keys[low + (high - low) / 2], keys[high - 1]));
        if (end == n) return;
        if (n < end)
            high = end;
        else
            low = end;
    }
    sort_run(keys + low, high - low);
}

void top_n_prune(struct top_n *top) {
    if (top->count <= top->n) return;
    select_greatest(top->keys, top->count, top->n);
    top->count = top->n;
    uint64_t least = UINT64_MAX;
    for (size_t i = 0; i < top->n; i++) least = top->keys[i] < least ? top->keys[i] : least;
    top->least = least;
    top->floor = top_n_score(least);
}

size_t top_n_finish(struct top_n *top) {
    top_n_prune(top);
    top_n_sort(top->keys, top->count, top->keys + top->count);
    return top->count;
}
